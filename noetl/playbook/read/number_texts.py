"""Numbers whose text is not their own: `1.10`, `01234`, `0e12`, which are perhaps meant as text."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from noetl.playbook.lint.codes import Code
from noetl.playbook.read.reader import Reader
from noetl.playbook.step_types import fields_of
from noetl.playbook.yaml.tree import Node

_MEASURES: Final = frozenset({"timeout", "retry", "max_visits", "priority", "join"})
"""Keys of a step whose numbers are numbers."""


def check_numbers(reader: Reader, workload: Node | None, owners: list[tuple[Node, str]]) -> None:
    """Hint at numbers in the workload, and in steps and tasks (each with its type), that read back otherwise."""
    places = [workload] if workload is not None else []
    for node, type_ in owners:
        texts = {name for name, spec in fields_of(type_).items() if spec.texts}
        places += [value for key, value in node.value.items() if key not in _MEASURES | texts]
    for place in places:
        for found in _numbers(place):
            own = json.dumps(found.value)
            if not written_alike(found.text, own):
                told = f"{found.text} is the number {own}: write {found.text!r} in quotes where its text is meant"
                reader.report(found.line, found.column, "hint", Code.NUMBER_TEXT, told)


def written_alike(text: str, own: str) -> bool:
    """Whether a number's text is its own; hexadecimal and octal ones are written so on purpose."""
    return text == own or text.startswith(("0x", "0o"))


def as_texts(node: Node) -> Node:
    """Return a mapping in which numbers are the texts that stand in the file: for fields whose values are texts."""
    if node.kind == "scalar":
        number = isinstance(node.value, (int, float)) and not isinstance(node.value, bool)
        return replace(node, value=node.text) if number else node
    if node.kind == "list":
        return replace(node, value=[as_texts(item) for item in node.value], _plain=None)
    return replace(node, value={name: as_texts(item) for name, item in node.value.items()}, _plain=None)


def _numbers(node: Node) -> Iterator[Node]:
    stack = [node]
    while stack:
        found = stack.pop()
        if found.kind == "list":
            stack.extend(reversed(found.value))
        elif found.kind == "mapping":
            stack.extend(reversed(list(found.value.values())))
        elif isinstance(found.value, (int, float)) and not isinstance(found.value, bool) and found.text:
            yield found
