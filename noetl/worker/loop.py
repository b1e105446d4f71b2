"""The worker loop: one thread that claims jobs, hands them to the executor and completes them.

    poll the executor ──> complete outcomes (one transaction) ──> continue with the next steps
         ^                                                            │
         └────────────── claim for the slots that are free <──────────┘

Nothing here waits but `Executor.poll` and the database. While a commit is under way, outcomes gather for the next one:
one when idle, a hundred under load, never a timer. Leases are renewed by the maintenance thread, on a connection of its
own, so that they do not depend on this one.
"""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

import psycopg
from psycopg import Connection

from noetl.database import store
from noetl.database.connection.connect import Database
from noetl.database.connection.notify import notify
from noetl.database.leases import select_leases, select_unchanged
from noetl.database.rows import JobRow
from noetl.errors import DatabaseError
from noetl.logs import TroubleLog
from noetl.orchestrator.batch import Finished
from noetl.orchestrator.complete import BatchCommitter, CommittedBatch
from noetl.outcomes import Done, Expired, Failed, error_value
from noetl.worker.answers import Computed, NotBegun, Report
from noetl.worker.claimer import Claimer
from noetl.worker.completer import Completer
from noetl.worker.pulse import Pulse

log = logging.getLogger("noetl.worker")

MIN_POLL_SECONDS = 0.02
MAX_POLL_SECONDS = 0.5
"""Seconds between claims that find nothing: from one to the other, backing off."""

CLAIM_INTERVAL_SECONDS = 0.1
"""Seconds after which a claim happens even if this worker has enough to do, so that nobody starves."""

OWN_PROMOTION_SECONDS = 1.0
OWN_PROMOTION_ROWS = 100
"""Jobs that wait for at most so many seconds are queued by their own worker, so many at a time."""

NOTIFY_INTERVAL_SECONDS = 0.01

QUIET_SECONDS = 5.0
"""How long nothing goes wrong before a trouble counts as over: a full disk lets some statements through."""


