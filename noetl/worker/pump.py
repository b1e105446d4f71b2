"""The heart of a worker process: one thread that takes jobs, hands them to slots, and completes what came back.

    poll slots ──> complete outcomes (one transaction) ──> go on with the next steps
         ^                                                        │
         └──────────────── claim what is free  <──────────────────┘

Nothing here waits but `Slots.poll` and the database. While a commit is under way, outcomes gather for the next one:
one when idle, a hundred under load, never a timer. Leases are renewed by the housekeeper, on a connection of its own,
so that they do not depend on this thread.
"""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

import psycopg
from psycopg import Connection
from psycopg.errors import IdleInTransactionSessionTimeout, LockNotAvailable, ReadOnlySqlTransaction

from noetl.database import store
from noetl.database.connect import Database
from noetl.database.notify import notify
from noetl.errors import DatabaseError
from noetl.orchestrator.advance import Advance
from noetl.orchestrator.outcomes import Expired, Failed, JobRef
from noetl.orchestrator.part import Finished, job_ref
from noetl.orchestrator.prepare import Leased, Ran, failure
from noetl.orchestrator.views import View, Views
from noetl.settings import Settings
from noetl.tools import base as tools
from noetl.worker.files import files_folder
from noetl.worker.holdings import Holdings
from noetl.worker.intake import Intake
from noetl.worker.secrets import Secrets
from noetl.worker.slots import NotBegun, Report, Slots

log = logging.getLogger("noetl.worker")

SHORTEST_POLL = 0.02
LONGEST_POLL = 0.5
"""Seconds between claims that find nothing: from one to the other, backing off."""

EVERY = 0.1
"""Seconds after which a claim happens even if this worker has enough to do, so that nobody starves."""

SOON = 1.0
PROMOTED = 100
"""Jobs put off for at most so many seconds are queued by their own worker, so many at a time."""

PATIENCE = 0.1
"""Seconds an outcome is put off because its execution is locked, before a transaction waits for that."""

CROWD = 8
"""So many outcomes of an execution that others work on, too, are worth waiting for its lock at once."""

NOTIFY_EVERY = 0.01

PASSING = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.ProgrammingError,
    ReadOnlySqlTransaction,
    IdleInTransactionSessionTimeout,
)


def passes(error: psycopg.Error) -> bool:
    """Tell whether an error is not about what is written: no connection, a schema that is being made anew, a server
    that does not write just now. A limit of Postgres's (class 54) that a value exceeds does not pass."""
    return isinstance(error, PASSING) and (error.sqlstate or "")[:2] != "54"


