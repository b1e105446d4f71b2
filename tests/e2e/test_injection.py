"""Templates in data, in names and in what the API is given: nothing of it is ever rendered."""

from typing import Any
from urllib.parse import quote

import pytest

from noetl.database.connection.connect import Database
from noetl.errors import PlaybookError
from noetl.orchestrator.commands import Orchestrator
from noetl.server.app import build_app
from noetl.server.service import Service
from noetl.settings import Settings
from tests.support.api import ApiClient
from tests.support.attacks import ATTACKS, BOMBS
from tests.support.playbooks import Lab, playbook

PAYLOADS = [*ATTACKS, *BOMBS]

PASSED_ON = """
workload: {given: null}
workflow:
  - step: start
    next: [{step: code, args: {given: "{{ workload.given }}"}}]
  - step: code
    type: python
    args: {again: "{{ given }}", text: "- {{ given['values'] | join('|') }}"}
    code: |
      def main(given, again, text):
          assert given == again
          return {"given": again, "text": text}
    next:
      - when: "{{ code.given['values'] | length > 100 and code.text.startswith is not defined }}"
        then: [{step: command, args: {argument: "{{ code.given['values'][0] }}"}}]
  - step: command
    type: shell
    command: [printf, "%s", "{{ argument }}"]
    next: end
  - step: end
    result: {given: "{{ code.given }}", text: "{{ code.text }}", printed: "{{ command.stdout }}"}
"""


def test_there_are_more_than_a_hundred() -> None:
    assert len(set(PAYLOADS)) >= 100


def test_what_comes_with_the_payload_is_data_to_the_end(lab: Lab) -> None:
    """As values, as keys, in lists; through arguments, code, commands, results and errors."""
    given = {"values": PAYLOADS, "keys": {payload: payload for payload in PAYLOADS}}
    ended = lab.end(lab.begin(PASSED_ON, payload={"given": given}))
    assert ended.status == "completed", ended.error
    assert ended.result == {"given": given, "text": "- " + "|".join(PAYLOADS), "printed": PAYLOADS[0]}


def test_what_an_error_says_is_data(lab: Lab) -> None:
    ended = lab.run(
        """
        - step: start
          type: python
          args: {text: "{{ text }}"}
          code: |
            def main(text):
                raise ValueError(text)
          on_error: [{step: told, args: {what: "{{ error.message }}"}}]
        - step: told
          next: end
        - {step: end, result: "{{ told.what | default(error.message) }}"}
        """,
        payload={"text": "\n".join(PAYLOADS)},
    )
    assert ended.status == "completed", ended.error
    assert ended.result == "ValueError: " + "\n".join(PAYLOADS)


def test_what_the_api_is_given_is_data(settings: Settings, database: Database) -> None:
    """Payload, overlay, labels, key, reason: what comes back is what was given."""
    service = Service(database, Orchestrator(database, settings))
    api = ApiClient(build_app(service, token="token", bound="127.0.0.1"), token="token")
    body = "workload: {x: 1}\nadditional: true\nworkflow: [{step: start, type: wait, for: 1h}]\n"
    assert api.post("/api/catalog", json={"content": playbook(body, "test/api")}).status_code == 201
    for payload in PAYLOADS:
        request: dict[str, Any] = {"payload": {"x": payload, payload: 1}, "set": {"y": payload}}
        request |= {"labels": {"label": payload, payload: "value"}, "key": payload}
        started = api.post("/api/executions", json={"path": "test/api", **request})
        assert started.status_code == 201, started.text
        number = started.json()["execution_id"]
        assert api.post(f"/api/executions/{number}/cancel", json={"by": payload, "reason": payload}).status_code == 202
        shown = api.get(f"/api/executions/{number}").json()
        assert shown["workload"] == {"x": payload, payload: 1, "y": payload}
        assert shown["labels"] == request["labels"]
        assert shown["start_key"] == payload
        assert shown["error"]["message"] == f"cancelled by {payload}: {payload}"
        listed = api.get("/api/executions", params={"label": f"label={payload}", "key": payload}).json()["items"]
        assert [each["execution_id"] for each in listed] == [number]
        assert api.get("/api/executions", params={"path": payload}).json()["items"] == []
        assert api.get(f"/api/catalog/{quote(payload, safe='')}").status_code == 404
    service.reader.stop()


@pytest.mark.parametrize("payload", ATTACKS[::9])
def test_no_name_of_a_playbook_can_be_a_template(payload: str, lab: Lab) -> None:
    """Steps, tasks, arguments, keys of the workload, iterators, labels, paths: refused with a place."""
    text = payload.replace("'", "''")
    for body in (
        f"- step: '{text}'",
        f"workload: {{'{text}': 1}}\nworkflow: [{{step: start}}]",
        f"- {{step: start, args: {{'{text}': 1}}}}",
        f"- {{step: start, next: '{text}'}}",
        f"- {{step: start, type: '{text}'}}",
        f"- {{step: start, type: workbook, task: '{text}'}}",
        f"- {{step: start, type: shell, command: x, loop: {{in: [1], iterator: '{text}'}}}}",
        f"- {{step: start, '{text}': 1}}",
        f"pool: '{text}'\nworkflow: [{{step: start}}]",
    ):
        with pytest.raises(PlaybookError) as caught:
            lab.put(body)
        assert all(problem.line > 1 for problem in caught.value.problems)
    with pytest.raises(PlaybookError):
        lab.register(playbook("- step: start", f"'{text}'"))
