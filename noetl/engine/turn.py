"""One decision in the making: the state it changes, the events and jobs it has made so far.

What is made anew with every decision is made by position, in one place each: Python takes three times as long to make
an object whose arguments have names.
"""

from dataclasses import dataclass
from typing import Any, Final

from noetl.engine.decision import Chunk, Decision, ErrorRow
from noetl.engine.events import Event, args_in
from noetl.engine.evolve import fold
from noetl.engine.inputs import AttemptEnded
from noetl.engine.plan import Plan, StepPlan
from noetl.engine.routing import Routes
from noetl.engine.scope import Scopes, StepPlace, ValueReader
from noetl.engine.state import Arrival, LoopState, State
from noetl.engine.values import Values
from noetl.jobs import Job
from noetl.outcomes import ErrorValue
from noetl.words import CONTINUE_NODE, DEFAULT_POOL, NO_ITEM, EventType, step_of

ROUTERS_PER_DECISION: Final = 1000
"""Routers that run in one decision; after them the execution continues through the queue."""


@dataclass(slots=True)
class StepRun:
    """A step run, or an item of its loop, that ends in this decision.

    `inner` is the node of the loop within a loop that the item belongs to; `loop` the state of the loop that has ended
    with this run.
    """

    plan: StepPlan
    visit: int
    arrivals: list[Arrival]
    attempt: int = 0
    job: Job | None = None
    worker_id: str | None = None
    duration: float | None = None
    queued: float | None = None
    item: int = NO_ITEM
    inner: str | None = None
    loop: LoopState | None = None
    saved: Any = None

    @property
    def node(self) -> str:
        """The step, or the loop within a loop that the item belongs to."""
        return self.inner or self.plan.step.name

    def place(self, own: int = 0, fixed: dict[str, Any] | None = None) -> StepPlace:
        """Return the place of this run's templates."""
        job = self.job
        return StepPlace(
            self.plan.step.name,
            self.visit,
            self.arrivals,
            own,
            None if job is None else job.job_id,
            self.item,
            fixed,
            self.inner,
            0 if job is None else job.repeats,
        )

    def event(
        self,
        event_id: int,
        event_type: EventType,
        *,
        context: dict[str, Any] | None = None,
        result: bytes | None = None,
        error: ErrorValue | None = None,
        meta: dict[str, Any] | None = None,
    ) -> Event:
        """Return an event of this run, which tells of the attempt that brought it about."""
        return Event(
            event_id,
            event_type,
            self.inner or self.plan.step.name,
            self.plan.step.type,
            self.visit,
            self.item,
            self.attempt,
            self.worker_id,
            self.duration,
            context,
            result,
            error,
            meta,
        )

    def meta_at_end(
        self, reason: str | None = None, loop: LoopState | None = None, routes: Routes | None = None
    ) -> dict[str, Any]:
        """Return what the event of this run's end tells beside its result. `loop`: the loop that gave the result."""
        meta: dict[str, Any] = {"next": routes} if routes else {}
        if self.queued is not None:
            meta["queued"] = round(self.queued, 6)
        if reason is not None:
            meta["reason"] = reason
        if self.saved is not None:
            meta["saved"] = self.saved
        if loop is not None:
            meta["loop"] = {"first": loop["first"], "count": loop["count"]}
        return meta


