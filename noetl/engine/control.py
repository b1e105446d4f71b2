"""The execution as a whole: cancel, timeout, withdrawal, `finally`, and the end."""

from typing import Any, Final

from noetl.engine.events import Event
from noetl.engine.failing import skip, stop, template_error, turn_failing
from noetl.engine.inputs import Cancel, Start, TimedOut, Withdrawn
from noetl.engine.loops.items import skip_item
from noetl.engine.plan import END_STEP, Plan
from noetl.engine.routing import MAX_ARGS_BYTES
from noetl.engine.scope import StepPlace
from noetl.engine.state import State
from noetl.engine.turn import StepRun, Turn
from noetl.errors import InputError
from noetl.outcomes import ErrorValue, error_value
from noetl.playbook.model import Step
from noetl.playbook.templates.result_views import result_view
from noetl.playbook.values import plain
from noetl.words import NO_ITEM, EventType, ExecutionStatus, step_of

TERMINAL_EVENT: Final = {
    ExecutionStatus.COMPLETED: EventType.EXECUTION_COMPLETE,
    ExecutionStatus.FAILED: EventType.EXECUTION_FAILED,
    ExecutionStatus.CANCELLED: EventType.EXECUTION_CANCELLED,
}


def start(turn: Turn, begun: Start) -> None:
    """Begin an execution."""
    turn.emit(Event(turn.next_id, EventType.EXECUTION_START, context=begun.context))


def cancel(turn: Turn, request: Cancel) -> None:
    """Have the execution end: running attempts are killed, `finally` still runs; a second cancel ends that, too."""
    if turn.state.status.terminal:
        return
    message = f"cancelled by {request.by}" + (f": {request.reason}" if request.reason else "")
    error = error_value("cancelled", message)
    turn.reader.errors[turn.next_id] = error
    context = {"by": request.by, "reason": request.reason}
    turn.emit(Event(turn.next_id, EventType.EXECUTION_CANCEL_REQUESTED, context=context, error=error))
    if turn.state.draining:
        stop(turn)


def time_out(turn: Turn, timeout: TimedOut) -> None:
    """Have an execution past its timeout end as failed, drained as by a cancel."""
    state = turn.state
    if state.status.terminal or state.timed_out or state.status is ExecutionStatus.CANCELLING:
        return
    message = f"the execution ran longer than its timeout of {timeout.seconds:g} s"
    turn_failing(turn, {"timed_out": True}, error=error_value("timeout", message))


def skip_withdrawn(turn: Turn, withdrawn: Withdrawn) -> None:
    """End the step runs and items whose jobs were withdrawn before they began."""
    for job in withdrawn.jobs:
        run = turn.state.runs.get(step_of(job.node_id))
        if run is None or run[0] != job.visit:
            continue
        if job.item_index == NO_ITEM:
            skip(turn, job.node_id, job.visit, withdrawn.reason)
        else:
            skip_item(turn, job.node_id, job.visit, job.item_index, withdrawn.reason)


def finish(turn: Turn) -> bool:
    """End the execution, or begin its `finally`, if nothing is left to do. Returns whether steps may now begin."""
    state = turn.state
    if state.runs or state.pending or state.status.terminal:
        return False
    if state.status is ExecutionStatus.FINISHING:
        _end_after_finally(turn)
        return False
    result, result_event = None, 0
    if not state.draining:
        try:
            result, result_event = _result(turn)
        except InputError as problem:
            _result_failed(turn, problem)
    outcome = _outcome(state)
    if turn.plan.playbook.finally_ is not None and state.cancels < 2:
        _begin_finally(turn, outcome, result, result_event)
        return True
    _end(turn, outcome, state.failure, result=result, result_event=result_event)
    return False


