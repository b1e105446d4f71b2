"""The loop in progress: its items begin, end and are counted, and with the last one the loop is over.

    collected -> items begin, as many as run at a time -> an item ends -> the next one begins, or none is left
                                                                           │
                 an item of an outer loop ends with the loop it ran  <─────┤
                 a step queues one last job, which ends it  <──────────────┘

An item costs one event and one job, and the state counts them: so a loop over a hundred thousand items costs no more
to decide than one over ten. The last job is there because routing, and whatever begins at once behind it, may ask for
what the items gave: when it ends, all of that is in the log.
"""

from typing import Any, Final

import orjson

from noetl.engine.decision import Chunk
from noetl.engine.events import Event
from noetl.engine.evolve import is_stopped
from noetl.engine.failing import fail_run, why_stopped
from noetl.engine.inputs import Collected
from noetl.engine.state import LoopState, State
from noetl.engine.turn import StepRun, Turn
from noetl.jobs import Job
from noetl.outcomes import ErrorValue
from noetl.words import NO_ITEM, EventType, item_node, step_of

LOOP_STOPPED_REASON: Final = "an item of the loop had failed"
"""The reason of items that are skipped, as their events tell it."""


def begin_loop(turn: Turn, run: StepRun, collected: Collected) -> None:
    """Begin a loop whose items are known: the step's, or that of an item of an outer loop."""
    if nothing_begins(turn, run):
        give_up(turn, run)
        return
    node = run.node if run.item == NO_ITEM else item_node(run.node, run.item)
    turn.emit(
        Event(
            event_id=turn.next_id,
            event_type=EventType.LOOP_STARTED,
            node_id=node,
            node_type=run.plan.step.type,
            visit=run.visit,
            attempt=run.attempt,
            worker_id=run.worker_id,
            duration=run.duration,
            context={"count": collected.count, "concurrency": collected.concurrency},
            meta=run.meta_at_end() or None,
        )
    )
    turn.chunks += [Chunk(node, run.visit, number, items) for number, items in enumerate(collected.chunks)]
    _begin_next(turn, run, node, 0)


def nothing_begins(turn: Turn, run: StepRun) -> bool:
    """Whether nothing new begins where a run stands: no attempt, and no loop within it."""
    return turn.state.draining or (run.item != NO_ITEM and is_stopped(turn.state.loops[run.node]))


def why_not_begin(state: State, job: Job) -> str | None:
    """Return why a job is not to begin, nor to wait for anything; None where nothing speaks against it."""
    if state.draining:
        return why_stopped(state)
    loop = state.loops.get(job.node_id) if job.item_index != NO_ITEM else None
    return LOOP_STOPPED_REASON if loop is not None and is_stopped(loop) else None


def give_up(turn: Turn, run: StepRun, error: ErrorValue | None = None, reason: str | None = None) -> None:
    """End a run that is not to continue, or was killed (`error`), as neither completed nor failed."""
    state = turn.state
    if run.item != NO_ITEM:
        why = reason or (why_stopped(state) if state.draining else LOOP_STOPPED_REASON)
        _end_item(turn, run, EventType.ITEM_SKIPPED, error=error, reason=why)
        return
    cancelled = state.killing or error is not None
    kind = EventType.STEP_CANCELLED if cancelled else EventType.STEP_SKIPPED
    turn.end_run(kind, run, error=error, reason=(reason or why_stopped(state)) if error is None else None)


def complete_item(turn: Turn, run: StepRun, result: bytes) -> None:
    """Count an item that gave its result."""
    _end_item(turn, run, EventType.ITEM_COMPLETED, result=result)


def fail_item(turn: Turn, run: StepRun, error: ErrorValue) -> None:
    """Count an item that failed for good; the loop continues, or begins no more."""
    turn.note_error(run, error)
    _fail_item(turn, run, error)


def skip_item(turn: Turn, node: str, visit: int, index: int, reason: str) -> None:
    """Count an item that has not begun, and will not."""
    give_up(turn, _item_run(turn, node, visit, index), reason=reason)


def counts(loop: LoopState) -> bytes:
    """Return what the event of a loop's end tells as its result."""
    return orjson.dumps({"count": loop["count"], "failed": loop["failed"]})


def _fail_item(turn: Turn, run: StepRun, error: ErrorValue) -> None:
    indexes = [run.item, *error.pop("indexes", [error["index"]])] if "index" in error else None
    error = {**error, "step": run.plan.step.name, "index": run.item}
    if indexes:  # of the items that failed, from the outermost loop inwards
        error["indexes"] = indexes
    if run.attempt:
        error["attempt"] = run.attempt
    if run.plan.step.retry.max_attempts > 1:
        error["max_attempts"] = run.plan.step.retry.max_attempts
    turn.reader.errors[turn.next_id] = error
    _end_item(turn, run, EventType.ITEM_FAILED, error=error)


def _end_item(
    turn: Turn,
    run: StepRun,
    event_type: EventType,
    *,
    result: bytes | None = None,
    error: ErrorValue | None = None,
    reason: str | None = None,
) -> None:
    meta = run.meta_at_end(reason, run.loop) or None
    node, begun = run.node, turn.state.loops[run.node]["begun"]
    turn.emit(run.event(turn.next_id, event_type, result=result, error=error, meta=meta))
    _begin_next(turn, run, node, begun)


def _begin_next(turn: Turn, run: StepRun, node: str, begun: int) -> None:
    """Begin the items that the last event lets begin; end the loop where it was that of the last item."""
    loop = turn.state.loops[node]
    for index in range(begun, loop["begun"]):
        turn.queue_item(run.plan, node, run.visit, index)
    if loop["ended"] == loop["begun"]:
        _end_loop(turn, run, node, loop)
    elif loop.get("error") == turn.state.last_event_id:
        turn.withdraw, turn.within, turn.reason = True, node, LOOP_STOPPED_REASON


def _end_loop(turn: Turn, run: StepRun, node: str, loop: LoopState) -> None:
    whole = loop["ended"] == loop["count"] and not loop.get("skipped")
    if node == run.plan.step.name:
        _end_step_loop(turn, StepRun(run.plan, run.visit, turn.state.runs[node][1]), loop, whole)
        return
    parent, _, index = node.rpartition("/")
    outer = _item_run(turn, parent, run.visit, int(index))
    outer.loop = loop
    if "error" in loop:
        _fail_item(turn, outer, _error_of(turn, loop))
    elif whole:
        _end_item(turn, outer, EventType.ITEM_COMPLETED, result=counts(loop))
    else:
        give_up(turn, outer)


def _end_step_loop(turn: Turn, run: StepRun, loop: LoopState, whole: bool) -> None:
    if "error" in loop:
        fail_run(turn, run, _error_of(turn, loop), note=False)  # the item's failure was noted
    elif whole and not turn.state.draining:
        turn.queue_end(run)
    else:
        give_up(turn, run)


def _error_of(turn: Turn, loop: LoopState) -> dict[str, Any]:
    """Return the failure of a loop: that of its item."""
    turn.reader.need((), [loop["error"]], ())
    cause = turn.reader.error(loop["error"])
    return {**cause, "message": f"item {cause['index']}: {cause['message']}"}


def _item_run(turn: Turn, node: str, visit: int, index: int) -> StepRun:
    step = step_of(node)
    arrivals = turn.state.runs[step][1]
    inner = None if node == step else node
    return StepRun(turn.plan.steps[step], visit, arrivals, item=index, inner=inner)
