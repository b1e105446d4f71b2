"""A pure stand-in for the world around the engine: workers that die, transactions that are lost.

`Execution` is the one that tests of playbooks run on; here it checks after every transaction what must always hold.
Which job ends next, and how, is the caller's choice.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import orjson

from noetl.engine.decision import Decision
from noetl.engine.events import Event
from noetl.engine.evolve import is_stopped, replay
from noetl.engine.inputs import AttemptEnded, Cancel, Collected, Continue, Input, Start, TimedOut, Withdrawn
from noetl.engine.loops.collect import collect, to_collect
from noetl.engine.loops.items import why_not_begin
from noetl.engine.render import Rendered, render_job, render_save
from noetl.engine.state import State
from noetl.engine.values import NotLoaded, Values
from noetl.jobs import Job
from noetl.outcomes import Done, Expired, Failed
from noetl.playbook.load import stored_playbook
from noetl.playbook.model import Playbook
from noetl.testing import execution as testing
from noetl.testing.execution import QueueRow, Transaction
from noetl.words import CONTINUE_NODE, NO_ITEM, TERMINAL_EVENTS, EventType, step_of

Json = Any
T = TypeVar("T")

LIMIT = 32 * 1024 * 1024


# ---- playbooks ----------------------------------------------------------------------------------------------------


def playbook(document: dict[str, Json]) -> Playbook:
    """Return the playbook of a document, which may leave out the head and what only tools look at."""
    whole: dict[str, Json] = {
        "apiVersion": "noetl.io/v1",
        "kind": "Playbook",
        "metadata": {"path": "tests/model"},
        **document,
    }
    for section in ("workflow", "finally"):
        if section in whole:
            whole[section] = [_FIELDS.get(step.get("type", ""), {}) | step for step in whole[section]]
    return stored_playbook(orjson.dumps(whole, option=orjson.OPT_INDENT_2).decode(), "model.yaml")


_FIELDS: dict[str, dict[str, Json]] = {
    "python": {"code": "def main(**args):\n    return args\n"},
    "http": {"endpoint": "http://localhost/"},
    "wait": {"for": "1h"},
}


# ---- the world around the engine ------------------------------------------------------------------------------------


class Execution(testing.Execution):
    """One execution in memory, watched: `check` runs after every transaction, and nothing survives one that a database
    would not hold (`stored` is the state as it would be written)."""

    def __init__(
        self, playbook: Playbook, workload: dict[str, Json] | None = None, context: dict[str, Json] | None = None
    ) -> None:
        super().__init__(playbook, 77, workload or {})
        self.stored = orjson.dumps(State().to_json())
        self.give(Start(context or {}))

    # -- what somebody asks of it

    @property
    def now(self) -> State:
        return State.from_json(orjson.loads(self.stored))

    @property
    def status(self) -> str:
        return self.now.status.value

    @property
    def ended(self) -> bool:
        return self.now.status.terminal

    def types(self) -> list[str]:
        return [event.event_type.value for event in self.log]

    def events(self, event_type: str, step: str | None = None) -> list[Event]:
        return [e for e in self.log if e.event_type == event_type and step in (None, e.node_id)]

    def ran(self) -> list[str]:
        """The steps whose runs completed, in the order of the log."""
        return [event.node_id for event in self.events("step_completed")]

    def visits(self, step: str) -> int:
        return len(self.events("step_completed", step)) + len(self.events("step_failed", step))

    def waiting(self) -> list[str]:
        """The steps that have a job."""
        return [row.job.node_id for row in self.queue.values()]

    @property
    def errors(self) -> list[str]:
        """The types of the rows of the error log."""
        return [row.error_type for row in self.error_rows]

    @property
    def error(self) -> dict[str, Json]:
        error = super().error
        assert error is not None
        return error

    def args(self, step: str, item: int | None = None) -> dict[str, Json]:
        return dict(self.rendered(step, item).args)

    def rendered(self, step: str, item: int | None = None) -> Rendered:
        """What a worker that holds the step's job would carry out."""
        job = self.row(step, item).job
        found: Rendered = self.loading(lambda values: render_job(self.playbook, self.now, job, values))
        return found

    def saving(self, step: str, result: Json, item: int | None = None) -> Rendered:
        """What a worker would save of a result."""
        job = self.row(step, item).job
        found: Rendered = self.loading(lambda values: render_save(self.playbook, self.now, job, values, result))
        return found

    def collected(self, step: str, item: int | None = None, limit: int = LIMIT) -> Collected:
        """What a worker that holds a loop's first job would answer."""
        job = self.row(step, item).job
        found: Collected = self.loading(lambda values: collect(self.playbook, self.now, job, values, limit))
        return found

    def to_collect(self, job: Job) -> bool:
        """Whether a job is the first of a loop."""
        steps = {**self.playbook.workflow.steps, **(self.playbook.finally_.steps if self.playbook.finally_ else {})}
        step = steps.get(step_of(job.node_id))
        return step is not None and to_collect(step, job) is not None

    def row(self, step: str, item: int | None = None) -> QueueRow:
        """The oldest job of a step or of a node within its loop, or that of one item."""
        rows = (row for row in self.queue.values() if row.job.node_id == step)
        return next(row for row in rows if item is None or row.job.item_index == item)

    def items(self, node: str) -> list[int]:
        """The items of a loop that have a job."""
        return [row.job.item_index for row in self.queue.values() if row.job.node_id == node]

    # -- what happens to it

    def done(self, step: str, result: Json = None, **more: Any) -> None:
        self.outcome(step, Done(orjson.dumps(result)), **more)

    def begin_loop(self, step: str, item: int | None = None) -> None:
        """Answer a loop's first job."""
        self.outcome(step, self.collected(step, item), item)

    def fail(self, step: str, type_: str = "python", item: int | None = None, **more: Any) -> None:
        error = {"type": type_, "message": f"{step} broke", "retryable": True, "detail": None, **more}
        self.outcome(step, Failed(error), item)

    def expire(self, step: str, item: int | None = None) -> None:
        self.outcome(step, Expired(), item)

    def lease(self, step: str, item: int | None = None) -> Job:
        """Have a worker take the step's job."""
        return self.take(self.row(step, item))

    def outcome(
        self, step: str, outcome: Done | Failed | Expired | Collected, item: int | None = None, **more: Any
    ) -> None:
        """End the attempt of a step's job, which is leased first if it is not yet."""
        row = self.row(step, item)
        job = row.job if row.status == "leased" else self.take(row)
        self.give(AttemptEnded(job, outcome, worker_id="w1", duration=0.01, queued=0.001, **more), job)

    def defer(self, step: str, item: int | None = None) -> None:
        """Have the leased job of a step wait, as a wait or a child's parent does; it is withdrawn if nothing new
        may begin."""
        row = self.row(step, item)
        reason = why_not_begin(self.now, row.job)
        if reason is not None:
            self.give(Withdrawn((row.job,), reason), row.job)
        else:
            self.put_back(row, float("inf"), {})
            self.check()

    def continue_routers(self) -> None:
        """Have the job of a long chain of routers come up."""
        self.give(Continue(), self.lease(CONTINUE_NODE))

    def cancel(self, by: str = "ada", reason: str = "") -> None:
        self.give(Cancel(by, reason))

    def time_out(self, seconds: float = 60) -> None:
        self.give(TimedOut(seconds))

    def run(self, answer: Callable[["Execution", Job], Json] = lambda *_: None, limit: int = 100_000) -> None:
        """Complete jobs, the oldest first, until none is left."""
        while self.queue:
            limit -= 1
            assert limit > 0, "it does not come to an end"
            job = next(iter(self.queue.values())).job
            if job.node_id == CONTINUE_NODE:
                self.continue_routers()
            elif self.to_collect(job):
                self.begin_loop(job.node_id, job.item_index)
            else:
                self.done(job.node_id, answer(self, job), item=job.item_index)

    # -- transactions

    def give(self, given: Input, job: Job | None = None, *, commit: bool = True) -> Transaction:
        """Decide and carry out in one transaction. With `commit` false all of it is lost."""
        before = (
            list(self.log),
            self.stored,
            {key: replace(row) for key, row in self.queue.items()},
            dict(self.chunks),
        )
        made = (list(self.error_rows), self.jobs_made, self.kills)
        carried = super().give(given, job)
        if not commit:
            self.log, self.stored, self.queue, self.chunks = before
            self.error_rows, self.jobs_made, self.kills = made
            self.state = self.now
        else:
            self.check()
        return carried

    def decide(self, given: Input) -> Decision:
        untouched = self.state = self.now
        told = orjson.dumps(untouched.to_json())
        found = super().decide(given)
        assert orjson.dumps(untouched.to_json()) == told, "deciding changed the state it was given"
        if found.state.draining and not found.withdraw:
            assert not found.jobs, "a job was made while the execution drained"
        for chunk in found.chunks:
            assert (chunk.node_id, chunk.visit, chunk.chunk) not in self.chunks, "a chunk is there already"
        self.stored = orjson.dumps(found.state.to_json())
        return replace(found, state=self.now, events=[_through_json(event) for event in found.events])

    def _insert(self, job: Job) -> QueueRow:
        taken = {(row.job.node_id, row.job.item_index) for row in self.queue.values()}
        assert (job.node_id, job.item_index) not in taken, f"{job.node_id} has a job already"
        return super()._insert(replace(job, context=_plain(job.context)))

    def loading(self, ask: Callable[[Values], T]) -> T:
        """Answer `NotLoaded` with nothing at hand at first, so that whatever is needed is asked for, once."""
        values = Values(self.execution_id, self.workload)
        for _ in range(50):
            try:
                return ask(values)
            except NotLoaded as missing:
                if any(values.has_result(number) for number in missing.events):
                    raise AssertionError("it asked twice for the same") from missing
                self.load(values, missing)
        raise AssertionError("it asks for ever more values")

    # -- what always holds

    def check(self) -> None:
        state = self.now
        assert [event.event_id for event in self.log] == list(range(1, len(self.log) + 1))
        again = orjson.dumps(replay(self.playbook, self.log).to_json())
        assert again == self.stored, "the log does not replay to the state"
        ends = [event for event in self.log if event.event_type in TERMINAL_EVENTS]
        assert len(ends) <= 1, "it ended twice"
        assert not ends or ends[0] is self.log[-1], "something followed the end"
        assert bool(ends) == state.status.terminal
        self._check_jobs(state)
        assert state.runs or state.status.terminal, "nothing runs, and it has not ended"
        if state.status.terminal:
            assert not state.pending
        for numbers in self._numbers(EventType.STEP_QUEUED).values():
            assert numbers == sorted(set(numbers)), "a visit began twice"

    def _check_jobs(self, state: State) -> None:
        """Each step run has its job, or a loop; each item that has begun and not ended, too."""
        jobs = {(row.job.node_id, row.job.item_index) for row in self.queue.values()}
        for row in self.queue.values():
            assert state.runs[step_of(row.job.node_id)][0] == row.job.visit, "runs and jobs differ"
            assert row.status == "leased" or why_not_begin(state, row.job) is None, "a job is to begin that must not"
        for name in state.runs:
            loop = state.loops.get(name)
            itself = loop is None or loop["ended"] == loop["begun"]
            assert ((name, NO_ITEM) in jobs) == itself, "runs and jobs differ"
        assert {node for node, item in jobs if item == NO_ITEM} <= state.runs.keys()
        assert {node for node, item in jobs if item != NO_ITEM} <= state.loops.keys()
        for node, loop in state.loops.items():
            inner = [other for other in state.loops if other.rpartition("/")[0] == node]
            items = [item for at, item in jobs if at == node and item != NO_ITEM]
            assert len(inner) + len(items) == loop["begun"] - loop["ended"], "items and jobs differ"
            assert loop["begun"] - loop["ended"] <= loop["limit"], "too many items run at a time"
            around = state.loops.get(node.rpartition("/")[0])
            running = around is None or not is_stopped(around)
            assert is_stopped(loop) or running, "a loop continues within one that was stopped"

    def _numbers(self, event_type: EventType) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for event in self.events(event_type):
            found.setdefault(event.node_id, []).append(event.visit)
        return found


def _through_json(event: Event) -> Event:
    """Return an event as it comes back from the database."""
    return replace(
        event,
        context=_plain(event.context),
        error=_plain(event.error),
        meta=_plain(event.meta),
    )


def _plain(value: Json) -> Json:
    return None if value is None else orjson.loads(orjson.dumps(value))


# ---- short ways to write playbooks ----------------------------------------------------------------------------------


def flow(*steps: dict[str, Any], **more: Any) -> Execution:
    """Return an execution of a workflow of these steps."""
    return Execution(playbook({"workflow": list(steps), **more}), more.get("workload", {}))


def py(step: str, *targets: str, **more: Any) -> dict[str, Any]:
    """Return a step with an action and plain ways to others."""
    return {"step": step, "type": "python", "next": [{"step": target} for target in targets], **more}


def router(step: str, *targets: str, **more: Any) -> dict[str, Any]:
    """Return a step that only routes."""
    return {"step": step, "next": [{"step": target} for target in targets], **more}
