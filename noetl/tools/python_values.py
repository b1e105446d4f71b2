"""Values of Python that JSON lacks, as the postgres tool writes them: dates, decimals, UUIDs, sets, dataclasses."""

import datetime as dt
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from noetl.errors import ValueNotJson
from noetl.playbook.values import MAX_DEPTH
from noetl.tools.sql.values import interval, number


def without_objects(value: object, depth: int = 0) -> Any:
    """Return a value with such objects written as text, numbers, lists and mappings; the rest of it stays.

    A set becomes a list, in ascending order where its items have one. Raises `ValueNotJson` for what is nested too
    deep, or contains itself.
    """
    if depth > MAX_DEPTH:
        raise ValueNotJson(f"result is nested more than {MAX_DEPTH} levels deep (or contains itself)")
    match value:
        case str() | bool() | int() | float() | None:
            return value
        case Decimal():
            return number(format(value, "f"))
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case dt.timedelta():
            return interval(value)
        case UUID():
            return str(value)
        case dict():
            return {_key(key): without_objects(item, depth + 1) for key, item in value.items()}
        case set() | frozenset():
            return [without_objects(item, depth + 1) for item in _in_order(value)]
        case list() | tuple():
            return [without_objects(item, depth + 1) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: without_objects(getattr(value, field.name), depth + 1) for field in fields(value)}
    return value


def _key(key: object) -> Any:
    return without_objects(key) if isinstance(key, (dt.date, dt.time, UUID)) else key


def _in_order(items: set[Any] | frozenset[Any]) -> list[Any]:
    try:
        return sorted(items)
    except TypeError:
        return list(items)
