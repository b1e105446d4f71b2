"""Tools for rewriting the tree of a file: mappings are copied before a change, and each change is noted."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from noetl.errors import Problem
from noetl.playbook.lint.codes import Code
from noetl.playbook.read.foreign_words import meant
from noetl.playbook.yaml.tree import Node


@dataclass(slots=True)
class Notes:
    """The findings about older spellings of a file: a hint for each replaced one, and errors."""

    filename: str
    problems: list[Problem] = field(default_factory=list)

    def hint(self, node: Node, message: str) -> None:
        self._add(node, "hint", Code.SPELLING, message)

    def error(self, node: Node, code: Code, message: str) -> None:
        self._add(node, "error", code, message)

    def _add(self, node: Node, severity: str, code: Code, message: str) -> None:
        self.problems.append(Problem(self.filename, node.line, node.column, severity, code, message))


class Draft:
    """A mapping that is rewritten. Nodes may stand in several places (aliases), so the original is never changed.

    `label` names it in messages. `done` returns the original where nothing was changed.
    """

    __slots__ = ("_copied", "_node", "label", "notes")

    def __init__(self, notes: Notes, node: Node, label: str) -> None:
        self.notes = notes
        self.label = label
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
        value: Node | None = self._node.value.get(name)
        return value

    def key(self, name: str) -> Node:
        """Return a key as it stands in the file."""
        return self._node.keys[name]

    def word(self, name: str) -> str:
        """Return a value that is plain text, empty where it is not."""
        value = self.get(name)
        return value.value if value is not None and isinstance(value.value, str) else ""

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

    def look(self, name: str) -> tuple[Node, Node]:
        """Return a key with its value, which stay."""
        return self._node.keys[name], self._node.value[name]

    def rename(self, words: Mapping[str, str]) -> None:
        """Put each older word of a table into its canonical one, in its place among the others."""
        for old, new in words.items():
            if old in self and not self.both(old, new):
                self.notes.hint(self.key(old), f"write {new!r} instead of {old!r}")
                node = self._own()
                node.value = {new if name == old else name: value for name, value in node.value.items()}
                node.keys = {new if name == old else name: key for name, key in node.keys.items()}

    def rename_value(self, name: str, words: Mapping[str, str]) -> None:
        """Put an older word that is a key's value into its canonical one."""
        old = self.word(name)
        if old in words:
            value = self._node.value[name]
            self.notes.hint(value, f"write {words[old]!r} instead of {old!r}")
            self.put(name, text(value, words[old]), self.key(name))

    def leave_out(self, name: str, reason: str) -> None:
        """Drop a key that nothing reads, with a hint that says why."""
        key, _ = self.take(name)
        self.notes.hint(key, f"leave out {name!r}: {reason}")

    def both(self, old: str, new: str) -> bool:
        """Report two spellings of one thing, and go on with the canonical one."""
        if new not in self:
            return False
        # The key may have come from another older word: what stands in the file is what is told.
        written = self.key(new).text
        self.notes.error(
            self.key(old), Code.UNKNOWN_KEY, f"{self.label} has both {written!r} and {old!r}: leave one out"
        )
        self.take(old)
        return True

    def move(self, other: "Draft", name: str) -> None:
        """Take a key over from another mapping; an error where both have it."""
        key, value = other.take(name)
        if name in self:
            message = f"{self.label} has {name!r}, and so has {other.label}: leave one out"
            self.notes.error(key, Code.UNKNOWN_KEY, message)
        else:
            self.put(name, value, key)

    def unknown(self, name: str, known: Collection[str]) -> None:
        """Report a key that means nothing here, and drop it."""
        key, _ = self.take(name)
        self.notes.error(key, Code.UNKNOWN_KEY, f"unknown key {name!r} in {self.label}{meant(name, known, 'step')}")

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


# ---- walking ---------------------------------------------------------------------------------------------------------


def inside(draft: Draft, name: str, change: Callable[[Draft], None]) -> None:
    """Rewrite the mapping that a key holds, or each one of a list."""
    node = draft.get(name)
    if node is None:
        return
    changed = _inside(draft, node, f"{name} of {draft.label}", change)
    if changed is not node:
        draft.put(name, changed, draft.key(name))


def _inside(draft: Draft, node: Node, label: str, change: Callable[[Draft], None]) -> Node:
    if node.kind == "list":
        return each(node, lambda item: _inside(draft, item, label, change))
    if node.kind != "mapping":
        return node
    inner = Draft(draft.notes, node, label)
    change(inner)
    return inner.done()


def each(node: Node, change: Callable[[Node], Node]) -> Node:
    """Return a list with each item changed; the list itself where none was."""
    changed = [change(item) for item in node.value]
    return node if all(new is old for new, old in zip(changed, node.value, strict=True)) else items(node, changed)


def reword(notes: Notes, node: Node, words: Mapping[str, str], seen: dict[int, Node]) -> Node:
    """Return a value in whose templates older names are replaced by today's. `seen` holds the values done already."""
    reworded = seen.get(id(node))
    if reworded is None:
        reworded = seen[id(node)] = _reworded(notes, node, words, seen)
    return reworded


def _reworded(notes: Notes, node: Node, words: Mapping[str, str], seen: dict[int, Node]) -> Node:
    if node.kind == "list":
        return each(node, lambda item: reword(notes, item, words, seen))
    if node.kind == "mapping":
        changed = {name: reword(notes, value, words, seen) for name, value in node.value.items()}
        same = all(changed[name] is value for name, value in node.value.items())
        return node if same else mapping(node, changed, node.keys)
    for old, new in words.items():
        if isinstance(node.value, str) and old in node.value and "{{" in node.value:
            notes.hint(node, f"write {new!r} instead of {old!r}")
            node = replace(node, value=node.value.replace(old, new), text=node.text.replace(old, new))
    return node
