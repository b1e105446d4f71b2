"""The completer of a worker: outcomes become transactions, and each is ours until its commit is acknowledged.

outcomes ──> batches: all in one, apart whose lock is to be waited for ──> one transaction each
               ^                                                               │
               ├──── the execution is locked: with a later batch  <────────────┤
               └──── Postgres refuses what is to be written: one by one  <─────┘

The worker has one connection for all of them. So an execution that somebody else keeps locked costs itself: it is tried
again in growing pauses, and what is spent on waiting for such locks is a small share of the worker's time.
"""

import logging
import math
import time
from collections.abc import Callable, Iterable

import psycopg
from psycopg import Connection
from psycopg.errors import (
    IdleInTransactionSessionTimeout,
    LockNotAvailable,
    ReadOnlySqlTransaction,
    TransactionTimeout,
)

from noetl.orchestrator.batch import Broken, Finished
from noetl.orchestrator.complete import BatchCommitter, CommittedBatch
from noetl.orchestrator.execution_cache import CachedExecution
from noetl.outcomes import Failed, error_value
from noetl.worker.held_jobs import HeldJobs

log = logging.getLogger("noetl.worker")

POSTPONED_SECONDS = 0.1
"""How long an outcome whose execution is locked is tried with the others, before a transaction waits for the lock."""

LOCK_PATIENCE = "200ms"
BRIEF_LOCK_PATIENCE = "20ms"
"""How long a transaction waits for a lock; and one for an execution of which somebody holds more than its row."""

WAITING_SHARE = 20
"""Waits without an end take one part in so many of this worker's time, however many executions are locked."""

MIN_PAUSE_SECONDS = 0.05
MAX_PAUSE_SECONDS = 1.0
"""Seconds between two tries of an execution that stays locked: from one to the other, doubling."""

CROWD_OUTCOMES = 8
"""So many outcomes of an execution that others work on, too, are worth waiting for its lock at once."""

LOCKED_RETRY_SECONDS = 0.01
"""Between two tries of what was found locked a moment ago."""

PASSING_ERRORS = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.ProgrammingError,
    ReadOnlySqlTransaction,
    IdleInTransactionSessionTimeout,
    TransactionTimeout,
)


def passes(error: psycopg.Error) -> bool:
    """Tell whether an error passes by itself, since its cause is not the values that are written: no connection, a
    schema that is being made anew, a server that does not write just now. A limit of Postgres's (class 54) that a value
    exceeds does not pass."""
    return isinstance(error, PASSING_ERRORS) and (error.sqlstate or "")[:2] != "54"


Batch = tuple[list[Finished], bool]
"""The outcomes of one transaction; True: it waits for its execution's lock."""


