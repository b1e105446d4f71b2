"""The completion of leased jobs, in batches: one transaction for the outcomes that gathered during the last one.

    decide against the state as last seen        (before the transaction; pure)
    lock executions, remove jobs by their fence  (first round trip)
    decide again where the state had moved on    (rare)
    events, states, next jobs, commit            (second round trip)

An outcome whose job is no longer ours is dropped: somebody else has run it, and only one of both is recorded.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import orjson
import psycopg
from psycopg import Connection

from noetl.database import store
from noetl.database.rows import FinishedJob, LockedRow
from noetl.engine.state import State
from noetl.engine.values import NotLoaded
from noetl.jobs import Job
from noetl.orchestrator.attempt import Leased
from noetl.orchestrator.batch import BatchPart, Finished, NeedsLock, Withdrawal, make_part, quarantine
from noetl.orchestrator.execution_cache import ExecutionCache, load_missing, load_until_done
from noetl.orchestrator.start import insert_child
from noetl.orchestrator.write import Rows, add_part, first_at, write

log = logging.getLogger("noetl.orchestrator")

MAX_STREAK_STEPS = 16
"""Steps for which the same worker continues an execution while others wait."""

MAX_STREAK_SECONDS = 1.0


@dataclass(slots=True)
class CommittedBatch:
    """The consequences of a transaction for the worker that made it."""

    leased: list[Leased] = field(default_factory=list)  # the next jobs, which stay with this worker
    postponed: list[Finished] = field(default_factory=list)  # their execution was locked: try again
    dropped: list[Finished] = field(default_factory=list)  # the job was no longer ours
    queued: bool = False  # other workers may have something to do
    due: float | None = None  # seconds until the first of the jobs that wait for a time


@dataclass(slots=True)
class BatchCommitter:
    """Writes the outcomes of one worker's jobs, with the jobs that follow from them."""

    schema: str
    worker: str
    lease: float
    inline_limit: int
    cache: ExecutionCache

    def commit_batch(
        self,
        conn: Connection,
        finished: list[Finished],
        *,
        room: int,
        idle: bool,
        waiting: bool = False,
        patience: str = "1s",
    ) -> CommittedBatch:
        """Write outcomes in one transaction. `room`: how many next jobs this worker can continue with; `idle`: the last
        claim came back short, so nobody waits for a slot; `waiting`: wait for locked executions, for each at most
        `patience`.

        Raises `psycopg.OperationalError` when the connection is lost: send the same again after reading back; and
        `LockNotAvailable` when a lock could not be had within `patience`.
        """
        batch = _Batch(self, conn, finished, room, idle, waiting)
        try:
            return batch.commit(patience)
        finally:
            for item in finished:  # a decision that was not written has left values that never became events
                item.execution.values.begin()


