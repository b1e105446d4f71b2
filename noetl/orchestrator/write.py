"""From parts to rows: one multi-row statement per table, all in one pipeline.

Times are microseconds since 1970. An event's time is `max(clock under the lock, last event + 1) + its place`, so that
times strictly increase in an execution whatever the clock does.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Set
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
from psycopg import Connection, Cursor

from noetl.database import store
from noetl.engine.events import Event
from noetl.jobs import Job
from noetl.orchestrator.batch import QUARANTINED, BatchPart
from noetl.words import CANCEL_NODE, EventType, JobStatus


@dataclass(slots=True)
class Rows:
    """The rows of one transaction, by table."""

    events: list[dict[str, Any]] = field(default_factory=list)
    payloads: list[dict[str, Any]] = field(default_factory=list)
    executions: list[dict[str, Any]] = field(default_factory=list)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    chunks: list[dict[str, Any]] = field(default_factory=list)
    cancels: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    woken: dict[int, int] = field(default_factory=dict)  # jobs of parents, and their children that have ended

    @property
    def queued(self) -> bool:
        """Whether other workers may have something to do now."""
        return bool(self.woken or self.cancels) or any(row["status"] == JobStatus.QUEUED for row in self.jobs)

    @property
    def due(self) -> float | None:
        """Seconds until the first of the jobs that are put off to a time; None where there is none."""
        waits = [row["available_at"] - row["created_at"] for row in self.jobs if "available_at" in row]
        return min(waits) / 1_000_000 if waits else None


def add_part(rows: Rows, part: BatchPart, at: int, inline_limit: int, leased: Set[int] = frozenset()) -> None:
    """Add one execution's rows. `at` is the time of its first event; jobs whose `id()` is in `leased` go on here."""
    view, state = part.view, part.state
    cancel_at = None
    for place, event in enumerate(part.events):
        rows.events.append(event_row(rows, view.execution_id, event, at + place, inline_limit))
        if event.event_type is EventType.EXECUTION_CANCEL_REQUESTED:
            cancel_at = at + place
    if part.events and part.new is None:
        rows.executions.append(
            {
                "execution_id": view.execution_id,
                "state": state.to_json(),
                "status": state.status,
                "last_event_id": state.last_event_id,
                "at": at + len(part.events) - 1,
                "ended": part.ended,
                "cancel_at": cancel_at,
            }
        )
    rows.jobs += [job_row(view.execution_id, job, at, id(job) in leased) for job in part.jobs]
    rows.chunks += [
        {
            "execution_id": view.execution_id,
            "node_id": chunk.node_id,
            "visit": chunk.visit,
            "chunk": chunk.chunk,
            "items": orjson.Fragment(chunk.items),
        }
        for chunk in part.chunks
    ]
    rows.errors += [
        {**asdict(error), "execution_id": view.execution_id, "message": storable(error.message)}
        for error in part.errors
    ]
    rows.outputs += [
        {**output, "execution_id": view.execution_id, "text": storable(output["text"])} for output in part.outputs
    ]
    rows.cancels += [cancel_row(child, pool, priority) for child, pool, priority in part.cancelled_children]
    if part.ended and view.parent_job_id is not None and part.new is None:
        rows.woken[view.parent_job_id] = view.execution_id


def storable(text: str) -> str:
    """Return text that Postgres can store: it has no place for NUL, nor UTF-8 for half a character."""
    return text.encode(errors="replace").decode().replace("\0", "\ufffd")


def event_row(rows: Rows, execution_id: int, event: Event, at: int, inline_limit: int) -> dict[str, Any]:
    """Return an event's row without its empty columns; a large result goes to `payload`, once."""
    row: dict[str, Any] = {
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
    result = event.result
    if result is not None:
        if len(result) > inline_limit:
            row["result_ref"] = event.event_id
            row["meta"] = {**(event.meta or {}), "sha256": hashlib.sha256(result).hexdigest()}  # for `db verify`
            rows.payloads.append(
                {
                    "execution_id": execution_id,
                    "payload_id": event.event_id,
                    "size": len(result),
                    "body": orjson.Fragment(result),
                }
            )
        else:
            row["has_result"] = True
            row["result"] = orjson.Fragment(result)
    return row


def job_row(execution_id: int, job: Job, at: int, leased: bool) -> dict[str, Any]:
    """Return a queue row; its status says when it may run."""
    delay = job.delay
    row: dict[str, Any] = {"execution_id": execution_id, **job.columns(), "created_at": at}
    if job.job_id:
        row["id"] = job.job_id
    if leased:
        row["status"] = JobStatus.LEASED
        row["attempts"] = job.attempts + 1
    elif delay is None:
        row["status"] = JobStatus.QUEUED
    elif delay == QUARANTINED:
        row["status"] = JobStatus.QUARANTINED
    else:
        row["status"] = JobStatus.WAITING
        if math.isfinite(delay):
            row["available_at"] = at + int(delay * 1_000_000)
    return row


def cancel_row(child: int, pool: str, priority: int) -> dict[str, Any]:
    """Return the job by which a cancelled parent cancels a child: one execution acts on another by queue alone."""
    return {"execution_id": child, "node_id": CANCEL_NODE, "visit": 0, "pool": pool, "priority": priority}


def write(conn: Connection, rows: Rows, *, worker: str | None, lease: float) -> Cursor[Any] | None:
    """Send all rows in the pipeline that is open; the cursor yields the inserted jobs."""
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


def by_node(cursor: Cursor[Any] | None) -> Mapping[tuple[int, str, int], int]:
    """Return {(execution, node, item): job id} of inserted jobs."""
    rows: Iterable[Any] = cursor.fetchall() if cursor is not None else ()
    return {(execution_id, node_id, item_index): job_id for job_id, execution_id, node_id, item_index in rows}
