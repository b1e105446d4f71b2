"""The run of one test: executions in memory, in virtual time, in an order that is always the same.

A call takes no time, unless its stub says how much; waits, delays and timeouts take what they say.
"""

from collections.abc import Sequence

from noetl.playbook.model import Playbook
from noetl.playbook.templates.functions import TEMPLATE_CLOCK
from noetl.playbook.testfile.model import Test
from noetl.testing.agenda import MICROSECONDS_PER_SECOND
from noetl.testing.attempts import Attempts, FindChild
from noetl.testing.broken_test import BrokenTest
from noetl.testing.calls import CallRecord
from noetl.testing.members import Member, Members, TimedEvent
from noetl.testing.python import PythonChild


class Simulation:
    """One test in the making. `calls`, `timeline` and `output` tell what happened, also after a `BrokenTest`."""

    def __init__(self, test: Test, playbook: Playbook, find_child: FindChild, python: PythonChild) -> None:
        self._playbook = playbook
        self._members = Members(test, lambda member, row: self._attempts.begin(member, row))
        self._attempts = Attempts(self._members, test, find_child, python)

    @property
    def root(self) -> Member | None:
        """The execution that the test starts, None where it could not start."""
        return self._members.root

    @property
    def calls(self) -> Sequence[CallRecord]:
        """The calls of the root's steps, in their order."""
        return self._attempts.calls

    @property
    def timeline(self) -> Sequence[TimedEvent]:
        """The events of all executions, in their order."""
        return self._members.timeline

    @property
    def output(self) -> Sequence[tuple[str, str]]:
        """Texts that python steps printed, each with the step's name."""
        return self._attempts.output

    @property
    def seconds(self) -> float:
        """The duration of the execution in virtual time; until now, where it has not ended."""
        agenda, ended = self._members.agenda, self.root.ended_at if self.root is not None else None
        return agenda.seconds if ended is None else (ended - agenda.began) / MICROSECONDS_PER_SECOND

    def run(self) -> None:
        """Run the test's execution to its end. Raises `BrokenTest`."""
        members, agenda = self._members, self._members.agenda
        token = TEMPLATE_CLOCK.set(lambda: agenda.time)
        try:
            members.start_root(self._playbook)
            while agenda and any(member.ended_at is None for member in members.by_id.values()):
                agenda.step()
        finally:
            TEMPLATE_CLOCK.reset(token)
        if self.root is None or self.root.ended_at is None:
            raise BrokenTest("nothing is left to do, and the execution has not ended: this is a fault of the engine")
