"""Cancelled executions: attempts of them that run in this worker are ended."""

from functools import partial

from psycopg import Connection

from noetl.database import store
from noetl.worker.maintenance.parts import WorkerParts

INTERVAL_SECONDS = 1.0


def end_cancelled_attempts(worker: WorkerParts, conn: Connection) -> None:
    """Have the worker loop end its attempts of executions that are being cancelled."""
    held = set(worker.loop.held_jobs.executions().values())
    if not held:
        return
    with store.transaction(conn, worker.schema, asynchronous=True):
        cancelled = store.select_killed(conn, held)
    if cancelled:
        worker.in_loop(partial(worker.loop.kill, cancelled))
