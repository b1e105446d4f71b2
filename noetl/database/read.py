"""What the API and the CLI show: lists and details as plain dicts, ready for JSON.

Every id is a string (a JavaScript number cannot hold ours) and every time an ISO text in UTC. A list is read
one page at a time: `Page(items, next)`, where `next` is handed back as `after`, or None at the end. Filters
become conditions of their own, so that each combination is planned with the index that fits it.

Each function takes a connection whose transaction already has the search path.
"""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from noetl.errors import InputError, NotFound
from noetl.words import TERMINAL

Connection = psycopg.Connection[Any]
Row = dict[str, Any]

DEFAULT_LIMIT = 50
MAX_LIMIT = 500

_IDS = frozenset(
    {
        "id",
        "catalog_id",
        "credential_id",
        "error_id",
        "event_id",
        "execution_id",
        "last_event_id",
        "parent_execution_id",
        "parent_job_id",
        "payload_id",
        "result_ref",
        "root_execution_id",
    }
)

EVENT_COLUMNS: LiteralString = (
    "execution_id, event_id, timestamp, event_type, node_id, node_name, node_type, visit, item_index,"
    " attempt, worker_id, duration, context, result, result_ref, error, meta, parent_execution_id"
)
_EXECUTION_COLUMNS: LiteralString = (
    "execution_id, path, version, status, pool, priority, labels, start_key, started_by, parent_execution_id,"
    " root_execution_id, last_event_id, cancel_requested_at, expires_at, started_at, finished_at"
)
_CATALOG_COLUMNS: LiteralString = (
    "catalog_id, path, version, kind, name, description, content_hash, created_by, created_at"
)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list. `next` names where the following one begins, or is None."""

    items: list[Row]
    next: str | None


@dataclass(slots=True)
class _Where:
    """The conditions of one query and their parameters, in the same order."""

    parts: list[LiteralString] = field(default_factory=list)
    params: list[Any] = field(default_factory=list)

    def add(self, condition: LiteralString, *params: Any) -> None:
        self.parts.append(condition)
        self.params.extend(params)

    @property
    def sql(self) -> LiteralString:
        return " WHERE " + " AND ".join(self.parts) if self.parts else ""


def plain_row(row: Mapping[str, Any]) -> Row:
    """Return a database row as JSON can carry it: ids and times as text."""
    return {name: _plain(name, value) for name, value in row.items()}


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, UUID) or (name in _IDS and isinstance(value, int)):
        return str(value)
    return value


def parse_id(text: str, what: str = "execution") -> int:
    """Return an id given as text. Raises `NotFound`: what is no id names nothing."""
    if text.isascii() and text.isdigit() and len(text) < 20 and int(text) < 2**63:
        return int(text)
    raise NotFound(f"there is no {what} {text!r}: an id is a whole number")


def event_number(text: str | None) -> int:
    """Return the number of an event given as text, 0 for none. Raises `InputError`."""
    if text is None:
        return 0
    if text.isascii() and text.isdigit() and len(text) < 19:
        return int(text)
    raise InputError(f"after is {text!r}; it must be the number of an event")


def page_size(limit: int | None) -> int:
    """Return how many items one page shall have. Raises `InputError`."""
    if limit is None:
        return DEFAULT_LIMIT
    if not 1 <= limit <= MAX_LIMIT:
        raise InputError(f"limit is {limit}; it must be between 1 and {MAX_LIMIT}")
    return limit


def _cursor(row: Row, keys: Sequence[str]) -> str:
    text = json.dumps([row[key] for key in keys], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _keys(after: str, types: Sequence[type]) -> list[Any]:
    try:
        found = json.loads(base64.urlsafe_b64decode(after + "=" * (-len(after) % 4)))
        if not isinstance(found, list):
            raise ValueError
        keys = [_key(kind, value) for kind, value in zip(types, found, strict=True)]
        if any(isinstance(key, int) and not -(2**63) <= key < 2**63 for key in keys):
            raise ValueError
        if any(isinstance(key, str) and "\0" in key for key in keys):
            raise ValueError
    except (ValueError, TypeError):
        raise InputError(f"after is {after!r}, which no list has given: take the next of the last page") from None
    return keys


def _key(kind: type, value: Any) -> Any:
    return datetime.fromisoformat(value) if kind is datetime else kind(value)


def _fetch(conn: Connection, query: LiteralString, params: Sequence[Any]) -> list[Row]:
    with conn.cursor(row_factory=dict_row) as cursor:
        return [plain_row(row) for row in cursor.execute(query, params)]


def _page(
    conn: Connection,
    select: LiteralString,
    where: _Where,
    order: LiteralString,
    keys: Sequence[str],
    limit: int,
) -> Page:
    query = select + where.sql + " ORDER BY " + order + " LIMIT %s"
    rows = _fetch(conn, query, [*where.params, limit + 1])
    more = len(rows) > limit
    return Page(rows[:limit], _cursor(rows[limit - 1], keys) if more else None)


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
    where = _Where()
    if kind is not None:
        where.add("kind = %s", kind)
    if path is not None:
        where.add("path = %s", path)
        if after is not None:
            where.add("version < %s", *_keys(after, (int,)))
        select: LiteralString = "SELECT " + _CATALOG_COLUMNS + " FROM catalog"
        return _page(conn, select, where, "version DESC", ("version",), size)
    if after is not None:
        where.add("path > %s", *_keys(after, (str,)))
    select = "SELECT DISTINCT ON (path) " + _CATALOG_COLUMNS + " FROM catalog"
    return _page(conn, select, where, "path, version DESC", ("path",), size)


def show_catalog(conn: Connection, path: str, version: int | None = None) -> Row:
    """Return one catalog entry with its content; without `version` the newest. Raises `NotFound`."""
    query: LiteralString = "SELECT " + _CATALOG_COLUMNS + ", content FROM catalog WHERE path = %s"
    if version is None:
        rows = _fetch(conn, query + " ORDER BY version DESC LIMIT 1", (path,))
    else:
        rows = _fetch(conn, query + " AND version = %s", (path, version))
    if rows:
        return rows[0]
    newest = _fetch(conn, "SELECT max(version) AS version FROM catalog WHERE path = %s", (path,))[0]["version"]
    if newest is None:
        raise NotFound(f"the catalog has nothing at {path!r}: noetl catalog register FILE puts it there")
    raise NotFound(f"{path!r} has no version {version}; its newest is {newest}")


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


def list_executions(
    conn: Connection, wanted: ExecutionFilter, *, after: str | None = None, limit: int | None = None
) -> Page:
    """Return executions, the newest first."""
    where = _Where()
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
    if after is not None:
        where.add("execution_id < %s", *_keys(after, (int,)))
    select: LiteralString = "SELECT " + _EXECUTION_COLUMNS + " FROM execution"
    return _page(conn, select, where, "execution_id DESC", ("execution_id",), page_size(limit))


def show_execution(conn: Connection, execution_id: int) -> Row:
    """Return one execution with its workload, its jobs in the queue, and result and error once it has ended.

    Raises `NotFound`."""
    row = _execution(conn, execution_id)
    workload = _fetch(conn, "SELECT payload FROM workload WHERE execution_id = %s", (execution_id,))
    row["workload"] = workload[0]["payload"] if workload else None
    row["jobs"] = _fetch(
        conn,
        "SELECT id, node_id, visit, item_index, status, attempts, failures, worker_id, available_at"
        " FROM queue WHERE execution_id = %s ORDER BY id LIMIT 100",
        (execution_id,),
    )
    row["result"], row["error"] = None, None
    if row["status"] in TERMINAL:
        row["result"], row["error"] = _ending(conn, execution_id, int(row["last_event_id"]))
    return row


def execution_status(conn: Connection, execution_id: int) -> str:
    """Return the status of an execution. Raises `NotFound`."""
    return str(_execution(conn, execution_id)["status"])


def last_event_ids(conn: Connection, executions: Sequence[int]) -> dict[int, tuple[int, str]]:
    """Return the newest event id and the status of each of these executions that exists."""
    query: LiteralString = "SELECT execution_id, last_event_id, status FROM execution WHERE execution_id = ANY(%s)"
    return {row[0]: (row[1], row[2]) for row in conn.execute(query, (list(executions),))}


def _execution(conn: Connection, execution_id: int) -> Row:
    query: LiteralString = "SELECT " + _EXECUTION_COLUMNS + " FROM execution WHERE execution_id = %s"
    rows = _fetch(conn, query, (execution_id,))
    if not rows:
        raise NotFound(f"there is no execution {execution_id}: noetl execute list shows those there are")
    return rows[0]


def _ending(conn: Connection, execution_id: int, event_id: int) -> tuple[Any, Any]:
    """Return result and error as the terminal event has them, or the event and payload that it refers to."""
    query: LiteralString = (
        "SELECT result, result IS NOT NULL AS has_result, result_ref, error, meta FROM event_log"
        " WHERE execution_id = %s AND event_id = %s"
    )
    with conn.cursor(row_factory=dict_row) as cursor:
        terminal = cursor.execute(query, (execution_id, event_id)).fetchone()
        if terminal is None:
            return None, None
        holder: Mapping[str, Any] | None = terminal
        elsewhere = (terminal["meta"] or {}).get("result_event")
        if elsewhere is not None and not terminal["has_result"] and terminal["result_ref"] is None:
            holder = cursor.execute(query, (execution_id, elsewhere)).fetchone()
        result = None
        if holder is not None and holder["result_ref"] is not None:
            result = payload(conn, execution_id, holder["result_ref"])
        elif holder is not None:
            result = holder["result"]
    return result, terminal["error"]


def payload(conn: Connection, execution_id: int, payload_id: int) -> Any:
    """Return a result that is stored by reference, or None."""
    query: LiteralString = "SELECT body FROM payload WHERE execution_id = %s AND payload_id = %s"
    found = conn.execute(query, (execution_id, payload_id)).fetchone()
    return None if found is None else found[0]


def events(conn: Connection, execution_id: int, *, after: int = 0, limit: int = 100) -> list[Row]:
    """Return the events of an execution that follow number `after`, in order.

    A result that is stored by reference is not loaded: `result_ref` names it."""
    query: LiteralString = (
        "SELECT "
        + EVENT_COLUMNS
        + " FROM event_log WHERE execution_id = %s AND event_id > %s ORDER BY event_id LIMIT %s"
    )
    return _fetch(conn, query, (execution_id, after, limit))


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
    where = _Where()
    where.add("execution_id = %s", execution_id)
    if after is not None:
        where.add(
            "(created_at, node_id, visit, item_index, attempt) > (%s, %s, %s::integer, %s::integer, %s::integer)",
            *_keys(after, (datetime, str, int, int, int)),
        )
    select: LiteralString = "SELECT execution_id, node_id, visit, item_index, attempt, text, created_at FROM output"
    order: LiteralString = "created_at, node_id, visit, item_index, attempt"
    return _page(conn, select, where, order, keys, page_size(limit))


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
    where = _Where()
    if status is not None:
        where.add("status = %s", status)
    if pool is not None:
        where.add("pool = %s", pool)
    if execution_id is not None:
        where.add("execution_id = %s", execution_id)
    if after is not None:
        where.add("id > %s", *_keys(after, (int,)))
    select: LiteralString = (
        "SELECT id, execution_id, node_id, visit, item_index, status, pool, priority, attempts, failures,"
        " lost, available_at, lease_until, worker_id, concurrency_key, context, created_at FROM queue"
    )
    return _page(conn, select, where, "id", ("id",), page_size(limit))


def list_runtime(
    conn: Connection,
    *,
    kind: str | None = None,
    status: str | None = None,
    after: str | None = None,
    limit: int | None = None,
) -> Page:
    """Return servers and workers, the newest first."""
    where = _Where()
    if kind is not None:
        where.add("kind = %s", kind)
    if status is not None:
        where.add("status = %s", status)
    if after is not None:
        where.add("(started_at, runtime_id) < (%s, %s)", *_keys(after, (datetime, str)))
    select: LiteralString = (
        "SELECT runtime_id, kind, status, host, pid, pools, slots, address, version, started_at,"
        " heartbeat_at, meta FROM runtime"
    )
    order: LiteralString = "started_at DESC, runtime_id DESC"
    return _page(conn, select, where, order, ("started_at", "runtime_id"), page_size(limit))


def list_errors(
    conn: Connection, *, execution_id: int | None = None, after: str | None = None, limit: int | None = None
) -> Page:
    """Return the error log, the newest first."""
    where = _Where()
    if execution_id is not None:
        where.add("execution_id = %s", execution_id)
    if after is not None:
        where.add("error_id < %s", *_keys(after, (int,)))
    select: LiteralString = (
        "SELECT error_id, execution_id, node_id, visit, item_index, attempt, worker_id, error_type, message,"
        " detail, created_at FROM error_log"
    )
    return _page(conn, select, where, "error_id DESC", ("error_id",), page_size(limit))


def counts(conn: Connection) -> Row:
    """Return how many jobs stand in each status and how many servers and workers run."""
    queue = dict(conn.execute("SELECT status, count(*) FROM queue GROUP BY status").fetchall())
    running: LiteralString = "SELECT kind, count(*) FROM runtime WHERE status = 'running' GROUP BY kind"
    return {"queue": queue, "running": dict(conn.execute(running).fetchall())}


# ---- export ------------------------------------------------------------------------------------------------

EXPORTS: dict[str, LiteralString] = {
    "event_log": "SELECT * FROM event_log WHERE execution_id = %s ORDER BY event_id",
    "queue": "SELECT * FROM queue WHERE execution_id = %s ORDER BY id",
    "workload": "SELECT * FROM workload WHERE execution_id = %s",
    "workflow": "SELECT * FROM execution_workflow WHERE execution_id = %s ORDER BY position",
    "transition": "SELECT * FROM execution_transition WHERE execution_id = %s ORDER BY edge",
    "workbook": "SELECT * FROM execution_workbook WHERE execution_id = %s ORDER BY task_name",
    "runtime": (
        "SELECT * FROM runtime WHERE status = 'running' OR runtime_id IN"
        " (SELECT worker_id FROM event_log WHERE execution_id = %s) ORDER BY started_at, runtime_id"
    ),
    "error_log": "SELECT * FROM error_log WHERE execution_id = %s ORDER BY error_id",
    "output": "SELECT * FROM output WHERE execution_id = %s ORDER BY created_at, node_id",
    "payload": "SELECT * FROM payload WHERE execution_id = %s ORDER BY payload_id",
}
"""What `noetl export` can write of one execution: one query per file."""

EXPORTED: tuple[str, ...] = (
    "event_log",
    "queue",
    "workload",
    "workflow",
    "transition",
    "workbook",
    "runtime",
    "error_log",
)
"""What it writes when nothing is named."""


def export_rows(conn: Connection, table: str, execution_id: int) -> Iterator[Row]:
    """Give the rows of one export one after the other, however many there are."""
    with conn.cursor(f"export_{table}", row_factory=dict_row) as cursor:
        cursor.itersize = 200
        cursor.execute(EXPORTS[table], (execution_id,))
        for row in cursor:
            yield plain_row(row)
