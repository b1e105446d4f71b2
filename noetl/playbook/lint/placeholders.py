"""Checks the placeholders of SQL against `params`, as far as both are written out in the file.

The rules are those by which the tools bind values; what a template puts into the text or the params is not known.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from noetl.playbook.lint.codes import Code
from noetl.playbook.lint.sql import Mark, look_at
from noetl.playbook.read.reader import Reader
from noetl.playbook.yaml.positions import place_in
from noetl.playbook.yaml.tree import Node

_TRANSACTION: Final = frozenset({"BEGIN", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE"})


def check_placeholders(reader: Reader, texts: Sequence[Node], params: Node, type_: str, what: str) -> None:
    """Report placeholders without a value; with a list of params also values without a placeholder."""
    if any("{%" in text.value for text in texts):
        return
    marks = [(text, mark) for text in texts for mark in look_at(text.value).marks]
    if params.kind == "mapping":
        for text, mark in marks:
            if (told := _by_name(mark, params.value)) is not None:
                _report(reader, text, mark, what, told)
    elif params.kind == "list":
        _check_list(reader, marks, params, type_, what, whole=not any("{{" in text.value for text in texts))


def _by_name(mark: Mark, params: Mapping[str, Node]) -> str | None:
    if mark.kind == "name" and mark.name not in params:
        return f"the SQL names {mark.sign}, which is not in params (there is {', '.join(sorted(params)) or 'nothing'})"
    if mark.kind == "number":
        return f"the SQL has {mark.sign}, but params is a mapping: give a list, or write :name"
    return None


def _check_list(
    reader: Reader, marks: list[tuple[Node, Mark]], params: Node, type_: str, what: str, *, whole: bool
) -> None:
    used: set[int] = set()
    first = ""
    for place, text, mark in _placed(marks, type_):
        first = first or mark.kind
        if place is None:
            _report(reader, text, mark, what, f"the SQL names {mark.sign}, but params is a list: give a mapping")
        elif mark.kind != first:
            _report(
                reader, text, mark, what, f"the SQL has {mark.sign} beside another kind of placeholder: keep to one"
            )
        elif not 0 <= place < len(params.value):
            count = len(params.value)
            told = f"the SQL has {mark.sign} for value {place + 1}, but params has {count}"
            _report(reader, text, mark, what, told)
        else:
            used.add(place)
    for place, value in enumerate(params.value):
        if whole and place not in used:
            told = f"params of {what}: no placeholder of the SQL takes params[{place}]: write $1 or %s where it goes"
            reader.error(value, Code.SQL, told)


def _placed(marks: list[tuple[Node, Mark]], type_: str) -> Iterator[tuple[int | None, Node, Mark]]:
    """Yield each placeholder with the place of its value in a list, None where it has a name."""
    following = 0
    for text, mark in marks:
        if mark.kind == "number":
            yield int(mark.name) - 1, text, mark
        elif mark.kind == "name":
            yield None, text, mark
        elif mark.kind == "format" or type_ == "duckdb":
            yield following, text, mark
            following += 1


def check_transactions(reader: Reader, text: Node, what: str) -> None:
    """Report what begins or ends a transaction where the step is one."""
    if "atomic" in text.value.casefold():
        return  # BEGIN ATOMIC ... END may be the body of a function
    for index, word in look_at(text.value).commands:
        if word.upper() in _TRANSACTION:
            line, column = place_in(reader.lines, text, index, word)
            told = (
                f"{what} is one transaction from its first command to its last: leave {word} out, or give once: false"
            )
            reader.report(line, column, "error", Code.SQL, told)


def _report(reader: Reader, text: Node, mark: Mark, what: str, told: str) -> None:
    line, column = place_in(reader.lines, text, mark.index, mark.sign)
    reader.report(line, column, "error", Code.SQL, f"{what}: {told}")
