"""What follows from an attempt that has ended: done, failed, or its worker lost."""

from typing import Any, assert_never

from noetl.engine.conditions import UNSATISFIED, dissatisfied, wanted
from noetl.engine.facts import Done, Event, Expired, Failed, Job, Outcome
from noetl.engine.failing import error_value, fail_run, template_error
from noetl.engine.retry import LOST_IN_A_ROW, delay, may_retry
from noetl.engine.routing import follow
from noetl.engine.turn import Run, Turn, run_of
from noetl.errors import Conflict, InputError
from noetl.playbook.results import result_view
from noetl.words import CONTINUE_NODE, EventType


def take_outcome(turn: Turn, outcome: Outcome) -> None:
    """Decide on the end of an attempt."""
    state, job = turn.state, outcome.job
    if state.status.terminal:
        return
    known = state.runs.get(job.node_id)
    if known is None or known[0] != job.visit:
        raise Conflict(f"step {job.node_id!r}, visit {job.visit}, is not running: its outcome has no place")
    if job.node_id == CONTINUE_NODE:
        go_on(turn)
        return
    run = run_of(turn, outcome)
    what = outcome.what
    if isinstance(what, Done):
        _done(turn, run, outcome, what.result)
    elif isinstance(what, Failed):
        _failed(turn, run, outcome, dict(what.error))
    elif isinstance(what, Expired):
        _expired(turn, run, outcome)
    else:
        assert_never(what)


def complete(turn: Turn, run: Run, result: bytes | None) -> None:
    """End a step run that succeeded, and follow its `next`."""
    routes = None
    if result is not None:
        turn.reader.raw[turn.next_id] = result
    if not turn.state.draining:
        routes = run.plan.fixed_next
        if routes is None:
            try:
                routes = follow(run.plan.step.next, _next_scopes(turn, run, result), run.plan.next_names)
            except InputError as problem:
                fail_run(turn, run, template_error(problem, phase="routing"), result=result)
                return
    turn.end_run(EventType.STEP_COMPLETED, run, result=result, routes=routes)


def _next_scopes(turn: Turn, run: Run, result: bytes | None) -> Any:
    if result is None:
        return turn.scopes(run.place())
    own = turn.next_id
    fixed = None
    if not run.plan.next_names.isdisjoint(("result", "this")):
        view = result_view(turn.reader.result(own))
        fixed = {"result": view, "this": view}
    return turn.scopes(run.place(own, fixed))


def _done(turn: Turn, run: Run, outcome: Outcome, result: bytes) -> None:
    error = dissatisfied(turn, run, result) if run.plan.asks_result and not turn.state.draining else None
    if error is None:
        complete(turn, run, result)
    elif may_retry(run.plan.step.retry, outcome.job.failures + 1, error):
        _next_attempt(turn, run, outcome, error)
    else:
        fail_run(turn, run, error, result=result)


def _failed(turn: Turn, run: Run, outcome: Outcome, error: dict[str, Any]) -> None:
    state, job = turn.state, outcome.job
    if state.draining:
        if error.get("type") == "cancelled":
            turn.end_run(EventType.STEP_CANCELLED, run, error=error)
        else:
            fail_run(turn, run, error)
        return
    if not may_retry(run.plan.step.retry, job.failures + 1, error) or not wanted(turn, run, error):
        fail_run(turn, run, error)
        return
    turn.note_error(run, error)
    _next_attempt(turn, run, outcome, error)


def _next_attempt(turn: Turn, run: Run, outcome: Outcome, error: dict[str, Any]) -> None:
    failures = outcome.job.failures + 1
    wait = delay(run.plan.step.retry, failures, outcome.jitter)
    _attempt_over(turn, run, EventType.ATTEMPT_FAILED, {"delay": round(wait, 6)}, error)
    context: dict[str, Any] = {"arrivals": run.arrivals}
    if repeats := outcome.job.repeats + (error.get("type") == UNSATISFIED):
        context["repeats"] = repeats
    turn.jobs.append(_again(outcome.job, failures=failures, context=context, delay=wait))


def _expired(turn: Turn, run: Run, outcome: Outcome) -> None:
    state, job = turn.state, outcome.job
    lost = job.lost + 1
    _attempt_over(turn, run, EventType.LEASE_EXPIRED, {"lost": lost}, None)
    if state.draining:
        kind = EventType.STEP_CANCELLED if state.killing else EventType.STEP_SKIPPED
        turn.end_run(kind, run, reason="its worker was lost, and nothing new begins")
    elif lost >= LOST_IN_A_ROW:
        message = f"the worker that ran it was lost {lost} times in a row: does the step bring it down?"
        fail_run(turn, run, error_value("worker_lost", message))
    else:
        turn.jobs.append(_again(job, failures=job.failures, context=job.context, lost=lost))


def _again(job: Any, *, failures: int, context: dict[str, Any], lost: int = 0, delay: float | None = None) -> Job:
    """Return the row of a job that goes on: same id, same fence counter."""
    return Job(
        job.node_id,
        job.visit,
        job.item_index,
        job.pool,
        job.priority,
        context,
        delay,
        job.job_id,
        job.attempts,
        failures,
        lost,
    )


def _attempt_over(
    turn: Turn, run: Run, event_type: EventType, meta: dict[str, Any], error: dict[str, Any] | None
) -> None:
    """Emit the event of an attempt after which the step run goes on."""
    step = run.plan.step
    if run.queued is not None:
        meta["queued"] = round(run.queued, 6)
    turn.emit(
        Event(
            turn.next_id,
            event_type,
            step.name,
            step.type,
            run.visit,
            attempt=run.attempt,
            worker_id=run.worker_id,
            duration=run.duration,
            error=error,
            meta=meta,
        )
    )


def go_on(turn: Turn) -> None:
    """End the pause that a long chain of routers made."""
    known = turn.state.runs.get(CONTINUE_NODE)
    if known is not None:
        turn.emit(Event(turn.next_id, EventType.STEP_COMPLETED, CONTINUE_NODE, "router", known[0]))