def _begin_finally(turn: Turn, outcome: ExecutionStatus, result: bytes | None, result_event: int) -> None:
    meta = {"result_event": result_event} if result_event else None
    context = {"outcome": outcome.value}
    if result is not None:
        turn.reader.raw[turn.next_id] = result
    turn.emit(Event(turn.next_id, EventType.EXECUTION_FINISHING, context=context, result=result, meta=meta))


def _outcome(state: State) -> ExecutionStatus:
    if not state.draining:
        return ExecutionStatus.COMPLETED
    failing = state.status is ExecutionStatus.FAILING
    return ExecutionStatus.FAILED if failing else ExecutionStatus.CANCELLED


def _end_after_finally(turn: Turn) -> None:
    state = turn.state
    outcome, failure = ExecutionStatus(state.outcome or ""), state.failure
    if outcome is ExecutionStatus.COMPLETED and state.cleanup:
        outcome, failure = ExecutionStatus.FAILED, state.cleanup
    result_event = state.result if outcome is ExecutionStatus.COMPLETED else 0
    _end(turn, outcome, failure, result_event=result_event, cleanup=state.cleanup)


def _end(
    turn: Turn,
    outcome: ExecutionStatus,
    failure: int,
    *,
    result: bytes | None = None,
    result_event: int = 0,
    cleanup: int = 0,
) -> None:
    """Emit the terminal event. `failure` and `cleanup` are the events of the failures of workflow and `finally`."""
    meta: dict[str, Any] = {}
    if result_event:
        meta["result_event"] = result_event
    if cleanup:
        meta["finally_failed"] = cleanup
    error = None if outcome is ExecutionStatus.COMPLETED else _brief(turn.reader.error(failure))
    turn.ended = TERMINAL_EVENT[outcome]
    turn.emit(Event(turn.next_id, turn.ended, result=result, error=error, meta=meta or None))


def _brief(error: ErrorValue) -> ErrorValue:
    """Return an error as the terminal event shows it; the details stay with the event of the failure."""
    return {key: value for key, value in error.items() if key != "detail"}


def _result(turn: Turn) -> tuple[bytes | None, int]:
    """Return the execution's result: rendered, or the event that holds it already (0: none)."""
    state, plan = turn.state, turn.plan
    end = plan.playbook.workflow.steps.get(END_STEP)
    if end is not None and end.result is not None:
        return _render_result(turn, end), 0
    return None, state.results.get(END_STEP, 0) or _leaf_result(state, plan)


def _render_result(turn: Turn, end: Step) -> bytes:
    assert end.result is not None
    state = turn.state
    own = state.results.get(END_STEP, 0)
    fixed: dict[str, Any] | None = None
    if own and not end.result.names.isdisjoint(("result", "this")):
        turn.reader.need([own], (), ())
        view = result_view(turn.reader.result(own))
        fixed = {"result": view, "this": view}
    place = StepPlace(END_STEP, max(state.visits.get(END_STEP, 0), 1), state.end or [], own, fixed=fixed)
    scopes = turn.scopes(place)
    if end.is_router:
        scopes.add_args(end.args)
    return plain(end.result.render(scopes.scope(end.result.names)), MAX_ARGS_BYTES, "result of the execution")


def _leaf_result(state: State, plan: Plan) -> int:
    """Return the event with the result of the last leaf; a leaf without one stands for those that led to it."""
    graph = plan.playbook.workflow
    level, seen = [state.leaf] if state.leaf else [], set[str]()
    while level:
        holders = [name for name in level if name in state.results]
        if holders:
            return state.results[max(holders, key=lambda name: graph.order[name])]
        seen.update(level)
        level = [source for name in level for source in graph.sources[name] if source not in seen]
    return 0


def _result_failed(turn: Turn, problem: InputError) -> None:
    error = template_error(problem, step=END_STEP, phase="result")
    end = turn.plan.steps[END_STEP]
    turn.note_error(StepRun(end, max(turn.state.visits.get(END_STEP, 0), 1), []), error)
    turn_failing(turn, {}, {"step": END_STEP}, error)
