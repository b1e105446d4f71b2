"""Connections that only stay open, come in crowds or send slowly do not keep the server from serving."""

import errno
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from noetl.errors import Unreachable
from noetl.server import connections, gate
from noetl.server.connections import Acceptor, Crowd, OncePerMinute, Web
from noetl.server.gate import Gate, Hosts
from noetl.server.service import Service
from noetl.settings import Settings
from tests.support.home import a_home
from tests.support.postgres import TestServer
from tests.support.waiting import wait_for

TOKEN = "a-token"
AUTH = f"Authorization: Bearer {TOKEN}\r\n"
LIMIT = 30.0


async def hello(_scope: Any, receive: Any, send: Any) -> None:
    """Answer every request with two bytes."""
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@contextmanager
def serving(app: Any = hello, *, limit: int = 1000) -> Iterator[tuple[Web, int]]:
    """Serve an application behind the gate in a thread; give the server and its port."""
    web = Web(Gate(app, token=TOKEN, hosts=Hosts("127.0.0.1"), limit=limit), lambda: None)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=web.run, args=([listening],), daemon=True)
        thread.start()
        try:
            wait_for(lambda: web.started)
            yield web, int(listening.getsockname()[1])
        finally:
            web.should_exit = True
            thread.join(LIMIT)
            assert not thread.is_alive()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=LIMIT)


def ask(peer: socket.socket, extra: str = AUTH) -> bytes:
    """Send a request over a connection and return the answer; it ends with `ok`, or the connection ends."""
    peer.sendall(f"GET /api/x HTTP/1.1\r\nHost: 127.0.0.1\r\n{extra}\r\n".encode())
    return read(peer)


def read(peer: socket.socket) -> bytes:
    text = b""
    while not text.endswith((b"ok", b"}")):
        part = receive(peer)
        if not part:
            break
        text += part
    return text


def receive(peer: socket.socket) -> bytes:
    """Return bytes of a connection, none where it has ended one way or the other."""
    try:
        return peer.recv(65536)
    except ConnectionError:
        return b""


def test_a_head_that_does_not_come_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    with serving() as (_, port), connect(port) as silent, connect(port) as half:
        half.sendall(b"GET /api/x HTTP/1.1\r\nHost: 127")
        assert receive(silent) == receive(half) == b""


def test_the_second_request_of_a_connection_has_no_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as (_, port), connect(port) as peer:
        assert ask(peer).endswith(b"ok")
        monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
        peer.sendall(b"GET /api/x HTTP/1.1\r\nHost: 127")
        assert receive(peer) == b""


def test_a_body_that_does_not_come_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "BODY_SECONDS", 0.2)
    monkeypatch.setattr(gate, "_DRAIN_SECONDS", 0.2)
    head = "POST /api/x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 9\r\n"
    with serving() as (_, port), connect(port) as known, connect(port) as stranger:
        known.sendall(f"{head}{AUTH}\r\n[".encode())
        stranger.sendall(f"{head}\r\n[".encode())
        assert b"408" in (answer := read(known)).split(b"\r\n")[0], answer
        assert b"401" in read(stranger).split(b"\r\n")[0]


def test_a_stranger_has_a_minute_and_who_shows_the_token_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as (web, port), connect(port) as known:
        assert ask(known).endswith(b"ok")
        assert [each._stranger_timer for each in web.crowd._all] == [None]
        monkeypatch.setattr(connections, "STRANGER_SECONDS", 0.2)
        with connect(port) as stranger:
            assert receive(stranger) == b""
        assert ask(known).endswith(b"ok")


def test_the_oldest_strangers_make_room_and_the_known_stay() -> None:
    with serving() as (web, port), ExitStack() as stack:
        web.crowd.most_strangers = 3
        known = stack.enter_context(connect(port))
        assert ask(known).endswith(b"ok")
        crowd = [stack.enter_context(connect(port)) for _ in range(20)]
        for peer in crowd[:-3]:
            assert receive(peer) == b""
        wait_for(lambda: len(web.crowd._strangers) == 3)
        with connect(port) as late:
            assert ask(late).endswith(b"ok")
        assert ask(known).endswith(b"ok")


def test_a_stranger_who_shows_no_token_stays_one_and_garbage_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as (web, port), caplog.at_level(logging.WARNING), ExitStack() as stack:
        peers = [stack.enter_context(connect(port)) for _ in range(5)]
        for peer in peers[:2]:
            assert b"401" in ask(peer, "Authorization: Bearer wrong\r\n")
        assert len(web.crowd._strangers) == 5
        for peer in peers[2:]:
            peer.sendall(b"garbage\r\n\r\n")
            while receive(peer):
                pass
    assert [record.getMessage() for record in caplog.records].count("Invalid HTTP request received.") == 1


