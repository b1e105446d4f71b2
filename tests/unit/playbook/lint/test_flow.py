"""Which steps have surely run before another: held against the engine, and said outright for some shapes."""

import random
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noetl.playbook.graph import gates
from noetl.playbook.lint.flow import Flow
from noetl.playbook.load import stored_playbook
from tests.conftest import Tell
from tests.unit.engine.model import Execution, playbook
from tests.unit.engine.random_playbooks import documents
from tests.unit.engine.test_properties import SETTINGS, Chaos


def flow(body: str) -> Flow:
    """Return the flow of routers and python steps that are written as `a -> b, c` lines with marks."""
    return Flow(
        list(
            stored_playbook(
                f"metadata: {{path: p}}\nworkload: {{x: 1}}\nworkflow:\n{body}", "f"
            ).workflow.steps.values()
        )
    )


def before_each_run(execution: Execution) -> list[tuple[str, set[str]]]:
    """Return each step that began, with the steps that had a result by then."""
    done: set[str] = set()
    begun = []
    for event in execution.log:
        if event.event_type == "step_queued" or (event.event_type == "step_completed" and event.node_type == "router"):
            begun.append((event.node_id, set(done)))
        if event.event_type == "step_completed":
            done.add(event.node_id)
    return begun


def test_what_is_sure_has_a_result_whatever_happens(tell: Tell) -> None:
    """Random playbooks, run with failures, crashes and cancels: no step begins without what is sure before it.

    And the other way round: of what can come before a step and is not sure, a run without it is seen mostly. (Not
    always: few runs are made of each, and two conditions may exclude each other.)
    """
    unsure, seen = 0, 0

    @settings(SETTINGS, max_examples=80)
    @given(documents(failures=True), st.integers(0, 2**32))
    def run(document: dict[str, Any], seed: int) -> None:
        nonlocal unsure, seen
        book = playbook(document)
        known = Flow(list(book.workflow.steps.values()))
        without: dict[str, set[str]] = defaultdict(set)
        for number in range(6):
            execution = Execution(book)
            Chaos(execution, random.Random(f"{seed} {number} {document}")).run()
            for name, done in before_each_run(execution):
                if name in known.steps:
                    sure = {other for other in known.steps if known.sure(other, name)}
                    assert sure <= done, f"{name} began without {sure - done}"
                    without[name] |= known.before(name) - done
            if execution.status == "completed":
                always = {name for name in known.steps if known.always(name)}
                assert always <= set(execution.ran())
        for name in without:
            maybe = {other for other in known.before(name) if not known.sure(other, name)}
            unsure += len(maybe)
            seen += len(maybe & without[name])

    run()
    tell(f"of what is not sure before a step, a run without it was seen for {100 * seen / unsure:.0f} %")
    assert seen >= 0.7 * unsure


