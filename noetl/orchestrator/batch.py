"""The parts of a transaction, one for each execution: decided from outcomes, again where a value was missing.

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

CHILD_ABANDONED_ERRORS = frozenset({"timeout", "cancelled"})
"""Types of errors with which an attempt leaves a child that still runs."""


@dataclass(slots=True)
class ChildStarted(Deferred):
    """The attempt waits for a child, which is written in the same transaction."""

    child: "BatchPart"


@dataclass(frozen=True, slots=True)
class Broken:
    """A fault of the engine's own kept the job from being prepared: it is quarantined."""

    error: Exception


JobOutcome = Done | Failed | Expired | Collected | Deferred | Cancel | TimedOut | Continue | Broken
"""Every outcome that a job can have."""


@dataclass(slots=True)
class Finished:
    """The outcome of one leased job, on its way into the log."""

    execution: CachedExecution
    job: Job
    outcome: JobOutcome
    worker_id: str | None = None
    duration: float | None = None
    queued: float | None = None
    jitter: float = 0.5
    since: float = 0.0  # monotonic seconds when it came in
    postponed: bool = False  # its execution was locked

    @property
    def expired(self) -> bool:
        return isinstance(self.outcome, Expired)


class NeedsLock(Exception):
    """The decision withdraws jobs, which only the holder of the execution's lock may do."""


class Withdrawal:
    """The withdrawal of jobs that have not begun, for the holder of the execution's lock.

    A decision that is made again, because it lacked a value, asks again and gets the same jobs, although their rows are
    gone by then.
    """

    def __init__(self, conn: Connection, execution_id: int) -> None:
        self._conn = conn
        self._execution_id = execution_id
        self._withdrawn: list[tuple[str | None, list[Job]]] = []
        self._asked = 0

    def restart(self) -> None:
        self._asked = 0

    def __call__(self, within: str | None) -> list[Job]:
        if self._asked == len(self._withdrawn):
            self._withdrawn.append((within, store.withdraw_jobs(self._conn, self._execution_id, within)))
        self._asked += 1
        asked, jobs = self._withdrawn[self._asked - 1]
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


@dataclass(frozen=True, slots=True)
class Output:
    """The captured prints of one attempt."""

    node_id: str
    visit: int
    item_index: int
    attempt: int
    text: str


@dataclass(frozen=True, slots=True)
class CancelledChild:
    """A child that is to be cancelled, with pool and priority of the job that does it."""

    execution_id: int
    pool: str
    priority: int


@dataclass(slots=True)
class BatchPart:
    """The part of one execution in a transaction: everything that is written of it."""

    execution: CachedExecution
    state: State
    events: list[Event] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)
    errors: list[ErrorRow] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    cancelled_children: list[CancelledChild] = field(default_factory=list)
    children: list["BatchPart"] = field(default_factory=list)
    ended: bool = False
    quarantined: bool = False  # its jobs are put back as such
    new: NewExecution | None = None

    def add(self, decision: Decision) -> None:
        """Add one decision; its values become readable for the next one."""
        self.state = decision.state
        self.events += decision.events
        self.jobs += decision.jobs
        self.chunks += decision.chunks
        self.errors += decision.errors
        self.ended = self.ended or decision.ended is not None
        for event in decision.events:
            if event.event_type not in UNCACHED_EVENTS:
                self.execution.values.draft(event, decision.arrivals.get(event.event_id))


def make_part(execution: CachedExecution, finished: Sequence[Finished], withdraw: Withdraw | None = None) -> BatchPart:
    """Decide what follows from the outcomes of one execution.

    Raises `NotLoaded`, and `NeedsLock` without `withdraw`.
    """
    execution.values.begin()
    if withdraw is not None:
        withdraw.restart()
    part = BatchPart(execution, execution.state)
    for item in finished:
        _add_outcome(part, item, withdraw)
    return part


