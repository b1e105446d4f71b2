"""Plain JSON values: the one gate every result passes on its way into the log.

Light on purpose: the children that run somebody's code import this and little else.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from itertools import islice
from typing import Any, Final

import orjson
from orjson import dumps  # under a name of our own: a step may patch the module's

from noetl.errors import TooLarge, ValueNotJson
from noetl.rules.text import text_fault

MAX_DEPTH: Final = 200
"""How deep a value may be nested."""

_MIN_INTEGER: Final = -(2**63)
_MAX_INTEGER: Final = 2**64 - 1
_OPTIONS: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS


def plain(value: object, limit: int, name: str = "result") -> bytes:
    """Return a value as JSON text. Tuples become lists, subclasses of plain types their base.

    `limit` is in bytes; `name` is what error messages call the value. Raises `ValueNotJson` naming the path to
    what is not JSON (NaN, infinity, NUL, lone surrogates, integers beyond 64 bits, keys that are not text, sets,
    other types, too deep), or `TooLarge`.
    """
    try:
        text = dumps(value, default=_base, option=_OPTIONS)
    except (orjson.JSONEncodeError, RecursionError) as error:
        raise ValueNotJson(_explain(value, name) or f"{name} is not JSON: {error}") from None
    if not _numbers_are_finite(value) or b"\\u0000" in text:
        reason = _explain(value, name)
        if reason:
            raise ValueNotJson(reason)
    if len(text) > limit:
        raise TooLarge(
            f"{name} has {len(text):,} bytes as JSON, the limit is {limit:,}: return less, or store the data"
            " elsewhere and return where it is"
        )
    return text


def _base(value: object) -> Any:
    """Return a subclass of a plain type as that type, for orjson."""
    kinds: tuple[tuple[type, Callable[[Any], Any]], ...] = (
        (dict, dict),
        (list, list),
        (tuple, list),
        (str, str.__str__),
        (int, int),
        (float, float),
    )
    for kind, convert in kinds:
        if isinstance(value, kind):
            return convert(value)
    raise TypeError(type(value).__name__)


def _numbers_are_finite(value: Any) -> bool:
    """Whether nothing in a value is what orjson writes without asking: NaN, infinity, an Enum, a UUID."""
    stack = [value]
    pop, extend = stack.pop, stack.extend
    while stack:
        item = pop()
        kind = type(item)
        if kind is str or kind is int or kind is bool or item is None:
            continue
        if kind is dict:
            extend(item.values())
        elif kind is list or kind is tuple:
            extend(item)
        elif kind is float:
            if not math.isfinite(item):
                return False
        elif isinstance(item, dict):
            extend(item.values())
        elif isinstance(item, (list, tuple)):
            extend(item)
        else:
            return False
    return True


def _explain(value: object, name: str) -> str | None:
    """Return the sentence about the first thing in a value that is not JSON, or None."""
    stack: list[tuple[str, Any, int]] = [(name, value, 0)]
    while stack:
        path, item, depth = stack.pop()
        if depth > MAX_DEPTH:
            return f"{path[:200]} is nested more than {MAX_DEPTH} levels deep (or contains itself)"
        reason = _fault(path, item)
        if reason:
            return reason
        stack.extend((inner, child, depth + 1) for inner, child in reversed(list(_children(path, item))))
    return None


def _children(path: str, item: object) -> Iterator[tuple[str, Any]]:
    if isinstance(item, dict):
        for key, child in item.items():
            yield (f"{path}.{key}" if key.isidentifier() else f"{path}[{key!r}]"), child
    elif isinstance(item, (list, tuple)):
        for index, child in enumerate(item):
            yield f"{path}[{index}]", child


def _fault(path: str, item: object) -> str | None:
    """Return the reason for which one item, its children left out, is not JSON; None if it is."""
    if item is None or isinstance(item, bool):
        return None
    if isinstance(item, Enum):
        return f"{path} is a {type(item).__name__}, which is not JSON: return its .value"
    if isinstance(item, str):
        fault = text_fault(item)
        return f"{path} {fault}" if fault else None
    if isinstance(item, int):
        if not _MIN_INTEGER <= item <= _MAX_INTEGER:
            return f"{path} is an integer beyond 64 bits ({brief(item)}): return it as text"
        return None
    if isinstance(item, float):
        return None if math.isfinite(item) else f"{path} is {item!r}, which JSON cannot hold: return None or text"
    if isinstance(item, dict):
        for key in item:
            if not isinstance(key, str):
                return f"{path} has the key {brief(key)} of type {type(key).__name__}: keys must be text"
            fault = text_fault(key)
            if fault:
                return f"a key of {path} {fault}"
        return None
    if isinstance(item, (list, tuple)):
        return None
    advice = "return a list" if isinstance(item, (set, frozenset)) else "return plain data"
    return f"{path} is a {type(item).__name__}, which is not JSON: {advice}"


def brief(value: object, most: int = 40) -> str:
    """Return a value as an error message can show it, whatever it is: short, and made in a moment."""
    if isinstance(value, int) and value.bit_length() > 256:
        return f"{value.bit_length()} bits"
    text = _shown(value, most, 0)
    return text if len(text) <= most else text[: most - 3] + "..."


def _shown(value: object, most: int, depth: int) -> str:
    if isinstance(value, str):
        return repr(str.__str__(value[:most]))
    if isinstance(value, (int, float, bool)) or value is None:
        return repr(value) if not isinstance(value, int) or value.bit_length() <= 256 else "..."
    if depth > 2:
        return "..."
    if isinstance(value, Mapping):
        pairs = islice(value.items(), most // 4)
        inner = ", ".join(f"{_shown(key, most, depth + 1)}: {_shown(item, most, depth + 1)}" for key, item in pairs)
        return f"{{{inner}}}"
    if isinstance(value, (list, tuple)):
        inner = ", ".join(_shown(item, most, depth + 1) for item in islice(value, most // 2))
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    if isinstance(value, (bytes, bytearray)):
        return repr(value[:most])
    return f"a {type(value).__name__}"
