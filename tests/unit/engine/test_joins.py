"""Steps that gather several branches."""

from typing import Any

import pytest

from tests.unit.engine.model import Execution, flow, py, router


def test_a_diamond_joins_once() -> None:
    execution = flow(router("start", "a", "b"), py("a", "j"), py("b", "j"), py("j"))
    execution.done("a")
    assert execution.waiting() == ["b"]
    execution.done("b")
    assert execution.waiting() == ["j"]
    execution.done("j")
    assert execution.visits("j") == 1
    assert execution.status == "completed"


def test_an_exclusive_choice_does_not_hang() -> None:
    choice = [{"when": "{{ result }}", "then": [{"step": "a"}]}, {"else": [{"step": "b"}]}]
    execution = flow(py("start") | {"next": choice}, py("a", "j"), py("b", "j"), py("j"))
    execution.done("start", True)
    execution.done("a")
    assert execution.waiting() == ["j"]


def test_end_is_a_join_even_with_one_source() -> None:
    again = [{"when": "{{ result < 3 }}", "then": [{"step": "page"}, {"step": "end"}]}, {"else": [{"step": "end"}]}]
    execution = flow(py("page") | {"next": again}, router("end"))
    for number in (1, 2, 3):
        execution.done("page", number)
    assert execution.visits("end") == 1
    assert len(execution.now.pending) == 0


def test_a_join_waits_for_steps_that_could_reach_it_by_on_error() -> None:
    execution = flow(router("start", "a", "b"), py("a", "j"), py("b", on_error=[{"step": "j"}]), py("j"))
    execution.done("a")
    assert execution.waiting() == ["b"]
    execution.done("b")
    assert execution.waiting() == ["j"]


def test_a_join_waits_for_a_step_that_is_to_be_retried() -> None:
    execution = flow(router("start", "a", "b"), py("a", "j"), py("b", "j", retry={"max_attempts": 2}), py("j"))
    execution.done("a")
    execution.fail("b")
    assert execution.waiting() == ["b"]
    execution.done("b")
    assert execution.waiting() == ["j"]


def test_a_join_does_not_wait_for_a_branch_that_cannot_reach_it() -> None:
    execution = flow(router("start", "a", "b", "slow"), py("a", "j"), py("b", "j"), py("slow"), py("j"))
    execution.done("a")
    execution.done("b")
    assert sorted(execution.waiting()) == ["j", "slow"]


def test_a_join_waits_for_another_join_before_it() -> None:
    """`inner` has an arrival and can reach `outer`: rule (b)."""
    execution = flow(
        router("start", "a", "b", "c"), py("a", "inner"), py("b", "inner"), py("c", "outer"),
        py("inner", "outer"), py("outer"),
    )  # fmt: skip
    execution.done("c")
    execution.done("a")
    assert execution.waiting() == ["b"]
    execution.done("b")
    assert execution.waiting() == ["inner"]
    execution.done("inner")
    assert execution.waiting() == ["outer"]
    execution.done("outer")
    assert execution.visits("outer") == 1


@pytest.mark.parametrize(("first", "second"), [("p", "q"), ("q", "p")])
def test_of_two_joins_in_one_cycle_the_earlier_in_the_playbook_begins(first: str, second: str) -> None:
    """Each can reach the other; without the exception of rule (b) both would wait for ever."""

    def join(name: str, other: str) -> dict[str, Any]:
        return py(name) | {"next": [{"when": "{{ result }}", "then": [{"step": other}]}]}

    steps = {"p": join("p", "q"), "q": join("q", "p")}
    execution = flow(router("start", "a", "b"), py("a", "p"), py("b", "q"), steps[first], steps[second])
    execution.done("a")
    execution.done("b")
    assert execution.waiting() == [first]
    execution.done(first, False)
    assert execution.waiting() == [second]


def test_the_later_edge_wins_on_equal_names_of_args() -> None:
    def way(**args: Any) -> list[dict[str, Any]]:
        return [{"step": "j", "args": args}]

    for order in (["a", "b"], ["b", "a"]):
        execution = flow(
            router("start", "a", "b"), py("a") | {"next": way(x="a", y="a")}, py("b") | {"next": way(x="b")}, py("j")
        )
        for step in order:
            execution.done(step)
        assert execution.args("j") == {"x": "b", "y": "a"}


