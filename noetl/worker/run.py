"""A worker process: the worker loop, its maintenance thread, and the executor in which tools run."""

import gc
import logging
import os
import socket
import threading
import uuid
from collections.abc import Iterable, Mapping

import psycopg

from noetl import __version__
from noetl.database import runtime, store
from noetl.database.connection.connect import Database, open_database, playbook_login
from noetl.database.keys import Keys
from noetl.database.quarantine import requeue_quarantined_jobs
from noetl.database.schema.inbox import read_seal
from noetl.errors import DatabaseError
from noetl.orchestrator.execution_cache import ExecutionCache
from noetl.playbook.templates.template import Env
from noetl.settings import Settings
from noetl.tools.base import Tool
from noetl.tools.registry import make_tools
from noetl.worker.claimer import Claimer
from noetl.worker.executor import Executor
from noetl.worker.held_jobs import HeldJobs
from noetl.worker.loop import WorkerLoop
from noetl.worker.maintenance.containers import LeftContainers
from noetl.worker.maintenance.execution_files import files_folder
from noetl.worker.maintenance.parts import WorkerParts
from noetl.worker.maintenance.thread import MaintenanceThread, duties_of
from noetl.worker.pulse import Pulse
from noetl.worker.secrets.inject import Secrets
from noetl.worker.secrets.seals import Seals
from noetl.worker.secrets.sources import Sources

log = logging.getLogger("noetl.worker")

GARBAGE_THRESHOLD_OBJECTS = 20_000
"""Objects made and still there after which the garbage collector looks for cycles among them."""

JOIN_SECONDS = 5.0
"""Seconds that the duty under way at the end may take."""


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
    """Work until `stop` is set, then complete what runs. `only_root`: claim jobs of that execution's tree only.

    Raises `DatabaseError` where the database cannot be reached at the start; later it is waited for.
    """
    process = _process(settings, pools, slots or settings.slots, only_root)
    database = open_database(settings, application=f"noetl worker {process.pid}")
    left_containers = LeftContainers(database, process.runtime_id)
    tools = _tools(settings, database, left_containers.labels)
    executor = Executor(process.slots, tools=tools, environment=settings.environment)
    secrets = _secrets(settings, database)
    claimer = Claimer(
        settings=settings,
        pools=pools,
        only_root=only_root,
        files=str(files_folder(settings.home)),
        cache=ExecutionCache(database.schema, Env(settings.template_env, settings.environment)),
        executor=executor,
        held_jobs=HeldJobs(process.runtime_id),
        secrets=secrets,
    )
    worker_loop = WorkerLoop(database, claimer, drain_seconds=drain_seconds, pulse=pulse)
    parts = WorkerParts(database, settings, worker_loop, executor, process)
    maintenance = MaintenanceThread(parts, duties_of(parts, left_containers))
    maintenance.start()
    _spare_the_collector()
    try:
        if only_root is None:
            _requeue_quarantined(database, pools)
        worker_loop.run(stop or threading.Event())
    finally:
        worker_loop.pulse.rest()
        maintenance.stop()
        executor.close()
        secrets.close()
        _close(tools.values())
        maintenance.join(JOIN_SECONDS)
        _leave(database, process.runtime_id)
        database.close()


def _process(settings: Settings, pools: tuple[str, ...], slots: int, only_root: int | None) -> runtime.Process:
    """Return how this worker registers. One that works for a single tree serves no pool."""
    host, pid = socket.gethostname(), os.getpid()
    meta: dict[str, float | str] = {"lease": settings.lease_seconds}
    if only_root is not None:
        pools, meta["only_root"] = (), str(only_root)
    worker_id = f"{host}-{pid}-{uuid.uuid4().hex[:8]}"
    return runtime.Process(
        runtime_id=worker_id,
        kind="worker",
        host=host,
        pid=pid,
        pools=pools,
        slots=slots,
        version=__version__,
        meta=meta,
    )


def _tools(settings: Settings, database: Database, container_labels: Mapping[str, str]) -> Mapping[str, Tool]:
    return make_tools(
        allow_link_local=settings.http_allow_link_local,
        playbook_login=playbook_login(settings),
        inbox_secret=read_seal(database),
        container_labels=container_labels,
    )


def _secrets(settings: Settings, database: Database) -> Secrets:
    keys = Keys(settings)
    return Secrets(Sources(database, settings, keys), Seals(keys))


def _close(tools: Iterable[Tool]) -> None:
    for tool in tools:
        if tool.close is not None:
            tool.close()


def _spare_the_collector() -> None:
    """Have the garbage collector look less often: reference counts free nearly everything here, and most of what it
    found young is a batch on its way to the commit. What has been imported stays, and is left alone."""
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD_OBJECTS)


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
