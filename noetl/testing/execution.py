"""One execution in memory: what the orchestrator does in a transaction, without a database.

Which job ends next, how and when, is the caller's choice.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson

from noetl.engine.decide import decide
from noetl.engine.decision import Decision, ErrorRow, is_within
from noetl.engine.events import Event
from noetl.engine.inputs import Input, Start, Withdrawn
from noetl.engine.state import State
from noetl.engine.values import ChunkKey, NotLoaded, Values
from noetl.jobs import Job
from noetl.playbook.model import Playbook
from noetl.playbook.templates.result_views import LoopResult, raw
from noetl.words import NO_ITEM, EventType

T = TypeVar("T")

MOST_ROUNDS = 1000
"""How often a decision may ask for more values: it asks once for each, unless it is broken."""


@dataclass(slots=True)
class QueueRow:
    """A queue row. `delay` None: queued; else waiting that many seconds, infinity: until woken."""

    job: Job
    status: str
    delay: float | None = None


@dataclass(slots=True)
class Transaction:
    """The result of one transaction: its events, the rows it put into the queue, the jobs it withdrew."""

    events: list[Event] = field(default_factory=list)
    inserted: list[QueueRow] = field(default_factory=list)
    withdrawn: list[Job] = field(default_factory=list)
    kill: bool = False


class Execution:
    """The log, the state, the queue and the collections of one execution."""

    def __init__(
        self,
        playbook: Playbook,
        execution_id: int,
        workload: Mapping[str, object],
        env: Mapping[str, object] | None = None,
    ) -> None:
        self.playbook = playbook
        self.execution_id = execution_id
        self.workload = workload
        self.state = State()
        self.log: list[Event] = []
        self.queue: dict[int, QueueRow] = {}
        self.chunks: dict[ChunkKey, bytes] = {}
        self.error_rows: list[ErrorRow] = []
        self.jobs_made = 0
        self.kills = 0
        self._values = Values(execution_id, workload, env)

    def start(self, context: dict[str, Any]) -> Transaction:
        """Begin."""
        return self.give(Start(context))

    # -- transactions

    def give(self, input_: Input, job: Job | None = None) -> Transaction:
        """Decide what follows and carry it out; `job` is the one that has ended, and leaves the queue."""
        carried = Transaction()
        if job is not None:
            del self.queue[job.job_id]
        decision = self._carry_out(input_, carried)
        while decision.withdraw:
            taken = [row.job for row in self.queue.values() if row.status != "leased"]
            if decision.within is not None:
                taken = [one for one in taken if is_within(one.node_id, decision.within)]
            for one in taken:
                del self.queue[one.job_id]
            carried.withdrawn += taken
            decision = self._carry_out(Withdrawn(tuple(taken), decision.reason), carried)
        return carried

    def take(self, row: QueueRow) -> Job:
        """Lease the job of a row."""
        row.job = row.job.again(attempts=row.job.attempts + 1)
        row.status = "leased"
        return row.job

    def put_back(self, row: QueueRow, delay: float, context: Mapping[str, object]) -> None:
        """Let a leased job wait without a lease, as a wait or a child's parent does."""
        row.job = row.job.again(context={**row.job.context, **context})
        row.status, row.delay = "waiting", delay

    def decide(self, input_: Input) -> Decision:
        """Decide, with all values that it takes."""
        return self.loading(lambda values: decide(self.playbook, self.state, input_, values))

    def _carry_out(self, input_: Input, carried: Transaction) -> Decision:
        decision = self.decide(input_)
        self.state = decision.state
        self.log += decision.events
        self.error_rows += decision.errors
        self.kills += decision.kill
        for chunk in decision.chunks:
            self.chunks[chunk.node_id, chunk.visit, chunk.chunk] = chunk.items
        carried.events += decision.events
        carried.kill = carried.kill or decision.kill
        carried.inserted += [self._insert(one) for one in decision.jobs]
        return decision

    def _insert(self, job: Job) -> QueueRow:
        if not job.job_id:
            self.jobs_made += 1
            job = job.again(job_id=self.jobs_made)
        row = self.queue[job.job_id] = QueueRow(job, "queued" if job.delay is None else "waiting", job.delay)
        return row

    # -- values

    def loading(self, ask: Callable[[Values], T]) -> T:
        """Call `ask`, which reads values of events, until all values that it needs are loaded."""
        for _ in range(MOST_ROUNDS):
            try:
                return ask(self._values)
            except NotLoaded as missing:
                self.load(self._values, missing)
        raise RuntimeError("a decision asks for ever more values: it does not remember what it was given")

    def load(self, values: Values, missing: NotLoaded) -> None:
        """Load missing values from the log and the collections."""
        for number in missing.events:
            event = self.log[number - 1]
            values.put_row(number, self.result_of(event), event.error, event.meta)
        for key in missing.chunks:
            values.put_chunk(key, orjson.loads(self.chunks[key]))

    def result_of(self, event: Event) -> Any:
        """Return the result that an event stands for; for the start of a loop, the results of its items."""
        return self.loop_result(event.event_id) if event.event_type is EventType.LOOP_STARTED else decoded(event.result)

    def loop_result(self, first: int) -> LoopResult:
        """Return the results of the items of the loop that began with an event."""
        started = self.log[first - 1]
        results: dict[int, Any] = {}
        errors = []
        for event in self.log[first:]:
            if (event.node_id, event.visit) != (started.node_id, started.visit) or event.item_index == NO_ITEM:
                continue
            if event.event_type is EventType.ITEM_COMPLETED:
                loop = (event.meta or {}).get("loop")
                inner = event if loop is None else self.log[loop["first"] - 1]
                results[event.item_index] = raw(self.result_of(inner))
            elif event.event_type is EventType.ITEM_FAILED:
                results[event.item_index] = None
                errors.append(event.error)
        count = (started.context or {})["count"]
        if len(results) != count:
            raise RuntimeError(f"the result of the loop {started.node_id!r} was asked for before its end")
        return LoopResult([results[index] for index in range(count)], errors)

    # -- how it ended

    @property
    def result(self) -> Any:
        """The result of an execution that has ended."""
        last = self.log[-1]
        holder = self.log[last.meta["result_event"] - 1] if last.meta and "result_event" in last.meta else last
        return raw(self.result_of(holder))

    @property
    def error(self) -> dict[str, Any] | None:
        """The error of an execution that has ended."""
        return self.log[-1].error


def decoded(text: bytes | None) -> Any:
    """Return the value of a result's JSON text."""
    return None if text is None else orjson.loads(text)
