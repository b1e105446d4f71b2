"""Every example runs, on a real worker, against local stubs."""

import base64
import hmac
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from noetl.database.connection.connect import Database
from noetl.settings import Settings
from tests.support.docker import engine as docker_engine
from tests.support.docker import small_image
from tests.support.stub import Answers, serving
from tests.support.vault import Vault
from tests.support.working import Engine, working

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(str(path.relative_to(EXAMPLES.parent)) for path in EXAMPLES.rglob("*.yaml"))


def items(asked: dict[str, Any]) -> dict[str, Any]:
    """Three pages: two items, two items, one."""
    page = int(dict(asked["query"])["page"])
    return {"items": [f"{page}.{n}" for n in range(2 if page < 3 else 1)], "next": page + 1 if page < 3 else None}


class Unsteady:
    """An API that is not there for the first two that ask."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, asked: dict[str, Any]) -> Any:
        self.asked += 1
        return (503, {"why": "not yet"}) if self.asked < 3 else {"value": 7}


ANSWERS: Answers = {
    "/forecast": lambda asked: {"city": dict(asked["query"])["city"], "temperature": 31},
    "/alerts": lambda asked: {"accepted": True},
    "/items": items,
    "/missing": lambda asked: (404, {"why": "never was"}),
}

RESULTS = {
    "examples/http/weather.yaml": {"city": "London", "temperature": 31, "alerted": True},
    "examples/paging/pages.yaml": {"items": 5},
    "examples/branching/temperature.yaml": {"text": "70 F: enjoy the day"},
    "examples/postgres/orders.yaml": {
        "orders": 1,
        "stored": 2,
        "lines": [{"item": "salt; 100%", "total": 3}, {"item": "tea", "total": 9}],
    },
    "examples/duckdb/report.yaml": [{"city": "Cairo", "degrees": 19.0}, {"city": "Oslo", "degrees": -3.25}],
    "examples/save/readings.yaml": {
        "stored": 2,
        "first": {"sensor": "cellar", "degrees": 26.5, "tags": ["cellar", "it's"]},
    },
    "examples/errors/compensate.yaml": {"charged": 50},
    "examples/loops/cities.yaml": {"hot": ["London", "Lima", "Lagos", "Lahore", "Lyon"], "failed": 0},
    "examples/loops/nested.yaml": {
        "greetings": [["Ada of red", "Grace of red (the last one)"], ["Linus of blue (the last one)"], []]
    },
    "examples/loops/orders.yaml": {"parcels": [[5, 3], [6, 7], [1]], "amount": 245},
    "examples/parallel/join.yaml": {"sum": 31, "greatest": 9, "share": 0.29},
    "examples/subplaybook/child.yaml": {"text": "Hello, somebody!"},
    "examples/subplaybook/parent.yaml": {"greetings": ["Hello, Ada!", "Good evening, Grace!"]},
    "examples/test/simple_test.yaml": {"greeting": "Hello, world!", "length": 12},
}


def address_for(file: str, url: str) -> dict[str, str]:
    """Return the payload that sends an example's calls to a stub: empty where it makes none."""
    return {"base_url": url} if "base_url" in (EXAMPLES.parent / file).read_text() else {}


@pytest.mark.parametrize("file", [file for file in FILES if "/container/" not in file and "/credentials/" not in file])
def test_an_example_runs_to_its_end(file: str, database: Database, settings: Settings) -> None:
    engine = Engine(database, settings)
    for other in FILES:
        engine.register((EXAMPLES.parent / other).read_text())
    unsteady = Unsteady()
    with serving({**ANSWERS, "/unsteady": unsteady}) as stub, working(settings):
        execution = engine.start(file.removesuffix(".yaml"), payload=address_for(file, stub.url))
        status = engine.wait(execution)
    assert status == "completed", engine.error(execution)
    result = engine.result(execution)
    assert result == RESULTS.get(file, result)
    assert result
    if "/retry/" in file:
        assert (result["value"], result["attempts"]) == (7, 1)
        assert "404" in result["gave_up"]
        assert unsteady.asked == 3, "two attempts failed"
        assert [asked["path"] for asked in stub.asked].count("/missing") == 1, "no retry would mend it"