class _Batch:
    """One transaction in the making."""

    def __init__(
        self,
        committer: BatchCommitter,
        conn: Connection,
        finished: list[Finished],
        room: int,
        idle: bool,
        waiting: bool,
    ) -> None:
        self._committer = committer
        self._conn = conn
        self._finished = finished
        self._room = room
        self._idle = idle
        self._waiting = waiting
        self._rows = Rows()
        self._written: list[tuple[BatchPart, list[Job], int]] = []  # with the jobs that stay here, and the first time
        self._committed = CommittedBatch()
        self._todo: dict[int, list[Finished]] = {}  # by execution, until its lock is had
        for item in finished:
            self._todo.setdefault(item.execution.execution_id, []).append(item)

    def commit(self, patience: str) -> CommittedBatch:
        """Decide and write everything; what could not be locked is postponed."""
        ahead: dict[int, BatchPart | None] = {}
        if not self._waiting:  # an execution that is waited for will have moved on
            ahead = {execution_id: self._decide_ahead(items) for execution_id, items in self._todo.items()}
        with store.transaction(self._conn, self._committer.schema, patience=patience):
            for row in self._remove_jobs():
                items = self._todo.pop(row.execution_id)
                part = self._decide_locked(row, items, ahead.get(row.execution_id))
                if part is not None:
                    self._add(part, items, row)
            inserted = write(self._conn, self._rows, worker=self._committer.worker, lease=self._committer.lease)
        # Asked for inside, the ids would cost the commit a round trip of its own.
        ids = inserted.get() if inserted is not None else {}
        for items in self._todo.values():
            self._postpone(items)
        self._remember(ids)
        self._committed.queued, self._committed.due = self._rows.queued, self._rows.due
        return self._committed

    def _remove_jobs(self) -> list[LockedRow]:
        """Lock the executions and remove the finished jobs that are still ours."""
        return store.remove_jobs(
            self._conn,
            worker=self._committer.worker,
            known={execution_id: items[0].execution.state.last_event_id for execution_id, items in self._todo.items()},
            jobs=[
                FinishedJob(item.job.job_id, item.job.attempts, item.expired, item.execution.execution_id)
                for item in self._finished
            ],
            waiting=self._waiting,
        )

    def _decide_ahead(self, items: list[Finished]) -> BatchPart | None:
        """Decide before the transaction; None where only the lock's holder can."""
        execution = items[0].execution

        def load(missing: NotLoaded) -> None:
            with store.transaction(self._conn, self._committer.schema, asynchronous=True):
                load_missing(self._conn, execution, missing)

        try:
            return load_until_done(partial(make_part, execution, items), load)
        except NeedsLock:
            return None
        except psycopg.Error:
            raise
        except Exception:  # noqa: BLE001 - an outcome that is recorded already has no place: the lock's holder sees
            return None

    def _decide_locked(self, row: LockedRow, items: list[Finished], ahead: BatchPart | None) -> BatchPart | None:
        """Return what to write for a locked execution: what was decided ahead, or decided again where the execution has
        moved on since; None where no job was ours."""
        execution = items[0].execution
        ours, others = _parted(items, set(zip(row.removed, row.attempts, strict=True)))
        self._committed.dropped += others
        execution.contended = execution.contended and row.state is not None
        if row.state is not None:
            execution.state, execution.last_event_at = State.from_json(orjson.loads(row.state)), row.last_event_at
        if not ours:
            return None
        if ahead is not None and not others and row.state is None:
            return ahead

        def load(missing: NotLoaded) -> None:
            load_missing(self._conn, execution, missing)

        try:
            withdrawal = Withdrawal(self._conn, execution.execution_id)
            return load_until_done(partial(make_part, execution, ours, withdrawal), load)
        except psycopg.Error:
            raise
        except Exception as error:
            log.error("execution %s is quarantined: %r", execution.execution_id, error, exc_info=error)
            return quarantine(execution, ours, f"the engine could not decide ({type(error).__name__}: {error})")

    def _add(self, part: BatchPart, items: list[Finished], row: LockedRow) -> None:
        """Add the rows of one execution, and those of the children that it starts."""
        limit = self._committer.inline_limit
        at = first_at(row.now, row.last_event_at)
        staying = self._jobs_that_stay(part, items)
        self._room -= len(staying)
        for child in part.children:
            insert_child(self._conn, self._rows, child, row.now, limit)
        add_part(self._rows, part, at, limit, {id(job) for job in staying})
        self._written.append((part, staying, at))

    def _jobs_that_stay(self, part: BatchPart, items: list[Finished]) -> list[Job]:
        """Choose the next jobs that stay with this worker: those of a pool that it has just worked for."""
        last = next((item.job for item in items if not item.expired), None)
        if last is None:
            return []
        execution = part.execution
        now = time.monotonic()
        if execution.streak == 0:
            execution.streak_since = now
        if not self._idle and (
            execution.streak >= MAX_STREAK_STEPS or now - execution.streak_since >= MAX_STREAK_SECONDS
        ):
            execution.streak = 0
            return []
        execution.streak += 1
        return [
            job
            for job in part.jobs
            if job.delay is None
            and job.lost == 0
            and not job.job_id
            and job.pool == last.pool
            and job.priority == last.priority
        ][: max(self._room, 0)]

    def _postpone(self, items: list[Finished]) -> None:
        """Postpone outcomes whose execution was locked; one whose lock was waited for is no longer there."""
        if self._waiting:
            self._committed.dropped += items
            return
        items[0].execution.contended = True
        for item in items:
            item.postponed = True
        self._committed.postponed += items

    def _remember(self, ids: Mapping[tuple[int, str, int], int]) -> None:
        """Bring the cached executions up to date with what has been committed."""
        for part, staying, at in self._written:
            execution = part.execution
            execution.state = part.state
            if part.events:
                execution.last_event_at = at + len(part.events) - 1
            execution.values.commit()
            execution.values.trim()
            if part.ended:
                self._committer.cache.forget(execution.execution_id)
            for job in staying:
                job_id = ids[execution.execution_id, job.node_id, job.item_index]
                leased = Leased(execution, job.again(job_id=job_id, attempts=job.attempts + 1), at, at)
                self._committed.leased.append(leased)


def _parted(items: list[Finished], held: set[tuple[int, int]]) -> tuple[list[Finished], list[Finished]]:
    """Part outcomes into those of leases that held, each counting once, and all others."""
    ours: list[Finished] = []
    others: list[Finished] = []
    for item in items:
        lease = (item.job.job_id, item.job.attempts)
        (ours if lease in held else others).append(item)
        held.discard(lease)
    return ours, others
