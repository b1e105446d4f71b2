"""The start of executions: the workload rendered, the first steps decided, all of it written in one transaction."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from psycopg import Connection

from noetl.database import store
from noetl.engine.inputs import Start
from noetl.engine.state import State
from noetl.engine.values import NotLoaded
from noetl.engine.workload import render_workload
from noetl.errors import InputError, NotFound
from noetl.orchestrator.batch import BatchPart, NoWithdrawal, apply
from noetl.orchestrator.execution_cache import CachedExecution, ExecutionCache, load_missing, load_until_done
from noetl.orchestrator.new_execution import NewExecution, Parent
from noetl.orchestrator.value_cache import ValueCache
from noetl.orchestrator.write import Rows, add_part
from noetl.playbook.model import Playbook
from noetl.playbook.values import plain
from noetl.words import DEFAULT_POOL, idempotency_key

MAX_PAYLOAD_BYTES = 32 * 1024 * 1024
MAX_LABELS_BYTES = 64 * 1024
"""Bytes that an execution's payload, and its labels, may have as JSON."""

MAX_NAME_BYTES = 1000
"""Bytes of a key or a pool: both stand in index entries, which are bounded."""


@dataclass(frozen=True, slots=True)
class StartRequest:
    """A request to run a playbook. `payload` is laid over the playbook's workload: shallow, or deep with `merge`;
    `overlay` is laid over both, deep. `passed` are names of the payload that are left aside where the playbook does not
    have them.

    `key` makes the start idempotent per path; `pool` and `priority` replace the playbook's.
    """

    path: str
    version: int | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)
    merge: bool = False
    overlay: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    priority: int | None = None
    pool: str | None = None
    key: str | None = None
    by: str | None = None
    passed: frozenset[str] = frozenset()


def prepare_start(
    conn: Connection, cache: ExecutionCache, request: StartRequest, parent: Parent | None = None
) -> BatchPart | int:
    """Decide everything about a new execution; return the execution that used the key before, if there is one.

    Runs outside a transaction. Raises `NotFound`, `InputError`, `TemplateError`.
    """
    _check(request)
    with store.transaction(conn, cache.schema, asynchronous=True):
        pending = store.select_startable(conn, path=request.path, version=request.version, key=request.key)
    startable = pending.get()
    if startable is None:
        version = f" version {request.version}" if request.version is not None else ""
        raise NotFound(f"there is no playbook {request.path}{version} in the catalog: register it first")
    if startable.used_by is not None:
        return startable.used_by
    if startable.kind != "Playbook":
        raise InputError(f"{request.path} is a {startable.kind}, and only a Playbook can be executed")
    catalog_id, execution_id = startable.catalog_id, startable.execution_id
    cache.playbooks.load(conn, cache.schema, [catalog_id])
    playbook = cache.playbooks[catalog_id]
    workload = _workload(playbook, execution_id, cache.env, request)
    new = NewExecution(
        execution_id=execution_id,
        catalog_id=catalog_id,
        path=request.path,
        version=startable.version,
        pool=request.pool or playbook.pool or DEFAULT_POOL,
        priority=request.priority if request.priority is not None else playbook.priority,
        key=request.key,
        labels=orjson.dumps({**(playbook.labels or {}), **request.labels}).decode(),
        by=request.by,
        timeout=playbook.timeout,
        workload=plain(workload, 2 * MAX_PAYLOAD_BYTES, "workload").decode(),
        now=startable.now,
        parent=parent,
    )
    values = ValueCache(execution_id, workload, cache.env)
    execution = CachedExecution(
        execution_id=execution_id,
        catalog_id=catalog_id,
        playbook=playbook,
        state=State(),
        values=values,
        root_execution_id=new.root_execution_id,
    )
    return _decided(conn, cache.schema, execution, new, Start(_context(request, new, playbook)))


def _workload(
    playbook: Playbook, execution_id: int, env: Mapping[str, object], request: StartRequest
) -> dict[str, Any]:
    return render_workload(
        playbook,
        execution_id,
        env,
        request.payload,
        merge=request.merge,
        overlay=request.overlay,
        passed=request.passed,
    )


def _context(request: StartRequest, new: NewExecution, playbook: Playbook) -> dict[str, Any]:
    """Return the context of the first event. Pool and priority stand there only where the request names them."""
    context: dict[str, Any] = {"path": new.path, "version": new.version, "hash": playbook.hash}
    if request.pool is not None:
        context["pool"] = request.pool
    if request.priority is not None:
        context["priority"] = request.priority
    if new.parent is not None:
        context["parent"] = str(new.parent.execution_id)
    return context


def _decided(conn: Connection, schema: str, execution: CachedExecution, new: NewExecution, start: Start) -> BatchPart:
    def decide_first() -> BatchPart:
        execution.values.begin()
        part = BatchPart(execution, execution.state, new=new)
        apply(part, start, NoWithdrawal())
        return part

    def load(missing: NotLoaded) -> None:
        with store.transaction(conn, schema, asynchronous=True):
            load_missing(conn, execution, missing)

    return load_until_done(decide_first, load)


def _check(request: StartRequest) -> None:
    """Refuse what could not be stored as it was given. Raises `InputError` naming it, `NotFound`."""
    if "\0" in request.path or (request.version is not None and not 0 < request.version < 2**31):
        version = f" version {request.version}" if request.version is not None else ""
        raise NotFound(f"there is no playbook {request.path!r}{version} in the catalog: register it first")
    plain(request.payload, MAX_PAYLOAD_BYTES, "payload")
    plain(request.overlay, MAX_PAYLOAD_BYTES, "payload")
    plain([request.key, request.by, request.pool], MAX_LABELS_BYTES, "[key, by, pool]")
    for name, text in (("key", request.key), ("pool", request.pool)):
        size = len((text or "").encode())
        if size > MAX_NAME_BYTES:
            raise InputError(f"the {name} has {size:,} bytes: it can have {MAX_NAME_BYTES:,} at most")
    plain(request.labels, MAX_LABELS_BYTES, "labels")
    for name, value in request.labels.items():
        if not isinstance(value, str):
            raise InputError(f"the label {name!r} is {value!r}: it must be text")
    if request.priority is not None and not -(2**31) <= request.priority < 2**31:
        raise InputError(f"priority is {request.priority}: it must be a whole number of at most 32 bits")


def insert_start(conn: Connection, rows: Rows, part: BatchPart, now: int, inline_limit: int) -> bool:
    """Write a new execution's own rows; the rest goes into `rows`. False: its key has been used meanwhile."""
    new = part.new
    assert new is not None
    accepted = store.insert_execution(
        conn,
        {
            **new.columns(),
            "status": part.state.status,
            "state": orjson.dumps(part.state.to_json()).decode(),
            "last_event_id": part.state.last_event_id,
            "at": now,
            "ended": part.ended,
        },
    )
    if new.key is not None and not accepted.get():
        return False
    store.insert_workload(conn, new.execution_id, new.workload)
    add_part(rows, part, now, inline_limit)
    return True


def insert_child(conn: Connection, rows: Rows, part: BatchPart, now: int, inline_limit: int) -> None:
    """Write a child execution in the transaction that makes its parent's job wait for it."""
    if not insert_start(conn, rows, part, now, inline_limit):
        raise RuntimeError(f"child execution of job {part.new and part.new.parent_job_id} exists already")


def child_key(execution_id: int, node_id: str, visit: int, item_index: int, failures: int) -> str:
    """Return the start key of a child: one per attempt of the step run that starts it."""
    return f"{idempotency_key(execution_id, node_id, visit, item_index)}:{failures}"
