"""What the log tells: one row per fact, no fact twice, times that strictly increase, one end that is last."""

from itertools import pairwise
from typing import Any

from tests.support.playbooks import Lab

CHAIN = """
    workflow:
      - step: start
        type: python
        code: "def main(): return {'n': 1}"
        next: {step: second, args: {n: "{{ start.n }}"}}
      - step: second
        type: python
        code: "def main(n): return n + 1"
        next:
          - {when: "{{ second > 5 }}", then: [{step: end, args: {n: 0}}]}
          - {when: "{{ second }}", then: [{step: end, args: {n: "{{ second }}"}}]}
          - {else: [end]}
      - {step: end, result: {n: "{{ n }}"}}
"""


def named(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row without what it leaves empty."""
    return {name: value for name, value in row.items() if value is not None}


def test_a_sequential_step_is_two_events_and_each_says_what_it_should(lab: Lab) -> None:
    ended = lab.run(CHAIN)
    rows = lab.facts(
        ended.execution_id,
        "event_id, event_type, node_id, node_name, node_type, visit, item_index, attempt, context, result, error",
    )
    start, queued, done, *_, end, terminal = map(named, rows)
    ((path, hash_),) = lab.rows(
        """SELECT c.path, content_hash FROM catalog c JOIN execution USING (catalog_id)
            WHERE execution_id = %s""",
        ended.execution_id,
    )
    assert ended.events == [
        "execution_start",
        "step_queued start",
        "step_completed start",
        "step_queued second",
        "step_completed second",
        "step_completed end",
        "execution_complete",
    ]
    node = {"node_id": "start", "node_name": "start", "node_type": "python", "visit": 1, "item_index": -1}
    context = {"path": path, "version": 1, "hash": hash_}
    assert start == {"event_id": 1, "event_type": "execution_start", "item_index": -1, "context": context}
    assert queued == {"event_id": 2, "event_type": "step_queued", **node, "context": {"arrivals": [[1, -1]]}}
    assert done == {"event_id": 3, "event_type": "step_completed", **node, "attempt": 1, "result": {"n": 1}}
    assert (end["node_type"], end["visit"], end.get("attempt"), end.get("result")) == ("router", 1, None, None)
    assert terminal == {"event_id": 7, "event_type": "execution_complete", "item_index": -1, "result": {"n": 2}}


def test_a_completion_tells_each_clause_with_its_value_and_the_args_it_gave(lab: Lab) -> None:
    ended = lab.run(CHAIN)
    first, second = (
        row["meta"]["next"] for row in lab.facts(ended.execution_id, "meta", "event_type = 'step_completed'")[:2]
    )
    assert first == [{"clause": 0, "to": [{"edge": 1, "step": "second", "args": {"n": 1}}]}]
    assert second == [
        {"clause": 0, "when": False},
        {"clause": 1, "when": 2, "to": [{"edge": 3, "step": "end", "args": {"n": 2}}]},
        {"clause": 2},
    ]


def test_times_strictly_increase_and_say_how_long_a_step_stood_and_ran(lab: Lab) -> None:
    execution = lab.begin(
        r"""
        - {step: start, type: python, code: "import time\ndef main(): time.sleep(0.2)", next: [a, b]}
        - {step: a, type: python, code: "def main(): return 1"}
        - {step: b, type: python, code: "def main(): return 1"}
        """
    )
    ended = lab.end(execution)
    rows = lab.facts(execution, "timestamp, event_type, node_id, duration, worker_id, meta")
    assert all(before["timestamp"] < after["timestamp"] for before, after in pairwise(rows))
    workers = {row[0] for row in lab.rows("SELECT runtime_id FROM runtime WHERE kind = 'worker'")}
    runs = [row for row in rows if row["event_type"] == "step_completed"]
    assert {row["worker_id"] for row in runs} <= workers
    assert all(0 <= row["meta"]["queued"] < 15 for row in runs)
    assert 0.2 <= runs[0]["duration"] < 2
    begun, finished = lab.rows("SELECT started_at, finished_at FROM execution WHERE execution_id = %s", execution)[0]
    assert (begun, finished) == (rows[0]["timestamp"], rows[-1]["timestamp"])
    assert ended.status == "completed"


def test_step_runs_that_wait_write_nothing_while_they_wait(lab: Lab) -> None:
    child = lab.put("- {step: start, type: wait, for: 20ms}")
    ended = lab.run(f"- {{step: start, type: playbook, path: {child}}}")
    assert ended.events == ["execution_start", "step_queued start", "step_completed start", "execution_complete"]
    (only,) = lab.rows("SELECT execution_id FROM execution WHERE parent_execution_id = %s", ended.execution_id)
    assert lab.events(only[0]) == ended.events


def test_failures_tell_where_and_why_and_the_terminal_event_keeps_it_short(lab: Lab) -> None:
    ended = lab.run(
        """
        - step: start
          type: python
          code: |
            def main():
                return helper()


            def helper():
                raise ValueError("deep inside")
        """
    )
    failed, failing, terminal = lab.facts(ended.execution_id, "event_id, event_type, error, meta, context")[-3:]
    error = failed["error"]
    assert (error["type"], error["step"], error["attempt"], error["retryable"]) == ("python", "start", 1, True)
    assert error["message"] == "ValueError: deep inside"
    assert error["detail"]["exception"] == "ValueError"
    assert 'raise ValueError("deep inside")' in error["detail"]["traceback"]
    assert "noetl/" not in error["detail"]["traceback"], "it starts in the playbook's code"
    assert (failing["event_type"], failing["meta"], failing["context"]) == (
        "execution_failing",
        {"failed": failed["event_id"]},
        {"step": "start"},
    )
    assert terminal["error"] == {name: value for name, value in error.items() if name != "detail"}
    ((detail,),) = lab.rows("SELECT detail FROM error_log WHERE execution_id = %s", ended.execution_id)
    assert detail == error["detail"]


CANCELLED_AT = """
SELECT timestamp = cancel_requested_at
  FROM event_log JOIN execution USING (execution_id)
 WHERE execution_id = %s AND event_type = 'execution_cancel_requested'
"""


def test_a_cancel_tells_who_and_why(lab: Lab) -> None:
    execution = lab.begin("- {step: start, type: wait, for: 1h}")
    lab.orchestrator.cancel(execution, by="ann", reason="too late")
    ended = lab.end(execution)
    asked = lab.facts(execution, "context, error", "event_type = 'execution_cancel_requested'")[0]
    assert asked["context"] == {"by": "ann", "reason": "too late"}
    assert asked["error"]["message"] == ended.error["message"] == "cancelled by ann: too late"
    assert lab.rows(CANCELLED_AT, execution) == [(True,)]


def test_the_time_of_a_cancel_is_its_events_also_where_more_happens_with_it(lab: Lab) -> None:
    execution = lab.begin("- {step: start, type: wait, for: 1h, pool: nobodys}")
    lab.orchestrator.cancel(execution)
    ended = lab.end(execution)
    assert ended.events[-3:] == ["execution_cancel_requested", "step_skipped start", "execution_cancelled"]
    assert lab.rows(CANCELLED_AT, execution) == [(True,)]


def test_a_hundred_executions_of_five_steps_write_two_events_a_step_and_leave_no_job(lab: Lab) -> None:
    steps = [f'- {{step: s{n}, type: python, code: "def main(): return {n}", next: s{n + 1}}}' for n in range(1, 5)]
    path = lab.put("\n".join([*steps, '- {step: s5, type: python, code: "def main(): return 5"}']))
    first = lab.one("SELECT nextval('queue_id_seq')")
    started = [lab.start(path) for _ in range(100)]
    assert {lab.end(execution, limit=30).status for execution in started} == {"completed"}
    counted = lab.rows(
        "SELECT event_type, count(*) FROM event_log WHERE execution_id = ANY (%s) GROUP BY 1 ORDER BY 1", started
    )
    assert dict(counted) == {
        "execution_start": 100,
        "step_queued": 500,
        "step_completed": 500,
        "execution_complete": 100,
    }
    assert lab.one("SELECT nextval('queue_id_seq')") - first - 1 == 500, "one queue row a step"
    stored = lab.one("SELECT count(*) FROM event_log WHERE execution_id = ANY (%s) AND result IS NOT NULL", started)
    assert stored == 500, "a result is stored once"
