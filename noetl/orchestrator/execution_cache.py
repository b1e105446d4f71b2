"""What a process knows about living executions: the state as last seen, and values that events have fixed for ever.

A view may be out of date: the version (`state.last_event_id`) is compared under the lock, and the state read again
where it has moved on. Results and arguments never go stale, since events never change, as long as the database is the
same: behind a lost connection the last event is compared (`last_event_at`), and views are forgotten.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson
from psycopg import Connection, Cursor

from noetl.database import store
from noetl.database.loops import LoopValue, read_loop
from noetl.engine.events import args_in
from noetl.engine.state import State
from noetl.engine.values import ChunkKey, NotLoaded
from noetl.errors import Conflict, InputError, PlaybookError
from noetl.orchestrator.value_cache import Memory
from noetl.playbook.load import stored_playbook
from noetl.playbook.model import Playbook

log = logging.getLogger("noetl.orchestrator")

VIEWS = 4096
"""Executions remembered per process."""

REMEMBERED = 128 * 1024 * 1024
"""Bytes of workloads and results remembered per process, as JSON; beyond it views are forgotten, the oldest first."""


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
    contended: bool = False  # others complete jobs of it, too: its row is often locked
    in_vain: bool = False  # the last wait for its lock had no end
    stuck: bool = False  # somebody holds something of it, not its row: it holds up whatever is completed with it
    pause: float = 0.0  # seconds between two tries, growing
    tries_at: float = 0.0  # monotonic seconds before which nothing of it is completed
    workload_size: int = 0  # bytes, as JSON
    counted: int = 0  # bytes, as `Views` last saw them
    last_event_at: int = 0  # of the last event in `state`, in microseconds since 1970


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
            except Exception as error:
                # Whatever reading one text raises, be it too deep for Python, is no trouble of the others.
                log.error("playbook %s cannot be read: %r", path, error, exc_info=error)
                reason = f"{type(error).__name__}: {error}"
                self.unreadable[catalog_id] = f"this version of NoETL cannot read playbook {path}: {reason}"

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
        self._unreadable: dict[int, str] = {}
        self.size = 0  # bytes of all views

    def forget(self, execution_id: int) -> None:
        view = self._views.pop(execution_id, None)
        if view is not None:
            self.size -= view.counted

    def keep(self, executions: Set[int]) -> None:
        """Forget all executions but these: the log of the others may be another one than was known. Compiled playbooks
        stay: the ids of catalog versions are made from the clock, and none is given twice."""
        for execution_id in self._views.keys() - executions:
            self.forget(execution_id)

    def of_jobs(self, conn: Connection, rows: list[store.JobRow]) -> dict[int, View]:
        """Return a view, brought up to date, for the execution of each job whose playbook and state can be read;
        `why_not` says what is wrong with the others.

        One round trip for those not yet known.
        """
        self.playbooks.load(conn, self.schema, (row.catalog_id for row in rows))
        self._unreadable.clear()
        if self.playbooks.unreadable:
            rows = [row for row in rows if row.catalog_id not in self.playbooks.unreadable]
        fresh = {row.execution_id for row in rows if row.execution_id not in self._views}
        workloads: dict[int, str] = {}
        if fresh:
            with store.transaction(conn, self.schema, asynchronous=True):
                found_workloads = store.select_workloads(conn, fresh)
            workloads = dict(found_workloads.fetchall())
        found: dict[int, View] = {}
        for row in rows:
            try:
                found[row.execution_id] = self._bring_up_to_date(row, workloads)
            except Exception as error:  # noqa: BLE001 - whatever a damaged row raises, only its execution has to wait
                reason = f"{type(error).__name__}: {error}"
                self._unreadable[row.execution_id] = (
                    f"this version of NoETL cannot read the execution's state ({reason})"
                )
                found.pop(row.execution_id, None)
        for view in found.values():
            size = view.workload_size + view.values.size
            self.size += size - view.counted
            view.counted = size
        while len(self._views) > VIEWS or (self.size > REMEMBERED and len(self._views) > 1):
            self.forget(next(iter(self._views)))
        return found

    def _bring_up_to_date(self, row: store.JobRow, workloads: Mapping[int, str]) -> View:
        """Return the view of a job's execution, a new one where there is none. Raises what a damaged state raises."""
        view = self._views.get(row.execution_id)
        if view is None:
            text = workloads.get(row.execution_id) or "{}"
            view = View(
                row.execution_id,
                row.catalog_id,
                self.playbooks.by_id[row.catalog_id],
                State.from_json(orjson.loads(row.state)),
                Memory(row.execution_id, orjson.loads(text), self.env),
                row.root_execution_id,
                row.parent_execution_id,
                row.parent_job_id,
                workload_size=len(text),
                last_event_at=row.last_event_at,
            )
            self._views[row.execution_id] = view
        view.values.trim()
        self._views.move_to_end(row.execution_id)
        if view.state.last_event_id < row.last_event_id:
            view.state, view.last_event_at = State.from_json(orjson.loads(row.state)), row.last_event_at
        return view

    def why_not(self, row: store.JobRow) -> str:
        """Say why the last `of_jobs` gave no view for a job's execution."""
        return self._unreadable.get(row.execution_id) or self.playbooks.unreadable[row.catalog_id]

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


