"""Conditions of `retry` that look at what an attempt gave: successes that are repeated, failures that are not."""

from typing import Any

import pytest

from noetl.engine.retry import delay, may_retry
from noetl.playbook.model import Retry
from tests.unit.engine.model import Execution, flow, py, router

PENDING, READY = {"status_code": 200, "data": {"state": "pending"}}, {"status_code": 200, "data": {"state": "ready"}}


def polling(attempts: int = 3, **retry: Any) -> Execution:
    return flow(py("start", "end", retry={"max_attempts": attempts, "jitter": False, **retry}), router("end"))


def test_a_success_is_repeated_until_it_is_the_one_that_retry_waits_for() -> None:
    execution = polling(until="{{ data.state == 'ready' }}")
    execution.done("start", PENDING)
    row = execution.row("start")
    assert (row.job.job_id, row.job.failures, row.status, row.delay) == (1, 1, "waiting", 1.0)
    [event] = execution.events("attempt_failed")
    assert event.error is not None
    assert (event.error["type"], event.attempt, event.result) == ("unsatisfied", 1, None)
    execution.done("start", READY)
    assert execution.status == "completed"
    assert execution.result == READY
    assert execution.errors == [], "a result that is not there yet is no error"


def test_past_the_last_attempt_the_step_fails_and_keeps_the_result() -> None:
    execution = flow(
        py("start", retry={"max_attempts": 2, "until": "{{ result.data.state == 'ready' }}"}, on_error=[{"step": "h"}]),
        router("h", result="{{ start.data.state }}: {{ error.type }}, {{ error.attempt }}"),
    )
    execution.done("start", PENDING)
    execution.done("start", PENDING)
    assert execution.status == "completed"
    assert execution.result == "pending: unsatisfied, 2"
    assert execution.errors == ["unsatisfied"]


@pytest.mark.parametrize(
    ("when", "result", "again"),
    [
        ("{{ status_code == 202 }}", {"status_code": 202, "data": None}, True),
        ("{{ status_code == 202 }}", {"status_code": 200, "data": None}, False),
        ("{{ data.state == 'pending' }}", PENDING, True),
        ("{{ data.state == 'pending' }}", {"state": "pending"}, True),
        ("{{ result.state == 'pending' }}", {"state": "pending"}, True),
        ("{{ not success }}", {"success": False}, False),
        ("{{ result == [] }}", [], True),
        ("{{ data == [] }}", [1], False),
        ("{{ error is none and data.state == 'pending' and attempt == 1 }}", PENDING, True),
        ("{{ status_code == 0 }}", {"status_code": "200"}, True),
        ("{{ error.retryable }}", PENDING, False),
        ("{{ attempt < 3 }}", PENDING, False),
        ("{{ data.x + 1 == data.y }}", {"x": 1, "y": 2}, True),
    ],
)
def test_a_when_that_looks_at_the_result_is_asked_of_successes(when: str, result: Any, again: bool) -> None:
    """One that speaks of the error alone is not."""
    execution = polling(when=when)
    execution.done("start", result)
    assert (execution.status, execution.waiting()) == (("running", ["start"]) if again else ("completed", []))


def test_a_when_that_cannot_be_asked_of_a_success_lets_it_stand_and_is_logged() -> None:
    execution = polling(when="{{ data.nothing == 1 }}")
    execution.done("start", {"a": 1})
    assert execution.status == "completed"
    assert execution.errors == ["template"]


def test_an_until_that_cannot_be_asked_of_a_success_fails_the_step() -> None:
    execution = polling(until="{{ data.nothing == 1 }}")
    execution.done("start", {"a": 1})
    assert execution.status == "failed"
    assert (execution.error["type"], execution.error["phase"]) == ("template", "retry")
    assert "nothing" in execution.error["message"]


def test_failures_are_retried_until_it_is_true_of_them() -> None:
    execution = polling(5, until="{{ status_code == 410 or data.state == 'ready' }}")
    execution.fail("start", "http", detail=None)
    execution.fail("start", "http", detail={"status_code": 503, "data": "down"})
    execution.done("start", PENDING)
    assert execution.waiting() == ["start"]
    execution.fail("start", "http", detail={"status_code": 410, "data": "gone"})
    assert execution.status == "failed"
    assert execution.error["attempt"] == 4
    assert execution.errors == ["http", "http", "http"]


@pytest.mark.parametrize(
    ("when", "error", "again"),
    [
        ("{{ status_code in [429, 503] }}", {"detail": {"status_code": 503, "data": None}}, True),
        ("{{ status_code in [429, 503] }}", {"detail": {"status_code": 500, "data": None}}, False),
        ("{{ status_code >= 500 }}", {"detail": None}, False),
        ("{{ status_code >= 500 or error != None }}", {"detail": None}, True),
        ("{{ data.code == 'busy' }}", {"detail": {"status_code": 503, "data": {"code": "busy"}}}, True),
        ("{{ not success and attempt < 2 }}", {"detail": None}, True),
        ("{{ result is none }}", {"detail": "text"}, True),
        ("{{ error.type == 'http' }}", {"detail": None}, True),
    ],
)
def test_after_a_failure_the_result_is_the_answer_that_the_error_kept(
    when: str, error: dict[str, Any], again: bool
) -> None:
    execution = polling(when=when)
    execution.fail("start", "http", **error)
    assert (execution.status, execution.waiting()) == (("running", ["start"]) if again else ("failed", []))


