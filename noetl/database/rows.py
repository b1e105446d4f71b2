"""Rows of the engine's statements, by name."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from noetl.jobs import Job

JOB_COLUMNS = {
    "node_id": "text",
    "visit": "integer",
    "item_index": "integer",
    "pool": "text",
    "priority": "integer",
    "attempts": "integer",
    "failures": "integer",
    "lost": "integer",
    "id": "bigint",
    "context": "json",
}
"""The columns of the queue that make a `Job`, in the order of its fields, with their types. The statements name them
as `{job_...}` (`noetl.database.sql`)."""


class JobRow(NamedTuple):
    """A job with what its worker needs to know about the execution. Times are microseconds since 1970."""

    job: Job
    execution_id: int
    created_at: int
    now: int
    catalog_id: int
    last_event_id: int
    last_event_at: int
    state: str
    root_execution_id: int
    parent_execution_id: int | None
    parent_job_id: int | None
    status: str


def job_of(columns: Sequence[Any]) -> Job:
    """Return the job of a row's first columns."""
    values = list(columns[: len(JOB_COLUMNS)])
    values[-1] = orjson.loads(values[-1])  # the context
    return Job(*values)


def job_row(columns: Sequence[Any]) -> JobRow:
    """Return a row of the statements that lease jobs, or read leased ones."""
    return JobRow(job_of(columns), *columns[len(JOB_COLUMNS) :])


class LockedRow(NamedTuple):
    """An execution that a completion has locked, and which of its jobs were removed: each with its `attempts`, since
    a worker may bring outcomes of two leases of a job, of which one holds."""

    execution_id: int
    last_event_id: int
    last_event_at: int
    now: int
    state: str | None
    removed: list[int]
    attempts: list[int]


class Lock(NamedTuple):
    """One execution, locked."""

    catalog_id: int
    last_event_id: int
    last_event_at: int
    now: int
    state: str
    root_execution_id: int
    parent_execution_id: int | None
    parent_job_id: int | None
    status: str
