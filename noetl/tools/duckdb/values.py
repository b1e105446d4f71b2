"""Values of DuckDB's columns, as the JSON that the postgres tool writes for the same value.

DuckDB's driver loses the months of an interval, returns an infinite date as the last one of the calendar, and gives a
float the digits of a double. So columns of such types, or with such types in them, are read as DuckDB's text.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from noetl.tools.sql.bind import Bound
from noetl.tools.sql.quoting import identifier
from noetl.tools.sql.values import iso_moment, jsonable, real

if TYPE_CHECKING:
    import duckdb

ValueReader = Callable[[Any], Any]

_QUERY_WORDS: Final = frozenset({"SELECT", "WITH", "FROM", "VALUES", "TABLE"})
_INTERVAL_UNIT: Final = re.compile(r"(-?\d+) (year|month|day)s?")
_INTERVAL_CLOCK: Final = re.compile(r"(-?)(\d+):(\d\d):(\d\d(?:\.\d+)?)$")


@dataclass(frozen=True, slots=True)
class ReadColumn:
    """A column to read: its name, the type that it is cast to (None: its own), and the reader of its values."""

    name: str
    cast: str | None
    read: ValueReader


def columns_of(conn: "duckdb.DuckDBPyConnection", command: Bound) -> list[ReadColumn] | None:
    """Return the columns of a query; None for a command that is no query, or that fails, which its run will say."""
    if command.words[:1] and command.words[0] not in _QUERY_WORDS and not command.text.startswith("("):
        return None
    import duckdb

    try:
        described = conn.execute(f"DESCRIBE {command.text}", list(command.values or ())).fetchall()
    except duckdb.Error:
        return None
    return [_column(name, type_) for name, type_, *_ in described]


def rewritten(command: Bound, columns: Sequence[ReadColumn]) -> str:
    """Return a query with its columns cast to the types that are read; the same text where no column is cast."""
    if not any(column.cast for column in columns):
        return command.text
    names = [f"c{place}" for place in range(len(columns))]
    listed = ", ".join(
        f"CAST({name} AS {column.cast})" if column.cast else name for name, column in zip(names, columns, strict=True)
    )
    return f"SELECT {listed} FROM (\n{command.text}\n) AS t({', '.join(names)})"


def _column(name: str, type_: str) -> ReadColumn:
    import duckdb

    try:
        cast, read = _reading(duckdb.type(type_))
    except duckdb.InvalidInputException:  # a struct without names, which no cast can name either
        cast, read = None, jsonable
    return ReadColumn(name, cast, read)


def _reading(type_: Any) -> tuple[str | None, ValueReader]:
    """Return the type to cast to, None where no cast is needed, and the reader of the value."""
    leaf = _LEAF_READERS.get(type_.id)
    if leaf is not None:
        return "VARCHAR", leaf
    match type_.id:
        case "list" | "array":
            ((_, inner), *rest) = type_.children
            cast, read = _reading(inner)
            size = rest[0][1] if rest else ""
            return cast and f"{cast}[{size}]", lambda value: None if value is None else [read(item) for item in value]
        case "struct":
            fields = [(name, inner, *_reading(inner)) for name, inner in type_.children]
            readers = {name: read for name, _, _, read in fields}
            parts = ", ".join(f"{identifier(name)} {cast or inner}" for name, inner, cast, _ in fields)
            return (
                f"STRUCT({parts})" if any(cast for _, _, cast, _ in fields) else None,
                lambda value: _struct(value, readers),
            )
        case "map":
            (_, key), (_, item) = type_.children
            (key_cast, read_key), (item_cast, read_item) = _reading(key), _reading(item)
            cast = f"MAP({key_cast or key}, {item_cast or item})" if key_cast or item_cast else None
            return cast, lambda value: _map(value, read_key, read_item)
        case _:
            return None, jsonable


def _struct(value: Any, readers: dict[str, ValueReader]) -> Any:
    if not isinstance(value, dict):  # a struct without names is a tuple
        return None if value is None else [read(item) for read, item in zip(readers.values(), value, strict=True)]
    return {name: readers[name](item) for name, item in value.items()}


def _map(value: Any, read_key: ValueReader, read_item: ValueReader) -> Any:
    if value is None:
        return None
    return jsonable({read_key(key): read_item(item) for key, item in value.items()})


# ---- leaves ----------------------------------------------------------------------------------------------------------


def _text(read: Callable[[str], Any]) -> ValueReader:
    return lambda value: None if value is None else read(value)


def _moment(text: str) -> str:
    before_christ = " (BC)" in text
    return text.replace(" (BC)", "") + " BC" if before_christ else iso_moment(text)


def _interval(text: str) -> str:
    """Return DuckDB's `1 year 2 months 04:05:06` as Postgres' ISO 8601 style writes it: P1Y2MT4H5M6S."""
    date = "".join(f"{amount}{unit[0].upper()}" for amount, unit in _INTERVAL_UNIT.findall(text))
    clock_match = _INTERVAL_CLOCK.search(text)
    clock = ""
    if clock_match:
        sign, hours, minutes, seconds = clock_match.groups()
        exact = seconds.rstrip("0").rstrip(".") if "." in seconds else seconds
        amounts = ((str(int(hours)), "H"), (str(int(minutes)), "M"), (exact.lstrip("0") or "0", "S"))
        clock = "".join(
            f"{sign}{'0' if amount.startswith('.') else ''}{amount}{unit}" for amount, unit in amounts if amount != "0"
        )
    return f"P{date}{'T' + clock if clock else ''}" if date or clock else "PT0S"


_LEAF_READERS: Final[dict[str, ValueReader]] = {
    "interval": _text(_interval),
    "float": _text(lambda text: real(float(text))),
    "time": _text(str),
    "time with time zone": _text(iso_moment),
    "date": _text(_moment),
    **dict.fromkeys(
        ("timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", "timestamp with time zone"), _text(_moment)
    ),
}