def apply(part: BatchPart, cause: Input, withdraw: Withdraw | None) -> None:
    """Decide what follows from one input, and add it to the part."""
    execution = part.execution
    decision = decide(execution.playbook, part.state, cause, execution.values)
    part.add(decision)
    while decision.withdraw:
        if withdraw is None:
            raise NeedsLock
        withdrawn, unborn, started = withdraw(decision.within), *_unborn(part, decision.within)
        jobs = [*withdrawn, *unborn]
        for job in jobs:
            if job.context.get("child") not in started:
                _cancel_child(part, job)
        decision = decide(execution.playbook, part.state, Withdrawn(tuple(jobs), decision.reason), execution.values)
        part.add(decision)


def _add_outcome(part: BatchPart, item: Finished, withdraw: Withdraw | None) -> None:
    outcome = item.outcome
    if isinstance(outcome, Expired) and item.job.node_id == CANCEL_NODE:
        outcome = Cancel(*CANCELLED_BY_PARENT)  # it was lost with its worker: whoever notices carries it out
    if isinstance(outcome, (Done, Failed, Expired, Collected)):
        _add_end(part, item, outcome, withdraw)
    elif isinstance(outcome, Deferred):
        _add_deferred(part, item, outcome, withdraw)
    elif isinstance(outcome, Broken):
        raise outcome.error
    else:
        apply(part, outcome, withdraw)


def _add_end(
    part: BatchPart, item: Finished, outcome: Done | Failed | Expired | Collected, withdraw: Withdraw | None
) -> None:
    job = item.job
    if isinstance(outcome, (Done, Failed)) and outcome.output:
        part.outputs.append(Output(job.node_id, job.visit, job.item_index, job.failures + 1, outcome.output))
    apply(part, AttemptEnded(job, outcome, item.worker_id, item.duration, item.queued, item.jitter), withdraw)
    abandoned = False
    if isinstance(outcome, Expired):
        abandoned = all(again.job_id != job.job_id for again in part.jobs)
    elif isinstance(outcome, Failed):
        abandoned = outcome.error.get("type") in CHILD_ABANDONED_ERRORS
    if abandoned:
        _cancel_child(part, job)  # nobody waits for it any more


def _add_deferred(part: BatchPart, item: Finished, deferred: Deferred, withdraw: Withdraw | None) -> None:
    """Put the job back as a waiting one, unless nothing is to wait any more."""
    reason = why_not_begin(part.state, item.job)
    if reason is None:
        _defer(part, item.job, deferred)
        return
    if not isinstance(deferred, ChildStarted):
        _cancel_child(part, item.job, deferred.context)
    apply(part, Withdrawn((item.job,), reason), withdraw)


def _cancel_child(part: BatchPart, job: Job, context: Mapping[str, Any] | None = None) -> None:
    """Have the child of a job cancelled, if it has one; one that has ended does not mind."""
    child = (context or {}).get("child") or job.context.get("child")
    if child:
        part.cancelled_children.append(CancelledChild(int(child), job.pool, job.priority))


def _defer(part: BatchPart, job: Job, deferred: Deferred) -> None:
    """Put a job back as a waiting one; nothing has happened that the log should know."""
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
    """Remove the jobs that this very part was about to insert, and the children that it was about to start; or only
    those within a loop. Return the jobs, and the ids of the children."""
    jobs = [job for job in part.jobs if within is None or is_within(job.node_id, within)]
    waited_for = {job.context.get("child") for job in jobs}
    children = {str(child.execution.execution_id) for child in part.children} & waited_for
    known = set(map(id, jobs))
    part.jobs = [job for job in part.jobs if id(job) not in known]
    part.children = [child for child in part.children if str(child.execution.execution_id) not in children]
    return jobs, children


def quarantine(execution: CachedExecution, finished: Sequence[Finished], reason: str) -> BatchPart:
    """Quarantine the jobs of an execution that cannot be decided: nothing of them is lost."""
    execution.values.begin()
    part = BatchPart(execution, execution.state, quarantined=True)
    for item in finished:
        job = item.job
        part.errors.append(
            ErrorRow(
                node_id=job.node_id,
                visit=job.visit,
                item_index=job.item_index,
                attempt=job.failures + 1,
                worker_id=item.worker_id,
                error_type="quarantined",
                message=reason,
            )
        )
        part.jobs.append(job)
    return part
