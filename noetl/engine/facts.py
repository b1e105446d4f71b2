"""What goes into a decision and what comes out of it: plain values, carried out by the orchestrator.

Results travel as raw JSON text (`bytes`): most are stored without ever being looked at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from noetl.engine.state import State
from noetl.words import CHUNK, NO_ITEM, EventType, fact


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


@dataclass(slots=True)
class Job:
    """A queue row to be inserted. `delay` None: queued now; else waiting that many seconds (inf: until woken).

    `job_id` is set where the row of an earlier attempt goes on (a retry, a wait): it keeps its id and counters.
    """

    node_id: str
    visit: int
    item_index: int = NO_ITEM
    pool: str = "default"
    priority: int = 0
    context: dict[str, Any] = field(default_factory=dict)
    delay: float | None = None
    job_id: int | None = None
    attempts: int = 0
    failures: int = 0
    lost: int = 0


@fact
class Done:
    """The attempt succeeded. `result` is raw JSON; `saved` is what a block `save` keeps in the log beside it."""

    result: bytes
    saved: Any = None


@fact
class Failed:
    """The attempt failed. `error` is `{type, message, retryable, detail}`; types are words like `timeout`,
    `python`, `http`, `template`, `validation`, `cancelled`, `routing`. `result`: what the call gave, where only its
    block `save` failed."""

    error: dict[str, Any]
    result: bytes | None = None


@fact
class Collected:
    """A loop has been told what it runs over. `chunks` are JSON lists of `CHUNK` items each."""

    count: int
    concurrency: int
    chunks: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Expired:
    """The lease ran out: the worker that held it is lost."""


@fact
class JobRef:
    """The queue row an outcome belongs to, as it stood when it was removed."""

    job_id: int
    node_id: str
    visit: int
    item_index: int
    attempts: int  # leases granted, this one included
    failures: int
    lost: int
    context: dict[str, Any]
    pool: str = "default"
    priority: int = 0

    @property
    def repeats(self) -> int:
        """How many attempts succeeded and were not what `retry` waits for."""
        found: int = self.context.get("repeats", 0)
        return found


def ref_of(job: Job, job_id: int) -> JobRef:
    """Return the reference to a job that has not begun, by the id that its row has or will have."""
    return JobRef(
        job_id,
        job.node_id,
        job.visit,
        job.item_index,
        job.attempts,
        job.failures,
        job.lost,
        job.context,
        job.pool,
        job.priority,
    )


# ---- inputs of `decide` ------------------------------------------------------------------------------------------


@fact
class Outcome:
    """An attempt has ended; its job has been removed from the queue."""

    job: JobRef
    what: Done | Failed | Expired | Collected
    worker_id: str | None = None
    duration: float | None = None  # seconds it ran
    queued: float | None = None  # seconds it stood in the queue before
    jitter: float = 0.5  # a random number in [0, 1), for the retry's delay


@dataclass(frozen=True, slots=True)
class Start:
    """The execution begins. `event` context: path, version, hash, parent."""

    context: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cancel:
    """Somebody, or the parent, wants it to end."""

    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The execution is past its `timeout`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """These jobs were taken out of the queue before they began, because the last decision asked for it."""

    jobs: tuple[JobRef, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Continue:
    """The job by which a long chain of routers goes on has come up; it has been removed from the queue."""


Input = Start | Outcome | Cancel | TimedOut | Withdrawn | Continue


# ---- what comes out ----------------------------------------------------------------------------------------------


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
    """What is to be carried out, in one transaction: the new state, the events to append, the jobs to insert.

    `withdraw`: remove this execution's jobs that have not begun (queued, waiting, paused) and decide again with
    `Withdrawn` and this `reason`; `within`: only the items of the loop of that node, and of loops in it. `kill`: end
    its running attempts. `ended`: the terminal event's type, when this
    was the end.
    `arrivals[event_id][edge]` are the args that this decision's events carry, for a cache.
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


# ---- what may be read ---------------------------------------------------------------------------------------------


ChunkKey = tuple[str, int, int]
"""A part of a collection: node, visit, number of the chunk."""


class NotLoaded(Exception):
    """A decision needs values that are not at hand: load them and decide again (deciding is pure).

    `events` are event ids of this execution, `chunks` parts of collections: (node, visit, chunk).
    """

    def __init__(self, events: set[int], chunks: set[ChunkKey] | None = None) -> None:
        self.events = events
        self.chunks = chunks or set()
        super().__init__(f"events {sorted(events)} and chunks {sorted(self.chunks)} are not loaded")


class Values:
    """What a decision may read beside the state. The orchestrator fills it, the engine only asks.

    Of an event of this execution it holds the decoded result, the error, and the rendered args of the arrivals
    that it gave. The result of a `loop_started` is the loop's: the list of what its items gave (`LoopResult`). Asking
    for what is not there raises `NotLoaded`; `put_row` answers all that can be asked of one.
    """

    __slots__ = ("_args", "_chunks", "_env", "_errors", "_results", "execution_id", "workload")

    def __init__(self, execution_id: int, workload: Mapping[str, Any], env: Mapping[str, Any] | None = None) -> None:
        self.execution_id = execution_id
        self.workload = workload
        self._env = env or {}
        self._results: dict[int, Any] = {}
        self._args: dict[int, Mapping[int, Any]] = {}
        self._errors: dict[int, Any] = {}
        self._chunks: dict[ChunkKey, Sequence[Any]] = {}

    @property
    def env(self) -> Mapping[str, Any]:
        return self._env

    def put_row(self, event_id: int, result: Any, error: Any, meta: Mapping[str, Any] | None) -> None:
        """Remember all that can be asked of one event, by its decoded columns."""
        self._results[event_id] = result
        self._errors[event_id] = error
        self._args[event_id] = args_in(meta)

    def put_chunk(self, key: ChunkKey, items: Sequence[Any]) -> None:
        """Remember a part of what a loop runs over."""
        self._chunks[key] = items

    def has_error(self, event_id: int) -> bool:
        return event_id in self._errors

    def has_result(self, event_id: int) -> bool:
        return event_id in self._results

    def has_args(self, event_id: int) -> bool:
        return event_id in self._args

    def result(self, event_id: int) -> Any:
        """Return the decoded result of an event. Raises `NotLoaded`."""
        try:
            return self._results[event_id]
        except KeyError:
            raise NotLoaded({event_id}) from None

    def error(self, event_id: int) -> Any:
        """Return the error of an event. Raises `NotLoaded`."""
        try:
            return self._errors[event_id]
        except KeyError:
            raise NotLoaded({event_id}) from None

    def item(self, node_id: str, visit: int, index: int) -> Any:
        """Return one item of what a loop runs over. Raises `NotLoaded`."""
        key = (node_id, visit, index // CHUNK)
        try:
            return self._chunks[key][index % CHUNK]
        except KeyError:
            raise NotLoaded(set(), {key}) from None

    def args(self, event_id: int, edge: int) -> Any:
        """Return the rendered args of one arrival. Raises `NotLoaded`."""
        try:
            return self._args[event_id].get(edge) or {}
        except KeyError:
            raise NotLoaded({event_id}) from None


def args_in(meta: Mapping[str, Any] | None) -> dict[int, Any]:
    """Return the args of the arrivals that an event's `meta` tells of, by edge number."""
    found: dict[int, Any] = {}
    for clause in (meta or {}).get("next") or ():
        for to in clause.get("to") or ():
            if "args" in to:
                found[to["edge"]] = to["args"]
    return found
