"""`noetl db remove`: it says what it deletes, asks, and leaves nothing of the embedded Postgres behind."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from noetl.database.embedded.owner import NAME, mark_folder
from noetl.database.embedded.server import EmbeddedServer
from noetl.settings import Settings
from tests.support.postgres import environment

QUICK = {"fsync": "off", "shared_buffers": "16MB", "max_connections": "20"}


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="noetl-home-"))
    yield folder
    EmbeddedServer(folder).remove()
    shutil.rmtree(folder)


def remove(home: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return noetl(home, "db", "remove", *arguments, **variables)


def noetl(home: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NOETL_", "POSTGRES_"))}
    return subprocess.run(
        [sys.executable, "-m", "noetl", *arguments],
        env={**kept, "NOETL_HOME": str(home), **variables},
        cwd=home,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )


def test_nothing_stays_and_nothing_goes_without_a_word(home: Path) -> None:
    server = EmbeddedServer(home, QUICK)
    server.start()
    assert f"NOETL_HOME={os.path.realpath(home)} noetl db remove" in (server.base / NAME).read_text()
    (home / "token").write_text("t")
    asked = remove(home)
    assert (asked.returncode, server.running()) == (2, True), asked.stderr
    question = "Delete it, with all executions?"
    assert asked.stderr.splitlines()[-1] == f"error: {question} Nobody can be asked without a terminal: give --yes"
    assert f"  {server.base} (" in asked.stderr
    assert f"Postgres runs (process {server.pid()}) and is stopped" in asked.stderr
    done = remove(home, "--yes")
    assert done.returncode == 0, done.stderr
    assert not server.running()
    assert not server.base.exists()
    assert (home / "token").exists(), "what is no database stays"
    again = remove(home, "--yes")
    assert (again.returncode, "nothing to remove" in again.stderr) == (0, True)


def test_a_database_of_somebodys_own_is_not_removed(settings: Settings) -> None:
    done = remove(settings.home, "--yes", **environment(settings))
    assert done.returncode == 2
    assert "there is no embedded one to manage" in done.stderr


def test_the_mark_of_a_folder_follows_its_home(tmp_path: Path) -> None:
    mark_folder(tmp_path, Path("/old"))
    mark_folder(tmp_path, Path("/new"))
    assert "/old" not in (tmp_path / NAME).read_text()
    assert "then delete this folder and /new." in (tmp_path / NAME).read_text()


@pytest.mark.parametrize("command", ["db status", "db verify", "db url", "db psql", "export 1", "execute status 1"])
def test_a_command_that_reads_makes_no_embedded_postgres(home: Path, command: str) -> None:
    """After `noetl db remove` nothing comes back by a look at it."""
    done = noetl(home, *command.split())
    assert done.returncode == 2, done.stderr
    assert f"there is no embedded Postgres of {home}: noetl db apply-schema makes it" in done.stderr
    assert not EmbeddedServer(home).base.exists()
