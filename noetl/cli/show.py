"""What the commands print: results on stdout, everything else on stderr."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


_PLACED = re.compile(r"[^\n:]+:\d+:\d+: (error|warning|hint): ")


def complain(message: str) -> None:
    """Print an error on stderr. The problems of a file say themselves where they are and what."""
    text = message if _PLACED.match(message) else f"error: {message}"
    print(text, file=sys.stderr, flush=True)


def note(message: str) -> None:
    """Tell the person something on stderr."""
    print(message, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Print a document on stdout, and nothing beside it."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def terminal(*, stderr: bool = False, width: int | None = None) -> "Console":
    """Return rich's console. Imported here, because it takes its time."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=not stderr, width=width)


def print_table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], *, empty: str) -> None:
    """Print rows as a table for people; a pipe gets the cells separated by tabs, with nothing cut off."""
    if not rows:
        note(empty)
        return
    if not sys.stdout.isatty():
        print("\t".join(columns))
        for row in rows:
            print("\t".join(cell(row.get(name)) for name in columns))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        table.add_column(name.replace("_", " "), no_wrap=True)
    for row in rows:
        table.add_row(*(Text(_short(name, row.get(name)), style=_style(name, row.get(name))) for name in columns))
    # A line that is too long is the terminal's to wrap: an id in two pieces cannot be copied.
    terminal(width=10_000).print(table)


def cell(value: Any) -> str:
    """Return a value as one line of text."""
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = ",".join(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return "".join(char if char.isprintable() else " " for char in text)


def _short(name: str, value: Any) -> str:
    """Return a value as a person wants to see it: times to the second."""
    text = cell(value)
    return text[:19].replace("T", " ") if name.endswith("_at") else text


STYLES = {
    "completed": "green",
    "failed": "red",
    "cancelled": "yellow",
    "failing": "red",
    "cancelling": "yellow",
    "offline": "dim",
    "stopped": "dim",
}


def _style(name: str, value: Any) -> str:
    return STYLES.get(str(value), "") if name == "status" else ""
