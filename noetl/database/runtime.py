"""The registry of servers and workers: who is there, since when, and when they last said so."""

from dataclasses import dataclass

from psycopg import Connection

from noetl.database.sql import sql
from noetl.words import RuntimeStatus


@dataclass(frozen=True, slots=True)
class Process:
    """A server or worker process. `runtime_id` is new per process start."""

    runtime_id: str
    kind: str
    host: str
    pid: int
    pools: tuple[str, ...]
    slots: int
    version: str
    address: str | None = None
    status: RuntimeStatus = RuntimeStatus.RUNNING


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
    }
    row = conn.execute(sql("upsert_runtime"), parameters).fetchone()
    assert row is not None
    return str(row[0])


def mark_offline(conn: Connection, seconds: float) -> None:
    """Mark processes that have not been heard of for so long."""
    conn.execute(sql("update_stale_runtimes"), {"seconds": seconds})


def forget_gone(conn: Connection, seconds: float, *, limit: int) -> None:
    """Remove at most `limit` processes that have stopped or are offline for so long, the longest gone first."""
    conn.execute(sql("delete_gone_runtimes"), {"seconds": seconds, "limit": limit})


def leave(conn: Connection, runtime_id: str) -> None:
    """Say that a process has stopped."""
    conn.execute(
        "UPDATE runtime SET status = %s, heartbeat_at = clock_timestamp() WHERE runtime_id = %s",
        (RuntimeStatus.STOPPED, runtime_id),
    )
