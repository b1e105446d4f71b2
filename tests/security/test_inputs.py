"""No input makes the API fail: each wrong parameter, cursor or body is answered by an error that names it."""

import base64
import json
import re
from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from noetl.database.connection.connect import Database
from noetl.orchestrator.commands import Orchestrator
from noetl.server.app import build_api, build_app
from noetl.server.openapi_examples import BODIES
from noetl.server.service import Service
from noetl.settings import Settings
from tests.support.api import ApiClient
from tests.unit.server.test_gate import make_service

PLAYBOOK = str(BODIES["RegisterBody"]["content"])
JSON_TEXT = {"Content-Type": "application/json"}


def cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


CURSORS = [
    cursor(text)
    for text in (
        *("[Infinity]", "[-Infinity]", "[NaN]", "[1e400]", "[1.5]", "[true]", "[null]", "[[]]", "{}", "7", '"7"', "["),
        *(f"[{9 * 10**30}]", f'["{9 * 10**30}"]', f"[{'9' * 5000}]", '["\\ud800"]', '["a\\u0000"]', "[]", "[1,2]"),
        *('["0001-01-01T00:00:00+23:59","a"]', '["9999-12-31T23:59:59-23:59","a"]', '["x","a"]', '["2026-01-01",1]'),
        *('["2026-01-01T00:00:00Z","a",1e400,0,0]', '["2026-01-01T00:00:00Z","a",99999999999,0,0]'),
        *("[" * 4000, '["' + "x" * 5000 + '"]'),
    )
]
TEXTS = ["", " ", "0", "-1", "1e400", "Infinity", "nan", "9" * 19, "9" * 30, "9" * 5000, "\0", "a\0b", "é", "٣", "1_0"]
TEXTS += [
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "2026-01-01",
    "3/5",
    "3/" * 400 + "1",
    "a=b",
    "=",
    "\u00ed\u00a0\u0080",
    "'; --",
    "%",
]


@cache
def operations() -> list[tuple[str, str, dict[str, Any]]]:
    """Return (method, path, description) of every route but the stream, which goes on."""
    paths = build_api(make_service()).openapi()["paths"]
    return [
        (method.upper(), path, operation)
        for path, methods in paths.items()
        for method, operation in methods.items()
        if not path.endswith("/stream")
    ]


def query_parameters() -> list[tuple[str, str]]:
    return [
        (path, parameter["name"])
        for _, path, operation in operations()
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "query"
    ]


@pytest.fixture
def api(settings: Settings, database: Database) -> Iterator[tuple[ApiClient, str]]:
    """The API over a database with one execution, and that execution's id."""
    service = Service(database, Orchestrator(database, settings))
    api = ApiClient(build_app(service, token="token", bound="127.0.0.1"), token="token")
    api.post("/api/catalog", json={"content": PLAYBOOK})
    started = api.post("/api/executions", json={"path": "demo/hello"})
    assert started.status_code == 201
    yield api, started.json()["execution_id"]
    service.reader.stop()


def judge(answer: Any, where: object) -> Any:
    """Hold an answer to the shape that every answer has; return its error, None where it is none."""
    assert answer.status_code < 500, (where, answer.text)
    if answer.status_code < 400:
        return None
    assert answer.headers["content-type"] == "application/json", where
    found = answer.json()
    assert set(found) == {"error"}
    assert set(found["error"]) == {"type", "message", "detail"}
    assert found["error"]["message"], where
    return found["error"]


def test_every_query_parameter_takes_or_refuses_everything_by_its_name(api: tuple[ApiClient, str]) -> None:
    client, execution = api
    tried = 0
    for path, name in query_parameters():
        place = path.replace("{execution_id}", execution).replace("{path}", "demo/hello").replace("{step}", "start")
        for value in (*TEXTS, *CURSORS):
            wrong = judge(client.get(f"{place}?{urlencode({name: value})}"), (place, name, value))
            tried += 1
            if wrong is not None and wrong["type"] == "validation":
                assert wrong["message"].startswith(f"{name}"), (place, name, value, wrong)
    assert tried > 1000


def test_a_cursor_that_no_list_has_given_is_refused(api: tuple[ApiClient, str]) -> None:
    client, _ = api
    for after in CURSORS[:8]:
        for path in ("/api/executions", "/api/queue", "/api/errors", "/api/runtime"):
            answer = client.get(f"{path}?after={after}")
            assert answer.status_code == 422, (path, after)
            assert "which no list has given" in answer.json()["error"]["message"]


def test_every_place_in_a_path_takes_or_refuses_everything(api: tuple[ApiClient, str]) -> None:
    client, execution = api
    for value, (method, path, _) in product([*TEXTS, *CURSORS[:4]], operations()):
        if "{" not in path:
            continue
        for place in {path, path.replace("{execution_id}", execution)}:
            filled = re.sub(r"\{\w+\}", lambda _: quote(value, safe=""), place)  # noqa: B023
            judge(client.request(method, filled), (method, filled))


