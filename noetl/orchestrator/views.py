"""What a process knows about living executions: the state as last seen, and values that events have fixed for ever.

A view may be out of date: the version (`state.last_event_id`) is compared under the lock, and the state read again
where it has moved on. Results and arguments never go stale, since events never change.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson
from psycopg import Connection

from noetl.database import store
from noetl.engine.facts import Event, NotLoaded, Values, args_in
from noetl.engine.state import State
from noetl.errors import Conflict, PlaybookError
from noetl.playbook.load import stored_playbook
from noetl.playbook.model import Playbook

VIEWS = 4096
"""Executions remembered per process."""

MEMORY = 8 * 1024 * 1024
"""Bytes of results and args remembered per execution; beyond it everything is forgotten and read again on demand."""

ENTRY = 200
"""Bytes that an event takes in memory, whatever it brought."""

REMEMBERED = 128 * 1024 * 1024
"""Bytes of workloads and results remembered per process, as JSON; beyond it views are forgotten, the oldest first."""


class Memory(Values):
    """`Values` that keeps results as raw JSON until somebody asks: most are never looked at."""

    __slots__ = ("_draft", "_raw", "_size")

    def __init__(self, execution_id: int, workload: Mapping[str, Any], env: Mapping[str, Any]) -> None:
        super().__init__(execution_id, workload, env)
        self._raw: dict[int, bytes] = {}
        self._size = 0
        self._draft: list[int] = []

    @property
    def size(self) -> int:
        """Bytes of results and args that were remembered since `trim` last forgot them, as JSON."""
        return self._size

    def trim(self) -> None:
        """Forget everything where it has become too much; not while a decision gathers what it needs."""
        if self._size > MEMORY:
            for known in (self._raw, self._results, self._errors, self._args):
                known.clear()
            self._size = 0

    def begin(self) -> None:
        """Forget what events brought that were decided and never written: their numbers may be given again."""
        for event_id in self._draft:
            for known in (self._raw, self._results, self._errors, self._args):
                known.pop(event_id, None)
        self._draft.clear()

    def draft(self, event: Event, args: Mapping[int, Any] | None) -> None:
        """Remember what a decided event brings, until it is written (`commit`) or decided again (`begin`)."""
        size = sum(len(orjson.dumps(each)) for each in args.values()) if args else 0
        self.remember(event.event_id, event.result, event.error, args or {}, size)
        self._draft.append(event.event_id)

    def commit(self) -> None:
        """What was a draft is in the log now."""
        self._draft.clear()

    def remember(self, event_id: int, raw: bytes | None, error: Any, args: Mapping[int, Any], size: int = 0) -> None:
        """Keep all that can be asked of one event, its result as the text it is stored as. `size`: of `args`, as JSON,
        which count too: a cycle may pass a large value on in each of its rounds."""
        raw = raw or b"null"
        self._size += len(raw) + size + ENTRY
        self._raw[event_id] = raw
        self._errors[event_id] = error
        self._args[event_id] = args

    def has_result(self, event_id: int) -> bool:
        return event_id in self._raw or event_id in self._results

    def result(self, event_id: int) -> Any:
        if event_id not in self._results and event_id in self._raw:
            self._results[event_id] = orjson.loads(self._raw.pop(event_id))
        return super().result(event_id)


@dataclass(slots=True)
class View:
    """One execution as this process last saw it."""

    execution_id: int
    catalog_id: int
    playbook: Playbook
    state: State
    values: Memory
    root_execution_id: int = 0
    parent_execution_id: int | None = None
    parent_job_id: int | None = None
    streak: int = 0  # steps continued in a row
    streak_since: float = 0.0
    workload_size: int = 0  # bytes, as JSON
    counted: int = 0  # bytes, as `Views` last saw them


@dataclass(slots=True)
class Playbooks:
    """Compiled playbooks by catalog version, which never changes. Content is compiled once however many versions
    share it. `unreadable` says why a version cannot be compiled by this program."""

    by_id: dict[int, Playbook] = field(default_factory=dict)
    unreadable: dict[int, str] = field(default_factory=dict)
    _by_hash: dict[tuple[str, str], Playbook] = field(default_factory=dict)

    def load(self, conn: Connection, schema: str, catalogs: Iterable[int]) -> None:
        """Compile the versions that are not here yet, in a transaction of its own."""
        missing = sorted(set(catalogs) - self.by_id.keys() - self.unreadable.keys())
        if missing:
            with store.transaction(conn, schema, asynchronous=True):
                self.load_inside(conn, missing)

    def load_inside(self, conn: Connection, catalogs: Iterable[int]) -> None:
        """Compile versions, inside the caller's transaction."""
        for catalog_id, path, _version, _kind, content, content_hash in store.select_playbooks(conn, catalogs):
            try:
                self.by_id[catalog_id] = self._compile(path, content, content_hash)
            except PlaybookError as error:
                self.unreadable[catalog_id] = f"this version of NoETL cannot read playbook {path}: {error}"

    def _compile(self, path: str, content: str, content_hash: str) -> Playbook:
        found = self._by_hash.get((path, content_hash))
        if found is None:
            found = self._by_hash[path, content_hash] = stored_playbook(content, path)
        return found

    def __getitem__(self, catalog_id: int) -> Playbook:
        """Return a playbook that was loaded. Raises `Conflict` for one that cannot be read."""
        if catalog_id in self.unreadable:
            raise Conflict(self.unreadable[catalog_id])
        return self.by_id[catalog_id]


