"""Cancel, timeout, `finally`, and the one event that ends an execution."""

from typing import Any

import pytest

from tests.unit.engine.model import Execution, flow, playbook, py, router

CLEAN = [py("clean", args={"status": "{{ status }}", "error": "{{ error }}", "result": "{{ result }}"})]

# ---- cancel --------------------------------------------------------------------------------------------------------


def test_cancel_kills_running_attempts_and_withdraws_the_others() -> None:
    execution = flow(router("start", "a", "b"), py("a"), py("b"))
    execution.lease("a")
    execution.cancel("ada", "no longer wanted")
    assert execution.status == "cancelling"
    assert execution.kills == 1
    assert [(event.node_id, event.meta) for event in execution.events("step_skipped")] == [
        ("b", {"reason": "the execution was cancelled"})
    ]
    execution.fail("a", "cancelled")
    assert [event.node_id for event in execution.events("step_cancelled")] == ["a"]
    assert execution.status == "cancelled"
    assert execution.error["message"] == "cancelled by ada: no longer wanted"
    assert execution.errors == [], "a cancelled attempt is no error"


def test_results_that_arrive_while_cancelling_are_recorded_and_lead_nowhere() -> None:
    execution = flow(router("start", "a"), py("a", "b"), py("b"))
    execution.lease("a")
    execution.cancel()
    execution.done("a", "just in time")
    assert execution.events("step_completed", "a")[0].result == b'"just in time"'
    assert execution.status == "cancelled"
    assert "b" not in execution.now.visits


def test_a_join_that_has_not_begun_when_the_cancel_comes_never_does() -> None:
    execution = flow(router("start", "a", "b"), py("a", "j"), py("b", "j"), py("j"))
    execution.done("a")
    execution.cancel()
    assert execution.status == "cancelled"
    assert execution.events("step_queued", "j") == []


def test_an_attempt_that_fails_by_itself_while_cancelling_has_failed() -> None:
    execution = flow(py("start"))
    execution.lease("start")
    execution.cancel()
    execution.fail("start", "python")
    assert execution.types()[-2:] == ["step_failed", "execution_cancelled"]


def test_a_worker_lost_while_cancelling_is_not_replaced() -> None:
    execution = flow(py("start"))
    execution.lease("start")
    execution.cancel()
    execution.expire("start")
    assert execution.types()[-3:] == ["lease_expired", "step_cancelled", "execution_cancelled"]


def test_cancelling_an_execution_with_nothing_under_way_ends_it_at_once() -> None:
    execution = flow(py("start"))
    execution.cancel()
    assert execution.status == "cancelled"


def test_cancelling_a_failing_execution_kills_what_runs_and_it_still_ends_failed() -> None:
    execution = flow(router("start", "a", "b"), py("a"), py("b"))
    execution.lease("b")
    execution.fail("a")
    execution.cancel()
    assert execution.status == "failing"
    assert execution.kills == 1
    execution.fail("b", "cancelled")
    assert execution.status == "failed"
    assert execution.error["step"] == "a"


# ---- timeout -------------------------------------------------------------------------------------------------------


def test_past_its_timeout_an_execution_is_drained_as_by_cancel_and_ends_failed() -> None:
    execution = flow(router("start", "a", "b"), py("a"), py("b"))
    execution.lease("a")
    execution.time_out(90)
    assert execution.status == "failing"
    assert execution.kills == 1
    assert execution.events("step_skipped", "b")[0].meta == {"reason": "the execution was past its timeout"}
    execution.fail("a", "cancelled")
    assert execution.status == "failed"
    assert execution.error["type"] == "timeout"
    assert "90 s" in execution.error["message"]


def test_a_timeout_passes_once_and_finally_is_left_its_time() -> None:
    execution = flow(py("start"), **{"finally": CLEAN})
    execution.time_out()
    assert execution.waiting() == ["clean"]
    execution.time_out()
    assert execution.waiting() == ["clean"]
    execution.done("clean")
    assert execution.error["type"] == "timeout"


def test_a_timeout_that_passes_during_finally_ends_that_and_fails_the_execution() -> None:
    execution = flow(py("start"), **{"finally": CLEAN})
    execution.done("start", 1)
    execution.lease("clean")
    execution.time_out()
    assert execution.kills == 1
    execution.fail("clean", "cancelled")
    assert execution.status == "failed"
    assert execution.error["type"] == "timeout"


