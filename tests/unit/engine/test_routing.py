"""Where a step that has ended leads, and what its visits take: clauses, arrivals, visits, results."""

import pytest

from noetl.engine.inputs import AttemptEnded
from noetl.errors import Conflict
from noetl.jobs import Job
from noetl.outcomes import Done
from noetl.words import CONTINUE_NODE
from tests.unit.engine.model import Execution, flow, playbook, py, router


def test_the_entry_is_the_step_start_wherever_it_stands() -> None:
    assert flow(py("a"), py("start", "a")).waiting() == ["start"]


def test_without_a_step_start_the_first_step_is_the_entry() -> None:
    assert flow(py("a", "b"), py("b")).waiting() == ["a"]


def test_a_sequential_step_costs_two_events_and_one_job() -> None:
    names = [f"s{number}" for number in range(5)]
    execution = flow(*(py(name, *names[place + 1 : place + 2]) for place, name in enumerate(names)))
    execution.run()
    assert len(execution.log) == 2 * 5 + 2
    assert execution.jobs_made == 5
    assert execution.types()[1:-1] == ["step_queued", "step_completed"] * 5


def test_a_router_writes_step_completed_only_with_the_arrivals_it_took() -> None:
    execution = flow(router("start", "a"), py("a"))
    assert execution.types() == ["execution_start", "step_completed", "step_queued"]
    assert execution.log[1].context == {"arrivals": [[1, -1]]}
    assert execution.jobs_made == 1


def test_every_clause_whose_when_is_true_is_followed() -> None:
    clauses = [
        {"when": "{{ result.x > 1 }}", "then": [{"step": "a"}]},
        {"when": "{{ result.x > 2 }}", "then": [{"step": "b"}]},
        {"when": "{{ result.x > 3 }}", "then": [{"step": "c"}]},
        {"else": [{"step": "d"}]},
    ]
    execution = flow(py("start") | {"next": clauses}, py("a"), py("b"), py("c"), py("d"))
    execution.done("start", {"x": 3})
    assert execution.waiting() == ["a", "b"]


def test_if_no_when_is_true_the_clauses_without_one_are_followed() -> None:
    clauses = [{"when": "{{ result }}", "then": [{"step": "a"}]}, {"else": [{"step": "b"}]}, {"step": "c"}]
    execution = flow(py("start") | {"next": clauses}, py("a"), py("b"), py("c"))
    execution.done("start", 0)
    assert execution.waiting() == ["b", "c"]


def test_if_no_clause_is_followed_the_branch_ends() -> None:
    execution = flow(py("start") | {"next": [{"when": "{{ result }}", "then": [{"step": "a"}]}]}, py("a"))
    execution.done("start", False)
    assert execution.status == "completed"


def test_the_event_tells_each_clause_the_value_of_its_when_and_the_args_of_each_arrival() -> None:
    clauses = [
        {"when": "{{ result.x }}", "then": [{"step": "a", "args": {"twice": "{{ result.x * 2 }}"}}, {"step": "b"}]},
        {"when": "{{ result.x > 9 }}", "then": [{"step": "a"}]},
        {"else": [{"step": "c"}]},
    ]
    execution = flow(py("start") | {"next": clauses}, py("a"), py("b"), py("c"))
    execution.done("start", {"x": 4})
    meta = execution.events("step_completed", "start")[0].meta
    assert meta == {
        "next": [
            {"clause": 0, "when": 4, "to": [{"edge": 1, "step": "a", "args": {"twice": 8}}, {"edge": 2, "step": "b"}]},
            {"clause": 1, "when": False},
            {"clause": 2},
        ],
        "queued": 0.001,
    }


def test_a_long_value_of_a_when_is_told_as_its_truth() -> None:
    execution = flow(py("start") | {"next": [{"when": "{{ result }}", "then": [{"step": "a"}]}]}, py("a"))
    execution.done("start", ["row"] * 1000)
    meta = execution.events("step_completed", "start")[0].meta
    assert meta is not None
    assert meta["next"][0]["when"] is True


def test_two_clauses_that_lead_to_the_same_step_give_one_arrival_with_the_args_of_the_first() -> None:
    clauses = [{"step": "a", "args": {"x": 1}}, {"step": "a", "args": {"x": 2, "y": 3}}]
    execution = flow(py("start") | {"next": clauses}, py("a"))
    execution.done("start")
    assert execution.args("a") == {"x": 1}
    execution.run()
    assert execution.visits("a") == 1


