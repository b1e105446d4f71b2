"""Work that nobody ends by itself: executions past their timeout, and jobs whose worker is gone.

Every worker looks for both once a second, and so does every server, later: the only worker of a database may be the
one that is gone. It needs no slot, is bounded each time, and is done under the same locks and fence as all else.
"""

import logging
import time
from collections.abc import Iterable

import psycopg
from psycopg import Connection

from noetl.database import store
from noetl.database.connection.connect import Database
from noetl.database.connection.notify import notify
from noetl.database.quarantine import quarantine_job
from noetl.database.rows import JobRow
from noetl.errors import DatabaseError, Locked, NoetlError
from noetl.orchestrator.batch import Broken, Finished
from noetl.orchestrator.commands import OVERDUE_LOCK_TIMEOUT, Orchestrator
from noetl.orchestrator.complete import BatchCommitter
from noetl.orchestrator.execution_cache import ExecutionCache
from noetl.orchestrator.write import storable
from noetl.outcomes import Expired

log = logging.getLogger("noetl.orchestrator")

OVERDUE_ROWS = 100
"""Executions, or jobs, that one look handles at most."""

LOCKED_RETRY_SECONDS = 1.0
FAILED_RETRY_SECONDS = 60.0
"""Seconds until an execution is tried again that was locked, and one that could not be ended."""

LEASE_GRACE_SECONDS = 5.0
"""Seconds after its end at which a server ends a lease: workers, which look every second, come first."""


class ExecutionTimeouts:
    """Ends executions that are past their timeout; those that cannot be ended now are left out for a while."""

    def __init__(self, orchestrator: Orchestrator, schema: str) -> None:
        self._orchestrator = orchestrator
        self._schema = schema
        self._postponed: dict[int, float] = {}  # executions that cannot be ended yet -> when to try again

    def __call__(self, conn: Connection) -> None:
        """End those that are found now. Raises `psycopg.Error`, `DatabaseError`."""
        now = time.monotonic()
        self._postponed = {execution: until for execution, until in self._postponed.items() if until > now}
        with store.transaction(conn, self._schema, asynchronous=True):
            timed_out = store.select_timed_out_executions(conn, limit=OVERDUE_ROWS, skip=list(self._postponed))
        for execution_id in timed_out:
            try:
                self._orchestrator.time_out(execution_id)
            except Locked:
                self._postponed[execution_id] = time.monotonic() + LOCKED_RETRY_SECONDS
            except (psycopg.Error, DatabaseError):
                raise
            except Exception as error:
                self._postponed[execution_id] = time.monotonic() + FAILED_RETRY_SECONDS
                trace = None if isinstance(error, NoetlError) else error
                log.error(
                    "execution %s is past its timeout and cannot be ended yet: %r", execution_id, error, exc_info=trace
                )


def expire_leases(
    database: Database, orchestrator: Orchestrator, *, by: str, seconds: float = LEASE_GRACE_SECONDS
) -> int:
    """Complete jobs whose lease expired so many `seconds` ago as lost, and return how many.

    `by` names the process in the error log. Executions that are locked come the next time. Raises `psycopg.Error`,
    `DatabaseError`.
    """
    schema, settings = database.schema, orchestrator.settings
    with database.connection() as conn:
        with store.transaction(conn, schema, asynchronous=True):
            rows = store.select_expired_jobs(conn, limit=OVERDUE_ROWS, seconds=seconds)
        if not rows:
            return 0
        cache = orchestrator.new_cache()
        known = cache.of_jobs(conn, rows)
        quarantine_jobs(conn, cache, [row for row in rows if row.execution_id not in known], by=by, expired=True)
        lost: dict[int, list[Finished]] = {}
        for row in rows:
            if row.execution_id in known:
                item = Finished(known[row.execution_id], row.job, Expired())
                lost.setdefault(row.execution_id, []).append(item)
        committer = BatchCommitter(schema, by, settings.lease_seconds, settings.inline_limit, cache)
        queued = [_completed(conn, committer, items) for items in lost.values()]
        if any(queued):
            notify(conn, schema, settings.notify)
        return len(rows)


def _completed(conn: Connection, committer: BatchCommitter, items: list[Finished]) -> bool:
    """Complete lost jobs of one execution; tell whether workers have something to do now.

    Where Postgres refuses what follows from them, its jobs are quarantined: else it would hide those behind it.
    """
    try:
        return committer.commit_batch(conn, items, room=0, idle=False, patience=OVERDUE_LOCK_TIMEOUT).queued
    except psycopg.errors.LockNotAvailable:
        return False
    except (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded) as error:
        for item in items:
            item.outcome = Broken(RuntimeError(f"nothing that follows can be stored: {str(error).strip()}"))
        return committer.commit_batch(conn, items, room=0, idle=False, patience=OVERDUE_LOCK_TIMEOUT).queued


def quarantine_jobs(
    conn: Connection, cache: ExecutionCache, rows: Iterable[JobRow], *, by: str, expired: bool = False
) -> None:
    """Quarantine jobs that this version cannot read, and say why in the error log, in one transaction.

    They are leased to the worker `by`, or `expired`: leased to one that is gone.
    """
    reasons = [(row, cache.why_unreadable(row)) for row in rows]
    if not reasons:
        return
    with store.transaction(conn, cache.schema):
        for row, reason in reasons:
            quarantine_job(conn, worker=by, row=row, reason=storable(reason), expired=expired)
    for row, reason in reasons:
        log.error("execution %s is quarantined: %s", row.execution_id, reason)
