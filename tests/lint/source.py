"""A correct playbook as the operators see it: its text, and PyYAML's own tree with the place of every value.

The tree is PyYAML's and not the loader's, so that what lint says is held against somebody else's idea of a place.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import yaml

Node = Any
TEMPLATE = re.compile(r"\{\{.*?\}\}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Mistake:
    """A text with one mistake, and what lint has to say: line and column count from 1."""

    text: str
    line: int
    column: int
    code: str


class Base:
    """A correct playbook."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self.root: Node = yaml.compose(text)

    # ---- looking

    @cached_property
    def steps(self) -> list[Node]:
        """The steps of `workflow` and `finally`, as mappings."""
        return [step for key in ("workflow", "finally") for step in self.items(self.get(self.root, key))]

    @staticmethod
    def items(node: Node) -> list[Node]:
        """Return the items of a list; of nothing, none."""
        return list(node.value) if isinstance(node, yaml.SequenceNode) else []

    @staticmethod
    def get(mapping: Node, key: str) -> Node:
        """Return the value of a key, None where there is none."""
        pairs = mapping.value if isinstance(mapping, yaml.MappingNode) else []
        return next((value for name, value in pairs if name.value == key), None)

    @staticmethod
    def key(mapping: Node, key: str) -> Node:
        """Return the node of a key itself."""
        return next(name for name, _ in mapping.value if name.value == key)

    def step_name(self, step: Node) -> str:
        return str(self.get(step, "step").value)

    def named(self, name: str) -> Node:
        """Return the step of a name."""
        return next(step for step in self.steps if self.step_name(step) == name)

    def type(self, step: Node) -> str:
        """Return a step's type; that of its task for a workbook step."""
        found = self.get(step, "type")
        if found is None:
            return ""
        if found.value != "workbook":
            return str(found.value)
        tasks = {self.get(task, "name").value: task for task in self.items(self.get(self.root, "workbook"))}
        return str(self.get(tasks[self.get(step, "task").value], "type").value)

    def owners(self) -> list[Node]:
        """Return all that has fields: the steps, and the tasks of the workbook."""
        return self.steps + self.items(self.get(self.root, "workbook"))

    def walk(self, node: Node) -> Iterator[tuple[tuple[str, ...], Node]]:
        """Yield every scalar below a node with the keys that lead to it (items of lists as '[]')."""
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                for path, found in self.walk(value):
                    yield (name.value, *path), found
        elif isinstance(node, yaml.SequenceNode):
            for value in node.value:
                for path, found in self.walk(value):
                    yield ("[]", *path), found
        elif node is not None:
            yield (), node

    def templates(self, step: Node) -> Iterator[tuple[tuple[str, ...], Node]]:
        """Yield the scalars of a step that hold a template."""
        for path, node in self.walk(step):
            if "{{" in node.value and path[0] != "code":
                yield path, node

    def names_in(self, node: Node) -> Iterator[tuple[str, int]]:
        """Yield the names that stand right after `{{` in a scalar, with their index in the text."""
        for found in re.finditer(r"\{\{\s*([a-z_]\w*)", self.raw(node)):
            yield found[1], node.start_mark.index + found.start(1)

    def raw(self, node: Node) -> str:
        """Return a node as it is written."""
        return self.text[node.start_mark.index : node.end_mark.index]

    def targets(self, step: Node) -> set[str]:
        """Return where a step leads to, by `next` or `on_error`."""
        found = set()
        for key in ("next", "on_error"):
            for path, node in self.walk(self.get(step, key)):
                if "args" not in path and (not path or path[-1] in ("[]", "step", "then", "else")):
                    found.add(node.value)
        return found - {"continue"}

    def after(self, name: str) -> set[str]:
        """Return every step that can come after a step."""
        seen, stack = set[str](), [name]
        while stack:
            for target in self.targets(self.named(stack.pop())):
                if target not in seen:
                    seen.add(target)
                    stack.append(target)
        return seen

    # ---- breaking

    def place(self, index: int) -> tuple[int, int]:
        return place(self.text, index)

    def put(self, node: Node, text: str) -> str:
        """Return the text with a node replaced."""
        return self.splice(node.start_mark.index, node.end_mark.index, text)

    def splice(self, start: int, end: int, text: str) -> str:
        return self.text[:start] + text + self.text[end:]

    def replaced(self, node: Node, text: str, code: str) -> Mistake:
        """Return the mistake of writing something else in the place of a scalar."""
        return Mistake(self.put(node, text), *self.place(node.start_mark.index), code)

    def edited(self, index: int, length: int, text: str, code: str) -> Mistake:
        """Return the mistake of writing something else in the place of a few letters."""
        return Mistake(self.splice(index, index + length, text), *self.place(index), code)

    def with_key(self, mapping: Node, key: str, value: str) -> str:
        """Return the text with one more key at the beginning of a mapping: it stands where the mapping begins."""
        at = mapping.start_mark.index
        if mapping.flow_style:
            return self.splice(at + 1, at + 1, f"{key}: {value}, ")
        return self.splice(at, at, f"{key}: {value}\n" + " " * mapping.start_mark.column)

    def key_place(self, mapping: Node) -> tuple[int, int]:
        """Return where the key of `with_key` stands."""
        return self.place(mapping.start_mark.index + (1 if mapping.flow_style else 0))

    def without(self, mapping: Node, key: str) -> str:
        """Return the text without a key that is not the last of a flow mapping."""
        names = [name.value for name, _ in mapping.value]
        at = names.index(key)
        start = mapping.value[at][0].start_mark.index
        if at + 1 < len(names):
            return self.splice(start, mapping.value[at + 1][0].start_mark.index, "")
        end = mapping.value[at][1].end_mark.index
        line = self.text.rfind("\n", 0, start) + 1
        return self.splice(line, end, "")

    def with_steps(self, text: str, *steps: str) -> str:
        """Return `text`, this base after an edit of other steps, with more steps at the end of `workflow`."""
        workflow = self.get(yaml.compose(text), "workflow")
        end = workflow.end_mark.index
        if workflow.flow_style:
            return text[: end - 1] + "".join(f", {step}" for step in steps) + text[end - 1 :]
        indent = " " * workflow.start_mark.column
        return text[:end] + "".join(f"{indent}- {step}\n" for step in steps) + text[end:]


def place(text: str, index: int) -> tuple[int, int]:
    """Return line and column of an index."""
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)


def misspelt(word: str) -> str:
    """Return a word with two neighbouring letters exchanged, or one doubled."""
    for at in range(1, len(word) - 1):
        if word[at] != word[at + 1]:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word + word[-1]


def at(text: str, fragment: str, code: str) -> Mistake:
    """Return the mistake at a fragment that stands once in a text."""
    assert text.count(fragment) == 1, fragment
    return Mistake(text, *place(text, text.index(fragment)), code)
