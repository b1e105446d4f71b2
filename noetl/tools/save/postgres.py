"""Saves into a table of Postgres: one statement with one parameter, which Postgres turns into the table's types.

`json_populate_recordset` reads dates, numerics, arrays, composite and JSON types as the columns have them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import psycopg.errors as pg

from noetl.tools.base import InvalidCall
from noetl.tools.postgres.session import Session
from noetl.tools.postgres.values import Value, dump_json
from noetl.tools.save.order import Order
from noetl.tools.save.rows import create_table, name_parts, postgres_types
from noetl.tools.sql.quoting import identifier
from noetl.tools.sql.values import Results, TextReader

FIND_TABLE: Final = "SELECT pg_catalog.to_regclass($1)::pg_catalog.oid"
LIST_COLUMNS: Final = """
SELECT attname::text, pg_catalog.format_type(atttypid, atttypmod) FROM pg_catalog.pg_attribute
 WHERE attrelid = $1::pg_catalog.oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""


LOCATE_VALUE: Final = """
SELECT (line.number - 1)::text, given.key
  FROM pg_catalog.json_array_elements($1::json) WITH ORDINALITY AS line (row, number),
       pg_catalog.json_each(line.row) AS given JOIN pg_catalog.json_each_text($2::json) AS kind ON kind.key = given.key
 WHERE pg_catalog.json_typeof(given.value) NOT IN ('null', 'object', 'array')
   AND NOT pg_catalog.pg_input_is_valid(given.value #>> '{}', kind.value)
 ORDER BY line.number LIMIT 1
"""
"""Finds the first row and column whose value is not of the column's type, from Postgres 16 on."""


@dataclass(frozen=True, slots=True)
class _TableColumn:
    """A column of the table, and its type as SQL writes it."""

    name: str
    type: str

    @property
    def is_json(self) -> bool:
        return self.type in ("json", "jsonb")

    @property
    def is_whole(self) -> bool:
        return self.type in ("smallint", "integer", "bigint")


def job_of(order: Order) -> Callable[[Session], bytes]:
    """Return the work of the transaction. It raises `InvalidCall` and `psycopg.Error`."""
    if order.statements:
        return lambda session: _run(session, order)
    return lambda session: _fill(session, order)


def _run(session: Session, order: Order) -> bytes:
    count = 0
    for commands in order.statements:
        for number, command in enumerate(commands):
            session.command = number
            counted = _RowCounter()
            session.execute(command, counted)
            count += counted.count
    return order.result(count)


class _RowCounter(Results):
    """Results that only count rows."""

    def __init__(self) -> None:
        super().__init__(1 << 30)
        self.count = 0
        self._returns = False

    def begin(self, columns: Sequence[str] = (), *, kept: bool = False) -> None:
        """Begin the next command."""
        self._returns = bool(columns)

    def row(self, values: Sequence[object]) -> None:
        """Count a row that is returned."""
        self.count += 1

    def end(self, affected: int = 0, readers: Mapping[int, TextReader] | None = None) -> None:
        """Count the rows of a command that returned none."""
        self.count += 0 if self._returns else affected


def _fill(session: Session, order: Order) -> bytes:
    table = _table(session, order)
    if not order.rows:
        return order.result(0, table)
    columns = _columns(session, order, table)
    listed = ", ".join(identifier(columns[name].name) for name in order.columns)
    sql = f"INSERT INTO {table} ({listed}) SELECT {listed} FROM json_populate_recordset(NULL::{table}, $1::json)"
    if order.key:
        keys = ", ".join(identifier(columns[name].name) for name in order.key)
        others = [identifier(columns[name].name) for name in order.columns if name not in order.key]
        changes = ", ".join(f"{name} = EXCLUDED.{name}" for name in others)
        sql += f" ON CONFLICT ({keys}) " + (f"DO UPDATE SET {changes}" if changes else "DO NOTHING")
    session.untouched = False
    data = [
        {columns[name].name: _for_column(value, columns[name]) for name, value in row.items()} for row in order.rows
    ]
    try:
        count = session.change(sql, _json(data))
    except (pg.DataError, pg.NotNullViolation) as failure:
        session.place = _place(session, columns, data, failure)
        raise
    except pg.InvalidColumnReference:
        if not order.key:
            raise
        raise InvalidCall(
            f"the table {table} has no unique index on its key: CREATE UNIQUE INDEX ON {table} ({keys})"
        ) from None
    return order.result(count, table)


def _for_column(value: object, column: _TableColumn) -> Any:
    """Return a value as its column takes it: for JSON, a text that is an array or object stands for that; a float
    without a fraction is a whole number."""
    if column.is_whole and isinstance(value, float) and value.is_integer():
        return int(value)
    if not column.is_json or not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return value
    return orjson.Fragment(value)


def _place(
    session: Session, columns: dict[str, _TableColumn], data: list[dict[str, Any]], failure: pg.DatabaseError
) -> tuple[int, str] | None:
    """Return the row and the column that Postgres refused, None where that cannot be told. Ends the transaction."""
    names = {column.name: name for name, column in columns.items()}
    if isinstance(failure, pg.NotNullViolation):
        column = failure.diag.column_name or ""
        rows = [number for number, row in enumerate(data) if row.get(column) is None]
        return (rows[0], names.get(column, column)) if rows else None
    session.rollback()
    kinds = {column.name: column.type for column in columns.values()}
    try:
        refused = session.query(LOCATE_VALUE, _json(data), (0, orjson.dumps(kinds)))
    except pg.Error:  # a server before 16; what it has said of the value is told all the same
        return None
    return (int(refused[0][0]), names[refused[0][1]]) if refused else None


def _json(rows: list[dict[str, Any]]) -> Value:
    return 0, dump_json("data", rows)


def _table(session: Session, order: Order) -> str:
    """Return the table's name as SQL: as it is written, else in small letters. Raises `InvalidCall` without a table."""
    parts = name_parts(order.table)
    for folded in (parts, [part.lower() for part in parts]):
        name = ".".join(identifier(part) for part in folded)
        if session.query(FIND_TABLE, (0, name.encode()))[0][0] is not None:
            return name
    written = ".".join(part if part.isidentifier() and part.islower() else identifier(part) for part in parts)
    hint = f": {create_table(written, postgres_types(order.rows))}" if order.rows else ""
    raise InvalidCall(f"there is no table {order.table!r} in {session.login.where}{hint}")


def _columns(session: Session, order: Order, table: str) -> dict[str, _TableColumn]:
    """Return the column of each name in the data: of that name, or that name in small letters. Raises `InvalidCall`."""
    (oid,) = session.query(FIND_TABLE, (0, table.encode()))[0]
    types = dict(session.query(LIST_COLUMNS, (0, str(oid).encode())))
    known_names = list(types)
    columns: dict[str, _TableColumn] = {}
    for name in order.columns:
        column = name if name in known_names else name.lower()
        if column not in known_names:
            raise InvalidCall(
                f"the table {order.table!r} has no column {name!r}: its columns are {', '.join(known_names)}"
            )
        if any(column == other.name for other in columns.values()):
            raise InvalidCall(f"data has the column {column!r} twice, in capital and in small letters")
        columns[name] = _TableColumn(column, types[column])
    return columns
