"""Jobs that a worker was lost with: each runs next in a worker that begins nothing else beside it."""

from psycopg import Connection

from noetl.database import store
from noetl.worker.maintenance.parts import WorkerParts

INTERVAL_SECONDS = 1.0


def announce_lost_jobs(worker: WorkerParts, conn: Connection) -> None:
    """Have the worker loop claim a lost job where there is one."""
    with store.transaction(conn, worker.schema, asynchronous=True):
        lost = store.count_lost_jobs(conn)
    if lost:
        worker.loop.lost_waiting.set()
        worker.claim_now()
