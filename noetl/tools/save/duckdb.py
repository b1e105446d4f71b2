"""Saves into a table of DuckDB, or into a file that DuckDB writes.

DuckDB reads the rows as lines of JSON from a temporary file, with the type of each column given: it guesses nothing
from the look of a text.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from noetl.calls import Call
from noetl.outcomes import Done, Failed
from noetl.tools.base import InvalidCall
from noetl.tools.duckdb.open import IN_MEMORY, Opened, file_of, log_in, open_duckdb
from noetl.tools.duckdb.tool import failed_as
from noetl.tools.own_folder import refuse_home
from noetl.tools.save.order import Order
from noetl.tools.save.rows import create_table, duckdb_types, name_parts
from noetl.tools.sql.bind import Bound
from noetl.tools.sql.quoting import identifier, literal

MAX_ROW_BYTES: Final = 1 << 30
_COPY_OPTIONS: Final = {
    "parquet": "FORMAT parquet",
    "csv": "FORMAT csv, HEADER true",
    "json": "FORMAT json, ARRAY true",
    "lines": "FORMAT json",
}


def store(call: Call, order: Order) -> Done | Failed:
    """Store rows. Errors: `validation`, `duckdb`."""
    opened: list[Opened] = []

    def work() -> bytes:
        statements = [command for commands in order.statements for command in commands]
        opened.append(open_duckdb(IN_MEMORY if order.storage == "file" else file_of(call)))
        log_in(opened[0], call.auth, statements)
        if order.storage == "file":
            refuse_home(call, "path", order.path)
            return _write(opened[0], order, call.key)
        opened[0].conn.execute("BEGIN")
        result = _run(opened[0], order, statements) if order.statements else _fill(opened[0], order)
        opened[0].conn.execute("COMMIT")
        return result

    return failed_as(call, work, opened)


def _run(opened: Opened, order: Order, statements: list[Bound]) -> bytes:
    count = 0
    for command in statements:
        cursor = opened.conn.execute(command.text, list(command.values or ()))
        rows = cursor.fetchall()
        counted = [column[0] for column in cursor.description or ()] == ["Count"]
        count += rows[0][0] if counted and rows else len(rows)
    return order.result(count)


# ---- tables ----------------------------------------------------------------------------------------------------------


def _fill(opened: Opened, order: Order) -> bytes:
    table = ".".join(identifier(part) for part in name_parts(order.table))
    types = _types(opened, order, table)
    if not order.rows:
        return order.result(0)
    listed = ", ".join(identifier(name) for name in order.columns)
    with _lines(order.rows) as file:
        sql = f"INSERT INTO {table} ({listed}) SELECT {listed} FROM {_reading(file, types)}"
        if order.key:
            keys = ", ".join(identifier(name) for name in order.key)
            others = [identifier(name) for name in order.columns if name not in order.key]
            changes = ", ".join(f"{name} = EXCLUDED.{name}" for name in others)
            sql += f" ON CONFLICT ({keys}) " + (f"DO UPDATE SET {changes}" if changes else "DO NOTHING")
        rows = opened.conn.execute(sql).fetchall()
    return order.result(rows[0][0])


def _types(opened: Opened, order: Order, table: str) -> dict[str, str]:
    """Return the types of the columns to be filled. Raises `InvalidCall` where the table or a column is not there."""
    import duckdb

    try:
        described = opened.conn.execute(f"DESCRIBE {table}").fetchall()
    except duckdb.CatalogException:
        hint = f": {create_table(table, duckdb_types(order.rows))}" if order.rows else ""
        raise InvalidCall(f"there is no table {order.table!r} in this database{hint}") from None
    there = {row[0]: row[1] for row in described}
    small = {name.lower(): type_ for name, type_ in there.items()}
    missing = [name for name in order.columns if name.lower() not in small]
    if missing:
        raise InvalidCall(f"the table {order.table!r} has no column {missing[0]!r}: its columns are {', '.join(there)}")
    return {name: small[name.lower()] for name in order.columns}


# ---- files -----------------------------------------------------------------------------------------------------------


def _write(opened: Opened, order: Order, key: str) -> bytes:
    """Write a file beside the wanted one, then rename it, so that nobody reads half of it."""
    elsewhere = "://" in order.path
    path = order.path if elsewhere else os.path.abspath(os.path.expanduser(order.path))
    if not elsewhere and not Path(path).parent.is_dir():
        raise InvalidCall(f"there is no folder {str(Path(path).parent)!r} to write {Path(path).name!r} to")
    if not order.rows and order.format == "parquet":
        raise InvalidCall("data has no rows, and so no columns, which a parquet file needs")
    lines = order.format == "json" and path.lower().endswith(("ndjson", "jsonl"))
    # DuckDB compresses by the suffix: the temporary name must have the same.
    beside = (
        path if elsewhere else str(Path(path).with_name(f".{os.getpid()}-{key.encode().hex()[-40:]}-{Path(path).name}"))
    )
    try:
        if order.rows:
            _copy(opened, order, beside, _COPY_OPTIONS["lines" if lines else order.format])
        else:
            Path(beside).write_text("[]\n" if order.format == "json" and not lines else "")
        if not elsewhere:
            os.replace(beside, path)
    finally:
        if not elsewhere:
            Path(beside).unlink(missing_ok=True)
    return order.result(len(order.rows))


def _copy(opened: Opened, order: Order, path: str, options: str) -> None:
    with _lines(order.rows) as file:
        listed = ", ".join(identifier(name) for name in order.columns)
        source = f"SELECT {listed} FROM {_reading(file, duckdb_types(order.rows))}"
        opened.conn.execute(f"COPY ({source}) TO {literal(path)} ({options})")


@contextmanager
def _lines(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    with tempfile.NamedTemporaryFile(prefix="noetl-save-", suffix=".ndjson") as file:
        for row in rows:
            file.write(orjson.dumps(row, default=dict) + b"\n")
        file.flush()
        yield file.name


def _reading(file: str, types: Mapping[str, str]) -> str:
    columns = ", ".join(f"{literal(name)}: {literal(type_)}" for name, type_ in types.items())
    return (
        f"read_json({literal(file)}, format = 'newline_delimited', columns = {{{columns}}},"
        f" maximum_object_size = {MAX_ROW_BYTES})"
    )
