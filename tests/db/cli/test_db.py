"""`noetl db` as people and scripts call it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from noetl.database.connection.connect import Database
from noetl.database.embedded.server import EmbeddedServer
from noetl.database.schema.apply import packaged_ddl, require_schema
from noetl.settings import Settings
from tests.support.postgres import environment

MakeSettings = Callable[..., Settings]


def noetl(settings: Settings, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run `noetl db` as a process of its own, told about the database by its environment."""
    return subprocess.run(
        [sys.executable, "-c", "from noetl.cli import main; main()", "db", *arguments],
        env={**os.environ, "HOME": str(settings.home), **environment(settings), **variables},
        cwd=settings.home,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )


def test_from_nothing_to_a_verified_schema(make_settings: MakeSettings) -> None:
    """status says what to run, apply-schema does it, status and verify are content."""
    settings = make_settings(with_schema=False)
    before = noetl(settings, "status")
    assert before.returncode == 1
    assert "schema noetl is not in the database: run noetl db apply-schema" in before.stderr
    assert noetl(settings, "verify").returncode == 2
    applied = noetl(settings, "apply-schema", "--ensure-role")
    assert (applied.returncode, applied.stdout) == (0, ""), applied.stderr
    assert "schema noetl, version 1, stands in postgres@" in applied.stderr
    after = noetl(settings, "status", "--json")
    report = json.loads(after.stdout)
    assert (after.returncode, report["state"], report["problems"]) == (0, "current", [])
    assert {row["table"] for row in report["tables"]} > {"event_log", "queue", "execution", "schema_version"}
    verified = noetl(settings, "verify", "--json")
    assert (verified.returncode, json.loads(verified.stdout)) == (0, {"findings": []})
    assert noetl(settings, "migrate", "--json").stdout == '{\n  "applied": []\n}\n'


def test_print_schema_prints_the_packaged_file(settings: Settings) -> None:
    """Byte by byte, without a database."""
    done = noetl(settings, "print-schema", NOETL_DATABASE_URL="postgresql://127.0.0.1:9/nowhere")
    assert (done.returncode, done.stdout) == (0, packaged_ddl())


def test_reset_asks_or_is_told(settings: Settings, admin: Database) -> None:
    """Without an answer nothing is lost; who works on it is named."""
    instance = require_schema(admin)
    with admin.session() as conn:
        conn.execute("INSERT INTO runtime (runtime_id, kind, host) VALUES ('w1', 'worker', 'here')")
    refused = noetl(settings, "reset-schema")
    assert refused.returncode == 2
    assert "give --yes" in refused.stderr
    assert f"Delete schema {settings.schema} in {admin.where} with all executions?" in refused.stderr
    assert "worker w1 on here" in refused.stderr
    assert require_schema(admin) == instance
    done = noetl(settings, "reset-schema", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["instance"] == str(require_schema(admin)) != str(instance)


def test_verify_exits_for_scripts(make_settings: MakeSettings) -> None:
    """1 and a sentence where an invariant is broken."""
    settings = make_settings()
    with Database(settings.database_url or "", "noetl") as admin, admin.session() as conn:
        conn.execute("INSERT INTO queue (execution_id, node_id) VALUES (9, 'a')")
    done = noetl(settings, "verify")
    assert done.returncode == 1
    assert "execution 9: job 1 (a) is queued; but every job belongs to an execution" in done.stdout


def test_drift_that_applying_cannot_mend_is_an_error(make_settings: MakeSettings) -> None:
    """It does not say that all is well."""
    settings = make_settings()
    with Database(settings.database_url or "", "noetl") as admin, admin.session() as conn:
        conn.execute("ALTER TABLE catalog DROP COLUMN description")
    done = noetl(settings, "apply-schema")
    assert done.returncode == 1
    assert "column catalog.description is missing" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "variables", "says"),
    [
        (["apply-schema", "--file", "nix.sql"], {}, "the DDL file nix.sql cannot be read"),
        (["status"], {"NOETL_DATABASE_URL": "postgresql://me:hush@127.0.0.1:9/x"}, "no connection to me@127.0.0.1:9/x"),
        (["status"], {"NOETL_DATABASE_URL": "", "NOETL_EMBEDDED": "no", "POSTGRES_HOST": "h"}, "POSTGRES_DB and"),
        (["status"], {"NOETL_SCHEMA": "public"}, "NOETL_SCHEMA is 'public'"),
        (["stop"], {}, "there is no embedded one to manage"),
        (["inbox", "nonsense://"], {}, "the URL is not a connection string"),
        (["no-such-command"], {}, "No such command"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    settings: Settings, arguments: list[str], variables: dict[str, str], says: str
) -> None:
    """No traceback, no secret, nothing on stdout."""
    done = noetl(settings, *arguments, **variables)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert "hush" not in done.stderr


def test_url_and_psql_reach_the_schema(settings: Settings, admin: Database) -> None:
    """The URL works in other programs; psql looks into the engine's schema."""
    url = noetl(settings, "url")
    assert url.returncode == 0
    with Database(url.stdout.strip(), "noetl") as same, same.connect() as conn, admin.connect() as other:
        assert conn.info.dbname == other.info.dbname
    done = noetl(settings, "psql", "-At", "-c", "SELECT count(*) FROM schema_version")
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


def test_inbox_is_made_by_url(settings: Settings, admin: Database) -> None:
    """Here it stands already."""
    done = noetl(settings, "inbox", admin.conninfo, "--json")
    assert json.loads(done.stdout) == {"database": admin.where, "created": False}


def test_the_embedded_server_is_started_and_stopped(tmp_path: Path) -> None:
    """No settings at all: apply-schema starts it, with its roles; stop keeps the data."""
    settings = Settings(home=tmp_path, database_url="")
    home = {"NOETL_HOME": str(tmp_path / "home"), "NOETL_USER": "", "NOETL_SCHEMA": ""}
    try:
        applied = noetl(settings, "apply-schema", **home)
        assert applied.returncode == 0, applied.stderr
        assert "note:" not in applied.stderr
        assert "has been stopped" in noetl(settings, "stop", **home).stderr
        assert "has been started" in noetl(settings, "start", **home).stderr
        assert json.loads(noetl(settings, "status", "--json", **home).stdout)["problems"] == []
    finally:
        stopped = noetl(settings, "stop", **home)
        EmbeddedServer(tmp_path / "home").remove()
    assert "has been stopped" in stopped.stderr
