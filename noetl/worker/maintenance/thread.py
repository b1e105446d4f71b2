"""The maintenance thread of a worker: it does the duties in their intervals, and listens for wake-ups.

It has a connection of its own, so that leases are renewed however long a completion waits. What touches executions it
hands to the worker loop (`WorkerParts.in_loop`), which does it in its ordinary transactions.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import psycopg
from psycopg import Connection

from noetl.database.connection.notify import listen
from noetl.errors import DatabaseError
from noetl.logs import TroubleLog
from noetl.worker.loop import QUIET_SECONDS
from noetl.worker.maintenance import (
    cancelled,
    clock,
    containers,
    execution_files,
    expired_leases,
    heartbeat,
    leases,
    lost_jobs,
    partitions,
    promotion,
    registry,
    timeouts,
)
from noetl.worker.maintenance.parts import WorkerParts

log = logging.getLogger("noetl.worker")

MAX_WAIT_SECONDS = 1.0
"""Seconds after which the thread looks whether it is to stop."""

RECONNECT_SECONDS = 0.5

MIN_PAUSE_SECONDS = 0.001


@dataclass(slots=True)
class Duty:
    """An action to be done every `interval_seconds`, sooner where the last time has returned fewer seconds."""

    interval_seconds: float
    act: Callable[[Connection], float | None]
    due_at: float = 0.0  # monotonic

    def do(self, conn: Connection, now: float) -> None:
        """Do the action, and set when it is due again."""
        self.due_at = now + self.interval_seconds
        sooner = self.act(conn)
        if sooner is not None:
            self.due_at = min(self.due_at, time.monotonic() + max(sooner, MIN_PAUSE_SECONDS))


def duties_of(worker: WorkerParts, left_containers: containers.LeftContainers) -> list[Duty]:
    """Return all duties of a worker, in the order in which they are done when several are due."""
    return [
        Duty(promotion.INTERVAL_SECONDS, partial(promotion.promote_due_jobs, worker)),
        Duty(expired_leases.INTERVAL_SECONDS, partial(expired_leases.take_back_expired_leases, worker)),
        Duty(lost_jobs.INTERVAL_SECONDS, partial(lost_jobs.announce_lost_jobs, worker)),
        Duty(cancelled.INTERVAL_SECONDS, partial(cancelled.end_cancelled_attempts, worker)),
        Duty(timeouts.INTERVAL_SECONDS, timeouts.execution_timeouts(worker)),
        Duty(leases.interval_seconds(worker.settings), partial(leases.renew_leases, worker)),
        Duty(heartbeat.INTERVAL_SECONDS, heartbeat.Heartbeat(worker)),
        Duty(clock.INTERVAL_SECONDS, clock.ClockCheck(worker)),
        Duty(registry.INTERVAL_SECONDS, partial(registry.forget_gone_processes, worker)),
        Duty(partitions.INTERVAL_SECONDS, partial(partitions.make_partitions, worker)),
        Duty(execution_files.INTERVAL_SECONDS, partial(execution_files.remove_old_files, worker)),
        Duty(containers.INTERVAL_SECONDS, left_containers, time.monotonic() + containers.FIRST_SECONDS),
    ]


class MaintenanceThread:
    """Does the duties of a worker from `start` until `stop`."""

    def __init__(self, worker: WorkerParts, duties: list[Duty]) -> None:
        self._worker = worker
        self._duties = duties
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="maintenance", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Have the thread end after the duty under way."""
        self._stop.set()

    def join(self, seconds: float) -> None:
        """Wait for the end of the thread, so many seconds at most."""
        self._thread.join(timeout=seconds)

    def _run(self) -> None:
        conn: Connection | None = None
        trouble = TroubleLog(log)
        while not self._stop.is_set():
            try:
                if conn is None:
                    conn = self._worker.database.connect()
                    if self._worker.settings.notify:
                        listen(conn, self._worker.schema)
                self.do_due(conn)
                trouble.over("the maintenance of this worker goes on", quiet=QUIET_SECONDS)
                self.wait(conn)
            except Exception as error:  # noqa: BLE001 - the outermost loop of a thread without which leases end
                if isinstance(error, psycopg.Error | DatabaseError):
                    reason = str(error).strip()
                    trouble.happened(f"maintenance is not served by the database ({reason}): trying again")
                else:
                    trouble.happened(f"maintenance failed and is tried again: {error!r}", error)
                if conn is not None:
                    conn.close()
                conn = None
                self._stop.wait(RECONNECT_SECONDS)
        if conn is not None:
            conn.close()

    def do_due(self, conn: Connection) -> None:
        """Do the duties that are due."""
        now = time.monotonic()
        for duty in self._duties:
            if now >= duty.due_at:
                duty.do(conn, now)

    def wait(self, conn: Connection) -> None:
        """Wait for the next duty; a wake-up is passed on at once."""
        next_due = min(duty.due_at for duty in self._duties) - time.monotonic()
        seconds = min(max(0.0, next_due), MAX_WAIT_SECONDS)
        if not self._worker.settings.notify:
            self._stop.wait(seconds)
            return
        for _ in conn.notifies(timeout=seconds, stop_after=1):
            self._worker.claim_now()
