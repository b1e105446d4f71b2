"""Mistakes of people who know other languages: Python in templates, templates in Python, YAML without quotes, words of
other systems."""

import re
from collections.abc import Callable, Iterator

import yaml

from tests.lint.source import TEMPLATE, Base, Mistake, Node, place


def _sole(base: Base) -> Iterator[tuple[Node, str]]:
    """Yield the quoted scalars of steps that are exactly one template, as they are written."""
    for step in base.steps:
        for path, node in base.templates(step):
            raw = base.raw(node)
            if raw[0] in "'\"" and TEMPLATE.fullmatch(raw[1:-1]) and "secret" not in raw and path[-1] != "when":
                yield node, raw


def method_of_python(base: Base) -> Iterator[Mistake]:
    """Call a method of text on what a template gives."""
    for node, raw in _sole(base):
        at = raw.index("}}")
        expression = raw[3:at].strip()
        if re.fullmatch(r"[\w.]+", expression):
            text = base.put(node, f"{raw[0]}{{{{ {expression}.upper() }}}}{raw[0]}")
            yield Mistake(text, *place(text, node.start_mark.index + len(f'"{{{{ {expression}.')), "template")


def function_of_python(base: Base) -> Iterator[Mistake]:
    """Call a function of Python that templates have not."""
    for node, raw in _sole(base):
        expression = raw[3 : raw.index("}}")].strip()
        if re.fullmatch(r"[\w.]+", expression):
            text = base.put(node, f"{raw[0]}{{{{ len({expression}) }}}}{raw[0]}")
            yield Mistake(text, *place(text, node.start_mark.index + 4), "template")


def arithmetic_with_a_time(base: Base) -> Iterator[Mistake]:
    """Subtract from the present time, which is text."""
    for node, raw in _sole(base):
        text = base.put(node, f"{raw[0]}{{{{ now() - 1 }}}}{raw[0]}")
        yield Mistake(text, *place(text, node.start_mark.index + len('"{{ now() ')), "template")


def _returns(base: Base) -> Iterator[int]:
    """Yield where the values begin that python code returns."""
    for owner in base.owners():
        code = base.get(owner, "code")
        if code is not None and base.type(owner) == "python" and code.style == "|":
            for found in re.finditer(r"\breturn (?=\S)", base.raw(code)):
                yield code.start_mark.index + found.end()


def name_that_nothing_defines(base: Base) -> Iterator[Mistake]:
    """Use a name in Python that the code does not define."""
    for index in _returns(base):
        yield Mistake(base.splice(index, index, "helpers.nothing or "), *base.place(index), "python")


def template_in_python(base: Base) -> Iterator[Mistake]:
    """Write a template into Python code."""
    for index in _returns(base):
        yield Mistake(base.splice(index, index, "{{ workload }} or "), *base.place(index), "python")


def template_without_quotes(base: Base) -> Iterator[Mistake]:
    """Leave out the quotes around a template."""
    for node, raw in _sole(base):
        yield base.replaced(node, raw[1:-1], "yaml")


def quote_left_open(base: Base) -> Iterator[Mistake]:
    """Leave out the quote that closes a text at a line's end."""
    for node, raw in _sole(base):
        line = base.text[base.text.rfind("\n", 0, node.start_mark.index) + 1 : node.start_mark.index]
        if base.text.startswith("\n", node.end_mark.index) and re.fullmatch(r"\s*(- )?\w+: ", line):
            later = base.text[node.end_mark.index :]
            if raw[0] not in later:
                yield base.replaced(node, raw[:-1], "yaml")


def text_that_begins_with_a_sign(base: Base) -> Iterator[Mistake]:
    """Write text that begins with a sign which YAML keeps for itself."""
    for step in base.steps:
        for path, node in base.walk(step):
            if path[-1] == "desc" and not node.style:
                for sign in "@`%":
                    yield base.replaced(node, sign + node.value.split()[0], "yaml")


def tab_in_the_indentation(base: Base) -> Iterator[Mistake]:
    """Indent a key of a step by a tab."""
    for step in base.steps:
        if not step.flow_style:
            for name, _ in step.value[1:]:
                start = base.text.rfind("\n", 0, name.start_mark.index) + 1
                text = base.splice(start, name.start_mark.index, "\t")
                yield Mistake(text, *place(text, start), "yaml")


FOREIGN = ("depends_on", "needs", "schedule", "retries", "runIf", "inputs", "for_each", "continue-on-error")


def word_of_another_system(base: Base) -> Iterator[Mistake]:
    """Give a step a key that other systems have."""
    for number, step in enumerate(base.steps):
        if isinstance(step, yaml.MappingNode):
            key = FOREIGN[number % len(FOREIGN)]
            yield Mistake(base.with_key(step, key, "x"), *base.key_place(step), "unknown-key")


OPERATORS: list[Callable[[Base], Iterator[Mistake]]] = [
    method_of_python,
    function_of_python,
    arithmetic_with_a_time,
    name_that_nothing_defines,
    template_in_python,
    template_without_quotes,
    quote_left_open,
    text_that_begins_with_a_sign,
    tab_in_the_indentation,
    word_of_another_system,
]
