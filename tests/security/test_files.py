"""What the program writes is for its own account: homes, logs, sockets, exports, data, files that steps write."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from noetl.cli.background import Background, alone, private
from noetl.database.embedded.server import EmbeddedServer
from noetl.errors import DatabaseError
from noetl.home.files import make_folder, make_home, open_file
from noetl.settings import Settings
from tests.support.home import Home

PLAYBOOK = """
apiVersion: noetl.io/v1
kind: Playbook
metadata: {path: files}
workflow:
  - step: start
    next: [shell, table, file]
  - step: shell
    type: shell
    command: echo secret > from-shell.txt; mkdir -p from-shell
  - step: python
    type: python
    code: |
      def main():
          open("from-python.txt", "w").write("secret")
  - step: table
    type: duckdb
    command: CREATE TABLE t AS SELECT 1 AS n; SELECT n FROM t
  - step: file
    type: python
    code: |
      def main():
          return {"rows": [{"a": 1}]}
    save: {storage: file, path: saved.csv, data: "{{ result.rows }}"}
    next: [python]
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def everything(folder: Path) -> Iterator[Path]:
    yield folder
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent) / name for name in (*folders, *files))


def open_to_others(folder: Path) -> dict[str, str]:
    """Return what others may do with what is below a folder, by path: empty is right."""
    return {
        str(path.relative_to(folder)): oct(mode(path))
        for path in everything(folder)
        if not path.is_symlink() and mode(path) & 0o077
    }


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A home with an embedded database of its own, whose processes start with a common umask."""
    before = os.umask(0o022)
    work = tmp_path / "work"
    work.mkdir(mode=0o700)
    settings = Settings(home=tmp_path / "home", embedded=False, database_url="postgresql:///replaced")
    home = Home(settings, work)
    for name in [name for name in home.environment if name.startswith(("NOETL_", "POSTGRES_", "PG"))]:
        del home.environment[name]
    home.environment["NOETL_HOME"] = str(settings.home)
    try:
        yield home
    finally:
        home.stop()
        EmbeddedServer(settings.home).remove()
        os.umask(before)


def test_nothing_that_a_run_leaves_can_be_read_by_others(home: Home) -> None:
    home.write("files", PLAYBOOK)
    (home.work / "files.yaml").chmod(0o600)
    ended = home.json("execute", "playbook", "files", "--start", env={"TOKEN": "t"})
    assert ended["status"] == "completed", ended
    home.run("credential", "add", "c", "--type", "bearer", "--set", "token=env:TOKEN", env={"TOKEN": "t"})
    home.run("export", ended["execution_id"])
    home.run("run", "files")
    made = {path.name for path in everything(home.work)} | {path.name for path in everything(home.settings.home)}
    assert {
        "server.sock", "server.json", "token", "encryption.key", "instance", "server.pid", "server.log", "start.lock",
        "worker-default.pid", "worker-default.log", "event_log.json", "from-shell.txt", "from-shell", "from-python.txt",
    } <= made  # fmt: skip
    assert open_to_others(home.work) == {}
    assert open_to_others(home.settings.home) == {}
    database = EmbeddedServer(home.settings.home)
    others = open_to_others(database.base)
    programs = {name for name in others if name == "." or name.startswith("postgres-")}
    assert set(others) == programs, "only the copy of Postgres' programs, which its account has to reach"
    assert mode(database.data) == mode(database.socket_folder) == 0o700


def test_a_home_of_an_earlier_version_is_closed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "logs").mkdir(parents=True)
    (home / "logs" / "server.log").write_text("old")
    (home / "server.pid").write_text("")
    for path in everything(home):
        path.chmod(0o755 if path.is_dir() else 0o644)
    server = Background(home, "server")
    with pytest.raises(Exception, match="ended at once"):
        server.start(["--version"], lambda _: False)
    with server.hold("a server"), alone(home / "start.lock"):
        assert open_to_others(home) == {}


def test_a_folder_that_holds_other_things_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "others").mkdir(mode=0o755)
    (tmp_path / "others" / "file").write_text("")
    (tmp_path / "sticky").mkdir()
    (tmp_path / "sticky").chmod(0o1777)
    (tmp_path / "empty").mkdir(mode=0o755)
    for name, expected in (("others", 0o755), ("sticky", 0o1777), ("empty", 0o700), ("new", 0o700)):
        make_home(tmp_path / name)
        assert mode(tmp_path / name) == expected, name
    make_folder(tmp_path / "new" / "logs")
    assert mode(tmp_path / "new" / "logs") == 0o700


def test_files_and_processes_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        os.close(open_file(tmp_path / "file", os.O_WRONLY))
        (tmp_path / "file").chmod(0o644)
        os.close(open_file(tmp_path / "file", os.O_WRONLY))
        with private():
            (tmp_path / "inside").write_text("")
        (tmp_path / "outside").write_text("")
    finally:
        os.umask(before)
    assert [mode(tmp_path / name) for name in ("file", "inside", "outside")] == [0o600, 0o600, 0o666]


def test_a_database_behind_a_folder_of_somebody_else_is_not_talked_to(tmp_path: Path) -> None:
    """The folder of a socket may stand in /tmp, where others can make it first."""
    database = EmbeddedServer(tmp_path / ("long" * 30))
    folder = database.socket_folder
    assert tmp_path not in folder.parents
    if os.geteuid() == 0:
        folder = tmp_path / "run"
        database.__dict__["socket_folder"] = folder
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    try:
        with pytest.raises(DatabaseError, match="open to others"):
            database.start()
    finally:
        folder.rmdir()
