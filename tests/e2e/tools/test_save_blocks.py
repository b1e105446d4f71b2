"""Blocks `save`: carried out when the tool is done, before the outcome goes into the log."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.playbooks import Lab
from tests.support.saver import Saver


@pytest.fixture(scope="module")
def saver() -> Saver:
    return Saver()


@pytest.fixture(scope="module", autouse=True)
def shared_tools(saver: Saver) -> Iterator[None]:
    """Have the worker of this file save into the test's memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("noetl.worker.run.make_tools", saver.tools)
        yield


@pytest.fixture(autouse=True)
def nothing_saved(saver: Saver) -> None:
    saver.calls.clear()


def test_what_the_tool_gave_is_saved_and_stays_the_steps_result(lab: Lab, saver: Saver) -> None:
    ended = lab.run("""
        - step: start
          type: python
          args: {n: 20}
          code: "def main(n): return {'id': n + 1, 'name': 'Ada'}"
          save: {storage: postgres, table: people, data: {id: "{{ this.id }}", n: "{{ n }}", of: "{{ start.name }}"}}
          next: [end]
        - step: end
          result: "{{ start }}"
        """)
    assert (ended.status, ended.result) == ("completed", {"id": 21, "name": "Ada"})
    (call,) = saver.calls
    assert call.fields == {
        "storage": "postgres",
        "table": "people",
        "data": {"id": 21, "n": 20, "of": "Ada"},
    }
    assert call.key == f"{ended.execution_id}:start:1:-1:save"
    assert call.where.endswith("#start save")
    assert ended.events == [
        "execution_start",
        "step_queued start",
        "step_completed start",
        "step_completed end",
        "execution_complete",
    ]


def test_a_save_that_fails_is_a_failed_attempt(lab: Lab, saver: Saver, tmp_path: Path) -> None:
    """It is retried as any, the tool with it, under the same keys; the last failure fails the step."""
    body = """
        - step: start
          type: python
          args: {file: "{{ workload.file }}"}
          retry: {max_attempts: 2, initial_delay: 1ms}
          code: |
            def main(file):
                with open(file, "a") as runs:
                    runs.write("x")
                print("ran")
                return 1
          save: {storage: postgres, table: "{{ workload.table }}"}
        """
    unsteady, broken = tmp_path / "unsteady", tmp_path / "broken"
    ended = lab.run(body, payload={"file": str(unsteady), "table": "unsteady"})
    assert (ended.status, ended.result) == ("completed", 1)
    assert unsteady.read_text() == "xx"
    assert len({call.key for call in saver.calls}) == 1
    assert lab.rows("SELECT attempt, text FROM output WHERE execution_id = %s ORDER BY 1", ended.execution_id) == [
        (1, "ran\n"),
        (2, "ran\n"),
    ]
    ended = lab.run(body, payload={"file": str(broken), "table": "broken"})
    assert (ended.status, ended.error["message"]) == ("failed", "there is no table broken")
    assert "attempt_failed start" in ended.events
    assert (ended.error["attempt"], ended.error["phase"]) == (2, "save")
    failed = lab.facts(ended.execution_id, "result", "event_type IN ('attempt_failed', 'step_failed')")
    assert [fact["result"] for fact in failed] == [None, 1]


def test_a_handler_reads_what_could_not_be_saved(lab: Lab, saver: Saver) -> None:
    """The result of the call, and of a loop what its items gave."""
    ended = lab.run("""
        - step: start
          type: python
          code: "def main(): return {'n': 7}"
          save: {storage: postgres, table: broken}
          on_error: [{step: each, args: {kept: "{{ result }}"}}]
        - step: each
          type: python
          loop: {in: [1, 2]}
          code: "def main(value): return value"
          save: {storage: postgres, table: broken}
          on_error: [{step: end, args: {of: "{{ start.n }}", kept: "{{ result }}"}}]
        - {step: end, result: {of: "{{ of }}", kept: "{{ kept }}"}}
        """)
    assert (ended.status, ended.result) == ("completed", {"of": 7, "kept": [1, 2]})


def test_the_log_has_it_in_any_case(lab: Lab, saver: Saver) -> None:
    """`event_log` is what is meant where nothing else is said: nothing more is to be done."""
    ended = lab.run("""
        - {step: start, type: python, code: "def main(): return 7", save: {storage: event_log}, next: [more]}
        - {step: more, type: python, code: "def main(): return 8", save: {data: "{{ result }}"}}
        """)
    assert (ended.status, ended.result) == ("completed", 8)
    assert saver.calls == []


def test_data_of_its_own_is_kept_in_the_log_beside_the_result(lab: Lab, saver: Saver) -> None:
    """A secret is not."""
    ended = lab.run("""
        - {step: start, type: python, code: "def main(): return 7", next: more,
           save: {storage: event_log, data: {n: "{{ result }}", day: "2026-01-01"}}}
        - {step: more, type: python, code: "def main(): return 8", on_error: end, next: end,
           save: {data: {k: "{{ secret('env:HOME') }}"}}}
        - {step: end, result: ["{{ start }}", "{{ error.message | default('kept') }}"]}
        """)
    assert ended.status == "completed"
    assert ended.result[0] == 7
    assert "a secret cannot be kept in the event log" in ended.result[1]
    saved = "SELECT meta ->> 'saved' FROM event_log WHERE execution_id = %s AND meta ->> 'saved' IS NOT NULL"
    assert [json.loads(row[0]) for row in lab.rows(saved, ended.execution_id)] == [{"n": 7, "day": "2026-01-01"}]
    assert saver.calls == []


