"""What an execution has done and waits for, read for those who ask why: its steps, failures, jobs, and the workers.

Every list is bounded. Runs in a transaction that already has the search path.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from noetl.database.paging import Connection, Row, fetch
from noetl.database.runtime import STALE_SECONDS
from noetl.database.sql import sql
from noetl.words import EventType

JOBS = 20
FAILURES = 10
AHEAD = 1000
"""The most jobs of an execution, failures, and jobs before one of them, that are looked at."""

_STEP_EVENTS = [
    EventType.STEP_QUEUED,
    EventType.STEP_COMPLETED,
    EventType.STEP_FAILED,
    EventType.STEP_SKIPPED,
    EventType.STEP_CANCELLED,
    EventType.ATTEMPT_FAILED,
    EventType.LEASE_EXPIRED,
]


class JobFacts(NamedTuple):
    """A job as it is explained: times are ISO texts. `due` is when its wait is over, in microseconds since 1970."""

    id: str
    node_id: str
    visit: int
    item_index: int
    status: str
    pool: str
    priority: int
    attempts: int
    failures: int
    lost: int
    available_at: str | None
    lease_until: str | None
    worker_id: str | None
    child: str | None
    due: int | None
    expired: bool | None


class StepFacts(NamedTuple):
    """The newest event of a step. `result` is the beginning of its JSON, `loop` the counters of a loop that runs."""

    step: str
    type: str
    event_type: str
    visit: int
    attempt: int | None
    worker_id: str | None
    duration: float | None
    queued_at: datetime | None
    at: datetime
    result: str | None
    result_ref: int | None
    error: Mapping[str, Any] | None
    looped: bool
    loop: Mapping[str, Any] | None


class FailedAttempt(NamedTuple):
    """An attempt that failed."""

    attempt: int
    error: Mapping[str, Any] | None
    meta: Mapping[str, Any] | None


def read_steps(conn: Connection, execution_id: int) -> list[StepFacts]:
    """Return the newest event of each step that has begun, in the order in which they began, with its result's
    beginning and, while a loop runs, the loop's counters."""
    kinds = [str(kind) for kind in _STEP_EVENTS]
    return [
        StepFacts._make(row) for row in conn.execute(sql("select_steps"), {"execution": execution_id, "kinds": kinds})
    ]


def read_failures(conn: Connection, execution_id: int) -> list[Row]:
    """Return the steps that failed for good, the first ones, with their errors."""
    return fetch(conn, sql("select_failures"), {"execution": execution_id, "limit": FAILURES})


def read_jobs(conn: Connection, execution_id: int) -> list[JobFacts]:
    """Return what of an execution stands in the queue, the oldest first."""
    return [JobFacts(**row) for row in fetch(conn, sql("select_jobs"), {"execution": execution_id, "limit": JOBS})]


class PoolWorkers(NamedTuple):
    """The living workers of a pool, and their slots together."""

    workers: int
    slots: int


def read_workers(conn: Connection) -> dict[str, PoolWorkers]:
    """Return the living workers of each pool that has some."""
    rows = conn.execute(sql("select_pool_slots"), {"seconds": STALE_SECONDS})
    return {pool: PoolWorkers(workers, slots) for pool, workers, slots in rows}


def has_own_worker(conn: Connection, root_execution_id: str) -> bool:
    """Tell whether an execution's tree has a worker of its own, as `noetl run` starts one: it serves every pool."""
    parameters = {"seconds": STALE_SECONDS, "root": root_execution_id}
    return conn.execute(sql("select_own_worker"), parameters).fetchone() is not None


def read_silence(conn: Connection, workers: Iterable[str]) -> dict[str, float]:
    """Return for how many seconds these workers have said nothing; one that has left has said nothing ever since."""
    return dict(conn.execute(sql("select_silence"), {"workers": sorted(workers)}).fetchall())


def jobs_before(conn: Connection, job: JobFacts) -> int:
    """Return how many jobs of its pool are claimed before a queued one, at most `AHEAD`."""
    parameters = {"pool": job.pool, "priority": job.priority, "job": int(job.id), "limit": AHEAD}
    row = conn.execute(sql("count_jobs_before"), parameters).fetchone()
    return int(row[0]) if row else 0


def last_failure(conn: Connection, execution_id: int, job: JobFacts) -> FailedAttempt | None:
    """Return a job's last attempt that failed, or None."""
    parameters = {"execution": execution_id, "node": job.node_id, "visit": job.visit, "item": job.item_index}
    row = conn.execute(sql("select_last_failure"), parameters).fetchone()
    return None if row is None else FailedAttempt._make(row)


def why_quarantined(conn: Connection, execution_id: int, node_id: str) -> str:
    """Return why a job was quarantined, as the error log has it."""
    parameters = {"execution": execution_id, "node": node_id}
    row = conn.execute(sql("select_quarantine_reason"), parameters).fetchone()
    return str(row[0]) if row else ""
