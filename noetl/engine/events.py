"""The events of an execution, as rows of the log before they are written."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from noetl.words import NO_ITEM, EventType


@dataclass(slots=True)
class Event:
    """One row of the event log. `event_id` counts from 1 in its execution; the time is given when it is written."""

    event_id: int
    event_type: EventType
    node_id: str = ""
    node_type: str = ""
    visit: int = 0
    item_index: int = NO_ITEM
    attempt: int = 0
    worker_id: str | None = None
    duration: float | None = None  # seconds the attempt ran
    context: dict[str, Any] | None = None
    result: bytes | None = None  # raw JSON
    error: dict[str, Any] | None = None
    meta: dict[str, Any] | None = None


def args_in(meta: Mapping[str, Any] | None) -> dict[int, Any]:
    """Return the args of the arrivals that an event's `meta` tells of, by edge number."""
    args: dict[int, Any] = {}
    for clause in (meta or {}).get("next") or ():
        for to in clause.get("to") or ():
            if "args" in to:
                args[to["edge"]] = to["args"]
    return args
