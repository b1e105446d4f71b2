"""Rows of the engine's statements, by name."""

from typing import NamedTuple


class JobRow(NamedTuple):
    """A queue row with what its worker needs to know about the execution. Times are microseconds since 1970."""

    id: int
    execution_id: int
    node_id: str
    visit: int
    item_index: int
    attempts: int
    failures: int
    lost: int
    context: str
    pool: str
    priority: int
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
