"""Complete leased jobs in batches: one transaction for all outcomes that came in while the last one was under way.

    decide against the state as last seen        (before the transaction; pure)
    lock executions, remove jobs by their fence  (first round trip)
    decide again where the state had moved on    (rare)
    events, states, next jobs, commit            (second round trip)

An outcome whose job is no longer ours is dropped: somebody else has run it, and only one of both is recorded.
"""

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

import orjson
import psycopg
from psycopg import Connection

from noetl.database import store
from noetl.engine.state import State
from noetl.engine.values import NotLoaded
from noetl.jobs import Job
from noetl.orchestrator.attempt import Leased
from noetl.orchestrator.batch import BatchPart, Finished, NeedsLock, Withdrawal, make_part, quarantine
from noetl.orchestrator.execution_cache import CachedExecution, ExecutionCache, load_missing, loading
from noetl.orchestrator.start import insert_child
from noetl.orchestrator.write import Rows, add_part, by_node, first_at, write

log = logging.getLogger("noetl.orchestrator")

MAX_STREAK_STEPS = 16
"""Steps for which the same worker continues an execution while others wait."""

MAX_STREAK_SECONDS = 1.0


@dataclass(slots=True)
class CompletedBatch:
    """What a completion came to."""

    leased: list[Leased] = field(default_factory=list)  # go on with these
    postponed: list[Finished] = field(default_factory=list)  # their execution was locked: try again
    dropped: list[Finished] = field(default_factory=list)  # the job was no longer ours
    queued: bool = False  # other workers may have something to do
    due: float | None = None  # seconds until the first of the jobs that were put off


