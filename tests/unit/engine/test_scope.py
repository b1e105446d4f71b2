"""What templates see, and how a job's args and fields are rendered."""

import json
from collections.abc import Collection
from typing import Any

import pytest

from noetl.engine.decide import decide
from noetl.engine.inputs import AttemptEnded, Start
from noetl.engine.plan import plan_of
from noetl.engine.render import render_job
from noetl.engine.scope import Scope, Scopes, StepPlace, ValueReader
from noetl.engine.state import State
from noetl.engine.values import NotLoaded, Values
from noetl.errors import TemplateError
from noetl.jobs import Job
from noetl.outcomes import Done
from noetl.playbook.load import lint
from noetl.playbook.model import Playbook
from noetl.playbook.templates.template import compile_template
from tests.unit.engine.model import Execution, flow, playbook, py, router


def scope_in(book: Playbook, state: State, step: str, workload: dict[str, Any], names: Collection[str]) -> Scope:
    """Return the scope of a step's first visit, which took no arrivals."""
    return Scopes(plan_of(book), state, ValueReader(Values(1, workload)), StepPlace(step, 1, [])).scope(names)


def test_args_of_the_transition_win_over_the_steps_and_these_over_the_tasks() -> None:
    document = {
        "workbook": [{"name": "job", "type": "python", "code": "def main(**a): ...", "args": {"a": 1, "b": 1, "c": 1}}],
        "workflow": [
            {"step": "start", "next": [{"step": "work", "args": {"a": 3}}]},
            {"step": "work", "type": "workbook", "task": "job", "args": {"a": 2, "b": 2}},
        ],
    }
    execution = Execution(playbook(document))
    assert execution.args("work") == {"a": 3, "b": 2, "c": 1}


def test_args_are_rendered_once_in_the_order_transition_step_task() -> None:
    document = {
        "workbook": [{"name": "job", "type": "python", "code": "def main(**a): ...", "args": {"c": "{{ b + 1 }}"}}],
        "workload": {"n": 1},
        "workflow": [
            {"step": "start", "next": [{"step": "work", "args": {"a": "{{ n }}"}}]},
            {"step": "work", "type": "workbook", "task": "job", "args": {"b": "{{ a + 1 }}"}},
        ],
    }
    execution = Execution(playbook(document), {"n": 1})
    assert execution.args("work") == {"a": 1, "b": 2, "c": 3}


def test_three_levels_that_each_say_x_pass_the_value_through() -> None:
    same = {"x": "{{ x }}"}
    document = {
        "workbook": [{"name": "job", "type": "python", "code": "def main(**a): ...", "args": same}],
        "workload": {"x": "kept"},
        "workflow": [
            {"step": "start", "next": [{"step": "work", "args": same}]},
            {"step": "work", "type": "workbook", "task": "job", "args": same},
        ],
    }
    assert Execution(playbook(document), {"x": "kept"}).args("work") == same | {"x": "kept"}


@pytest.mark.parametrize(("step", "way"), [({"x": 2}, {}), ({}, {"x": 2}), ({"x": "{{ workload.n }}"}, {"y": 1})])
def test_an_argument_of_a_task_that_is_overridden_is_not_rendered(step: dict[str, Any], way: dict[str, Any]) -> None:
    """Nor does lint ask what it reads."""
    task = {"name": "job", "type": "python", "code": "def main(x): ...", "args": {"x": "{{ nobody.gives['it'] }}"}}
    document = {
        "workbook": [task],
        "workload": {"n": 2},
        "workflow": [
            {"step": "start", "next": [{"step": "work", "args": way}]},
            {"step": "work", "type": "workbook", "task": "job", "args": step},
        ],
    }
    assert Execution(playbook(document), {"n": 2}).args("work") == {**way, "x": 2}
    assert lint(json.dumps(document | {"metadata": {"path": "p"}}), "f.yaml") == []


def test_an_argument_that_a_way_overrides_is_not_rendered() -> None:
    """Of a step with an action, and of a router, whose args its result reads."""
    late = {"x": "{{ nobody }}", "y": "{{ x }}"}
    book = flow(
        router("start") | {"next": [{"step": "a", "args": {"x": 1}}, {"step": "r", "args": {"x": 1}}]},
        py("a", args=late),
        router("r") | {"args": late, "result": "{{ y }}", "next": [{"step": "b", "args": {"z": "{{ result }}"}}]},
        py("b"),
    )
    assert book.args("a") == {"x": 1, "y": 1}
    assert book.args("b") == {"z": 1}


