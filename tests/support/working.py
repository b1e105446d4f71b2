"""A worker inside the test's own process: the real worker loop, the real maintenance, real runners."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from noetl.database.connection.connect import Database
from noetl.database.read import show_execution
from noetl.orchestrator.commands import Orchestrator
from noetl.orchestrator.start import StartRequest
from noetl.settings import Settings
from noetl.worker.run import run_worker
from tests.support.waiting import wait_for


@contextmanager
def working(settings: Settings, **options: Any) -> Iterator[threading.Event]:
    """Run a worker until the end of the block; what it raised is raised here."""
    stop = threading.Event()
    failure: list[BaseException] = []

    def run() -> None:
        try:
            run_worker(settings, stop=stop, **options)
        except BaseException as error:  # noqa: BLE001 - carried over to the test's thread
            failure.append(error)

    thread = threading.Thread(target=run, name="worker")
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(timeout=60)
        assert not thread.is_alive(), "the worker does not stop"
        if failure:
            raise failure[0]


class Engine:
    """What a test asks of an engine: register, start, wait, and read what happened."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.orchestrator = Orchestrator(database, settings)

    def register(self, content: str) -> str:
        return self.orchestrator.register(content, filename="test.yaml").path

    def start(self, path: str, **request: Any) -> int:
        return self.orchestrator.start(StartRequest(path, **request)).execution_id

    def one(self, query: Any, *parameters: Any) -> Any:
        """Return the first column of the first row."""
        with self.database.session() as conn:
            row = conn.execute(query, parameters).fetchone()
        return row[0] if row else None

    def rows(self, query: Any, *parameters: Any) -> list[Any]:
        with self.database.session() as conn:
            return conn.execute(query, parameters).fetchall()

    def status(self, execution_id: int) -> str:
        return str(self.one("SELECT status FROM execution WHERE execution_id = %s", execution_id))

    def wait(self, execution_id: int, limit: float = 90.0) -> str:
        """Wait for the end of an execution and return its status."""
        wait_for(
            lambda: self.one("SELECT finished_at FROM execution WHERE execution_id = %s", execution_id), limit=limit
        )
        return self.status(execution_id)

    def result(self, execution_id: int) -> Any:
        """Return the result of an ended execution."""
        with self.database.session() as conn:
            return show_execution(conn, execution_id)["result"]

    def error(self, execution_id: int) -> Any:
        """Return the error of the terminal event."""
        return self.one(
            "SELECT error FROM event_log WHERE execution_id = %s ORDER BY event_id DESC LIMIT 1", execution_id
        )

    def events(self, execution_id: int) -> list[str]:
        """Return `event_type node` of each event, in order."""
        return [
            f"{kind} {node}" if node else kind
            for kind, node in self.rows(
                "SELECT event_type, node_id FROM event_log WHERE execution_id = %s ORDER BY event_id", execution_id
            )
        ]
