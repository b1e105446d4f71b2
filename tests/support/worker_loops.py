"""Worker loops and their maintenance for tests that call the parts themselves."""

from noetl.database.connection.connect import Database
from noetl.database.keys import Keys
from noetl.database.runtime import Process
from noetl.orchestrator.execution_cache import ExecutionCache
from noetl.settings import Settings
from noetl.worker.claimer import Claimer
from noetl.worker.executor import Executor
from noetl.worker.held_jobs import HeldJobs
from noetl.worker.loop import WorkerLoop
from noetl.worker.maintenance.execution_files import files_folder
from noetl.worker.maintenance.parts import WorkerParts
from noetl.worker.secrets.inject import Secrets
from noetl.worker.secrets.seals import Seals
from noetl.worker.secrets.sources import Sources


def a_worker_loop(database: Database, settings: Settings, executor: Executor) -> WorkerLoop:
    """Return a worker loop that nobody runs, of the worker `worker`."""
    keys = Keys(settings)
    claimer = Claimer(
        settings=settings,
        pools=("default",),
        only_root=None,
        files=str(files_folder(settings.home)),
        cache=ExecutionCache(database.schema, {}),
        executor=executor,
        held_jobs=HeldJobs("worker"),
        secrets=Secrets(Sources(database, settings, keys), Seals(keys)),
    )
    return WorkerLoop(database, claimer)


def worker_parts(loop: WorkerLoop) -> WorkerParts:
    """Return the parts of the worker of such a loop, as its duties see them."""
    process = Process("worker", "worker", "here", 1, ("default",), 4, "0")
    return WorkerParts(loop._database, loop._settings, loop, loop._executor, process)
