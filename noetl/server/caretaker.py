"""The caretaker of a server: it ends leases and executions that no living worker ends, a moment later than a worker."""

import logging
import threading
from types import TracebackType

import psycopg

from noetl.errors import DatabaseError
from noetl.logs import TroubleLog
from noetl.orchestrator.lost import ExecutionTimeouts, expire_leases
from noetl.server.service import Service

log = logging.getLogger("noetl.server")

CHECK_INTERVAL_SECONDS = 5.0
"""Seconds between two reads of the queue."""

QUIET_SECONDS = 30.0
"""Seconds without an error after which a trouble counts as over."""


class Caretaker:
    """A thread that times executions out and ends leases of workers that are gone. It borrows a session each time."""

    def __init__(self, service: Service, name: str) -> None:
        self._service = service
        self._name = name
        self._timeouts = ExecutionTimeouts(service.orchestrator, service.database.schema)
        self._stop = threading.Event()
        self._trouble = TroubleLog(log)
        self._thread = threading.Thread(target=self._run, name="caretaker", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def look(self) -> None:
        """Do the duties once. Raises `psycopg.Error`, `DatabaseError`."""
        with self._service.database.connection() as conn:
            self._timeouts(conn)
        expire_leases(self._service.database, self._service.orchestrator, by=self._name)

    def _run(self) -> None:
        while not self._stop.wait(CHECK_INTERVAL_SECONDS):
            if self._service.look() is not None:
                continue  # `Service` says so
            try:
                self.look()
                self._trouble.over("jobs of workers that are gone are looked after again", quiet=QUIET_SECONDS)
            except Exception as error:  # noqa: BLE001 - the outermost loop of a thread that nobody starts again
                served = isinstance(error, psycopg.Error | DatabaseError)
                text = f"jobs of workers that are gone cannot be looked after ({str(error).strip() or repr(error)})"
                self._trouble.happened(f"{text}: trying again", None if served else error)
