"""Starts, priorities, pools, and executions that the engine cannot decide."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from noetl.database.connection.connect import Database
from noetl.engine.decide import decide as real_decide
from noetl.engine.inputs import AttemptEnded
from noetl.engine.render import render_job as real_render
from noetl.errors import InputError, NotFound
from noetl.orchestrator.start import StartRequest
from noetl.settings import Settings
from tests.support.playbooks import Lab
from tests.support.working import working

ONE_STEP = '- {step: start, type: python, code: "def main(): return 1"}'


@pytest.fixture
def alone(settings: Settings, database: Database) -> Lab:
    """A database of its own, and no worker but those that a test starts."""
    return Lab(database, settings)


def test_a_key_makes_a_start_idempotent_per_path(lab: Lab) -> None:
    first, second = lab.put(ONE_STEP), lab.put(ONE_STEP)
    requests = [(first, "k"), (first, "k"), (second, "k"), (first, "other"), (first, None), (first, None)]
    started = [lab.orchestrator.start(StartRequest(path, key=key)) for path, key in requests]
    assert [one.created for one in started] == [True, False, True, True, True, True]
    assert started[0].execution_id == started[1].execution_id
    assert len({one.execution_id for one in started}) == 5
    for one in started:
        assert lab.end(one.execution_id).status == "completed"
    again = lab.orchestrator.start(StartRequest(first, key="k"))
    assert (again.execution_id, again.created, again.status) == (started[0].execution_id, False, "completed")


def test_a_start_keeps_labels_priority_who_and_version_and_lays_the_payload_over_the_workload(lab: Lab) -> None:
    path = lab.put(
        """
        labels: {team: blue, tier: 1}
        priority: 3
        workload: {a: {x: 1, y: 2}, b: 1, text: "{{ 1 + 1 }}"}
        workflow: [{step: start, next: end}, {step: end, result: "{{ workload }}"}]
        """
    )
    lab.put("- {step: start, type: fail}", path)
    given: dict[str, Any] = {"version": 1, "payload": {"a": {"x": "{{ 9 }}"}}, "by": "ann"}
    shallow = lab.start(path, labels={"team": "red", "new": "ü"}, priority=-7, **given)
    deep = lab.start(path, merge=True, overlay={"a": {"y": {"z": 3}}}, **given)
    assert lab.end(shallow).result == {"a": {"x": "{{ 9 }}"}, "b": 1, "text": 2}, "a payload is data, never a template"
    assert lab.end(deep).result == {"a": {"x": "{{ 9 }}", "y": {"z": 3}}, "b": 1, "text": 2}
    rows = lab.rows(
        "SELECT labels, priority, started_by, version FROM execution WHERE path = %s ORDER BY execution_id", path
    )
    assert rows == [
        ({"team": "red", "tier": "1", "new": "ü"}, -7, "ann", 1),
        ({"team": "blue", "tier": "1"}, 3, "ann", 1),
    ]
    with pytest.raises(NotFound, match=r"there is no playbook .* version 3 in the catalog"):
        lab.start(path, version=3)
    with pytest.raises(NotFound, match="there is no playbook test/nowhere in the catalog: register it first"):
        lab.start("test/nowhere")
    with pytest.raises(NotFound, match="there is no execution 17"):
        lab.orchestrator.cancel(17)
    with pytest.raises(InputError, match="reason contains a lone surrogate"):
        lab.orchestrator.cancel(deep, reason="\ud800")
    stored = lab.register("apiVersion: noetl.io/v1\nkind: Secret\nmetadata: {path: test/stored}\nanything: [1]\n")
    with pytest.raises(InputError, match="test/stored is a Secret, and only a Playbook can be executed"):
        lab.start(stored)


def test_greater_priority_runs_first_and_equals_in_the_order_they_came(alone: Lab) -> None:
    path = alone.put(
        r"""
        priority: 5
        workflow:
          - {step: start, type: python, code: "import time\ndef main(): return time.monotonic_ns()"}
        """
    )
    priorities = (0, None, 9, None, -1, 0, 5)  # None: the playbook's
    started = [alone.start(path, priority=priority) for priority in priorities]
    with working(alone.settings, slots=1):
        begun = [alone.end(execution).result for execution in started]
    assert sorted(range(7), key=begun.__getitem__) == [2, 1, 3, 6, 0, 5, 4]


def test_a_worker_takes_only_its_pools_and_a_step_may_name_one(alone: Lab) -> None:
    path = alone.put(
        f"""
        pool: red
        workflow:
          - {{step: start, next: [a, b]}}
          - {ONE_STEP[2:].replace("start", "a").replace("}", ", next: end}")}
          - {ONE_STEP[2:].replace("start", "b").replace("}", ", pool: blue, next: end}")}
          - {{step: end}}
        """
    )
    ordinary, given = alone.start(path), alone.start(path, pool="green")
    with ExitStack() as workers:
        for pools in (("red",), ("blue",), ("green", "yellow")):
            workers.enter_context(working(alone.settings, slots=1, pools=pools))
        assert {alone.end(execution).status for execution in (ordinary, given)} == {"completed"}
    rows = alone.rows(
        """SELECT execution_id, node_id, pools FROM event_log JOIN runtime ON runtime_id = worker_id
            WHERE event_type = 'step_completed' ORDER BY execution_id, node_id"""
    )
    assert [(execution == given, node, list(pools)) for execution, node, pools in rows] == [
        (False, "a", ["red"]),
        (False, "b", ["blue"]),
        (True, "a", ["green", "yellow"]),
        (True, "b", ["blue"]),
    ]


def test_a_worker_of_one_tree_leaves_all_others_alone(alone: Lab) -> None:
    child = alone.put(ONE_STEP)
    path = alone.put(f"- {{step: start, type: playbook, path: {child}}}")
    first, second = alone.start(path), alone.start(path)
    with working(alone.settings, slots=1, only_root=second):
        assert alone.end(second).status == "completed"
    assert alone.status(first) == "running"
    assert alone.orchestrator.cancel(first, by="a test") == "cancelled"


def test_branches_of_one_execution_that_end_on_three_workers_at_once_all_count(alone: Lab) -> None:
    names = [f"b{n}" for n in range(150)]
    branches = "\n".join(
        f'- {{step: {name}, type: python, code: "def main(): return {n}", next: total}}' for n, name in enumerate(names)
    )
    results = ", ".join(f"'{{{{ {name} }}}}'" for name in names)
    path = alone.put(
        f"- {{step: start, next: [{', '.join(names)}]}}\n{branches}\n"
        f"- {{step: total, type: python, args: {{all: [{results}]}},"
        ' code: "def main(all): return sum(all)"}'
    )
    with ExitStack() as workers:
        for _ in range(3):
            workers.enter_context(working(alone.settings, slots=2))
        started = [alone.start(path) for _ in range(2)]
        ended = [alone.end(execution, limit=60) for execution in started]
    assert [(one.status, one.result, one.visits("total")) for one in ended] == [("completed", 11175, 1)] * 2
    taken = alone.rows("SELECT DISTINCT worker_id FROM event_log WHERE worker_id IS NOT NULL")
    assert len(taken) == 3


TWO_STEPS = """
    workflow:
      - {step: start, type: python, code: "def main(): return 1", next: second}
      - {step: second, type: python, code: "def main(): return 2", next: end}
      - {step: end}
    finally:
      - {step: tidy, type: python, code: "def main(): return 3"}