def test_for_one_edge_the_later_visit_wins() -> None:
    page = [
        {"when": "{{ result < 3 }}", "then": [{"step": "page"}, {"step": "j", "args": {"n": "{{ result }}"}}]},
        {"else": [{"step": "j", "args": {"n": "{{ result }}"}}]},
    ]
    execution = flow(router("start", "page", "other"), py("page") | {"next": page}, py("other", "j"), py("j"))
    for number in (1, 2, 3):
        execution.done("page", number)
    execution.done("other")
    assert execution.args("j") == {"n": 3}
    assert len(execution.row("j").job.context["arrivals"]) == 4


def test_a_join_in_a_cycle_joins_once_per_round() -> None:
    again = [{"when": "{{ j < 3 }}", "then": [{"step": "fork"}]}, {"else": [{"step": "end"}]}]
    execution = flow(
        py("start", "fork"), router("fork", "a", "b"), py("a", "j"), py("b", "j"), py("j") | {"next": again},
        router("end"),
    )  # fmt: skip
    execution.run(lambda _, job: job.visit)
    assert [execution.visits(step) for step in ("fork", "a", "b", "j", "end")] == [3, 3, 3, 3, 1]
    assert execution.status == "completed"


def test_a_handler_does_not_wait_for_other_branches() -> None:
    execution = flow(
        router("start", "a", "b"),
        py("a", on_error=[{"step": "h"}]),
        py("b", on_error=[{"step": "h"}]),
        py("h"),
    )
    execution.fail("a")
    assert sorted(execution.waiting()) == ["b", "h"]


def test_a_handler_makes_one_visit_per_failure_in_order() -> None:
    execution = flow(
        router("start", "a", "b"),
        py("a", on_error=[{"step": "h"}]),
        py("b", on_error=[{"step": "h"}]),
        py("h", args={"of": "{{ error.step }}"}),
    )
    execution.fail("b")
    execution.fail("a")
    seen = []
    while execution.queue:
        seen.append(execution.args("h")["of"])
        execution.done("h")
    assert seen == ["b", "a"]
    assert execution.status == "completed"


def _pair() -> Execution:
    return flow(router("start", "a", "b"), py("a", "end"), py("b", "end"), {"step": "end", "result": "{{ a + b }}"})


def test_the_order_in_which_branches_end_does_not_change_the_result() -> None:
    results = []
    for order in (["a", "b"], ["b", "a"]):
        execution = _pair()
        for step in order:
            execution.done(step, step)
        results.append(execution.result)
    assert results == ["ab", "ab"]


# ---- join: true ------------------------------------------------------------------------------------------------------

MORE = [
    {"when": "{{ result.more }}", "then": [{"step": "page"}, {"step": "write", "args": {"last": "{{ result.n }}"}}]},
    {"else": [{"step": "write", "args": {"last": "{{ result.n }}"}}]},
]


@pytest.mark.parametrize(("join", "visits"), [(True, 1), (False, 3)])
def test_a_step_behind_a_pager_is_told_to_wait_for_the_last_page(join: bool, visits: int) -> None:
    execution = flow(py("page") | {"next": MORE}, py("write", join=join))
    seen = []
    for number in (1, 2, 3):
        execution.done("page", {"n": number, "more": number < 3})
        seen.append("write" in execution.waiting())
    assert seen == ([False, False, True] if join else [True, True, True])
    if join:
        assert execution.args("write") == {"last": 3}
    execution.run()
    assert execution.visits("write") == visits
    assert execution.status == "completed"


def test_a_join_with_one_source_runs_for_one_arrival_as_ever() -> None:
    execution = flow(py("start", "a"), py("a", join=True))
    execution.done("start")
    assert execution.waiting() == ["a"]


def test_a_join_with_one_source_waits_for_steps_further_back() -> None:
    """All that can reach it: not its source alone, which may run again."""
    again = [{"when": "{{ result }}", "then": [{"step": "list"}, {"step": "work"}]}, {"else": [{"step": "work"}]}]
    execution = flow(py("list") | {"next": again}, py("work", "report"), py("report", join=True))
    execution.done("list", True)
    execution.done("work")
    assert execution.waiting() == ["list"]
    execution.done("list", False)
    execution.done("work")
    assert execution.waiting() == ["report"]


def test_a_handler_that_is_a_join_runs_once_for_all_failures() -> None:
    handler = [{"step": "h"}]
    execution = flow(
        router("start", "a", "b"), py("a", on_error=handler), py("b", on_error=handler), py("h", join=True)
    )
    execution.fail("a")
    assert execution.waiting() == ["b"]
    execution.fail("b")
    assert execution.waiting() == ["h"]
    execution.done("h")
    assert (execution.status, execution.visits("h")) == ("completed", 1)