@pytest.mark.parametrize("result", [{}, {"result": "{{ own }}"}])
def test_a_router_hands_its_own_args_on(result: dict[str, Any]) -> None:
    """Its ways read them, as lint has it: it has no fields that could."""
    hand_on = {"step": "r", "args": {"own": "{{ n + 1 }}"}, **result}
    ways = [{"when": "{{ own == 2 }}", "then": [{"step": "b", "args": {"x": "{{ own }}"}}]}]
    book = flow(router("start") | {"next": [{"step": "r", "args": {"n": 1}}]}, hand_on | {"next": ways}, py("b"))
    assert book.args("b") == {"x": 2}


def test_an_argument_that_nothing_overrides_is_rendered() -> None:
    execution = flow(py("start", args={"x": "{{ nobody }}"}))
    with pytest.raises(TemplateError, match="'nobody' is not defined"):
        execution.args("start")


def test_data_is_never_rendered_a_second_time() -> None:
    way = [{"step": "a", "args": {"x": "{{ result }}"}}]
    execution = flow(py("start") | {"next": way}, py("a", args={"y": "{{ x }}"}))
    execution.done("start", "{{ workload }}")
    assert execution.args("a") == {"x": "{{ workload }}", "y": "{{ workload }}"}


def test_fields_see_the_args() -> None:
    http = {"step": "a", "type": "http", "endpoint": "http://localhost/{{ x }}/{{ y }}", "args": {"y": 2}}
    execution = flow(router("start") | {"next": [{"step": "a", "args": {"x": 1}}]}, http)
    rendered = execution.rendered("a")
    assert rendered.type == "http"
    assert rendered.fields["endpoint"] == "http://localhost/1/2"


def test_a_timeout_may_be_a_duration_or_a_template() -> None:
    execution = flow(router("start", "a", "b", "c"), py("a", timeout="1m30s"), py("b", timeout="{{ t }}"), py("c"),
                     workload={"t": 5})  # fmt: skip
    assert [execution.rendered(step).timeout for step in "abc"] == [90.0, 5.0, None]


def test_a_timeout_that_is_no_duration_is_an_error_of_its_field() -> None:
    execution = flow(py("start", timeout="{{ workload.t }}"), workload={"t": "soon"})
    with pytest.raises(TemplateError, match="start: timeout: 'soon' is not a duration"):
        execution.rendered("start")


def test_names_are_looked_up_nearest_first() -> None:
    """Transition args before step results before workload keys."""
    way = [{"step": "a", "args": {"n": "transition"}}]
    for args, expected in (({"x": "{{ n }}"}, "transition"), ({"x": "{{ m }}"}, "workload")):
        execution = flow(py("start") | {"next": way}, py("a", args=args), workload={"n": "workload", "m": "workload"})
        execution.done("start", "result")
        assert execution.args("a")["x"] == expected


def test_a_result_wins_over_a_key_of_the_payload_once_there_is_one() -> None:
    book = playbook({"workflow": [py("one", "two"), py("two", args={"y": "{{ one }}"})]})
    execution = Execution(book, {"one": "payload"})
    assert scope_in(book, execution.now, "one", {"one": "payload"}, ["one"])["one"] == "payload"
    execution.done("one", "result")
    assert execution.args("two") == {"y": "result"}


def test_a_steps_name_means_the_result_of_its_last_completed_visit() -> None:
    again = [{"when": "{{ result < 2 }}", "then": [{"step": "a"}]}, {"else": [{"step": "b"}]}]
    execution = flow(py("a") | {"next": again}, py("b", args={"last": "{{ a }}", "same": "{{ results['a'] }}"}))
    execution.done("a", 1)
    execution.done("a", 2)
    assert execution.args("b") == {"last": 2, "same": 2}


def test_results_without_a_name_means_all_of_them() -> None:
    execution = flow(py("a", "b"), py("b", "c"), py("c", args={"all": "{{ results | dictsort }}"}))
    execution.done("a", 1)
    execution.done("b", 2)
    assert execution.args("c") == {"all": [["a", 1], ["b", 2]]}


def test_a_result_is_reached_through_data_and_result_too() -> None:
    clauses = [{"when": "{{ start.data.x == 1 and result.x == 1 and this.result.x == 1 }}", "then": [{"step": "a"}]}]
    execution = flow(py("start") | {"next": clauses}, py("a"))
    execution.done("start", {"x": 1})
    assert execution.waiting() == ["a"]


def test_the_args_a_step_was_given_are_in_scope_of_its_next() -> None:
    ways = [{"step": "a", "args": {"n": 1}}]
    again = [{"step": "b", "args": {"n": "{{ n + 1 }}"}}]
    execution = flow(py("start") | {"next": ways}, py("a") | {"next": again}, py("b"))
    execution.done("start")
    execution.done("a")
    assert execution.args("b") == {"n": 2}


