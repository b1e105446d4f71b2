"""The executions of a test, the child playbooks' among them: their transactions, and what follows from each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from noetl.engine.events import Event
from noetl.engine.inputs import AttemptEnded, Cancel, Collected, TimedOut
from noetl.engine.waiting import CANCELLED_BY_PARENT, ChildCall
from noetl.engine.workload import render_workload
from noetl.errors import InputError
from noetl.jobs import Job
from noetl.outcomes import Done, Failed, error_value
from noetl.playbook.model import Playbook
from noetl.playbook.templates.env import Env
from noetl.playbook.testfile.model import Stub, Test
from noetl.testing.agenda import Agenda
from noetl.testing.answers import StubAnswers
from noetl.testing.broken_test import BrokenTest
from noetl.testing.execution import Execution, QueueRow, Transaction
from noetl.words import step_of

LONGEST_DELAY: Final = 1.0
"""The `jitter` of retries: their delays are as long as they can be, so that durations are upper bounds."""

Begin = Callable[["Member", QueueRow], None]
"""Begin the attempt of a job that is due."""


@dataclass(slots=True)
class Member:
    """One of the executions of a test. `ended_at` in microseconds since 1970, None while it lives."""

    execution: Execution
    answers: StubAnswers
    depth: int = 0
    parent: "tuple[Member, QueueRow] | None" = None
    created: dict[int, int] = field(default_factory=dict)  # job -> when it was made
    ended_at: int | None = None

    def where(self, job: Job) -> str:
        """Return a step's name in errors."""
        return f"{self.execution.playbook.path}#{step_of(job.node_id)}"


@dataclass(frozen=True, slots=True)
class TimedEvent:
    """An event and when it happened, in seconds since the test began."""

    at: float
    execution_id: int
    path: str
    event: Event


class Members:
    """The executions of one test. `timeline` has their events, `root` is the execution that the test starts."""

    def __init__(self, test: Test, begin: Begin) -> None:
        self.agenda = Agenda(test.now)
        self.by_id: dict[int, Member] = {}
        self.root: Member | None = None
        self.timeline: list[TimedEvent] = []
        self._test = test
        self._env = Env(tuple(test.env), test.env)
        self._begin = begin

    def start_root(self, playbook: Playbook) -> None:
        """Begin the execution of the test. Raises `BrokenTest`."""
        test = self._test
        try:
            workload = render_workload(playbook, test.execution_id, self._env, test.payload, merge=test.merge)
        except InputError as problem:
            raise BrokenTest(f"the execution cannot start: {problem}") from None
        root = self.root = self._add(playbook, test.execution_id, workload, StubAnswers(test.stubs))
        for seconds in test.cancel_at:
            self.agenda.after(seconds, lambda: self.cancel(root, "test", ""))
        self.start(root)

    def new_child(
        self, playbook: Playbook, call: ChildCall, stubs: Mapping[str, Stub], parent: tuple[Member, QueueRow]
    ) -> Member:
        """Return a child that is about to start. Raises `InputError` where its workload cannot be rendered."""
        number = self._test.execution_id + len(self.by_id)
        workload = render_workload(playbook, number, self._env, call.payload, passed=call.passed)
        child = self._add(playbook, number, workload, StubAnswers(stubs, self._test.stubs))
        child.depth, child.parent = parent[0].depth + 1, parent
        return child

    def _add(self, playbook: Playbook, number: int, workload: Mapping[str, object], answers: StubAnswers) -> Member:
        member = self.by_id[number] = Member(Execution(playbook, number, workload, self._env), answers)
        return member

    def start(self, member: Member) -> None:
        """Begin an execution."""
        playbook = member.execution.playbook
        timeout = playbook.timeout
        if timeout is not None:
            self.agenda.after(timeout, lambda: self._time_out(member, timeout))
        self.carried(member, member.execution.start({"path": playbook.path, "hash": playbook.hash}))

    def cancel(self, member: Member, by: str, reason: str) -> None:
        """Request the end of an execution."""
        if member.ended_at is None:
            self.carried(member, member.execution.give(Cancel(by, reason)))

    def cancel_child(self, job: Job) -> None:
        """Cancel the child of a job, if it has one."""
        number = job.context.get("child")
        if number is not None:
            child = self.by_id[int(number)]
            self.agenda.after(0, lambda: self.cancel(child, *CANCELLED_BY_PARENT))

    def _time_out(self, member: Member, seconds: float) -> None:
        if member.ended_at is None:
            self.carried(member, member.execution.give(TimedOut(seconds)))

    # -- transactions

    def finish(self, member: Member, row: QueueRow, outcome: Done | Failed | Collected, duration: float = 0.0) -> None:
        """Apply the outcome of an attempt, unless its job has ended already."""
        execution, job = member.execution, row.job
        if execution.queue.get(job.job_id) is not row:
            return
        ended = AttemptEnded(job, outcome, worker_id="test", duration=duration, queued=0.0, jitter=LONGEST_DELAY)
        self.carried(member, execution.give(ended, job))
        if isinstance(outcome, Failed) and outcome.error.get("type") == "timeout":
            self.cancel_child(job)

    def carried(self, member: Member, carried: Transaction) -> None:
        """Follow up a transaction: queue its jobs, cancel children, wake a parent."""
        execution = member.execution
        at, path = self.agenda.seconds, execution.playbook.path
        self.timeline += [TimedEvent(at, execution.execution_id, path, event) for event in carried.events]
        for job in carried.withdrawn:
            self.cancel_child(job)
        for row in carried.inserted:
            if execution.queue.get(row.job.job_id) is row:
                self._queue(member, row)
        if carried.kill:
            for row in list(execution.queue.values()):
                if row.status == "leased":
                    message = f"{member.where(row.job)}: cancelled while it ran"
                    self.finish(member, row, Failed(error_value("cancelled", message)))
        if execution.state.status.terminal and member.ended_at is None:
            member.ended_at = self.agenda.now
            if member.parent is not None:
                parent, waiting = member.parent
                self.agenda.after(0, lambda: self._begin(parent, waiting))

    def _queue(self, member: Member, row: QueueRow) -> None:
        member.created.setdefault(row.job.job_id, self.agenda.now)
        if row.delay != float("inf"):
            self.agenda.after(row.delay or 0.0, lambda: self._begin(member, row))