class Views:
    """The views of one process, the least recently used forgotten first."""

    def __init__(self, schema: str, env: Mapping[str, Any], playbooks: Playbooks | None = None) -> None:
        self.schema = schema
        self.env = env
        self.playbooks = playbooks or Playbooks()
        self._views: OrderedDict[int, View] = OrderedDict()
        self.size = 0  # bytes of all views

    def forget(self, execution_id: int) -> None:
        view = self._views.pop(execution_id, None)
        if view is not None:
            self.size -= view.counted

    def clear(self) -> None:
        """Forget everything: the database is another one."""
        self._views.clear()
        self.size = 0
        self.playbooks = Playbooks()

    def of_jobs(self, conn: Connection, rows: list[store.JobRow]) -> dict[int, View]:
        """Return a view, brought up to date, for the execution of each job whose playbook can be read.

        One round trip for those not yet known.
        """
        self.playbooks.load(conn, self.schema, (row.catalog_id for row in rows))
        if self.playbooks.unreadable:
            rows = [row for row in rows if row.catalog_id not in self.playbooks.unreadable]
        fresh = {row.execution_id: row for row in rows if row.execution_id not in self._views}
        if fresh:
            with store.transaction(conn, self.schema, asynchronous=True):
                found_workloads = store.select_workloads(conn, fresh)
            workloads: dict[int, str] = dict(found_workloads.fetchall())
            for execution_id, row in fresh.items():
                text = workloads.get(execution_id) or "{}"
                workload = orjson.loads(text)
                self._views[execution_id] = View(
                    execution_id,
                    row.catalog_id,
                    self.playbooks.by_id[row.catalog_id],
                    State.from_json(orjson.loads(row.state)),
                    Memory(execution_id, workload, self.env),
                    row.root_execution_id,
                    row.parent_execution_id,
                    row.parent_job_id,
                    workload_size=len(text),
                )
        for row in rows:
            view = self._views[row.execution_id]
            view.values.trim()
            self._views.move_to_end(row.execution_id)
            if view.state.last_event_id < row.last_event_id:
                view.state = State.from_json(orjson.loads(row.state))
        found = {row.execution_id: self._views[row.execution_id] for row in rows}
        for view in found.values():
            size = view.workload_size + view.values.size
            self.size += size - view.counted
            view.counted = size
        while len(self._views) > VIEWS or (self.size > REMEMBERED and len(self._views) > 1):
            self.forget(next(iter(self._views)))
        return found

    def of_execution(self, conn: Connection, execution_id: int, lock: store.Lock) -> View:
        """Return a view of one locked execution. Runs inside the caller's transaction."""
        if lock.catalog_id not in self.playbooks.by_id:
            self.playbooks.load_inside(conn, [lock.catalog_id])
        workloads: dict[int, str] = dict(store.select_workloads(conn, [execution_id]).fetchall())
        return View(
            execution_id,
            lock.catalog_id,
            self.playbooks[lock.catalog_id],
            State.from_json(orjson.loads(lock.state)),
            Memory(execution_id, orjson.loads(workloads.get(execution_id) or b"{}"), self.env),
            lock.root_execution_id,
            lock.parent_execution_id,
            lock.parent_job_id,
        )


def load_events(conn: Connection, wanted: Mapping[int, tuple[View, set[int]]]) -> None:
    """Read events that views lack, one statement per execution, one round trip. Runs inside a transaction."""
    cursors = [(view, events, store.select_events(conn, view.execution_id, events)) for view, events in wanted.values()]
    for view, events, cursor in cursors:
        for event_id, result, meta, error in cursor.fetchall():
            view.values.remember(
                event_id,
                result.encode() if result is not None else None,
                orjson.loads(error) if error is not None else None,
                args_in(orjson.loads(meta) if meta else None),
                len(meta or ""),
            )
            events.discard(event_id)
        if events:
            raise LookupError(f"execution {view.execution_id} has no events {sorted(events)}: the log is damaged")


T = TypeVar("T")


def loading(decide: Callable[[], T], load: Callable[[set[int]], None]) -> T:
    """Run a pure function until nothing it needs is missing; each round loads what the last one asked for."""
    for _ in range(1000):
        try:
            return decide()
        except NotLoaded as missing:
            load(missing.events)
    raise RuntimeError("a decision asked for events a thousand times: it does not remember what it was given")
