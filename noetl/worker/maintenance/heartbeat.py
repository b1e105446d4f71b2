"""The heartbeat in the registry of processes, and with it the check that the database is still the same one."""

import logging

from psycopg import Connection

from noetl.database import runtime, store
from noetl.worker.maintenance.parts import WorkerParts

log = logging.getLogger("noetl.worker")

INTERVAL_SECONDS = 5.0


class Heartbeat:
    """Writes the worker's heartbeat; remembers which instance of the schema had the last one."""

    def __init__(self, worker: WorkerParts) -> None:
        self._worker = worker
        self._instance: str | None = None

    def __call__(self, conn: Connection) -> None:
        """Say that this worker is there, and mark processes that have not said so for long.

        Where the database was made anew, the worker loop compares all that it holds with it.
        """
        worker = self._worker
        with store.transaction(conn, worker.schema, asynchronous=True):
            instance = runtime.beat(conn, worker.process)
            runtime.mark_offline(conn, runtime.STALE_SECONDS)
        if self._instance is not None and instance != self._instance:
            log.warning("the database was made anew: everything that is known is compared with it")
            worker.in_loop(worker.loop.forget)
        self._instance = instance
