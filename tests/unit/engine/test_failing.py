"""Steps that fail: retries, handlers, lost workers, errors in routing, `fail`."""

from typing import Any

import pytest

from tests.unit.engine.model import Execution, flow, py, router

# ---- retry ----------------------------------------------------------------------------------------------------------


def test_by_default_a_step_has_one_attempt() -> None:
    execution = flow(py("start"))
    execution.fail("start")
    assert execution.status == "failed"
    assert execution.types() == [
        "execution_start",
        "step_queued",
        "step_failed",
        "execution_failing",
        "execution_failed",
    ]


def test_a_retried_attempt_keeps_its_job_and_counts_its_failures() -> None:
    execution = flow(py("start", retry={"max_attempts": 3, "jitter": False}))
    execution.fail("start")
    row = execution.row("start")
    assert (row.job.job_id, row.job.attempts, row.job.failures, row.status) == (1, 1, 1, "waiting")
    assert row.delay == 1.0
    execution.fail("start")
    assert execution.row("start").delay == 2.0
    execution.done("start", "at last")
    assert [(event.attempt, event.meta) for event in execution.events("attempt_failed")] == [
        (1, {"delay": 1.0, "max_attempts": 3, "queued": 0.001}),
        (2, {"delay": 2.0, "max_attempts": 3, "queued": 0.001}),
    ]
    assert execution.events("step_completed")[0].attempt == 3
    assert execution.result == "at last"
    assert execution.errors == ["python", "python"], "each failed attempt is a row of the error log"


def test_the_last_attempt_fails_the_step() -> None:
    execution = flow(py("start", retry={"max_attempts": 2}))
    execution.fail("start")
    execution.fail("start")
    assert execution.status == "failed"
    assert execution.error["attempt"] == 2


@pytest.mark.parametrize("type_", ["template", "validation"])
def test_template_and_validation_errors_are_not_retried(type_: str) -> None:
    execution = flow(py("start", retry={"max_attempts": 3}))
    execution.fail("start", type_)
    assert execution.status == "failed"


def test_an_error_that_says_it_is_not_retryable_is_not_retried() -> None:
    execution = flow(py("start", retry={"max_attempts": 3}))
    execution.fail("start", retryable=False)
    assert execution.status == "failed"


def test_timeouts_count_as_errors() -> None:
    execution = flow(py("start", retry={"max_attempts": 2}))
    execution.fail("start", "timeout")
    assert execution.waiting() == ["start"]


def test_the_when_of_retry_narrows_it_and_sees_the_error_and_the_attempt() -> None:
    when = "{{ error.type == 'http' and error.attempt < 3 and error.step == 'start' }}"
    execution = flow(py("start", retry={"max_attempts": 9, "when": when}))
    execution.fail("start", "http")
    execution.fail("start", "http")
    assert execution.waiting() == ["start"]
    execution.fail("start", "http")
    assert execution.status == "failed"
    other = flow(py("start", retry={"max_attempts": 9, "when": when}))
    other.fail("start", "python")
    assert other.status == "failed"


def test_a_when_of_retry_that_cannot_be_rendered_lets_the_step_fail_and_is_logged() -> None:
    execution = flow(py("start", retry={"max_attempts": 9, "when": "{{ error.detail.nothing }}"}))
    execution.fail("start")
    assert execution.status == "failed"
    assert execution.error["type"] == "python"
    assert "nothing" in execution.error["retry_error"]
    assert execution.errors == ["template", "python"]


def test_a_retry_of_a_step_that_waited_forgets_what_it_waited_for() -> None:
    execution = flow(py("start", retry={"max_attempts": 2}))
    execution.row("start").job.context["child"] = "123"
    execution.fail("start")
    assert execution.row("start").job.context == {"arrivals": [[1, -1]]}


# ---- lost workers ---------------------------------------------------------------------------------------------------


def test_a_job_whose_worker_is_lost_goes_back_to_the_queue() -> None:
    execution = flow(py("start"))
    execution.row("start").job.context["child"] = "123"
    execution.expire("start")
    row = execution.row("start")
    assert (row.job.attempts, row.job.failures, row.job.lost, row.status) == (1, 0, 1, "queued")
    assert row.job.context["child"] == "123", "what the attempt waits for is still there"
    assert execution.types()[-1] == "lease_expired"


def test_lost_three_times_in_a_row_the_step_fails() -> None:
    execution = flow(py("start", retry={"max_attempts": 5}))
    for _ in range(3):
        execution.expire("start")
    assert execution.status == "failed"
    assert execution.error["type"] == "worker_lost"
    assert execution.errors == ["worker_lost"]
    assert len(execution.events("lease_expired")) == 3


def test_an_attempt_that_ends_breaks_the_row_of_losses() -> None:
    execution = flow(py("start", retry={"max_attempts": 2}))
    execution.expire("start")
    execution.expire("start")
    execution.fail("start")
    assert execution.row("start").job.lost == 0


