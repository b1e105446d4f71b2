"""Pid files that cannot go stale, addresses, tokens."""

import multiprocessing
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from noetl.cli.background import Background
from noetl.cli.connection.address import (
    ServerLocation,
    find_server,
    known_instance,
    make_token,
    read_address,
    read_token,
    remove_address,
    url_of,
    write_address,
)
from noetl.errors import Conflict, SettingsError, Unreachable
from noetl.settings import Settings

HOLDER = """
import sys
from pathlib import Path
from noetl.cli.background import Background
with Background(Path(sys.argv[1]), "server").hold("a server"):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(home: Path) -> "subprocess.Popen[str]":
    """Start a process that holds the pid file until its stdin is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_only_one_process_holds_a_pid_file(tmp_path: Path) -> None:
    server = Background(tmp_path, "server")
    assert server.pid() is None
    with hold(tmp_path) as process:
        assert server.pid() == process.pid
        with pytest.raises(Conflict, match=f"runs already .*process {process.pid}"), server.hold("a server"):
            pass
        process.communicate("")
    assert server.pid() is None
    with server.hold("a server"):
        assert server.pid_file.read_text() == f"{os.getpid()}\n"


def test_a_pid_file_of_a_killed_process_is_no_hindrance(tmp_path: Path) -> None:
    server = Background(tmp_path, "server")
    with hold(tmp_path) as process:
        process.kill()
        process.communicate()
    assert server.pid_file.read_text() == f"{process.pid}\n"
    assert server.pid() is None
    assert not server.stop(1)
    with server.hold("a server"):
        pass


def test_a_number_that_belongs_to_somebody_else_is_not_believed(tmp_path: Path) -> None:
    server = Background(tmp_path, "server")
    server.pid_file.write_text("1\n")
    assert server.pid() is None
    assert not server.stop(1)


def test_a_process_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    script = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + HOLDER
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        assert Background(tmp_path, "server").stop(0.2)
        assert process.wait(5) == -9


def test_ready_is_what_the_very_process_has_said(tmp_path: Path) -> None:
    server = Background(tmp_path, "server")
    with server.hold("a server"):
        assert not server.is_ready(os.getpid())
        server.say_ready()
        assert server.is_ready(os.getpid())
        assert not server.is_ready(os.getpid() + 1)
        assert server.pid() == os.getpid()


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    server = Background(tmp_path / "file" / "home", "server")
    with pytest.raises(SettingsError, match="cannot be written"), server.hold("a server"):
        pass
    with pytest.raises(SettingsError, match="NOETL_HOME or NOETL_API_TOKEN"):
        make_token(Settings(home=tmp_path / "file" / "home"))


def test_the_server_is_the_given_one_or_the_homes(tmp_path: Path) -> None:
    own = Settings(home=tmp_path, embedded=True)
    other = Settings(home=tmp_path, embedded=False)
    for settings in (own, other):
        with pytest.raises(Unreachable, match="no server runs"):
            find_server(settings)
    named = Settings(home=tmp_path, embedded=False, port=1234, environment={"NOETL_PORT": "1234"})
    assert find_server(named) == ServerLocation("http://127.0.0.1:1234")
    assert find_server(own, "example.com") == ServerLocation("http://example.com:8082")
    assert find_server(own, None, 1234) == ServerLocation("http://127.0.0.1:1234")
    write_address(tmp_path, "http://127.0.0.1:9999", "an-instance")
    for settings in (own, other, named):
        assert find_server(settings) == ServerLocation("http://127.0.0.1:9999", tmp_path)
    assert find_server(own, None, 9999) == ServerLocation("http://127.0.0.1:9999", tmp_path)
    assert find_server(own, None, 1234) == ServerLocation("http://127.0.0.1:1234")
    about = read_address(tmp_path)
    assert about is not None
    assert about["pid"] == os.getpid()
    assert known_instance(own) == "an-instance"
    remove_address(tmp_path)
    assert read_address(tmp_path) is None
    assert known_instance(own) == "an-instance"
    (tmp_path / "server.json").write_text("{half")
    assert read_address(tmp_path) is None


def test_a_server_without_a_socket_is_not_called_by_its_port(tmp_path: Path) -> None:
    write_address(tmp_path, "http://127.0.0.1:9999", None, socket=False)
    with pytest.raises(Unreachable, match="has no socket"):
        find_server(Settings(home=tmp_path))
    assert find_server(Settings(home=tmp_path), None, 9999) == ServerLocation("http://127.0.0.1:9999")


def test_whoever_looks_for_the_server_of_the_wrong_home_hears_of_the_one_of_this_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Make keeps its state beside the Makefile, the bare command does not."""
    monkeypatch.chdir(tmp_path)
    elsewhere, here = Settings(home=tmp_path / "data", embedded=True), Settings(home=tmp_path / ".noetl", embedded=True)
    here.home.mkdir()
    for settings in (elsewhere, here):
        with pytest.raises(Unreachable, match=r"NOETL_API_TOKEN$"):
            find_server(settings)
    write_address(here.home, "http://127.0.0.1:9999", None)
    with pytest.raises(Unreachable, match=r"the server of this folder is reached with NOETL_HOME=\.noetl"):
        find_server(elsewhere)


def test_a_server_bound_to_all_addresses_is_called_by_loopback() -> None:
    assert url_of("0.0.0.0", 1) == "http://127.0.0.1:1"
    assert url_of("::", 1) == "http://[::1]:1"
    assert url_of("::1", 1) == "http://[::1]:1"
    assert url_of("10.0.0.1", 1) == "http://10.0.0.1:1"


def _make(home: str, answers: "multiprocessing.SimpleQueue[str]") -> None:
    answers.put(make_token(Settings(home=Path(home))))


def test_a_token_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.SimpleQueue[str] = context.SimpleQueue()
    processes = [context.Process(target=_make, args=(str(tmp_path), answers)) for _ in range(3)]
    for process in processes:
        process.start()
    tokens = {answers.get() for _ in processes}
    for process in processes:
        process.join()
    assert len(tokens) == 1
    token = tokens.pop()
    assert len(token) >= 32
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    assert read_token(Settings(home=tmp_path)) == token
    assert [file.name for file in tmp_path.iterdir()] == ["token"]


def test_an_empty_token_file_is_no_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("")
    assert read_token(Settings(home=tmp_path)) is None
    assert make_token(Settings(home=tmp_path))


def test_the_token_of_the_settings_goes_first(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, api_token="given")
    assert make_token(settings) == "given"
    assert not (tmp_path / "token").exists()
