"""The token goes to the server of this home, or to an address that was named with a token of its own."""

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from noetl.cli.background import Background
from noetl.cli.connection.address import ServerLocation, find_server, token_for
from noetl.errors import SettingsError, Unauthorized
from noetl.home import local_socket
from noetl.settings import Settings, load_settings
from tests.support.home import Home, a_home
from tests.support.listener import OK, Listener
from tests.support.postgres import TestServer
from tests.support.process import Process
from tests.support.waiting import wait_for

ALIVE = OK.replace(b"Content-Length: 2", b"Content-Length: 36").replace(b"{}", b'{"status":"alive","instance":null}  ')
FOREIGN = next((name for name in (65534, 12345) if os.geteuid() == 0), None)


@pytest.fixture
def home(server: TestServer, tmp_path: Path) -> Iterator[Home]:
    with a_home(server, tmp_path) as home:
        yield home


def test_whoever_holds_the_port_of_a_killed_server_hears_nothing(home: Home) -> None:
    home.run("server", "start")
    port, token = int(home.address.rpartition(":")[2]), home.token
    background = Background(home.settings.home, "server")
    pid = background.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: background.pid() is None)
    with Listener([ALIVE, OK], port=port) as thief:
        told = home.run("credential", "list", expect=2)
        assert f"no server can be reached at {local_socket.path_of(home.settings.home)}" in told.stderr
        home.run("catalog", "register", ".", expect=2)
        home.run("server", "status", expect=1)
        assert thief.connections == 0
        told = home.run("credential", "list", "--port", str(port), expect=2)
        assert "no server can be reached" in told.stderr, "it is still the address of this home's server"
        assert token.encode() not in thief.text


def test_an_address_that_was_given_gets_the_token_that_was_given_and_liveness_none(home: Home) -> None:
    home.run("server", "start")
    with Listener([ALIVE, OK]) as other:
        told = home.run("credential", "list", "--port", str(other.port), expect=2)
        assert f"there is no token for http://127.0.0.1:{other.port}: set NOETL_API_TOKEN" in told.stderr
        assert b"uthorization" not in other.text
    with Listener([ALIVE, OK.replace(b"2\r\n\r\n{}", b'24\r\n\r\n{"items":[],"next":null}')]) as other:
        home.run("credential", "list", "--port", str(other.port), env={"NOETL_API_TOKEN": "its-own"})
        probe, call = other.heard
        assert probe.startswith(b"GET /livez")
        assert b"its-own" not in probe
        assert b"Authorization: Bearer its-own" in call
        assert home.token.encode() not in other.text


def test_a_dotenv_of_a_foreign_folder_sends_no_token_anywhere(home: Home) -> None:
    home.run("server", "start")
    home.run("server", "stop")
    with Listener([ALIVE, ALIVE, ALIVE]) as thief:
        lines = f"NOETL_HOST=127.0.0.1\nNOETL_PORT={thief.port}\nNOETL_EMBEDDED=false\n"
        (home.work / ".env").write_text(lines)
        told = home.run("credential", "list", expect=2)
        assert "there is no token for" in told.stderr
        told = home.run("credential", "list", expect=2, env={"NOETL_API_TOKEN": "ours"})
        assert "NOETL_API_TOKEN is not from there" in told.stderr
        told = home.run("credential", "list", "--host", "127.0.0.1", expect=2, env={"NOETL_API_TOKEN": "ours"})
        assert "NOETL_API_TOKEN is not from there" in told.stderr, "the port is still the file's"
        assert b"ours" not in thief.text
        assert home.token.encode() not in thief.text


