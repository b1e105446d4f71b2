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
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

import psycopg
from psycopg import Connection

from noetl.database import store
from noetl.database.connect import Database
from noetl.database.notify import notify
from noetl.errors import DatabaseError
from noetl.orchestrator.advance import PATIENCE, Advance
from noetl.orchestrator.children import await_child, start_child
from noetl.orchestrator.outcomes import Cancel, Continue, Done, Expired, Failed, JobRef, NotLoaded
from noetl.orchestrator.part import Broken, Deferral, Finished, job_ref
from noetl.orchestrator.prepare import AwaitChild, Leased, NewChild, Work, failure, prepare
from noetl.orchestrator.views import View, Views, load_events
from noetl.settings import Settings
from noetl.tools import base as tools
from noetl.words import ExecutionStatus
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

NOTIFY_EVERY = 0.01
MOST_ROUNDS = 100

ENDING = frozenset({ExecutionStatus.FAILING, ExecutionStatus.CANCELLING})


class Pump:
    """One worker's loop. `run` returns when it was told to stop and everything it held is settled."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        views: Views,
        slots: Slots,
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
        self._pools = pools
        self._only_root = only_root
        self._drain_seconds = drain_seconds
        self._advance = Advance(self._schema, worker_id, settings.lease_seconds, settings.inline_limit, views)
        self._conn: Connection | None = None
        self._said = ""  # of the database that does not answer
        self._held: dict[int, Leased] = {}
        self._reports: deque[Report] = deque()
        self._finished: list[Finished] = []
        self._isolated: int | None = None  # a job that was lost before runs alone
        self._last_claim_full = False
        self._poll = SHORTEST_POLL
        self._next_claim = 0.0
        self._due = math.inf  # when a job that was put off for a moment is to be queued
        self._last_claim = 0.0
        self._last_notify = 0.0
        self._owes_notify = False
        # Read and written by the housekeeper's thread; each is one atomic operation.
        self.leases: dict[int, tuple[int, float]] = {}  # job id -> attempts, monotonic time of the lease
        self.inbox: deque[Callable[[], None]] = deque()
        self.claim_now = threading.Event()
        self.lost_waiting = threading.Event()
        self.ended = 0

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
                self._recall()
            if give_up is None:
                continue
            if (not self._held and not self._finished) or time.monotonic() > give_up:
                break
        self._leave()

    def _turn(self, *, draining: bool) -> None:
        self._reports += self._slots.poll(self._timeout())
        while self._reports:
            self._take(self._reports.popleft(), draining)
        while self.inbox:
            self.inbox.popleft()()
        if self._finished:
            self._complete(draining)
        if not draining:
            self._promote()
            self._claim()
        if self._owes_notify and time.monotonic() - self._last_notify >= NOTIFY_EVERY:
            self._notify()

    def _timeout(self) -> float:
        if self.inbox:
            return 0.0
        if self._finished or self._owes_notify:
            return NOTIFY_EVERY
        if self.claim_now.is_set() and self._slots.free > 0:
            return 0.0
        return max(0.0, min(min(self._next_claim, self._due) - time.monotonic(), LONGEST_POLL))

    # ---- taking ----------------------------------------------------------------------------------------------------

    def _claim(self) -> None:
        now = time.monotonic()
        urgent = self.claim_now.is_set()
        if self._isolated is not None or not (urgent or now >= self._next_claim):
            return
        free = self._slots.free
        if free <= 0:
            self._next_claim = now + EVERY
            return
        self.claim_now.clear()
        self._last_claim = now
        if self._only_root is None and self.lost_waiting.is_set() and self._claim_lost():
            return
        rows = self._claim_rows(free)
        self._last_claim_full = len(rows) >= free
        if rows:
            self._poll = SHORTEST_POLL
            self._next_claim = now if self._last_claim_full else now + SHORTEST_POLL
        else:
            self._poll = min(self._poll * 1.5, LONGEST_POLL)
            self._next_claim = now + self._poll
        self._lease(rows)

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

    def _claim_rows(self, free: int) -> list[store.JobRow]:
        lease = self._settings.lease_seconds
        conn = self._connected()
        with store.transaction(conn, self._schema, asynchronous=True):
            if self._only_root is not None:
                return store.claim_tree_jobs(conn, worker=self._worker, root=self._only_root, slots=free, lease=lease)
            rows: list[store.JobRow] = []
            for pool in self._pools:
                if len(rows) < free:
                    rows += store.claim_jobs(conn, worker=self._worker, pool=pool, slots=free - len(rows), lease=lease)
        return rows

    def _claim_lost(self) -> bool:
        """Take one job that was lost before, and begin nothing else until it has ended."""
        self.lost_waiting.clear()
        rows: list[store.JobRow] = []
        conn = self._connected()
        with store.transaction(conn, self._schema, asynchronous=True):
            for pool in self._pools:
                if not rows:
                    rows = store.claim_lost_job(
                        conn, worker=self._worker, pool=pool, lease=self._settings.lease_seconds
                    )
        if rows:
            self._isolated = rows[0].id
        self._lease(rows)
        return bool(rows)

    def _lease(self, rows: list[store.JobRow]) -> None:
        if not rows:
            return
        now = time.monotonic()
        for row in rows:  # known from now on, whatever comes in between
            self.leases[row.id] = (row.attempts, now)
        views = self._views.of_jobs(self._connected(), rows)
        begun = []
        for row in rows:
            if row.execution_id not in views:
                self._set_aside(row)
                if self._isolated == row.id:
                    self._isolated = None
                continue
            job = job_ref((row.id, *row[2:9], row.pool, row.priority))
            leased = Leased(views[row.execution_id], job, row.created_at, row.now)
            self._held[job.job_id] = leased
            if row.status in ENDING and not row.node_id.startswith("$"):  # put back while its execution was ending
                self._finish(leased, Failed(failure("cancelled", "the execution is ending")), 0.0)
            else:
                begun.append(leased)
        self._begin(begun)

    def _set_aside(self, row: store.JobRow) -> None:
        """Keep a job as `paused` whose playbook this version cannot read, and say so in the error log."""
        reason = self._views.playbooks.unreadable[row.catalog_id]
        log.error("execution %s is set aside: %s", row.execution_id, reason)
        conn = self._connected()
        with store.transaction(conn, self._schema):
            store.pause_job(conn, worker=self._worker, row=row, reason=reason)
        self.leases.pop(row.id, None)

    def _begin(self, todo: list[Leased]) -> None:
        """Render jobs and hand them out; what they lack is read for all of them in one round trip."""
        for _ in range(MOST_ROUNDS):
            wanted: dict[int, tuple[View, set[int]]] = {}
            later = []
            for leased in todo:
                try:
                    self._hand_out(leased)
                except NotLoaded as missing:
                    view = leased.view
                    wanted.setdefault(view.execution_id, (view, set()))[1].update(missing.events)
                    later.append(leased)
            if not later:
                return
            conn = self._connected()
            with store.transaction(conn, self._schema, asynchronous=True):
                load_events(conn, wanted)
            todo = later
        for leased in todo:
            self._finish(leased, Broken(RuntimeError("its job asked for values a hundred times")), 0.0)

    def _hand_out(self, leased: Leased) -> None:
        """Have a job done, or answered at once. What the engine itself gets wrong is that execution's trouble only."""
        try:
            what = self._answer(leased)
            if isinstance(what, Work):
                self._slots.submit(leased.token, self._call(what))
                leased.handed_out = True
            else:
                self._finish(leased, what, 0.0)
        except (NotLoaded, psycopg.OperationalError, psycopg.InterfaceError, DatabaseError):
            raise
        except Exception as error:  # noqa: BLE001 - told with the completion, which sets the execution aside
            self._finish(leased, Broken(error), 0.0)

    def _answer(self, leased: Leased) -> Work | Done | Failed | Deferral | Cancel | Continue:
        what = prepare(leased)
        if isinstance(what, NewChild):
            return start_child(self._connected(), self._views, what)
        if isinstance(what, AwaitChild):
            return await_child(self._connected(), self._views, what)
        return what

    def _call(self, work: Work) -> tools.Call:
        return tools.Call(
            work.type,
            work.key,
            work.where,
            work.fields,
            work.args,
            work.timeout,
            self._settings.result_limit,
            work.context,
        )

    # ---- giving back -----------------------------------------------------------------------------------------------

    def _take(self, report: Report, draining: bool) -> None:
        leased = self._held.get(report.token >> 32)
        if leased is None or leased.token != report.token:
            return  # the lease was lost meanwhile: somebody else runs it
        answer = report.answer
        if isinstance(answer, NotBegun) and leased.killed:
            self._finish(leased, Failed(failure("cancelled", "cancelled before it began")), 0.0)
        elif isinstance(answer, NotBegun):
            if draining or answer.surplus:
                self._release([leased.job.job_id])
            else:
                self._begin([leased])
        elif isinstance(answer, tools.Done):
            self._finish(leased, Done(answer.result), report.seconds, answer.output)
        else:
            self._finish(leased, Failed(answer.error), report.seconds, answer.output)

    def _finish(
        self,
        leased: Leased,
        what: Done | Failed | Expired | Deferral | Cancel | Continue | Broken,
        seconds: float,
        output: str = "",
    ) -> None:
        leased.handed_out = True
        self._finished.append(
            Finished(
                leased.view,
                leased.job,
                what,
                self._worker,
                seconds,
                leased.queued,
                random.random(),  # noqa: S311 - jitter
                output,
                time.monotonic(),
            )
        )

    def _complete(self, draining: bool) -> None:
        """Write the outcomes that are there. They stay ours until the commit has been acknowledged."""
        conn = self._connected()
        patient_until = time.monotonic() - PATIENCE
        late = [item for item in self._finished if item.since < patient_until]
        batch = [item for item in self._finished if item.since >= patient_until]
        held_up, self._finished = self._finished, []
        try:
            if batch:
                self._settle_all(conn, batch, draining)
                held_up = late
            for item in late:
                self._settle(conn, [item], draining, waiting=True)
                held_up = held_up[1:]
        except BaseException:
            known = {id(item) for item in self._finished}
            self._finished += [item for item in held_up if id(item) not in known]
            raise

    def _settle_all(self, conn: Connection, batch: list[Finished], draining: bool) -> None:
        """Settle a batch; where Postgres refuses what one execution writes, only that one fails."""
        try:
            self._settle(conn, batch, draining, waiting=False)
            return
        except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.ProgrammingError):
            raise
        except psycopg.Error as error:
            log.warning("a batch of %d outcomes was refused (%s): trying one by one", len(batch), error)
        for item in batch:
            try:
                self._settle(conn, [item], draining, waiting=False)
            except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.ProgrammingError):
                raise
            except psycopg.Error as error:
                message = f"what came of the step cannot be stored: {str(error).strip()}"
                log.error("execution %s: %s", item.view.execution_id, message)
                item.what, item.output = Failed(failure("not_stored", message)), ""
                self._settle(conn, [item], draining, waiting=False)

    def _settle(self, conn: Connection, items: list[Finished], draining: bool, *, waiting: bool) -> None:
        room = 0 if draining or self._isolated is not None else self._slots.free
        if room and time.monotonic() - self._last_claim >= EVERY:  # leave a slot to those who wait in the queue
            room -= 1
            self._next_claim = 0.0
        self._due = math.inf  # when a job that was put off for a moment is to be queued
        advanced = self._advance(conn, items, room=room, idle=not self._last_claim_full, waiting=waiting)
        postponed = {id(item) for item in advanced.postponed}
        for item in items:
            if id(item) not in postponed:
                self._drop(item.job.job_id, item.job.attempts)
        self._finished += advanced.postponed
        self.ended += advanced.ended
        self._owes_notify = self._owes_notify or advanced.queued or advanced.ended > 0
        if advanced.due is not None and advanced.due <= SOON:
            self._due = min(self._due, time.monotonic() + advanced.due)
        if advanced.leased:
            self._go_on(advanced.leased, advanced.begun)
        if advanced.queued:
            self.claim_now.set()

    def _go_on(self, jobs: list[tuple[View, JobRef]], at: Mapping[int, int]) -> None:
        now = time.monotonic()
        begun = []
        for view, job in jobs:
            leased = Leased(view, job, at[job.job_id], at[job.job_id])
            self._held[job.job_id] = leased
            self.leases[job.job_id] = (job.attempts, now)
            begun.append(leased)
        self._begin(begun)

    def _drop(self, job_id: int, attempts: int) -> None:
        """Let go of a job, unless it has been leased to us again meanwhile."""
        held = self._held.get(job_id)
        if held is not None and held.job.attempts == attempts:
            del self._held[job_id]
            self.leases.pop(job_id, None)
            if self._isolated == job_id:
                self._isolated = None

    def _release(self, jobs: list[int]) -> None:
        """Put jobs back that were not begun."""
        if not jobs:
            return
        for job_id in jobs:
            self._drop(job_id, self._held[job_id].job.attempts)
        conn = self._connected()
        with store.transaction(conn, self._schema):
            store.release_jobs(conn, worker=self._worker, jobs=jobs)
        self._owes_notify = True

    # ---- what the housekeeper asks for (run in this thread, through the inbox) ---------------------------------------

    def expire(self, rows: list[store.JobRow]) -> None:
        """Complete jobs whose lease has run out, as an outcome like any other."""
        known = self._held.keys() | {item.job.job_id for item in self._finished}  # not twice in one batch
        rows = [row for row in rows if row.id not in known]
        views = self._views.of_jobs(self._connected(), rows) if rows else {}
        for row in rows:
            if row.execution_id not in views:
                continue  # a worker that can read its playbook will come
            job = job_ref((row.id, *row[2:9], row.pool, row.priority))
            self._finished.append(Finished(views[row.execution_id], job, Expired(), since=time.monotonic()))

    def kill(self, executions: set[int]) -> None:
        """End the running attempts of cancelled executions."""
        for leased in list(self._held.values()):
            if leased.view.execution_id in executions:
                leased.killed = True
                self._slots.kill(leased.token)

    def lose(self, jobs: set[int]) -> None:
        """Stop running jobs whose lease is somebody else's now; their late answers are dropped."""
        for job_id in jobs:
            held = self._held.get(job_id)
            if held is not None:
                log.warning("the lease of job %s was lost: its attempt is ended", job_id)
                self._drop(job_id, held.job.attempts)
                self._slots.kill(held.token)

    def forget(self) -> None:
        """The database is another one: nothing that was known is true."""
        self._views.clear()

    def held_executions(self) -> dict[int, int]:
        """Return {job id: execution id} of what is held; for the housekeeper's thread."""
        return {job_id: leased.view.execution_id for job_id, leased in self._held.copy().items()}

    # ---- beginning, ending, losing the connection ------------------------------------------------------------------

    def _connected(self) -> Connection:
        if self._conn is None:
            raise psycopg.OperationalError("not connected")
        return self._conn

    def _connect(self) -> None:
        """Open the connection and read back the leases: known ones go on, unknown ones are put back."""
        self._conn = self._database.connect()
        with store.transaction(self._conn, self._schema):
            leases = store.select_leases(self._conn, worker=self._worker)
            unknown = [job_id for job_id, attempts in leases.items() if not self._holds(job_id, attempts)]
            if unknown:
                store.release_jobs(self._conn, worker=self._worker, jobs=unknown)
        in_doubt = {item.job.job_id for item in self._finished}
        gone = {job_id for job_id in self._held if job_id not in leases and job_id not in in_doubt}
        self.lose(gone)
        self.leases = {job_id: lease for job_id, lease in self.leases.items() if job_id in self._held}
        if self._isolated not in self._held:  # the connection was lost between its claim and its beginning
            self._isolated = None
        self._begin([leased for leased in self._held.values() if not leased.handed_out])
        self._said = ""
        if leases:
            log.info("connected again: %d jobs go on, %d were put back", len(leases) - len(unknown), len(unknown))

    def _holds(self, job_id: int, attempts: int) -> bool:
        leased = self._held.get(job_id)
        return leased is not None and leased.job.attempts == attempts

    def _disconnect(self, error: Exception) -> None:
        conn, self._conn = self._conn, None
        text = str(error).strip() or type(error).__name__
        if text != self._said:  # once, not five times a second
            log.warning("the database does not answer (%s): trying again", text)
        self._said = text
        if conn is not None:
            conn.close()

    def _recall(self) -> None:
        """Take back what has not begun; the reports come with the next poll."""
        self._slots.recall()

    def _leave(self) -> None:
        """Put back what still runs when there is no more time, and go."""
        for leased in self._held.values():
            self._slots.kill(leased.token)
        count = len(self._held)
        try:
            if self._conn is None:
                self._connect()
            self._release(list(self._held))
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