"""


def break_decide(monkeypatch: pytest.MonkeyPatch, sick: Callable[[], int]) -> None:
    def decide(playbook: Any, state: Any, given: Any, values: Any) -> Any:
        if values.execution_id == sick() and isinstance(given, AttemptEnded) and given.job.node_id == "second":
            raise ZeroDivisionError("a bug of the engine")
        return real_decide(playbook, state, given, values)

    monkeypatch.setattr("noetl.orchestrator.batch.decide", decide)


def break_prepare(monkeypatch: pytest.MonkeyPatch, sick: Callable[[], int]) -> None:
    def render_job(playbook: Any, state: Any, job: Any, values: Any) -> Any:
        if values.execution_id == sick() and job.node_id == "second":
            raise ZeroDivisionError("a bug of the engine")
        return real_render(playbook, state, job, values)

    monkeypatch.setattr("noetl.orchestrator.attempt.render_job", render_job)


@pytest.mark.parametrize("breaks", [break_decide, break_prepare])
def test_an_execution_that_cannot_be_decided_is_quarantined_alone_and_can_be_cancelled(
    alone: Lab, monkeypatch: pytest.MonkeyPatch, breaks: Callable[[pytest.MonkeyPatch, Callable[[], int]], None]
) -> None:
    path = alone.put(TWO_STEPS)
    started = [alone.start(path) for _ in range(12)]
    sick = started.pop(5)
    breaks(monkeypatch, lambda: sick)
    with working(alone.settings, slots=4):
        assert {alone.end(execution).status for execution in started} == {"completed"}
        alone.until(lambda: alone.errors(sick))
        ((node, kind, attempt, message),) = alone.errors(sick)
        assert (node, kind, attempt) == ("second", "quarantined", 1)
        assert "ZeroDivisionError: a bug of the engine" in message
        assert alone.rows("SELECT node_id, status FROM queue") == [("second", "quarantined")]
        assert alone.status(sick) == "running"
        assert alone.run(TWO_STEPS).status == "completed", "the worker lives"
        alone.orchestrator.cancel(sick, by="a test")
        ended = alone.end(sick)
    assert ended.status == "cancelled"
    assert ended.events[-4:] == [
        "execution_finishing",
        "step_queued tidy",
        "step_completed tidy",
        "execution_cancelled",
    ]
    assert "step_skipped second" in ended.events
    assert alone.rows("SELECT * FROM queue") == []


def test_an_execution_whose_timeout_cannot_be_decided_leaves_the_maintenance_alive(
    alone: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    sick = alone.start(alone.put("timeout: 100ms\nworkflow:\n  - {step: start, type: wait, for: 1h}"))
    asked: list[Any] = []

    def decide(playbook: Any, state: Any, given: Any, values: Any) -> Any:
        if values.execution_id == sick and not isinstance(given, AttemptEnded) and len(asked) < 2:
            asked.append(given)
            raise ZeroDivisionError("a bug of the engine")
        return real_decide(playbook, state, given, values)

    monkeypatch.setattr("noetl.orchestrator.batch.decide", decide)
    monkeypatch.setattr("noetl.orchestrator.lost.FAILED_RETRY_SECONDS", 0.1)
    with working(alone.settings, slots=1):
        assert alone.run("- {step: start, type: wait, for: 500ms}").status == "completed"
        ended = alone.end(sick)
    assert len(asked) == 2, "it was tried again"
    assert (ended.status, ended.error["type"]) == ("failed", "timeout")