def test_a_save_that_cannot_be_rendered_fails_the_step(lab: Lab, saver: Saver) -> None:
    ended = lab.run("""
        - step: start
          type: python
          code: "def main(): return {'a': 1}"
          save: {storage: postgres, table: t, data: "{{ result.b }}"}
        """)
    assert (ended.status, ended.error["type"]) == ("failed", "template")
    assert "save.data" in ended.error["message"]
    assert saver.calls == []


def test_a_save_reads_other_steps_results(lab: Lab, saver: Saver) -> None:
    """Which the worker may have to load once the tool is done."""
    ended = lab.run("""
        - {step: start, type: python, code: "def main(): return 'first'", next: [middle]}
        - {step: middle, type: python, code: "def main(): return 'x'", next: [more]}
        - step: more
          type: python
          code: "def main(): return 'second'"
          save: {storage: file, path: f.csv, data: ["{{ start }}", "{{ result }}", "{{ results['middle'] }}"]}
        """)
    assert ended.status == "completed", ended.error
    assert saver.saved == [["first", "second", "x"]]


def test_what_waits_without_a_worker_saves_as_well(lab: Lab, saver: Saver) -> None:
    child = lab.put('- {step: start, type: python, code: "def main(): return [1, 2]"}')
    ended = lab.run(f"""
        - {{step: start, type: wait, for: 10ms, save: {{storage: file, path: a.csv}}, next: [called]}}
        - {{step: called, type: playbook, path: {child}, save: {{storage: file, path: b.csv}}}}
        """)
    assert (ended.status, ended.result) == ("completed", [1, 2])
    assert [call.fields["path"] for call in saver.calls] == ["a.csv", "b.csv"]
    assert "until" in saver.saved[0]
    assert saver.saved[1] == [1, 2]


def test_a_loop_saves_each_item_and_its_step_the_whole(lab: Lab, saver: Saver) -> None:
    ended = lab.run("""
        - step: start
          type: python
          loop:
            in: [1, 2, 3]
            iterator: n
            mode: async
            on_error: continue
            save: {storage: postgres, table: "{{ 'broken' if n == 2 else 'items' }}", data: "{{ [index, n, this] }}"}
          code: "def main(n): return n * 10"
          save: {storage: postgres, table: all, data: "{{ {'list': result, 'failed': start.errors | length} }}"}
          next: [end]
        - step: end
          result: "{{ start }}"
        """)
    assert (ended.status, ended.result) == ("completed", [10, None, 30]), ended.error
    *items, whole = saver.calls
    assert sorted(call.fields["data"] for call in items) == [[0, 1, 10], [1, 2, 20], [2, 3, 30]]
    assert sorted(call.key.split(":", 1)[1] for call in items) == [f"start:1:{n}:save" for n in range(3)]
    assert whole.fields["data"] == {"list": [10, None, 30], "failed": 1}
    assert whole.key.endswith(":start:1:-1:save")


def test_the_save_of_a_whole_loop_that_fails_is_retried_without_running_the_items_again(lab: Lab, saver: Saver) -> None:
    ended = lab.run("""
        - step: start
          type: python
          retry: {max_attempts: 2, initial_delay: 1ms}
          loop: {in: [1, 2]}
          code: "def main(value): return value"
          save: {storage: postgres, table: unsteady}
        """)
    assert (ended.status, ended.result) == ("completed", [1, 2]), ended.error
    assert saver.saved == [[1, 2], [1, 2]]
    assert ended.events.count("item_completed start") == 2
    assert ended.events.count("attempt_failed start") == 1


def test_blocks_in_older_spelling_save_per_item_and_per_step(lab: Lab, saver: Saver) -> None:
    """`this.field` falls through to the result's field; `this.data` is the body, where there is one."""
    ended = lab.run("""
        - step: start
          type: iterator
          collection: [{name: Ada}, {name: Grace}]
          element: person
          task:
            name: look_up
            type: python
            code: "def main(person): return {'id': len(person['name']), 'data': {'of': person['name']}}"
            save:
              storage: {type: postgres, table: people}
              args:
                id: "{{ this.id }}"
                again: "{{ this.result.id }}"
                of: "{{ this.data.of }}"
                name: "{{ person.name }}"
          save: {type: postgres, table: totals, with: {count: "{{ this.count }}"}}
        """)
    assert ended.status == "completed", ended.error
    assert saver.saved == [
        {"id": 3, "again": 3, "of": "Ada", "name": "Ada"},
        {"id": 5, "again": 5, "of": "Grace", "name": "Grace"},
        {"count": 2},
    ]
    assert [call.fields["table"] for call in saver.calls] == ["people", "people", "totals"]


def test_what_is_repeated_is_saved_again_under_a_key_of_its_own(lab: Lab, saver: Saver) -> None:
    """Each success is saved before `retry` looks at it."""
    ended = lab.run("""
        - step: start
          type: python
          retry: {max_attempts: 3, initial_delay: 1ms, until: "{{ attempt == 2 }}"}
          code: "def main(): return 1"
          save: {storage: postgres, table: people, data: {n: "{{ result }}"}}
        """)
    assert ended.status == "completed", ended.error
    assert [call.key.removeprefix(f"{ended.execution_id}:") for call in saver.calls] == [
        "start:1:-1:save",
        "start:1:-1:1:save",
    ]
