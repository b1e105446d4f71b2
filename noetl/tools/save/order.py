"""The order of a save: what it is to store, and how, read from a call's fields and checked by the rules of `save`."""

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from noetl.calls import Call
from noetl.rules.save import (
    EVENT_LOG,
    FIELDS,
    FORMATS,
    INSERT,
    MODES,
    foreign_fields,
    format_of,
    misplaced_fields,
)
from noetl.rules.sql import split
from noetl.tools.base import InvalidCall
from noetl.tools.save.rows import Row, columns_of, last_of_each, rows_of
from noetl.tools.sql.bind import Bound, bind, check_text, kind_of, refuse_transactions


@dataclass(frozen=True, slots=True)
class Order:
    """The data of a save and its target: one of `table`, `statements` and `path`."""

    storage: str
    rows: list[Row]
    table: str = ""
    key: tuple[str, ...] = ()  # of an upsert
    statements: tuple[tuple[Bound, ...], ...] = ()  # one for each time that the statement is run
    path: str = ""
    format: str = ""

    @property
    def columns(self) -> list[str]:
        return columns_of(self.rows)

    def result(self, count: int, table: str = "") -> bytes:
        """Return the result of the step."""
        targets = {"table": table or self.table, "path": self.path}
        target = {name: value for name, value in targets.items() if value}
        return orjson.dumps({"saved": self.storage, **target, "row_count": count})


def storage_of(call: Call) -> str:
    """Return the storage of a call. Raises `InvalidCall`, also for fields that do not go with it."""
    storage = call.fields.get("storage") or EVENT_LOG
    if not isinstance(storage, str) or storage not in FIELDS:
        raise InvalidCall(f"storage {storage!r} is not one of {', '.join(FIELDS)}")
    for name in foreign_fields(storage, _given(call.fields)):
        raise InvalidCall(f"{name} does not go with storage {storage}: leave it out")
    return storage


def _given(fields: Mapping[str, object]) -> list[str]:
    return [name for name, value in fields.items() if value is not None]


def read_order(call: Call, storage: str) -> Order:
    """Return the order of a call. Raises `InvalidCall`."""
    fields = call.fields
    if storage == "file":
        path = _text(fields, "path")
        return Order(storage, _rows(fields), path=path, format=_format(fields, path))
    if (fields.get("table") is None) is (fields.get("statement") is None):
        both = fields.get("table") is not None
        raise InvalidCall(f"storage {storage} needs {'either table or statement, not both' if both else 'a table'}")
    mode = fields.get("mode") or INSERT
    for name, reason in misplaced_fields(_given(fields), mode):
        raise InvalidCall(f"{name} {reason}")
    if fields.get("statement") is not None:
        return _statement(fields, storage)
    rows, key = _rows(fields), _key(mode, fields.get("key"))
    unknown = [name for name in key if rows and name not in columns_of(rows)]
    if unknown:
        raise InvalidCall(f"data has no {unknown[0]!r}, which is part of the key")
    return Order(storage, last_of_each(rows, key) if key else rows, table=_text(fields, "table"), key=key)


def _rows(fields: Mapping[str, object]) -> list[Row]:
    if fields.get("data") is None:
        raise InvalidCall("there is nothing to save: give data")
    return rows_of(fields["data"])


def _key(mode: object, key: object) -> tuple[str, ...]:
    if mode not in MODES:
        raise InvalidCall(f"mode {mode!r} is neither insert nor upsert")
    if mode == INSERT:
        return ()
    names = [key] if isinstance(key, str) else key
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise InvalidCall("mode upsert needs a key: the name of a column, or a list of names")
    return tuple(names)


def _statement(fields: Mapping[str, object], storage: str) -> Order:
    text, params, data = _text(fields, "statement"), fields.get("params"), fields.get("data")
    commands = split(text)
    if not commands:
        raise InvalidCall("statement has no command in it")
    question = storage == "duckdb"
    named = any(place.kind == "name" for command in commands for place in command.placeholders)
    if params is None and data is not None and named:
        bound = tuple(tuple(bind(commands, row, question=question)) for row in rows_of(data))
    else:
        bound = (tuple(bind(commands, params, question=question)),)
    for each in bound[:1]:
        refuse_transactions(each)
    return Order(storage, [], statements=bound)


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise InvalidCall(f"{name} must be text, not {'empty' if value == '' else kind_of(value)}")
    check_text(name, value)
    return value


def _format(fields: Mapping[str, object], path: str) -> str:
    named = fields.get("format")
    if named is not None:
        if named not in FORMATS:
            raise InvalidCall(f"format {named!r} is not one of {', '.join(FORMATS)}")
        return str(named)
    format_ = format_of(path)
    if format_ is None:
        raise InvalidCall(f"the path {path!r} does not say its format: give format ({', '.join(FORMATS)})")
    return format_