def test_a_lost_worker_can_be_handled() -> None:
    execution = flow(py("start", on_error=[{"step": "h"}]), py("h", args={"type": "{{ error.type }}"}))
    for _ in range(3):
        execution.expire("start")
    assert execution.args("h") == {"type": "worker_lost"}


# ---- on_error -------------------------------------------------------------------------------------------------------


def test_a_failure_with_a_handler_is_handled() -> None:
    args = {"all": "{{ error }}"}
    execution = flow(py("start", on_error=[{"step": "h", "args": args}]), py("h"))
    execution.fail("start", "http", detail={"status_code": 500})
    assert execution.args("h")["all"] == {
        "type": "http",
        "message": "start broke",
        "retryable": True,
        "detail": {"status_code": 500},
        "step": "start",
        "attempt": 1,
    }
    execution.done("h", "mended")
    assert execution.status == "completed"
    assert execution.result == "mended"


def test_on_error_chooses_among_clauses_like_next() -> None:
    clauses = [{"when": "{{ error.type == 'http' }}", "then": [{"step": "a"}]}, {"else": [{"step": "b"}]}]
    execution = flow(py("start", on_error=clauses), py("a"), py("b"))
    execution.fail("start", "python")
    assert execution.waiting() == ["b"]


def test_an_on_error_that_leads_nowhere_handles_nothing() -> None:
    clauses = [{"when": "{{ error.type == 'http' }}", "then": [{"step": "a"}]}]
    execution = flow(py("start", on_error=clauses), py("a"))
    execution.fail("start", "python")
    assert execution.status == "failed"


def test_an_on_error_that_cannot_be_rendered_handles_nothing_and_says_why() -> None:
    execution = flow(py("start", on_error=[{"step": "h", "args": {"x": "{{ error.missing }}"}}]), py("h"))
    execution.fail("start")
    assert execution.status == "failed"
    assert execution.error["type"] == "python"
    assert "missing" in execution.error["handler_error"]


def test_on_error_continue_goes_on_with_next_and_the_error_in_scope() -> None:
    execution = flow(py("start", "a", on_error="continue"), py("a", args={"was": "{{ error.message }}"}))
    execution.fail("start")
    assert execution.args("a") == {"was": "start broke"}
    execution.run()
    assert execution.status == "completed"


def test_on_error_continue_at_a_leaf_lets_the_execution_complete() -> None:
    execution = flow(py("start", on_error="continue"))
    execution.fail("start")
    assert execution.status == "completed"


def test_the_error_stays_in_scope_along_what_follows_the_handler() -> None:
    execution = flow(
        py("start", on_error=[{"step": "note"}]),
        py("note", "stop"),
        {"step": "stop", "type": "fail", "message": "{{ error.step }}: {{ error.message }}"},
    )
    execution.fail("start")
    execution.done("note")
    assert execution.status == "failed"
    assert execution.error["message"] == "start: start broke"


def test_a_handler_may_lead_back_into_the_workflow() -> None:
    execution = flow(py("start", "end", on_error=[{"step": "mend"}]), py("mend", "start"), router("end"))
    execution.fail("start")
    execution.done("mend")
    execution.done("start", 1)
    assert execution.status == "completed"
    assert execution.visits("end") == 1


# ---- fail ----------------------------------------------------------------------------------------------------------


def test_fail_ends_its_branch_and_makes_the_execution_fail() -> None:
    execution = flow(router("start", "stop"), {"step": "stop", "type": "fail", "message": "no {{ workload.x }}"},
                     workload={"x": "rows"})  # fmt: skip
    assert execution.status == "failed"
    assert execution.error == {"type": "fail", "message": "no rows", "retryable": False, "step": "stop", "attempt": 1}
    assert execution.jobs_made == 0


def test_fail_sees_the_args_that_came_with_the_transition() -> None:
    way = {"step": "stop", "args": {"why": "{{ result }}"}}
    execution = flow(py("start") | {"next": [way]}, {"step": "stop", "type": "fail", "message": "{{ why }}"})
    execution.done("start", "tired")
    assert execution.error["message"] == "tired"


def test_a_message_of_fail_that_cannot_be_rendered_fails_the_execution_too() -> None:
    execution = flow(router("start", "stop"), {"step": "stop", "type": "fail", "message": "{{ workload.missing }}"})
    assert execution.status == "failed"
    assert execution.error["type"] == "template"


# ---- routing that fails --------------------------------------------------------------------------------------------


def _broken(**more: Any) -> Execution:
    broken = {"next": [{"step": "a", "args": {"x": "{{ result.nothing }}"}}]}
    steps = [py("start", retry={"max_attempts": 5}, **more) | broken, py("a")]
    if more.get("on_error") == [{"step": "h"}]:
        steps.append(py("h", args={"kept": "{{ start }}"}))
    return flow(*steps)


