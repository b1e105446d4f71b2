"""The rows of a transaction: one multi-row statement per table, all in one pipeline.

Times are microseconds since 1970. An event's time is `max(clock under the lock, last event + 1) + its place`, so that
times strictly increase in an execution whatever the clock does.
"""

import hashlib
import math
from collections.abc import Set
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
from psycopg import Connection

from noetl.database import store
from noetl.database.rows import JobIds, Pending
from noetl.engine.decision import Chunk
from noetl.engine.events import Event
from noetl.jobs import Job
from noetl.orchestrator.batch import BatchPart, CancelledChild
from noetl.words import CANCEL_NODE, EventType, JobStatus

Row = dict[str, Any]
"""A row on its way into a statement, by the names of its columns."""


@dataclass(slots=True)
class Rows:
    """The rows of one transaction, by table."""

    events: list[Row] = field(default_factory=list)
    payloads: list[Row] = field(default_factory=list)
    executions: list[Row] = field(default_factory=list)
    jobs: list[Row] = field(default_factory=list)
    chunks: list[Row] = field(default_factory=list)
    cancels: list[Row] = field(default_factory=list)
    errors: list[Row] = field(default_factory=list)
    outputs: list[Row] = field(default_factory=list)
    woken: dict[int, int] = field(default_factory=dict)  # jobs of parents, and their children that have ended

    @property
    def queued(self) -> bool:
        """Whether other workers may have something to do now."""
        return bool(self.woken or self.cancels) or any(row["status"] == JobStatus.QUEUED for row in self.jobs)

    @property
    def due(self) -> float | None:
        """Seconds until the first of the jobs that wait for a time; None where there is none."""
        waits = [row["available_at"] - row["created_at"] for row in self.jobs if "available_at" in row]
        return min(waits) / 1_000_000 if waits else None


def add_part(rows: Rows, part: BatchPart, at: int, inline_limit: int, staying: Set[int] = frozenset()) -> None:
    """Add one execution's rows. `at` is the time of its first event; jobs whose `id()` is among `staying` are leased to
    this worker at once."""
    execution_id, parent_job_id = part.execution.execution_id, part.execution.parent_job_id
    rows.events += [
        event_row(rows, execution_id, event, at + place, inline_limit) for place, event in enumerate(part.events)
    ]
    if part.events and part.new is None:
        rows.executions.append(_execution_row(part, at))
        if part.ended and parent_job_id is not None:
            rows.woken[parent_job_id] = execution_id
    rows.jobs += [
        job_row(execution_id, job, at, leased=id(job) in staying, quarantined=part.quarantined) for job in part.jobs
    ]
    if part.chunks or part.errors or part.outputs or part.cancelled_children:
        _add_rare_rows(rows, part)


def _add_rare_rows(rows: Rows, part: BatchPart) -> None:
    """Add the rows that most steps do not have."""
    execution_id = part.execution.execution_id
    rows.chunks += [_chunk_row(execution_id, chunk) for chunk in part.chunks]
    rows.errors += [
        {**asdict(error), "execution_id": execution_id, "message": storable(error.message)} for error in part.errors
    ]
    rows.outputs += [
        {**asdict(output), "execution_id": execution_id, "text": storable(output.text)} for output in part.outputs
    ]
    rows.cancels += [cancel_row(child) for child in part.cancelled_children]


def _execution_row(part: BatchPart, at: int) -> Row:
    cancel_at = None
    if part.state.cancels:
        for place, event in enumerate(part.events):
            if event.event_type is EventType.EXECUTION_CANCEL_REQUESTED:
                cancel_at = at + place
    return {
        "execution_id": part.execution.execution_id,
        "state": part.state.to_json(),
        "status": part.state.status,
        "last_event_id": part.state.last_event_id,
        "at": at + len(part.events) - 1,
        "ended": part.ended,
        "cancel_at": cancel_at,
    }


