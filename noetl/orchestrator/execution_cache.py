"""The cache of living executions: their state as last seen, and the values of their events.

A cached state may be out of date: its version (`state.last_event_id`) is compared under the lock, and the state read
again where it has moved on. Results and arguments never go stale, since events never change, as long as the database is
the same: after a lost connection the last event is compared (`last_event_at`), and executions are forgotten.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson
from psycopg import Connection

from noetl.database import store
from noetl.database.loops import LoopValue, read_loop
from noetl.database.rows import JobRow, Lock, StoredChunk, StoredEvent
from noetl.engine.events import args_in
from noetl.engine.state import State
from noetl.engine.values import ChunkKey, NotLoaded
from noetl.errors import InputError
from noetl.orchestrator.playbook_cache import PlaybookCache
from noetl.orchestrator.value_cache import ValueCache
from noetl.playbook.model import Playbook

CACHED_EXECUTIONS = 4096
"""Executions that a process caches."""

EXECUTION_CACHE_BYTES = 128 * 1024 * 1024
"""Bytes of workloads and results that a process caches, as JSON; beyond it the least recently used executions go."""


@dataclass(slots=True)
class CachedExecution:
    """One execution as this process last saw it."""

    execution_id: int
    catalog_id: int
    playbook: Playbook
    state: State
    values: ValueCache
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
    counted: int = 0  # bytes, as `ExecutionCache` last saw them
    last_event_at: int = 0  # of the last event in `state`, in microseconds since 1970


class ExecutionCache:
    """The executions that one process knows, the least recently used forgotten first."""

    def __init__(self, schema: str, env: Mapping[str, object], playbooks: PlaybookCache | None = None) -> None:
        self.schema = schema
        self.env = env
        self.playbooks = playbooks or PlaybookCache()
        self._executions: OrderedDict[int, CachedExecution] = OrderedDict()
        self._unreadable: dict[int, str] = {}
        self.size = 0  # bytes of all executions

    def forget(self, execution_id: int) -> None:
        execution = self._executions.pop(execution_id, None)
        if execution is not None:
            self.size -= execution.counted

    def keep(self, executions: Set[int]) -> None:
        """Forget all executions but these: the log of the others may be another one than was known. Compiled playbooks
        stay: the ids of catalog versions are made from the clock, and none is given twice."""
        for execution_id in self._executions.keys() - executions:
            self.forget(execution_id)

    def of_jobs(self, conn: Connection, rows: list[JobRow]) -> dict[int, CachedExecution]:
        """Return the executions of the jobs whose playbook and state can be read, brought up to date; `why_unreadable`
        says what is wrong with the others.

        One round trip for those not yet known.
        """
        self.playbooks.load(conn, self.schema, (row.catalog_id for row in rows))
        self._unreadable.clear()
        if self.playbooks.unreadable:
            rows = [row for row in rows if row.catalog_id not in self.playbooks.unreadable]
        fresh = {row.execution_id for row in rows if row.execution_id not in self._executions}
        workloads: dict[int, str] = {}
        if fresh:
            with store.transaction(conn, self.schema, asynchronous=True):
                pending = store.select_workloads(conn, fresh)
            workloads = pending.get()
        executions: dict[int, CachedExecution] = {}
        for row in rows:
            try:
                executions[row.execution_id] = self._bring_up_to_date(row, workloads)
            except Exception as error:  # noqa: BLE001 - whatever a damaged row raises, only its execution has to wait
                reason = f"{type(error).__name__}: {error}"
                self._unreadable[row.execution_id] = (
                    f"this version of NoETL cannot read the execution's state ({reason})"
                )
                executions.pop(row.execution_id, None)
        for execution in executions.values():
            size = execution.workload_size + execution.values.size
            self.size += size - execution.counted
            execution.counted = size
        self._trim()
        return executions

    def _trim(self) -> None:
        known = self._executions
        while len(known) > CACHED_EXECUTIONS or (self.size > EXECUTION_CACHE_BYTES and len(known) > 1):
            self.forget(next(iter(known)))

    def _bring_up_to_date(self, row: JobRow, workloads: Mapping[int, str]) -> CachedExecution:
        """Return the execution of a job, cached from now on. Raises what a damaged state raises."""
        execution = self._executions.get(row.execution_id)
        if execution is None:
            text = workloads.get(row.execution_id) or "{}"
            execution = CachedExecution(
                execution_id=row.execution_id,
                catalog_id=row.catalog_id,
                playbook=self.playbooks.by_id[row.catalog_id],
                state=State.from_json(orjson.loads(row.state)),
                values=ValueCache(row.execution_id, orjson.loads(text), self.env),
                root_execution_id=row.root_execution_id,
                parent_execution_id=row.parent_execution_id,
                parent_job_id=row.parent_job_id,
                workload_size=len(text),
                last_event_at=row.last_event_at,
            )
            self._executions[row.execution_id] = execution
        execution.values.trim()
        self._executions.move_to_end(row.execution_id)
        if execution.state.last_event_id < row.last_event_id:
            execution.state, execution.last_event_at = State.from_json(orjson.loads(row.state)), row.last_event_at
        return execution

    def why_unreadable(self, row: JobRow) -> str:
        """Say why the last `of_jobs` did not give the execution of a job."""
        return self._unreadable.get(row.execution_id) or self.playbooks.unreadable[row.catalog_id]

    def of_execution(self, conn: Connection, execution_id: int, lock: Lock) -> CachedExecution:
        """Return one locked execution. Runs inside the caller's transaction."""
        if lock.catalog_id not in self.playbooks.by_id:
            self.playbooks.load_inside(conn, [lock.catalog_id])
        workloads = store.select_workloads(conn, [execution_id]).get()
        return CachedExecution(
            execution_id=execution_id,
            catalog_id=lock.catalog_id,
            playbook=self.playbooks[lock.catalog_id],
            state=State.from_json(orjson.loads(lock.state)),
            values=ValueCache(execution_id, orjson.loads(workloads.get(execution_id) or b"{}"), self.env),
            root_execution_id=lock.root_execution_id,
            parent_execution_id=lock.parent_execution_id,
            parent_job_id=lock.parent_job_id,
        )