def test_the_limits_follow_the_descriptors() -> None:
    assert (Crowd(65536).most, Crowd(65536).most_strangers) == (1000, 100)
    few = Crowd(96, in_use=20)
    assert (few.most, few.most_strangers) == (44, 22)
    assert Crowd(10).most_strangers >= 2


def test_a_warning_comes_once_a_minute() -> None:
    now = [0.0]
    once = OncePerMinute(lambda: now[0])

    def passes(message: str, level: int = logging.WARNING) -> bool:
        return once.filter(logging.LogRecord("x", level, "", 0, message, (), None))

    assert [passes("a"), passes("a"), passes("b"), passes("a", logging.ERROR)] == [True, False, True, True]
    now[0] = 60.0
    assert [passes("a"), passes("a")] == [True, False]


class Exhausted:
    """A listening socket that nobody can be accepted from."""

    def __init__(self) -> None:
        self.asked = 0
        self._inside, self._outside = socket.socketpair()

    def accept(self) -> Any:
        self.asked += 1
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def fileno(self) -> int:
        return self._inside.fileno()

    def setblocking(self, _: bool) -> None:
        pass

    def close(self) -> None:
        self._inside.close()
        self._outside.close()


def test_without_descriptors_it_asks_once_lets_strangers_go_and_looks_again(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as (web, port), connect(port) as stranger:
        wait_for(lambda: len(web.crowd._strangers) == 1)
        listening, done = Exhausted(), threading.Event()
        loop = next(iter(web.crowd._strangers)).loop

        def begin() -> None:
            acceptor = Acceptor(cast(socket.socket, listening), cast(Any, None), web.crowd)
            acceptor.accept()
            acceptor.close()
            done.set()

        loop.call_soon_threadsafe(begin)
        assert done.wait(LIMIT)
        assert listening.asked == 1
        assert receive(stranger) == b""
        listening.close()
    assert len([record for record in caplog.records if "no connection can be accepted" in record.getMessage()]) == 1


def test_half_open_connections_and_few_descriptors_leave_the_server_serving(server: TestServer, tmp_path: Any) -> None:
    with a_home(server, tmp_path) as home, ExitStack() as stack:
        command = f"ulimit -n 96; exec {sys.executable} -m noetl server start --foreground"
        log = stack.enter_context((tmp_path / "log").open("wb"))
        process = stack.enter_context(
            subprocess.Popen(["/bin/sh", "-c", command], cwd=home.work, env=home.environment, stdout=log, stderr=log)
        )
        stack.callback(process.terminate)
        wait_for(lambda: (home.settings.home / "server.json").exists(), limit=LIMIT)
        port, token = int(home.address.rpartition(":")[2]), f"Authorization: Bearer {home.token}\r\n"
        peers = []
        for number in range(300):
            peers.append(stack.enter_context(connect(port)))
            if number % 2:
                peers[-1].sendall(b"GET /api/health HTTP/1.1\r\nHo")
        assert home.json("credential", "list") == []
        with connect(port) as honest:
            assert b"404" in ask(honest, token).split(b"\r\n")[0], "there is no such path, and the token was heard"
        ended = [peer for peer in peers[:200] if receive(peer) == b""]
        assert len(ended) == 200
        log.flush()
        assert (tmp_path / "log").stat().st_size < 20_000, (tmp_path / "log").read_text()[-2000:]


class Counting:
    """A database that counts its sessions, and has no schema to show."""

    schema = "noetl"

    def __init__(self) -> None:
        self.sessions = 0
        self.entered, self.released = threading.Event(), threading.Event()
        self.released.set()

    def session(self) -> AbstractContextManager[Any]:
        self.sessions += 1
        self.entered.set()
        assert self.released.wait(LIMIT)
        raise Unreachable("no connection to the database")


def test_readiness_asks_the_database_by_one_caller_at_a_time() -> None:
    database = Counting()
    settings = Settings(home=Path("/nowhere"))
    service = Service(cast(Any, database), cast(Any, SimpleNamespace(settings=settings)))
    assert database.sessions == 1
    database.entered.clear()
    database.released.clear()
    slow = threading.Thread(target=service.look)
    slow.start()
    assert database.entered.wait(LIMIT)
    for _ in range(20):
        assert isinstance(service.look(), Unreachable)
    assert database.sessions == 2
    database.released.set()
    slow.join(LIMIT)
    service._problem = None
    for _ in range(20):
        assert service.look() is None
    assert database.sessions == 2