def _chunk_row(execution_id: int, chunk: Chunk) -> Row:
    return {
        "execution_id": execution_id,
        "node_id": chunk.node_id,
        "visit": chunk.visit,
        "chunk": chunk.chunk,
        "items": orjson.Fragment(chunk.items),
    }


def storable(text: str) -> str:
    """Return text that Postgres can store: it has no place for NUL, nor UTF-8 for half a character."""
    return text.encode(errors="replace").decode().replace("\0", "\ufffd")


def event_row(rows: Rows, execution_id: int, event: Event, at: int, inline_limit: int) -> Row:
    """Return an event's row without its empty columns; a large result goes to `payload`, once."""
    row: Row = {
        "execution_id": execution_id,
        "event_id": event.event_id,
        "at": at,
        "event_type": event.event_type,
        "item_index": event.item_index,
    }
    if event.node_id:
        row["node_id"] = event.node_id
        row["node_type"] = event.node_type
        row["visit"] = event.visit
    if event.attempt:
        row["attempt"] = event.attempt
    if event.worker_id is not None:
        row["worker_id"] = event.worker_id
    if event.duration is not None:
        row["duration"] = event.duration
    if event.context:
        row["context"] = event.context
    if event.error is not None:
        row["error"] = event.error
    if event.meta:
        row["meta"] = event.meta
    if event.result is not None:
        _add_result(rows, row, event.result, inline_limit)
    return row


def _add_result(rows: Rows, row: Row, result: bytes, inline_limit: int) -> None:
    """Add a result to its event's row, or to `payload` where it is large."""
    if len(result) <= inline_limit:
        row["has_result"] = True
        row["result"] = orjson.Fragment(result)
        return
    row["result_ref"] = row["event_id"]
    row["meta"] = {**row.get("meta", {}), "sha256": hashlib.sha256(result).hexdigest()}  # for `db verify`
    rows.payloads.append(
        {
            "execution_id": row["execution_id"],
            "payload_id": row["event_id"],
            "size": len(result),
            "body": orjson.Fragment(result),
        }
    )


def job_row(execution_id: int, job: Job, at: int, *, leased: bool, quarantined: bool) -> Row:
    """Return a queue row; its status says when it may run."""
    delay = job.delay
    row: Row = job.columns()
    row["execution_id"] = execution_id
    row["created_at"] = at
    if job.job_id:
        row["id"] = job.job_id
    if leased:
        row["status"] = JobStatus.LEASED
        row["attempts"] = job.attempts + 1
    elif quarantined:
        row["status"] = JobStatus.QUARANTINED
    elif delay is None:
        row["status"] = JobStatus.QUEUED
    else:
        row["status"] = JobStatus.WAITING
        if math.isfinite(delay):
            row["available_at"] = at + int(delay * 1_000_000)
    return row


def cancel_row(child: CancelledChild) -> Row:
    """Return the job by which a cancelled parent cancels a child: one execution acts on another by queue alone."""
    return {
        "execution_id": child.execution_id,
        "node_id": CANCEL_NODE,
        "visit": 0,
        "pool": child.pool,
        "priority": child.priority,
    }


def write(conn: Connection, rows: Rows, *, worker: str | None, lease: float) -> Pending[JobIds] | None:
    """Send all rows in the pipeline that is open; return the ids that the inserted jobs will have."""
    store.insert_rows(conn, "insert_payloads", rows.payloads)
    store.insert_rows(conn, "insert_events", rows.events)
    store.update_executions(conn, rows.executions)
    store.insert_rows(conn, "insert_chunks", rows.chunks)
    store.insert_rows(conn, "insert_errors", rows.errors)
    store.insert_rows(conn, "insert_outputs", rows.outputs)
    inserted = store.insert_jobs(conn, rows.jobs, worker=worker, lease=lease)
    store.insert_rows(conn, "insert_cancels", rows.cancels)
    if rows.woken:
        store.wake_jobs(conn, rows.woken)
    return inserted


def first_at(now: int, last_event_at: int) -> int:
    """Return the time of the next event: the clock's, but after the last event."""
    return max(now, last_event_at + 1)