def test_the_header_of_the_stream_is_named(api: tuple[ApiClient, str]) -> None:
    client, execution = api
    for header in (b"x", b"-1", b"9" * 30, b"\xff", b""):
        answer = client.get(f"/api/executions/{execution}/stream", headers={"Last-Event-ID": header})
        assert judge(answer, header)["message"].startswith("Last-Event-ID is")


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
POSTS = [(path, operation) for method, path, operation in operations() if method == "POST"]
FIELDS = {
    "/api/catalog": ("content", "filename", "by"),
    "/api/executions": ("path", "version", "payload", "merge", "set", "labels", "priority", "key", "by"),
    "/api/executions/{execution_id}/cancel": ("reason", "by"),
    "/api/credentials": ("name", "type", "fields", "description", "replace"),
    "/api/credentials/rotate": (),
}
RIGHT = {
    "/api/catalog": BODIES["RegisterBody"],
    "/api/executions": BODIES["StartBody"],
    "/api/executions/{execution_id}/cancel": BODIES["CancelBody"],
    "/api/credentials": BODIES["CredentialBody"],
}


def test_every_route_that_takes_a_body_is_tried() -> None:
    assert {path for path, _ in POSTS} == set(FIELDS)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_body_is_taken_or_refused(api: tuple[ApiClient, str], data: st.DataObject) -> None:
    client, execution = api
    path, _ = data.draw(st.sampled_from(POSTS))
    body: Any = dict(RIGHT.get(path, {}))
    match data.draw(st.sampled_from(["field", "whole", "bytes"])):
        case "field" if FIELDS[path]:
            body[data.draw(st.sampled_from(FIELDS[path]) | st.text(max_size=5))] = data.draw(values)
            content = json.dumps(body).encode()
        case "bytes":
            content = data.draw(st.binary(min_size=1, max_size=50))
        case _:
            content = json.dumps(data.draw(values)).encode()
    answer = client.post(path.replace("{execution_id}", execution), content=content, headers=JSON_TEXT)
    judge(answer, (path, content))


def test_bodies_that_no_parser_likes(api: tuple[ApiClient, str]) -> None:
    client, execution = api
    contents = [b"[" * 100_000, b'{"path":' * 5000, b'{"payload": {"a": 1e999}}', b"9" * 5000]
    for content, (path, _) in product(contents, POSTS):
        judge(client.post(path.replace("{execution_id}", execution), content=content, headers=JSON_TEXT), path)


# Unknown parameters


REFUSED = [
    ("stat=failed", "there is no query parameter 'stat' (did you mean 'status'?): there are after, key, label"),
    ("status=failed&zzz=1", "there is no query parameter 'zzz': there are"),
    ("Status=failed", "there is no query parameter 'Status' (did you mean 'status'?)"),
    ("limit=1&limit=2", "limit is given 2 times: give it once"),
    ("status=bogus", "status is 'bogus'; it must be 'running', 'paused', 'failing'"),
    ("limit=1e3", "limit is '1e3'; it must be a whole number"),
    ("parent=x", "parent is 'x'; it must be the id of an execution"),
]


def test_a_parameter_that_would_not_be_heeded_is_an_error(api: tuple[ApiClient, str]) -> None:
    client, _ = api
    for query, says in REFUSED:
        answer = client.get(f"/api/executions?{query}")
        assert answer.status_code == 422
        assert answer.json()["error"]["message"].startswith(says)


def test_no_route_heeds_a_parameter_that_it_does_not_describe(api: tuple[ApiClient, str]) -> None:
    client, execution = api
    for method, path, _ in operations():
        place = path.replace("{execution_id}", execution).replace("{path}", "demo/hello")
        body = {"json": RIGHT[path]} if path in RIGHT else {}
        answer = client.request(method, f"{place}?nonsense=1", **body)
        assert answer.status_code == 422, (method, place)
        assert "'nonsense'" in answer.json()["error"]["message"]


def test_several_values_of_a_list_are_heeded(api: tuple[ApiClient, str]) -> None:
    client, execution = api
    answer = client.get("/api/executions?status=completed&status=failed&limit=5")
    assert [item["execution_id"] for item in answer.json()["items"]] == [execution]


# Limits and types of bodies


def test_a_payload_follows_the_setting_of_the_body_limit(settings: Settings, database: Database) -> None:
    from dataclasses import replace

    larger = replace(settings, body_limit=20 * 1024 * 1024)
    service = Service(database, Orchestrator(database, larger))
    client = ApiClient(build_app(service, token="token", bound="127.0.0.1"), token="token")
    client.post("/api/catalog", json={"content": PLAYBOOK})
    answer = client.post("/api/executions", json={"path": "demo/hello", "payload": {"name": "x" * 17_000_000}})
    assert answer.status_code == 201, answer.text[:500]
    service.reader.stop()


def test_a_document_may_be_sent_as_it_is(api: tuple[ApiClient, str]) -> None:
    client, _ = api
    kinds = ["application/yaml", "text/yaml; charset=utf-8", "application/x-yaml", "Text/X-YAML"]
    for number, kind in enumerate(kinds, 2):
        headers = {"Content-Type": kind}
        changed = PLAYBOOK + "# ä\n" * number
        answer = client.post("/api/catalog", content=changed.encode(), headers=headers)
        assert (answer.status_code, answer.json()["version"]) == (201, number)
        assert client.get("/api/catalog/demo/hello").json()["content"] == changed
        wrong = client.post("/api/catalog", content=b"a: \xff", headers=headers)
        assert wrong.status_code == 422
        assert judge(wrong, kind)["message"] == "the document is not UTF-8 text: send it as UTF-8"
        elsewhere = client.post("/api/executions", content=changed.encode(), headers=headers)
        assert elsewhere.status_code == 415
        assert "a document for /api/catalog may be application/yaml" in elsewhere.json()["error"]["message"]
