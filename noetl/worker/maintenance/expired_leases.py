"""Leases that have run out: their jobs end as lost, in the worker loop and under the fence `lease_until < now`."""

from functools import partial

from psycopg import Connection

from noetl.database import store
from noetl.worker.maintenance.parts import CATCH_UP_SECONDS, MAX_ROWS, WorkerParts

INTERVAL_SECONDS = 1.0


def take_back_expired_leases(worker: WorkerParts, conn: Connection) -> float | None:
    """Have the worker loop complete jobs whose lease has run out; return the seconds until there may be more."""
    with store.transaction(conn, worker.schema, asynchronous=True):
        expired = store.select_expired_jobs(conn, limit=MAX_ROWS)
    if expired:
        worker.in_loop(partial(worker.loop.expire, expired))
    return CATCH_UP_SECONDS if len(expired) == MAX_ROWS else None
