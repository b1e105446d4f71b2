"""The registry of processes: those that are gone for long are removed, since each start of one adds a row."""

from psycopg import Connection

from noetl.database import runtime, store
from noetl.worker.maintenance.parts import MAX_ROWS, WorkerParts

INTERVAL_SECONDS = 60.0

KEPT_SECONDS = 24 * 3600.0
"""Seconds for which the registry remembers a process that is gone: long enough to see what happened in the night."""


def forget_gone_processes(worker: WorkerParts, conn: Connection) -> None:
    """Remove processes from the registry that are gone for long."""
    with store.transaction(conn, worker.schema, asynchronous=True):
        runtime.forget_gone(conn, KEPT_SECONDS, limit=MAX_ROWS)
