"""Checks the placeholders of SQL against `params`, as far as both are written out in the file.

The rules are those by which the tools bind values; what a template puts into the text or the params is not known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from noetl.playbook.lint.codes import Code
from noetl.playbook.lint.sql import look_at
from noetl.playbook.read.reader import Reader
from noetl.playbook.yaml.tree import Node
from noetl.rules.sql import Numbering, Placeholder, is_about_transactions


@dataclass(frozen=True, slots=True)
class _Mark:
    """A placeholder in one of the texts; `sign` is how it is written."""

    text: Node
    placeholder: Placeholder

    @property
    def sign(self) -> str:
        written: str = self.text.value
        return written[self.placeholder.start : self.placeholder.end]

    def report(self, reader: Reader, label: str, message: str) -> None:
        reader.report_token(self.text, self.placeholder.start, self.sign, "error", Code.SQL, f"{label}: {message}")


def check_placeholders(reader: Reader, texts: Sequence[Node], params: Node, type_: str, label: str) -> None:
    """Report placeholders without a value; with a list of params also values without a placeholder."""
    if any("{%" in text.value for text in texts):
        return
    marks = [_Mark(text, placeholder) for text in texts for placeholder in look_at(text.value).placeholders]
    if params.kind == "mapping":
        for mark in marks:
            if (message := _by_name(mark, params.value)) is not None:
                mark.report(reader, label, message)
    elif params.kind == "list":
        used = _check_list(reader, marks, len(params.value), type_, label)
        for place, value in enumerate(params.value):
            if place not in used and not any("{{" in text.value for text in texts):
                message = f"no placeholder of the SQL takes params[{place}]: write $1 or %s where it goes"
                reader.error(value, Code.SQL, f"params of {label}: {message}")


def _by_name(mark: _Mark, params: Mapping[str, Node]) -> str | None:
    kind, name = mark.placeholder.kind, mark.placeholder.name
    if kind == "name" and name not in params:
        return f"the SQL names {mark.sign}, which is not in params (there is {', '.join(sorted(params)) or 'nothing'})"
    if kind == "number":
        return f"the SQL has {mark.sign}, but params is a mapping: give a list, or write :name"
    return None


def _check_list(reader: Reader, marks: Sequence[_Mark], count: int, type_: str, label: str) -> set[int]:
    """Report placeholders that a list of so many params does not serve; return the places of the values they take."""
    numbering = Numbering(question=type_ == "duckdb")
    used: set[int] = set()
    first = ""
    for mark in marks:
        kind, place = mark.placeholder.kind, numbering.place(mark.placeholder)
        if place is None and kind != "name":
            continue
        first = first or kind
        if place is None:
            mark.report(reader, label, f"the SQL names {mark.sign}, but params is a list: give a mapping")
        elif kind != first:
            mark.report(reader, label, f"the SQL has {mark.sign} beside another kind of placeholder: keep to one")
        elif not 0 <= place < count:
            mark.report(reader, label, f"the SQL has {mark.sign} for value {place + 1}, but params has {count}")
        else:
            used.add(place)
    return used


def check_transactions(reader: Reader, text: Node, label: str) -> None:
    """Report commands that begin or end a transaction where the step is one."""
    for index, words in look_at(text.value).commands:
        if is_about_transactions(words):
            word = text.value[index : index + len(words[0])]
            message = (
                f"{label} is one transaction from its first command to its last: leave {word} out, or give once: false"
            )
            reader.report_token(text, index, word, "error", Code.SQL, message)