class Turn:
    """A decision in the making. `emit` is the only way to change the state."""

    __slots__ = (
        "chunks",
        "ended",
        "errors",
        "events",
        "jobs",
        "kill",
        "plan",
        "reader",
        "reason",
        "routers",
        "state",
        "withdraw",
        "within",
    )

    def __init__(self, plan: Plan, state: State, values: Values) -> None:
        self.plan = plan
        self.state = state
        self.reader = ValueReader(values)
        self.events: list[Event] = []
        self.jobs: list[Job] = []
        self.chunks: list[Chunk] = []
        self.errors: list[ErrorRow] = []
        self.withdraw = False
        self.within: str | None = None
        self.kill = False
        self.reason = ""
        self.ended: EventType | None = None
        self.routers = 0

    def decision(self) -> Decision:
        """Return what has been decided."""
        return Decision(
            self.state,
            self.events,
            self.jobs,
            self.withdraw,
            self.kill,
            self.ended,
            self.reader.args,
            self.errors,
            self.reason,
            self.within,
            self.chunks,
        )

    @property
    def next_id(self) -> int:
        """The id of the event that will be emitted next."""
        return self.state.last_event_id + 1

    def emit(self, event: Event) -> None:
        """Append an event and fold it into the state."""
        fold(self.state, event, self.plan)
        self.events.append(event)

    def scopes(self, place: StepPlace) -> Scopes:
        """Return the scopes of a step run."""
        return Scopes(self.plan, self.state, self.reader, place)

    def end_run(
        self,
        event_type: EventType,
        run: StepRun,
        *,
        result: bytes | None = None,
        error: ErrorValue | None = None,
        routes: Routes | None = None,
        reason: str | None = None,
    ) -> None:
        """Emit the event that ends a step run."""
        event_id = self.state.last_event_id + 1
        meta = run.meta_at_end(reason, run.loop if result is not None else None, routes)
        if routes and routes is not run.plan.fixed_next:
            self.reader.args[event_id] = args_in(meta)
        begins_too = run.plan.step.name not in self.state.runs
        context = {"arrivals": run.arrivals} if begins_too else None
        self.emit(run.event(event_id, event_type, context=context, result=result, error=error, meta=meta or None))

    def queue_step(self, step_plan: StepPlan, visit: int, arrivals: list[Arrival]) -> None:
        """Begin a step run that has a job."""
        step = step_plan.step
        context = {"arrivals": arrivals}
        event_id = self.state.last_event_id + 1
        self.emit(Event(event_id, EventType.STEP_QUEUED, step.name, step.type, visit, context=context))
        pool, priority = self._lane(step.pool)
        self.jobs.append(Job(step.name, visit, NO_ITEM, pool, priority, context=context))

    def queue_item(self, step_plan: StepPlan, node: str, visit: int, index: int) -> None:
        """Begin an item of a loop. The log needs no event for that: the items that have ended tell which have begun."""
        self.jobs.append(Job(node, visit, index, *self._lane(step_plan.step.pool)))

    def queue_end(self, run: StepRun) -> None:
        """Queue the last job of a loop: by the time it ends, the results of all items are in the log."""
        step = run.plan.step
        pool, priority = self._lane(step.pool)
        context = {"arrivals": run.arrivals, "end": True}
        self.jobs.append(Job(step.name, run.visit, NO_ITEM, pool, priority, context=context))

    def queue_continuation(self, visit: int) -> None:
        """Queue the job that continues a long chain of routers."""
        self.jobs.append(Job(CONTINUE_NODE, visit, NO_ITEM, *self._lane(None)))

    def _lane(self, pool: str | None) -> tuple[str, int]:
        """Return pool and priority of a job, whose step names the pool or not."""
        state, playbook = self.state, self.plan.playbook
        priority = playbook.priority if state.priority is None else state.priority
        return pool or state.pool or playbook.pool or DEFAULT_POOL, priority

    def note_error(self, run: StepRun, error: ErrorValue) -> None:
        """Have a row written to the error log."""
        self.errors.append(
            ErrorRow(
                node_id=run.node,
                visit=run.visit,
                item_index=run.item,
                attempt=run.attempt,
                worker_id=run.worker_id,
                error_type=str(error.get("type") or "error"),
                message=str(error.get("message") or ""),
                detail=error.get("detail"),
            )
        )


def step_run_of(turn: Turn, ended: AttemptEnded) -> StepRun:
    """Return the step run that an outcome belongs to. Attempts count from 1, lost leases left aside."""
    job = ended.job
    step = step_of(job.node_id)
    return StepRun(
        turn.plan.steps[step],
        job.visit,
        turn.state.runs[step][1],
        job.failures + 1,
        job,
        ended.worker_id,
        ended.duration,
        ended.queued,
        job.item_index,
        None if step == job.node_id else job.node_id,
        turn.state.loops.get(step) if job.item_index == NO_ITEM else None,
    )
