"""The rules of `save`: the fields that go with each storage and with each other, and the formats of paths."""

from collections.abc import Collection, Iterator, Mapping
from typing import Final

EVENT_LOG: Final = "event_log"
_TABLE: Final = frozenset({"table", "mode", "key", "statement", "params"})
FIELDS: Final[Mapping[str, frozenset[str]]] = {
    EVENT_LOG: frozenset(),
    "postgres": _TABLE,
    "duckdb": _TABLE | {"database"},
    "file": frozenset({"path", "format"}),
}
"""The storages, and the fields that go with each beside `storage` and `data`."""

_OF_A_STORAGE: Final = frozenset[str]().union(*FIELDS.values())

INSERT: Final = "insert"
MODES: Final = (INSERT, "upsert")
FORMATS: Final = ("parquet", "csv", "json")
_SUFFIXES: Final = {"parquet": "parquet", "csv": "csv", "json": "json", "ndjson": "json", "jsonl": "json"}


def format_of(path: str) -> str | None:
    """Return the format that a path's suffix means, None where it means none.

    >>> format_of("out/day.NDJSON"), format_of("out/day.txt")
    ('json', None)
    """
    return _SUFFIXES.get(path.rpartition(".")[2].lower())


def foreign_fields(storage: str, names: Collection[str]) -> list[str]:
    """Return the fields that go with other storages, not with this one.

    >>> foreign_fields("file", ["data", "path", "table"])
    ['table']
    """
    return [name for name in names if name in _OF_A_STORAGE and name not in FIELDS[storage]]


def misplaced_fields(names: Collection[str], mode: object) -> Iterator[tuple[str, str]]:
    """Yield the fields of a save into a database that do not go with its others, each with the reason as a predicate.

    `mode` is None where a template gives it.

    >>> list(misplaced_fields(["statement", "key"], "insert"))
    [('key', 'goes with a table, not with a statement')]
    """
    if "statement" in names:
        yield from ((name, "goes with a table, not with a statement") for name in ("mode", "key") if name in names)
    elif "params" in names:
        yield "params", "go with a statement: a table's values are its data"
    if "statement" not in names and "key" in names and mode == INSERT:
        yield "key", "goes with mode: upsert, which replaces the row that has the same key"
