"""Printing by the commands: results on stdout, everything else on stderr."""

import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

import typer

from noetl.errors import InputError
from noetl.reasons import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


_PLACED_PROBLEM = re.compile(r"[^\n:]+:\d+:\d+: (error|warning|hint): ")


def complain(message: str) -> None:
    """Print an error on stderr. The problems of a file say themselves where they are and what."""
    text = message if _PLACED_PROBLEM.match(message) else f"error: {message}"
    print(text, file=sys.stderr, flush=True)


def note(message: str) -> None:
    """Tell the person something on stderr."""
    print(message, file=sys.stderr, flush=True)


def confirmed(question: str) -> bool:
    """Ask before something is deleted. Raises `InputError` where nobody can be asked."""
    if not sys.stdin.isatty():
        raise InputError(f"{question} Nobody can be asked without a terminal: give --yes")
    return typer.confirm(question, err=True)


def print_json(value: object) -> None:
    """Print a document on stdout, and nothing beside it."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def open_console(*, stderr: bool = False, width: int | None = None) -> "Console":
    """Return rich's console. Imported here, because it takes its time."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=not stderr, width=width)


def print_table(
    columns: Sequence[str], rows: Sequence[Mapping[str, object]], *, empty: str, wide: bool = False
) -> None:
    """Print rows as a table that fits the terminal, the widest columns cut with an ellipsis (`wide`: nothing is cut).

    A pipe gets the cells separated by tabs, with nothing cut off.
    """
    if not rows:
        if empty:
            note(empty)
        return
    if not sys.stdout.isatty():
        print("\t".join(columns))
        for row in rows:
            print("\t".join(cell(row.get(name)) for name in columns))
        return
    table = [_Column(name, [_short(name, row.get(name), wide=wide) for row in rows]) for name in columns]
    table = [column for column in table if any(column.cells)]
    widths = [max(len(column.head), *map(len, column.cells)) for column in table]
    if not wide:
        widths = fitting(widths, [len(column.head) for column in table], [column.is_whole for column in table])
    from rich.text import Text

    console = open_console(width=10_000)  # nothing is wrapped here: an id in two pieces cannot be copied
    heads = [f"{_cut(column.head, width):<{width}}" for column, width in zip(table, widths, strict=True)]
    console.print(Text("  ".join(heads).rstrip(), "bold"))
    for number in range(len(rows)):
        line = Text("  ").join(column.shown(number, width) for column, width in zip(table, widths, strict=True))
        line.rstrip()
        console.print(line)


@dataclass(frozen=True, slots=True)
class _Column:
    """One column of a table for people."""

    name: str
    cells: list[str]

    @property
    def head(self) -> str:
        return self.name.replace("_", " ")

    @property
    def is_whole(self) -> bool:
        """Tell whether its cells are never cut: half an id or a status is worth nothing."""
        return self.name.endswith(("_id", "parent", "status"))

    def shown(self, number: int, width: int) -> "Text":
        """Return one cell as wide as the column."""
        from rich.text import Text

        text = _cut(self.cells[number], width, keep_end=self.name in ("path", "file"))
        style = STATUS_STYLES.get(self.cells[number], "") if self.name == "status" else ""
        return Text(f"{text:<{width}}", style)


def fitting(widths: Sequence[int], least: Sequence[int], fixed: Sequence[bool], total: int | None = None) -> list[int]:
    """Return the widths of columns so that a line fits the terminal: the widest give way, but no id and no head.

    >>> fitting([18, 30, 40], [4, 4, 4], [True, False, False], 60)
    [18, 19, 19]
    """
    room = (total or shutil.get_terminal_size().columns) - 2 * (len(widths) - 1)
    fitted = list(widths)
    while sum(fitted) > room:
        free = [n for n in range(len(fitted)) if not fixed[n] and fitted[n] > max(least[n], 6)]
        if not free:
            break
        fitted[max(free, key=lambda n: fitted[n])] -= 1
    return fitted


def _cut(text: str, width: int, *, keep_end: bool = False) -> str:
    """Return a text of at most this width. The end of a path says the most."""
    if len(text) <= width:
        return text
    return "…" + text[len(text) - width + 1 :] if keep_end else text[: width - 1] + "…"


def safe(text: str, stream: TextIO) -> str:
    """Return a line as it may be written to a stream: a terminal is not told to obey what the line holds."""
    return visible(text) if stream.isatty() else text


def cell(value: object) -> str:
    """Return a value as one line of text."""
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = ",".join(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return "".join(char if char.isprintable() else " " for char in text)


def _short(name: str, value: object, *, wide: bool) -> str:
    """Return a value as a person wants to see it: times to the second, or shorter where room is scarce."""
    text = cell(value)
    if not name.endswith("_at"):
        return text
    text = text[:19].replace("T", " ")
    if wide or not text:
        return text
    return text[11:] if text[:10] == datetime.now(UTC).date().isoformat() else text[:16]


STATUS_STYLES = {
    "completed": "green",
    "failed": "red",
    "cancelled": "yellow",
    "failing": "red",
    "cancelling": "yellow",
    "offline": "dim",
    "stopped": "dim",
}