class WorkerLoop:
    """The loop of one worker. `run` returns when it was told to stop and holds nothing any more."""

    def __init__(
        self, database: Database, claimer: Claimer, *, drain_seconds: float = 25.0, pulse: Pulse | None = None
    ) -> None:
        self._database = database
        self._settings = settings = claimer.settings
        self._schema = database.schema
        self._claimer = claimer
        self._cache = claimer.cache
        self._executor = claimer.executor
        self.held_jobs = claimer.held_jobs
        self._worker = claimer.held_jobs.worker_id
        self._completer = Completer(
            BatchCommitter(self._schema, self._worker, settings.lease_seconds, settings.inline_limit, claimer.cache),
            self.held_jobs,
            self._room,
            lambda: not self._last_claim_full,
            self._completed,
        )
        self._drain_seconds = drain_seconds
        self.pulse = pulse or Pulse()
        self._conn: Connection | None = None
        self._trouble = TroubleLog(log)
        self._draining = False
        self._reports: deque[Report] = deque()
        self._last_claim_full = False
        self._poll = MIN_POLL_SECONDS
        self._next_claim = 0.0
        self._due = math.inf  # when a job that waits for a moment is to be queued
        self._last_claim = 0.0
        self._last_notify = 0.0
        self._owes_notify = False
        # Written by the maintenance thread; each is one atomic operation.
        self.inbox: deque[Callable[[], None]] = deque()
        self.claim_now = threading.Event()
        self.lost_waiting = threading.Event()

    # ---- the loop ------------------------------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; then begin nothing new and complete what runs. Raises nothing that passes by
        itself: a lost connection is opened again."""
        give_up, self._draining = None, False
        while True:
            self.pulse.turn()
            try:
                if self._conn is None:
                    self._connect()
                self._turn()
            except (psycopg.Error, DatabaseError) as error:  # no connection, or a schema that is being made anew
                self._disconnect(error)
                self._reports += self._executor.poll(0.2)  # timeouts count, also while the database is away
            if stop.is_set() and give_up is None:
                give_up = time.monotonic() + self._drain_seconds
                self._draining = True
                self._executor.recall()  # what has not begun comes back with the next poll
            if give_up is None:
                continue
            if self.held_jobs.empty or time.monotonic() > give_up:
                break
        self._leave()

    def _turn(self) -> None:
        self._reports += self._executor.poll(self._timeout())
        while self._reports:
            self._take(self._reports.popleft())
        while self.inbox:
            self.inbox.popleft()()
        if self.held_jobs.finished:
            self._completer.complete(self._connected())
        if not self._draining:
            self._promote()
            self._claim()
        if self._owes_notify and time.monotonic() - self._last_notify >= NOTIFY_INTERVAL_SECONDS:
            self._notify()
        self._trouble.over("the database serves again", quiet=QUIET_SECONDS)

    def _timeout(self) -> float:
        if self.inbox:
            return 0.0
        again = min(self._completer.due(), NOTIFY_INTERVAL_SECONDS if self._owes_notify else MAX_POLL_SECONDS)
        if again <= NOTIFY_INTERVAL_SECONDS or self._draining:
            return again
        next_due = min(self._due, time.monotonic() + again)
        if self.held_jobs.isolated is None:  # else nothing is claimed, whatever is due
            if self.claim_now.is_set() and self._executor.free > 0:
                return 0.0
            next_due = min(next_due, self._next_claim)
        return max(0.0, min(next_due - time.monotonic(), MAX_POLL_SECONDS))

    # ---- taking ----------------------------------------------------------------------------------------------------

    def _claim(self) -> None:
        now = time.monotonic()
        urgent = self.claim_now.is_set()
        if self.held_jobs.isolated is not None or not (urgent or now >= self._next_claim):
            return
        free = self._executor.free
        if free <= 0:
            self._next_claim = now + CLAIM_INTERVAL_SECONDS
            return
        self.claim_now.clear()
        self._last_claim = now
        conn = self._connected()
        if self.lost_waiting.is_set():
            self.lost_waiting.clear()
            lost = self._claimer.claim_lost(conn)
            if lost:
                self._claimer.take(conn, lost)
                return
        rows = self._claimer.claim(conn, free)
        self._last_claim_full = len(rows) >= free
        if rows:
            self._poll = MIN_POLL_SECONDS
            self._next_claim = now if self._last_claim_full else now + MIN_POLL_SECONDS
        else:
            self._poll = min(self._poll * 1.5, MAX_POLL_SECONDS)
            self._next_claim = now + self._poll
        self._claimer.take(conn, rows)

    def _promote(self) -> None:
        """Queue the jobs of this worker that wait for less than the second after which the maintenance thread looks."""
        now = time.monotonic()
        if now < self._due:
            return
        conn = self._connected()
        with store.transaction(conn, self._schema, asynchronous=True):
            count, seconds = store.promote_jobs(conn, limit=OWN_PROMOTION_ROWS)
        self._due = math.inf if seconds is None or seconds > OWN_PROMOTION_SECONDS else now + max(seconds, 0.001)
        if count == OWN_PROMOTION_ROWS:  # there may be more
            self._due = now
        if count:
            self.claim_now.set()

    # ---- giving back -----------------------------------------------------------------------------------------------

    def _take(self, report: Report) -> None:
        held_jobs, leased = self.held_jobs, self.held_jobs.of(report.token)
        if leased is None:
            return  # the lease was lost meanwhile: somebody else runs it
        answer = report.answer
        if isinstance(answer, NotBegun) and leased.killed:
            held_jobs.finish(leased, Failed(error_value("cancelled", "cancelled before it began")))
        elif isinstance(answer, NotBegun):
            if leased.done is None and (self._draining or answer.surplus):
                self._release([leased.job.job_id])
            else:
                leased.handed_out = False  # should the connection be lost right now, it is begun with the next one
                self._claimer.begin(self._connected(), [leased])
        elif isinstance(answer, Done):
            self._claimer.conclude(self._connected(), leased, answer, report.seconds)
        elif isinstance(answer, Computed):
            self._claimer.computed(self._connected(), leased, answer.loop, report.seconds)
        else:
            self._claimer.finish(leased, answer, report.seconds)

    def _room(self) -> int:
        """Return how many next jobs this worker can take on, beside those in the queue."""
        room = 0 if self._draining or self.held_jobs.isolated is not None else self._executor.free
        if room and time.monotonic() - self._last_claim >= CLAIM_INTERVAL_SECONDS:
            room -= 1  # leave a slot to those who wait in the queue
            self._next_claim = 0.0
        return room

    def _completed(self, committed: CommittedBatch) -> None:
        """Begin the jobs that a transaction has left to this worker, and tell others of the rest."""
        self._owes_notify = self._owes_notify or committed.queued
        if committed.due is not None and committed.due <= OWN_PROMOTION_SECONDS:
            self._due = min(self._due, time.monotonic() + committed.due)
        if committed.leased:
            for leased in committed.leased:
                self.held_jobs.hold(leased)
            self._claimer.begin(self._connected(), committed.leased)
        if committed.queued:
            self.claim_now.set()

    def _release(self, jobs: list[int]) -> None:
        """Put jobs back that were not begun."""
        if not jobs:
            return
        for job_id in jobs:
            self.held_jobs.drop(job_id, self.held_jobs.jobs[job_id].job.attempts)
        conn = self._connected()
        with store.transaction(conn, self._schema):
            store.release_jobs(conn, worker=self._worker, jobs=jobs)
        self._owes_notify = True

    # ---- what the maintenance thread asks for (run in this thread, through the inbox) --------------------------------

    def expire(self, rows: list[JobRow]) -> None:
        """Complete jobs whose lease has expired, as an outcome like any other."""
        known = self.held_jobs.jobs.keys() | {
            item.job.job_id for item in self.held_jobs.finished
        }  # not twice in one batch
        rows = [row for row in rows if row.job.job_id not in known]
        executions = self._cache.of_jobs(self._connected(), rows) if rows else {}
        unreadable = [row for row in rows if row.execution_id not in executions]
        self._claimer.quarantine(self._connected(), unreadable, expired=True)  # else they would hide those behind them
        for row in rows:
            if row.execution_id not in executions:
                continue
            lost = Finished(executions[row.execution_id], row.job, Expired(), since=time.monotonic())
            self.held_jobs.finished.append(lost)

    def kill(self, executions: set[int]) -> None:
        """End the running attempts of cancelled executions."""
        for leased in list(self.held_jobs.jobs.values()):
            if leased.execution.execution_id in executions:
                leased.killed = True
                self._executor.kill(leased.token)

    def lose(self, leases: Mapping[int, int]) -> None:
        """Stop running jobs whose lease ({job id: attempts}) is somebody else's now; their late answers are discarded.

        A job that has been leased to us again since it was missed is not meant.
        """
        for job_id, attempts in leases.items():
            if self.held_jobs.holds(job_id, attempts):
                log.warning("the lease of job %s was lost: its attempt is ended", job_id)
                token = self.held_jobs.jobs[job_id].token
                self.held_jobs.drop(job_id, attempts)
                self._executor.kill(token)

    def forget(self) -> None:
        """Compare everything that is held with the database, which may be another one, as after a lost connection."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None
        self._connect()

    # ---- beginning, ending, losing the connection ------------------------------------------------------------------

    def _connected(self) -> Connection:
        if self._conn is None:
            raise psycopg.OperationalError("not connected")
        return self._conn

    def _connect(self) -> None:
        """Open the connection and read back the leases: known ones go on, unknown ones are put back.

        The database may have lost its tail meanwhile. So nothing that is remembered of executions is kept, but of those
        of which a job is held, where their log holds the last event that was seen of it.
        """
        self._conn = self._database.connect_gathering()
        with store.transaction(self._conn, self._schema):
            leases = select_leases(self._conn, worker=self._worker)
            unchanged = select_unchanged(self._conn, self.held_jobs.known())
            unknown = leases.keys() - self.held_jobs.ours(leases, unchanged)
            if unknown:
                store.release_jobs(self._conn, worker=self._worker, jobs=sorted(unknown))
        self._cache.keep(unchanged)
        self.lose(self.held_jobs.reread(leases, unchanged))
        self._claimer.begin(self._conn, [leased for leased in self.held_jobs.jobs.values() if not leased.handed_out])
        if leases:
            log.info("connected again: %d jobs go on, %d were put back", len(leases) - len(unknown), len(unknown))

    def _disconnect(self, error: Exception) -> None:
        conn, self._conn = self._conn, None
        text = str(error).strip() or type(error).__name__
        self._trouble.happened(f"the database does not serve ({text}): trying again")
        if conn is not None:
            conn.close()

    def _leave(self) -> None:
        """Put back the jobs that still run when there is no more time, and go."""
        for leased in self.held_jobs.jobs.values():
            self._executor.kill(leased.token)
        count = len(self.held_jobs.jobs)
        try:
            if self._conn is None:
                self._connect()
            self._release(list(self.held_jobs.jobs))
            self._notify()
        except (psycopg.Error, DatabaseError) as error:
            log.warning("could not put %d jobs back (%s): their leases will expire", count, error)
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _notify(self) -> None:
        self._owes_notify = False
        self._last_notify = time.monotonic()
        notify(self._connected(), self._schema, self._settings.notify)
