"""How an http step logs in, and what does not follow a redirect to another host."""

import base64
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from noetl.calls import Call
from noetl.outcomes import Done, Failed
from noetl.tools.http.login import login_of
from noetl.tools.registry import TOOLS
from tests.support.stub import Stub, serving

VALUE = "canary-value-42"


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Stub, Stub]]:
    """Two services on two ports: the port makes another host of the second."""
    with serving() as home, serving() as away:
        yield home, away


@pytest.fixture
def home(servers: tuple[Stub, Stub]) -> Stub:
    servers[0].asked.clear()
    return servers[0]


@pytest.fixture
def away(servers: tuple[Stub, Stub]) -> Stub:
    servers[1].asked.clear()
    return servers[1]


def ask(url: str, auth: dict[str, Any], secrets: tuple[str, ...] = (VALUE,), **fields: Any) -> Done | Failed:
    call = Call("http", "7:a:1:-1", "p#a", {"endpoint": url, **fields}, {}, 20.0, 1 << 25, {}, {"": auth}, secrets)
    return TOOLS["http"].run(call)


def result(answer: Done | Failed) -> Any:
    assert isinstance(answer, Done), answer
    return orjson.loads(answer.result)


def message(answer: Done | Failed) -> str:
    assert isinstance(answer, Failed), answer
    assert VALUE not in answer.error["message"]
    return str(answer.error["message"])


BEARER = {"type": "bearer", "token": VALUE}
BASIC = {"type": "basic", "username": "ada", "password": VALUE}
KEY = {"type": "api_key", "value": VALUE}
QUERY = {"type": "api_key", "value": VALUE, "in": "query", "name": "k"}
OWN = {"type": "header", "name": "X-Own", "value": VALUE}


@pytest.mark.parametrize(
    ("auth", "name", "value"),
    [
        (BEARER, "authorization", f"Bearer {VALUE}"),
        (BASIC, "authorization", "Basic " + base64.b64encode(f"ada:{VALUE}".encode()).decode()),
        ({**BASIC, "password": ""}, "authorization", "Basic YWRhOg=="),
        (KEY, "x-api-key", VALUE),
        ({**KEY, "name": "X-Other"}, "x-other", VALUE),
        (OWN, "x-own", VALUE),
    ],
)
def test_each_type_logs_in_by_its_header(home: Stub, auth: dict[str, Any], name: str, value: str) -> None:
    result(ask(f"{home.url}/x", auth))
    assert home.asked[0]["headers"][name] == value


def test_a_key_in_the_query_is_not_in_the_url_that_is_told(home: Stub) -> None:
    got = result(ask(f"{home.url}/x?b=2", QUERY, params={"a": 1}))
    assert dict(home.asked[0]["query"]) == {"a": "1", "b": "2", "k": VALUE}
    assert got["url"] == f"{home.url}/x?b=2&a=1"
    result(ask(f"{home.url}/x", {"type": "api_key", "value": VALUE, "in": "query"}))
    assert dict(home.asked[1]["query"]) == {"api_key": VALUE}


@pytest.mark.parametrize(
    ("fields", "auth", "told"),
    [
        ({"headers": {"authorization": "x"}}, BEARER, "headers has 'Authorization', which auth gives"),
        ({"params": {"k": "x"}}, QUERY, "params has 'k', which auth gives"),
        ({}, {**BEARER, "token": f"{VALUE}\n"}, "for the header 'Authorization' has a line end"),
        ({}, {**OWN, "value": f"{VALUE}ä"}, "for the header 'X-Own' has a line end or another character"),
        ({}, {**BASIC, "username": "a:b"}, "cannot have a colon"),
        ({"headers": {"X": f"{VALUE}\r\nY: z"}}, BEARER, "headers.X has a line end"),
        ({}, {"type": "postgres", "password": VALUE}, "a credential of type postgres cannot log in"),
    ],
)
def test_a_login_that_cannot_be_sent_is_refused_without_showing_it(
    home: Stub, fields: dict[str, Any], auth: dict[str, Any], told: str
) -> None:
    answer = ask(f"{home.url}/x", auth, **fields)
    assert told in message(answer)
    assert isinstance(answer, Failed)
    assert answer.error["type"] == "validation"
    assert home.asked == []


def redirect(home: Stub, to: str, status: int = 302) -> None:
    home.redirects = {"/go": (status, to)}


@pytest.mark.parametrize("auth", [BEARER, BASIC, KEY, OWN])
def test_no_login_follows_a_redirect_to_another_host(home: Stub, away: Stub, auth: dict[str, Any]) -> None:
    """Nor does a header of the step that has a secret in it; what is harmless goes along."""
    redirect(home, f"{away.url}/there")
    headers = {"X-Mine": f"t={VALUE}", "X-Harmless": "h"}
    got = result(ask(f"{home.url}/go", auth, headers=headers))
    assert got["url"] == f"{away.url}/there"
    assert VALUE in str(home.asked[0]["headers"]) or auth is BASIC
    sent = away.asked[0]["headers"]
    assert sent["x-harmless"] == "h"
    assert not {"authorization", "x-api-key", "x-own", "x-mine"} & sent.keys()
    assert VALUE not in str(sent)


def test_it_does_not_come_back_when_the_other_host_sends_one_back(home: Stub, away: Stub) -> None:
    redirect(home, f"{away.url}/back")
    away.redirects = {"/back": (302, f"{home.url}/home")}
    result(ask(f"{home.url}/go", KEY))
    away.redirects = {}
    assert "x-api-key" not in home.asked[-1]["headers"]


def test_on_the_same_host_the_login_goes_along(home: Stub) -> None:
    redirect(home, "/same")
    result(ask(f"{home.url}/go", KEY))
    assert [asked["headers"]["x-api-key"] for asked in home.asked] == [VALUE, VALUE]


def test_a_body_with_a_secret_is_not_sent_to_another_host(home: Stub, away: Stub) -> None:
    """307 repeats the body: one without secrets is sent, one with them fails the step."""
    redirect(home, f"{away.url}/there", 307)
    result(ask(f"{home.url}/go", KEY, method="POST", payload={"a": 1}))
    assert away.asked[0]["body"] == '{"a":1}'
    away.asked.clear()
    for payload, secret in (({"a": VALUE}, VALUE), ({"a": 'q"\\q'}, 'q"\\q')):
        answer = ask(f"{home.url}/go", KEY, (secret,), method="POST", payload=payload)
        assert "would be sent the secret that is in the body" in message(answer)
    assert away.asked == []


def test_redirects_without_end_are_given_up(home: Stub) -> None:
    redirect(home, "/go")
    assert "more than 10 redirects" in message(ask(f"{home.url}/go", KEY))
    assert len(home.asked) == 11


def test_a_login_shows_nothing_of_itself() -> None:
    assert VALUE not in repr(login_of(BEARER, (VALUE,)))
