"""The promotion of waiting jobs: retries, waits and looks at children whose time has come."""

from psycopg import Connection

from noetl.database import store
from noetl.worker.maintenance.parts import MAX_ROWS, WorkerParts

INTERVAL_SECONDS = 1.0


def promote_due_jobs(worker: WorkerParts, conn: Connection) -> float | None:
    """Queue waiting jobs whose time has come; return the seconds until that of the next one, None where none waits."""
    with store.transaction(conn, worker.schema, asynchronous=True):
        promoted, next_due = store.promote_jobs(conn, limit=MAX_ROWS)
    if promoted:
        worker.claim_now()
    return 0.0 if promoted == MAX_ROWS else next_due
