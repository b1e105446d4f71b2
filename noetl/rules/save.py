"""The rules of `save`: which fields go with a storage, and which format a path means."""

from collections.abc import Mapping
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

MODES: Final = ("insert", "upsert")
FORMATS: Final = ("parquet", "csv", "json")
_SUFFIXES: Final = {"parquet": "parquet", "csv": "csv", "json": "json", "ndjson": "json", "jsonl": "json"}


def format_of(path: str) -> str | None:
    """Return the format that a path's suffix means, None where it means none.

    >>> format_of("out/day.NDJSON"), format_of("out/day.txt")
    ('json', None)
    """
    return _SUFFIXES.get(path.rpartition(".")[2].lower())
