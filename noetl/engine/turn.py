"""One decision in the making: the state it changes, the events and jobs it has made so far."""

from dataclasses import dataclass
from typing import Any, Final

from noetl.engine.decision import Chunk, Decision, ErrorRow
from noetl.engine.events import Event, args_in
from noetl.engine.evolve import fold
from noetl.engine.inputs import AttemptEnded
from noetl.engine.plan import Plan, StepPlan
from noetl.engine.routing import Routes
from noetl.engine.scope import Place, Reader, Scopes
from noetl.engine.state import Arrival, State
from noetl.engine.values import Values
from noetl.jobs import Job
from noetl.words import DEFAULT_POOL, NO_ITEM, EventType, step_of

ROUTERS_PER_DECISION: Final = 1000
"""Routers that run in one decision; after them the execution continues through the queue."""


@dataclass(slots=True)
class Run:
    """A step run, or an item of its loop, that ends in this decision.

    `node` is the step, or the loop within a loop that the item belongs to; `loop` what the state knew of the loop
    that has ended with this run.
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
    loop: dict[str, int] | None = None
    saved: Any = None

    @property
    def node(self) -> str:
        return self.inner or self.plan.step.name

    def place(self, own: int = 0, fixed: dict[str, Any] | None = None) -> Place:
        """Return where this run's templates stand."""
        name, job = self.plan.step.name, self.job
        job_id, repeats = (None, 0) if job is None else (job.job_id, job.repeats)
        return Place(name, self.visit, self.arrivals, own, job_id, self.item, fixed, self.inner, repeats)


class Turn:
    """What `decide` works on. `emit` is the only way to change the state."""

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
        self.reader = Reader(values)
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

    def scopes(self, place: Place) -> Scopes:
        """Return the scopes of a step run."""
        return Scopes(self.plan, self.state, self.reader, place)

    def end_run(
        self,
        event_type: EventType,
        run: Run,
        *,
        result: bytes | None = None,
        error: dict[str, Any] | None = None,
        routes: Routes | None = None,
        reason: str | None = None,
    ) -> None:
        """Emit the event that ends a step run."""
        meta: dict[str, Any] = {}
        if routes:
            meta["next"] = routes
            if routes is not run.plan.fixed_next:
                self.reader.args[self.next_id] = args_in(meta)
        if run.queued is not None:
            meta["queued"] = round(run.queued, 6)
        if reason is not None:
            meta["reason"] = reason
        if run.saved is not None:
            meta["saved"] = run.saved
        if run.loop is not None and result is not None:
            meta["loop"] = {"first": run.loop["first"], "count": run.loop["count"]}
        step = run.plan.step
        self.emit(
            Event(
                self.state.last_event_id + 1,
                event_type,
                step.name,
                step.type,
                run.visit,
                NO_ITEM,
                run.attempt,
                run.worker_id,
                run.duration,
                None if step.name in self.state.runs else {"arrivals": run.arrivals},  # it begins and ends at once
                result,
                error,
                meta or None,
            )
        )

    def queue_step(self, step_plan: StepPlan, visit: int, arrivals: list[Arrival]) -> None:
        """Begin a step run that has a job."""
        step = step_plan.step
        context = {"arrivals": arrivals}
        self.emit(
            Event(
                self.state.last_event_id + 1,
                EventType.STEP_QUEUED,
                step.name,
                step.type,
                visit,
                context=context,
            )
        )
        pool = step.pool or self.state.pool or self.plan.playbook.pool or DEFAULT_POOL
        self.jobs.append(Job(node_id=step.name, visit=visit, pool=pool, priority=self.priority(), context=context))

    def queue_item(self, step_plan: StepPlan, node: str, visit: int, index: int) -> None:
        """Begin an item of a loop. The log needs no event for that: what ended tells what has begun."""
        pool = step_plan.step.pool or self.state.pool or self.plan.playbook.pool or DEFAULT_POOL
        self.jobs.append(Job(node_id=node, visit=visit, item_index=index, pool=pool, priority=self.priority()))

    def queue_end(self, run: Run) -> None:
        """Queue the last job of a loop: by the time it ends, all that the items gave is in the log."""
        step = run.plan.step
        pool = step.pool or self.state.pool or self.plan.playbook.pool or DEFAULT_POOL
        context = {"arrivals": run.arrivals, "end": True}
        self.jobs.append(Job(node_id=step.name, visit=run.visit, pool=pool, priority=self.priority(), context=context))

    def priority(self) -> int:
        """The priority of this execution's jobs."""
        given = self.state.priority
        return self.plan.playbook.priority if given is None else given

    def note_error(self, run: Run, error: dict[str, Any]) -> None:
        """Have a row written to the error log."""
        self.errors.append(
            ErrorRow(
                run.node,
                run.visit,
                run.item,
                run.attempt,
                run.worker_id,
                str(error.get("type") or "error"),
                str(error.get("message") or ""),
                error.get("detail"),
            )
        )


def run_of(turn: Turn, ended: AttemptEnded) -> Run:
    """Return the step run that an outcome belongs to. Attempts count from 1, lost leases left aside."""
    job = ended.job
    step = step_of(job.node_id)
    return Run(
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