def test_a_step_with_one_source_makes_one_visit_per_arrival_in_order() -> None:
    note = {"step": "note", "args": {"n": "{{ result }}"}}
    again = [{"when": "{{ result < 4 }}", "then": [{"step": "count"}, note]}, {"else": [note]}]
    execution = flow(py("count") | {"next": again}, py("note"))
    for number in (1, 2, 3, 4):
        execution.done("count", number)
    noted = []
    while execution.queue:
        noted.append(execution.args("note")["n"])
        execution.done("note")
    assert noted == [1, 2, 3, 4]


def test_a_steps_own_arrivals_come_before_those_of_its_source() -> None:
    source = [{"when": "{{ result < 2 }}", "then": [{"step": "source"}, {"step": "work", "args": {"by": "source"}}]}]
    source.append({"else": [{"step": "work", "args": {"by": "source"}}]})
    work = [{"when": "{{ result }}", "then": [{"step": "work", "args": {"by": "itself"}}]}]
    execution = flow(py("source") | {"next": source}, py("work") | {"next": work})
    execution.done("source", 1)
    execution.done("source", 2)
    seen = []
    for again in (True, False, False):
        seen.append(execution.args("work")["by"])
        execution.done("work", again)
    assert seen == ["source", "itself", "source"]
    assert execution.status == "completed"


def test_a_step_runs_one_visit_at_a_time() -> None:
    again = [{"when": "{{ result < 3 }}", "then": [{"step": "source"}, {"step": "work"}]}]
    execution = flow(py("source") | {"next": again}, py("work"))
    execution.done("source", 1)
    execution.done("source", 2)
    assert execution.waiting().count("work") == 1
    assert len(execution.now.pending["work"]) == 1


def test_max_visits_fails_the_step_by_name() -> None:
    execution = flow(py("start", "start", max_visits=3, on_error=[{"step": "h"}]), router("h"))
    execution.run()
    assert execution.status == "failed"
    assert execution.error["type"] == "max_visits"
    assert "'start'" in execution.error["message"]
    assert "3" in execution.error["message"]
    assert execution.visits("h") == 0, "a handler could lead back for ever"


def test_a_cycle_of_routers_ends_at_max_visits() -> None:
    execution = flow(router("start", "a"), router("a", "b", max_visits=50), router("b", "a"))
    assert execution.status == "failed"
    assert execution.error["step"] == "a"


def test_a_completion_runs_a_thousand_routers_then_goes_on_through_the_queue() -> None:
    execution = flow(router("start", "a"), router("a", "b", max_visits=1200), router("b", "a"))
    assert execution.waiting() == [CONTINUE_NODE]
    assert execution.ran().count("a") + execution.ran().count("b") == 999
    execution.continue_routers()
    assert execution.waiting() == [CONTINUE_NODE]
    execution.continue_routers()
    assert execution.status == "failed"
    assert len(execution.events("step_completed", CONTINUE_NODE)) == 2


def test_a_worker_lost_with_the_job_that_continues_makes_it_continue() -> None:
    execution = flow(router("start", "a"), router("a", "b", max_visits=600), router("b", "a"))
    execution.expire(CONTINUE_NODE)
    assert execution.status == "failed"


def test_other_outcomes_continue_with_routers_while_the_continue_job_waits() -> None:
    execution = flow(router("start", "a", "p"), router("a", "b", max_visits=600), router("b", "a"), py("p"))
    assert sorted(execution.waiting()) == [CONTINUE_NODE, "p"]
    execution.done("p")
    assert execution.status == "failed"
    assert len(execution.events("step_skipped", CONTINUE_NODE)) == 1


def test_the_job_takes_the_pool_of_step_or_start_or_playbook() -> None:
    book = playbook({"workflow": [py("start", "a", pool="big"), py("a")], "pool": "books", "priority": 3})
    execution = Execution(book)
    assert execution.row("start").job.pool == "big"
    execution.done("start")
    assert execution.row("a").job.pool == "books"
    assert execution.row("a").job.priority == 3
    given = Execution(book, context={"pool": "mine", "priority": 0})
    given.done("start")
    assert given.row("a").job.pool == "mine"
    assert given.row("a").job.priority == 0


