"""A mapping of the file being put into another spelling: copied before it is changed, each change noted."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from noetl.errors import Problem
from noetl.playbook.names import did_you_mean
from noetl.playbook.yamltree import Node

CODE: Final = "spelling"


@dataclass(slots=True)
class Notes:
    """What is told of a file on the way: a hint for each spelling that was replaced, and errors."""

    filename: str
    problems: list[Problem] = field(default_factory=list)

    def hint(self, node: Node, message: str) -> None:
        self._add(node, "hint", CODE, message)

    def error(self, node: Node, code: str, message: str) -> None:
        self._add(node, "error", code, message)

    def _add(self, node: Node, severity: str, code: str, message: str) -> None:
        self.problems.append(Problem(self.filename, node.line, node.column, severity, code, message))


class Draft:
    """A mapping that is rewritten. Nodes may stand in several places (aliases), so the original is never changed.

    `what` is what problems call it. `done` returns the original where nothing was changed.
    """

    __slots__ = ("_copied", "_node", "notes", "what")

    def __init__(self, notes: Notes, node: Node, what: str) -> None:
        self.notes = notes
        self.what = what
        self._node = node
        self._copied = False

    def done(self) -> Node:
        """Return the mapping as it is now."""
        return self._node

    # -- what it has

    def __contains__(self, name: str) -> bool:
        return name in self._node.value

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._node.value))

    def __len__(self) -> int:
        return len(self._node.value)

    def get(self, name: str) -> Node | None:
        """Return a value, None where the key is absent."""
        found: Node | None = self._node.value.get(name)
        return found

    def key(self, name: str) -> Node:
        """Return a key as it stands in the file."""
        return self._node.keys[name]

    def word(self, name: str) -> str:
        """Return a value that is plain text, empty where it is not."""
        found = self.get(name)
        return found.value if found is not None and isinstance(found.value, str) else ""

    # -- changes

    def put(self, name: str, value: Node, key: Node) -> None:
        """Set a value; `key` is the place it is known by."""
        node = self._own()
        node.value[name] = value
        node.keys[name] = key

    def take(self, name: str) -> tuple[Node, Node]:
        """Remove a key and return it with its value."""
        node = self._own()
        return node.keys.pop(name), node.value.pop(name)

    def rename(self, words: Mapping[str, str]) -> None:
        """Put each older word of a table into its canonical one, in its place among the others."""
        for old, new in words.items():
            if old in self and not self.both(old, new):
                self.notes.hint(self.key(old), f"write {new!r} instead of {old!r}")
                node = self._own()
                node.value = {new if name == old else name: value for name, value in node.value.items()}
                node.keys = {new if name == old else name: key for name, key in node.keys.items()}

    def both(self, old: str, new: str) -> bool:
        """Report two spellings of one thing, and go on with the canonical one."""
        if new not in self:
            return False
        # The key may have come from another older word: what stands in the file is what is told.
        written = self.key(new).text
        self.notes.error(self.key(old), "unknown-key", f"{self.what} has both {written!r} and {old!r}: leave one out")
        self.take(old)
        return True

    def move(self, other: "Draft", name: str) -> None:
        """Take a key over from another mapping; an error where both have it."""
        key, value = other.take(name)
        if name in self:
            told = f"{self.what} has {name!r}, and so has {other.what}: leave one out"
            self.notes.error(key, "unknown-key", told)
        else:
            self.put(name, value, key)

    def unknown(self, name: str, known: Iterable[str]) -> None:
        """Report a key that means nothing here, and drop it."""
        key, _ = self.take(name)
        hint = did_you_mean(name, known) or f": the keys are {', '.join(sorted(known))}"
        self.notes.error(key, "unknown-key", f"unknown key {name!r} in {self.what}{hint}")

    def _own(self) -> Node:
        """Return the mapping as a copy of its own."""
        if not self._copied:
            old = self._node
            self._node = mapping(old, dict(old.value), dict(old.keys))
            self._copied = True
        return self._node


def mapping(place: Node, value: dict[str, Node], keys: dict[str, Node]) -> Node:
    """Return a new mapping that stands where another node does."""
    return Node("mapping", place.line, place.column, value=value, keys=keys)


def items(place: Node, value: list[Node]) -> Node:
    """Return a new list that stands where another node does."""
    return Node("list", place.line, place.column, value=value)


def text(place: Node, value: str, *, apart: bool = False) -> Node:
    """Return a new text that stands where another node does; `apart`: its lines are not the file's."""
    return Node("scalar", place.line, place.column, value=value, text=value, apart=apart)