class Pump:
    """One worker's loop. `run` returns when it was told to stop and everything it held is settled."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        views: Views,
        slots: Slots,
        secrets: Secrets,
        worker_id: str,
        *,
        pools: tuple[str, ...],
        only_root: int | None = None,
        drain_seconds: float = 25.0,
    ) -> None:
        self._database = database
        self._settings = settings
        self._schema = database.schema
        self._views = views
        self._slots = slots
        self._worker = worker_id
        self._drain_seconds = drain_seconds
        self.holdings = Holdings(worker_id)
        self._intake = Intake(
            self._schema,
            settings.lease_seconds,
            settings.result_limit,
            str(files_folder(settings.home)),
            pools,
            only_root,
            views,
            slots,
            self.holdings,
            secrets,
        )
        self._advance = Advance(self._schema, worker_id, settings.lease_seconds, settings.inline_limit, views)
        self._conn: Connection | None = None
        self._said = ""  # of the database that does not answer
        self._reports: deque[Report] = deque()
        self._last_claim_full = False
        self._poll = SHORTEST_POLL
        self._next_claim = 0.0
        self._due = math.inf  # when a job that was put off for a moment is to be queued
        self._last_claim = 0.0
        self._last_notify = 0.0
        self._owes_notify = False
        # Written by the housekeeper's thread; each is one atomic operation.
        self.inbox: deque[Callable[[], None]] = deque()
        self.claim_now = threading.Event()
        self.lost_waiting = threading.Event()

    # ---- the loop ------------------------------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; then begin nothing new and settle what runs. Raises nothing that passes by
        itself: a lost connection is opened again."""
        give_up = None
        while True:
            try:
                if self._conn is None:
                    self._connect()
                self._turn(draining=give_up is not None)
            except (psycopg.Error, DatabaseError) as error:  # no connection, or a schema that is being made anew
                self._disconnect(error)
                self._reports += self._slots.poll(0.2)  # timeouts count, also while the database is away
            if stop.is_set() and give_up is None:
                give_up = time.monotonic() + self._drain_seconds
                self._slots.recall()  # what has not begun comes back with the next poll
            if give_up is None:
                continue
            if self.holdings.empty or time.monotonic() > give_up:
                break
        self._leave()

    def _turn(self, *, draining: bool) -> None:
        self._reports += self._slots.poll(self._timeout(draining))
        while self._reports:
            self._take(self._reports.popleft(), draining)
        while self.inbox:
            self.inbox.popleft()()
        if self.holdings.finished:
            self._complete(draining)
        if not draining:
            self._promote()
            self._claim()
        if self._owes_notify and time.monotonic() - self._last_notify >= NOTIFY_EVERY:
            self._notify()

    def _timeout(self, draining: bool) -> float:
        if self.inbox:
            return 0.0
        if self.holdings.finished or self._owes_notify:
            return 0.0 if any(waiting for _, waiting in self._batches()) else NOTIFY_EVERY
        if draining:
            return LONGEST_POLL
        next_due = self._due
        if self.holdings.isolated is None:  # else nothing is claimed, whatever is due
            if self.claim_now.is_set() and self._slots.free > 0:
                return 0.0
            next_due = min(next_due, self._next_claim)
        return max(0.0, min(next_due - time.monotonic(), LONGEST_POLL))

    # ---- taking ----------------------------------------------------------------------------------------------------

    def _claim(self) -> None:
        now = time.monotonic()
        urgent = self.claim_now.is_set()
        if self.holdings.isolated is not None or not (urgent or now >= self._next_claim):
            return
        free = self._slots.free
        if free <= 0:
            self._next_claim = now + EVERY
            return
        self.claim_now.clear()
        self._last_claim = now
        conn = self._connected()
        if self.lost_waiting.is_set():
            self.lost_waiting.clear()
            lost = self._intake.claim_lost(conn)
            if lost:
                self._intake.take(conn, lost)
                return
        rows = self._intake.claim(conn, free)
        self._last_claim_full = len(rows) >= free
        if rows:
            self._poll = SHORTEST_POLL
            self._next_claim = now if self._last_claim_full else now + SHORTEST_POLL
        else:
            self._poll = min(self._poll * 1.5, LONGEST_POLL)
            self._next_claim = now + self._poll
        self._intake.take(conn, rows)

    def _promote(self) -> None:
        """Queue what this worker has put off for less than the second after which the housekeeper looks."""
        now = time.monotonic()
        if now < self._due:
            return
        conn = self._connected()
        with store.transaction(conn, self._schema, asynchronous=True):
            count, seconds = store.promote_jobs(conn, limit=PROMOTED)
        self._due = math.inf if seconds is None or seconds > SOON else now + max(seconds, 0.001)
        if count:
            self.claim_now.set()

    # ---- giving back -----------------------------------------------------------------------------------------------

    def _take(self, report: Report, draining: bool) -> None:
        holdings, leased = self.holdings, self.holdings.of(report.token)
        if leased is None:
            return  # the lease was lost meanwhile: somebody else runs it
        answer = report.answer
        if isinstance(answer, NotBegun) and leased.killed:
            holdings.finish(leased, Failed(failure("cancelled", "cancelled before it began")))
        elif isinstance(answer, NotBegun):
            if leased.done is None and (draining or answer.surplus):
                self._release([leased.job.job_id])
            else:
                leased.handed_out = False  # should the connection be lost right now, it is begun with the next one
                self._intake.begin(self._connected(), [leased])
        elif isinstance(answer, tools.Done):
            ran = Ran(answer.result, report.seconds, answer.output)
            self._intake.conclude(self._connected(), leased, ran)
        else:
            self._intake.finish(leased, Failed(answer.error), report.seconds, answer.output)

    def _complete(self, draining: bool) -> None:
        """Write the outcomes that are there. They stay ours until the commit has been acknowledged."""
        conn, holdings, todo = self._connected(), self.holdings, self._batches()
        holdings.finished = []
        try:
            while todo:
                batch, waiting = todo[0]
                self._settle_all(conn, batch, draining, waiting=waiting)
                del todo[0]
        except BaseException:
            known = {id(item) for item in holdings.finished}
            holdings.finished += [item for batch, _ in todo for item in batch if id(item) not in known]
            raise

    def _batches(self) -> list[tuple[list[Finished], bool]]:
        """Divide the outcomes into transactions; True: it waits for its execution's lock.

        All that skip what is locked are one. An execution is waited for, apart, where it has been put off for long;
        or where others work on it, too, as on a large loop, and many outcomes of it are here, or no others: to try
        again and again would cost more, and each time it is tried its lock is likely to be held.
        """
        executions: dict[int, list[Finished]] = {}
        for item in self.holdings.finished:
            executions.setdefault(item.view.execution_id, []).append(item)
        patient_until = time.monotonic() - PATIENCE
        together: list[Finished] = []
        apart = []
        for items in executions.values():
            worth_it = items[0].view.contended and (len(items) >= CROWD or len(executions) == 1)
            if worth_it or any(item.put_off and item.since < patient_until for item in items):
                apart.append((items, True))
            else:
                together += items
        return [(together, False), *apart] if together else apart

    def _settle_all(self, conn: Connection, batch: list[Finished], draining: bool, *, waiting: bool) -> None:
        """Settle a batch; where Postgres refuses what one execution writes, only that one fails."""
        try:
            self._settle(conn, batch, draining, waiting=waiting)
            return
        except LockNotAvailable:
            self._put_off(batch)
            return
        except psycopg.Error as error:
            if passes(error):
                raise
            log.warning("a batch of %d outcomes was refused (%s): trying one by one", len(batch), error)
        for item in batch:
            try:
                self._settle(conn, [item], draining, waiting=waiting)
            except psycopg.Error as error:
                if passes(error):
                    raise
                message = f"what came of the step cannot be stored: {str(error).strip()}"
                log.error("execution %s: %s", item.view.execution_id, message)
                item.what, item.output = Failed(failure("not_stored", message)), ""
                self._settle(conn, [item], draining, waiting=waiting)

    def _put_off(self, items: list[Finished]) -> None:
        """Keep outcomes whose execution is locked by somebody who has perhaps been stopped: others come first."""
        for item in items:
            item.since, item.put_off = time.monotonic(), True
            item.view.contended = False
        self.holdings.finished += items

    def _settle(self, conn: Connection, items: list[Finished], draining: bool, *, waiting: bool) -> None:
        room = 0 if draining or self.holdings.isolated is not None else self._slots.free
        if room and time.monotonic() - self._last_claim >= EVERY:  # leave a slot to those who wait in the queue
            room -= 1
            self._next_claim = 0.0
        advanced = self._advance(conn, items, room=room, idle=not self._last_claim_full, waiting=waiting)
        postponed = {id(item) for item in advanced.postponed}
        for item in items:
            if id(item) not in postponed:
                self.holdings.drop(item.job.job_id, item.job.attempts)
        self.holdings.finished += advanced.postponed
        self._owes_notify = self._owes_notify or advanced.queued
        if advanced.due is not None and advanced.due <= SOON:
            self._due = min(self._due, time.monotonic() + advanced.due)
        if advanced.leased:
            self._go_on(advanced.leased, advanced.begun)
        if advanced.queued:
            self.claim_now.set()

    def _go_on(self, jobs: list[tuple[View, JobRef]], at: Mapping[int, int]) -> None:
        begun = []
        for view, job in jobs:
            leased = Leased(view, job, at[job.job_id], at[job.job_id])
            self.holdings.hold(leased)
            begun.append(leased)
        self._intake.begin(self._connected(), begun)

    def _release(self, jobs: list[int]) -> None:
        """Put jobs back that were not begun."""
        if not jobs:
            return
        for job_id in jobs:
            self.holdings.drop(job_id, self.holdings.jobs[job_id].job.attempts)
        conn = self._connected()
        with store.transaction(conn, self._schema):
            store.release_jobs(conn, worker=self._worker, jobs=jobs)
        self._owes_notify = True

    # ---- what the housekeeper asks for (run in this thread, through the inbox) ---------------------------------------

    def expire(self, rows: list[store.JobRow]) -> None:
        """Complete jobs whose lease has run out, as an outcome like any other."""
        known = self.holdings.jobs.keys() | {
            item.job.job_id for item in self.holdings.finished
        }  # not twice in one batch
        rows = [row for row in rows if row.id not in known]
        views = self._views.of_jobs(self._connected(), rows) if rows else {}
        for row in rows:
            if row.execution_id not in views:
                continue  # a worker that can read its playbook will come
            job = job_ref((row.id, *row[2:9], row.pool, row.priority))
            self.holdings.finished.append(Finished(views[row.execution_id], job, Expired(), since=time.monotonic()))

    def kill(self, executions: set[int]) -> None:
        """End the running attempts of cancelled executions."""
        for leased in list(self.holdings.jobs.values()):
            if leased.view.execution_id in executions:
                leased.killed = True
                self._slots.kill(leased.token)

    def lose(self, leases: Mapping[int, int]) -> None:
        """Stop running jobs whose lease ({job id: attempts}) is somebody else's now; their late answers are dropped.

        A job that has been leased to us again since it was missed is not meant.
        """
        for job_id, attempts in leases.items():
            if self.holdings.holds(job_id, attempts):
                log.warning("the lease of job %s was lost: its attempt is ended", job_id)
                token = self.holdings.jobs[job_id].token
                self.holdings.drop(job_id, attempts)
                self._slots.kill(token)

    def forget(self) -> None:
        """The database is another one: nothing that was known is true."""
        self._views.clear()

    # ---- beginning, ending, losing the connection ------------------------------------------------------------------

    def _connected(self) -> Connection:
        if self._conn is None:
            raise psycopg.OperationalError("not connected")
        return self._conn

    def _connect(self) -> None:
        """Open the connection and read back the leases: known ones go on, unknown ones are put back."""
        self._conn = self._database.connect_gathering()
        with store.transaction(self._conn, self._schema):
            leases = store.select_leases(self._conn, worker=self._worker)
            unknown = [job_id for job_id, attempts in leases.items() if not self.holdings.holds(job_id, attempts)]
            if unknown:
                store.release_jobs(self._conn, worker=self._worker, jobs=unknown)
        self.lose(self.holdings.reread(leases))
        self._intake.begin(self._conn, [leased for leased in self.holdings.jobs.values() if not leased.handed_out])
        self._said = ""
        if leases:
            log.info("connected again: %d jobs go on, %d were put back", len(leases) - len(unknown), len(unknown))

    def _disconnect(self, error: Exception) -> None:
        conn, self._conn = self._conn, None
        text = str(error).strip() or type(error).__name__
        if text != self._said:  # once, not five times a second
            log.warning("the database does not answer (%s): trying again", text)
        self._said = text
        if conn is not None:
            conn.close()

    def _leave(self) -> None:
        """Put back what still runs when there is no more time, and go."""
        for leased in self.holdings.jobs.values():
            self._slots.kill(leased.token)
        count = len(self.holdings.jobs)
        try:
            if self._conn is None:
                self._connect()
            self._release(list(self.holdings.jobs))
            self._notify()
        except (psycopg.Error, DatabaseError) as error:
            log.warning("could not put %d jobs back (%s): their leases will run out", count, error)
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _notify(self) -> None:
        self._owes_notify = False
        self._last_notify = time.monotonic()
        notify(self._connected(), self._schema, self._settings.notify)
