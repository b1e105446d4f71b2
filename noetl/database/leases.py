"""Reading back after a lost connection: which leases are ours, and whether the log is the one that was known.

A database can lose its tail while workers live: it was put back to an earlier time, or a standby took over that had not
received everything. The numbers of jobs and events are then given again.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from psycopg import Connection

from noetl.database.sql import sql

CLOCK_SLACK_SECONDS = 5.0
"""So much longer than a lease is granted it may last before it counts as one from before the clock was set back."""


class Lease(NamedTuple):
    """A lease as the queue has it."""

    attempts: int
    execution_id: int


class HeldRun(NamedTuple):
    """A step run that a worker is to hold, by its idempotency key."""

    execution_id: int
    key: str
    worker_id: str


class LastEvent(NamedTuple):
    """The last event that is known of an execution; its time is in microseconds since 1970."""

    event_id: int
    at: int


def cut_leases(conn: Connection, *, lease: float, limit: int) -> None:
    """Shorten leases that end later than their worker's ever do, and than one of `lease` seconds would from now on.

    Runs in a transaction.
    """
    slack = CLOCK_SLACK_SECONDS
    conn.execute(sql("cut_leases"), {"beyond": slack + lease, "limit": limit, "slack": slack}, prepare=True)


def database_clock(conn: Connection) -> float:
    """Return the database's time, in seconds since 1970."""
    row = conn.execute(sql("select_clock")).fetchone()
    assert row is not None
    return float(row[0])


def select_leases(conn: Connection, *, worker: str) -> dict[int, Lease]:
    """Return the leases that the queue believes the worker holds, by job id. Runs in a transaction."""
    rows = conn.execute(sql("select_leases"), {"worker": worker}, prepare=True).fetchall()
    return {job_id: Lease(attempts, execution_id) for job_id, attempts, execution_id in rows}


def select_unheld(conn: Connection, held: Sequence[HeldRun]) -> set[int]:
    """Return the places in `held` of what its worker no longer holds. Runs in a transaction."""
    parameters = {
        "executions": [run.execution_id for run in held],
        "keys": [run.key for run in held],
        "workers": [run.worker_id for run in held],
    }
    return {row[0] - 1 for row in conn.execute(sql("select_unheld"), parameters).fetchall()}


def select_unchanged(conn: Connection, known: Mapping[int, LastEvent]) -> set[int]:
    """Return the executions whose log still holds the last event that is known of it.

    One round trip, inside a transaction.
    """
    statement = sql("select_unchanged")
    answers = [
        conn.execute(statement, {"execution": execution, "event": last.event_id, "at": last.at}, prepare=True)
        for execution, last in known.items()
    ]
    return {row[0] for answer in answers for row in answer.fetchall()}
