"""The one reader of what a loop gave: a list in the order of the input, put together from its items' events.

Nothing is stored twice: the event that ended the loop tells counts only, and who asks for its result, be it a
template, a parent execution, the API or the CLI, asks here.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from psycopg import Connection

from noetl.database import store
from noetl.errors import TooLarge
from noetl.words import EventType

LIMIT: Final = 128 * 1024 * 1024
"""Bytes of JSON that the results of a loop's items may have together, where somebody asks for all of them."""

AT_ONCE: Final = 100
"""Loops within loops that are read in one round trip, at most: as many as will hardly be too much together."""

_COMPLETED: Final = EventType.ITEM_COMPLETED


@dataclass(slots=True)
class LoopValue:
    """A loop's result: `items` is a JSON list, null for each that failed, `errors` are those items' errors."""

    items: bytes
    errors: list[Any]


@dataclass(slots=True)
class _Loop:
    """A loop whose items are being read. `inner` leads from the item to the loop that it ran."""

    results: list[bytes | None]
    errors: list[Any] = field(default_factory=list)
    inner: dict[int, int] = field(default_factory=dict)


def read_loop(conn: Connection, execution: int, first: int) -> LoopValue:
    """Return what a loop gave, which has ended; `first` is the event that began it. Runs inside a transaction.

    One statement, and one for each of the loops in it. Raises `TooLarge`, `LookupError` where the log is damaged.
    """
    loops: dict[int, _Loop] = {}
    left, todo = LIMIT, [first]
    at_once = largest = 1
    while todo:
        at_once = max(1, min(2 * at_once, AT_ONCE, left // largest))
        now, todo = todo[:at_once], todo[at_once:]
        for one, size in _read(conn, execution, now, left, loops):
            left, largest = left - size, max(largest, size)
            if left < 0:
                raise TooLarge(
                    f"the results of the loop have more than {LIMIT:,} bytes as JSON together, which nobody can take"
                    " at once: return less from each item, or save it"
                )
            todo += loops[one].inner.values()
    items, errors = _joined(loops, first)
    return LoopValue(items, errors)


def _read(
    conn: Connection, execution: int, firsts: Iterable[int], left: int, loops: dict[int, _Loop]
) -> list[tuple[int, int]]:
    """Read the items of some loops; return the bytes of each."""
    pending = [(first, store.select_loop_items(conn, execution, first, left)) for first in firsts]
    sizes = []
    for first, answer in pending:
        rows = answer.get()
        count = rows[0].items if rows else None
        if count is None or count != sum(row.item_index is not None for row in rows):
            raise LookupError(f"execution {execution} has no {count} results of loop {first}: the log is damaged")
        loop = loops[first] = _Loop([None] * count)
        for row in rows[:count]:
            index = row.item_index
            if index is None:
                continue
            if row.inner is not None and row.event_type == _COMPLETED:
                loop.inner[index] = row.inner
            elif row.event_type == _COMPLETED and row.result is not None:
                loop.results[index] = row.result.encode()
            elif row.error is not None:
                loop.errors.append(orjson.loads(row.error))
        sizes.append((first, max((row.total or 0 for row in rows), default=0)))
    return sizes


def _joined(loops: dict[int, _Loop], first: int) -> tuple[bytes, list[Any]]:
    """Return the list of a loop, those of its inner loops in it, and all errors in the order of the input."""
    loop = loops[first]
    errors = [(error.get("index", 0), error) for error in loop.errors]
    for index, inner in loop.inner.items():
        loop.results[index], within = _joined(loops, inner)
        errors += [(index, _placed(error, index)) for error in within]
    errors.sort(key=lambda one: one[0])
    return b"[" + b",".join([b"null" if one is None else one for one in loop.results]) + b"]", [
        one for _, one in errors
    ]


def _placed(error: dict[str, Any], index: int) -> dict[str, Any]:
    """Return the error of an inner loop's item as the outer loop tells it: by the indexes of both."""
    indexes = error.get("indexes") or [error.get("index")]
    return {**error, "index": index, "indexes": [index, *indexes]}
