"""The parts of a worker that its duties look after."""

from collections.abc import Callable
from dataclasses import dataclass

from noetl.database.connection.connect import Database
from noetl.database.runtime import Process
from noetl.settings import Settings
from noetl.worker.executor import Executor
from noetl.worker.loop import WorkerLoop

MAX_ROWS = 100
"""Rows that a duty handles at most, each time."""

CATCH_UP_SECONDS = 0.1
"""Seconds after which a duty is done again that met its bound: time for the worker loop to complete some."""


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """A worker as its duties see it."""

    database: Database
    settings: Settings
    loop: WorkerLoop
    executor: Executor
    process: Process

    @property
    def schema(self) -> str:
        """The schema of the engine's tables."""
        return self.database.schema

    @property
    def worker_id(self) -> str:
        """The worker's name in the database."""
        return self.process.runtime_id

    def in_loop(self, action: Callable[[], None]) -> None:
        """Have the worker loop do something in its own thread and transactions, at once."""
        self.loop.inbox.append(action)
        self.executor.wake()

    def claim_now(self) -> None:
        """Have the worker loop claim jobs at once."""
        self.loop.claim_now.set()
        self.executor.wake()
