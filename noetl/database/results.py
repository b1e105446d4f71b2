"""What an event gave: in the event itself, in `payload` by reference, or in the events of a loop's items."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from noetl.database.loops import read_loop
from noetl.database.paging import Connection, Row, plain_row
from noetl.database.sql import sql
from noetl.errors import InputError, NotFound
from noetl.words import NO_ITEM, EventType, JsonValue


class EventResult(NamedTuple):
    """An event with what it gave. `has_result`: JSON's null is a result, too."""

    event_id: int
    event_type: str
    node_id: str
    visit: int
    item_index: int
    result: JsonValue
    has_result: bool
    error: JsonValue
    meta: Mapping[str, Any] | None


def ending(conn: Connection, execution_id: int, event_id: int) -> tuple[JsonValue, JsonValue]:
    """Return result and error of an execution that ended with this event."""
    terminal = _select_event_result(conn, execution_id, event_id)
    if terminal is None:
        return None, None
    holder: EventResult | None = terminal
    elsewhere = (terminal.meta or {}).get("result_event")
    if elsewhere is not None and not terminal.has_result:
        holder = _select_event_result(conn, execution_id, elsewhere)
    return (None if holder is None else _followed(conn, execution_id, holder)), terminal.error


def step_result(
    conn: Connection, execution_id: int, step: str, visit: int | None = None, item: str | None = None
) -> Row:
    """Return `{event_id, event_type, node_id, visit, item_index, result, error}` of a step's last visit that has
    ended, of one visit, or of one item of its loop (`3`, or `3/5`: item 5 of the loop that item 3 ran).

    References are followed, a loop's result is the list. Raises `NotFound`, `InputError` for what is no item,
    `TooLarge` where a loop gave more than can be read at once.
    """
    node, index = _place(step, item)
    parameters = {"execution": execution_id, "node": node, "item": index, "visit": visit}
    row = conn.execute(sql("select_step_result"), parameters).fetchone()
    if row is None:
        which = (f" visit {visit}" if visit is not None else "") + (f" item {item}" if item is not None else "")
        raise NotFound(f"execution {execution_id} has no step {step!r}{which} that has ended")
    event = EventResult._make(row)
    return plain_row(
        {
            "event_id": event.event_id,
            "event_type": event.event_type,
            "node_id": event.node_id,
            "visit": event.visit,
            "item_index": event.item_index,
            "error": event.error,
            "result": _followed(conn, execution_id, event),
        }
    )


def _place(step: str, item: str | None) -> tuple[str, int]:
    """Return the node and the index that an item of a step has in the log."""
    if item is None:
        return step, NO_ITEM
    *outer, last = item.split("/")
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in (*outer, last)):
        raise InputError(f"item is {item!r}: write its index, as 3, or 3/5 for a loop within a loop")
    return "/".join([step, *outer]), int(last)


def _select_event_result(conn: Connection, execution_id: int, event_id: int) -> EventResult | None:
    row = conn.execute(sql("select_event_result"), {"execution": execution_id, "event": event_id}).fetchone()
    return None if row is None else EventResult._make(row)


def _followed(conn: Connection, execution_id: int, event: EventResult) -> JsonValue:
    """Return what an event gave; of one that began or ended a loop, the list of what its items gave."""
    loop = event.event_id if event.event_type == EventType.LOOP_STARTED else _loop_of(event)
    return event.result if loop is None else orjson.loads(read_loop(conn, execution_id, loop).items)


def _loop_of(event: EventResult) -> int | None:
    """Return the event that began the loop which ended with this one, if it did."""
    first = ((event.meta or {}).get("loop") or {}).get("first") if event.has_result else None
    return first if isinstance(first, int) else None
