"""The check of numbers whose text changes when they are read, as `1.10`, `01234`, `0e12`: they may be meant as text."""

import json
from collections.abc import Iterator
from typing import Final

from noetl.playbook.lint.codes import Code
from noetl.playbook.lint.source import PlaybookSource
from noetl.playbook.read.number_texts import written_alike
from noetl.playbook.step_types import fields_of
from noetl.playbook.yaml.tree import Node

_NUMBER_KEYS: Final = frozenset({"timeout", "retry", "max_visits", "priority", "join"})
"""Keys of a step whose numbers are numbers."""


def check_number_texts(source: PlaybookSource) -> None:
    """Hint at numbers in the workload, and in steps and tasks, that read back otherwise than they are written."""
    places = [source.workload] if source.workload is not None else []
    for owner in source.steps_and_tasks:
        texts = {name for name, spec in fields_of(owner.type).items() if spec.texts}
        places += [value for key, value in owner.node.value.items() if key not in _NUMBER_KEYS | texts]
    for place in places:
        for number in _numbers(place):
            own = json.dumps(number.value)
            if not written_alike(number.text, own):
                message = f"{number.text} is the number {own}: write {number.text!r} in quotes where its text is meant"
                source.reader.report(number.line, number.column, "hint", Code.NUMBER_TEXT, message)


def _numbers(node: Node) -> Iterator[Node]:
    """Yield the numbers below a node, in the order of the file."""
    stack = [node]
    while stack:
        node = stack.pop()
        if node.kind == "list":
            stack.extend(reversed(node.value))
        elif node.kind == "mapping":
            stack.extend(reversed(list(node.value.values())))
        elif isinstance(node.value, (int, float)) and not isinstance(node.value, bool) and node.text:
            yield node
