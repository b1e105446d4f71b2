"""The database's clock against this process's monotonic one: leases, waits and timeouts follow the first.

Where it was set back, leases are cut to their usual length. What a jump means for waits cannot be mended: it is said.
"""

import logging
import time
from dataclasses import dataclass

from psycopg import Connection

from noetl.database import store
from noetl.database.leases import cut_leases, database_clock
from noetl.worker.maintenance.parts import MAX_ROWS, WorkerParts

log = logging.getLogger("noetl.worker")

INTERVAL_SECONDS = 5.0

NOTICED_SECONDS = 2.0
"""A jump of so much is worth a word; less is what corrections of a clock and busy machines look like."""


@dataclass(slots=True)
class ClockWatch:
    """Compares two clocks whenever both have been read. Seconds."""

    _database: float | None = None
    _earliest: float = 0.0
    _latest: float = 0.0

    def jump(self, database: float, earliest: float, latest: float) -> float:
        """Return how far the database's clock was set since the last reading, 0.0 if it just went on.

        `database` is its time, read at some moment between `earliest` and `latest` of the monotonic clock.
        """
        before, at_least, at_most = self._database, earliest - self._latest, latest - self._earliest
        self._database, self._earliest, self._latest = database, earliest, latest
        if before is None:
            return 0.0
        passed = database - before
        beyond = min(passed - at_least, 0.0) or max(passed - at_most, 0.0)
        return beyond if abs(beyond) >= NOTICED_SECONDS else 0.0


def describe_jump(jump: float) -> str:
    """Return in words the effects of a jump of the clock."""
    if jump < 0:
        return (
            f"the database's clock was set back by {-jump:.0f} s: waits, retries and timeouts that were due come that "
            "much later; leases of workers that are gone end within their usual time"
        )
    return (
        f"the database's clock went ahead by {jump:.0f} s: waits, retries and timeouts come that much earlier, and "
        "leases may have ended under workers that live, whose steps run again"
    )


class ClockCheck:
    """Compares the clocks of the database and of this process with their last readings."""

    def __init__(self, worker: WorkerParts) -> None:
        self._worker = worker
        self._watch = ClockWatch()

    def __call__(self, conn: Connection) -> None:
        """Cut leases that are too long, and write a jump of the clock into the error log."""
        worker = self._worker
        with store.transaction(conn, worker.schema, asynchronous=True):
            cut_leases(conn, lease=worker.settings.lease_seconds, limit=MAX_ROWS)
        earliest = time.monotonic()
        with store.transaction(conn, worker.schema, asynchronous=True):
            now = database_clock(conn)
        jump = self._watch.jump(now, earliest, time.monotonic())
        if jump:
            message = describe_jump(jump)
            log.warning("%s", message)
            row = {"worker_id": worker.worker_id, "error_type": "clock", "message": message}
            with store.transaction(conn, worker.schema):
                store.insert_rows(conn, "insert_errors", [row])
