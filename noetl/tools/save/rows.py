"""Rows of a save: mappings, their columns, and types that hold all their values."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from noetl.tools.base import InvalidCall
from noetl.tools.sql.bind import kind_of
from noetl.tools.sql.quoting import identifier

Row = Mapping[str, Any]

_INT8_RANGE: Final = (-(2**63), 2**63 - 1)


def rows_of(data: object) -> list[Row]:
    """Return the rows of `data`: a mapping is one, a list of mappings several. Raises `InvalidCall`."""
    if isinstance(data, Mapping):
        rows: list[Row] = [data]
    elif isinstance(data, Sequence) and not isinstance(data, str):
        rows = list(data)
    else:
        raise InvalidCall(f"data must be a mapping or a list of mappings, not {kind_of(data)}")
    for place, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise InvalidCall(f"data[{place}] must be a mapping of columns to values, not {kind_of(row)}")
        if not row:
            raise InvalidCall(f"data[{place}] has no columns" if len(rows) > 1 else "data has no columns")
    return rows


def columns_of(rows: Sequence[Row]) -> list[str]:
    """Return the columns of rows, in the order of their first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def last_of_each(rows: Sequence[Row], key: Sequence[str]) -> list[Row]:
    """Return the last row of each key, as if the rows were stored one after the other.

    Raises `InvalidCall` where one has no key.
    """
    by_key: dict[bytes, Row] = {}
    for place, row in enumerate(rows):
        missing = [name for name in key if row.get(name) is None]
        if missing:
            raise InvalidCall(f"data[{place}] has no {missing[0]!r}, which is part of the key")
        by_key[orjson.dumps([row[name] for name in key], default=dict)] = row
    return list(by_key.values())


# ---- types -----------------------------------------------------------------------------------------------------------


def postgres_types(rows: Sequence[Row]) -> dict[str, str]:
    """Return for each column a type of Postgres that holds its values."""
    names = {"BOOLEAN": "boolean", "BIGINT": "bigint", "HUGEINT": "numeric", "DOUBLE": "double precision"}
    types = {name: type_of([row.get(name) for row in rows]) for name in columns_of(rows)}
    return {
        name: names.get(type_, "text" if type_ in ("VARCHAR", "NULL") else "jsonb") for name, type_ in types.items()
    }


def duckdb_types(rows: Sequence[Row]) -> dict[str, str]:
    """Return for each column a type of DuckDB that holds its values."""
    types = {name: type_of([row.get(name) for row in rows]) for name in columns_of(rows)}
    return {name: "VARCHAR" if type_ == "NULL" else type_ for name, type_ in types.items()}


def type_of(values: Sequence[Any]) -> str:
    """Return the narrowest type of DuckDB that holds all values: `NULL` without values, `JSON` where no other
    does. Nested ones are lists and structs."""
    kinds = {_kind(value) for value in values if value is not None}
    if not kinds:
        return "NULL"
    if kinds <= {"BIGINT", "HUGEINT", "DOUBLE"}:
        return "DOUBLE" if "DOUBLE" in kinds else "HUGEINT" if "HUGEINT" in kinds else "BIGINT"
    if len(kinds) > 1:
        return "JSON"
    (kind,) = kinds
    present = [value for value in values if value is not None]
    if kind == "list":
        inner = type_of([item for value in present for item in value])
        return "JSON" if "JSON" in inner or inner == "NULL" else f"{inner}[]"
    if kind == "struct":
        fields = {name: type_of([value.get(name) for value in present]) for name in columns_of(present)}
        if not fields or any("JSON" in inner or inner == "NULL" for inner in fields.values()):
            return "JSON"
        return "STRUCT(" + ", ".join(f"{identifier(name)} {inner}" for name, inner in fields.items()) + ")"
    return kind


def _kind(value: object) -> str:
    match value:
        case bool():
            return "BOOLEAN"
        case int():
            return "BIGINT" if _INT8_RANGE[0] <= value <= _INT8_RANGE[1] else "HUGEINT"
        case float():
            return "DOUBLE"
        case str():
            return "VARCHAR"
        case Mapping():
            return "struct"
        case _:
            return "list"


# ---- names -----------------------------------------------------------------------------------------------------------


def name_parts(table: str) -> list[str]:
    """Return the parts of a name like `schema.table`, in which "quoted parts" may hold points. Raises `InvalidCall`."""
    parts, at = [], 0
    while True:
        if table[at : at + 1] == '"':
            end = at + 1
            while (end := table.find('"', end)) >= 0 and table[end + 1 : end + 2] == '"':
                end += 2
            part, after = table[at + 1 : end].replace('""', '"'), end + 1
            if end < 0:
                part = ""
        else:
            after = len(table) if (point := table.find(".", at)) < 0 else point
            part = table[at:after].strip()
        if not part or (after < len(table) and table[after] != "."):
            raise InvalidCall(f"table {table!r} is not the name of a table: write it as name or schema.name")
        parts.append(part)
        if after >= len(table):
            return parts
        at = after + 1


def create_table(table: str, types: Mapping[str, str]) -> str:
    """Return the statement that makes a table with these columns."""
    return f"CREATE TABLE {table} (" + ", ".join(f"{identifier(name)} {type_}" for name, type_ in types.items()) + ")"
