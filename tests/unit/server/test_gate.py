"""What the gate lets through: token, Host, Origin, JSON bodies up to the limit."""

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from noetl.database.connection.connect import Database
from noetl.errors import Unreachable
from noetl.orchestrator.commands import Orchestrator
from noetl.server.app import build_api, build_app
from noetl.server.gate import OPEN_PATHS, Gate, Hosts, is_loopback
from noetl.server.service import Service
from noetl.settings import Settings
from tests.support.api import ApiClient

TOKEN = "a-token"
AUTH = {"Authorization": f"Bearer {TOKEN}"}
LIMIT = 1000


class NoDatabase:
    """A database that nobody can reach."""

    schema = "noetl"

    def session(self, **_: Any) -> AbstractContextManager[Any]:
        raise Unreachable("no connection to the database")


def make_service(**given: Any) -> Service:
    settings = Settings(home=Path("/nowhere"), encryption_key=(bytes(32),), **given)
    return Service(cast(Database, NoDatabase()), cast(Orchestrator, SimpleNamespace(settings=settings)))


@pytest.fixture(scope="module")
def client() -> ApiClient:
    return ApiClient(build_app(make_service(body_limit=LIMIT), token=TOKEN, bound="127.0.0.1"))


@cache
def every_route() -> list[tuple[str, str]]:
    """Return (method, path) of all routes there are, those that OpenAPI does not describe included."""
    app = build_api(make_service())
    found = {
        (method.upper(), path.replace("{execution_id}", "1").replace("{path}", "a/b").replace("{name}", "n"))
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    }
    found.add(("GET", str(app.openapi_url)))
    return sorted(found)


def test_there_are_the_routes_that_are_promised() -> None:
    paths = {path for _, path in every_route()}
    assert {"/livez", "/readyz", "/api/health", "/api/catalog", "/api/catalog/a/b", "/api/executions"} <= paths
    assert {f"/api/executions/1{end}" for end in ("", "/events", "/stream", "/output", "/cancel")} <= paths
    assert {"/api/queue", "/api/runtime", "/api/errors", "/api/openapi.json"} <= paths


def test_openapi_describes_every_route_of_the_application() -> None:
    """Else the enumeration below would miss one."""
    described = set(build_api(make_service()).openapi()["paths"])
    assert len(described) + 1 == len({path for _, path in every_route()})


@pytest.mark.parametrize("given", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}])
@pytest.mark.parametrize(("method", "path"), every_route())
def test_every_route_but_the_probes_needs_the_token(
    client: ApiClient, method: str, path: str, given: dict[str, str]
) -> None:
    answer = client.request(method, path, headers=given)
    if path in OPEN_PATHS:
        assert answer.status_code != 401
    else:
        assert answer.status_code == 401
        assert answer.json()["error"]["type"] == "unauthorized"
        assert TOKEN not in answer.text


@pytest.mark.parametrize(("method", "path"), every_route())
def test_no_route_but_liveness_and_description_serves_without_a_database(
    client: ApiClient, method: str, path: str
) -> None:
    body: dict[str, Any] = {"json": {"content": "x", "path": "x"}} if method == "POST" else {}
    if path.endswith("cancel"):
        body = {"json": {}}
    if path == "/api/executions" and method == "POST":
        body = {"json": {"path": "x"}}
    if path == "/api/catalog" and method == "POST":
        body = {"json": {"content": "x"}}
    if path == "/api/credentials" and method == "POST":
        body = {"json": {"name": "x", "type": "bearer", "fields": {"token": "x"}}}
    answer = client.request(method, path, headers=AUTH, **body)
    assert answer.status_code == (200 if path in ("/livez", "/api/openapi.json") else 503), answer.text


def test_a_path_that_does_not_exist_needs_the_token_too(client: ApiClient) -> None:
    assert client.get("/nothing").status_code == 401
    assert client.get("/nothing", headers=AUTH).status_code == 404
    assert client.get("/livez/", headers={}).status_code == 401
    assert client.request("DELETE", "/api/health", headers=AUTH).status_code == 405


