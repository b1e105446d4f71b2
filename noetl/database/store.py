"""The engine's statements as functions: leasing, completing, reading.

Every function takes a connection that stands in a transaction with the search path set (`transaction`), most of them
inside a pipeline: what belongs together costs one round trip. Rows go in as one JSON parameter, which costs the client
less than a dozen arrays and keeps the text of results as it is.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import orjson
from psycopg import Connection, Cursor
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Identifier, Literal

from noetl.database.connection.gathered import GatheringConnection, check_server
from noetl.database.rows import (
    CatalogRow,
    Ended,
    FinishedJob,
    JobIds,
    JobRow,
    Lock,
    LockedRow,
    LoopItemRow,
    Pending,
    Row,
    Startable,
    StartedRow,
    StoredChunk,
    StoredEvent,
    job_of,
)
from noetl.database.sql import sql
from noetl.jobs import Job


@contextmanager
def transaction(
    conn: Connection, schema: str, *, asynchronous: bool = False, patience: str = "", then: bytes | None = None
) -> Iterator[None]:
    """Open a transaction on an autocommit connection, in a pipeline: the statements that begin it cost no round trip.

    With `asynchronous` the commit does not wait for the disk: for leases, which may be lost, never for completions.
    It raises `LockNotAvailable` where it would have to wait for one lock for longer than `patience`, that of the
    connection where none is given; "0": it waits.
    The commit travels in the same round trip as the last statements of the block, and so does `then`, a statement of
    its own that is run where the commit was. Raises `psycopg.OperationalError` where the session has come to another
    server behind a proxy.
    """
    try:
        with conn.gathered() if isinstance(conn, GatheringConnection) else conn.pipeline():
            conn.execute("BEGIN")
            patience = patience or getattr(conn, "patience", "0")
            bounded = conn.pgconn.server_version >= TRANSACTION_TIMEOUT_SINCE
            opened = conn.execute(opening(schema, asynchronous, patience, bounded), prepare=True)
            yield
            check_server(conn, opened)
            conn.execute("COMMIT")
            if then is not None:
                conn.execute(then)
        check_server(conn, opened)
    except BaseException:
        if not conn.closed and conn.info.transaction_status != TransactionStatus.IDLE:
            conn.execute("ROLLBACK")
        raise


@cache
def search_path(schema: str) -> bytes:
    """Return the statement that puts a transaction into the engine's schema."""
    return SQL("SET LOCAL search_path = {}, pg_temp").format(Identifier(schema)).as_bytes()


@cache
def lock_timeout(patience: str) -> bytes:
    """Return the statement that bounds how long a transaction waits for one lock."""
    return SQL("SET LOCAL lock_timeout = {}").format(Literal(patience)).as_bytes()


ABANDONED = "10s"
"""How long a transaction may be left alone: whoever opened it has been stopped, and others wait for its locks."""

STALLED = "30s"
"""How long a transaction may last: one whose client stopped in the middle of a message is not idle for Postgres."""

TRANSACTION_TIMEOUT_SINCE = 170000


@cache
def opening(schema: str, asynchronous: bool, patience: str = "0", bounded: bool = True) -> bytes:
    """Return the statement that prepares a transaction of the engine: all settings in one.

    Generic plans, since every statement here has one good plan (a test EXPLAINs them) and planning a claim anew
    costs more than running it. Through indexes only: a plan made while a table was empty would read it from end to
    end, and be kept however full the table has become. No jit, to which older servers take that for a reason.
    """
    path = SQL("{}, pg_temp").format(Identifier(schema)).as_string()
    settings = [
        ("search_path", path),
        ("plan_cache_mode", "force_generic_plan"),
        ("enable_seqscan", "off"),
        ("jit", "off"),
        ("idle_in_transaction_session_timeout", ABANDONED),
        ("lock_timeout", patience),
    ]
    if bounded:
        settings.append(("transaction_timeout", STALLED))
    if asynchronous:
        settings.append(("synchronous_commit", "off"))
    calls = [SQL("set_config({}, {}, true)").format(Literal(name), Literal(value)) for name, value in settings]
    return SQL("SELECT pg_postmaster_start_time(), {}").format(SQL(", ").join(calls)).as_bytes()


def numbers(values: Iterable[int]) -> str:
    """Return an array literal; a text of digits is cheaper to send than a list to adapt."""
    return "{" + ",".join(map(str, values)) + "}"


def flags(values: Iterable[bool]) -> str:
    return "{" + ",".join("t" if value else "f" for value in values) + "}"


WEEKS_AHEAD = 8


def _run(conn: Connection, name: str, parameters: Mapping[str, object]) -> Cursor[Row]:
    return conn.execute(sql(name), parameters, prepare=True)


# ---- leasing -----------------------------------------------------------------------------------------------------


def send_claim(conn: Connection, *, worker: str, pool: str, slots: int, lease: float) -> Pending[list[JobRow]]:
    """As `claim_jobs`; the rows may be asked for behind the transaction, which saves a round trip."""
    parameters = {"worker": worker, "pool": pool, "slots": slots, "lease": lease}
    return Pending(_run(conn, "claim_jobs", parameters), _in_order)


