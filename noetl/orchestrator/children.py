"""The children of `playbook` steps: one is started, its result is read."""

import orjson
from psycopg import Connection

from noetl.database import store
from noetl.database.loops import read_loop
from noetl.engine.waiting import MAX_CALL_DEPTH, child_failed, no_return_step, timed_out, too_deep
from noetl.errors import InputError
from noetl.orchestrator.attempt import AwaitChild, NewChild
from noetl.orchestrator.batch import BatchPart, ChildStarted
from noetl.orchestrator.execution_cache import ExecutionCache
from noetl.orchestrator.start import prepare_start
from noetl.outcomes import Deferred, Done, Failed, error_value
from noetl.words import ExecutionStatus

CHILD_CHECK_SECONDS = 5.0
"""Seconds after which a child is looked at again, in case its end was missed."""


def start_child(conn: Connection, cache: ExecutionCache, new: NewChild) -> Deferred | Failed:
    """Prepare a child; it is written in the transaction that makes the parent's job wait for it."""
    try:
        with store.transaction(conn, cache.schema, asynchronous=True):
            depth = store.select_depth(conn, new.parent.execution_id)
        if depth >= MAX_CALL_DEPTH:
            return Failed(too_deep(depth, new.request.path))
        child = prepare_start(conn, cache, new.request, new.parent)
    except InputError as problem:
        return Failed(error_value("playbook", str(problem)))
    limit = {} if new.wait.limit is None else {"limit": new.wait.limit}
    if isinstance(child, BatchPart):
        return ChildStarted(new.wait.left, {"child": str(child.execution.execution_id), **limit}, child)
    return Deferred(0.0, {"child": str(child), **limit})


def await_child(conn: Connection, cache: ExecutionCache, awaited: AwaitChild) -> Done | Failed | Deferred:
    """Return the child's result as the step's; wait on where it has not ended."""
    with store.transaction(conn, cache.schema, asynchronous=True):
        ended = store.select_ended(conn, awaited.execution_id, awaited.return_step)
    if ended is None:
        return Failed(error_value("playbook", f"child execution {awaited.execution_id} is no longer there"))
    if not ExecutionStatus(ended.status).terminal:
        left = awaited.wait.left
        if left is not None and left <= 0:
            return Failed(timed_out(awaited.wait.timeout))  # which has the child cancelled
        return Deferred(CHILD_CHECK_SECONDS if left is None else min(left, CHILD_CHECK_SECONDS), {})
    if ended.status == ExecutionStatus.COMPLETED:
        if not ended.has_result:
            return Failed(no_return_step(ended.path, awaited.return_step))
        if ended.loop is not None:
            return _loop_result(conn, cache, awaited, ended.loop)
        return Done((ended.result or "null").encode())
    inner = orjson.loads(ended.error) if ended.error else {}
    return Failed(child_failed(awaited.execution_id, ended.path, ended.status, inner))


def _loop_result(conn: Connection, cache: ExecutionCache, awaited: AwaitChild, first: int) -> Done | Failed:
    try:
        with store.transaction(conn, cache.schema, asynchronous=True):
            return Done(read_loop(conn, awaited.execution_id, first).items)
    except InputError as problem:
        return Failed(error_value("validation", str(problem)))