def test_a_cancelling_execution_has_no_timeout_any_more() -> None:
    execution = flow(py("start"))
    execution.lease("start")
    execution.cancel()
    execution.time_out()
    execution.fail("start", "cancelled")
    assert execution.status == "cancelled"


def test_a_failing_execution_that_is_past_its_timeout_keeps_its_failure_and_kills_what_runs() -> None:
    execution = flow(router("start", "a", "b"), py("a"), py("b"))
    execution.lease("b")
    execution.fail("a", "http")
    execution.time_out()
    assert execution.kills == 1
    execution.fail("b", "cancelled")
    assert execution.error["type"] == "http"


def test_a_failing_finally_that_is_past_the_timeout_keeps_its_failure() -> None:
    execution = flow(py("start"), **{"finally": [router("f", "g", "h"), py("g"), py("h")]})
    execution.done("start", 1)
    execution.lease("h")
    execution.fail("g", "http")
    execution.time_out()
    execution.fail("h", "cancelled")
    assert execution.error["type"] == "http"


# ---- finally -------------------------------------------------------------------------------------------------------


def test_finally_runs_after_success_with_status_and_result() -> None:
    execution = flow(py("start", "end"), {"step": "end", "result": {"n": "{{ start }}"}}, **{"finally": CLEAN})
    execution.done("start", 5)
    assert execution.status == "finishing"
    assert execution.args("clean") == {"status": "completed", "error": None, "result": {"n": 5}}
    execution.done("clean", "swept")
    assert execution.status == "completed"
    assert execution.result == {"n": 5}
    assert execution.log[-1].result is None, "the result is stored once, with execution_finishing"


def test_finally_runs_after_a_failure_with_its_error() -> None:
    execution = flow(py("start"), **{"finally": CLEAN})
    execution.fail("start", "http")
    args = execution.args("clean")
    assert (args["status"], args["error"]["type"], args["error"]["step"]) == ("failed", "http", "start")
    assert args["result"] is None
    execution.done("clean")
    assert execution.status == "failed"


def test_finally_runs_after_a_cancel() -> None:
    execution = flow(py("start"), **{"finally": CLEAN})
    execution.cancel("ada")
    assert execution.args("clean")["status"] == "cancelled"
    execution.done("clean")
    assert execution.status == "cancelled"


def test_finally_runs_after_an_error_in_ends_result() -> None:
    execution = flow(py("start", "end"), {"step": "end", "result": "{{ start.missing }}"}, **{"finally": CLEAN})
    execution.done("start")
    assert execution.args("clean")["status"] == "failed"


def test_finally_waits_until_everything_has_drained() -> None:
    execution = flow(router("start", "a", "b"), py("a"), py("b"), **{"finally": CLEAN})
    execution.lease("b")
    execution.fail("a")
    assert execution.waiting() == ["b"]
    execution.done("b")
    assert execution.waiting() == ["clean"]


def test_finally_is_a_workflow_with_branches_joins_and_results_of_the_other() -> None:
    sweep = [router("f", "g", "h"), py("g", "j"), py("h", "j"), py("j", args={"all": ["{{ start }}", "{{ g + h }}"]})]
    execution = flow(py("start"), **{"finally": sweep})
    execution.done("start", 1)
    execution.done("g", 2)
    execution.done("h", 3)
    assert execution.args("j") == {"all": [1, 5]}
    execution.done("j", "not the result")
    assert execution.result == 1


def test_a_failing_finally_makes_a_completed_execution_failed() -> None:
    execution = flow(py("start"), **{"finally": CLEAN})
    execution.done("start", 1)
    execution.fail("clean")
    assert execution.status == "failed"
    assert execution.error["step"] == "clean"


def test_after_a_failure_a_failing_finally_is_recorded_only() -> None:
    execution = flow(py("start"), **{"finally": CLEAN})
    execution.fail("start", "http")
    execution.fail("clean")
    assert execution.error["type"] == "http"
    failed = execution.events("step_failed", "clean")[0].event_id
    assert execution.log[-1].meta == {"finally_failed": failed}


def test_after_a_cancel_a_failing_finally_is_recorded_only() -> None:
    execution = flow(py("start"), **{"finally": CLEAN})
    execution.cancel()
    execution.fail("clean")
    assert execution.status == "cancelled"


def test_a_failing_finally_withdraws_what_of_it_has_not_begun() -> None:
    execution = flow(py("start"), **{"finally": [router("f", "g", "h"), py("g"), py("h")]})
    execution.done("start")
    execution.fail("g")
    assert execution.events("step_skipped", "h")[0].meta == {"reason": "the finally workflow had failed"}
    assert execution.status == "failed"


