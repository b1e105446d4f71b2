"""Mistakes in templates: their syntax, and the fields they look for."""

import re
from collections.abc import Callable, Iterator

from tests.lint.source import Base, Mistake, Node, misspelt, place


def _quoted_templates(base: Base) -> Iterator[Node]:
    for owner in base.owners():
        for _, node in base.templates(owner):
            if base.raw(node)[0] in "'\"":
                yield node


def lose_a_brace(base: Base) -> Iterator[Mistake]:
    """Leave out one of the braces that close a template."""
    for node in _quoted_templates(base):
        raw = base.raw(node)
        if raw.count("}}") == 1:
            yield base.replaced(node, raw.replace("}}", "}"), "template")


def lose_the_end_of_an_expression(base: Base) -> Iterator[Mistake]:
    """End an expression in the middle."""
    for node in _quoted_templates(base):
        raw = base.raw(node)
        if raw.count(" }}") == 1:
            yield base.replaced(node, raw.replace(" }}", " + }}"), "template")


def unknown_filter(base: Base) -> Iterator[Mistake]:
    """Use a filter that there is not."""
    for node in _quoted_templates(base):
        raw = base.raw(node)
        if raw.count(" }}") == 1:
            yield base.replaced(node, raw.replace(" }}", " | uper }}"), "template")


def block_without_an_end(base: Base) -> Iterator[Mistake]:
    """Begin a block in a template and do not end it."""
    for node in _quoted_templates(base):
        raw = base.raw(node)
        yield base.replaced(node, raw[0] + "{% if 1 %}" + raw[1:], "template")


# ---- fields ----------------------------------------------------------------------------------------------------------

FIXED = {
    "http": ("status_code", "headers", "elapsed"),
    "postgres": ("command_0", "executed_commands", "command_2"),
    "duckdb": ("command_1",),
    "shell": ("stdout", "stderr", "exit_code"),
    "container": ("stdout",),
    "secrets": ("version", "provider"),
    "save": ("path", "row_count", "saved", "table"),
}


def _fields(base: Base, wanted: Callable[[str, str, str], bool]) -> Iterator[tuple[str, int]]:
    """Yield the first fields behind the names of steps in templates, with their index."""
    types = {base.step_name(step): base.type(step) for step in base.steps if base.get(step, "loop") is None}
    for step in base.steps:
        for _, node in base.templates(step):
            raw = base.raw(node)
            if "default" in raw or "defined" in raw:
                continue
            for found in re.finditer(r"\{\{ (\w+)\.(\w+)", raw):
                if found[1] in types and wanted(types[found[1]], found[1], found[2]):
                    yield found[2], node.start_mark.index + found.start(2)


def misspell_a_tool_field(base: Base) -> Iterator[Mistake]:
    """Exchange two letters in a field of the result of a tool."""
    for field, index in _fields(base, lambda kind, _, field: field in FIXED.get(kind, ())):
        yield base.edited(index, len(field), misspelt(field), "unknown-field")


def misspell_an_inner_field(base: Base) -> Iterator[Mistake]:
    """Exchange two letters in a field of what one SQL command gave."""
    for step in base.steps:
        for _, node in base.templates(step):
            asked = "default" in base.raw(node)
            for found in [] if asked else re.finditer(r"\.command_\d\.(rows|row_count|columns|status)", base.raw(node)):
                index = node.start_mark.index + found.start(1)
                yield base.edited(index, len(found[1]), misspelt(found[1]), "unknown-field")


DYNAMIC = {"everything", "whole", "merge_all"}


def misspell_a_python_field(base: Base) -> Iterator[Mistake]:
    """Exchange two letters in a field of what a python step gives back."""

    def literal(kind: str, step: str, field: str) -> bool:
        return kind == "python" and step not in DYNAMIC and field not in ("data", "result")

    for field, index in _fields(base, literal):
        yield base.edited(index, len(field), misspelt(field) if len(field) > 3 else field + "x", "unknown-field")


def field_that_is_no_longer_returned(base: Base) -> Iterator[Mistake]:
    """Rename a key in the dict that a python step returns, while a template still reads it."""
    codes = {base.step_name(step): base.get(step, "code") for step in base.steps if base.type(step) == "python"}
    for step in base.steps:
        for _, node in base.templates(step):
            raw = base.raw(node)
            for found in re.finditer(r"\{\{ (\w+)\.(\w+) \}\}", raw):
                code, key = codes.get(found[1]), f'"{found[2]}":'
                if code is None or found[1] in DYNAMIC or base.raw(code).count(key) != 1:
                    continue
                start = base.text.index(key, code.start_mark.index) + 1
                text = base.splice(start, start + len(found[2]), "renamed")
                used = node.start_mark.index + found.start(2)
                moved = used + (len("renamed") - len(found[2]) if used > start else 0)
                yield Mistake(text, *place(text, moved), "unknown-field")


def field_that_no_loop_has(base: Base) -> Iterator[Mistake]:
    """Read a field of an item from the list that a loop gives back."""
    loops = {base.step_name(step) for step in base.steps if base.get(step, "loop") is not None}
    for step in base.steps:
        for _, node in base.templates(step):
            raw = base.raw(node)
            if "default" not in raw and "defined" not in raw and step not in loops:
                for found in re.finditer(r"\{\{ (\w+)\.(\w+)", raw):
                    if found[1] in loops and found[1] != base.step_name(step):
                        yield base.edited(
                            node.start_mark.index + found.start(2), len(found[2]), "status_code", "unknown-field"
                        )


def misspell_a_field_of_the_error(base: Base) -> Iterator[Mistake]:
    """Exchange two letters in a field of an error."""
    for step in base.steps:
        for _, node in base.templates(step):
            for found in re.finditer(r"\{\{ error\.(message|retryable|attempt) [}=]", base.raw(node)):
                yield base.edited(
                    node.start_mark.index + found.start(1), len(found[1]), misspelt(found[1]), "unknown-field"
                )


def misspell_a_key_of_the_workload(base: Base) -> Iterator[Mistake]:
    """Exchange two letters in a key of the workload."""
    for step in base.steps:
        for _, node in base.templates(step):
            for found in re.finditer(r"\bworkload\.(\w{4,})", base.raw(node)):
                yield base.edited(
                    node.start_mark.index + found.start(1), len(found[1]), misspelt(found[1]), "unknown-field"
                )


OPERATORS: list[Callable[[Base], Iterator[Mistake]]] = [
    lose_a_brace,
    lose_the_end_of_an_expression,
    unknown_filter,
    block_without_an_end,
    misspell_a_tool_field,
    misspell_an_inner_field,
    misspell_a_python_field,
    field_that_is_no_longer_returned,
    field_that_no_loop_has,
    misspell_a_field_of_the_error,
    misspell_a_key_of_the_workload,
]