@dataclass(slots=True)
class Wanted:
    """What a view lacks."""

    view: View
    events: set[int] = field(default_factory=set)
    chunks: set[ChunkKey] = field(default_factory=set)

    def add(self, missing: NotLoaded) -> None:
        self.events |= missing.events
        self.chunks |= missing.chunks


def load_wanted(conn: Connection, wanted: Iterable[Wanted]) -> None:
    """Read what views lack, two statements per execution, one round trip; another for the results of loops.

    Runs inside a transaction. Raises `LookupError` where the log does not have it.
    """
    cursors = [
        (
            one,
            store.select_events(conn, one.view.execution_id, one.events) if one.events else None,
            store.select_chunks(conn, one.view.execution_id, one.chunks) if one.chunks else None,
        )
        for one in wanted
    ]
    for one, events, chunks in cursors:
        if chunks is not None:
            _take_chunks(one, chunks)
        for first in _take_events(one, events) if events is not None else ():
            one.view.values.remember_loop(first, _loop_value(conn, one.view.execution_id, first))


def load_missing(conn: Connection, view: View, missing: NotLoaded) -> None:
    """Read what one view lacks, inside a transaction."""
    load_wanted(conn, [Wanted(view, set(missing.events), set(missing.chunks))])


def _take_chunks(wanted: Wanted, cursor: Cursor[Any]) -> None:
    found = set()
    for node_id, visit, chunk, items in cursor.fetchall():
        wanted.view.values.remember_chunk((node_id, visit, chunk), items)
        found.add((node_id, visit, chunk))
    _complain(wanted, "chunks", wanted.chunks - found)


def _take_events(wanted: Wanted, cursor: Cursor[Any]) -> list[int]:
    """Remember events; return those that began loops, whose results are still to be read."""
    found, loops = set(), []
    for event_id, result, meta, error, is_loop in cursor.fetchall():
        found.add(event_id)
        if is_loop:
            loops.append(event_id)
            continue
        wanted.view.values.remember(
            event_id,
            result.encode() if result is not None else None,
            orjson.loads(error) if error is not None else None,
            args_in(orjson.loads(meta) if meta else None),
            len(meta or ""),
        )
    _complain(wanted, "events", wanted.events - found)
    return loops


def _complain(wanted: Wanted, what: str, lacking: set[Any]) -> None:
    if lacking:
        raise LookupError(f"execution {wanted.view.execution_id} has no {what} {sorted(lacking)}: the log is damaged")


def _loop_value(conn: Connection, execution_id: int, first: int) -> LoopValue | InputError:
    try:
        return read_loop(conn, execution_id, first)
    except InputError as problem:
        return problem


T = TypeVar("T")


def loading(decide: Callable[[], T], load: Callable[[NotLoaded], None]) -> T:
    """Run a pure function until nothing it needs is missing; each round loads what the last one asked for."""
    for _ in range(1000):
        try:
            return decide()
        except NotLoaded as missing:
            load(missing)
    raise RuntimeError("a decision asked for events a thousand times: it does not remember what it was given")