class Completer:
    """Writes what a worker holds as finished. `room()` and `idle()` say how much may be continued here, `then` is
    called with what each transaction came to."""

    def __init__(
        self,
        committer: BatchCommitter,
        held_jobs: HeldJobs,
        room: Callable[[], int],
        idle: Callable[[], bool],
        then: Callable[[CommittedBatch], None],
    ) -> None:
        self._committer = committer
        self._held_jobs = held_jobs
        self._room = room
        self._idle = idle
        self._then = then
        self._waits_at = 0.0  # monotonic seconds before which no lock of a postponed execution is waited for

    def complete(self, conn: Connection) -> None:
        """Write the outcomes that are there. They stay ours until the commit has been acknowledged.

        Raises what `passes`: the connection is to be opened again, and this to be called again.
        """
        held_jobs, todo = self._held_jobs, self.batches()
        tried = {id(item) for batch, _ in todo for item in batch}
        held_jobs.finished = [item for item in held_jobs.finished if id(item) not in tried]
        try:
            while todo:
                self._commit(conn, *todo[0])
                del todo[0]
        except BaseException:
            known = {id(item) for item in held_jobs.finished}
            held_jobs.finished += [item for batch, _ in todo for item in batch if id(item) not in known]
            raise

    def batches(self) -> list[Batch]:
        """Divide the outcomes that are to be tried now into transactions.

        All that skip what is locked are one. An execution is waited for, apart, where others work on it, too, as on a
        large loop, and many outcomes of it are here, or no others: to try again and again would cost more, and each
        time it is tried its lock is likely to be held. Where an execution has been postponed for long, one at a time is
        waited for, so that each has its turn in the queue for its lock.
        """
        now = time.monotonic()
        executions = by_execution(self._held_jobs.finished)
        together: list[Finished] = []
        apart: list[Batch] = []
        late: list[list[Finished]] = []
        for items in executions.values():
            execution = items[0].execution
            if execution.contended and not execution.in_vain and (len(items) >= CROWD_OUTCOMES or len(executions) == 1):
                apart.append((items, True))
            elif now >= execution.tries_at:
                if self._is_late(items, now) and now >= self._waits_at:
                    late.append(items)
                elif not execution.stuck:
                    together += items
        if late:
            late.sort(key=lambda items: items[0].execution.tries_at)
            apart.append((late[0], not late[0][0].execution.stuck))
            together += [item for items in late[1:] if not items[0].execution.stuck for item in items]
        return [(together, False), *apart] if together else apart

    def due(self) -> float:
        """Return the seconds until outcomes are to be tried, infinite where there are none."""
        if not self._held_jobs.finished:
            return math.inf
        batches = self.batches()
        if batches:
            return 0.0 if any(waiting for _, waiting in batches) else LOCKED_RETRY_SECONDS
        next_try = min(
            max(item.execution.tries_at, self._waits_at * item.execution.stuck) for item in self._held_jobs.finished
        )
        return max(LOCKED_RETRY_SECONDS, next_try - time.monotonic())

    @staticmethod
    def _is_late(items: list[Finished], now: float) -> bool:
        return items[0].execution.stuck or any(
            item.postponed and item.since < now - POSTPONED_SECONDS for item in items
        )

    def _commit(self, conn: Connection, batch: list[Finished], waiting: bool) -> None:
        """Write a batch; where Postgres refuses what one execution writes, only that one fails, and where a lock
        cannot be had, only the execution waits that needs it."""
        begun = time.monotonic()
        try:
            self._commit_batch(conn, batch, waiting)
            return
        except LockNotAvailable:
            executions = by_execution(batch)
            if len(executions) == 1:
                self._postpone(batch, waiting, begun)
                return
            for items in executions.values():
                items[0].execution.stuck = True  # until it has been tried alone
                self._commit(conn, items, False)
            return
        except psycopg.Error as error:
            if passes(error):
                raise
            log.warning("a batch of %d outcomes was refused (%s): trying one by one", len(batch), error)
        for item in batch:
            self._commit_one(conn, item, waiting)

    def _commit_one(self, conn: Connection, item: Finished, waiting: bool) -> None:
        """Write an outcome as what it is, else as a failure; quarantine its job where not even that can be written."""
        reason = self._refused(conn, item, waiting)
        if reason is not None:
            message = f"the outcome of the step cannot be stored: {reason}"
            log.error("execution %s: %s", item.execution.execution_id, message)
            item.outcome = Failed(error_value("not_stored", message))
            reason = self._refused(conn, item, waiting)
        if reason is not None:
            item.outcome = Broken(RuntimeError(f"nothing that follows can be stored: {reason}"))
            self._commit_batch(conn, [item], waiting)

    def _refused(self, conn: Connection, item: Finished, waiting: bool) -> str | None:
        """Write one outcome; return why Postgres refuses what it comes to, None where it does not."""
        try:
            self._commit_batch(conn, [item], waiting)
        except psycopg.Error as error:
            if passes(error):
                raise
            return str(error).strip()
        return None

    def _postpone(self, items: list[Finished], waiting: bool, begun: float) -> None:
        """Keep outcomes of an execution whose lock could not be had: others come first."""
        now = time.monotonic()
        execution = items[0].execution
        execution.contended, execution.in_vain, execution.stuck = False, True, not waiting
        self._waits_at = now + WAITING_SHARE * (now - begun)
        for item in items:
            item.postponed = True
        _pause(execution, now)
        self._held_jobs.finished += items

    def _commit_batch(self, conn: Connection, items: list[Finished], waiting: bool) -> None:
        brief = items[0].execution.stuck
        committed = self._committer.commit_batch(
            conn,
            items,
            room=self._room(),
            idle=self._idle(),
            waiting=waiting,
            patience=BRIEF_LOCK_PATIENCE if brief else LOCK_PATIENCE,
        )
        now = time.monotonic()
        postponed = by_execution(committed.postponed)
        for item in items:
            execution = item.execution
            if execution.execution_id not in postponed:
                execution.in_vain, execution.stuck, execution.pause, execution.tries_at = False, False, 0.0, 0.0
                self._held_jobs.drop(item.job.job_id, item.job.attempts)
        for late in postponed.values():
            late[0].execution.stuck = False  # its row is locked: it is left out without a wait
            if self._is_late(late, now):
                _pause(late[0].execution, now)
        self._held_jobs.finished += committed.postponed
        self._then(committed)


def _pause(execution: CachedExecution, now: float) -> None:
    execution.pause = min(max(2 * execution.pause, MIN_PAUSE_SECONDS), MAX_PAUSE_SECONDS)
    execution.tries_at = now + execution.pause


def by_execution(items: Iterable[Finished]) -> dict[int, list[Finished]]:
    """Group outcomes by their execution, in the order in which they came."""
    groups: dict[int, list[Finished]] = {}
    for item in items:
        groups.setdefault(item.execution.execution_id, []).append(item)
    return groups
