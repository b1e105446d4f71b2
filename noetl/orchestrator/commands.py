"""The commands to the catalog and to executions: register, start, cancel. Each is one transaction of its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from psycopg import Connection

from noetl.database import store
from noetl.database.catalog import Version, add_version
from noetl.database.connection.connect import Database
from noetl.database.connection.notify import news
from noetl.engine.inputs import Cancel, TimedOut
from noetl.engine.values import NotLoaded
from noetl.errors import Conflict, NotFound
from noetl.orchestrator.batch import BatchPart, Withdrawal, apply
from noetl.orchestrator.catalog_rows import materialize
from noetl.orchestrator.execution_cache import CachedExecution, ExecutionCache, load_missing, load_until_done
from noetl.orchestrator.new_execution import Parent
from noetl.orchestrator.playbook_cache import PlaybookCache
from noetl.orchestrator.start import MAX_LABELS_BYTES, StartRequest, insert_start, prepare_start
from noetl.orchestrator.write import Rows, add_part, first_at, write
from noetl.playbook.load import content_hash, document_kind, load_playbook
from noetl.playbook.templates.template import Env
from noetl.playbook.values import plain
from noetl.settings import Settings
from noetl.words import ExecutionStatus

OVERDUE_LOCK_TIMEOUT = "50ms"
"""How long a transaction waits for the lock of an execution or a job that is overdue."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A catalog version; `created` is false where the newest one had this content already."""

    path: str
    version: int
    kind: str
    created: bool


@dataclass(frozen=True, slots=True)
class Started:
    """An accepted execution; `created` is false where its key had been used before."""

    execution_id: int
    created: bool
    path: str
    version: int
    status: str


class Orchestrator:
    """Accepts playbooks, executions and cancels. Safe to share between threads: each call has its own connection."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self.settings = settings
        self._schema = database.schema
        self._playbooks = PlaybookCache()
        self._news = news(self._schema) if settings.notify else None
        self._env: Mapping[str, Any] = Env(settings.template_env, settings.environment)

    def register(self, content: str, *, filename: str, by: str | None = None) -> Registered:
        """Add a version to the catalog, unless the newest one has this content. Playbooks are checked first.

        Raises `PlaybookError` with all problems.
        """
        kind, path, name, description = document_kind(content, filename)
        steps, edges, tasks = (
            materialize(load_playbook(content, filename), content) if kind == "Playbook" else ([], [], [])
        )
        new = Version(
            path=path,
            kind=kind,
            name=name,
            description=description,
            content=content,
            content_hash=content_hash(content),
            by=by,
            steps=steps,
            edges=edges,
            tasks=tasks,
        )
        with self._database.connection() as conn, store.transaction(conn, self._schema):
            version, created = add_version(conn, new)
        return Registered(path, version, kind, created)

    def start(self, request: StartRequest, parent: Parent | None = None) -> Started:
        """Accept an execution. Raises `NotFound`, `InputError`, `TemplateError`."""
        with self._database.connection() as conn:
            cache = self.new_cache()
            for _ in range(3):
                part = prepare_start(conn, cache, request, parent)
                if isinstance(part, int):
                    return self._started(conn, part)
                new = part.new
                assert new is not None
                if self._insert(conn, part, new.now):
                    return Started(new.execution_id, True, new.path, new.version, part.state.status)
        raise Conflict(f"key {request.key!r} of {request.path} is being used by somebody else: try again")

    def cancel(self, execution_id: int, *, by: str = "", reason: str = "") -> str:
        """Ask an execution to end and return its status afterwards; one that has ended stays as it is.

        Raises `NotFound`, `InputError` where `by` or `reason` cannot be stored.
        """
        plain(by, MAX_LABELS_BYTES, "by")
        plain(reason, MAX_LABELS_BYTES, "reason")
        return self._act(execution_id, Cancel(by, reason))

    def time_out(self, execution_id: int) -> str:
        """End an execution that is past its timeout, and return its status afterwards.

        Raises `Locked` where somebody keeps it locked: it is for a caller that comes again, and has other things to do.
        """
        return self._act(execution_id, None, patience=OVERDUE_LOCK_TIMEOUT)

    def new_cache(self) -> ExecutionCache:
        """Return a cache that knows nothing yet but the playbooks that were compiled here."""
        return ExecutionCache(self._schema, self._env, self._playbooks)

    def _insert(self, conn: Connection, part: BatchPart, now: int) -> bool:
        rows = Rows()
        with store.transaction(conn, self._schema, then=self._news):
            if not insert_start(conn, rows, part, now, self.settings.inline_limit):
                return False
            write(conn, rows, worker=None, lease=0)
        return True

    def _started(self, conn: Connection, execution_id: int) -> Started:
        with store.transaction(conn, self._schema, asynchronous=True):
            path, version, status = store.select_started(conn, execution_id)
        return Started(execution_id, False, path, version, status)

    def _act(self, execution_id: int, cancel: Cancel | None, patience: str = "") -> str:
        cache = self.new_cache()
        with (
            self._database.connection() as conn,
            store.transaction(conn, self._schema, patience=patience, then=self._news),
        ):
            lock = store.lock_execution(conn, execution_id)
            if lock is None:
                raise NotFound(f"there is no execution {execution_id}")
            if ExecutionStatus(lock.status).terminal:
                return lock.status
            execution = cache.of_execution(conn, execution_id, lock)
            cause = cancel or TimedOut(execution.playbook.timeout or 0.0)
            withdrawal = Withdrawal(conn, execution_id)
            part = load_until_done(partial(_decide, execution, cause, withdrawal), _loader(conn, execution))
            rows = Rows()
            add_part(rows, part, first_at(lock.now, lock.last_event_at), self.settings.inline_limit)
            write(conn, rows, worker=None, lease=0)
        return part.state.status


def _decide(execution: CachedExecution, cause: Cancel | TimedOut, withdrawal: Withdrawal) -> BatchPart:
    execution.values.begin()
    withdrawal.restart()
    part = BatchPart(execution, execution.state)
    apply(part, cause, withdrawal)
    return part


def _loader(conn: Connection, execution: CachedExecution) -> Callable[[NotLoaded], None]:
    return lambda missing: load_missing(conn, execution, missing)
