"""What every worker does beside its jobs, once a second and with no leader: whoever is alive keeps the house.

It has a thread and a connection of its own, so that leases are renewed however long a completion waits. What touches
executions it hands to the worker loop (`inbox`), which does it in its ordinary transactions.
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

import psycopg
from psycopg import Connection

from noetl.database import runtime, store
from noetl.database.connect import Database
from noetl.database.leases import cut_leases, database_clock, select_leases
from noetl.database.notify import listen
from noetl.errors import DatabaseError
from noetl.logs import Trouble
from noetl.orchestrator.lost import OVERDUE_ROWS, Overdue
from noetl.orchestrator.orchestrator import Orchestrator
from noetl.settings import Settings
from noetl.worker.clock import ClockWatch, told
from noetl.worker.execution_files import executions_with_files, files_folder, remove_files
from noetl.worker.executor import Executor
from noetl.worker.loop import QUIET_SECONDS, WorkerLoop
from noetl.worker.maintenance.containers import LeftContainers

log = logging.getLogger("noetl.worker")

AGAIN = 0.1
"""Seconds after which a duty is done again that met its bound: time for the worker loop to complete some."""

SECOND = 1.0
HEARTBEAT = 5.0
MINUTE = 60.0
HOUR = 3600.0
DAY = 24 * HOUR

KEPT = DAY
"""Seconds for which the registry remembers a process that is gone: long enough to see what happened in the night."""

FILES_KEPT = DAY
"""Seconds for which the files of an execution stay after its end."""


class Housekeeper:
    """Renews leases, promotes waiting jobs, reports lost ones, and listens for wake-ups."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        worker_loop: WorkerLoop,
        executor: Executor,
        me: runtime.Process,
        containers: LeftContainers,
    ) -> None:
        self._database = database
        self._settings = settings
        self._schema = database.schema
        self._loop = worker_loop
        self._executor = executor
        self._me = me
        self._overdue = Overdue(Orchestrator(database, settings), database.schema)
        self._containers = containers
        self._instance: str | None = None
        self._clock = ClockWatch()
        self._next_due: float | None = None
        self._duties: list[tuple[float, Callable[[Connection], None]]] = [
            (SECOND, self.look_after_queue),
            (SECOND, self.end_overdue),
            (settings.lease_seconds / 4, self.renew),
            (HEARTBEAT, self.beat),
            (MINUTE, self.forget_gone),
            (HOUR, self.make_partitions),
            (HOUR, self.remove_files),
            (MINUTE, self.remove_containers),
        ]
        self._at = [0.0] * len(self._duties)
        self._at[-1] = time.monotonic() + HEARTBEAT  # a short run need not load what talks to an engine

    def run(self, stop: threading.Event) -> None:
        """Do the duties when they are due, until told to stop."""
        conn: Connection | None = None
        trouble = Trouble(log)
        while not stop.is_set():
            try:
                if conn is None:
                    conn = self._database.connect()
                    if self._settings.notify:
                        listen(conn, self._schema)
                self._round(conn)
                trouble.over("the housekeeper goes on", quiet=QUIET_SECONDS)
                self._listen(conn, stop)
            except Exception as error:  # noqa: BLE001 - the outermost loop of a thread without which leases end
                if isinstance(error, psycopg.Error | DatabaseError):
                    trouble.happened(
                        f"the housekeeper is not served by the database ({str(error).strip()}): trying again"
                    )
                else:
                    trouble.happened(f"the housekeeper failed and tries again: {error!r}", error)
                if conn is not None:
                    conn.close()
                conn = None
                stop.wait(0.5)
        if conn is not None:
            conn.close()

    def _round(self, conn: Connection) -> None:
        now = time.monotonic()
        for place, (every, duty) in enumerate(self._duties):
            if now >= self._at[place]:
                self._at[place] = now + every
                duty(conn)

    def _listen(self, conn: Connection, stop: threading.Event) -> None:
        """Wait for the next duty; a wake-up is passed on at once."""
        seconds = max(0.0, min(self._at) - time.monotonic())
        if self._next_due is not None:
            seconds = min(seconds, max(self._next_due, 0.001))
            if seconds < SECOND:
                self._at[0] = min(self._at[0], time.monotonic() + seconds)
        if not self._settings.notify:
            stop.wait(min(seconds, SECOND))
            return
        for _ in conn.notifies(timeout=min(seconds, SECOND), stop_after=1):
            self._loop.claim_now.set()
            self._executor.wake()

    def look_after_queue(self, conn: Connection) -> None:
        """Promote waiting jobs, report expired leases, kills, and lost jobs that want a worker to themselves."""
        held = self._loop.held_jobs.executions()
        with store.transaction(conn, self._schema, asynchronous=True):
            promoted, self._next_due = store.promote_jobs(conn, limit=OVERDUE_ROWS)
            expired = store.select_expired_jobs(conn, limit=OVERDUE_ROWS)
            lost = store.count_lost_jobs(conn)
            killed = store.select_killed(conn, set(held.values())) if held else set()
        if promoted == OVERDUE_ROWS:
            self._next_due = 0.0
        elif len(expired) == OVERDUE_ROWS:
            self._next_due = AGAIN if self._next_due is None else min(self._next_due, AGAIN)
        if promoted:
            self._loop.claim_now.set()
        if lost:
            self._loop.lost_waiting.set()
            self._loop.claim_now.set()
        if expired:
            self._loop.inbox.append(partial(self._loop.expire, expired))
        if killed:
            self._loop.inbox.append(partial(self._loop.kill, killed))
        if promoted or lost or expired or killed:
            self._executor.wake()

    def end_overdue(self, conn: Connection) -> None:
        """End executions that are past their timeout."""
        self._overdue(conn)

    def renew(self, conn: Connection) -> None:
        """Renew the leases that have stood for a while; what is no longer ours is given up.

        A worker loop that stands still completes nothing any more: what it holds is left to other workers.
        """
        if self._loop.pulse.stands_still():
            log.error("the loop of this worker stands still: its leases are not renewed")
            return
        young = time.monotonic() - self._settings.lease_seconds / 8
        held = {job: attempts for job, (attempts, since) in self._loop.held_jobs.leases.copy().items() if since < young}
        if not held:
            return
        with store.transaction(conn, self._schema, asynchronous=True):
            renewed = store.renew_leases(
                conn, worker=self._me.runtime_id, held=held, lease=self._settings.lease_seconds
            )
            if len(renewed) == len(held):
                return
            ours = select_leases(conn, worker=self._me.runtime_id)
        lost = {job: attempts for job, attempts in held.items() if job not in ours or ours[job].attempts != attempts}
        if lost:
            self._loop.inbox.append(partial(self._loop.lose, lost))
            self._executor.wake()

    def beat(self, conn: Connection) -> None:
        """Say that we are here, and who is not; notice a database that was made anew."""
        with store.transaction(conn, self._schema, asynchronous=True):
            instance = runtime.beat(conn, self._me)
            runtime.mark_offline(conn, runtime.STALE_SECONDS)
            cut_leases(conn, lease=self._settings.lease_seconds, limit=OVERDUE_ROWS)
        self._watch_clock(conn)
        if self._instance is not None and instance != self._instance:
            log.warning("the database was made anew: everything that is known is compared with it")
            self._loop.inbox.append(self._loop.forget)
            self._executor.wake()
        self._instance = instance

    def _watch_clock(self, conn: Connection) -> None:
        """Say that the database's clock was set: nothing here could put right what that means for waits."""
        earliest = time.monotonic()
        with store.transaction(conn, self._schema, asynchronous=True):
            now = database_clock(conn)
        jump = self._clock.jump(now, earliest, time.monotonic())
        if jump:
            log.warning("%s", told(jump))
            row = {"worker_id": self._me.runtime_id, "error_type": "clock", "message": told(jump)}
            with store.transaction(conn, self._schema):
                store.insert_rows(conn, "insert_errors", [row])

    def forget_gone(self, conn: Connection) -> None:
        """Remove processes from the registry that are gone for long: each start of one adds a row."""
        with store.transaction(conn, self._schema, asynchronous=True):
            runtime.forget_gone(conn, KEPT, limit=OVERDUE_ROWS)

    def remove_files(self, conn: Connection) -> None:
        """Remove files that tools kept of executions which ended long ago."""
        folder = files_folder(self._settings.home)
        executions = executions_with_files(folder, OVERDUE_ROWS)
        if not executions:
            return
        with store.transaction(conn, self._schema, asynchronous=True):
            finished = store.select_finished(conn, executions, seconds=FILES_KEPT)
        remove_files(folder, finished)

    def remove_containers(self, conn: Connection) -> None:
        """Remove containers that dead workers left running; a thread of its own does it, for an engine can be slow."""
        with store.transaction(conn, self._schema, asynchronous=True):
            identity = runtime.database_identity(conn)
        self._containers.look(identity)

    def make_partitions(self, conn: Connection) -> None:
        """Make the partitions of the weeks ahead."""
        with store.transaction(conn, self._schema):
            store.make_partitions(conn)
