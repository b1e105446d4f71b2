"""The server as a process: start, stop, status, and everything that can be in its way."""

import json
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from noetl.cli.background import Background
from tests.support.home import Home, a_home
from tests.support.postgres import TestServer


@pytest.fixture
def home(server: TestServer, tmp_path: Path) -> Iterator[Home]:
    with a_home(server, tmp_path) as home:
        yield home


def call(home: Home, path: str, *, token: str | None = None, body: bytes | None = None) -> tuple[int, Any]:
    """Call the home's server over the network."""
    request = urllib.request.Request(home.address + path, data=body)
    request.add_header("Authorization", f"Bearer {home.token if token is None else token}")
    if body is not None:
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def wait_for(condition: Callable[[], bool], what: str, limit: float = 20.0) -> None:
    """Look until it is so."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, f"{what} did not come about in {limit} s"
        time.sleep(0.05)


def row(home: Home, kind: str = "server") -> Any:
    """Return the newest row of a kind in `runtime`."""
    with psycopg.connect(str(home.settings.database_url)) as conn:
        return conn.execute(
            "SELECT status, pid, address FROM noetl.runtime WHERE kind = %s ORDER BY started_at DESC LIMIT 1", (kind,)
        ).fetchone()


def test_a_life_of_a_server(home: Home) -> None:
    started = home.run("server", "start")
    assert started.stdout == ""
    assert home.address in started.stderr
    status = home.json("server", "status")
    assert (status["status"], status["ready"], status["address"]) == ("running", True, home.address)
    assert call(home, "/livez", token="")[1]["instance"] == status["instance"]
    assert call(home, "/api/health", token="wrong")[0] == 401
    assert call(home, "/api/health")[0] == 200
    wait_for(lambda: row(home) is not None, "the heartbeat")
    assert row(home) == ("running", status["pid"], home.address.removeprefix("http://"))
    again = home.run("server", "start", expect=2)
    assert f"process {status['pid']} at {home.address}" in again.stderr
    home.run("server", "stop")
    assert row(home)[0] == "stopped"
    assert home.json("server", "status", expect=1)["status"] == "stopped"
    assert not (home.settings.home / "server.json").exists()
    home.run("server", "stop")


def test_every_route_of_a_running_server_needs_the_token(home: Home) -> None:
    home.run("server", "start")
    described = call(home, "/api/openapi.json")[1]["paths"]
    assert len(described) > 10
    for path, methods in described.items():
        for method in methods:
            body = b"{}" if method == "post" else None
            status, answer = call(home, path.replace("{", "").replace("}", ""), token="", body=body)
            assert status == (200 if path in ("/livez", "/readyz") else 401), (method, path, answer)


def test_a_killed_server_is_no_hindrance(home: Home) -> None:
    home.run("server", "start")
    pid = Background(home.settings.home, "server").pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: Background(home.settings.home, "server").pid() is None, "the end of the server")
    assert home.json("server", "status", expect=1)["status"] == "stopped"
    assert "no server can be reached" in home.run("credential", "list", expect=2).stderr
    home.run("server", "start")
    assert home.run("execute", "list").stderr == "there are no executions\n"


def test_a_port_that_is_given_and_taken_is_an_error_and_another_is_found_without(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = home.run("server", "start", "--port", str(port), expect=2)
        assert refused.stderr == f"error: port {port} of 127.0.0.1 is taken: give another one with --port\n"
        home.run("server", "start", "--port", str(port), "--foreground", expect=2)
    assert home.run("server", "start", env={"NOETL_PORT": "x"}, expect=2).stderr.startswith("error: NOETL_PORT is 'x'")
    with socket.socket() as default:
        default.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            default.bind(("127.0.0.1", 8082))
            default.listen()
        except OSError:
            assert True, "somebody else has it: just as well"
        home.run("server", "start")
        assert 8082 < int(home.address.rpartition(":")[2]) < 8400


def test_beyond_loopback_it_binds_with_a_token_of_ours_only(home: Home) -> None:
    refused = home.run("server", "start", "--host", "0.0.0.0", expect=2)
    assert refused.stderr == (
        "error: NOETL_API_TOKEN is not set: the server binds to 0.0.0.0 only with a token of yours\n"
    )
    home.run("server", "start", "--host", "0.0.0.0", env={"NOETL_API_TOKEN": "our-own"})
    assert home.address.startswith("http://127.0.0.1:")
    assert call(home, "/api/health", token="our-own")[0] == 200
    assert call(home, "/api/health", token="other")[0] == 401
    assert "our-own" not in home.logs()
    assert not (home.settings.home / "token").exists()


def test_bodies_over_the_limit_are_answered_not_reset(home: Home) -> None:
    home.run("server", "start")
    status, answer = call(home, "/api/executions", body=b" " * (16 * 1024 * 1024 + 1))
    assert (status, answer["error"]["type"]) == (413, "too_large")
    status, _ = call(home, "/api/executions", body=b" " * (16 * 1024 * 1024))
    assert status == 422
    big = home.work / "big.json"
    big.write_text(json.dumps({"x": "y" * 17_000_000}))
    told = home.run("execute", "playbook", "some/path", "--input", str(big), expect=2)
    assert told.stderr.startswith("error: the body is larger than 16,777,216 bytes")


def test_the_database_goes_away_and_comes_back(home: Home, server: TestServer) -> None:
    home.run("server", "start")
    name = str(home.settings.database_url).split("dbname=")[1].split()[0].strip("'")
    with server.away(name):
        wait_for(lambda: call(home, "/readyz")[0] == 503, "a server that is not ready")
        assert call(home, "/livez")[0] == 200
        status, answer = call(home, "/api/health")
        assert status == 503
        assert answer["error"]["type"] in ("unreachable", "database")
    wait_for(lambda: call(home, "/readyz")[0] == 200, "a server that is ready again")
    assert call(home, "/api/health")[0] == 200


def test_without_a_schema_it_starts_and_says_what_to_run(server: TestServer, tmp_path: Path) -> None:
    with a_home(server, tmp_path, with_schema=False) as home:
        started = home.run("server", "start")
        assert "it cannot serve yet: schema noetl is not in the database: run noetl db apply-schema" in started.stderr
        told = home.run("credential", "list", expect=2)
        assert told.stderr == "error: schema noetl is not in the database: run noetl db apply-schema\n"
        worker = home.run("worker", "start", expect=2)
        assert worker.stderr.endswith("schema noetl is not in the database: run noetl db apply-schema\n")
        home.run("db", "apply-schema")
        home.run("execute", "list")
        instance = home.json("server", "status")["instance"]
        assert instance is not None
        home.run("db", "reset-schema", "--yes")
        home.run("execute", "list")
        wait_for(lambda: home.json("server", "status")["instance"] != instance, "the new instance")


@pytest.mark.parametrize("how", [["--init-db"], {"NOETL_INIT_DB": "true"}, {"NOETL_SCHEMA_VALIDATE": "true"}])
def test_it_applies_the_schema_when_told_to(server: TestServer, tmp_path: Path, how: Any) -> None:
    flags = how if isinstance(how, list) else []
    with a_home(server, tmp_path, how if isinstance(how, dict) else None, with_schema=False) as home:
        home.run("server", "start", *flags)
        assert home.json("server", "status")["ready"] is True


def test_an_unreachable_database_is_one_sentence(home: Home) -> None:
    for variables, says in (
        ({"NOETL_DATABASE_URL": "postgresql://postgres@127.0.0.1:1/x"}, "Connection refused"),
        ({"NOETL_DATABASE_URL": "", "POSTGRES_HOST": "127.0.0.1"}, "POSTGRES_DB"),
    ):
        told = home.run("server", "start", env=variables, expect=2)
        assert says in told.stderr
        assert told.stderr.startswith("error: ")
        assert told.stderr.count("\n") == 1


def test_a_server_of_another_instance_is_not_talked_to(server: TestServer, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    token = {"NOETL_API_TOKEN": "the-same"}
    with a_home(server, tmp_path / "one", token) as one, a_home(server, tmp_path / "two", token) as two:
        one.run("server", "start")
        two.run("server", "start")
        port = one.address.rpartition(":")[2]
        told = two.run("execute", "list", "--port", port, expect=2)
        assert "serves instance" in told.stderr
        assert str(two.settings.home) in told.stderr
        one.run("execute", "list", "--port", port)
        two.run("execute", "list")


def test_what_is_no_noetl_server_is_said_to_be_none(home: Home, server: TestServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = str(listening.getsockname()[1])
        with home.start("execute", "list", "--port", port) as process:
            listening.settimeout(30)
            peer, _ = listening.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
                _, err = process.communicate(timeout=30)
        assert process.returncode == 2
        assert err == f"error: what answers at http://127.0.0.1:{port} is not a NoETL server\n"
