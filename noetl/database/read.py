"""What the API and the CLI show: lists and details as plain dicts, ready for JSON.

Filters become conditions of their own, so that each combination is planned with the index that fits it. Each
function takes a connection whose transaction already has the search path.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import LiteralString, NamedTuple

from psycopg.types.json import Jsonb

from noetl.database.paging import Connection, Page, Row, Where, fetch, fetch_page, keys_of, page_size
from noetl.database.results import ending
from noetl.database.runtime import served_pools
from noetl.database.sql import sql
from noetl.errors import InputError, NotFound
from noetl.words import TERMINAL_STATUSES

EVENT_COLUMNS: LiteralString = (
    "execution_id, event_id, timestamp, event_type, node_id, node_name, node_type, visit, item_index,"
    " attempt, worker_id, duration, context, result, result_ref, error, meta, parent_execution_id"
)
_EXECUTION_COLUMNS: LiteralString = (
    "execution_id, path, version, status, pool, priority, labels, start_key, started_by, parent_execution_id,"
    " root_execution_id, last_event_id, cancel_requested_at, timeout_at, started_at, finished_at"
)
_CATALOG_COLUMNS: LiteralString = (
    "catalog_id, path, version, kind, name, description, content_hash, created_by, created_at"
)


def parse_id(text: str) -> int:
    """Return an id given as text. Raises `NotFound`: what is no id names nothing."""
    if text.isascii() and text.isdigit() and len(text) < 20 and int(text) < 2**63:
        return int(text)
    raise NotFound(f"there is no execution {text!r}: an id is a whole number")


def id_filter(name: str, text: str | None) -> int | None:
    """Return the id that a list is filtered by, None for none. Raises `InputError`."""
    try:
        return None if text is None else parse_id(text)
    except NotFound:
        raise InputError(f"{name} is {text!r}; it must be the id of an execution") from None


def event_number(text: str | None, name: str = "after") -> int:
    """Return the number of an event given as text, 0 for none. Raises `InputError`."""
    if text is None:
        return 0
    if text.isascii() and text.isdigit() and len(text) < 19:
        return int(text)
    raise InputError(f"{name} is {text!r}; it must be the number of an event")


# ---- catalog -----------------------------------------------------------------------------------------------


def list_catalog(
    conn: Connection,
    *,
    path: str | None = None,
    kind: str | None = None,
    after: str | None = None,
    limit: int | None = None,
) -> Page:
    """Return the newest version of each path, by path; with `path` all versions of that one, newest first."""
    size = page_size(limit)
    where = Where()
    if kind is not None:
        where.add("kind = %s", kind)
    if path is not None:
        where.add("path = %s", path)
        if after is not None:
            where.add("version < %s", *keys_of(after, (int,)))
        select: LiteralString = "SELECT " + _CATALOG_COLUMNS + " FROM catalog"
        return fetch_page(conn, select, where, "version DESC", ("version",), size)
    if after is not None:
        where.add("path > %s", *keys_of(after, (str,)))
    select = "SELECT DISTINCT ON (path) " + _CATALOG_COLUMNS + " FROM catalog"
    return fetch_page(conn, select, where, "path, version DESC", ("path",), size)


def show_catalog(conn: Connection, path: str, version: int | None = None) -> Row:
    """Return one catalog entry with its content; without `version` the newest. Raises `NotFound`."""
    rows = fetch(conn, sql("select_catalog_version"), {"path": path, "version": version})
    if rows:
        return rows[0]
    newest = conn.execute(sql("select_newest_version"), {"path": path}).fetchone()
    if newest is None or newest[0] is None:
        raise NotFound(f"the catalog has nothing at {path!r}: noetl catalog register FILE puts it there")
    raise NotFound(f"{path!r} has no version {version}; its newest is {newest[0]}")


# ---- executions --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExecutionFilter:
    """Which executions to list. Empty fields do not filter; `labels` must all be there."""

    statuses: Sequence[str] = ()
    path: str | None = None
    key: str | None = None
    labels: Mapping[str, str] | None = None
    parent: int | None = None
    root: int | None = None
    since: datetime | None = None
    after_id: int | None = None


def list_executions(
    conn: Connection, wanted: ExecutionFilter, *, after: str | None = None, limit: int | None = None
) -> Page:
    """Return executions, the newest first."""
    where = Where()
    if wanted.statuses:
        where.add("status = ANY(%s)", list(wanted.statuses))
    if wanted.path is not None:
        where.add("path = %s", wanted.path)
    if wanted.key is not None:
        where.add("start_key = %s", wanted.key)
    if wanted.labels:
        where.add("labels <> '{}' AND labels @> %s", Jsonb(dict(wanted.labels)))
    if wanted.parent is not None:
        where.add("parent_execution_id = %s", wanted.parent)
    if wanted.root is not None:
        where.add("root_execution_id = %s", wanted.root)
    if wanted.after_id is not None:
        where.add("execution_id > %s", wanted.after_id)
    if wanted.since is not None:
        where.add("execution_id >= %s", first_id(wanted.since))
    if after is not None:
        where.add("execution_id < %s", *keys_of(after, (int,)))
    select: LiteralString = "SELECT " + _EXECUTION_COLUMNS + " FROM execution"
    return fetch_page(conn, select, where, "execution_id DESC", ("execution_id",), page_size(limit))


def first_id(moment: datetime) -> int:
    """Return the least id of an execution that was accepted at this moment: ids hold the time, to the millisecond."""
    return max(0, int((moment - datetime(2024, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1)) << 22)


def show_execution(conn: Connection, execution_id: int) -> Row:
    """Return one execution with its workload, its jobs in the queue, and result and error once it has ended.

    Raises `NotFound`."""
    row = _execution(conn, execution_id)
    workload = conn.execute(sql("select_workload"), {"execution": execution_id}).fetchone()
    row["workload"] = workload[0] if workload else None
    row["jobs"] = fetch(conn, sql("select_shown_jobs"), {"execution": execution_id})
    row["result"], row["error"] = None, None
    if row["status"] in TERMINAL_STATUSES:
        row["result"], row["error"] = ending(conn, execution_id, int(row["last_event_id"]))
    return row


def execution_status(conn: Connection, execution_id: int) -> str:
    """Return the status of an execution. Raises `NotFound`."""
    return str(_execution(conn, execution_id)["status"])


class Position(NamedTuple):
    """Where an execution stands."""

    last_event_id: int
    status: str


def read_positions(conn: Connection, executions: Sequence[int]) -> dict[int, Position]:
    """Return where each of these executions stands that exists."""
    rows = conn.execute(sql("select_positions"), {"executions": list(executions)})
    return {execution_id: Position(last_event_id, status) for execution_id, last_event_id, status in rows}


def _execution(conn: Connection, execution_id: int) -> Row:
    query: LiteralString = "SELECT " + _EXECUTION_COLUMNS + " FROM execution WHERE execution_id = %s"
    rows = fetch(conn, query, (execution_id,))
    if not rows:
        raise NotFound(f"there is no execution {execution_id}: noetl execute list shows those there are")
    return rows[0]


def events(conn: Connection, execution_id: int, *, after: int = 0, limit: int = 100) -> list[Row]:
    """Return the events of an execution that follow number `after`, in order.

    A result that is stored by reference is not loaded: `result_ref` names it."""
    query: LiteralString = (
        "SELECT "
        + EVENT_COLUMNS
        + " FROM event_log WHERE execution_id = %s AND event_id > %s ORDER BY event_id LIMIT %s"
    )
    return fetch(conn, query, (execution_id, after, limit))


def list_events(conn: Connection, execution_id: int, *, after: str | None = None, limit: int | None = None) -> Page:
    """Return one page of an execution's events; `after` is an event's number. Raises `NotFound`."""
    _execution(conn, execution_id)
    size = page_size(limit)
    rows = events(conn, execution_id, after=event_number(after), limit=size + 1)
    return Page(rows[:size], rows[size - 1]["event_id"] if len(rows) > size else None)


def list_output(conn: Connection, execution_id: int, *, after: str | None = None, limit: int | None = None) -> Page:
    """Return what the steps of an execution printed, in the order it was recorded. Raises `NotFound`."""
    _execution(conn, execution_id)
    keys = ("created_at", "node_id", "visit", "item_index", "attempt")
    where = Where()
    where.add("execution_id = %s", execution_id)
    if after is not None:
        where.add(
            "(created_at, node_id, visit, item_index, attempt) > (%s, %s, %s::bigint, %s::bigint, %s::bigint)",
            *keys_of(after, (datetime, str, int, int, int)),
        )
    select: LiteralString = "SELECT execution_id, node_id, visit, item_index, attempt, text, created_at FROM output"
    order: LiteralString = "created_at, node_id, visit, item_index, attempt"
    return fetch_page(conn, select, where, order, keys, page_size(limit))


# ---- queue, runtime, errors --------------------------------------------------------------------------------


def list_queue(
    conn: Connection,
    *,
    status: str | None = None,
    pool: str | None = None,
    execution_id: int | None = None,
    after: str | None = None,
    limit: int | None = None,
) -> Page:
    """Return the work still to be done, the oldest first."""
    where = Where()
    if status is not None:
        where.add("status = %s", status)
    if pool is not None:
        where.add("pool = %s", pool)
    if execution_id is not None:
        where.add("execution_id = %s", execution_id)
    if after is not None:
        where.add("id > %s", *keys_of(after, (int,)))
    return fetch_page(conn, "SELECT * FROM queue", where, "id", ("id",), page_size(limit))


def list_runtime(
    conn: Connection,
    *,
    kind: str | None = None,
    status: str | None = None,
    after: str | None = None,
    limit: int | None = None,
) -> Page:
    """Return servers and workers, the newest first."""
    where = Where()
    if kind is not None:
        where.add("kind = %s", kind)
    if status is not None:
        where.add("status = %s", status)
    if after is not None:
        where.add("(started_at, runtime_id) < (%s, %s)", *keys_of(after, (datetime, str)))
    select: LiteralString = (
        "SELECT runtime_id, kind, status, host, pid, pools, slots, address, version, started_at,"
        " heartbeat_at, meta FROM runtime"
    )
    order: LiteralString = "started_at DESC, runtime_id DESC"
    return fetch_page(conn, select, where, order, ("started_at", "runtime_id"), page_size(limit))


def list_errors(
    conn: Connection, *, execution_id: int | None = None, after: str | None = None, limit: int | None = None
) -> Page:
    """Return the error log, the newest first."""
    where = Where()
    if execution_id is not None:
        where.add("execution_id = %s", execution_id)
    if after is not None:
        where.add("error_id < %s", *keys_of(after, (int,)))
    select: LiteralString = (
        "SELECT error_id, execution_id, node_id, visit, item_index, attempt, worker_id, error_type, message,"
        " detail, created_at FROM error_log"
    )
    return fetch_page(conn, select, where, "error_id DESC", ("error_id",), page_size(limit))


def counts(conn: Connection) -> Row:
    """Return how many jobs stand in each status, how many servers and workers run, and how many of these serve each
    pool."""
    queue = dict(conn.execute(sql("count_jobs")).fetchall())
    running = dict(conn.execute(sql("count_processes")).fetchall())
    return {"queue": queue, "running": running, "pools": served_pools(conn)}
