"""The weekly partitions of events and payloads, made ahead of time."""

from psycopg import Connection

from noetl.database import store
from noetl.worker.maintenance.parts import WorkerParts

INTERVAL_SECONDS = 3600.0


def make_partitions(worker: WorkerParts, conn: Connection) -> None:
    """Make the partitions of the weeks ahead."""
    with store.transaction(conn, worker.schema):
        store.make_partitions(conn)
