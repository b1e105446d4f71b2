"""Reading back after a lost connection: which leases are ours, and whether the log is the one that was known.

A database can lose its tail while workers live: it was put back to an earlier time, or a standby took over that had not
received everything. The numbers of jobs and events are then given again.
"""

from collections.abc import Mapping
from typing import NamedTuple

from psycopg import Connection

from noetl.database.sql import sql


class Lease(NamedTuple):
    """A lease as the queue has it."""

    attempts: int
    execution_id: int


def select_leases(conn: Connection, *, worker: str) -> dict[int, Lease]:
    """Return the leases that the queue believes the worker holds, by job id. Runs in a transaction."""
    rows = conn.execute(sql("select_leases"), {"worker": worker}, prepare=True).fetchall()
    return {job_id: Lease(attempts, execution_id) for job_id, attempts, execution_id in rows}


def select_unchanged(conn: Connection, known: Mapping[int, tuple[int, int]]) -> set[int]:
    """Return the executions whose log still holds the last event that is known of it.

    `known` is {execution: (event id, its time in microseconds since 1970)}. One round trip, inside a transaction.
    """
    statement = sql("select_unchanged")
    answers = [
        conn.execute(statement, {"execution": execution, "event": event, "at": at}, prepare=True)
        for execution, (event, at) in known.items()
    ]
    return {row[0] for answer in answers for row in answer.fetchall()}