def test_a_failure_in_finally_can_be_handled_there() -> None:
    sweep = [py("f", on_error=[{"step": "g"}]), py("g", args={"of": "{{ error.step }}"})]
    execution = flow(py("start"), **{"finally": sweep})
    execution.done("start", 1)
    execution.fail("f")
    assert execution.args("g") == {"of": "f"}
    execution.done("g")
    assert execution.status == "completed"


def test_a_second_cancel_ends_finally() -> None:
    execution = flow(py("start"), **{"finally": CLEAN})
    execution.cancel()
    execution.lease("clean")
    kills = execution.kills
    execution.cancel()
    assert execution.kills == kills + 1
    execution.fail("clean", "cancelled")
    assert execution.status == "cancelled"


def test_a_second_cancel_while_the_first_still_drains_leaves_finally_out() -> None:
    execution = flow(py("start"), **{"finally": CLEAN})
    execution.lease("start")
    execution.cancel()
    execution.cancel()
    execution.fail("start", "cancelled")
    assert execution.status == "cancelled"
    assert execution.events("execution_finishing") == []


def test_a_first_cancel_during_finally_is_recorded_and_lets_it_finish() -> None:
    execution = flow(py("start"), **{"finally": CLEAN})
    execution.done("start", 1)
    execution.cancel()
    assert execution.waiting() == ["clean"]
    execution.done("clean")
    assert execution.status == "completed"


def test_a_second_cancel_during_the_finally_of_a_completed_execution_cancels_it() -> None:
    execution = flow(py("start"), **{"finally": CLEAN})
    execution.done("start", 1)
    execution.cancel()
    execution.cancel("bob")
    assert execution.status == "cancelled"
    assert execution.error["message"] == "cancelled by bob"


def test_a_finally_of_routers_alone_ends_in_the_same_decision() -> None:
    execution = flow(py("start"), **{"finally": [router("f")]})
    execution.done("start", 1)
    assert execution.types()[-3:] == ["execution_finishing", "step_completed", "execution_complete"]


def test_the_terminal_event_is_the_last_of_all() -> None:
    def ends(execution: Execution) -> list[Any]:
        return [event.event_id for event in execution.log if event.event_type.startswith("execution_c")]

    execution = flow(py("start"), **{"finally": CLEAN})
    execution.run()
    assert ends(execution) == [len(execution.log)]


# ---- names in finally ------------------------------------------------------------------------------------------------

REPORT = {
    "text": "{{ status }}: {{ error.message }} after {{ result.rows }} rows",
    "type": "{{ error.type }}",
    "short": "{{ error.message | truncate(40) }}",
    "rows": "{{ result.rows }}",
    "said": "{% if error %}{{ error.step }} broke{% else %}fine{% endif %}",
}


def night(failing: bool) -> Execution:
    """Run a workflow to `finally`, whose step reports what became of it."""
    execution = Execution(playbook({"workflow": [py("start")], "finally": [py("report") | {"args": REPORT}]}))
    if failing:
        execution.fail("start", type_="http")
    else:
        execution.done("start", {"rows": 3})
    return execution


def test_a_report_in_finally_does_not_fail_a_successful_night() -> None:
    """There is no error then: its keys are null, and have no text."""
    execution = night(failing=False)
    assert execution.args("report") == {
        "text": "completed:  after 3 rows",
        "type": None,
        "short": "",
        "rows": 3,
        "said": "fine",
    }
    execution.done("report")
    assert execution.status == "completed"


def test_a_report_in_finally_reaches_people_after_a_failure() -> None:
    """There is no result then, which is no reason not to tell the error."""
    assert night(failing=True).args("report") == {
        "text": "failed: start broke after  rows",
        "type": "http",
        "short": "start broke",
        "rows": None,
        "said": "start broke",
    }


@pytest.mark.parametrize("name", ["error", "result"])
def test_a_router_in_finally_can_ask_whether_there_is_an_error_or_a_result(name: str) -> None:
    clauses = [{"when": f"{{{{ {name} }}}}", "then": [{"step": "a"}]}, {"else": [{"step": "b"}]}]
    document = {"workflow": [py("start")], "finally": [router("check") | {"next": clauses}, py("a"), py("b")]}
    found = []
    for failing in (False, True):
        execution = Execution(playbook(document))
        if failing:
            execution.fail("start")
        else:
            execution.done("start", {"rows": 3})
        found += execution.waiting()
    assert found == (["b", "a"] if name == "error" else ["a", "b"])
