"""Executions past their timeout: servers end them, too, should no worker be left."""

from noetl.orchestrator.commands import Orchestrator
from noetl.orchestrator.lost import ExecutionTimeouts
from noetl.worker.maintenance.parts import WorkerParts

INTERVAL_SECONDS = 1.0


def execution_timeouts(worker: WorkerParts) -> ExecutionTimeouts:
    """Return the duty of ending executions past their timeout, a few each time; it remembers those that are locked."""
    return ExecutionTimeouts(Orchestrator(worker.database, worker.settings), worker.schema)
