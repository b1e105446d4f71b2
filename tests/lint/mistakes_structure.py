"""Mistakes in what the document is made of: keys, types, names."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import yaml

from tests.lint.source import Base, Mistake, Node, misspelt, place


def misspell_step_key(base: Base) -> Iterator[Mistake]:
    """Exchange two letters in a key of a step."""
    for step in base.steps:
        for key, _ in step.value:
            if key.value != "step":
                yield base.replaced(key, misspelt(key.value), "unknown-key")


def misspell_nested_key(base: Base) -> Iterator[Mistake]:
    """Exchange two letters in a key of retry, loop, save, metadata, or of a clause."""
    groups = [base.get(base.root, "metadata")]
    for step in base.steps:
        groups += [base.get(step, key) for key in ("retry", "loop", "save")]
        groups += [clause for clause in base.items(base.get(step, "next")) if isinstance(clause, yaml.MappingNode)]
    for group in groups:
        for key, _ in group.value if isinstance(group, yaml.MappingNode) else []:
            if len(key.value) > 3:
                yield base.replaced(key, misspelt(key.value), "unknown-key")


def misspell_document_key(base: Base) -> Iterator[Mistake]:
    """Exchange two letters in a key of the document."""
    for key, _ in base.root.value:
        yield base.replaced(key, misspelt(key.value), "unknown-key")


def add_unknown_key(base: Base) -> Iterator[Mistake]:
    """Give a step a key that nobody knows."""
    for step in base.steps:
        yield Mistake(base.with_key(step, "flavour", "mint"), *base.key_place(step), "unknown-key")


def foreign_field(base: Base) -> Iterator[Mistake]:
    """Give a step a field of another type."""
    for step in base.steps:
        kind = base.type(step)
        if kind in ("python", "shell", "wait"):
            yield Mistake(base.with_key(step, "endpoint", "x"), *base.key_place(step), "unknown-key")
        elif kind in ("http", "postgres", "save", "container", "secrets"):
            yield Mistake(base.with_key(step, "code", "x"), *base.key_place(step), "unknown-key")


def duplicate_key(base: Base) -> Iterator[Mistake]:
    """Write the name of a step twice: the second one is too many."""
    for step in base.steps:
        name = base.step_name(step)
        text = base.with_key(step, "step", name)
        yield Mistake(
            text, *place(text, text.index("step", step.start_mark.index + len(f"step: {name}"))), "duplicate-key"
        )


WRONG = {
    "max_visits": ["many", "0", "[1]"],
    "timeout": ["soon", "[10s]", "true"],
    "args": ["5", "[a, b]"],
    "headers": ["text", "[a]"],
    "env": ["text"],
    "retry": ["often", "0", "[3]"],
    "loop": ["5", "text"],
    "code": ["5", "[a]"],
    "version": ["newest"],
    "desc": ["[a]", "{a: b}"],
    "pool": ["[a]", "5"],
    "once": ["maybe"],
    "for": ["a while", "[1]"],
}


def wrong_type(base: Base) -> Iterator[Mistake]:
    """Give a key a value of a type that it cannot have."""
    for step in base.steps:
        for key, value in step.value:
            for wrong in WRONG.get(key.value, ()):
                if key.value == "version" and base.type(step) != "playbook":
                    continue
                yield _value(base, value, wrong, "wrong-type")


def wrong_type_inside(base: Base) -> Iterator[Mistake]:
    """Give a key of retry or loop a value of a type that it cannot have."""
    wrong = {
        "retry": {
            "max_attempts": "few",
            "initial_delay": "soon",
            "backoff": "fast",
            "max_delay": "-1",
            "jitter": "much",
        },
        "loop": {"concurrency": "all", "limit": "few", "batch": "[1]", "iterator": "[a]"},
    }
    for step in base.steps:
        for group, keys in wrong.items():
            found = base.get(step, group)
            for key, text in keys.items():
                value = base.get(found, key)
                if value is not None:
                    yield _value(base, value, text, "wrong-type")


def wrong_type_of_document(base: Base) -> Iterator[Mistake]:
    """Give a key of the document a value of a type that it cannot have."""
    wrong = {
        "timeout": "late",
        "pool": "[a]",
        "priority": "high",
        "labels": "[a]",
        "workload": "text",
        "workflow": "text",
        "workbook": "text",
        "finally": "{step: a}",
        "metadata": "text",
    }
    for key, value in base.root.value:
        if key.value in wrong:
            yield _value(base, value, wrong[key.value], "wrong-type")


def _value(base: Base, node: Node, text: str, code: str) -> Mistake:
    """Put a value in the place of another of any kind; a block goes to the line of its key."""
    if isinstance(node, yaml.ScalarNode) or node.flow_style:
        ends = "\n" if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">") else ""
        return base.replaced(node, text + ends, code)
    start = base.text.rindex(":", 0, node.start_mark.index) + 1
    rest = base.text[: node.end_mark.index].rstrip()
    new = base.splice(start, len(rest), f" {text}")
    return Mistake(new, *place(new, start + 1), code)


def unknown_choice(base: Base) -> Iterator[Mistake]:
    """Choose a method, storage, provider, format or mode that does not exist."""
    for step in base.steps:
        for key in ("method", "storage", "provider", "format", "mode"):
            if base.get(step, key) is not None:
                yield base.replaced(base.get(step, key), "sometimes", "value")
        for group in ("loop", "save"):
            for key in ("mode", "on_error", "storage"):
                found = base.get(base.get(step, group), key)
                if found is not None:
                    yield base.replaced(found, "perhaps", "value")


def unknown_type(base: Base) -> Iterator[Mistake]:
    """Exchange two letters in a step's type."""
    for owner in base.owners():
        found = base.get(owner, "type")
        if found is not None:
            yield base.replaced(found, misspelt(found.value), "unknown-type")