@pytest.mark.parametrize(
    ("dotenv", "outside", "flags", "allowed"),
    [
        ({"NOETL_HOST": "h", "NOETL_PORT": "1", "NOETL_API_TOKEN": "t"}, {}, (), True),
        ({"NOETL_HOST": "h", "NOETL_PORT": "1"}, {"NOETL_API_TOKEN": "t"}, (), False),
        ({"NOETL_HOST": "h"}, {"NOETL_API_TOKEN": "t", "NOETL_PORT": "1"}, (), False),
        ({"NOETL_HOST": "h"}, {"NOETL_API_TOKEN": "t", "NOETL_HOST": "x", "NOETL_PORT": "1"}, (), True),
        ({"NOETL_HOST": "h", "NOETL_PORT": "1"}, {"NOETL_API_TOKEN": "t"}, ("x", 2), True),
        ({"NOETL_API_TOKEN": "t"}, {"NOETL_HOST": "h", "NOETL_PORT": "1"}, (), True),
    ],
)
def test_a_token_from_outside_does_not_follow_an_address_from_dotenv(
    dotenv: dict[str, str],
    outside: dict[str, str],
    flags: tuple[str, int] | tuple[()],
    allowed: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in dotenv.items()))
    for name, value in {**outside, "NOETL_HOME": str(tmp_path), "NOETL_EMBEDDED": "false"}.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    place = find_server(settings, *flags)
    if allowed:
        assert token_for(place, settings) == "t"
    else:
        with pytest.raises(SettingsError, match="not from there"):
            token_for(place, settings)


def test_a_named_address_without_a_token_of_its_own_gets_none(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("the-home's")
    with pytest.raises(Unauthorized):
        token_for(ServerLocation("http://127.0.0.1:1"), Settings(home=tmp_path))


# The socket


def test_everything_works_through_the_socket_of_a_home_with_a_long_path(server: TestServer, tmp_path: Path) -> None:
    work = tmp_path / ("long" * 40)
    work.mkdir()
    with a_home(server, work) as home:
        home.write("p", "apiVersion: noetl.io/v1\nkind: Playbook\nmetadata: {path: p}\nworkflow:\n  - step: start\n")
        home.run("server", "start")
        home.run("worker", "start")
        socket_file = local_socket.path_of(home.settings.home)
        assert len(str(socket_file)) > 108
        assert stat.S_IMODE(socket_file.stat().st_mode) == 0o600
        assert stat.S_IMODE(socket_file.parent.stat().st_mode) == 0o700
        assert home.json("execute", "playbook", "p")["status"] == "completed"
        home.run("server", "stop")
        assert not socket_file.exists()


def test_a_socket_in_a_folder_that_is_open_to_others_is_not_used(tmp_path: Path) -> None:
    with local_socket.listen(tmp_path):
        local_socket.connect(tmp_path, 5).close()
        (tmp_path / "run").chmod(0o755)
        with pytest.raises(local_socket.Untrusted, match="open to others"):
            local_socket.connect(tmp_path, 5)
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="run"):
        local_socket.connect(tmp_path, 5)


@pytest.mark.skipif(FOREIGN is None, reason="only root can be somebody else")
def test_a_socket_of_another_account_is_not_used(tmp_path: Path) -> None:
    assert FOREIGN is not None
    script = (
        "import os, socket, sys\n"
        "server = socket.socket(socket.AF_UNIX)\n"
        "server.bind(sys.argv[1])\n"
        "os.setuid(int(sys.argv[2]))\n"
        "server.listen()\n"
        "print('listens', flush=True)\n"
        "sys.stdin.read()\n"
    )
    (tmp_path / "run").mkdir(mode=0o700)
    argv = [sys.executable, "-c", script, str(local_socket.path_of(tmp_path)), str(FOREIGN)]
    with Process(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listens\n"
        with pytest.raises(local_socket.Untrusted, match=f"account {FOREIGN}"):
            local_socket.connect(tmp_path, 5)
        process.communicate("")
    os.chown(tmp_path / "run", FOREIGN, -1)
    with pytest.raises(local_socket.Untrusted, match="another account"):
        local_socket.connect(tmp_path, 5)


def test_a_server_whose_home_can_have_no_socket_serves_its_port(home: Home) -> None:
    (home.settings.home).mkdir(exist_ok=True)
    (home.settings.home / "run").write_text("a file where the folder should be")
    assert "cannot be listened on" in home.run("server", "start").stderr
    told = home.run("credential", "list", expect=2)
    assert "has no socket" in told.stderr
    with socket.create_connection(("127.0.0.1", int(home.address.rpartition(":")[2])), timeout=5):
        pass
