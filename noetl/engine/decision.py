"""The result of `decide`: the rows that the orchestrator writes in one transaction."""

from dataclasses import dataclass, field
from typing import Any

from noetl.engine.events import Event
from noetl.engine.state import State
from noetl.jobs import Job
from noetl.words import EventType, fact


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """A row of `error_log`: an attempt that failed, or a template that could not be rendered."""

    node_id: str
    visit: int
    item_index: int
    attempt: int
    worker_id: str | None
    error_type: str
    message: str
    detail: Any = None


@fact
class Chunk:
    """A row of `loop_item`: a part of what a loop runs over, as a JSON list."""

    node_id: str
    visit: int
    chunk: int
    items: bytes


@fact
class Decision:
    """The new state, the events to append and the jobs to insert, in one transaction.

    `withdraw`: remove this execution's jobs that have not begun (queued, waiting, quarantined) and decide again with
    `Withdrawn` and this `reason`; `within`: only the items of the loop of that node, and of loops in it. `kill`: end
    its running attempts. `ended`: the type of the terminal event, where this was the end. `arrivals[event_id][edge]`
    are the args that this decision's events carry, for a cache.
    """

    state: State
    events: list[Event]
    jobs: list[Job]
    withdraw: bool
    kill: bool
    ended: EventType | None
    arrivals: dict[int, dict[int, Any]]
    errors: list[ErrorRow]
    reason: str = ""
    within: str | None = None
    chunks: list[Chunk] = field(default_factory=list)


def is_within(node_id: str, loop: str) -> bool:
    """Whether the items of a node are those of a loop, or of a loop in it."""
    return node_id == loop or node_id.startswith(loop + "/")
