"""A test written from an execution passes: whatever failed in it, was cancelled or ran beside something else."""

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from noetl.playbook.load import load_playbook
from noetl.playbook.model import Playbook
from noetl.playbook.templates.template import compile_template
from noetl.playbook.testfile.load import load_tests
from noetl.playbook.testfile.model import Stub, StubAnswer, Test
from noetl.playbook.yaml.write import write_yaml
from noetl.testing.agenda import DEFAULT_NOW_MICROSECONDS, MICROSECONDS_PER_SECOND
from noetl.testing.execution import decoded
from noetl.testing.python import PythonChild
from noetl.testing.recording import DETAIL_VARIANTS, Detail, Recording
from noetl.testing.suite import Verdict, run_test
from tests.support.trials import document, read_trial, told
from tests.unit.engine.model import playbook
from tests.unit.engine.random_playbooks import documents

SETTINGS = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def python() -> Iterator[PythonChild]:
    with PythonChild({}) as child:
        yield child


def recording(tested: Verdict, book: Playbook, content: str, workload: dict[str, Any]) -> Recording:
    """Return what the API would tell of an execution that was run in a test."""
    began = datetime.fromtimestamp((tested.test.now or DEFAULT_NOW_MICROSECONDS) / MICROSECONDS_PER_SECOND, UTC)
    rows = [
        {
            "event_type": moment.event.event_type.value,
            "node_id": moment.event.node_id,
            "item_index": moment.event.item_index,
            "visit": moment.event.visit,
            "attempt": moment.event.attempt,
            "duration": moment.event.duration,
            "context": moment.event.context,
            "result": decoded(moment.event.result),
            "error": moment.event.error,
            "meta": moment.event.meta,
            "timestamp": (began + timedelta(seconds=moment.at)).isoformat(),
        }
        for moment in tested.run.timeline
        if moment.execution_id == tested.test.execution_id
    ]
    shown = {
        "execution_id": str(tested.test.execution_id),
        "status": tested.run.status,
        "result": tested.run.result,
        "error": tested.run.error,
        "workload": workload,
    }
    return Recording(shown, rows, book, content)


def run_again(found: Recording, detail: Detail, python: PythonChild) -> Verdict:
    """Write a test, read it back and run it."""
    text = write_yaml(found.document(detail))
    (test,) = load_tests(text, "recorded.yaml", found.playbook)
    return run_test(found.playbook, test, lambda path, named: None, python)


def test_whatever_happened_the_test_of_it_passes(python: PythonChild) -> None:
    """Random playbooks, random answers that take random times, cancelled at a random moment or not."""
    ends: list[str] = []

    @SETTINGS
    @given(documents(failures=True), st.integers(0, 2**32))
    def run(drawn: dict[str, Any], seed: int) -> None:
        dice, book = random.Random(f"{seed}"), playbook(drawn)
        test = replace(_test(dice), cancel_at=(dice.randrange(12) + 0.5,) if dice.random() < 0.3 else ())
        tested = run_test(book, test, lambda path, named: None, python)
        ends.append(tested.run.status)
        content = orjson.dumps(drawn).decode()
        again = [run_again(recording(tested, book, content, {}), detail, python) for detail in DETAIL_VARIANTS]
        assert any(each.ok for each in again), told(again[-1])
        assert again[1].run.seconds == pytest.approx(tested.run.seconds, abs=0.001)

    run()
    assert {"completed", "failed", "cancelled"} <= set(ends)


def _test(dice: random.Random) -> Test:
    result = compile_template({"visit": "{{ visit }}"}, playbook="", step="", field="")
    answers = [
        StubAnswer(0, "error", error={"type": "python", "message": f"broken {number}", "retryable": True}, times=1)
        if dice.random() < 0.2
        else StubAnswer(0, "render", render=result, times=1)
        for number in range(60)
    ]
    answers = [replace(answer, takes=float(dice.randrange(4))) for answer in answers]
    return Test("it", 0, "x", stubs={"python": Stub(0, (*answers, StubAnswer(0, "render", render=result)))})


# ---- what is written -------------------------------------------------------------------------------------------------

BOOK = """
workload: {city: London, limit: 5, at: "{{ now() }}"}
workflow:
  - {step: start, next: fetch}
  - {step: fetch, type: http, endpoint: x, retry: true, next: [{when: "{{ fetch.more }}", then: fetch}, {else: rest}]}
  - {step: rest, type: wait, for: 1h, next: judge}
  - {step: judge, type: python, code: "def main(): return {'id': 7}", next: end}
  - {step: end, result: {id: "{{ judge.id }}"}}
"""
TEST = """
- name: it
  execution_id: "4711"
  payload: {city: Rome}
  stubs:
    fetch:
      - {result: {more: true}, times: 2}
      - {error: {type: http, message: "503", detail: {a: 1}}}
      - {result: {more: false, id: "4711"}, takes: 2s}
"""


