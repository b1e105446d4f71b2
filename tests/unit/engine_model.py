"""A pure stand-in for the world around the engine: a queue, a log, workers that die, transactions that are lost.

`Execution` carries out decisions the way the orchestrator does, in memory, and checks after every transaction what
must always hold. Which job ends next, and how, is the caller's choice.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from noetl.engine.collect import collect, to_collect
from noetl.engine.decide import decide
from noetl.engine.evolve import is_stopped, replay
from noetl.engine.facts import (
    Cancel,
    ChunkKey,
    Collected,
    Continue,
    Decision,
    Done,
    Event,
    Expired,
    Failed,
    Input,
    Job,
    JobRef,
    NotLoaded,
    Outcome,
    Start,
    TimedOut,
    Values,
    Withdrawn,
    is_within,
)
from noetl.engine.render import Rendered, render_job, render_save
from noetl.engine.state import State
from noetl.playbook.load import stored_playbook
from noetl.playbook.model import Playbook
from noetl.playbook.results import LoopResult, raw
from noetl.words import CONTINUE_NODE, NO_ITEM, TERMINAL_EVENTS, EventType, step_of

Json = Any

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


@dataclass
class Row:
    """A queue row."""

    job: JobRef
    status: str
    delay: float | None = None


@dataclass
class Execution:
    """One execution in memory. `log`, `state` (as JSON text) and `queue` are what a database would hold."""

    playbook: Playbook
    workload: dict[str, Json] = field(default_factory=dict)
    log: list[Event] = field(default_factory=list)
    state: bytes = b""
    queue: dict[int, Row] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    jobs_made: int = 0
    kills: int = 0
    chunks: dict[ChunkKey, bytes] = field(default_factory=dict)
    context: dict[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.state = orjson.dumps(State().to_json())
        self.give(Start(self.context))

    # -- what somebody asks of it

    @property
    def now(self) -> State:
        return State.from_json(orjson.loads(self.state))

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
    def result(self) -> Json:
        last = self.log[-1]
        assert last.event_type in TERMINAL_EVENTS
        if last.result is None and last.meta and "result_event" in last.meta:
            holder = self.log[last.meta["result_event"] - 1]
            if holder.event_type is EventType.LOOP_STARTED:
                return raw(self.loop_result(holder.event_id))
            return self._decode(holder.result)
        return self._decode(last.result)

    @property
    def error(self) -> dict[str, Json]:
        error = self.log[-1].error
        assert error is not None
        return error

    def args(self, step: str, item: int | None = None) -> dict[str, Json]:
        return dict(self.rendered(step, item).args)

    def rendered(self, step: str, item: int | None = None) -> Rendered:
        """What a worker that holds the step's job would carry out."""
        job = self.row(step, item).job
        found: Rendered = self._loading(lambda values: render_job(self.playbook, self.now, job, values))
        return found

    def saving(self, step: str, result: Json, item: int | None = None) -> Rendered:
        """What a worker would save of a result."""
        job = self.row(step, item).job
        found: Rendered = self._loading(lambda values: render_save(self.playbook, self.now, job, values, result))
        return found

    def collected(self, step: str, item: int | None = None, limit: int = LIMIT) -> Collected:
        """What a worker that holds a loop's first job would answer."""
        job = self.row(step, item).job
        found: Collected = self._loading(lambda values: collect(self.playbook, self.now, job, values, limit))
        return found

    def to_collect(self, job: JobRef) -> bool:
        """Whether a job is the first of a loop."""
        steps = {**self.playbook.workflow.steps, **(self.playbook.finally_.steps if self.playbook.finally_ else {})}
        step = steps.get(step_of(job.node_id))
        return step is not None and to_collect(step, job) is not None

    def row(self, step: str, item: int | None = None) -> Row:
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

    def lease(self, step: str, item: int | None = None) -> JobRef:
        """Have a worker take the step's job."""
        row = self.row(step, item)
        row.job = replace(row.job, attempts=row.job.attempts + 1)
        row.status = "leased"
        return row.job

    def outcome(
        self, step: str, what: Done | Failed | Expired | Collected, item: int | None = None, **more: Any
    ) -> None:
        """End the attempt of a step's job, which is leased first if it is not yet."""
        row = self.row(step, item)
        job = row.job if row.status == "leased" else self.lease(step, row.job.item_index)
        self.give(Outcome(job, what, worker_id="w1", duration=0.01, queued=0.001, **more), job)

    def defer(self, step: str, item: int | None = None) -> None:
        """Have the leased job of a step wait, as a wait or a child's parent does; it is withdrawn if nothing new
        may begin."""
        row = self.row(step, item)
        if self.now.draining:
            self.give(Withdrawn((row.job,), "nothing new begins"), row.job)
        else:
            row.status, row.delay = "waiting", float("inf")

    def go_on(self) -> None:
        """Have the job of a long chain of routers come up."""
        self.give(Continue(), self.lease(CONTINUE_NODE))

    def cancel(self, by: str = "ada", reason: str = "") -> None:
        self.give(Cancel(by, reason))

    def time_out(self, seconds: float = 60) -> None:
        self.give(TimedOut(seconds))

    def run(self, answer: Callable[["Execution", JobRef], Json] = lambda *_: None, limit: int = 100_000) -> None:
        """Complete jobs, the oldest first, until none is left."""
        while self.queue:
            limit -= 1
            assert limit > 0, "it does not come to an end"
            job = next(iter(self.queue.values())).job
            if job.node_id == CONTINUE_NODE:
                self.go_on()
            elif self.to_collect(job):
                self.begin_loop(job.node_id, job.item_index)
            else:
                self.done(job.node_id, answer(self, job), item=job.item_index)

    # -- transactions

    def give(self, given: Input, job: JobRef | None = None, *, commit: bool = True) -> Decision | None:
        """Decide and carry out in one transaction. With `commit` false all of it is lost."""
        before = (list(self.log), self.state, {key: replace(row) for key, row in self.queue.items()}, dict(self.chunks))
        made = (list(self.errors), self.jobs_made, self.kills)
        if job is not None:
            del self.queue[job.job_id]
        decision = self._carry_out(given)
        while decision.withdraw:
            taken = [row.job for row in self.queue.values() if row.status != "leased"]
            if decision.within is not None:
                taken = [one for one in taken if is_within(one.node_id, decision.within)]
            for one in taken:
                del self.queue[one.job_id]
            decision = self._carry_out(Withdrawn(tuple(taken), decision.reason))
        if not commit:
            self.log, self.state, self.queue, self.chunks = before
            self.errors, self.jobs_made, self.kills = made
            return None
        self.check()
        return decision

    def _carry_out(self, given: Input) -> Decision:
        untouched = self.now
        known = untouched.to_json()
        told = orjson.dumps(known)
        decision: Decision = self._loading(lambda values: decide(self.playbook, untouched, given, values))
        assert orjson.dumps(untouched.to_json()) == told, "deciding changed the state it was given"
        self.state = orjson.dumps(decision.state.to_json())
        self.log += [_through_json(event) for event in decision.events]
        self.errors += [row.error_type for row in decision.errors]
        self.kills += decision.kill
        if decision.state.draining and not decision.withdraw:
            assert not decision.jobs, "a job was made while the execution drained"
        for chunk in decision.chunks:
            key = (chunk.node_id, chunk.visit, chunk.chunk)
            assert key not in self.chunks, "a chunk is there already"
            self.chunks[key] = chunk.items
        for one in decision.jobs:
            self._insert(one)
        return decision

    def _insert(self, job: Job) -> None:
        taken = {(row.job.node_id, row.job.item_index) for row in self.queue.values()}
        assert (job.node_id, job.item_index) not in taken, f"{job.node_id} has a job already"
        self.jobs_made += job.job_id is None
        job_id = self.jobs_made if job.job_id is None else job.job_id
        context = orjson.loads(orjson.dumps(job.context))
        ref = JobRef(
            job_id, job.node_id, job.visit, job.item_index, job.attempts, job.failures, job.lost, context,
            job.pool, job.priority,
        )  # fmt: skip
        self.queue[job_id] = Row(ref, "queued" if job.delay is None else "waiting", job.delay)

    def _loading(self, ask: Callable[[Values], Any]) -> Any:
        """Answer `NotLoaded` the way the orchestrator does: load what is missing, ask again."""
        values = Values(77, self.workload)
        for _ in range(50):
            try:
                return ask(values)
            except NotLoaded as missing:
                for number in missing.events:
                    event = self.log[number - 1]
                    assert not values.has_result(number), "it asked twice for the same"
                    loop = event.event_type is EventType.LOOP_STARTED
                    result = self.loop_result(number) if loop else self._decode(event.result)
                    values.put_row(number, result, event.error, event.meta)
                for key in missing.chunks:
                    values.put_chunk(key, orjson.loads(self.chunks[key]))
        raise AssertionError("it asks for ever more values")

    def loop_result(self, first: int) -> LoopResult:
        """What a loop's items gave, read from the log."""
        started = self.log[first - 1]
        context, values, errors = started.context or {}, {}, []
        for event in self.log[first:]:
            if (event.node_id, event.visit) != (started.node_id, started.visit) or event.item_index == NO_ITEM:
                continue
            if event.event_type is EventType.ITEM_COMPLETED:
                loop = (event.meta or {}).get("loop")
                values[event.item_index] = self.loop_result(loop["first"]) if loop else self._decode(event.result)
            elif event.event_type is EventType.ITEM_FAILED:
                values[event.item_index] = None
                errors.append(event.error)
        assert len(values) == context["count"], "somebody asked for the result of a loop that has not ended"
        return LoopResult([raw(values[index]) for index in range(len(values))], errors)

    @staticmethod
    def _decode(text: bytes | None) -> Json:
        return None if text is None else orjson.loads(text)

    # -- what always holds

    def check(self) -> None:
        state = self.now
        assert [event.event_id for event in self.log] == list(range(1, len(self.log) + 1))
        again = orjson.dumps(replay(self.playbook, self.log).to_json())
        assert again == self.state, "the log does not replay to the state"
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
            around = state.loops.get(node.rpartition("/")[0], {})
            assert is_stopped(loop) or not is_stopped(around), "a loop goes on within one that was stopped"

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
