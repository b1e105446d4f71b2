"""The waits of jobs, in sentences: for a time, a child, an attempt, a worker, their turn, or somebody's decision."""

from datetime import UTC, datetime
from typing import Any

from noetl.database import explain as facts
from noetl.database import read
from noetl.database.explain import JobFacts
from noetl.database.paging import Connection, Row
from noetl.errors import NotFound
from noetl.reasons import heading
from noetl.words import CANCEL_NODE, DEFAULT_POOL, NO_ITEM, TERMINAL_STATUSES, ExecutionStatus, JobStatus

MAX_WAITS = 20
"""Waits that are shown at most; an execution has as many jobs as its loops run items at a time."""

SILENT_WORKER_SECONDS = 15.0
"""Seconds without a heartbeat after which a worker is called silent: it sends one every five."""


class Waits:
    """Gathers what an execution and its children wait for. A wait is `{execution_id, path, step, visit, item_index,
    kind, until, child, text}`."""

    def __init__(self, conn: Connection) -> None:
        self.waits: list[Row] = []
        self._conn = conn
        self._workers = facts.read_workers(conn)
        self._turns: set[str] = set()  # pools whose queue has been described
        self._own: dict[str, bool] = {}  # by root: whether a worker is there for this tree alone

    def of_execution(self, shown: Row, jobs: list[JobFacts], depth: int) -> None:
        """Add what the jobs of an execution wait for; `shown` is the execution."""
        if shown["status"] == ExecutionStatus.PAUSED:
            self._add(shown, None, "paused", "it was paused: nothing begins until somebody resumes it")
        if shown["cancel_requested_at"] is not None:
            asked = clock(shown["cancel_requested_at"])
            self._add(shown, None, "cancel", f"its cancel was asked for at {asked}: what runs is being ended")
        if not jobs:
            self._add(shown, None, "unqueued", "no job of it stands in the queue: noetl db verify tells why")
        silence = facts.read_silence(self._conn, {job.worker_id for job in jobs if job.worker_id})
        for job in jobs:
            if len(self.waits) >= MAX_WAITS:
                return
            self._of_job(shown, job, silence, depth)

    def _of_job(self, shown: Row, job: JobFacts, silence: dict[str, float], depth: int) -> None:
        match job.status:
            case JobStatus.QUEUED:
                self._queued(shown, job)
            case JobStatus.LEASED:
                self._leased(shown, job, silence)
            case JobStatus.WAITING:
                self._waiting(shown, job, depth)
            case _:
                reason = facts.why_quarantined(self._conn, int(shown["execution_id"]), job.node_id)
                text = f"its job is quarantined{': ' if reason else ''}{reason}; it is tried again when a worker starts"
                self._add(shown, job, "quarantined", text)

    def _queued(self, shown: Row, job: JobFacts) -> None:
        pool = job.pool
        own = self._own_worker(shown["root_execution_id"])
        if not own and pool not in self._workers:
            self._add(shown, job, "worker", no_worker(pool), pool=pool)
            return
        if job.lost:
            again = "once" if job.lost == 1 else f"{job.lost} times"
            self._add(shown, job, "lost", f"its worker was lost {again}; it waits for a worker that has nothing else")
            return
        if own:
            self._add(shown, job, "turn", "it is queued for the worker of its own `noetl run`", pool=pool)
            return
        if pool in self._turns:
            return
        self._turns.add(pool)
        before, (workers, slots) = facts.jobs_before(self._conn, job), self._workers[pool]
        many = f"at least {before:,}" if before >= facts.AHEAD else f"{before:,}"
        served = f"{workers} worker{'s' * (workers != 1)} with {slots} slots"
        text = f"it is queued in pool {pool!r} behind {many} other job{'s' * (before != 1)} ({served})"
        self._add(shown, job, "turn", text, pool=pool)

    def _own_worker(self, root: str) -> bool:
        if root not in self._own:
            self._own[root] = facts.has_own_worker(self._conn, root)
        return self._own[root]

    def _leased(self, shown: Row, job: JobFacts, silence: dict[str, float]) -> None:
        worker, lease = job.worker_id, clock(job.lease_until)
        silent = silence.get(worker or "")
        if job.expired:
            served = "another worker takes it at once" if job.pool in self._workers else no_worker(job.pool)
            self._add(shown, job, "lease", f"the lease of worker {worker} expired at {lease}: {served}")
        elif silent is not None and silent > SILENT_WORKER_SECONDS:
            text = f"worker {worker} has been silent for {silent:.0f} s; its lease expires at {lease}"
            self._add(shown, job, "lease", text, until=job.lease_until)
        else:
            self._add(shown, job, "running", f"it runs on worker {worker}")

    def _waiting(self, shown: Row, job: JobFacts, depth: int) -> None:
        until = job.available_at
        if job.child is not None:
            self._child(shown, job, job.child, depth)
        elif job.due is not None:
            until = datetime.fromtimestamp(job.due / 1_000_000, UTC).isoformat()
            self._add(shown, job, "time", f"it waits until {clock(until)}", until=until)
        elif job.failures:
            self._again(shown, job)
        else:
            self._add(shown, job, "time", f"it waits until {clock(until)}" if until else "it waits", until=until)

    def _again(self, shown: Row, job: JobFacts) -> None:
        failed = facts.last_failure(self._conn, int(shown["execution_id"]), job)
        most = ((failed.meta or {}).get("max_attempts")) if failed else None
        number = f"attempt {job.failures + 1}" + (f" of {most}" if most else "")
        cause = heading((failed.error or {}).get("message")) if failed else ""
        text = f"{number} follows at {clock(job.available_at)}" + (f", after: {cause}" if cause else "")
        self._add(shown, job, "retry", text, until=job.available_at)

    def _child(self, shown: Row, job: JobFacts, child_id: str, depth: int) -> None:
        try:
            child = read.show_execution(self._conn, int(child_id))
        except NotFound:
            self._add(shown, job, "child", f"child execution {child_id} is no longer there", child=child_id)
            return
        text = f"it waits for child execution {child_id} of {child['path']}, which is {child['status']}"
        self._add(shown, job, "child", text, child=child_id)
        if depth > 0 and child["status"] not in TERMINAL_STATUSES:
            self.of_execution(child, facts.read_jobs(self._conn, int(child_id)), depth - 1)

    def _add(self, shown: Row, job: JobFacts | None, kind: str, text: str, **more: Any) -> None:
        of_job: Row = {"step": None, "visit": None, "item_index": NO_ITEM}
        if job is not None:
            step = "the cancel" if job.node_id == CANCEL_NODE else job.node_id
            of_job = {"step": step, "visit": job.visit, "item_index": job.item_index}
        where = {"execution_id": shown["execution_id"], "path": shown["path"], **of_job}
        self.waits.append({**where, "kind": kind, "until": None, "child": None, "pool": None, "text": text, **more})


def no_worker(pool: str) -> str:
    """Say that nobody serves a pool, and what to run."""
    flag = "" if pool == DEFAULT_POOL else f" --pool {pool}"
    return f"no worker serves pool {pool!r}: start one with `noetl worker start{flag}`"


def clock(moment: str | None) -> str:
    """Return a time to the second, as people read it: UTC, as all of NoETL's."""
    return "" if moment is None else f"{moment[:19].replace('T', ' ')} UTC"