def recorded(python: PythonChild, test: str = TEST, body: str = BOOK) -> Recording:
    book, (given_test,) = read_trial(body, test)
    tested = run_test(book, given_test, lambda path, named: None, python)
    workload = {"city": "Rome", "limit": 5, "at": "2026-01-01T00:00:00+00:00"}
    return recording(tested, book, document(body), workload)


def test_a_test_has_what_the_execution_was_given_what_steps_got_and_how_it_ended(python: PythonChild) -> None:
    assert recorded(python).document(DETAIL_VARIANTS[0]) == {
        "tests": [
            {
                "name": "execution 4711",
                "payload": {"city": "Rome", "at": "2026-01-01T00:00:00+00:00"},
                "execution_id": "4711",
                "now": "2026-01-01T00:00:00+00:00",
                "stubs": {
                    "fetch": [
                        {"result": {"more": True}, "times": 2},
                        {"error": {"type": "http", "message": "503", "retryable": True, "detail": {"a": 1}}},
                        {"result": {"more": False, "id": "4711"}},
                    ],
                    "judge": {"result": {"id": 7}},
                },
                "expect": {
                    "status": "completed",
                    "result": {"id": 7},
                    "steps": ["start", "fetch", "fetch", "fetch", "rest", "judge", "end"],
                },
            }
        ]
    }


def test_with_times_waits_are_stubbed_too_and_calls_take_as_long_as_they_did(python: PythonChild) -> None:
    (test,) = recorded(python).document(DETAIL_VARIANTS[1])["tests"]
    assert test["stubs"]["fetch"][-1] == {"result": {"more": False, "id": "4711"}, "takes": "2s"}
    assert test["stubs"]["rest"] == {"result": {"until": "2026-01-01T01:00:03+00:00"}, "takes": "3600s"}
    (test,) = recorded(python).document(DETAIL_VARIANTS[2])["tests"]
    assert test["expect"]["steps"] == {
        "taken": ["end", "fetch", "judge", "rest", "start"],
        "visits": {"end": 1, "fetch": 3, "judge": 1, "rest": 1, "start": 1},
    }


def test_a_failure_is_expected_with_its_type_message_and_step(python: PythonChild) -> None:
    failing = "- name: it\n  stubs: {fetch: {error: {type: http, message: gone, retryable: false}}}\n"
    (test,) = recorded(python, failing).document(DETAIL_VARIANTS[0])["tests"]
    assert test["expect"] == {
        "status": "failed",
        "error": {"type": "http", "message": "gone", "step": "fetch"},
        "steps": ["start", "fetch"],
    }


@pytest.mark.parametrize("states", [["new", "new", "done"], ["new", "new", "new", "new"]])
def test_an_attempt_that_is_repeated_until_its_result_is_good(python: PythonChild, states: list[str]) -> None:
    """The log does not have the results that were not good enough, only that they were not."""
    body = """
    - step: start
      type: http
      endpoint: x
      retry: {max_attempts: 4, initial_delay: 1m, until: "{{ start.state == 'done' }}"}
      next: end
      on_error: end
    - {step: end, result: "{{ start.state }}"}
    """
    stubs = "- {name: it, stubs: {start: [" + ", ".join(f"{{result: {{state: {state}}}}}" for state in states) + "]}}"
    found = recorded(python, stubs, body)
    assert (found.shown["status"], found.shown["result"]) == ("completed", states[-1])
    assert [event["event_type"] for event in found.events].count("attempt_failed") == len(states) - 1
    for detail in DETAIL_VARIANTS:
        assert run_again(found, detail, python).ok


def test_a_failure_of_routing_keeps_the_result(python: PythonChild) -> None:
    body = """
    - {step: start, type: http, endpoint: x, next: [{when: "{{ start.not_there }}", then: end}]}
    - {step: end}
    """
    found = recorded(python, "- {name: it, stubs: {start: {result: {a: 1}}}}", body)
    (test,) = found.document(DETAIL_VARIANTS[0])["tests"]
    assert test["stubs"] == {"start": {"result": {"a": 1}}}
    assert run_again(found, DETAIL_VARIANTS[0], python).ok


SAVING = """
    - step: start
      type: http
      endpoint: x
      retry: {max_attempts: 2, initial_delay: 1ms}
      save: {storage: postgres, table: t}
      next: [{when: "{{ result.n < 2 }}", then: start}, {else: end}]
      on_error: [{step: end, args: {n: "{{ result.n }}"}}]
    - {step: end, result: "{{ n }}"}
"""


def test_a_failure_of_a_save_keeps_the_result_of_the_call(python: PythonChild) -> None:
    """The stub of the step has what the call gave, that of the save its error, after the saves that went well."""
    full = {"error": {"type": "postgres", "message": "full", "retryable": False}}
    stubs = {"start": [{"result": {"n": 1}}, {"result": {"n": 2}}], "start.save": [{"result": {}}, full]}
    found = recorded(python, orjson.dumps([{"name": "it", "stubs": stubs}]).decode(), SAVING)
    assert (found.shown["status"], found.shown["result"]) == ("completed", 2)
    (test,) = found.document(DETAIL_VARIANTS[0])["tests"]
    assert test["stubs"] == stubs
    assert all(run_again(found, detail, python).ok for detail in DETAIL_VARIANTS)


