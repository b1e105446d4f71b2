"""The state of an execution, folded from its events: small enough to be written with every completion.

Everything in it is a plain dict, list, int or string, and is replaced, never changed in place, one level down: so a
copy is a handful of shallow dict copies, and the JSON form is the state itself.

An **arrival** is `[event_id, edge]`: the event that gave it and the edge it came along (-1: the beginning of the
workflow or of `finally`). A third number, where there is one, is the event of the failure that is being handled on
this branch; it is what `error` means in a template.
"""

from typing import Any, NotRequired, TypedDict

from noetl.words import ExecutionStatus

Arrival = list[int]


class LoopState(TypedDict):
    """A loop that runs.

    Each item that has begun and not ended has a job or a loop of its own: so the state stays as small as the loop's
    concurrency, whatever its length.
    """

    first: int  # the event that began it
    count: int  # its items
    limit: int  # of them, how many run at a time
    begun: int
    ended: int
    failed: int
    skipped: NotRequired[int]  # of the ended ones
    error: NotRequired[int]  # the event of the item for whose failure nothing more begins
    stopped: NotRequired[int]  # 1 where a loop around it was stopped


_OPTIONAL_FIELDS = (
    "loops",
    "leaf",
    "end",
    "failure",
    "cleanup",
    "outcome",
    "result",
    "draining",
    "killing",
    "timed_out",
    "cancels",
    "pool",
    "priority",
)


class State:
    """The folded state of one execution.

    `runs`     step -> [visit, the arrivals that began it]: step runs that have begun and not ended (one of a step)
    `visits`   step -> visits begun so far
    `pending`  step -> arrivals that have begun no visit yet, in order
    `results`  step -> event that holds the result of its last completed visit (of a loop: the one that began it)
    `loops`    node -> the loop that runs there: the step or, in the item 3 of an outer loop, `step/3`
    `leaf`     the last step in the playbook's order that ended a branch
    `end`      the arrivals that began the last visit of `end`
    `failure`  event that holds the error for which the execution fails or was cancelled
    `cleanup`  event that holds the error for which `finally` failed
    `outcome`  how the execution will end, once `finally` has begun
    `result`   event that holds the execution's result, once it is known
    `draining` nothing new begins; `killing`: running attempts are ended, too
    `cancels`  how often somebody asked for a cancel; `timed_out`: its timeout has passed
    `pool`, `priority`  given at the start, for steps that name none
    """

    __slots__ = (
        "cancels",
        "cleanup",
        "draining",
        "end",
        "failure",
        "killing",
        "last_event_id",
        "leaf",
        "loops",
        "outcome",
        "pending",
        "pool",
        "priority",
        "result",
        "results",
        "runs",
        "status",
        "timed_out",
        "visits",
    )

    def __init__(self) -> None:
        self.status: ExecutionStatus = ExecutionStatus.RUNNING
        self.last_event_id = 0
        self.runs: dict[str, list[Any]] = {}
        self.visits: dict[str, int] = {}
        self.pending: dict[str, list[Arrival]] = {}
        self.results: dict[str, int] = {}
        self.loops: dict[str, LoopState] = {}
        self.leaf: str | None = None
        self.end: list[Arrival] | None = None
        self.failure = 0
        self.cleanup = 0
        self.outcome: str | None = None
        self.result = 0
        self.draining = False
        self.killing = False
        self.timed_out = False
        self.cancels = 0
        self.pool: str | None = None
        self.priority: int | None = None

    def copy(self) -> "State":
        """Return a state that can be changed without touching this one."""
        new = State.__new__(State)
        new.status = self.status
        new.last_event_id = self.last_event_id
        new.runs = self.runs.copy()
        new.visits = self.visits.copy()
        new.pending = self.pending.copy()
        new.results = self.results.copy()
        new.loops = self.loops.copy()
        new.leaf = self.leaf
        new.end = self.end
        new.failure = self.failure
        new.cleanup = self.cleanup
        new.outcome = self.outcome
        new.result = self.result
        new.draining = self.draining
        new.killing = self.killing
        new.timed_out = self.timed_out
        new.cancels = self.cancels
        new.pool = self.pool
        new.priority = self.priority
        return new

    def to_json(self) -> dict[str, Any]:
        """Return the state as plain JSON types, sharing its parts: serialise it before the state changes."""
        out: dict[str, Any] = {
            "status": self.status,
            "last_event_id": self.last_event_id,
            "runs": self.runs,
            "visits": self.visits,
            "pending": self.pending,
            "results": self.results,
        }
        for name in _OPTIONAL_FIELDS:
            value = getattr(self, name)
            if value or (value is not None and name == "priority"):
                out[name] = value
        return out

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "State":
        """Return the state that `to_json` was called on; it keeps the parts of `data`."""
        new = cls()
        new.status = ExecutionStatus(data["status"])
        new.last_event_id = data["last_event_id"]
        new.runs = data["runs"]
        new.visits = data["visits"]
        new.pending = data["pending"]
        new.results = data["results"]
        for name in _OPTIONAL_FIELDS:
            if name in data:
                setattr(new, name, data[name])
        return new

    def __eq__(self, other: object) -> bool:
        return isinstance(other, State) and self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"State({self.to_json()!r})"
