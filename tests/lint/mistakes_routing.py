"""Mistakes in where steps lead: targets, conditions, cycles, joins, handlers."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import yaml

from tests.lint.source import Base, Mistake, Node, at, place


def dangling_target(base: Base) -> Iterator[Mistake]:
    """Exchange two letters in the name of a step that another leads to."""
    for step in base.steps:
        for key in ("next", "on_error"):
            for path, node in base.walk(base.get(step, key)):
                if "args" not in path and node.value in base.targets(step) and "when" not in path:
                    yield base.replaced(node, node.value + "_", "dangling")


def unreachable_step(base: Base) -> Iterator[Mistake]:
    """Add a step that nothing leads to."""
    for body in ("{step: lonely}", "{step: lonely, type: wait, for: 1s, next: end}"):
        yield at(base.with_steps(base.text, body), "lonely", "unreachable")


def cut_the_way(base: Base) -> Iterator[Mistake]:
    """Take the only way to a step away."""
    sources = {base.step_name(step): base.targets(step) for step in base.steps}
    for step in base.steps:
        found = base.get(step, "next")
        if not isinstance(found, yaml.ScalarNode):
            continue
        only = sum(found.value in targets for targets in sources.values()) == 1
        if only and found.value != "end":
            text = base.without(step, "next")
            new = Base("", text)
            name = new.get(new.named(found.value), "step")
            yield Mistake(text, *new.place(name.start_mark.index), "unreachable")


def _plain_next(base: Base) -> list[Node]:
    """Return the `next` of steps of the workflow that are one name."""
    workflow = base.items(base.get(base.root, "workflow"))
    found = [base.get(step, "next") for step in workflow if base.type(step) != "fail"]
    return [node for node in found if isinstance(node, yaml.ScalarNode) or (node is not None and node.flow_style)]


def _beside(base: Base, node: Node, clause: str) -> str:
    """Return the text with one more clause beside those of a `next`."""
    return base.put(node, _clause_text(base.raw(node), clause))


def _named(text: str, step: str, code: str) -> Mistake:
    """Return the mistake at the name of a step that was added."""
    return Mistake(text, *place(text, text.index(f"step: {step}") + len("step: ")), code)


def endless_cycle(base: Base) -> Iterator[Mistake]:
    """Lead into a cycle that has no way out."""
    for node in _plain_next(base):
        text = base.with_steps(
            _beside(base, node, "spinning"), "{step: spinning, next: spun}", "{step: spun, next: [spinning]}"
        )
        yield _named(text, "spinning", "endless")


def fork_into_own_cycle(base: Base) -> Iterator[Mistake]:
    """Let a step of a cycle send two branches back into it."""
    for node in _plain_next(base):
        text = base.with_steps(
            _beside(base, node, "splitting"),
            "{step: splitting, next: [left_half, right_half]}",
            "{step: left_half, next: splitting}",
            '{step: right_half, next: [{when: "{{ workload is defined }}", then: splitting}]}',
        )
        yield _named(text, "splitting", "fork-in-cycle")


def join_that_never_fires(base: Base) -> Iterator[Mistake]:
    """Let two steps lead to a join under conditions that are never true."""
    nodes = _plain_next(base)
    for first, second in pairwise(nodes):
        clause = "{when: false, then: [never_met]}"
        start, end = second.start_mark.index, second.end_mark.index
        later = Base("", base.splice(start, end, _clause_text(base.raw(second), clause)))
        start, end = first.start_mark.index, first.end_mark.index
        both = later.splice(start, end, _clause_text(base.raw(first), clause))
        text = base.with_steps(both, "{step: never_met}")
        yield _named(text, "never_met", "never")


def _clause_text(raw: str, clause: str) -> str:
    return f"[{clause}, {raw[1:]}" if raw.startswith("[") else f"[{clause}, {raw}]"


def step_after_a_constant(base: Base) -> Iterator[Mistake]:
    """Put a step behind an `else` that is never followed, since a condition before it is always true."""
    for node in _plain_next(base):
        if isinstance(node, yaml.ScalarNode):
            text = base.with_steps(
                base.put(node, f"[{{when: true, then: {node.value}}}, {{else: left_over}}]"), "{step: left_over}"
            )
            yield _named(text, "left_over", "never")


def handler_that_swallows(base: Base) -> Iterator[Mistake]:
    """Give a step a handler after which nothing comes."""
    for step in base.items(base.get(base.root, "workflow")):
        if base.type(step) in ("http", "python", "postgres") and base.get(step, "on_error") is None:
            text = base.with_steps(base.with_key(step, "on_error", "swallow"), "{step: swallow}")
            yield _named(text, "swallow", "handled")


def next_after_fail(base: Base) -> Iterator[Mistake]:
    """Lead on from a step that ends its branch."""
    for step in base.steps:
        if base.type(step) == "fail":
            yield Mistake(base.with_key(step, "next", "start"), *base.key_place(step), "fail")


def condition_without_braces(base: Base) -> Iterator[Mistake]:
    """Write a condition as plain text."""
    for step in base.steps:
        for key in ("next", "on_error"):
            for clause in base.items(base.get(step, key)):
                found = base.get(clause, "when")
                if found is not None:
                    yield base.replaced(found, found.value.strip("{} ").replace("'", "").replace(":", ""), "condition")


def condition_of_mixed_text(base: Base) -> Iterator[Mistake]:
    """Write a condition as text with a template in it, which is always true."""
    for step in base.steps:
        for clause in base.items(base.get(step, "next")):
            found = base.get(clause, "when")
            if found is not None:
                yield base.replaced(found, f'"{found.value} == true"', "condition")


OPERATORS: list[Callable[[Base], Iterator[Mistake]]] = [
    dangling_target,
    unreachable_step,
    cut_the_way,
    endless_cycle,
    fork_into_own_cycle,
    join_that_never_fires,
    step_after_a_constant,
    handler_that_swallows,
    next_after_fail,
    condition_without_braces,
    condition_of_mixed_text,
]
