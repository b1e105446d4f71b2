"""Nothing that had a secret in it follows a redirect to another host, in whatever form it was sent."""

from collections.abc import Iterator
from typing import Any

import pytest

from noetl.calls import Call
from noetl.outcomes import Done, Failed
from noetl.tools.registry import TOOLS
from tests.support.stub import Stub, serving

AWKWARD = 'p@ss & /w"örd" 1'
"""What a form and a URL quote, and what JSON escapes."""


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Stub, Stub]]:
    """Two services on two ports: the port makes another host of the second."""
    with serving() as home, serving() as away:
        home.redirects = {
            "/moved": (307, f"{away.url}/got"),
            "/see-other": (303, f"{away.url}/got"),
            "/with-query": (307, f"{away.url}/got?page=2"),
        }
        yield home, away


def post(url: str, secrets: tuple[str, ...], **fields: Any) -> Done | Failed:
    given = {"endpoint": url, "method": "POST", **fields}
    return TOOLS["http"].run(Call("http", "7:a:1:-1", "p#a", given, {}, 20.0, 1 << 25, {}, {}, secrets))


FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}
BODIES = [
    {"payload": {"user": "ada", "password": AWKWARD}, "headers": FORM},
    {"payload": {"user": "ä", "password": AWKWARD}},
    {"payload": {"list": [1, {"deep": f"Key {AWKWARD}."}]}},
    {"payload": f"password={AWKWARD}"},
    {"payload": f'{{"p": "{AWKWARD[:4]}"}}', "headers": JSON},
    {"data": {"body": {AWKWARD: 1}}},
]


@pytest.mark.parametrize("fields", BODIES)
def test_a_body_made_of_a_secret_is_not_sent_to_another_host(
    servers: tuple[Stub, Stub], fields: dict[str, Any]
) -> None:
    home, away = servers
    home.asked.clear()
    away.asked.clear()
    answer = post(f"{home.url}/moved", (AWKWARD, AWKWARD[:4]), **fields)
    assert isinstance(answer, Failed)
    assert "would be sent the secret that is in the body" in answer.error["message"]
    assert len(home.asked) == 1
    assert not away.asked


@pytest.mark.parametrize("fields", BODIES)
def test_what_a_redirect_sends_without_its_body_is_sent(servers: tuple[Stub, Stub], fields: dict[str, Any]) -> None:
    """303 asks for another page; nothing of the body is in that."""
    home, away = servers
    away.asked.clear()
    assert isinstance(post(f"{home.url}/see-other", (AWKWARD, AWKWARD[:4]), **fields), Done)
    [asked] = away.asked
    assert (asked["method"], asked["body"]) == ("GET", "")


def test_a_short_secret_counts_in_a_body_too(servers: tuple[Stub, Stub]) -> None:
    home, away = servers
    away.asked.clear()
    assert isinstance(post(f"{home.url}/moved", ("abc",), payload={"pin": "abc"}), Failed)
    assert not away.asked


@pytest.mark.parametrize("secret", [AWKWARD, "long-and-plain-secret-7", "abc"])
def test_an_address_that_repeats_a_secret_of_the_query_is_not_followed(servers: tuple[Stub, Stub], secret: str) -> None:
    """The first host sends the caller on with the query it was given."""
    import httpx

    home, away = servers
    away.asked.clear()
    there = httpx.URL(f"{away.url}/got", params={"api_key": secret, "page": "2"})
    home.redirects = {**home.redirects, "/again": (302, str(there))}
    answer = post(f"{home.url}/again", (secret,), params={"api_key": secret})
    assert isinstance(answer, Failed)
    assert "by an address that has the secret in it" in answer.error["message"]
    assert secret not in answer.error["message"]
    assert not away.asked


def test_a_header_of_the_steps_own_with_a_secret_in_it_is_left_out(servers: tuple[Stub, Stub]) -> None:
    home, away = servers
    away.asked.clear()
    headers = {"X-Signature": "v1=abc", "X-Plain": "kept"}
    assert isinstance(post(f"{home.url}/moved", ("abc",), headers=headers), Done)
    [asked] = away.asked
    assert "x-signature" not in asked["headers"]
    assert asked["headers"]["x-plain"] == "kept"


def test_without_a_secret_a_body_goes_along(servers: tuple[Stub, Stub]) -> None:
    home, away = servers
    away.asked.clear()
    answer = post(f"{home.url}/with-query", ("some-other-secret",), payload={"id": 7}, params={"page": 1})
    assert isinstance(answer, Done)
    assert [(asked["body"], asked["query"]) for asked in away.asked] == [('{"id":7}', [("page", "2")])]