def test_an_outcome_of_a_run_that_is_not_running_is_refused() -> None:
    execution = flow(py("start", "a"), py("a"))
    stale = Job(node_id="a", visit=1, job_id=9, attempts=1)
    with pytest.raises(Conflict, match="step 'a', visit 1, is not running"):
        execution.give(AttemptEnded(stale, Done(b"1")))


def test_what_comes_after_the_end_changes_nothing() -> None:
    execution = flow(py("start"))
    job = execution.lease("start")
    execution.done("start")
    length = len(execution.log)
    execution.cancel()
    execution.time_out()
    execution.give(AttemptEnded(job, Done(b"1")))
    assert len(execution.log) == length


# ---- the result of an execution --------------------------------------------------------------------------------


def test_the_result_is_ends_result_rendered() -> None:
    execution = flow(py("start", "end"), {"step": "end", "result": {"twice": "{{ start.x * 2 }}"}})
    execution.done("start", {"x": 21})
    assert execution.result == {"twice": 42}
    assert execution.log[-1].result == b'{"twice":42}', "stored once, with the end"
    assert execution.events("step_completed", "end")[0].result is None


def test_ends_result_is_rendered_also_when_the_run_did_not_reach_it() -> None:
    clauses = [{"when": "{{ result }}", "then": [{"step": "end"}]}]
    execution = flow(py("start") | {"next": clauses}, {"step": "end", "result": {"x": "{{ start }}"}})
    execution.done("start", 0)
    assert execution.status == "completed"
    assert execution.result == {"x": 0}


def test_ends_result_sees_what_ran_beside_end() -> None:
    execution = flow(router("start", "end", "slow"), py("slow"), {"step": "end", "result": "{{ slow }}"})
    assert "end" in execution.ran()
    execution.done("slow", "late")
    assert execution.result == "late"


def test_ends_result_sees_the_args_that_came_with_the_transition_and_its_own() -> None:
    way = {"step": "end", "args": {"a": "{{ result }}"}}
    end = {"step": "end", "args": {"b": "{{ a + 1 }}"}, "result": ["{{ a }}", "{{ b }}"]}
    execution = flow(py("start") | {"next": [way]}, end)
    execution.done("start", 1)
    assert execution.result == [1, 2]


def test_an_error_in_ends_result_fails_the_execution() -> None:
    execution = flow(py("start", "end"), {"step": "end", "result": {"x": "{{ start.nothing }}"}})
    execution.done("start", {"x": 1})
    assert execution.status == "failed"
    assert execution.error["type"] == "template"
    assert execution.error["step"] == "end"
    assert "nothing" in execution.error["message"]
    assert execution.errors == ["template"]


def test_without_a_template_the_result_is_ends_own() -> None:
    execution = flow(py("start", "end"), py("end"))
    execution.done("start", 1)
    execution.done("end", {"own": 2})
    assert execution.result == {"own": 2}
    assert execution.log[-1].result is None, "it is stored once, with the step"
    assert execution.log[-1].meta == {"result_event": 5}


def test_without_end_the_result_is_the_last_leafs_by_the_order_of_the_playbook() -> None:
    for order in (["a", "b"], ["b", "a"]):
        execution = flow(router("start", "a", "b"), py("a"), py("b"))
        for step in order:
            execution.done(step, step)
        assert execution.result == "b"


def test_a_leaf_without_a_result_stands_for_the_step_that_led_to_it() -> None:
    execution = flow(py("start", "a"), py("a", "done"), router("done", "end"), router("end"))
    execution.done("start", 1)
    execution.done("a", 2)
    assert execution.result == 2


def test_an_execution_of_routers_alone_completes_without_a_result() -> None:
    execution = flow(router("start", "end"), router("end"))
    assert execution.status == "completed"
    assert execution.result is None


def test_a_router_with_a_result_has_it_as_its_own() -> None:
    execution = flow(
        router("start", "a", result={"n": "{{ workload.n }}"}), py("a", args={"n": "{{ start.n }}"}), workload={"n": 7}
    )
    assert execution.args("a") == {"n": 7}
    assert execution.events("step_completed", "start")[0].result == b'{"n":7}'