REQUIRED = {
    "python": "code",
    "http": "endpoint",
    "shell": "command",
    "container": "image",
    "secrets": "name",
    "playbook": "path",
    "postgres": "command",
    "duckdb": "commands",
    "wait": "for",
}


def leave_out_required_field(base: Base) -> Iterator[Mistake]:
    """Leave out the field without which a tool has nothing to do."""
    for step in base.steps:
        found = base.get(step, "type")
        key = REQUIRED.get(found.value, "") if found is not None else ""
        if base.get(step, key) is not None and not step.flow_style:
            yield Mistake(base.without(step, key), *base.place(step.start_mark.index), "missing")


def leave_out_loop_items(base: Base) -> Iterator[Mistake]:
    """Leave out what a loop runs over."""
    for step in base.steps:
        loop = base.get(step, "loop")
        if loop is not None and not loop.flow_style:
            yield Mistake(base.without(loop, "in"), *base.place(loop.start_mark.index), "missing")


def empty_loop(base: Base) -> Iterator[Mistake]:
    """Let a loop run over nothing."""
    for step in base.steps:
        found = base.get(base.get(step, "loop"), "in")
        if found is not None:
            yield base.replaced(found, "[]", "empty-loop")


def duplicate_step(base: Base) -> Iterator[Mistake]:
    """Give a step the name of one before it."""
    names = [base.get(step, "step") for step in base.steps]
    for before, name in pairwise(names):
        yield base.replaced(name, before.value, "duplicate-step")


def reserved_step_name(base: Base) -> Iterator[Mistake]:
    """Give a step a name that templates need for themselves."""
    for step, name in zip(base.steps, ("result", "workload", "error", "secret", "index", "env"), strict=False):
        yield base.replaced(base.get(step, "step"), name, "reserved-name")


def step_name_with_a_hyphen(base: Base) -> Iterator[Mistake]:
    """Give a step a name that templates cannot write."""
    for step in base.steps:
        name = base.get(step, "step")
        yield base.replaced(name, name.value + "-it", "bad-name")


def clash_with_the_workload(base: Base) -> Iterator[Mistake]:
    """Give the workload a key with the name of a step."""
    workload = base.get(base.root, "workload")
    for step in base.steps:
        name = base.step_name(step)
        text = base.with_key(workload, name, "1")
        found = Base("", text)
        yield Mistake(text, *found.place(found.get(found.named(name), "step").start_mark.index), "clash")


def unknown_task(base: Base) -> Iterator[Mistake]:
    """Exchange two letters in the name of the task that a step uses."""
    for step in base.steps:
        found = base.get(step, "task")
        if found is not None:
            yield base.replaced(found, misspelt(found.value), "unknown-task")


def duplicate_task(base: Base) -> Iterator[Mistake]:
    """Give a task of the workbook the name of one before it."""
    names = [base.get(task, "name") for task in base.items(base.get(base.root, "workbook"))]
    for before, name in pairwise(names):
        yield base.replaced(name, before.value, "duplicate-task")


def malformed_yaml(base: Base) -> Iterator[Mistake]:
    """Write a second colon into a line, which ends the document for every reader of YAML."""
    for step in base.steps:
        name = base.get(step, "step")
        if not step.flow_style:
            text = base.put(name, name.value + ": again")
            yield Mistake(text, *base.place(name.start_mark.index), "yaml")


OPERATORS: list[Callable[[Base], Iterator[Mistake]]] = [
    misspell_step_key,
    misspell_nested_key,
    misspell_document_key,
    add_unknown_key,
    foreign_field,
    duplicate_key,
    wrong_type,
    wrong_type_inside,
    wrong_type_of_document,
    unknown_choice,
    unknown_type,
    leave_out_required_field,
    leave_out_loop_items,
    empty_loop,
    duplicate_step,
    reserved_step_name,
    step_name_with_a_hyphen,
    clash_with_the_workload,
    unknown_task,
    duplicate_task,
    malformed_yaml,
]
