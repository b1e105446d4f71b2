"""The failure of a step run: `on_error` handles it, or the execution turns failing."""

from typing import Any, Final

from noetl.engine.events import Event
from noetl.engine.routing import Routes, follow, leads_on
from noetl.engine.state import State
from noetl.engine.turn import StepRun, Turn
from noetl.errors import InputError, TemplateError
from noetl.outcomes import ErrorValue, error_value
from noetl.playbook.templates.result_views import result_view
from noetl.words import EventType, ExecutionStatus

FAILING_REASON: Final = "the execution was failing"
CANCELLED_REASON: Final = "the execution was cancelled"
TIMED_OUT_REASON: Final = "the execution was past its timeout"
FINALLY_FAILED_REASON: Final = "the finally workflow had failed"
"""The reasons of step runs that are skipped or cancelled, as their events tell them."""


def template_error(error: InputError, **more: Any) -> ErrorValue:
    """Return the error value for a template that could not be rendered, or gave what cannot be stored."""
    type_ = "template" if isinstance(error, TemplateError) else "validation"
    return error_value(type_, str(error), **more)


def fail_run(
    turn: Turn,
    run: StepRun,
    error: ErrorValue,
    *,
    result: bytes | None = None,
    handle: bool = True,
    note: bool = True,
) -> None:
    """End a step run by a failure. `result` is kept where only the routing or the save failed; `handle`: follow
    `on_error`; `note`: write it to the error log, too."""
    step = run.plan.step
    error = {**error, "step": step.name, "attempt": run.attempt or error.get("attempt") or 1}
    if step.retry.max_attempts > 1:
        error["max_attempts"] = step.retry.max_attempts
    event_id = turn.next_id
    if note:
        turn.note_error(run, error)
    turn.reader.errors[event_id] = error
    own = 0 if result is None else _result_event(turn, run, result)
    routes: Routes | None = None
    handled = turn.state.draining
    if handle and not handled:
        routes, handled = _handled(turn, run, error, own)
    turn.end_run(EventType.STEP_FAILED, run, result=result, error=error, routes=routes)
    if not handled:
        turn_failing(turn, {"failed": event_id}, {"step": step.name})


def _result_event(turn: Turn, run: StepRun, result: bytes) -> int:
    """Return the event that holds the result: of a loop the one that began it, else the one that is about to come."""
    if run.loop is not None:
        return run.loop["first"]
    turn.reader.raw[turn.next_id] = result
    return turn.next_id


def _handled(turn: Turn, run: StepRun, error: ErrorValue, own: int) -> tuple[Routes | None, bool]:
    """Return where the failure leads, and whether that handles it.

    Where the routing itself fails, the failure stays what it was, and why nobody handled it belongs to it.
    """
    try:
        return _follow_handlers(turn, run, error, own)
    except InputError as problem:
        routing_error = template_error(problem, phase="routing")
        turn.note_error(run, routing_error)
        error["handler_error"] = routing_error["message"]
        return None, False


def _follow_handlers(turn: Turn, run: StepRun, error: ErrorValue, own: int) -> tuple[Routes | None, bool]:
    step = run.plan.step
    continues = step.on_error_continue and error.get("phase") != "routing"
    clauses = step.next if continues else step.on_error
    names = run.plan.next_names if continues else run.plan.error_names
    if not clauses:
        return None, continues
    fixed: dict[str, Any] = {"error": error}
    if own and not names.isdisjoint(("result", "this")):
        fixed["result"] = fixed["this"] = result_view(turn.reader.result(own))
    routes = follow(clauses, turn.scopes(run.place(own, fixed)), names)
    return routes, continues or leads_on(routes)


def turn_failing(
    turn: Turn, meta: dict[str, Any], context: dict[str, Any] | None = None, error: ErrorValue | None = None
) -> None:
    """Have nothing new begin: jobs of this decision are skipped, those in the queue withdrawn."""
    if error is not None:
        turn.reader.errors[turn.next_id] = error
    turn.emit(Event(turn.next_id, EventType.EXECUTION_FAILING, context=context or None, error=error, meta=meta or None))
    stop(turn)


def why_stopped(state: State) -> str:
    """Return why nothing new begins any more."""
    if state.status is ExecutionStatus.CANCELLING or (state.killing and state.cancels):
        return CANCELLED_REASON
    if state.timed_out:
        return TIMED_OUT_REASON
    return FINALLY_FAILED_REASON if state.status is ExecutionStatus.FINISHING else FAILING_REASON


def stop(turn: Turn) -> None:
    """Skip what this very decision wanted to begin, and have withdrawn what waits in the queue.

    No loop's jobs are among the former: a decision that lets items begin ends no step run, and begins none.
    """
    state = turn.state
    turn.reason = why_stopped(state)
    jobs, turn.jobs = turn.jobs, []
    for job in jobs:
        assert job.node_id not in state.loops, f"a job of the loop of {job.node_id} would be lost"
        skip(turn, job.node_id, job.visit, turn.reason)
    turn.withdraw, turn.within = bool(state.runs), None
    turn.kill = state.killing and turn.withdraw


def skip(turn: Turn, node_id: str, visit: int, reason: str) -> None:
    """End a step run that has not begun."""
    step_plan = turn.plan.steps.get(node_id)
    turn.emit(
        Event(
            turn.next_id,
            EventType.STEP_SKIPPED,
            node_id,
            step_plan.step.type if step_plan else "",
            visit,
            meta={"reason": reason},
        )
    )