def test_what_is_repeated_after_a_success_is_an_effect_of_its_own() -> None:
    """Its key must not be the first's: who knows that one answers with what it gave. A retry keeps its key."""
    execution = flow(
        py("start", args={"key": "{{ job.uuid }}"}, retry={"max_attempts": 9, "until": "{{ data == 1 }}"},
           next=[{"step": "end", "args": {"key": "{{ job.uuid }}"}}]),
        router("end", result="{{ key }}"),
    )  # fmt: skip
    assert execution.args("start") == {"key": "77:start:1:-1"}
    execution.fail("start")
    assert execution.args("start") == {"key": "77:start:1:-1"}
    execution.done("start", 0)
    assert execution.args("start") == {"key": "77:start:1:-1:1"}
    execution.fail("start")
    execution.expire("start")
    assert execution.args("start") == {"key": "77:start:1:-1:1"}
    execution.done("start", 0)
    execution.done("start", 1)
    assert execution.result == "77:start:1:-1:2"


def test_until_and_when_together() -> None:
    """`when` narrows the failures, `until` decides on what succeeded, unless `when` looks at that itself."""
    narrow = polling(9, when="{{ error.type == 'http' }}", until="{{ data.state == 'ready' }}")
    narrow.done("start", PENDING)
    narrow.fail("start", "http")
    assert narrow.waiting() == ["start"]
    narrow.fail("start", "python")
    assert narrow.status == "failed"
    both = polling(9, when="{{ data.state == 'pending' }}", until="{{ data.state == 'ready' }}")
    both.done("start", PENDING)
    assert both.waiting() == ["start"]
    both.done("start", {"state": "gone"})
    assert both.status == "completed"


def test_nothing_is_repeated_while_an_execution_drains() -> None:
    execution = flow(router("start", "a", "b"), py("a", retry={"max_attempts": 3, "until": "{{ data == 1 }}"}), py("b"))
    execution.lease("a")
    execution.fail("b")
    execution.done("a", 0)
    assert execution.status == "failed"
    assert execution.ran() == ["start", "a"]


def test_the_step_itself_and_others_are_in_scope() -> None:
    execution = flow(
        py("start", "s"), py("s", "end", retry={"max_attempts": 3, "until": "{{ s.n >= start.n + low }}"}),
        router("end", result="{{ s.n }}"), workload={"low": 1},
    )  # fmt: skip
    execution.done("start", {"n": 1})
    execution.done("s", {"n": 1})
    assert execution.waiting() == ["s"]
    execution.done("s", {"n": 2})
    assert execution.result == 2


# ---- items of a loop -------------------------------------------------------------------------------------------------


def test_items_are_repeated_each_on_its_own_and_know_what_they_run_for() -> None:
    execution = flow(
        py("start", "end", loop={"in": [1, 2], "iterator": "x", "mode": "async"}, args={"key": "{{ job.uuid }}"},
           retry={"max_attempts": 3, "until": "{{ data.n >= x and start.result_index == x - 1 }}"}),
        router("end", result="{{ start.results }}"),
    )  # fmt: skip
    execution.begin_loop("start")
    execution.done("start", {"n": 1}, item=0)
    execution.done("start", {"n": 1}, item=1)
    [event] = execution.events("attempt_failed")
    assert (event.item_index, event.error and event.error["type"]) == (1, "unsatisfied")
    assert execution.args("start", 1)["key"] == "77:start:1:1:1"
    execution.done("start", {"n": 2}, item=1)
    execution.run()
    assert execution.result == [{"n": 1}, {"n": 2}]


def test_an_item_that_is_never_satisfied_fails_its_loop() -> None:
    execution = flow(
        py("start", loop={"in": [1, 2], "iterator": "x"}, retry={"max_attempts": 2, "until": "{{ data == x }}"})
    )
    execution.begin_loop("start")
    execution.done("start", 1, item=0)
    execution.done("start", 1, item=1)
    execution.done("start", 1, item=1)
    assert execution.status == "failed"
    assert (execution.error["type"], execution.error["index"]) == ("unsatisfied", 1)
    assert execution.error["message"].startswith("item 1: the attempt succeeded, but")


def test_no_item_is_repeated_when_another_has_failed() -> None:
    execution = flow(
        py("start", loop={"in": [1, 2], "iterator": "x", "mode": "async"},
           retry={"max_attempts": 3, "when": "{{ data == 0 }}"})
    )  # fmt: skip
    execution.begin_loop("start")
    execution.lease("start", 1)
    execution.fail("start", item=0)
    execution.done("start", 0, item=1)
    assert execution.status == "failed"


def test_the_counts_of_a_loop_are_no_result_that_retry_could_wait_for() -> None:
    execution = flow(
        py("start", "end", loop={"in": [], "iterator": "x"}, retry={"max_attempts": 2, "until": "{{ data.n == 1 }}"}),
        router("end", result="{{ start.results }}"),
    )
    execution.begin_loop("start")
    execution.run()
    assert execution.result == []


@pytest.mark.parametrize(
    ("failures", "jitter", "expected"), [(1, 0.0, 0.5), (1, 1.0, 1.0), (2, 0.5, 1.5), (5, 1.0, 10.0), (2000, 0.0, 5.0)]
)
def test_the_delay_is_a_pure_function_of_policy_failures_and_jitter(
    failures: int, jitter: float, expected: float
) -> None:
    assert delay(Retry(initial_delay=1, backoff=2, max_delay=10), failures, jitter) == expected


def test_an_overflowing_backoff_is_the_maximum() -> None:
    assert delay(Retry(initial_delay=1, backoff=1e9, max_delay=60, jitter=False), 10_000, 0.1) == 60


def test_an_error_without_a_word_about_retrying_is_retried() -> None:
    assert may_retry(Retry(max_attempts=2), 1, {"type": "python"})
    assert not may_retry(Retry(max_attempts=2), 2, {"type": "python"})