@pytest.mark.parametrize("header", ["evil.example", "evil.example:8082", "127.0.0.1.evil.example", "", "10.0.0.1"])
def test_a_foreign_host_is_refused_even_with_the_token(client: ApiClient, header: str) -> None:
    answer = client.get("/api/health", headers={**AUTH, "Host": header})
    assert answer.status_code == 403
    assert answer.json()["error"]["type"] == "foreign_host"
    assert client.get("/livez", headers={"Host": header}).status_code == 403


@pytest.mark.parametrize("header", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8082"])
def test_loopback_has_several_names(client: ApiClient, header: str) -> None:
    assert client.get("/livez", headers={"Host": header}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:3000", "https://localhost:8082"])
def test_a_foreign_origin_is_refused(client: ApiClient, origin: str) -> None:
    answer = client.get("/api/health", headers={**AUTH, "Origin": origin})
    assert answer.status_code == 403
    assert answer.json()["error"]["type"] == "foreign_origin"


def test_the_own_origin_passes(client: ApiClient) -> None:
    answer = client.get("/livez", headers={"Origin": "http://127.0.0.1:8082"})
    assert answer.status_code == 200


def test_bound_beyond_loopback_addresses_and_allowed_names_are_known() -> None:
    hosts = Hosts("0.0.0.0", ["noetl.example.com"])
    assert hosts.known("10.1.2.3:8082")
    assert hosts.known("[fe80::1]:8082")
    assert hosts.known("NOETL.example.com")
    assert not hosts.known("other.example.com")


def test_loopback_is_told_from_other_addresses() -> None:
    assert all(map(is_loopback, ["127.0.0.1", "127.9.9.9", "::1", "localhost"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "10.0.0.1", "example.com", ""]))


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
def test_a_body_that_is_not_json_is_refused(client: ApiClient, kind: str | None) -> None:
    headers = {**AUTH, **({"Content-Type": kind} if kind else {})}
    answer = client.post("/api/executions", content=b'{"path": "x"}', headers=headers)
    assert answer.status_code == 415
    assert answer.json()["error"]["type"] == "not_json"


def test_a_body_over_the_limit_is_413_and_one_at_the_limit_is_not(client: ApiClient) -> None:
    headers = {**AUTH, "Content-Type": "application/json"}
    filler = b'{"path": "' + b"x" * (LIMIT - 12) + b'"}'
    assert len(filler) == LIMIT
    assert client.post("/api/executions", content=filler, headers=headers).status_code == 422
    answer = client.post("/api/executions", content=filler + b" ", headers=headers)
    assert answer.status_code == 413
    assert "1,000 bytes" in answer.json()["error"]["message"]


def test_a_body_that_comes_in_pieces_is_counted(client: ApiClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 100

    headers = {**AUTH, "Content-Type": "application/json"}
    assert client.post("/api/executions", content=pieces(), headers=headers).status_code == 413


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"path": "x", "payload": [1]}', "payload"),
        ('{"path": "x", "payload": "text"}', "payload"),
        ('{"path": "x", "version": "1"}', "version"),
        ('{"path": "x", "version": 0}', "version"),
        ('{"path": "x", "priority": 99999999999}', "priority"),
        ('{"path": "x", "labels": {"a": 1}}', "labels"),
        ('{"path": "x", "merge": 1}', "merge"),
        ('{"path": "x", "colour": 1}', "colour"),
        ('{"path": "a\\u0000b"}', "path"),
        ('{"path": "a\\ud800b"}', "path"),
        ('{"path": ""}', "path"),
        ("{}", "path"),
        ("{", ""),
        ("[]", ""),
    ],
)
def test_a_wrong_body_names_the_field(client: ApiClient, body: str, field: str) -> None:
    answer = client.post("/api/executions", content=body, headers={**AUTH, "Content-Type": "application/json"})
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert error["type"] == "validation"
    assert error["message"].startswith(field)
    assert "\n" not in error["message"]


def test_the_answer_to_what_nobody_foresaw_shows_nothing_of_it() -> None:
    service = make_service()
    api = build_api(service)

    @api.get("/api/broken")
    def broken() -> None:
        raise RuntimeError("a secret")

    app = Gate(api, token=TOKEN, hosts=Hosts("127.0.0.1"), limit=LIMIT)
    answer = ApiClient(app).get("/api/broken", headers=AUTH)
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["error"]["type"] == "internal"
