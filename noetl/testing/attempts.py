"""The attempts of steps in a test: answered by a stub, carried out, or waited for in virtual time."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from noetl.calls import Call
from noetl.engine.calling import call_context
from noetl.engine.evolve import value_event
from noetl.engine.inputs import Collected, Continue
from noetl.engine.loops.collect import collect, to_collect
from noetl.engine.render import Rendered, render_job
from noetl.engine.waiting import (
    MAX_CALL_DEPTH,
    child_call,
    child_failed,
    limit_of,
    no_return_step,
    return_step,
    timed_out,
    too_deep,
    wait,
)
from noetl.errors import InputError, TemplateError
from noetl.jobs import Job
from noetl.outcomes import Deferred, Done, Failed, error_value, save_failed
from noetl.playbook.model import Playbook
from noetl.playbook.step_types import STEP_TYPES
from noetl.playbook.templates.result_views import raw
from noetl.playbook.testfile.model import Stub, Test
from noetl.playbook.testfile.stubs import RUN
from noetl.testing.answers import MAX_RESULT_BYTES, outcome_of, unstubbed
from noetl.testing.broken_test import BrokenTest
from noetl.testing.calls import CallRecord, call_of
from noetl.testing.execution import Execution, QueueRow
from noetl.testing.members import Member, Members
from noetl.testing.python import REAL_LIMIT_SECONDS, Overran, PythonChild
from noetl.testing.saves import to_save
from noetl.testing.secrets import with_secrets
from noetl.testing.stand_ins import stand_in
from noetl.words import CONTINUE_NODE, EventType, ExecutionStatus, idempotency_key, step_of

MOST_CALLS: Final = 1_000_000
"""Jobs after which a test is held to be endless."""

CODE_LIMIT_SECONDS: Final = 3600.0
"""Seconds of virtual time that a step with code of the playbook may take which names no timeout."""

Act = Callable[[], None]


FindChild = Callable[[str], tuple[Playbook, Mapping[str, Stub]] | None]
"""Return a child playbook by its catalog path, with the stubs that the test has for it. May raise `BrokenTest`."""


class Attempts:
    """The attempts of a test's jobs. `calls` and `output` are those of the root, and of all executions."""

    def __init__(self, members: Members, test: Test, find_child: FindChild, python: PythonChild) -> None:
        self.calls: list[CallRecord] = []
        self.output: list[tuple[str, str]] = []
        self._members = members
        self._agenda = members.agenda
        self._test = test
        self._find_child = find_child
        self._python = python
        self._begun = 0

    def begin(self, member: Member, row: QueueRow) -> None:
        """Take a job that is due, unless it has gone meanwhile."""
        execution = member.execution
        if execution.queue.get(row.job.job_id) is not row or row.status == "leased":
            return
        self._begun += 1
        if self._begun > MOST_CALLS:
            raise BrokenTest(f"after {MOST_CALLS:,} calls it has not ended, the last is of step {row.job.node_id!r}")
        job = execution.take(row)
        if job.node_id == CONTINUE_NODE:
            self._members.carried(member, execution.give(Continue(), job))
            return
        try:
            act = self._attempt(member, row)
        except TemplateError as problem:
            act = self._ending(member, row, Failed(error_value("template", str(problem))))
        except InputError as problem:
            act = self._ending(member, row, Failed(error_value("validation", str(problem))))
        act()

    def _ending(self, member: Member, row: QueueRow, outcome: Done | Failed | Collected) -> Act:
        return lambda: self._members.finish(member, row, outcome)

    def _attempt(self, member: Member, row: QueueRow) -> Act:
        """Return the next act of an attempt. Raises the errors of wrong templates and fields."""
        job, execution = row.job, member.execution
        playbook, state = execution.playbook, execution.state
        if "end" in job.context:  # the items are done: a block `save` of the whole may be due
            return lambda: self._conclude(member, row, Done(b"null"), 0.0)
        if to_collect(playbook.step(step_of(job.node_id)), job) is not None:
            outcome = execution.loading(lambda values: collect(playbook, state, job, values, MAX_RESULT_BYTES))
            return self._ending(member, row, outcome)
        rendered = execution.loading(lambda values: render_job(playbook, state, job, values))
        rendered = with_secrets(rendered, self._test, _key(member, job))
        if job.context.get("child") is not None:
            return self._look_at_child(member, row, rendered)
        if job.context.get("due") is not None:
            return self._wait(member, row, rendered)
        return self._call(member, row, rendered)

    def _call(self, member: Member, row: QueueRow, rendered: Rendered) -> Act:
        """Answer the call of a step's tool by its stub, or carry it out."""
        call = self._kept(member, call_of(rendered, row.job, self._agenda.seconds))
        answer = member.answers.find(call)
        if answer is None or answer.kind == RUN:
            return self._carry_out(member, row, rendered, call)
        outcome, takes = outcome_of(answer, call), answer.takes
        limit = (
            CODE_LIMIT_SECONDS if rendered.timeout is None and STEP_TYPES[rendered.type].runs_code else rendered.timeout
        )
        if limit is not None and takes > limit:
            outcome, takes = Failed(_overran(member, row.job, limit)), limit
        return lambda: self._conclude(member, row, outcome, takes)

    def _kept(self, member: Member, call: CallRecord) -> CallRecord:
        if member is self._members.root:
            self.calls.append(call)
        return call

    def _conclude(self, member: Member, row: QueueRow, outcome: Done | Failed, takes: float) -> None:
        """End an attempt after `takes` seconds; its result is saved before, where its step has a block `save`."""
        if takes:
            self._agenda.after(takes, lambda: self._saved(member, row, outcome, takes))
        else:
            self._saved(member, row, outcome, 0.0)

    def _saved(self, member: Member, row: QueueRow, outcome: Done | Failed, took: float) -> None:
        if member.execution.queue.get(row.job.job_id) is not row:
            return
        takes = 0.0
        wanted = to_save(member.execution, row.job, outcome) if isinstance(outcome, Done) else None
        if isinstance(wanted, (Done, Failed)):
            outcome = wanted
        elif isinstance(outcome, Done) and wanted is not None:
            wanted = with_secrets(wanted, self._test, _key(member, row.job))
            call = self._kept(member, call_of(wanted, row.job, self._agenda.seconds, save=True))
            answer = member.answers.find(call)
            if answer is not None:
                takes, saved = answer.takes, outcome_of(answer, call)
                outcome = save_failed(saved, outcome) if isinstance(saved, Failed) else outcome
        if takes:
            self._agenda.after(takes, lambda: self._members.finish(member, row, outcome, took + takes))
        else:
            self._members.finish(member, row, outcome, took)

    def _carry_out(self, member: Member, row: QueueRow, rendered: Rendered, call: CallRecord) -> Act:
        match rendered.type:
            case "python":
                return lambda: self._conclude(member, row, self._run_python(member, row.job, rendered), 0.0)
            case "wait":
                return self._wait(member, row, rendered)
            case "playbook":
                return self._start_child(member, row, rendered, call)
        outcome = stand_in(call, self._test)
        if outcome is None:
            raise unstubbed(call)
        return lambda: self._conclude(member, row, outcome, 0.0)

    def _run_python(self, member: Member, job: Job, rendered: Rendered) -> Done | Failed:
        execution, own = member.execution, rendered.timeout
        call = Call(
            type=rendered.type,
            key=_key(member, job),
            where=member.where(job),
            fields=rendered.fields,
            args=rendered.args,
            timeout=own,
            limit=MAX_RESULT_BYTES,
            context=execution.loading(lambda values: call_context(rendered, job, execution.state, values)),
        )
        try:
            outcome, printed = self._python.run(
                call, REAL_LIMIT_SECONDS if own is None else min(own, REAL_LIMIT_SECONDS)
            )
        except Overran:
            if own is not None and own <= REAL_LIMIT_SECONDS:
                return Failed(_overran(member, job, own))
            step = step_of(job.node_id)
            message = f"the code of step {step!r} really ran for {REAL_LIMIT_SECONDS:g} s and was ended"
            raise BrokenTest(message, advice=f"stubs:\n  {step}:\n    result: {{}}") from None
        if printed:
            self.output.append((step_of(job.node_id), printed))
        return outcome

    # -- waiting without a worker

    def _wait(self, member: Member, row: QueueRow, rendered: Rendered) -> Act:
        waited = wait(rendered, row.job.context, member.created[row.job.job_id], self._agenda.now)
        if not isinstance(waited, Deferred):
            return lambda: self._conclude(member, row, waited, 0.0)
        seconds = waited.seconds
        assert seconds is not None, "it waits for a moment"
        member.execution.put_back(row, 0.0, waited.context)
        return lambda: self._agenda.after(seconds, lambda: self.begin(member, row))

    def _start_child(self, member: Member, row: QueueRow, rendered: Rendered, call: CallRecord) -> Act:
        return_step(rendered)  # a wrong one is told before the child starts
        wanted, depth = child_call(rendered), member.depth
        if depth >= MAX_CALL_DEPTH:
            return self._ending(member, row, Failed(too_deep(depth, wanted.path)))
        child_and_stubs = self._find_child(wanted.path)
        if child_and_stubs is None:
            raise _no_child(call, wanted.path)
        playbook, stubs = child_and_stubs
        try:
            child = self._members.new_child(playbook, wanted, stubs, (member, row))
        except InputError as problem:
            return self._ending(member, row, Failed(error_value("playbook", str(problem))))
        limit = limit_of(rendered, row.job.context, self._agenda.now)
        known: dict[str, Any] = {"child": str(child.execution.execution_id)}
        if limit is not None:
            known["limit"] = limit
            self._agenda.at(limit, lambda: self.begin(member, row))
        member.execution.put_back(row, float("inf"), known)
        return lambda: self._members.start(child)

    def _look_at_child(self, member: Member, row: QueueRow, rendered: Rendered) -> Act:
        """End the parent's attempt where the child has ended, or has taken too long."""
        child = self._members.by_id[int(row.job.context["child"])]
        limit = limit_of(rendered, row.job.context, self._agenda.now)
        if child.ended_at is not None:
            outcome = _outcome_of_child(child.execution, return_step(rendered))
            return lambda: self._conclude(member, row, outcome, 0.0)
        if limit is not None and limit <= self._agenda.now:
            return self._ending(member, row, Failed(timed_out(rendered.timeout)))
        return lambda: member.execution.put_back(row, float("inf"), {})


def _overran(member: Member, job: Job, limit: float) -> dict[str, Any]:
    message = f"{member.where(job)}: still running after its timeout of {limit:g} s"
    return error_value("timeout", message, retryable=True)


def _no_child(call: CallRecord, path: str) -> BrokenTest:
    advice = f"children:\n  {path}: FILE.yaml\nor\nstubs:\n  {call.step}:\n    result: {{}}"
    return BrokenTest(f"{call} calls the playbook {path!r}, which the test does not have", advice=advice)


def _outcome_of_child(child: Execution, wanted: str | None) -> Done | Failed:
    status = child.state.status
    if status is not ExecutionStatus.COMPLETED:
        return Failed(child_failed(child.execution_id, child.playbook.path, status, child.error or {}))
    if wanted is None:
        return Done(orjson.dumps(child.result))
    for event in reversed(child.log):
        if event.node_id == wanted and event.event_type is EventType.STEP_COMPLETED:
            holder = child.log[value_event(event) - 1]
            return Done(orjson.dumps(raw(child.result_of(holder))))
    return Failed(no_return_step(child.playbook.path, wanted))


def _key(member: Member, job: Job) -> str:
    return idempotency_key(member.execution.execution_id, job.node_id, job.visit, job.item_index, job.repeats)
