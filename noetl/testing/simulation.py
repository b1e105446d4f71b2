"""Runs one test: executions in memory, in virtual time, in an order that is always the same.

A call takes no time, unless its stub says how much; waits, delays and timeouts take what they say.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from noetl.engine.events import Event
from noetl.engine.inputs import AttemptEnded, Cancel, Collected, TimedOut
from noetl.engine.waiting import CANCELLED_BY_PARENT, ChildCall
from noetl.engine.workload import render_workload
from noetl.errors import InputError
from noetl.jobs import Job
from noetl.outcomes import Done, Failed, error_value
from noetl.playbook.model import Playbook
from noetl.playbook.templates.env import Env
from noetl.playbook.templates.functions import CLOCK
from noetl.playbook.testfile.model import Stub, Test
from noetl.testing.agenda import SECOND, Agenda
from noetl.testing.answers import StubAnswers
from noetl.testing.attempts import Attempts
from noetl.testing.broken_test import BrokenTest
from noetl.testing.calls import CallRecord
from noetl.testing.execution import Execution, QueueRow, Transaction
from noetl.testing.python import PythonChild
from noetl.words import step_of

LONGEST_DELAY: Final = 1.0
"""The `jitter` of retries: their delays are as long as they can be, so that durations are upper bounds."""

FindChild = Callable[[str], tuple[Playbook, Mapping[str, Stub]] | None]
"""Return a child playbook by its catalog path, with the stubs that the test has for it. May raise `BrokenTest`."""


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
        """Return what errors call a step."""
        return f"{self.execution.playbook.path}#{step_of(job.node_id)}"


@dataclass(frozen=True, slots=True)
class TimedEvent:
    """An event and when it happened, in seconds since the test began."""

    at: float
    execution_id: int
    path: str
    event: Event


class Simulation:
    """One test in the making. `calls`, `timeline` and `output` tell what happened, also after a `BrokenTest`."""

    def __init__(self, test: Test, playbook: Playbook, find_child: FindChild, python: PythonChild) -> None:
        self.test = test
        self.find_child = find_child
        self.python = python
        self.agenda = Agenda(test.now)
        self.members: dict[int, Member] = {}
        self.root: Member | None = None
        self.calls: list[CallRecord] = []
        self.timeline: list[TimedEvent] = []
        self.output: list[tuple[str, str]] = []
        self._playbook = playbook
        self._env = Env(tuple(test.env), test.env)
        self._attempts = Attempts(self)

    def run(self) -> None:
        """Run the test's execution to its end. Raises `BrokenTest`."""
        token = CLOCK.set(lambda: self.agenda.time)
        try:
            self._start_root()
            while self.agenda and any(member.ended_at is None for member in self.members.values()):
                self.agenda.step()
        finally:
            CLOCK.reset(token)
        if self.root is None or self.root.ended_at is None:
            raise BrokenTest("nothing is left to do, and the execution has not ended: this is a fault of the engine")

    @property
    def seconds(self) -> float:
        """How long the execution took, in virtual time; until now, where it has not ended."""
        ended = self.root.ended_at if self.root is not None else None
        return self.agenda.seconds if ended is None else (ended - self.agenda.began) / SECOND

    # -- executions

    def _start_root(self) -> None:
        test = self.test
        try:
            workload = render_workload(self._playbook, test.execution_id, self._env, test.payload, merge=test.merge)
        except InputError as problem:
            raise BrokenTest(f"the execution cannot start: {problem}") from None
        root = self.root = self._add(self._playbook, test.execution_id, workload, StubAnswers(test.stubs))
        for seconds in test.cancel_at:
            self.agenda.after(seconds, lambda: self.cancel(root, "test", ""))
        self.start(root)

    def new_child(
        self, playbook: Playbook, call: ChildCall, stubs: Mapping[str, Stub], parent: tuple[Member, QueueRow]
    ) -> Member:
        """Return a child that is about to start. Raises `InputError` where its workload cannot be rendered."""
        number = self.test.execution_id + len(self.members)
        workload = render_workload(playbook, number, self._env, call.payload, passed=call.passed)
        child = self._add(playbook, number, workload, StubAnswers(stubs, self.test.stubs))
        child.depth, child.parent = parent[0].depth + 1, parent
        return child

    def _add(self, playbook: Playbook, number: int, workload: Mapping[str, Any], answers: StubAnswers) -> Member:
        member = self.members[number] = Member(Execution(playbook, number, workload, self._env), answers)
        return member

    def start(self, member: Member) -> None:
        """Begin an execution."""
        playbook = member.execution.playbook
        timeout = playbook.timeout
        if timeout is not None:
            self.agenda.after(timeout, lambda: self._time_out(member, timeout))
        self.carried(member, member.execution.start({"path": playbook.path, "hash": playbook.hash}))

    def cancel(self, member: Member, by: str, reason: str) -> None:
        """Ask an execution to end."""
        if member.ended_at is None:
            self.carried(member, member.execution.give(Cancel(by, reason)))

    def cancel_child(self, job: Job) -> None:
        """Have the child of a job cancelled, if it has one."""
        number = job.context.get("child")
        if number is not None:
            child = self.members[int(number)]
            self.agenda.after(0, lambda: self.cancel(child, *CANCELLED_BY_PARENT))

    def _time_out(self, member: Member, seconds: float) -> None:
        if member.ended_at is None:
            self.carried(member, member.execution.give(TimedOut(seconds)))

    # -- transactions

    def finish(self, member: Member, row: QueueRow, outcome: Done | Failed | Collected, duration: float = 0.0) -> None:
        """Give the outcome of an attempt, unless it has ended already."""
        execution, job = member.execution, row.job
        if execution.queue.get(job.job_id) is not row:
            return
        ended = AttemptEnded(job, outcome, worker_id="test", duration=duration, queued=0.0, jitter=LONGEST_DELAY)
        self.carried(member, execution.give(ended, job))
        if isinstance(outcome, Failed) and outcome.error.get("type") == "timeout":
            self.cancel_child(job)

    def carried(self, member: Member, carried: Transaction) -> None:
        """See to what a transaction came to."""
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
                self.agenda.after(0, lambda: self._attempts.begin(parent, waiting))

    def _queue(self, member: Member, row: QueueRow) -> None:
        member.created.setdefault(row.job.job_id, self.agenda.now)
        if row.delay != float("inf"):
            self.agenda.after(row.delay or 0.0, lambda: self._attempts.begin(member, row))