def test_a_save_that_fails_and_is_tried_again(python: PythonChild) -> None:
    """The log has the result of the last attempt only: an earlier one is recorded as a failure of the step."""
    again = "{error: {type: postgres, message: busy, retryable: true}}"
    found = recorded(python, f"- {{name: it, stubs: {{start: {{result: {{n: 5}}}}, start.save: {again}}}}}", SAVING)
    assert (found.shown["status"], found.shown["result"]) == ("completed", 5)
    (test,) = found.document(DETAIL_VARIANTS[0])["tests"]
    busy = {"error": {"type": "postgres", "message": "busy", "retryable": True}}
    assert test["stubs"] == {"start": [busy, {"result": {"n": 5}}], "start.save": busy}
    assert all(run_again(found, detail, python).ok for detail in DETAIL_VARIANTS)


def test_the_save_of_a_whole_loop_that_fails(python: PythonChild) -> None:
    """Its items have their results, and their own saves went well."""
    body = """
    - step: start
      type: http
      endpoint: x
      loop: {in: [1, 2], save: {storage: postgres, table: t}}
      save: {storage: postgres, table: whole}
    """
    full = {"error": {"type": "postgres", "message": "full", "retryable": False}}
    stubs = {"start": {"result": {"n": 1}}, "start.save": [{"result": {}, "times": 2}, full]}
    found = recorded(python, orjson.dumps([{"name": "it", "stubs": stubs}]).decode(), body)
    assert (found.shown["status"], found.shown["error"]["message"]) == ("failed", "full")
    (test,) = found.document(DETAIL_VARIANTS[0])["tests"]
    item = {"result": {"n": 1}}
    assert test["stubs"] == {"start": {"items": {"0": item, "1": item}}, "start.save": stubs["start.save"]}
    assert all(run_again(found, detail, python).ok for detail in DETAIL_VARIANTS)


def test_a_result_that_looks_like_contains_is_told_apart(python: PythonChild) -> None:
    body = "- {step: start, type: python, code: \"def main(): return {'contains': 1}\"}"
    found = recorded(python, "- {name: it}", body)
    assert found.document(DETAIL_VARIANTS[0])["tests"][0]["expect"]["result"] == {"equals": {"contains": 1}}
    assert run_again(found, DETAIL_VARIANTS[0], python).ok


def test_items_of_a_loop_are_stubbed_by_their_index() -> None:
    """Each with its own attempts."""
    book = load_playbook(document("- {step: start, type: http, endpoint: x}"), "book.yaml")
    base = {"node_id": "start", "visit": 1, "result": None, "error": None, "meta": None}
    base["timestamp"] = "2026-01-01T00:00:00+00:00"
    error = {"type": "http", "message": "no", "retryable": True, "detail": None, "step": "start", "attempt": 1}
    events = [
        {**base, "event_type": "execution_start", "node_id": None, "item_index": -1},
        {**base, "event_type": "step_queued", "item_index": -1},
        {**base, "event_type": "item_completed", "item_index": 1, "result": "b"},
        {**base, "event_type": "attempt_failed", "item_index": 0, "error": error},
        {**base, "event_type": "item_completed", "item_index": 0, "result": "a"},
        {**base, "event_type": "item_failed", "item_index": 2, "error": error},
        {**base, "event_type": "item_completed", "item_index": 0, "node_id": "start/10", "result": "d"},
        {
            **base,
            "event_type": "item_completed",
            "item_index": 10,
            "result": {"count": 1},
            "meta": {"loop": {"first": 9}},
        },
        {**base, "event_type": "item_skipped", "item_index": 4, "error": {**error, "type": "cancelled"}, "duration": 2},
        {
            **base,
            "event_type": "step_completed",
            "item_index": -1,
            "result": {"count": 3},
            "meta": {"loop": {"first": 2}},
        },
    ]
    shown: dict[str, Any] = {"execution_id": "1", "status": "completed", "result": None, "error": None, "workload": {}}
    (test,) = Recording(shown, events, book, document("- {step: start}")).document(DETAIL_VARIANTS[0])["tests"]
    no = {"error": {"type": "http", "message": "no", "retryable": True}}
    killed = {"error": {"type": "cancelled", "message": "it was running when it was cancelled"}, "takes": "3602s"}
    more = {"4": killed, "10/0": {"result": "d"}}
    assert test["stubs"] == {"start": {"items": {"0": [no, {"result": "a"}], "1": {"result": "b"}, "2": no, **more}}}
    assert list(test["stubs"]["start"]["items"]) == ["0", "1", "2", "4", "10/0"]
