"""A worker loop for tests that call its parts themselves."""

from noetl.database.connect import Database
from noetl.database.keys import Keys
from noetl.orchestrator.execution_cache import ExecutionCache
from noetl.settings import Settings
from noetl.worker.executor import Executor
from noetl.worker.loop import WorkerLoop
from noetl.worker.secrets.inject import Secrets
from noetl.worker.secrets.seals import Seals
from noetl.worker.secrets.sources import Sources


def a_worker_loop(database: Database, settings: Settings, executor: Executor) -> WorkerLoop:
    """Return a worker loop that nobody runs, of the worker `worker`."""
    keys = Keys(settings)
    secrets = Secrets(Sources(database, settings, keys), Seals(keys))
    return WorkerLoop(
        database, settings, ExecutionCache(database.schema, {}), executor, secrets, "worker", pools=("default",)
    )