@dataclass(slots=True)
class BatchCompleter:
    """The completing half of a worker. `room` and `idle` of a call say how much may be continued."""

    schema: str
    worker: str
    lease: float
    inline_limit: int
    views: ExecutionCache

    def __call__(
        self,
        conn: Connection,
        finished: list[Finished],
        *,
        room: int,
        idle: bool,
        waiting: bool = False,
        patience: str = "1s",
    ) -> CompletedBatch:
        """Complete outcomes. `room`: how many next jobs this worker can take on; `idle`: the last claim came back
        short, so nobody waits for a slot; `waiting`: wait for locked executions; `patience`: for no lock longer.

        Raises `psycopg.OperationalError` when the connection is lost: send the same again after reading back; and
        `LockNotAvailable` when it has waited in vain.
        """
        groups: dict[int, list[Finished]] = {}
        for item in finished:
            groups.setdefault(item.view.execution_id, []).append(item)
        try:
            return self._advance(conn, finished, groups, room=room, idle=idle, waiting=waiting, patience=patience)
        finally:
            for item in finished:  # what was decided and not written brought values that never became events
                item.view.values.begin()

    def _advance(
        self,
        conn: Connection,
        finished: list[Finished],
        groups: dict[int, list[Finished]],
        *,
        room: int,
        idle: bool,
        waiting: bool,
        patience: str,
    ) -> CompletedBatch:
        parts: dict[int, BatchPart | None] = {}
        if not waiting:  # what one waits for will have moved on
            parts = {execution_id: self._speculate(conn, items) for execution_id, items in groups.items()}
        out = CompletedBatch()
        rows = Rows()
        written: list[tuple[BatchPart, list[Job], int]] = []
        with store.transaction(conn, self.schema, patience=patience):
            locked = store.remove_jobs(
                conn,
                worker=self.worker,
                known={execution_id: items[0].view.state.last_event_id for execution_id, items in groups.items()},
                jobs=[(item.job.job_id, item.job.attempts, item.expired, item.view.execution_id) for item in finished],
                waiting=waiting,
            )
            for row in locked:
                items = groups.pop(row.execution_id)
                part, now = self._settle(conn, row, items, parts.get(row.execution_id), out), row.now
                if part is None:
                    continue
                at = first_at(now, row.last_event_at)
                leased = self._continued(part, items, room, idle)
                room -= len(leased)
                for child in part.children:
                    insert_child(conn, rows, child, now, self.inline_limit)
                add_part(rows, part, at, self.inline_limit, {id(job) for job in leased})
                written.append((part, leased, at))
            inserted = write(conn, rows, worker=self.worker, lease=self.lease)
        ids = by_node(inserted)  # asked for inside, it would cost the commit a round trip of its own
        for items in groups.values():
            self._put_off(items, out, waiting)
        self._remember(written, ids, out)
        out.queued = rows.queued
        out.due = rows.due
        return out

    @staticmethod
    def _put_off(items: list[Finished], out: CompletedBatch, waiting: bool) -> None:
        """Take outcomes back whose execution was locked; one that was waited for in vain is no longer there."""
        if waiting:
            out.dropped += items
            return
        items[0].view.contended = True
        for item in items:
            item.put_off = True
        out.postponed += items

    def _speculate(self, conn: Connection, items: list[Finished]) -> BatchPart | None:
        """Decide before the transaction; None where only the lock's holder can."""
        view = items[0].view

        def load(missing: NotLoaded) -> None:
            with store.transaction(conn, self.schema, asynchronous=True):
                load_missing(conn, view, missing)

        try:
            return loading(partial(make_part, view, items), load)
        except NeedsLock:
            return None
        except psycopg.Error:
            raise
        except Exception:  # noqa: BLE001 - an outcome that is recorded already has no place: the lock's holder sees
            return None

    def _settle(
        self, conn: Connection, row: store.LockedRow, items: list[Finished], part: BatchPart | None, out: CompletedBatch
    ) -> BatchPart | None:
        """Return what to write for a locked execution, decided again if the world has moved on."""
        view = items[0].view
        ours, others = _parted(items, set(zip(row.removed, row.attempts, strict=True)))
        if others:
            out.dropped += others
            part = None
        view.contended = view.contended and row.state is not None
        if row.state is not None:
            view.state, view.last_event_at = State.from_json(orjson.loads(row.state)), row.last_event_at
            part = None
        if not ours:
            return None
        if part is not None:
            return part

        def load(missing: NotLoaded) -> None:
            load_missing(conn, view, missing)

        try:
            return loading(partial(make_part, view, ours, Withdrawal(conn, view.execution_id)), load)
        except psycopg.Error:
            raise
        except Exception as error:  # noqa: BLE001 - one execution's failure to be decided is not the batch's
            return self._quarantine(view, ours, error)

    @staticmethod
    def _quarantine(view: CachedExecution, items: list[Finished], error: Exception) -> BatchPart:
        log.error("execution %s is quarantined: %r", view.execution_id, error, exc_info=error)
        return quarantine(view, items, f"the engine could not decide ({type(error).__name__}: {error})")

    @staticmethod
    def _continued(part: BatchPart, items: list[Finished], room: int, idle: bool) -> list[Job]:
        """Choose the next jobs that stay with this worker: those of a pool that it has just worked for."""
        last = next((item.job for item in items if not item.expired), None)
        if last is None:
            return []
        view = part.view
        now = time.monotonic()
        if view.streak == 0:
            view.streak_since = now
        if not idle and (view.streak >= MAX_STREAK_STEPS or now - view.streak_since >= MAX_STREAK_SECONDS):
            view.streak = 0
            return []
        view.streak += 1
        return [
            job
            for job in part.jobs
            if job.delay is None
            and job.lost == 0
            and not job.job_id
            and job.pool == last.pool
            and job.priority == last.priority
        ][: max(room, 0)]

    def _remember(
        self,
        written: Iterable[tuple[BatchPart, list[Job], int]],
        ids: Mapping[tuple[int, str, int], int],
        out: CompletedBatch,
    ) -> None:
        """Bring the views up to date with what has been committed."""
        for part, leased, at in written:
            view = part.view
            view.state = part.state
            if part.events:
                view.last_event_at = at + len(part.events) - 1
            view.values.commit()
            view.values.trim()
            if part.ended:
                self.views.forget(view.execution_id)
            for job in leased:
                job_id = ids[view.execution_id, job.node_id, job.item_index]
                out.leased.append(Leased(view, job.again(job_id=job_id, attempts=job.attempts + 1), at, at))


def _parted(items: list[Finished], held: set[tuple[int, int]]) -> tuple[list[Finished], list[Finished]]:
    """Part outcomes into those of leases that held, each counting once, and all others."""
    ours: list[Finished] = []
    others: list[Finished] = []
    for item in items:
        lease = (item.job.job_id, item.job.attempts)
        (ours if lease in held else others).append(item)
        held.discard(lease)
    return ours, others
