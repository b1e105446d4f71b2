"""Rows of the engine's statements, by name."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import orjson

from noetl.jobs import Job

Row = tuple[Any, ...]

T = TypeVar("T")

JobIds = dict[tuple[int, str, int], int]
"""The ids of inserted jobs by execution, node and item."""


class SupportsFetchall(Protocol):
    """A cursor, or what stands for one."""

    def fetchall(self) -> list[Row]: ...


class Pending(Generic[T]):
    """The answer of a statement that has perhaps not been sent. `get` sends what has been gathered, so a round trip is
    saved where it is called after all statements that belong together, or behind the transaction."""

    __slots__ = ("_cursor", "_read")

    def __init__(self, cursor: SupportsFetchall, read: Callable[[list[Row]], T]) -> None:
        self._cursor = cursor
        self._read = read

    def get(self) -> T:
        """Return the answer."""
        return self._read(self._cursor.fetchall())


JOB_COLUMNS = {
    "node_id": "text",
    "visit": "integer",
    "item_index": "integer",
    "pool": "text",
    "priority": "integer",
    "attempts": "integer",
    "failures": "integer",
    "lost": "integer",
    "id": "bigint",
    "context": "json",
}
"""The columns of the queue that make a `Job`, in the order of its fields, with their types. The statements name them
as `{job_...}` (`noetl.database.sql`)."""

_CONTEXT = list(JOB_COLUMNS).index("context")


def job_of(columns: Sequence[Any]) -> Job:
    """Return the job of a row's first columns."""
    values = list(columns[: len(JOB_COLUMNS)])
    values[_CONTEXT] = orjson.loads(values[_CONTEXT])
    return Job(*values)


class JobRow(NamedTuple):
    """A job with what its worker needs to know about the execution. Times are microseconds since 1970."""

    job: Job
    execution_id: int
    created_at: int
    now: int
    catalog_id: int
    last_event_id: int
    last_event_at: int
    state: str
    root_execution_id: int
    parent_execution_id: int | None
    parent_job_id: int | None
    status: str

    @classmethod
    def of(cls, columns: Sequence[Any]) -> "JobRow":
        """Return the row of a statement that leases jobs, or reads leased ones."""
        return cls(job_of(columns), *columns[len(JOB_COLUMNS) :])


class FinishedJob(NamedTuple):
    """A job that is to be removed, under its fence. `expired`: whosever lease it was has expired."""

    job_id: int
    attempts: int
    expired: bool
    execution_id: int


class LockedRow(NamedTuple):
    """An execution that a completion has locked, and which of its jobs were removed: each with its `attempts`, since
    a worker may bring outcomes of two leases of a job, of which one holds."""

    execution_id: int
    last_event_id: int
    last_event_at: int
    now: int
    state: str | None
    removed: list[int]
    attempts: list[int]


class Lock(NamedTuple):
    """One execution, locked."""

    catalog_id: int
    last_event_id: int
    last_event_at: int
    now: int
    state: str
    root_execution_id: int
    parent_execution_id: int | None
    parent_job_id: int | None
    status: str


class StoredEvent(NamedTuple):
    """What can be asked of an event, as JSON texts. `began_loop`: its result is that of the loop's items."""

    event_id: int
    result: str | None
    meta: str | None
    error: str | None
    began_loop: bool


class StoredChunk(NamedTuple):
    """A part of what a loop runs over: `items` is a JSON list."""

    node_id: str
    visit: int
    chunk: int
    items: str


class LoopItemRow(NamedTuple):
    """How an item of a loop ended, as JSON texts; nothing of it where the loop has none.

    `inner` is the event that began the loop which the item ran, `total` the bytes of all results up to this one,
    `items` how many the loop has.
    """

    item_index: int | None
    event_type: str | None
    result: str | None
    error: str | None
    inner: int | None
    total: int | None
    items: int | None


class Startable(NamedTuple):
    """A catalog version that is to be started, under an id that is new. `used_by`: who used the key before."""

    catalog_id: int
    version: int
    kind: str
    execution_id: int
    used_by: int | None
    now: int


class StartedRow(NamedTuple):
    """An execution that was started before."""

    path: str
    version: int
    status: str


class Ended(NamedTuple):
    """How an execution ended, as JSON texts. `has_result`: whether it has the one that was asked for; `loop`: the event
    that began the loop whose items are the result."""

    status: str
    path: str
    result: str | None
    error: str | None
    has_result: bool
    loop: int | None


class CatalogRow(NamedTuple):
    """A catalog version with its text."""

    catalog_id: int
    path: str
    version: int
    kind: str
    content: str
    content_hash: str