@dataclass(slots=True)
class MissingValues:
    """The values that an execution lacks."""

    execution: CachedExecution
    events: set[int] = field(default_factory=set)
    chunks: set[ChunkKey] = field(default_factory=set)

    def add(self, missing: NotLoaded) -> None:
        self.events |= missing.events
        self.chunks |= missing.chunks


def load_values(conn: Connection, wanted: Iterable[MissingValues]) -> None:
    """Read the values that executions lack: two statements each, in one round trip; another for results of loops.

    Runs inside a transaction. Raises `LookupError` where the log does not have it.
    """
    pending = [
        (
            one,
            store.select_events(conn, one.execution.execution_id, one.events) if one.events else None,
            store.select_chunks(conn, one.execution.execution_id, one.chunks) if one.chunks else None,
        )
        for one in wanted
    ]
    for one, events, chunks in pending:
        if chunks is not None:
            _remember_chunks(one, chunks.get())
        for first in _remember_events(one, events.get()) if events is not None else ():
            one.execution.values.remember_loop(first, _loop_value(conn, one.execution.execution_id, first))


def load_missing(conn: Connection, execution: CachedExecution, missing: NotLoaded) -> None:
    """Read what one execution lacks, inside a transaction."""
    load_values(conn, [MissingValues(execution, set(missing.events), set(missing.chunks))])


def _remember_chunks(wanted: MissingValues, chunks: list[StoredChunk]) -> None:
    keys = set()
    for node_id, visit, chunk, items in chunks:
        wanted.execution.values.remember_chunk((node_id, visit, chunk), items)
        keys.add((node_id, visit, chunk))
    _check_complete(wanted, "chunks", wanted.chunks - keys)


def _remember_events(wanted: MissingValues, events: list[StoredEvent]) -> list[int]:
    """Remember events; return those that began loops, whose results are still to be read."""
    ids, loops = set(), []
    for event_id, result, meta, error, began_loop in events:
        ids.add(event_id)
        if began_loop:
            loops.append(event_id)
            continue
        wanted.execution.values.remember(
            event_id,
            result.encode() if result is not None else None,
            orjson.loads(error) if error is not None else None,
            args_in(orjson.loads(meta) if meta else None),
            len(meta or ""),
        )
    _check_complete(wanted, "events", wanted.events - ids)
    return loops


def _check_complete(wanted: MissingValues, kind: str, lacking: set[Any]) -> None:
    if lacking:
        raise LookupError(
            f"execution {wanted.execution.execution_id} has no {kind} {sorted(lacking)}: the log is damaged"
        )


def _loop_value(conn: Connection, execution_id: int, first: int) -> LoopValue | InputError:
    try:
        return read_loop(conn, execution_id, first)
    except InputError as problem:
        return problem


T = TypeVar("T")


def load_until_done(decide: Callable[[], T], load: Callable[[NotLoaded], None]) -> T:
    """Run a pure function until nothing it needs is missing; each round loads what the last one asked for."""
    for _ in range(1000):
        try:
            return decide()
        except NotLoaded as missing:
            load(missing)
    raise RuntimeError("a decision asked for events a thousand times: it does not remember what it was given")