def _in_order(rows: list[Row]) -> list[JobRow]:
    """Return claimed jobs in the order in which they are to begin; what an UPDATE returns has none."""
    return sorted(map(JobRow.of, rows), key=lambda row: (-row.job.priority, row.job.job_id))


def claim_jobs(conn: Connection, *, worker: str, pool: str, slots: int, lease: float) -> list[JobRow]:
    """Lease up to `slots` jobs of a pool, best priority first, oldest first."""
    return send_claim(conn, worker=worker, pool=pool, slots=slots, lease=lease).get()


def claim_lost_job(conn: Connection, *, worker: str, pool: str, lease: float) -> list[JobRow]:
    """Lease one job that brought a worker down, or seems to have."""
    cursor = _run(conn, "claim_lost_job", {"worker": worker, "pool": pool, "lease": lease})
    return [JobRow.of(row) for row in cursor.fetchall()]


def claim_tree_jobs(conn: Connection, *, worker: str, root: int, slots: int, lease: float) -> list[JobRow]:
    """Lease jobs of one execution tree, whatever their pool."""
    cursor = _run(conn, "claim_tree_jobs", {"worker": worker, "root": root, "slots": slots, "lease": lease})
    return _in_order(cursor.fetchall())


def renew_leases(conn: Connection, *, worker: str, held: Mapping[int, int], lease: float) -> set[int]:
    """Renew the leases of `held` ({job id: attempts}); return the ids that were renewed."""
    parameters = {
        "worker": worker,
        "jobs": numbers(held),
        "attempts": numbers(held.values()),
        "lease": lease,
    }
    return {row[0] for row in _run(conn, "renew_leases", parameters).fetchall()}


def release_jobs(conn: Connection, *, worker: str, jobs: Iterable[int]) -> None:
    """Put jobs back into the queue that were leased and never begun."""
    _run(conn, "release_jobs", {"worker": worker, "jobs": numbers(jobs)})


def select_expired_jobs(conn: Connection, *, limit: int, seconds: float = 0.0) -> list[JobRow]:
    """Return jobs whose lease expired so many seconds ago at least, the oldest first."""
    cursor = _run(conn, "select_expired_jobs", {"limit": limit, "seconds": seconds})
    return [JobRow.of(row) for row in cursor.fetchall()]


def promote_jobs(conn: Connection, *, limit: int) -> tuple[int, float | None]:
    """Queue the waiting jobs whose time has come; return how many, and seconds until the next (None: none waits)."""
    count, seconds = _run(conn, "promote_jobs", {"limit": limit}).fetchall()[0]
    return count, seconds


def select_killed(conn: Connection, executions: Iterable[int]) -> set[int]:
    """Return which of these executions have their running attempts killed."""
    return {row[0] for row in _run(conn, "select_killed", {"executions": numbers(executions)}).fetchall()}


def select_timed_out_executions(conn: Connection, *, limit: int, skip: Iterable[int] = ()) -> list[int]:
    """Return executions that have timed out, but for some."""
    cursor = _run(conn, "select_timed_out_executions", {"limit": limit, "skip": numbers(skip)})
    return [row[0] for row in cursor.fetchall()]


def select_finished(conn: Connection, executions: set[int], *, seconds: float) -> set[int]:
    """Return those of some executions that ended at least so long ago."""
    cursor = _run(conn, "select_finished", {"executions": numbers(executions), "seconds": seconds})
    return {row[0] for row in cursor.fetchall()}


# ---- completing --------------------------------------------------------------------------------------------------


def remove_jobs(
    conn: Connection,
    *,
    worker: str,
    known: Mapping[int, int],
    jobs: Sequence[FinishedJob],
    waiting: bool = False,
) -> list[LockedRow]:
    """Lock executions and remove their finished jobs under the fence.

    `known` is {execution: the last_event_id the caller knows}. Executions that somebody else holds are left out, unless
    `waiting`.
    """
    executions = sorted(known)
    parameters = {
        "worker": worker,
        "executions": numbers(executions),
        "known": numbers(known[execution] for execution in executions),
        "jobs": numbers(job.job_id for job in jobs),
        "attempts": numbers(job.attempts for job in jobs),
        "expired": flags(job.expired for job in jobs),
        "of": numbers(job.execution_id for job in jobs),
    }
    rows = _run(conn, "remove_jobs_waiting" if waiting else "remove_jobs", parameters).fetchall()
    return [LockedRow._make(row) for row in rows]


def lock_execution(conn: Connection, execution: int) -> Lock | None:
    """Lock one execution, waiting for it."""
    row = _run(conn, "lock_execution", {"execution": execution}).fetchone()
    return Lock._make(row) if row else None


