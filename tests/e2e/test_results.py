"""What a step gave is read from outside, wherever it is stored: in its event, by reference, in the items of a loop."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from noetl.database.export import export_rows
from noetl.server.app import build_app
from noetl.server.service import Service
from tests.support.api import ApiClient
from tests.support.playbooks import Lab

LARGE = 300_000
"""More bytes than a result in its event may have."""

BODY = f"""
workflow:
  - step: start
    type: python
    code: "def main(): return {{'text': 'x' * {LARGE}}}"
    next: numbers
  - step: numbers
    type: python
    loop: [{{in: [1, 2, 3], iterator: a}}, {{in: "{{{{ range(a) | list }}}}", iterator: b}}]
    args: {{n: "{{{{ a * 10 + b }}}}"}}
    code: "def main(n): return n"
    next: again
  - step: again
    type: python
    args: {{n: "{{{{ again.n | default(0) }}}}"}}
    code: "def main(n): return {{'n': n + 1}}"
    next: [{{when: "{{{{ again.n < 3 }}}}", then: again}}, {{else: large_items}}]
  - step: large_items
    type: python
    loop: {{in: [a, b], on_error: continue}}
    args: {{text: "{{{{ item }}}}"}}
    code: |
      def main(text):
          assert text != "b", "not b"
          return text * {LARGE}
    next: end
  - step: end
    result: "{{{{ start }}}}"
"""


@pytest.fixture
def api(lab: Lab) -> Iterator[ApiClient]:
    service = Service(lab.database, lab.orchestrator)
    yield ApiClient(build_app(service, token="token", bound="127.0.0.1"), token="token")
    service.reader.stop()


def shown(api: ApiClient, execution: int, step: str, expect: int = 200, **query: Any) -> Any:
    answer = api.get(f"/api/executions/{execution}/steps/{step}", params=query)
    assert answer.status_code == expect, answer.text
    return answer.json()


def test_every_result_can_be_had(lab: Lab, api: ApiClient) -> None:
    execution = lab.begin(BODY)
    ended = lab.end(execution, limit=30)
    assert ended.status == "completed", ended.error
    large = {"text": "x" * LARGE}
    events = {event["event_id"]: event for event in api.get(f"/api/executions/{execution}/events").json()["items"]}
    found = shown(api, execution, "start")
    assert found["result"] == large
    assert events[found["event_id"]]["result"] is None
    assert events[found["event_id"]]["result_ref"] == found["event_id"]
    assert api.get(f"/api/executions/{execution}").json()["result"] == large
    assert shown(api, execution, "numbers")["result"] == [[10], [20, 21], [30, 31, 32]]
    assert shown(api, execution, "numbers", item="1")["result"] == [20, 21]
    assert shown(api, execution, "numbers", item="2/1")["result"] == 31
    assert shown(api, execution, "again")["result"] == {"n": 3}
    assert shown(api, execution, "again", visit=2)["result"] == {"n": 2}
    assert shown(api, execution, "large_items")["result"] == ["a" * LARGE, None]
    assert shown(api, execution, "large_items", item="0")["result"] == "a" * LARGE
    failed = shown(api, execution, "large_items", item="1")
    assert (failed["event_type"], failed["result"]) == ("item_failed", None)
    assert "not b" in failed["error"]["message"]


def test_what_there_is_not_is_told(lab: Lab, api: ApiClient) -> None:
    execution = lab.run("- {step: start, type: python, code: 'def main(): return 1'}").execution_id
    told = shown(api, execution, "strat", expect=404)["error"]["message"]
    assert told == f"execution {execution} has no step 'strat' that has ended"
    assert "step 'start' visit 2 item 3 that has ended" in str(shown(api, execution, "start", 404, visit=2, item="3"))
    assert "item is 'x': write its index" in str(shown(api, execution, "start", 422, item="x"))
    shown(api, execution, "start", 422, visit=0)
    shown(api, 1, "start", 404)


def test_an_export_follows_references_when_told_to(lab: Lab) -> None:
    execution = lab.run(f"- {{step: start, type: python, code: \"def main(): return 'x' * {LARGE}\"}}").execution_id
    with lab.database.session() as conn:
        plain = [row["result"] for row in export_rows(conn, "event_log", execution) if row["node_id"] == "start"]
        rows = [row for row in export_rows(conn, "event_log", execution, follow=True) if row["node_id"] == "start"]
    assert plain == [None, None]
    assert [row["result"] for row in rows] == [None, "x" * LARGE]
    assert rows[1]["result_ref"] == rows[1]["event_id"]
    assert orjson.dumps(rows)
