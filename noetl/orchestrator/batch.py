"""From outcomes to rows-to-be: decide, as often as it takes, what one execution's part of a transaction writes.

Deciding is pure as long as nothing has to be withdrawn, so it happens before the transaction, against the state as
last seen, and again under the lock only where that state has moved on.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from psycopg import Connection

from noetl.database import store
from noetl.engine.decide import decide
from noetl.engine.decision import Chunk, Decision, ErrorRow, is_within
from noetl.engine.events import Event
from noetl.engine.inputs import AttemptEnded, Cancel, Collected, Continue, Input, TimedOut, Withdrawn
from noetl.engine.loops.items import why_not_begin
from noetl.engine.state import State
from noetl.engine.waiting import CANCELLED_BY_PARENT
from noetl.jobs import Job
from noetl.orchestrator.execution_cache import CachedExecution
from noetl.orchestrator.new_execution import NewExecution
from noetl.outcomes import Deferred, Done, Expired, Failed
from noetl.words import CANCEL_NODE, EventType

log = logging.getLogger("noetl.orchestrator")

QUARANTINED = -1.0
"""The `delay` of a job that is quarantined."""

CHILD_ABANDONED_ERRORS = frozenset({"timeout", "cancelled"})
"""Types of errors with which an attempt leaves a child that still runs."""


@dataclass(slots=True)
class ChildStarted(Deferred):
    """The attempt waits for a child, which is written in the same transaction."""

    child: "BatchPart"


@dataclass(frozen=True, slots=True)
class Broken:
    """What the job needs could not be worked out, by a fault of the engine's own: it is quarantined."""

    error: Exception


JobOutcome = Done | Failed | Expired | Collected | Deferred | Cancel | TimedOut | Continue | Broken
"""Every outcome that a job can have."""


@dataclass(slots=True)
class Finished:
    """The outcome of one leased job, on its way into the log."""

    view: CachedExecution
    job: Job
    outcome: JobOutcome
    worker_id: str | None = None
    duration: float | None = None
    queued: float | None = None
    jitter: float = 0.5
    since: float = 0.0  # monotonic seconds when it came in
    put_off: bool = False  # its execution was locked

    @property
    def expired(self) -> bool:
        return isinstance(self.outcome, Expired)


class NeedsLock(Exception):
    """The decision withdraws jobs, which only whoever holds the execution's lock may do."""


class Withdrawal:
    """Takes jobs that have not begun out of the queue, for who holds the execution's lock.

    A decision that is made again, because it lacked a value, asks again and is given the same jobs, although they
    are gone by then.
    """

    def __init__(self, conn: Connection, execution_id: int) -> None:
        self._conn = conn
        self._execution_id = execution_id
        self._taken: list[tuple[str | None, list[Job]]] = []
        self._asked = 0

    def restart(self) -> None:
        self._asked = 0

    def __call__(self, within: str | None) -> list[Job]:
        if self._asked == len(self._taken):
            self._taken.append((within, store.withdraw_jobs(self._conn, self._execution_id, within)))
        self._asked += 1
        asked, jobs = self._taken[self._asked - 1]
        assert asked == within, "a decision that is made again asks for the same"
        return list(jobs)


class NoWithdrawal:
    """The withdrawal of an execution that is only being started: nothing of it is in the queue yet."""

    def restart(self) -> None:
        pass

    def __call__(self, within: str | None) -> list[Job]:
        return []


Withdraw = Withdrawal | NoWithdrawal


UNCACHED_EVENTS: Final = frozenset(
    {EventType.STEP_QUEUED, EventType.LOOP_STARTED, EventType.ITEM_COMPLETED, EventType.ITEM_SKIPPED}
)
"""Events that nobody asks for. A loop's items are read together, when somebody wants what the loop gave: a worker that
runs a hundred thousand of them needs no more memory than for ten."""


@dataclass(slots=True)
class BatchPart:
    """What one execution's part of a transaction writes."""

    view: CachedExecution
    state: State
    events: list[Event] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)
    errors: list[ErrorRow] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    cancelled_children: list[tuple[int, str, int]] = field(default_factory=list)  # (execution, pool, priority)
    children: list["BatchPart"] = field(default_factory=list)
    ended: bool = False
    new: NewExecution | None = None

    def add(self, decision: Decision) -> None:
        """Take over one decision; its values become readable for the next one."""
        self.state = decision.state
        self.events += decision.events
        self.jobs += decision.jobs
        self.chunks += decision.chunks
        self.errors += decision.errors
        self.ended = self.ended or decision.ended is not None
        for event in decision.events:
            if event.event_type not in UNCACHED_EVENTS:
                self.view.values.draft(event, decision.arrivals.get(event.event_id))


