"""Quarantine: jobs that no worker of this version can run, kept in the queue until a newer one may."""

from collections.abc import Sequence

from psycopg import Connection

from noetl.database.rows import JobRow
from noetl.database.sql import sql


def quarantine_job(conn: Connection, *, worker: str, row: JobRow, reason: str, expired: bool = False) -> None:
    """Quarantine a leased job, and write the reason to the error log. `expired`: whosever lease it was has expired.

    Runs in a transaction.
    """
    job = row.job
    parameters = {"job": job.job_id, "attempts": job.attempts, "worker": worker, "reason": reason, "expired": expired}
    conn.execute(sql("quarantine_job"), parameters, prepare=True)


def requeue_quarantined_jobs(conn: Connection, pools: Sequence[str]) -> int:
    """Queue the quarantined jobs of these pools, but for those of paused executions; return how many.

    Reads the whole queue, once per start of a worker: it may be a newer one, which can do what failed. Runs in a
    transaction.
    """
    return len(conn.execute(sql("requeue_quarantined_jobs"), {"pools": list(pools)}).fetchall())
