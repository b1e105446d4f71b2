"""The registry of servers and workers: who is there, since when, and when they last said so."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from psycopg import Connection
from psycopg.types.json import Json

from noetl.database.sql import sql
from noetl.words import RuntimeStatus

STALE_SECONDS = 30.0
"""Seconds without a heartbeat after which a process counts as offline."""


@dataclass(frozen=True, slots=True)
class Process:
    """A server or worker process. `runtime_id` is new per process start; `meta` holds a worker's `lease` in seconds."""

    runtime_id: str
    kind: str
    host: str
    pid: int
    pools: tuple[str, ...]
    slots: int
    version: str
    address: str | None = None
    status: RuntimeStatus = RuntimeStatus.RUNNING
    meta: Mapping[str, object] = field(default_factory=dict)


def beat(conn: Connection, process: Process) -> str:
    """Write the heartbeat of a process, and return the instance of the schema it found. Runs in a transaction."""
    parameters = {
        "runtime_id": process.runtime_id,
        "kind": process.kind,
        "status": process.status,
        "host": process.host,
        "pid": process.pid,
        "pools": list(process.pools),
        "slots": process.slots,
        "address": process.address,
        "version": process.version,
        "meta": Json(dict(process.meta)),
    }
    row = conn.execute(sql("upsert_runtime"), parameters).fetchone()
    assert row is not None
    return str(row[0])


def database_identity(conn: Connection) -> str:
    """Return a text that no other database has, nor this one's schema once it is made anew, nor a copy that is restored
    beside it. Runs in a transaction."""
    row = conn.execute(sql("select_database_identity")).fetchone()
    assert row is not None
    return str(row[0])


def served_pools(conn: Connection) -> dict[str, int]:
    """Return how many living workers serve each pool; a pool that is not named has none.

    A worker lives while its last heartbeat is younger than `STALE_SECONDS`, whether or not anybody is left to mark it
    as offline. Runs in a transaction.
    """
    return dict(conn.execute(sql("select_served_pools"), {"seconds": STALE_SECONDS}).fetchall())


def mark_offline(conn: Connection, seconds: float) -> None:
    """Mark processes that have not been heard of for so long."""
    conn.execute(sql("update_stale_runtimes"), {"seconds": seconds})


def forget_gone(conn: Connection, seconds: float, *, limit: int) -> None:
    """Remove at most `limit` processes that have stopped or are offline for so long, the longest gone first."""
    conn.execute(sql("delete_gone_runtimes"), {"seconds": seconds, "limit": limit})


def leave(conn: Connection, runtime_id: str) -> None:
    """Say that a process has stopped."""
    conn.execute(sql("stop_runtime"), {"runtime_id": runtime_id})
