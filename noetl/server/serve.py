"""The server's process: it binds, serves, sends heartbeats, and shuts down cleanly."""

import logging
import os
import signal
import socket
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress

import psycopg

from noetl import __version__
from noetl.database.connection.connect import Database, open_admin, open_database
from noetl.database.runtime import Process, beat, leave
from noetl.database.schema.apply import apply_schema
from noetl.errors import DatabaseError, SettingsError
from noetl.orchestrator.commands import Orchestrator
from noetl.server.app import build_app
from noetl.server.caretaker import Caretaker
from noetl.server.connections import Web
from noetl.server.gate import is_loopback
from noetl.server.listen import bind, bind_home
from noetl.server.service import Service
from noetl.server.watchdog import Watchdog
from noetl.settings import Settings

log = logging.getLogger("noetl.server")

SCHEMA_CHECK_SECONDS = 2.0
"""Seconds between two checks of the schema."""

HEARTBEAT_SECONDS = 5.0
"""Seconds between two heartbeats."""

SESSION_WAIT_SECONDS = 3.0
"""Seconds that a request waits for a session with the database before it is answered 503: Postgres restarts in one or
two, and a client that would wait longer had better ask again."""

Announce = Callable[[str, int, bool, str | None], None]
"""Called with host, port, whether it listens on the home's socket, and instance when the server is there, and whenever
its instance changes."""


def serve(settings: Settings, *, token: Callable[[], str], announce: Announce) -> None:
    """Serve until SIGTERM or SIGINT. `token` is asked for once, when nothing stands in the way of serving.

    Raises `Conflict`, `InputError`, `SettingsError`, `DatabaseError` where it cannot begin.
    """
    host = settings.host
    if not is_loopback(host) and not settings.api_token:
        raise SettingsError(f"NOETL_API_TOKEN is not set: the server binds to {host} only with a token of yours")
    listening = bind(host, settings.port)
    with listening, _open(settings) as database:
        local = bind_home(settings.home)
        port = int(listening.getsockname()[1])
        database.pool(min=1, max=10, timeout=SESSION_WAIT_SECONDS)
        service = Service(
            database,
            Orchestrator(database, settings),
            lambda instance: announce(host, port, local is not None, instance),
        )
        app = build_app(service, token=token(), bound=host, allowed_hosts=settings.allowed_hosts)
        watchdog = Watchdog()
        web = Web(app, service.reader.stop, watchdog.turn)
        # Uvicorn has handlers of its own while it runs, and raises what they got once more when it is through: the
        # first must not be lost before, the second must not end us afterwards.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, web.handle_exit)
        heartbeat = _Heartbeat(service, host, port)
        with heartbeat, Caretaker(service, heartbeat.runtime_id), watchdog:
            log.info("serving on %s port %d", host, port)
            web.run(sockets=[listening] if local is None else [listening, local])
        service.reader.stop()
        log.info("ended")


def _open(settings: Settings) -> Database:
    """Return the database, with the logins and the schema made first where the settings ask for that."""
    if settings.init_db:
        with open_admin(settings) as admin:
            for line in apply_schema(admin, settings, ensure_role=True):
                log.info("%s", line)
    return open_database(settings, application="noetl server")


class _Heartbeat:
    """The thread that looks at the schema and keeps this server's row in `runtime`."""

    def __init__(self, service: Service, host: str, port: int) -> None:
        name = socket.gethostname()
        self._service = service
        self._stop = threading.Event()
        self.runtime_id = f"server-{name}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._process = Process(
            runtime_id=self.runtime_id,
            kind="server",
            host=name,
            pid=os.getpid(),
            pools=(),
            slots=0,
            version=__version__,
            address=f"{host}:{port}",
        )
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)
        with suppress(DatabaseError, psycopg.Error), self._service.session() as conn:
            leave(conn, self.runtime_id)

    def _run(self) -> None:
        since = HEARTBEAT_SECONDS
        while True:
            try:
                if self._service.refresh() is None and since >= HEARTBEAT_SECONDS:
                    since = 0.0
                    self._beat()
            except (DatabaseError, psycopg.Error) as error:
                self._service.wrote(error if isinstance(error, DatabaseError) else DatabaseError(str(error)))
            if self._stop.wait(SCHEMA_CHECK_SECONDS):
                return
            since += SCHEMA_CHECK_SECONDS

    def _beat(self) -> None:
        with self._service.database.session(asynchronous=True) as conn:
            beat(conn, self._process)
        self._service.wrote(None)
