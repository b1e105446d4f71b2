"""Dumps of a schema, for comparing two ways to the same end."""

import re
import subprocess

from psycopg.conninfo import make_conninfo

from noetl.database.embedded.programs import client_program
from noetl.settings import Settings


def dump(settings: Settings, *, data: bool = False) -> str:
    """Return the definition of everything in the database, without dated partitions.

    With `data` also the rows of `schema_version`.
    """
    assert settings.database_url is not None
    command = [client_program("pg_dump"), "--dbname", make_conninfo(settings.database_url)]
    command += ["--exclude-table", "*.event_log_20*", "--exclude-table", "*.payload_20*"]
    text = _run([*command, "--schema-only"])
    if data:
        text += _run([*command, "--data-only", "--inserts", "--table", "*.schema_version"])
    return text


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # pg_dump marks each dump with a random word since a security fix of 2025
    return re.sub(r"^\\(un)?restrict .*$", "", done.stdout, flags=re.MULTILINE)


def psql(settings: Settings, *arguments: str, options: str = "") -> "subprocess.CompletedProcess[str]":
    """Run psql as the Makefile's fallback does."""
    assert settings.database_url is not None
    return subprocess.run(
        [client_program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", settings.database_url, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PGOPTIONS": options, "PATH": "/usr/bin:/bin"},
    )
