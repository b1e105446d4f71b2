"""YAML as a tree that knows lines and columns.

A key is always text, as it is written. The tree is built from the parser's events, not recursively: hostile nesting
and alias bombs are problems, not crashes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from noetl.errors import Problem
from noetl.playbook.lint.codes import Code
from noetl.playbook.yaml.advice import explain, open_template, rows
from noetl.playbook.yaml.scalars import COLLECTION_TAGS, scalar_value, tag_name

MAX_DEPTH: Final = 100
MAX_NODES: Final = 500_000
"""How many values a document may have, those repeated by aliases counted as often as they stand."""

MAX_REPEATED: Final = 1_000_000
"""Characters that aliases may repeat, those within what is repeated counted as often as they stand."""
_CHARACTERS_PER_NODE: Final = 16
"""Characters that a value counts for beside its text."""

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BLOCK_STYLES: Final = ("|", ">")
_COMMENT: Final = re.compile(r"#\w")


@dataclass(slots=True)
class Node:
    """A value in the file. `value` is the scalar, the items (`list[Node]`) or the mapping (`dict[str, Node]`)."""

    kind: str  # "scalar" | "list" | "mapping"
    line: int
    column: int
    value: Any = None
    text: str = ""
    block: bool = False  # a block scalar: its text begins on the next line
    keys: dict[str, "Node"] = field(default_factory=dict)
    size: int = 1
    length: int = 0  # characters of all that is in it, aliases unfolded
    apart: bool = False  # its text was written otherwise (Base64): its lines are not the file's
    _plain: Any = None

    @property
    def null(self) -> bool:
        return self.kind == "scalar" and self.value is None

    def plain(self) -> Any:
        """Return the value as plain JSON types."""
        if self.kind == "scalar":
            return self.value
        if self._plain is None:
            self._plain = (
                [item.plain() for item in self.value]
                if self.kind == "list"
                else {key: item.plain() for key, item in self.value.items()}
            )
        return self._plain

    def texts(self) -> Iterator["Node"]:
        """Yield the texts below it, itself included, in the order of the file."""
        stack = [self]
        while stack:
            node = stack.pop()
            if node.kind == "list":
                stack.extend(reversed(node.value))
            elif node.kind == "mapping":
                stack.extend(reversed(list(node.value.values())))
            elif isinstance(node.value, str):
                yield node

    def describe(self) -> str:
        """Return a word or two for this value, for error messages."""
        if self.kind != "scalar":
            return f"a {self.kind}"
        if self.value is None:
            return "empty"
        text = repr(self.value) if isinstance(self.value, str) else self.text
        return text if len(text) <= 60 else text[:57] + "..."


@dataclass(frozen=True, slots=True)
class _FilePlace:
    """A place in the file, counted from 0 as the parser does."""

    line: int
    column: int


class _Stop(Exception):
    """The document cannot be read any further."""


class _Builder:
    """Builds the tree from events and gathers the problems on the way."""

    def __init__(self, filename: str, text: str) -> None:
        self.filename = filename
        self.rows = rows(text)
        self.problems: list[Problem] = []
        self.root: Node | None = None
        self.anchors: dict[str, Node | None] = {}  # None: not complete yet
        self.unused: dict[str, Node] = {}  # anchors of scalars that no alias has named yet
        self.stack: list[tuple[Node, str | None]] = []  # open collections and their anchors
        self.repeated = 0  # characters that aliases have repeated
        self.pending: list[Node | None] = []  # per open mapping: the key that waits for its value

    def problem(self, mark: Any, code: Code, message: str) -> None:
        self.problems.append(Problem(self.filename, mark.line + 1, mark.column + 1, "error", code, message))

    def warn(self, line: int, column: int, message: str) -> None:
        self.problems.append(Problem(self.filename, line, column, "warning", Code.YAML, message))

    def stop(self, mark: object, message: str) -> _Stop:
        self.problem(mark, Code.YAML, message)
        return _Stop()

    def no_key(self, node: Node, mark: object) -> _Stop:
        """Return the end at a collection in the place of a key: mostly a template that no quotes surround."""
        row = self.rows[node.line - 1] if node.line <= len(self.rows) else ""
        opening = open_template(row, node.column)
        if opening is None:
            return self.stop(mark, f"a key of a mapping is a {node.kind}: keys are text")
        return self.stop(_FilePlace(node.line - 1, opening[0]), f"invalid YAML: {opening[1]}")

    # -- events

    def scalar(self, event: Any) -> None:
        mark = event.start_mark
        node = Node("scalar", mark.line + 1, mark.column + 1, text=event.value, block=event.style in _BLOCK_STYLES)
        try:
            node.value = scalar_value(event.value, event.tag, event.implicit[0])
        except ValueError as error:
            self.problem(mark, Code.VALUE, str(error))
        node.length = _CHARACTERS_PER_NODE + len(event.value)
        self.doubt(event, node)
        self.anchor(event.anchor, node)
        self.place(node, mark)

    def doubt(self, event: Any, node: Node) -> None:
        """Warn of text that YAML reads as a sign of its own, so that nothing or less is left of it."""
        if event.tag == "!":
            self.warn(node.line, node.column, "text that begins with '!' stands in quotes: YAML reads it as a tag")
        if event.anchor:
            self.begin_anchor(event.anchor, node.line, node.column)
            if event.implicit[0]:  # without quotes: it may be meant as text
                self.unused[event.anchor] = node
        elif event.value == "" and event.implicit[0]:
            rest = self.rows[node.line - 1][node.column - 1 :].strip() if node.line <= len(self.rows) else ""
            if _COMMENT.match(rest):
                message = f"the value is empty, since '#' begins a comment: write {rest.split()[0]!r} in quotes"
                self.warn(node.line, node.column, message)

    def open(self, event: Any, kind: str) -> None:
        mark = event.start_mark
        if len(self.stack) >= MAX_DEPTH:
            raise self.stop(mark, f"the document is nested more than {MAX_DEPTH} levels deep")
        if event.tag and event.tag not in COLLECTION_TAGS:
            self.problem(mark, Code.VALUE, f"the tag {tag_name(event.tag)} is not available: write the value plainly")
        if event.anchor:
            self.begin_anchor(event.anchor, mark.line + 1, mark.column + 1)
        node = Node(kind, mark.line + 1, mark.column + 1, value=[] if kind == "list" else {})
        self.stack.append((node, event.anchor))
        self.pending.append(None)

    def close(self, event: Any) -> None:
        node, anchor = self.stack.pop()
        self.pending.pop()
        if node.kind == "mapping":
            self.merge(node)
        children = node.value if node.kind == "list" else node.value.values()
        node.size = 1 + sum(child.size for child in children)
        node.length = _CHARACTERS_PER_NODE + sum(child.length for child in children) + sum(map(len, node.keys))
        if node.size > MAX_NODES:
            raise self.stop(event.start_mark, f"the document has more than {MAX_NODES:,} values, aliases unfolded")
        self.anchor(anchor, node)
        self.place(node, event.start_mark)

    def alias(self, event: Any) -> None:
        if event.anchor not in self.anchors:
            message = f"the alias *{event.anchor} names no anchor before it: text that begins with '*' stands in quotes"
            raise self.stop(event.start_mark, message)
        self.unused.pop(event.anchor, None)
        node = self.anchors[event.anchor]
        if node is None:
            raise self.stop(event.start_mark, f"the alias *{event.anchor} stands inside its own anchor")
        self.repeated += node.length
        if self.repeated > MAX_REPEATED:
            message = (
                f"aliases repeat more than {MAX_REPEATED:,} characters, unfolded: write less of the file with them"
            )
            raise self.stop(event.start_mark, message)
        self.place(node, event.start_mark)

    # -- building

    def begin_anchor(self, name: str, line: int, column: int) -> None:
        """Note an anchor whose value is not complete yet; warn of one that was given before."""
        first = self.anchors.get(name)
        if first is not None:
            message = f"the anchor &{name} is defined twice (first in line {first.line}): aliases refer to this one"
            self.warn(line, column, f"{message} from here on: rename one of them")
        self.anchors[name] = None

    def anchor(self, name: str | None, node: Node) -> None:
        if name:
            self.anchors[name] = node

    def place(self, node: Node, mark: object) -> None:
        """Put a complete value where it belongs."""
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1][0]
        if parent.kind == "list":
            parent.value.append(node)
            return
        key = self.pending[-1]
        if key is None:
            if node.kind != "scalar":
                raise self.no_key(node, mark)
            self.pending[-1] = node
            return
        self.pending[-1] = None
        name = key.text
        if name in parent.value:
            first = parent.keys[name].line
            position = Problem(
                self.filename,
                key.line,
                key.column,
                "error",
                Code.DUPLICATE_KEY,
                f"the key {name!r} is defined twice (first in line {first}): remove one of them",
            )
            self.problems.append(position)
            return
        parent.value[name] = node
        parent.keys[name] = key

    def merge(self, node: Node) -> None:
        """Carry out `<<: *alias`: what the mapping itself has wins, then the first of a list."""
        source = node.value.get("<<")
        if source is None:
            return
        merged = source.value if source.kind == "list" else [source]
        if any(item.kind != "mapping" for item in merged):
            key = node.keys["<<"]
            self.problems.append(
                Problem(
                    self.filename, key.line, key.column, "error", Code.VALUE, "'<<' takes a mapping, or a list of them"
                )
            )
            return
        del node.value["<<"], node.keys["<<"]
        for item in merged:
            for name, value in item.value.items():
                if name not in node.value:
                    node.value[name] = value
                    node.keys[name] = item.keys[name]


def read(text: str, filename: str) -> tuple[Node | None, list[Problem]]:
    """Return the tree of a document, as far as it can be read, and the problems on the way."""
    builder = _Builder(filename, text)
    try:
        for event in _events(text, builder):
            if isinstance(event, yaml.ScalarEvent):
                builder.scalar(event)
            elif isinstance(event, yaml.MappingStartEvent):
                builder.open(event, "mapping")
            elif isinstance(event, yaml.SequenceStartEvent):
                builder.open(event, "list")
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                builder.close(event)
            elif isinstance(event, yaml.AliasEvent):
                builder.alias(event)
    except _Stop:
        return None, builder.problems
    for name, node in builder.unused.items():
        message = f"no alias names the anchor &{name}: text that begins with '&' stands in quotes"
        builder.warn(node.line, node.column, message)
    if builder.root is None and not builder.problems:
        builder.problems.append(
            Problem(filename, 1, 1, "error", Code.YAML, "the file is empty: a playbook is a mapping")
        )
    return builder.root, builder.problems


def _events(text: str, builder: _Builder) -> Iterator[Any]:
    """Yield the parser's events; syntax errors and a second document become problems."""
    documents = 0
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise builder.stop(event.start_mark, "a second document begins here: one file holds one document")
            yield event
    except yaml.reader.ReaderError as error:
        line, column = _position(text, error.position)
        builder.problems.append(
            Problem(
                builder.filename, line, column, "error", Code.YAML, f"the character {error.character!r} is not allowed"
            )
        )
        raise _Stop from None
    except yaml.MarkedYAMLError as error:
        line, column, message = explain(text, error)
        raise builder.stop(_FilePlace(line, column), message) from None
    except UnicodeEncodeError:
        builder.problems.append(Problem(builder.filename, 1, 1, "error", Code.YAML, "the file is not valid Unicode"))
        raise _Stop from None


def _position(text: str, index: object) -> tuple[int, int]:
    before = text[:index] if isinstance(index, int) else ""
    return before.count("\n") + 1, len(before) - before.rfind("\n")