def test_job_and_execution_id_name_the_attempts_place() -> None:
    args = {"id": "{{ job.id }}", "key": "{{ job.uuid }}", "execution": "{{ execution_id }}"}
    execution = flow(py("start", args=args))
    assert execution.args("start") == {"id": "1", "key": "77:start:1:-1", "execution": "77"}


def test_an_undefined_name_is_an_error_that_knows_what_was_meant() -> None:
    book = playbook({"workflow": [py("fetch")]})
    template = compile_template("{{ citys }}", playbook="p", step="fetch", field="args.x")
    scope = scope_in(book, State(), "fetch", {"cities": 1}, template.names)
    with pytest.raises(TemplateError, match=r"p: fetch: args.x: 'citys' is not defined \(did you mean 'cities'"):
        template.render(scope)


def test_a_scope_knows_every_name_and_holds_only_those_asked_for() -> None:
    book = playbook({"workflow": [py("fetch")], "workload": {"cities": 1}})
    scope = scope_in(book, State(), "fetch", {"cities": 1, "more": 2}, ["more"])
    assert dict(scope.items()) == {"more": 2}
    assert {"cities", "more", "workload"} <= set(scope)


# ---- loading -------------------------------------------------------------------------------------------------------


def _two(**more: Any) -> tuple[Playbook, State, Job]:
    """Return a state in which `c` is to run, after `a` (event 3) and `b` (event 5)."""
    ways = [{"step": "c", "args": {"n": 1}}]
    steps = [py("a", "b"), py("b") | {"next": ways}, py("c") | more]
    book = playbook({"workflow": [*steps, router("end")] if "next" in more else steps})
    state = decide(book, State(), Start({}), Values(1, {})).state
    for name in ("a", "b"):
        job = Job(node_id=name, visit=1, job_id=1, attempts=1)
        decision = decide(book, state, AttemptEnded(job, Done(b"1")), Values(1, {}))
        state = decision.state
    return book, state, decision.jobs[0].again(job_id=1, attempts=1)


def test_everything_a_job_lacks_is_asked_for_at_once() -> None:
    book, state, job = _two(args={"x": "{{ a }}", "y": "{{ b }}"})
    with pytest.raises(NotLoaded) as missing:
        render_job(book, state, job, Values(1, {}))
    assert missing.value.events == {3, 5}
    values = Values(1, {})
    values.put_row(3, "ra", None, None)
    values.put_row(5, "rb", None, {"next": [{"clause": 0, "to": [{"edge": 2, "step": "c", "args": {"n": 1}}]}]})
    assert render_job(book, state, job, values).args == {"x": "ra", "y": "rb", "n": 1}


def test_results_that_nobody_names_are_not_loaded() -> None:
    book, state, job = _two()
    with pytest.raises(NotLoaded) as missing:
        render_job(book, state, job, Values(1, {}))
    assert missing.value.events == {5}, "the args of the transition, and nothing else"


def test_a_next_that_looks_at_its_own_result_only_loads_nothing() -> None:
    """Neither other results nor the args the step was given."""
    book, state, job = _two(next=[{"when": "{{ result > 0 and this }}", "then": [{"step": "end"}]}])
    assert decide(book, state, AttemptEnded(job, Done(b"1")), Values(1, {})).state.status == "completed"


def test_everything_a_decision_lacks_is_asked_for_at_once() -> None:
    ways = [{"step": "end", "args": {"x": "{{ a }}", "y": "{{ b }}"}}]
    book, state, job = _two(next=ways)
    with pytest.raises(NotLoaded) as missing:
        decide(book, state, AttemptEnded(job, Done(b"1")), Values(1, {}))
    assert missing.value.events == {3, 5}


def test_what_a_decision_made_itself_needs_no_loading() -> None:
    """Two routers in a row, args handed on: all of it in one decision, with nothing loaded."""
    book = playbook(
        {
            "workflow": [
                py("start") | {"next": [{"step": "r", "args": {"x": "{{ result.n }}"}}]},
                {
                    "step": "r",
                    "next": [{"when": "{{ x == 5 }}", "then": [{"step": "a", "args": {"y": "{{ x + 1 }}"}}]}],
                },
                py("a"),
            ]
        }
    )
    state = decide(book, State(), Start({}), Values(1, {})).state
    job = Job(node_id="start", visit=1, job_id=1, attempts=1)
    decision = decide(book, state, AttemptEnded(job, Done(b'{"n":5}')), Values(1, {}))
    assert [one.node_id for one in decision.jobs] == ["a"]
    assert decision.arrivals == {3: {1: {"x": 5}}, 4: {2: {"y": 6}}}
