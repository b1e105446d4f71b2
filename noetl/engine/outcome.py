"""The end of an attempt: done, failed, or its worker lost."""

from typing import Any, assert_never

from noetl.engine.completing import complete
from noetl.engine.conditions import UNSATISFIED_ERROR, dissatisfied, wanted
from noetl.engine.events import Event
from noetl.engine.failing import fail_run
from noetl.engine.inputs import AttemptEnded, Collected
from noetl.engine.loops.items import begin_loop, complete_item, counts, fail_item, give_up, nothing_begins
from noetl.engine.retry import MAX_LOST_LEASES, delay, may_retry
from noetl.engine.state import State
from noetl.engine.turn import StepRun, Turn, step_run_of
from noetl.errors import Conflict
from noetl.jobs import Job
from noetl.outcomes import Done, ErrorValue, Expired, Failed, error_value
from noetl.words import CONTINUE_NODE, NO_ITEM, ROUTER, EventType, step_of


def end_attempt(turn: Turn, ended: AttemptEnded) -> None:
    """Decide what follows from the end of an attempt."""
    state, job = turn.state, ended.job
    if state.status.terminal:
        return
    if not _is_running(state, job):
        raise Conflict(f"step {job.node_id!r}, visit {job.visit}, is not running: its outcome has no place")
    if job.node_id == CONTINUE_NODE:
        continue_chain(turn)
        return
    run = step_run_of(turn, ended)
    outcome = ended.outcome
    if isinstance(outcome, Done):
        run.saved = outcome.saved
        _done(turn, run, ended, outcome.result)
    elif isinstance(outcome, Collected):
        begin_loop(turn, run, outcome)
    elif isinstance(outcome, Failed):
        _failed(turn, run, ended, dict(outcome.error), outcome.result)
    elif isinstance(outcome, Expired):
        _expired(turn, run, ended)
    else:
        assert_never(outcome)


def _is_running(state: State, job: Job) -> bool:
    run = state.runs.get(step_of(job.node_id))
    if run is None or run[0] != job.visit:
        return False
    if job.item_index == NO_ITEM:
        return job.node_id in state.runs
    loop = state.loops.get(job.node_id)
    return loop is not None and job.item_index < loop["begun"]


def _done(turn: Turn, run: StepRun, ended: AttemptEnded, result: bytes) -> None:
    error = None
    if run.plan.asks_result and run.loop is None and not nothing_begins(turn, run):
        error = dissatisfied(turn, run, result)
    if error is None:
        _complete(turn, run, result)
    elif may_retry(run.plan.step.retry, ended.job.failures + 1, error):
        _next_attempt(turn, run, ended, error)
    else:
        _fail(turn, run, error, result)


def _complete(turn: Turn, run: StepRun, result: bytes) -> None:
    if run.item != NO_ITEM:
        complete_item(turn, run, result)
    else:
        complete(turn, run, result if run.loop is None else counts(run.loop))


def _fail(turn: Turn, run: StepRun, error: ErrorValue, result: bytes | None = None) -> None:
    """End a run that failed for good. `result` is what it gave all the same; of an item it is not kept."""
    if run.item != NO_ITEM:
        fail_item(turn, run, error)
    else:
        fail_run(turn, run, error, result=result)


def _failed(turn: Turn, run: StepRun, ended: AttemptEnded, error: ErrorValue, result: bytes | None) -> None:
    job = ended.job
    if result is not None and run.loop is not None:
        result = counts(run.loop)
    if nothing_begins(turn, run):
        if error.get("type") == "cancelled":
            give_up(turn, run, error)
        else:
            _fail(turn, run, error, result)
        return
    if not may_retry(run.plan.step.retry, job.failures + 1, error) or not wanted(turn, run, error):
        _fail(turn, run, error, result)
        return
    turn.note_error(run, error)
    _next_attempt(turn, run, ended, error)


def _next_attempt(turn: Turn, run: StepRun, ended: AttemptEnded, error: ErrorValue) -> None:
    failures = ended.job.failures + 1
    wait = delay(run.plan.step.retry, failures, ended.jitter)
    meta = {"delay": round(wait, 6), "max_attempts": run.plan.step.retry.max_attempts}
    _attempt_over(turn, run, EventType.ATTEMPT_FAILED, meta, error)
    context = _afresh(ended.job)
    if repeats := ended.job.repeats + (error.get("type") == UNSATISFIED_ERROR):
        context["repeats"] = repeats
    turn.jobs.append(ended.job.again(failures=failures, lost=0, context=context, delay=wait))


def _expired(turn: Turn, run: StepRun, ended: AttemptEnded) -> None:
    job = ended.job
    lost = job.lost + 1
    _attempt_over(turn, run, EventType.LEASE_EXPIRED, {"lost": lost}, None)
    if nothing_begins(turn, run):
        give_up(turn, run, reason="its worker was lost, and nothing new begins")
    elif lost >= MAX_LOST_LEASES:
        message = f"the worker that ran it was lost {lost} times in a row: does the step bring it down?"
        _fail(turn, run, error_value("worker_lost", message))
    else:
        turn.jobs.append(job.again(lost=lost))


def _afresh(job: Job) -> dict[str, Any]:
    """Return the context of another attempt: what the last one kept for itself is gone."""
    return {key: job.context[key] for key in ("arrivals", "end") if key in job.context}


def _attempt_over(
    turn: Turn, run: StepRun, event_type: EventType, meta: dict[str, Any], error: ErrorValue | None
) -> None:
    """Emit the event of an attempt after which the step run continues."""
    if run.queued is not None:
        meta["queued"] = round(run.queued, 6)
    turn.emit(run.event(turn.next_id, event_type, error=error, meta=meta))


def continue_chain(turn: Turn) -> None:
    """Continue the long chain of routers that the last decision left unfinished."""
    known = turn.state.runs.get(CONTINUE_NODE)
    if known is not None:
        turn.emit(
            Event(
                event_id=turn.next_id,
                event_type=EventType.STEP_COMPLETED,
                node_id=CONTINUE_NODE,
                node_type=ROUTER,
                visit=known[0],
            )
        )
