"""A worker process: the worker loop, the housekeeper, and the executor in which tools run."""

import gc
import logging
import os
import socket
import threading
import uuid

import psycopg

from noetl import __version__
from noetl.database import runtime, store
from noetl.database.connect import Database, open_database, playbook_login
from noetl.database.inbox import read_seal
from noetl.database.keys import Keys
from noetl.database.quarantine import requeue_quarantined_jobs
from noetl.errors import DatabaseError
from noetl.orchestrator.execution_cache import ExecutionCache
from noetl.playbook.templates.template import Env
from noetl.settings import Settings
from noetl.tools.registry import make_tools
from noetl.worker.executor import Executor
from noetl.worker.loop import WorkerLoop
from noetl.worker.maintenance.containers import LeftContainers
from noetl.worker.maintenance.housekeeper import Housekeeper
from noetl.worker.pulse import Pulse
from noetl.worker.secrets.inject import Secrets
from noetl.worker.secrets.seals import Seals
from noetl.worker.secrets.sources import Sources

log = logging.getLogger("noetl.worker")

GARBAGE = 20_000
"""Objects made and still there after which the garbage collector looks for cycles among them."""


def run_worker(
    settings: Settings,
    *,
    pools: tuple[str, ...] = ("default",),
    slots: int | None = None,
    only_root: int | None = None,
    stop: threading.Event | None = None,
    drain_seconds: float = 25.0,
    pulse: Pulse | None = None,
) -> None:
    """Work until `stop` is set, then settle what runs. `only_root`: take jobs of that execution's tree only.

    Raises `DatabaseError` where the database cannot be reached at the start; later it is waited for.
    """
    stop = stop or threading.Event()
    count = slots or settings.slots
    worker_id = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    database = open_database(settings, application=f"noetl worker {os.getpid()}")
    me = runtime.Process(
        worker_id,
        "worker",
        socket.gethostname(),
        os.getpid(),
        pools if only_root is None else (),  # whoever works for one tree serves no pool
        count,
        __version__,
        meta={"lease": settings.lease_seconds, **({} if only_root is None else {"only_root": str(only_root)})},
    )
    containers = LeftContainers(database, worker_id)
    tools = make_tools(
        allow_link_local=settings.http_allow_link_local,
        playbook_login=playbook_login(settings),
        inbox_secret=read_seal(database),
        container_labels=containers.labels,
    )
    hands = Executor(count, tools=tools, environment=settings.environment)
    views = ExecutionCache(database.schema, Env(settings.template_env, settings.environment))
    keys = Keys(settings)
    secrets = Secrets(Sources(database, settings, keys), Seals(keys))
    worker_loop = WorkerLoop(
        database,
        settings,
        views,
        hands,
        secrets,
        worker_id,
        pools=pools,
        only_root=only_root,
        drain_seconds=drain_seconds,
        pulse=pulse,
    )
    housekeeper = Housekeeper(database, settings, worker_loop, hands, me, containers)
    tidy = threading.Event()
    thread = threading.Thread(target=housekeeper.run, args=(tidy,), name="housekeeper", daemon=True)
    thread.start()
    _spare_the_collector()
    try:
        if only_root is None:
            _requeue_quarantined(database, pools)
        worker_loop.run(stop)
    finally:
        worker_loop.pulse.rest()
        tidy.set()
        hands.close()
        secrets.close()
        for tool in tools.values():
            if tool.close is not None:
                tool.close()
        thread.join(timeout=5)
        _leave(database, worker_id)
        database.close()


def _spare_the_collector() -> None:
    """Have the garbage collector look less often: reference counts free nearly everything here, and most of what it
    found young is a batch on its way to the commit. What has been imported stays, and is left alone."""
    gc.freeze()
    gc.set_threshold(GARBAGE)


def _requeue_quarantined(database: Database, pools: tuple[str, ...]) -> None:
    try:
        with database.connect() as conn, store.transaction(conn, database.schema):
            count = requeue_quarantined_jobs(conn, pools)
    except (psycopg.Error, DatabaseError) as error:
        log.warning("quarantined jobs were not looked for (%s)", error)
        return
    if count:
        log.info("%d quarantined jobs are tried again", count)


def _leave(database: Database, worker_id: str) -> None:
    try:
        with database.connect() as conn, store.transaction(conn, database.schema):
            runtime.leave(conn, worker_id)
    except (psycopg.Error, DatabaseError):
        return  # the heartbeat will tell