@pytest.mark.parametrize(
    ("body", "sure", "unsure"),
    [
        ("- {step: a, next: b}\n- {step: b, next: c}\n- {step: c}\n", ["a c", "b c", "a b"], ["c a", "b a", "a a"]),
        # a fork without conditions, and its join
        (
            "- {step: a, next: [b, c]}\n- {step: b, next: d}\n- {step: c, next: d}\n- {step: d, next: e}\n"
            "- {step: e}\n",
            ["b d", "c d", "b e", "c e"],
            ["b c", "c b"],
        ),
        # an exclusive choice
        (
            "- {step: a, next: [{when: '{{ x }}', then: b}, {else: c}]}\n- {step: b, next: d}\n- {step: c, next: d}\n"
            "- {step: d}\n",
            ["a d"],
            ["b d", "c d"],
        ),
        # a branch that may not be taken beside one that always is
        (
            "- {step: a, next: [{when: '{{ x }}', then: [b, c]}, {else: c}]}\n- {step: b, next: d}\n"
            "- {step: c, next: d}\n- {step: d}\n",
            ["a d", "c d"],
            ["b d"],
        ),
        # handlers, and the way on
        (
            "- {step: a, type: python, code: 'def main(): pass', next: b, on_error: h}\n- {step: b}\n"
            "- {step: h, next: i}\n- {step: i}\n",
            ["a b", "h i"],
            ["a h", "a i"],
        ),
        (
            "- {step: a, type: python, code: 'def main(): pass', next: b, on_error: continue}\n- {step: b}\n",
            [],
            ["a b"],
        ),
        # one handler of two steps
        (
            "- {step: s, next: a}\n- {step: a, type: python, code: 'def main(): pass', next: b, on_error: h}\n"
            "- {step: b, type: python, code: 'def main(): pass', on_error: h}\n- {step: h}\n",
            ["s h", "a b"],
            ["a h", "b h"],
        ),
        # a way that asks for what it needs
        (
            "- {step: a, next: [{when: '{{ x }}', then: b}, {else: c}]}\n- {step: b, next: c}\n"
            "- {step: c, next: [{when: '{{ b is defined }}', then: d}]}\n- {step: d, next: e}\n- {step: e}\n",
            ["b d", "b e"],
            ["b c"],
        ),
        (
            "- {step: a, next: [{when: '{{ x }}', then: b}, {else: c}]}\n- {step: b, next: c}\n"
            "- {step: c, next: [{when: '{{ b is not defined }}', then: d}]}\n- {step: d}\n",
            [],
            ["b d"],
        ),
        # a condition that is always true
        (
            "- {step: a, next: [{when: true, then: b}, {when: '{{ x }}', then: c}]}\n- {step: b, next: d}\n"
            "- {step: c, next: d}\n- {step: d}\n",
            ["b d"],
            ["c d"],
        ),
        # a branch that ends in a failure never comes to the join
        (
            "- {step: a, next: [{when: '{{ x }}', then: b}, {else: c}]}\n- {step: b, next: d}\n"
            "- {step: c, type: fail}\n- {step: d, next: e}\n- {step: e}\n",
            ["b e"],
            [],
        ),
        # the same condition again, and another
        (
            "- {step: a, next: [{when: '{{ workload.x }}', then: b}, {else: c}]}\n- {step: b, next: d}\n"
            "- {step: c, next: d}\n- {step: d, next: [{when: '{{  workload.x }}', then: e}, {when: '{{ workload.y }}',"
            " then: f}, {else: g}]}\n- {step: e}\n- {step: f}\n- {step: g}\n",
            ["b e"],
            ["c e", "b f", "c f", "c g"],
        ),
        (
            "- {step: a, type: http, endpoint: x, next: [{when: '{{ result.x }}', then: b}, {else: c}]}\n"
            "- {step: b, next: c}\n- {step: c, type: http, endpoint: x, next: [{when: '{{ result.x }}', then: d}]}\n"
            "- {step: d}\n",
            [],
            ["b d"],
        ),
        # a cycle: not before the first round, surely behind it
        (
            "- {step: s, next: a}\n- {step: a, next: b}\n- {step: b, next: [{when: '{{ x }}', then: a}, {else: c}]}\n"
            "- {step: c}\n",
            ["a b", "b c", "a c", "s a"],
            ["b a", "a a"],
        ),
    ],
)
def test_shapes(body: str, sure: list[str], unsure: list[str]) -> None:
    """Each pair is one step and another: whether the first has a result whenever the second begins."""
    known = flow(body)
    assert [pair for pair in sure + unsure if known.sure(*pair.split())] == sure


@given(st.integers(2, 9), st.data())
@SETTINGS
def test_gates_are_the_last_step_that_no_way_goes_round(count: int, data: st.DataObject) -> None:
    """Against the definition: without the gate, the step cannot be reached; without any later one, it can."""
    names = [str(number) for number in range(count)]
    edges = {name: data.draw(st.lists(st.sampled_from(names), max_size=3)) for name in names}

    def reached(without: str) -> set[str]:
        seen, stack = {"0"} - {without}, ["0"] if without != "0" else []
        while stack:
            for target in edges[stack.pop()]:
                if target not in seen and target != without:
                    seen.add(target)
                    stack.append(target)
        return seen

    found = gates("0", edges)
    whole = reached("")
    assert set(found) == whole - {"0"}
    for name, gate in found.items():
        around = {other for other in whole - {name} if name not in reached(other)}
        assert gate in around
        assert all(other == gate or other in {found.get(gate), *_above(found, gate)} for other in around)


def _above(found: dict[str, str], name: str) -> list[str]:
    above = []
    while name in found:
        name = found[name]
        above.append(name)
    return above