def test_an_error_in_transition_args_is_a_failure_of_the_source_in_its_routing_phase() -> None:
    execution = _broken()
    execution.done("start", {"x": 1})
    failed = execution.events("step_failed", "start")[0]
    assert failed.error is not None
    assert (failed.error["type"], failed.error["phase"]) == ("template", "routing")
    assert "nothing" in failed.error["message"]
    assert failed.result == b'{"x":1}', "the result is kept"
    assert execution.status == "failed", "and nothing is retried"
    assert execution.errors == ["template"]


def test_an_error_in_a_when_is_a_failure_of_the_source_too() -> None:
    clauses = [{"when": "{{ result.nothing > 1 }}", "then": [{"step": "a"}]}]
    execution = flow(py("start") | {"next": clauses}, py("a"))
    execution.done("start", {})
    assert execution.error["phase"] == "routing"


def test_a_failure_in_routing_follows_on_error_with_the_result_still_there() -> None:
    execution = _broken(on_error=[{"step": "h"}])
    execution.done("start", {"x": 1})
    assert execution.args("h") == {"kept": {"x": 1}}
    execution.done("h")
    assert execution.status == "completed"


def test_on_error_continue_cannot_handle_a_next_that_is_broken_itself() -> None:
    execution = _broken(on_error="continue")
    execution.done("start", {"x": 1})
    assert execution.status == "failed"
    assert execution.error["phase"] == "routing"
    assert execution.errors == ["template"], "next is not tried a second time"


def test_a_router_whose_routing_fails_follows_its_on_error() -> None:
    start = {
        "step": "start",
        "next": [{"when": "{{ workload.missing }}", "then": [{"step": "a"}]}],
        "on_error": [{"step": "h"}],
    }
    execution = flow(start, py("a"), py("h"))
    assert execution.waiting() == ["h"]


# ---- failing -------------------------------------------------------------------------------------------------------


def _three() -> Execution:
    return flow(router("start", "a", "b", "c"), py("a"), py("b", "d"), py("c", "d"), py("d"))


def test_a_failure_without_a_handler_lets_running_attempts_finish_and_withdraws_the_others() -> None:
    execution = _three()
    execution.lease("b")
    execution.fail("a")
    assert execution.status == "failing"
    assert execution.waiting() == ["b"]
    skipped = execution.events("step_skipped")
    assert [(event.node_id, event.meta) for event in skipped] == [("c", {"reason": "the execution was failing"})]
    execution.done("b", "recorded")
    assert execution.events("step_completed", "b")[0].result == b'"recorded"'
    assert execution.status == "failed"
    assert execution.error["step"] == "a"
    assert execution.kills == 0


def test_nothing_new_begins_while_an_execution_is_failing() -> None:
    execution = _three()
    execution.lease("b")
    execution.lease("c")
    execution.fail("a")
    execution.done("b")
    execution.fail("c")
    assert execution.status == "failed"
    assert execution.error["step"] == "a", "the first failure is the execution's"
    assert execution.events("step_queued", "d") == []


def test_a_step_that_fails_while_the_execution_is_failing_is_neither_retried_nor_handled() -> None:
    execution = flow(router("start", "a", "b"), py("a"), py("b", retry={"max_attempts": 3}, on_error=[{"step": "h"}]),
                     py("h"))  # fmt: skip
    execution.lease("b")
    execution.fail("a")
    execution.fail("b")
    assert execution.status == "failed"
    assert execution.types()[-2:] == ["step_failed", "execution_failed"]


def test_a_retry_delay_is_withdrawn_when_the_execution_fails() -> None:
    execution = flow(router("start", "a", "b"), py("a"), py("b", retry={"max_attempts": 3}))
    execution.fail("b")
    execution.fail("a")
    assert [event.node_id for event in execution.events("step_skipped")] == ["b"]


def test_a_wait_is_withdrawn_when_the_execution_fails() -> None:
    execution = flow(router("start", "a", "w"), py("a"), {"step": "w", "type": "wait", "for": "1h"})
    execution.lease("w")
    execution.defer("w")
    execution.fail("a")
    assert [event.node_id for event in execution.events("step_skipped")] == ["w"]


def test_a_worker_lost_while_the_execution_is_failing_is_not_replaced() -> None:
    execution = _three()
    execution.lease("b")
    execution.fail("a")
    execution.expire("b")
    assert execution.status == "failed"
    assert [event.node_id for event in execution.events("step_skipped")] == ["c", "b"]


def test_what_the_failing_decision_itself_wanted_to_begin_is_skipped() -> None:
    execution = flow(
        router("start", "a"), py("a", "b", "stop"), py("b"), {"step": "stop", "type": "fail", "message": "x"}
    )
    execution.done("a")
    assert execution.status == "failed"
    assert execution.types()[-6:] == [
        "step_completed",
        "step_queued",
        "step_failed",
        "execution_failing",
        "step_skipped",
        "execution_failed",
    ]
