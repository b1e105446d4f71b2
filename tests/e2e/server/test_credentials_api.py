"""Credentials over the API: what goes in, what comes out, and what stands in the database."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from noetl.database.connection.connect import Database
from noetl.orchestrator.commands import Orchestrator
from noetl.server.app import build_app
from noetl.server.service import Service
from noetl.settings import Settings
from tests.support.api import ApiClient
from tests.support.vault import a_key

KEY = a_key()
VALUE = "canary-value-1234"
POSTGRES = {"host": "h", "port": "5433", "dbname": "d", "username": "u", "db_password": VALUE}

MakeApi = Callable[..., ApiClient]


@pytest.fixture
def make_api(settings: Settings, database: Database) -> Iterator[MakeApi]:
    """Make the API of a server with other settings."""
    services: list[Service] = []

    def make(**changed: Any) -> ApiClient:
        services.append(Service(database, Orchestrator(database, replace(settings, **changed))))
        return ApiClient(build_app(services[-1], token="token", bound="127.0.0.1"), token="token")

    yield make
    for service in services:
        service.reader.stop()


@pytest.fixture
def api(make_api: MakeApi) -> ApiClient:
    return make_api(encryption_key=(KEY,))


def add(api: ApiClient, name: str = "one", expect: int = 201, **given: Any) -> Any:
    body = {"name": name, "type": "bearer", "fields": {"token": VALUE}, **given}
    answer = api.post("/api/credentials", json=body)
    assert answer.status_code == expect, answer.text
    assert VALUE not in answer.text
    return answer.json()


def told(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    return str(answer.json()["error"]["message"])


def test_what_is_stored_comes_back_without_its_values(api: ApiClient, database: Database) -> None:
    assert add(api, "db", type="postgres", fields=POSTGRES, description="the warehouse")["created"] is True
    answer = api.get("/api/credentials/db")
    assert VALUE not in answer.text
    found = answer.json()
    assert found["fields"] == dict.fromkeys(("host", "port", "database", "user", "password"), "***")
    assert (found["type"], found["description"]) == ("postgres", "the warehouse")
    listed = api.get("/api/credentials").json()["items"]
    assert [(each["name"], each["type"], "fields" in each) for each in listed] == [("db", "postgres", False)]
    with database.session() as conn:
        row = conn.execute("SELECT * FROM credential").fetchone()
    assert VALUE.encode() not in repr(row).encode()


def test_a_name_that_is_taken_is_a_conflict_unless_it_is_to_be_replaced(api: ApiClient) -> None:
    add(api)
    assert "there is a credential 'one' already" in add(api, expect=409)["error"]["message"]
    assert add(api, expect=200, type="generic", fields={"a": 1}, replace=True)["created"] is False
    assert api.get("/api/credentials/one").json()["type"] == "generic"


def test_lists_go_by_pages_and_types(api: ApiClient) -> None:
    for name in ("c", "a", "b"):
        add(api, name)
    add(api, "d", type="generic", fields={"x": VALUE})
    page = api.get("/api/credentials", params={"limit": 2}).json()
    assert [each["name"] for each in page["items"]] == ["a", "b"]
    rest = api.get("/api/credentials", params={"limit": 2, "after": page["next"], "type": "bearer"}).json()
    assert ([each["name"] for each in rest["items"]], rest["next"]) == (["c"], None)


def test_what_is_removed_is_gone(api: ApiClient) -> None:
    add(api)
    assert api.request("DELETE", "/api/credentials/one").json() == {"name": "one"}
    assert "there is no credential 'one'" in told(api.request("DELETE", "/api/credentials/one"), 404)
    add(api, "two")
    assert "did you mean 'two'" in told(api.get("/api/credentials/twoo"), 404)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"type": "baerer"}, "unknown type of credential 'baerer' (did you mean 'bearer'?)"),
        ({"name": "a.b"}, "'a.b' cannot be the name of a credential"),
        ({"fields": {}}, "a credential of type bearer needs token"),
        ({"fields": {"token": VALUE, "tokn": VALUE}}, "a credential of type bearer has no field 'tokn'"),
        ({"fields": {"token": [VALUE]}}, "token of a credential of type bearer is a list: it must be text"),
        ({"fields": {"token": ""}}, "token of a credential of type bearer is empty"),
        ({"type": "postgres", "fields": {**POSTGRES, "port": VALUE}}, "must be a number from 1 to 65535"),
        ({"type": "postgres", "fields": {**POSTGRES, "db_host": VALUE}}, "the field 'host' of a credential"),
        ({"type": "postgres", "fields": {"password": VALUE}}, "needs host, database and user"),
        ({"type": "s3", "fields": {"key_id": "k", "secret": VALUE, "url_style": VALUE}}, "must be one of path, vhost"),
        ({"type": "generic", "fields": {}}, "needs at least one field"),
        ({"type": "generic", "fields": {"a.b": VALUE}}, "'a.b' cannot be a field's name"),
        ({"type": "generic", "fields": {"a": VALUE * 5000}}, "the limit is 65,536"),
        ({"fields": [VALUE]}, "fields must be a JSON object"),
        ({"fields": {"token": VALUE}, "values": VALUE}, "values is not a field of this request"),
    ],
)
def test_a_wrong_one_is_refused_with_a_sentence_that_shows_no_value(
    api: ApiClient, given: dict[str, Any], sentence: str
) -> None:
    answer = api.post("/api/credentials", json={"name": "x", "type": "bearer", "fields": {"token": VALUE}, **given})
    assert sentence in told(answer, 413 if "limit" in sentence else 422)
    assert VALUE not in answer.text
    assert api.get("/api/credentials").json()["items"] == []


def test_values_are_shown_only_where_a_setting_allows_it(
    api: ApiClient, make_api: MakeApi, caplog: pytest.LogCaptureFixture
) -> None:
    add(api)
    refused = api.get("/api/credentials/one", params={"reveal": "true"})
    assert "NOETL_CREDENTIAL_REVEAL=true" in told(refused, 409)
    assert VALUE not in refused.text
    open_api = make_api(encryption_key=(KEY,), credential_reveal=True)
    assert open_api.get("/api/credentials/one").json()["fields"] == {"token": "***"}
    assert open_api.get("/api/credentials/one", params={"reveal": "true"}).json()["fields"] == {"token": VALUE}
    assert "the values of the credential 'one' were shown" in caplog.text
    assert VALUE not in caplog.text


def test_rotation_encrypts_all_anew_with_the_first_key(api: ApiClient, make_api: MakeApi) -> None:
    """Afterwards the old key is not needed any more."""
    for name in ("a", "b", "c"):
        add(api, name)
    new = a_key()
    both = make_api(encryption_key=(new, KEY))
    before = {
        each["name"]: (each["key_id"], each["updated_at"]) for each in both.get("/api/credentials").json()["items"]
    }
    done = both.post("/api/credentials/rotate").json()
    assert done["rotated"] == 3
    after = {
        each["name"]: (each["key_id"], each["updated_at"]) for each in both.get("/api/credentials").json()["items"]
    }
    assert {key for key, _ in after.values()} == {done["key_id"]} != {key for key, _ in before.values()}
    assert [time for _, time in after.values()] == [time for _, time in before.values()]
    alone = make_api(encryption_key=(new,), credential_reveal=True)
    assert alone.get("/api/credentials/b", params={"reveal": "true"}).json()["fields"] == {"token": VALUE}
    assert "was encrypted with the key" in told(api.get("/api/credentials/b"), 422)


def test_a_rotation_that_cannot_read_one_changes_none(api: ApiClient, make_api: MakeApi) -> None:
    add(api, "a")
    make_api(encryption_key=(a_key(),)).post(
        "/api/credentials", json={"name": "b", "type": "bearer", "fields": {"token": VALUE}}
    )
    before = api.get("/api/credentials").json()["items"]
    answer = make_api(encryption_key=(a_key(), KEY)).post("/api/credentials/rotate")
    assert "the credential 'b' cannot be decrypted" in told(answer, 422)
    assert api.get("/api/credentials").json()["items"] == before


def test_without_a_key_nothing_is_stored(make_api: MakeApi) -> None:
    answer = make_api().post("/api/credentials", json={"name": "a", "type": "bearer", "fields": {"token": VALUE}})
    assert "NOETL_ENCRYPTION_KEY is not set" in told(answer, 422)
    assert "noetl credential key" in answer.text


def test_in_embedded_mode_the_key_is_made_on_first_need_for_its_owner_only(
    make_api: MakeApi, settings: Settings
) -> None:
    file = settings.home / "encryption.key"
    own = make_api(embedded=True)
    assert own.get("/api/credentials").json()["items"] == []
    assert not file.exists()
    add(own)
    assert file.stat().st_mode & 0o777 == 0o600
    assert make_api(embedded=True).get("/api/credentials/one").status_code == 200
    file.chmod(0o640)
    assert "can be read by others: chmod 600" in told(make_api(embedded=True).get("/api/credentials/one"), 422)
    file.write_text("no key")
    file.chmod(0o600)
    answer = make_api(embedded=True).get("/api/credentials/one")
    assert f"{file} is no key: it must be 32 bytes in Base64" in told(answer, 422)
    assert "'no key'" not in answer.text
