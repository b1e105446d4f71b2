"""The situation of an execution: its steps, the reasons of its failures, and the waits of its jobs.

One explanation for the command line, the API and pages; `noetl.reasons` words the failures.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from noetl.database import explain as facts
from noetl.database import read
from noetl.database.explain import JobFacts, StepFacts
from noetl.database.paging import Connection, Row, plain_row
from noetl.orchestrator.waits import Waits
from noetl.playbook.code_lines import code_lines
from noetl.reasons import Place, reason_lines
from noetl.words import TERMINAL_STATUSES, EventType, JobStatus, step_of

CHILD_DEPTH = 5
"""Levels of children that are described below an execution."""

_STATUS: Mapping[str, str] = {
    EventType.STEP_COMPLETED: "completed",
    EventType.STEP_FAILED: "failed",
    EventType.STEP_SKIPPED: "skipped",
    EventType.STEP_CANCELLED: "cancelled",
}
_OF_JOB = {
    JobStatus.LEASED: "running",
    JobStatus.QUEUED: "queued",
    JobStatus.WAITING: "waiting",
    JobStatus.QUARANTINED: "quarantined",
}


def explain(conn: Connection, execution_id: int) -> Row:
    """Return `{execution_id, path, version, status, steps, failures, waits}`. Raises `NotFound`.

    `steps` are those that have begun, in that order: the newest visit of each. `failures` are the steps that failed for
    good, with the lines of their reasons, those of child executions below the step that called them. `waits` say what
    the jobs of an execution that has not ended wait for, down into its children. Runs inside a transaction.
    """
    shown = read.show_execution(conn, execution_id)
    jobs = facts.read_jobs(conn, execution_id)
    over = shown["status"] in TERMINAL_STATUSES
    return {
        "execution_id": shown["execution_id"],
        "path": shown["path"],
        "version": shown["version"],
        "status": shown["status"],
        "steps": [_step(row, jobs, over) for row in facts.read_steps(conn, execution_id)],
        "failures": _failures(conn, shown, CHILD_DEPTH),
        "waits": [] if over else _waits(conn, shown, jobs),
    }


def waits_of(conn: Connection, execution_id: int) -> list[Row]:
    """Return the `waits` of `explain` alone, which costs less. Raises `NotFound`. Runs inside a transaction."""
    shown = read.show_execution(conn, execution_id)
    return [] if shown["status"] in TERMINAL_STATUSES else _waits(conn, shown, facts.read_jobs(conn, execution_id))


def _waits(conn: Connection, shown: Row, jobs: list[JobFacts]) -> list[Row]:
    waits = Waits(conn)
    waits.of_execution(shown, jobs, CHILD_DEPTH)
    return waits.waits


# ---- steps -----------------------------------------------------------------------------------------------------------


def _step(row: StepFacts, jobs: list[JobFacts], over: bool) -> Row:
    """Return a step's newest visit as it is shown."""
    own = [job for job in jobs if step_of(job.node_id) == row.step]
    job = next((job for job in own if job.node_id == row.step), None)
    status = _STATUS.get(row.event_type)
    ended = status is not None
    error = row.error if status == "failed" else None
    return plain_row(
        {
            "step": row.step,
            "type": row.type,
            "visit": row.visit,
            "status": status or _going_on(own, over),
            "attempt": row.attempt if ended or job is None else job.failures + 1,
            "max_attempts": (row.error or {}).get("max_attempts"),
            "items": _items(row),
            "started_at": row.queued_at,
            "ended_at": row.at if ended else None,
            "duration": row.duration if ended else None,
            "worker_id": row.worker_id if ended or job is None else job.worker_id,
            "result": _beginning(row) if status == "completed" else None,
            "error": None if error is None else error.get("message"),
        }
    )


def _going_on(jobs: list[JobFacts], over: bool) -> str:
    """Return where a step stands that has not ended, by its jobs."""
    if over:
        return ""
    statuses = {str(job.status) for job in jobs}
    for status, word in _OF_JOB.items():
        if status in statuses:
            return word
    return "running"


def _items(row: StepFacts) -> Row | None:
    """Return how many items of a step's loop have ended and failed, of how many."""
    if row.loop is not None:
        loop = row.loop
        return {"ended": loop.get("ended", 0), "failed": loop.get("failed", 0), "count": loop.get("count", 0)}
    counts = _json(row.result) if row.looped else None
    if isinstance(counts, Mapping) and "count" in counts:
        return {"ended": counts["count"], "failed": counts.get("failed", 0), "count": counts["count"]}
    return None


def _json(text: str | None) -> Any:
    import orjson

    return orjson.loads(text) if text is not None and len(text) < 400 else None


def _beginning(row: StepFacts) -> str | None:
    """Return the beginning of a step's result as JSON text; a loop's is told by its items."""
    if row.looped:
        return None
    return "a large result" if row.result_ref is not None else row.result


# ---- failures --------------------------------------------------------------------------------------------------------


def _failures(conn: Connection, shown: Row, depth: int) -> list[Row]:
    rows = facts.read_failures(conn, int(shown["execution_id"]))
    place = _place(conn, shown, rows)
    return [entry for row in rows for entry in _failure(conn, shown, row, place, depth)]


def _failure(conn: Connection, shown: Row, row: Row, place: Place | None, depth: int) -> Iterator[Row]:
    error = row["error"] or {}
    indexes = error.get("indexes") or ([error["index"]] if "index" in error else [])
    yield {
        "execution_id": shown["execution_id"],
        "path": shown["path"],
        "version": shown["version"],
        "step": row["node_id"],
        "visit": row["visit"],
        "items": indexes,
        "at": row["timestamp"],
        "error": error,
        "lines": reason_lines(error, place),
    }
    detail = error.get("detail")
    if row["node_type"] != "playbook" or depth == 0 or not isinstance(detail, Mapping):
        return
    child = str(detail.get("execution_id") or "")
    if child.isdigit():
        below = {"execution_id": child, "path": detail.get("path"), "version": None}
        yield from _failures(conn, below, depth - 1)


def _place(conn: Connection, shown: Row, failures: list[Row]) -> Place | None:
    """Return where the lines of steps' code stand in the document, where a failure has a traceback."""
    details = [(row["error"] or {}).get("detail") for row in failures]
    if not any(isinstance(detail, Mapping) and "traceback" in detail for detail in details):
        return None
    shown = shown if shown["version"] is not None else read.show_execution(conn, int(shown["execution_id"]))
    path, version = str(shown["path"]), int(shown["version"])
    return place_in(read.show_catalog(conn, path, version)["content"], path, f"{path}@{version}")


def place_in(content: str, filename: str, called: str) -> Place:
    """Return where the lines of steps' code stand in a document, which is `called` so."""
    begins = code_lines(content, filename)

    def place(step: str, line: int) -> str | None:
        return f'File "{called}", line {begins[step] + line}' if step in begins else None

    return place
