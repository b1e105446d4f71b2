"""What an event gave: in the event itself, in `payload` by reference, or in the events of a loop's items."""

from collections.abc import Mapping
from typing import Any, LiteralString

import orjson
from psycopg.rows import dict_row

from noetl.database.loops import read_loop
from noetl.database.paging import Connection, Row, plain_row
from noetl.errors import InputError, NotFound
from noetl.words import NO_ITEM, EventType

_EVENT: LiteralString = (
    "SELECT event_id, event_type, node_id, visit, item_index, result, result IS NOT NULL AS has_result, result_ref,"
    " error, meta FROM event_log WHERE execution_id = %s"
)
_ENDS = [EventType.STEP_COMPLETED, EventType.STEP_FAILED, EventType.ITEM_COMPLETED, EventType.ITEM_FAILED]


def ending(conn: Connection, execution_id: int, event_id: int) -> tuple[Any, Any]:
    """Return result and error of an execution that ended with this event."""
    terminal = _event(conn, _EVENT + " AND event_id = %s", (execution_id, event_id))
    if terminal is None:
        return None, None
    holder: Mapping[str, Any] | None = terminal
    elsewhere = (terminal["meta"] or {}).get("result_event")
    if elsewhere is not None and not terminal["has_result"] and terminal["result_ref"] is None:
        holder = _event(conn, _EVENT + " AND event_id = %s", (execution_id, elsewhere))
    return (None if holder is None else _followed(conn, execution_id, holder)), terminal["error"]


def step_result(
    conn: Connection, execution_id: int, step: str, visit: int | None = None, item: str | None = None
) -> Row:
    """Return `{event_id, event_type, node_id, visit, item_index, result, error}` of a step's last visit that has
    ended, of one visit, or of one item of its loop (`3`, or `3/5`: item 5 of the loop that item 3 ran).

    References are followed, a loop's result is the list. Raises `NotFound`, `InputError` for what is no item,
    `TooLarge` where a loop gave more than can be read at once.
    """
    node, index = _place(step, item)
    row = _event(
        conn,
        _EVENT + " AND node_id = %s AND item_index = %s AND (%s::integer IS NULL OR visit = %s)"
        " AND event_type = ANY(%s) ORDER BY event_id DESC LIMIT 1",
        (execution_id, node, index, visit, visit, [str(kind) for kind in _ENDS]),
    )
    if row is None:
        which = (f" visit {visit}" if visit is not None else "") + (f" item {item}" if item is not None else "")
        raise NotFound(f"execution {execution_id} has no step {step!r}{which} that has ended")
    names = ("event_id", "event_type", "node_id", "visit", "item_index", "error")
    return plain_row({**{name: row[name] for name in names}, "result": _followed(conn, execution_id, row)})


def _place(step: str, item: str | None) -> tuple[str, int]:
    """Return the node and the index that an item of a step has in the log."""
    if item is None:
        return step, NO_ITEM
    *outer, last = item.split("/")
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in (*outer, last)):
        raise InputError(f"item is {item!r}: write its index, as 3, or 3/5 for a loop within a loop")
    return "/".join([step, *outer]), int(last)


def follow_reference(conn: Connection, execution_id: int, payload_id: int) -> Any:
    """Return a result that is stored by reference, or None."""
    query: LiteralString = "SELECT body FROM payload WHERE execution_id = %s AND payload_id = %s"
    found = conn.execute(query, (execution_id, payload_id)).fetchone()
    return None if found is None else found[0]


def _event(conn: Connection, query: LiteralString, parameters: tuple[Any, ...]) -> Row | None:
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, parameters).fetchone()


def _followed(conn: Connection, execution_id: int, event: Mapping[str, Any]) -> Any:
    loop = event["event_id"] if event["event_type"] == EventType.LOOP_STARTED else _loop_of(event)
    if loop is not None:
        return orjson.loads(read_loop(conn, execution_id, loop).items)
    if event["result_ref"] is not None:
        return follow_reference(conn, execution_id, event["result_ref"])
    return event["result"]


def _loop_of(event: Mapping[str, Any]) -> int | None:
    """Return the event that began the loop which ended with this one, if it did."""
    found = ((event["meta"] or {}).get("loop") or {}).get("first") if event["has_result"] else None
    return found if isinstance(found, int) else None
