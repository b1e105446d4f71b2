"""The API on a real database, called in this process; nothing works on the queue."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from noetl.database.connection.connect import Database, open_database
from noetl.database.schema.apply import apply_schema
from noetl.orchestrator.commands import Orchestrator
from noetl.server.app import build_app
from noetl.server.routes import answers
from noetl.server.service import Service
from noetl.settings import Settings
from tests.support.api import ApiClient

ROUTERS = """
apiVersion: noetl.io/v1
kind: Playbook
metadata: {name: routers, path: test/routers, description: Only routes}
workload: {message: hi, deep: {a: 1, b: {c: 2}}}
workflow:
  - step: start
    next: [{step: end}]
  - step: end
    result: {workload: "{{ workload }}"}
"""

WORK = """
apiVersion: noetl.io/v1
kind: Playbook
metadata: {name: work, path: test/work}
labels: {team: blue}
workflow:
  - step: start
    type: python
    code: |
      def main():
          return 1
    next: [{step: end}]
  - step: end
"""


@pytest.fixture
def api(settings: Settings, database: Database) -> Iterator[ApiClient]:
    service = Service(database, Orchestrator(database, settings))
    yield ApiClient(build_app(service, token="token", bound="127.0.0.1"), token="token")
    service.reader.stop()


def register(api: ApiClient, content: str = ROUTERS, expect: int = 201) -> Any:
    answer = api.post("/api/catalog", json={"content": content, "filename": "test.yaml"})
    assert answer.status_code == expect, answer.text
    return answer.json()


def start(api: ApiClient, path: str = "test/routers", expect: int = 201, **given: Any) -> Any:
    answer = api.post("/api/executions", json={"path": path, **given})
    assert answer.status_code == expect, answer.text
    return answer.json()


def error(answer: Any, status: int) -> Any:
    assert answer.status_code == status, answer.text
    found = answer.json()
    assert set(found) == {"error"}
    assert set(found["error"]) == {"type", "message", "detail"}
    assert "\n" not in found["error"]["message"] or found["error"]["type"] == "playbook"
    return found["error"]


def test_equal_content_keeps_its_version(api: ApiClient) -> None:
    assert register(api) == {"path": "test/routers", "version": 1, "kind": "Playbook", "created": True}
    assert register(api, expect=200)["created"] is False
    assert register(api, ROUTERS.replace("\n", "  \r\n"), expect=200)["version"] == 1
    assert register(api, ROUTERS + "# more\n")["version"] == 2


def test_a_wrong_playbook_is_refused_with_all_its_problems(api: ApiClient) -> None:
    wrong = ROUTERS.replace("step: end}", "step: edn}").replace("workload:", "worklaod:")
    found = error(api.post("/api/catalog", json={"content": wrong, "filename": "wrong.yaml"}), 422)
    assert found["type"] == "playbook"
    assert len(found["detail"]) >= 2
    assert all(problem["file"] == "wrong.yaml" and problem["line"] > 0 for problem in found["detail"])
    assert error(api.get("/api/catalog/test/routers"), 404)["type"] == "not_found"


def test_other_kinds_are_stored_and_not_run(api: ApiClient) -> None:
    document = "apiVersion: noetl.io/v1\nkind: Dataset\nmetadata: {path: data/cities}\nanything: {at: all}\n"
    assert register(api, document)["kind"] == "Dataset"
    assert api.get("/api/catalog/data/cities").json()["content"] == document
    assert "Dataset" in error(api.post("/api/executions", json={"path": "data/cities"}), 422)["message"]


def test_the_catalog_lists_newest_versions_page_by_page(api: ApiClient) -> None:
    for name in ("c", "a", "b"):
        register(api, ROUTERS.replace("test/routers", f"test/{name}"))
    register(api, ROUTERS.replace("test/routers", "test/b") + "#\n")
    first = api.get("/api/catalog", params={"limit": 2}).json()
    assert [(item["path"], item["version"]) for item in first["items"]] == [("test/a", 1), ("test/b", 2)]
    second = api.get("/api/catalog", params={"limit": 2, "after": first["next"]}).json()
    assert [item["path"] for item in second["items"]] == ["test/c"]
    assert second["next"] is None
    versions = api.get("/api/catalog", params={"path": "test/b", "limit": 1}).json()
    assert versions["items"][0]["version"] == 2
    older = api.get("/api/catalog", params={"path": "test/b", "after": versions["next"]}).json()
    assert [item["version"] for item in older["items"]] == [1]
    assert api.get("/api/catalog", params={"kind": "Dataset"}).json() == {"items": [], "next": None}


def test_a_document_is_shown_by_path_and_version(api: ApiClient) -> None:
    register(api)
    register(api, ROUTERS + "# more\n")
    shown = answers.DocumentAnswer.model_validate(api.get("/api/catalog/test/routers").json(), strict=True)
    assert (shown.version, shown.description) == (2, "Only routes")
    assert api.get("/api/catalog/test/routers", params={"version": 1}).json()["content"] == ROUTERS
    missing = error(api.get("/api/catalog/test/routers", params={"version": 9}), 404)
    assert missing["message"] == "'test/routers' has no version 9; its newest is 2"
    error(api.get("/api/catalog/test/routers", params={"version": "x"}), 422)
    error(api.get("/api/catalog/test/rout%00ers"), 422)


def test_an_execution_is_accepted_and_shown(api: ApiClient) -> None:
    register(api)
    started = start(api, labels={"who": "me"}, priority=3, payload={"message": "ä", "deep": {"a": 5}})
    answers.StartedAnswer.model_validate(started, strict=True)
    assert started["status"] == "completed"
    answer = api.get(f"/api/executions/{started['execution_id']}")
    shown = answers.ExecutionAnswer.model_validate(answer.json(), strict=True)
    assert shown.result == {"workload": {"message": "ä", "deep": {"a": 5}}}
    assert (shown.labels, shown.priority, shown.error, shown.jobs) == ({"who": "me"}, 3, None, [])
    assert shown.started_at <= str(shown.finished_at)


@pytest.mark.parametrize(
    ("given", "deep"),
    [
        ({}, {"a": 1, "b": {"c": 2}}),
        ({"payload": {"deep": {"b": {"d": 1}}}}, {"b": {"d": 1}}),
        ({"payload": {"deep": {"b": {"d": 1}}}, "merge": True}, {"a": 1, "b": {"c": 2, "d": 1}}),
        ({"set": {"deep": {"b": {"d": 1}}}}, {"a": 1, "b": {"c": 2, "d": 1}}),
        ({"payload": {"deep": {"x": 1}}, "set": {"deep": {"b": 3}}}, {"x": 1, "b": 3}),
        ({"payload": {"deep": {"b": "{{ not rendered }}"}}}, {"b": "{{ not rendered }}"}),
    ],
)
def test_payload_is_laid_shallow_or_deep_and_set_deep_and_last(
    api: ApiClient, given: dict[str, Any], deep: Any
) -> None:
    register(api)
    started = start(api, **given)
    assert api.get(f"/api/executions/{started['execution_id']}").json()["workload"]["deep"] == deep


def test_a_key_starts_once(api: ApiClient) -> None:
    register(api)
    register(api, WORK)
    first = start(api, key="today")
    again = start(api, key="today", expect=200, payload={"message": "other"})
    assert again["execution_id"] == first["execution_id"]
    assert (first["created"], again["created"]) == (True, False)
    assert start(api, "test/work", key="today")["execution_id"] != first["execution_id"]


def test_a_key_used_by_many_at_once_starts_once(api: ApiClient) -> None:
    register(api)
    found: list[Any] = []

    def begin() -> None:
        found.append(api.post("/api/executions", json={"path": "test/routers", "key": "k"}))

    threads = [threading.Thread(target=begin) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in found) == [200] * 5 + [201]
    assert len({answer.json()["execution_id"] for answer in found}) == 1


def test_what_cannot_be_started_says_why(api: ApiClient) -> None:
    register(api)
    assert "test/nothing" in error(api.post("/api/executions", json={"path": "test/nothing"}), 404)["message"]
    assert "9" in error(api.post("/api/executions", json={"path": "test/routers", "version": 9}), 404)["message"]
    for body in ('{"a": NaN}', '{"a": 1e999}', '{"a": "\\u0000"}', '{"a": 99999999999999999999999}'):
        text = f'{{"path": "test/routers", "payload": {body}}}'
        answer = api.post("/api/executions", content=text, headers={"Content-Type": "application/json"})
        assert error(answer, 422)["type"] in ("not_json", "validation")
    long = api.post("/api/executions", json={"path": "test/routers", "key": "键" * 400})
    assert "key has 1,200 bytes: it can have 1,000 at most" in error(long, 422)["message"]
    assert api.get("/api/executions").json()["items"] == []


def test_a_body_that_cannot_be_read_is_a_sentence(api: ApiClient) -> None:
    headers = {"Content-Type": "application/json"}
    for body in (b'{"path": "\xff"}', b'{"path": "x", "payload": {"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}"):
        assert error(api.post("/api/executions", content=body, headers=headers), 400)["type"] == "not_json"
    deep = {"path": "x", "payload": {"a": nested(300)}}
    assert "200 levels" in error(api.post("/api/executions", json=deep), 422)["message"]


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_executions_are_filtered_and_paged(api: ApiClient) -> None:
    register(api)
    register(api, WORK)
    done = [start(api, labels={"n": str(n), "odd": str(n % 2)})["execution_id"] for n in range(3)]
    open_ = start(api, "test/work", key="k")["execution_id"]

    def ids(**params: Any) -> list[str]:
        return [item["execution_id"] for item in api.get("/api/executions", params=params).json()["items"]]

    assert ids() == [open_, *reversed(done)]
    assert ids(status="completed") == done[::-1]
    assert ids(status=["completed", "running"]) == [open_, *reversed(done)]
    assert ids(path="test/work") == [open_]
    assert ids(key="k") == [open_]
    assert ids(label="odd=0") == [done[2], done[0]]
    assert ids(label=["odd=0", "n=2"]) == [done[2]]
    assert ids(label="team=blue") == [open_]
    assert ids(root=open_) == [open_]
    assert ids(parent=open_) == []
    page = api.get("/api/executions", params={"limit": 3}).json()
    rest = api.get("/api/executions", params={"limit": 3, "after": page["next"]}).json()
    assert [item["execution_id"] for item in [*page["items"], *rest["items"]]] == ids()
    assert rest["next"] is None


def test_a_wrong_filter_is_a_sentence(api: ApiClient) -> None:
    for path in (
        "/api/executions?limit=0",
        "/api/executions?limit=501",
        "/api/executions?limit=x",
        "/api/executions?after=x",
        "/api/executions?after=WyJhIl0",
        "/api/executions?after=WzkyMjMzNzIwMzY4NTQ3NzU4MDhd",
        "/api/executions?status=odd",
        "/api/executions?label=x",
        "/api/executions?path=%00",
        "/api/catalog?after=WyJcdTAwMDAiXQ",
        "/api/runtime?after=WyJ4IiwieCJd",
        "/api/queue?status=odd",
        "/api/errors?limit=-1",
    ):
        assert error(api.get(path), 422)["type"] == "validation", path


def test_an_unknown_execution_is_not_found(api: ApiClient) -> None:
    for number in ("0", "1", "x", "-1", "9223372036854775808", "1" * 30, "%C2%B2"):
        for end in ("", "/events", "/stream", "/output"):
            path = f"/api/executions/{number}{end}"
            assert error(api.get(path), 404)["type"] == "not_found", path


def test_events_are_numbered_and_paged(api: ApiClient) -> None:
    register(api)
    number = start(api)["execution_id"]
    page = api.get(f"/api/executions/{number}/events", params={"limit": 2}).json()
    assert page["next"] == "2"
    rest = api.get(f"/api/executions/{number}/events", params={"after": page["next"]}).json()
    events = [*page["items"], *rest["items"]]
    assert [event["event_id"] for event in events] == [str(n) for n in range(1, len(events) + 1)]
    assert events[0]["event_type"] == "execution_start"
    assert events[-1]["event_type"] == "execution_complete"
    times = [event["timestamp"] for event in events]
    assert times == sorted(set(times))
    assert all(event["execution_id"] == number for event in events)
    error(api.get(f"/api/executions/{number}/events", params={"after": "x"}), 422)


def test_the_stream_gives_all_events_and_ends(api: ApiClient) -> None:
    register(api)
    number = start(api)["execution_id"]
    answer = api.get(f"/api/executions/{number}/stream")
    assert answer.headers["content-type"].startswith("text/event-stream")
    kinds = [line[7:] for line in answer.text.splitlines() if line.startswith("event: ")]
    assert kinds == ["execution_start", "step_completed", "step_completed", "execution_complete"]
    later = api.get(f"/api/executions/{number}/stream", headers={"Last-Event-ID": "3"})
    assert [line for line in later.text.splitlines() if line.startswith("id: ")] == ["id: 4"]
    assert api.get(f"/api/executions/{number}/stream", params={"after": 4}).text == ""


def test_a_cancel_is_accepted_with_or_without_a_body(api: ApiClient) -> None:
    register(api, WORK)
    for given in ({}, {"json": {"reason": "too late", "by": "me"}}):
        number = start(api, "test/work")["execution_id"]
        answer = api.post(f"/api/executions/{number}/cancel", **given)
        assert answer.status_code == 202, answer.text
        assert answer.json() == {"execution_id": number, "status": "cancelled"}
    events = api.get(f"/api/executions/{number}/events").json()["items"]
    asked = next(event for event in events if event["event_type"] == "execution_cancel_requested")
    assert "too late" in str(asked)
    assert api.post(f"/api/executions/{number}/cancel").json()["status"] == "cancelled"
    error(api.post("/api/executions/1/cancel"), 404)


def test_queue_runtime_errors_and_health(api: ApiClient) -> None:
    register(api, WORK)
    numbers = [start(api, "test/work")["execution_id"] for _ in range(3)]
    queue = api.get("/api/queue", params={"limit": 2}).json()
    assert [job["execution_id"] for job in queue["items"]] == numbers[:2]
    assert all(isinstance(job["id"], str) and job["status"] == "queued" for job in queue["items"])
    rest = api.get("/api/queue", params={"after": queue["next"]}).json()
    assert [job["execution_id"] for job in rest["items"]] == numbers[2:]
    one = api.get("/api/queue", params={"execution_id": numbers[1], "status": "queued", "pool": "default"}).json()
    assert len(one["items"]) == 1
    assert api.get("/api/runtime", params={"kind": "worker"}).json() == {"items": [], "next": None}
    assert api.get("/api/errors").json() == {"items": [], "next": None}
    health = answers.HealthAnswer.model_validate(api.get("/api/health").json(), strict=True)
    assert health.queue == {"queued": 3}
    assert len(api.get(f"/api/executions/{numbers[0]}").json()["jobs"]) == 1
    assert api.get(f"/api/executions/{numbers[0]}/output").json() == {"items": [], "next": None, "last": None}


def test_a_list_of_errors_is_paged(api: ApiClient, database: Database) -> None:
    register(api, WORK)
    number = start(api, "test/work")["execution_id"]
    with database.session() as conn:
        for n in range(3):
            conn.execute(
                "INSERT INTO error_log (execution_id, node_id, error_type, message) VALUES (%s, 'start', 'x', %s)",
                (int(number), str(n)),
            )
            conn.execute(
                "INSERT INTO output (execution_id, node_id, visit, item_index, attempt, text)"
                " VALUES (%s, 'start', 1, -1, %s, %s)",
                (int(number), n, str(n)),
            )
            conn.execute("INSERT INTO runtime (runtime_id, kind) VALUES (%s, 'worker')", (str(n),))
    for path, name in (("errors", "message"), (f"executions/{number}/output", "text"), ("runtime", "runtime_id")):
        seen: list[str] = []
        after: str | None = None
        while True:
            params = {"limit": 1, **({"after": after} if after else {})}
            page = api.get(f"/api/{path}", params=params).json()
            seen += [item[name] for item in page["items"]]
            after = page["next"]
            if after is None:
                break
        assert sorted(seen) == ["0", "1", "2"]


def test_without_a_schema_every_call_says_what_to_run(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(with_schema=False)
    with open_database(settings) as database:
        told: list[str | None] = []
        service = Service(database, Orchestrator(database, settings), told.append)
        api = ApiClient(build_app(service, token="token", bound="127.0.0.1"), token="token")
        assert api.get("/livez").json()["instance"] is None
        for answer in (
            api.get("/readyz"),
            api.get("/api/health"),
            api.get("/api/executions"),
            api.get("/api/executions/1/stream"),
            api.post("/api/catalog", json={"content": ROUTERS}),
            api.post("/api/executions", json={"path": "x"}),
        ):
            found = error(answer, 503)
            assert found["type"] == "schema_missing"
            assert "noetl db apply-schema" in found["message"]
        with open_database(settings) as admin:
            apply_schema(Database(str(settings.database_url), settings.schema), settings)
            assert admin is not None
        assert api.get("/api/health").json()["instance"] == told[-1]
        assert api.get("/readyz").status_code == 200
        assert told[0] is None
        assert told[-1] is not None


def test_a_schema_that_goes_away_under_the_server_is_noticed(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings()
    with open_database(settings) as database, Database(str(settings.database_url), settings.schema) as admin:
        service = Service(database, Orchestrator(database, settings))
        api = ApiClient(build_app(service, token="token", bound="127.0.0.1"), token="token")
        assert api.get("/api/health").status_code == 200
        with admin.connect() as conn:
            conn.execute(f"DROP SCHEMA {settings.schema} CASCADE")
        assert error(api.get("/api/executions"), 503)["type"] == "schema_missing"
        assert error(api.get("/api/executions"), 503)["type"] == "schema_missing"
        apply_schema(admin, settings)
        assert api.get("/api/executions").json()["items"] == []
