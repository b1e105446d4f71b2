"""A server that ends before it answers: what was asked for happens once, and the command hears of it."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.home import Home, a_home
from tests.support.postgres import TestServer

PLAYBOOK = "apiVersion: noetl.io/v1\nkind: Playbook\nmetadata: {path: p}\nworkflow:\n  - step: start\n"
TOKEN = {"NOETL_API_TOKEN": "its-own"}
LIMIT = 60.0


class Losing:
    """Stand before a server and hand on what goes to and fro; of the first call that begins so, lose the answer."""

    def __init__(self, port: int, call: bytes) -> None:
        self._port = port
        self._call = call
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.lost = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Losing":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(LIMIT)
        self._socket.close()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return  # it was shut down
            with client, socket.create_connection(("127.0.0.1", self._port), timeout=LIMIT) as server:
                client.settimeout(LIMIT)
                while self._hand_on(client, server):
                    pass

    def _hand_on(self, client: socket.socket, server: socket.socket) -> bool:
        request = message(client)
        if not request:
            return False
        server.sendall(request)
        answer = message(server)
        if not self.lost and request.startswith(self._call):
            self.lost += 1
            return False
        client.sendall(answer)
        return True


def message(peer: socket.socket) -> bytes:
    """Return one whole message of HTTP, nothing where the connection has ended."""
    text = b""
    while b"\r\n\r\n" not in text:
        part = peer.recv(65536)
        if not part:
            return b""
        text += part
    head, _, body = text.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while len(body) < int((lengths or [b"0"])[0]):
        part = peer.recv(65536)
        text, body = text + part, body + part
    return text


@pytest.fixture
def home(server: TestServer, tmp_path: Path) -> Iterator[Home]:
    with a_home(server, tmp_path, TOKEN) as home:
        home.write("p", PLAYBOOK)
        home.run("server", "start")
        yield home


def port_of(home: Home) -> int:
    return int(home.address.rpartition(":")[2])


def test_a_start_whose_answer_is_lost_starts_one_execution(home: Home) -> None:
    with Losing(port_of(home), b"POST /api/executions ") as between:
        started = home.run("execute", "playbook", "p", "--no-wait", "--port", str(between.port))
        assert between.lost == 1
    assert "started before" not in started.stderr, "the key is the command's own"
    (execution,) = home.json("execute", "list")
    assert execution["execution_id"] == started.stdout.strip()
    assert execution["start_key"].startswith("cli:")
    home.run("execute", "playbook", "p", "--no-wait")
    assert len(home.json("execute", "list")) == 2, "each start has a key of its own"


def test_a_registration_and_a_removal_whose_answers_are_lost_are_done(home: Home) -> None:
    with Losing(port_of(home), b"POST /api/catalog ") as between:
        home.run("catalog", "register", "p.yaml", "--port", str(between.port))
        assert between.lost == 1
    (entry,) = home.json("catalog", "list")
    assert entry["version"] == 1
    key = {"NOETL_ENCRYPTION_KEY": "cHV0LWEta2V5LW9mLXlvdXItb3duLWluLWhlcmUtMTI="}
    home.run("server", "stop")
    home.run("server", "start", env=key)
    add = ("credential", "add", "c", "--type", "bearer", "--set", "token=env:NOETL_API_TOKEN")
    with Losing(port_of(home), b"POST /api/credentials ") as between:
        told = home.run(*add, "--port", str(between.port), expect=2)
        assert "whether the call took effect is not known" in told.stderr
        assert [row["name"] for row in home.json("credential", "list")] == ["c"]
    with Losing(port_of(home), b"DELETE /api/credentials/") as between:
        home.run("credential", "remove", "c", "--port", str(between.port))
        assert between.lost == 1
    assert home.json("credential", "list") == []
