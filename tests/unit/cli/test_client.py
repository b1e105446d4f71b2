"""Connections that end: an idle one is never used, a lost answer is asked for again where that does no harm."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from noetl.cli.connection import client as client_module
from noetl.cli.connection.address import ServerLocation
from noetl.cli.connection.client import Client
from noetl.cli.execute.command import ask_to_end
from noetl.errors import AnswerLost, Unreachable
from tests.support.listener import OK, Listener

GONE = OK.replace(b"200 OK", b"404 Not Found").replace(b"2\r\n\r\n{}", b"27\r\n\r\n" + b'{"error": {"message": "x"}}')


@contextmanager
def client_of(listener: Listener) -> Iterator[Client]:
    with closing(Client(ServerLocation(f"http://127.0.0.1:{listener.port}"))) as client:
        yield client


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that a test sets: its one item is the time."""
    now = [100.0]
    monkeypatch.setattr(client_module, "monotonic", lambda: now[0])
    return now


def test_a_connection_in_use_is_used_again_and_an_idle_one_is_not(clock: list[float]) -> None:
    with Listener([OK] * 3) as listener, client_of(listener) as client:
        client.get("/a")
        clock[0] += client_module.IDLE_SECONDS / 2
        client.post("/b", {})
        assert listener.connections == 1
    with Listener([OK] * 3) as listener, client_of(listener) as client:
        client.get("/a")
        clock[0] += client_module.IDLE_SECONDS + 0.1
        client.post("/b", {})
        assert listener.connections == 2


def test_a_connection_that_the_server_has_closed_is_not_used_for_a_call() -> None:
    with Listener([OK, OK, OK], keep=False) as listener, client_of(listener) as client:
        for _ in range(3):
            client.post("/a", {})
        assert len(listener.heard) == listener.connections == 3


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.get("/a"),
        lambda client: client.items("/a"),
        lambda client: client.post("/a", {"key": "k"}, repeat=True),
        lambda client: client.delete("/a"),
    ],
)
def test_a_lost_answer_is_asked_for_again_where_a_second_call_does_no_harm(call: Any) -> None:
    page = OK.replace(b"2\r\n\r\n{}", b"27\r\n\r\n" + b'{"items": [], "next": null}')
    with Listener([None, page]) as listener, client_of(listener) as client:
        call(client)
        assert len(listener.heard) == 2
        assert listener.heard[0] == listener.heard[1]


def test_a_call_that_is_not_to_be_repeated_says_that_its_effect_is_unknown() -> None:
    with Listener([None, OK]) as listener, client_of(listener) as client:
        with pytest.raises(AnswerLost, match="whether the call took effect is not known"):
            client.post("/a", {})
        assert len(listener.heard) == 1


def test_an_answer_that_breaks_off_is_lost_too() -> None:
    with Listener([OK[:-1], OK], keep=False) as listener, client_of(listener) as client:
        assert client.get("/a") == {}


def test_a_removal_whose_answer_was_lost_is_done_when_there_is_nothing_any_more() -> None:
    with Listener([None, GONE]) as listener, client_of(listener) as client:
        assert client.delete("/a") is None


def test_where_nobody_listens_nothing_is_repeated() -> None:
    with Listener() as listener:
        port = listener.port
    with pytest.raises(Unreachable, match="no server can be reached") as caught:
        Client(ServerLocation(f"http://127.0.0.1:{port}")).get("/a")
    assert not isinstance(caught.value, AnswerLost)


@pytest.mark.parametrize(("heard", "requests"), [('"2026-01-01T00:00:00Z"', 2), ("null", 3)])
def test_a_cancel_is_repeated_only_where_the_first_was_not_heard(heard: str, requests: int) -> None:
    """A second cancel is no repetition: it ends the `finally`."""
    body = f'{{"execution_id": "7", "status": "cancelling", "cancel_requested_at": {heard}}}'.encode()
    shown = OK.replace(b"2\r\n\r\n{}", str(len(body)).encode() + b"\r\n\r\n" + body)
    with Listener([None, shown, shown]) as listener, client_of(listener) as client:
        assert ask_to_end(client, "7", "") == {"execution_id": "7", "status": "cancelling"}
        assert len(listener.heard) == requests