def insert_rows(conn: Connection, statement: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Run one of the `insert_*` statements that take their rows as JSON."""
    if rows:
        _run(conn, statement, {"rows": orjson.dumps(rows).decode()})


def update_executions(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the states of executions whose rows are locked."""
    if rows:
        executions = numbers(row["execution_id"] for row in rows)
        _run(conn, "update_executions", {"rows": orjson.dumps(rows).decode(), "executions": executions})


def insert_jobs(
    conn: Connection, rows: Sequence[Mapping[str, object]], *, worker: str | None, lease: float
) -> Pending[JobIds] | None:
    """Insert jobs, if there are any, and return the ids that they will have."""
    if not rows:
        return None
    parameters = {"rows": orjson.dumps(rows).decode(), "worker": worker, "lease": lease}
    return Pending(_run(conn, "insert_jobs", parameters), _ids)


def _ids(rows: list[Row]) -> JobIds:
    return {(execution_id, node_id, item_index): job_id for job_id, execution_id, node_id, item_index in rows}


def wake_jobs(conn: Connection, jobs: Mapping[int, int]) -> None:
    """Queue waiting jobs whose child has ended: {job: child}."""
    _run(conn, "wake_jobs", {"jobs": numbers(jobs), "children": numbers(jobs.values())})


def withdraw_jobs(conn: Connection, execution: int, within: str | None = None) -> list[Job]:
    """Delete the jobs of a locked execution that have not begun, or those within a loop; return them."""
    rows = _run(conn, "withdraw_jobs", {"execution": execution, "within": within}).fetchall()
    return [job_of(row) for row in rows]


def insert_execution(conn: Connection, parameters: Mapping[str, object]) -> Pending[bool]:
    """Accept an execution, unless its key was used before."""
    return Pending(_run(conn, "insert_execution", parameters), bool)


def insert_workload(conn: Connection, execution: int, payload: str) -> None:
    """Keep the rendered workload."""
    _run(conn, "insert_workload", {"execution": execution, "payload": payload})


# ---- reading -----------------------------------------------------------------------------------------------------


def select_workloads(conn: Connection, executions: Iterable[int]) -> Pending[dict[int, str]]:
    """Read rendered workloads: {execution: JSON text}."""
    return Pending(_run(conn, "select_workloads", {"executions": numbers(executions)}), dict)


def select_playbooks(conn: Connection, catalogs: Iterable[int]) -> list[CatalogRow]:
    """Return catalog versions."""
    return list(map(CatalogRow._make, _run(conn, "select_playbooks", {"catalogs": numbers(catalogs)}).fetchall()))


def select_events(conn: Connection, execution: int, events: Iterable[int]) -> Pending[list[StoredEvent]]:
    """Read events of one execution."""
    parameters = {"execution": execution, "events": numbers(sorted(events))}
    return Pending(_run(conn, "select_events", parameters), _stored_events)


def _stored_events(rows: list[Row]) -> list[StoredEvent]:
    return list(map(StoredEvent._make, rows))


def select_chunks(
    conn: Connection, execution: int, chunks: Iterable[tuple[str, int, int]]
) -> Pending[list[StoredChunk]]:
    """Read chunks of collections, named by (node, visit, chunk)."""
    keys = [{"node_id": node, "visit": visit, "chunk": chunk} for node, visit, chunk in chunks]
    parameters = {"execution": execution, "chunks": orjson.dumps(keys).decode()}
    return Pending(_run(conn, "select_chunks", parameters), lambda rows: list(map(StoredChunk._make, rows)))


def select_loop_items(conn: Connection, execution: int, first: int, limit: int) -> Pending[list[LoopItemRow]]:
    """Read how the items of a loop ended (see `noetl.database.loops`, which puts them together)."""
    parameters = {"execution": execution, "first": first, "limit": limit}
    return Pending(_run(conn, "select_loop_items", parameters), lambda rows: list(map(LoopItemRow._make, rows)))


def select_startable(conn: Connection, *, path: str, version: int | None, key: str | None) -> Pending[Startable | None]:
    """Find what to start, None where the catalog does not have it."""
    parameters = {"path": path, "version": version, "key": key}
    return Pending(_run(conn, "select_startable", parameters), lambda rows: Startable._make(rows[0]) if rows else None)


def select_started(conn: Connection, execution: int) -> StartedRow:
    """Return path, version and status of an execution."""
    return StartedRow._make(_run(conn, "select_started", {"execution": execution}).fetchall()[0])


def select_depth(conn: Connection, execution: int) -> int:
    """Return how many executions stand above this one."""
    row = _run(conn, "select_depth", {"execution": execution}).fetchone()
    return row[0] or 0 if row else 0


def select_ended(conn: Connection, execution: int, step: str | None) -> Ended | None:
    """Return how an execution ended. Where `step` names one of its steps the result is that step's, and `has_result`
    says whether it has completed."""
    row = _run(conn, "select_ended", {"execution": execution, "step": step}).fetchone()
    return Ended._make(row) if row else None


def count_lost_jobs(conn: Connection) -> int:
    """Return how many queued jobs were lost before (bounded by what the partial index holds)."""
    row = _run(conn, "count_lost_jobs", {}).fetchone()
    return int(row[0]) if row else 0


def make_partitions(conn: Connection) -> None:
    """Make the weekly partitions ahead of time."""
    _run(conn, "make_partitions", {"weeks": WEEKS_AHEAD})