def test_the_example_of_containers_runs(database: Database, settings: Settings) -> None:
    client, engine = docker_engine(), Engine(database, settings)
    path = engine.register((EXAMPLES / "container/hello.yaml").read_text())
    with closing(client), small_image(client) as image, working(settings):
        execution = engine.start(path, payload={"image": image, "name": "Ada"})
        assert engine.wait(execution, 60) == "completed", engine.error(execution)
        assert engine.result(execution) == {"greeting": "Hello, Ada!"}


def test_the_examples_of_credentials_log_in_and_sign(database: Database, settings: Settings) -> None:
    """Against services that check what they are sent; the log has none of it."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    basic = "Basic " + base64.b64encode(b"ada:the-password").decode()

    def orders(asked: dict[str, Any]) -> Any:
        right = asked["headers"].get("authorization") == "Bearer the-token"
        return {"orders": [{"total": 3}, {"total": 4}]} if right else (401, {})

    def report(asked: dict[str, Any]) -> Any:
        headers = asked["headers"]
        right = headers.get("authorization") == basic and headers["x-signature"] == "the-token"
        return {"accepted": True} if right else (401, {})

    def signing_key(asked: dict[str, Any]) -> Any:
        data = base64.b64encode(b"the-signing-key").decode()
        return {"name": "projects/1/secrets/signing-key/versions/3", "payload": {"data": data}}

    answers: Answers = {
        "/orders": orders,
        "/report": report,
        "/token": lambda asked: {"access_token": "the-access-token", "expires_in": 3600},
        "/v1/projects/my-project/secrets/signing-key/versions/latest:access": signing_key,
        "/v1/projects/my-project/secrets/signing-key/versions/3:access": signing_key,
    }
    with serving(answers) as stub:
        vault = Vault(database, settings)
        vault.put("shop_api", "bearer", token="the-token")
        vault.put("shop_admin", "basic", username="ada", password="the-password")
        key = {"client_email": "robot@example", "private_key": pem, "token_uri": f"{stub.url}/token"}
        vault.put("google_account", "generic", **key)
        engine = Engine(database, settings)
        paths = [engine.register(file.read_text()) for file in sorted((EXAMPLES / "credentials").glob("*.yaml"))]
        environment = {"CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER": stub.url}
        with working(replace(vault.settings, environment=environment)):
            started = [engine.start(path, payload=address_for(f"{path}.yaml", stub.url)) for path in paths]
            assert [engine.wait(each) for each in started] == ["completed"] * 2, [
                engine.error(each) for each in started
            ]
    signature = hmac.new(b"the-signing-key", b"hello", "sha256").hexdigest()
    results = dict(zip(paths, (engine.result(each) for each in started), strict=True))
    assert results == {
        "examples/credentials/cloud_secret": {"message": "hello", "signature": signature, "version": "3"},
        "examples/credentials/orders": {"total": 7, "accepted": True},
    }
    log = str(engine.rows("SELECT row_to_json(event_log)::text FROM event_log"))
    for secret in ("the-token", "the-password", "the-signing-key", "the-access-token", pem.splitlines()[1]):
        assert secret not in log


def test_the_example_of_errors_undoes_fails_and_audits(database: Database, settings: Settings) -> None:
    """With too large an amount the handler releases what was reserved, `fail` ends it, `finally` runs all the same."""
    engine = Engine(database, settings)
    path = engine.register((EXAMPLES / "errors/compensate.yaml").read_text())
    with working(settings):
        execution = engine.start(path, payload={"amount": 500})
        assert engine.wait(execution) == "failed"
    assert engine.error(execution)["message"].startswith("not charged: ")
    happened = engine.events(execution)
    ends = ["step_failed charge", "step_completed release", "step_failed give_up", "step_completed audit"]
    assert [event for event in happened if event in ends] == ends
    assert happened[-1] == "execution_failed"