def make_part(view: CachedExecution, finished: Sequence[Finished], withdraw: Withdraw | None = None) -> BatchPart:
    """Decide what the outcomes of one execution come to. Raises `NotLoaded`, and `NeedsLock` without `withdraw`."""
    view.values.begin()
    if withdraw is not None:
        withdraw.restart()
    part = BatchPart(view, view.state)
    for item in finished:
        _take(part, item, withdraw)
    return part


def apply(part: BatchPart, given: Input, withdraw: Withdraw | None) -> None:
    """Decide about one input and whatever follows from it."""
    view = part.view
    decision = decide(view.playbook, part.state, given, view.values)
    part.add(decision)
    while decision.withdraw:
        if withdraw is None:
            raise NeedsLock
        withdrawn, unborn, started = withdraw(decision.within), *_unborn(part, decision.within)
        jobs = [*withdrawn, *unborn]
        for job in jobs:
            if job.context.get("child") not in started:
                _cancel_child(part, job)
        decision = decide(view.playbook, part.state, Withdrawn(tuple(jobs), decision.reason), view.values)
        part.add(decision)


def _take(part: BatchPart, item: Finished, withdraw: Withdraw | None) -> None:
    outcome = item.outcome
    if isinstance(outcome, Expired) and item.job.node_id == CANCEL_NODE:
        outcome = Cancel(*CANCELLED_BY_PARENT)  # it was lost with its worker: whoever notices carries it out
    if isinstance(outcome, Broken):
        raise outcome.error
    if isinstance(outcome, Deferred):
        reason = why_not_begin(part.state, item.job)
        if reason is None:
            _defer(part, item, outcome)
            return
        if not isinstance(outcome, ChildStarted):
            _cancel_child(part, item.job, outcome.context)
        apply(part, Withdrawn((item.job,), reason), withdraw)
        return
    if isinstance(outcome, Cancel | TimedOut | Continue):
        apply(part, outcome, withdraw)
        return
    if isinstance(outcome, Done | Failed) and outcome.output:
        job = item.job
        part.outputs.append(
            {
                "node_id": job.node_id,
                "visit": job.visit,
                "item_index": job.item_index,
                "attempt": job.failures + 1,
                "text": outcome.output,
            }
        )
    ended = AttemptEnded(item.job, outcome, item.worker_id, item.duration, item.queued, item.jitter)
    apply(part, ended, withdraw)
    given_up = isinstance(outcome, Expired) and all(job.job_id != item.job.job_id for job in part.jobs)
    if given_up or (isinstance(outcome, Failed) and outcome.error.get("type") in CHILD_ABANDONED_ERRORS):
        _cancel_child(part, item.job)  # nobody waits for it any more


def _cancel_child(part: BatchPart, job: Job, context: Mapping[str, Any] | None = None) -> None:
    """Have the child of a job cancelled, if it has one; one that has ended does not mind."""
    child = (context or {}).get("child") or job.context.get("child")
    if child:
        part.cancelled_children.append((int(child), job.pool, job.priority))


def _defer(part: BatchPart, item: Finished, deferred: Deferred) -> None:
    """Put the job back as a waiting one; nothing has happened that the log should know."""
    job = item.job
    delay: float | None = float("inf") if deferred.seconds is None else deferred.seconds
    if isinstance(deferred, ChildStarted):
        child = deferred.child
        part.children.append(child)
        assert child.new is not None
        child.new = replace(child.new, parent_job_id=job.job_id)
        delay = None if child.ended else delay
    context = {**job.context, **deferred.context}
    part.jobs.append(job.again(delay=delay, context=context, lost=0))  # this lease was a good one


def _unborn(part: BatchPart, within: str | None) -> tuple[list[Job], set[str]]:
    """Take back the jobs that this very part was about to insert, and the children that it was about to start; or
    only those within a loop."""
    jobs = [job for job in part.jobs if within is None or is_within(job.node_id, within)]
    waited_for = {job.context.get("child") for job in jobs}
    children = {str(child.view.execution_id) for child in part.children} & waited_for
    known = set(map(id, jobs))
    part.jobs = [job for job in part.jobs if id(job) not in known]
    part.children = [child for child in part.children if str(child.view.execution_id) not in children]
    return jobs, children


def quarantine(view: CachedExecution, finished: Sequence[Finished], reason: str) -> BatchPart:
    """Quarantine the jobs of an execution that cannot be decided: nothing of them is lost."""
    view.values.begin()
    part = BatchPart(view, view.state)
    for item in finished:
        job = item.job
        part.errors.append(
            ErrorRow(job.node_id, job.visit, job.item_index, job.failures + 1, item.worker_id, "quarantined", reason)
        )
        part.jobs.append(job.again(delay=QUARANTINED))
    return part
