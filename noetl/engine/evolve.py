"""The fold of events into the state. `decide` applies it to each event it makes, so the log replays to the state."""

from collections.abc import Callable, Iterable
from typing import Final

from noetl.engine.events import Event
from noetl.engine.plan import END_STEP, START_EDGE, Plan, plan_of
from noetl.engine.state import LoopState, State
from noetl.playbook.model import Playbook
from noetl.words import EventType, ExecutionStatus, item_node

Fold = Callable[[State, Event, Plan], None]


def evolve(state: State, event: Event, playbook: Playbook) -> None:
    """Change the state by one event. Events come in order, without a gap."""
    fold(state, event, plan_of(playbook))


def fold(state: State, event: Event, plan: Plan) -> None:
    """As `evolve`, for who has the plan at hand."""
    change = FOLDS.get(event.event_type)
    if change is not None:
        change(state, event, plan)
    state.last_event_id = event.event_id


def replay(playbook: Playbook, events: Iterable[Event]) -> State:
    """Return the state after all these events."""
    state = State()
    plan = plan_of(playbook)
    for event in events:
        fold(state, event, plan)
    return state


def _start(state: State, event: Event, plan: Plan) -> None:
    context = event.context or {}
    state.status = ExecutionStatus.RUNNING
    state.pool = context.get("pool")
    state.priority = context.get("priority")
    state.pending[plan.playbook.workflow.entry] = [[event.event_id, START_EDGE]]


def _queued(state: State, event: Event, plan: Plan) -> None:
    arrivals = (event.context or {}).get("arrivals") or []
    state.runs[event.node_id] = [event.visit, arrivals]
    _begin_visit(state, event)


def _begin_visit(state: State, event: Event) -> None:
    """Count a visit that begins, and remove its arrivals from those that wait."""
    name = event.node_id
    state.visits[name] = event.visit
    pending = state.pending.get(name)
    if pending is None:
        return
    begun_by = (event.context or {}).get("arrivals") or []
    left = [] if len(begun_by) == len(pending) else [arrival for arrival in pending if arrival not in begun_by]
    if left:
        state.pending[name] = left
    else:
        del state.pending[name]


def _end_run(state: State, event: Event) -> list[list[int]]:
    """End a step run and return the arrivals that began it; a run without a job begins and ends in one event."""
    run = state.runs.pop(event.node_id, None)
    state.loops.pop(event.node_id, None)
    if run is not None:
        arrivals: list[list[int]] = run[1]
        return arrivals
    _begin_visit(state, event)
    return (event.context or {}).get("arrivals") or []


def _completed(state: State, event: Event, plan: Plan) -> None:
    name = event.node_id
    arrivals = _end_run(state, event)
    if event.result is not None:
        state.results[name] = value_event(event)
    step = plan.steps.get(name)
    if step is None:
        return
    if name == END_STEP and step.step.result is not None:
        state.end = arrivals
    arrivals_given = _add_arrivals(state, event, failure_of(arrivals))
    if not arrivals_given and step.graph is plan.playbook.workflow and not state.draining:
        order = step.graph.order
        if state.leaf is None or order[name] >= order[state.leaf]:
            state.leaf = name


def value_event(event: Event) -> int:
    """Return the event by which a step's result is asked for: of a loop, the one that began it."""
    loop = (event.meta or {}).get("loop")
    return event.event_id if loop is None else int(loop["first"])


def failure_of(arrivals: list[list[int]]) -> int:
    """Return the event of the failure that a run with these arrivals handles, 0 if none."""
    return max((arrival[2] for arrival in arrivals if len(arrival) > 2), default=0)


def _add_arrivals(state: State, event: Event, failure: int) -> bool:
    """Put the arrivals that an event gives where they wait; tell whether there was one."""
    gave = False
    for clause in (event.meta or {}).get("next") or ():
        for to in clause.get("to") or ():
            arrival = [event.event_id, to["edge"], failure] if failure else [event.event_id, to["edge"]]
            target = to["step"]
            state.pending[target] = [*state.pending.get(target, ()), arrival]
            gave = True
    return gave


def _failed(state: State, event: Event, plan: Plan) -> None:
    _end_run(state, event)
    if event.result is not None:
        state.results[event.node_id] = value_event(event)
    _add_arrivals(state, event, event.event_id)


def _withdrawn(state: State, event: Event, plan: Plan) -> None:
    state.runs.pop(event.node_id, None)
    state.loops.pop(event.node_id, None)


def _loop_started(state: State, event: Event, plan: Plan) -> None:
    context = event.context or {}
    count, limit = context["count"], context["concurrency"]
    state.loops[event.node_id] = {
        "first": event.event_id,
        "count": count,
        "limit": limit,
        "begun": min(count, limit),
        "ended": 0,
        "failed": 0,
    }


def _item_ended(state: State, event: Event, plan: Plan) -> None:
    """Count an item that ended. The next one begins with that, unless nothing new is to begin: so the items that have
    begun are a function of the events."""
    node = event.node_id
    state.loops.pop(item_node(node, event.item_index), None)
    loop: LoopState = {**state.loops[node], "ended": state.loops[node]["ended"] + 1}
    if event.event_type is EventType.ITEM_SKIPPED:
        loop["skipped"] = loop.get("skipped", 0) + 1
    elif event.event_type is EventType.ITEM_FAILED:
        loop["failed"] += 1
        if not plan.continues_on_error(node) and "error" not in loop:
            loop["error"] = event.event_id
            _stop_inner(state, node)
    if not state.draining and not is_stopped(loop):
        loop["begun"] = min(loop["count"], max(loop["begun"], loop["ended"] + loop["limit"]))
    state.loops[node] = loop


def is_stopped(loop: LoopState) -> bool:
    """Whether no more items of a loop begin, for a failure of one of them or of an item of a loop around it."""
    return "error" in loop or "stopped" in loop


def _stop_inner(state: State, node: str) -> None:
    for inner, loop in state.loops.items():
        if inner.startswith(node + "/"):
            state.loops[inner] = {**loop, "stopped": 1}


def _failing(state: State, event: Event, plan: Plan) -> None:
    meta = event.meta or {}
    error_at = meta.get("failed") or event.event_id
    if meta.get("timed_out"):
        state.timed_out = state.killing = True
    state.draining = True
    state.pending = {}
    if state.status is ExecutionStatus.FINISHING:
        state.cleanup = state.cleanup or error_at
    else:
        state.status = ExecutionStatus.FAILING
        state.failure = state.failure or error_at


def _cancel_requested(state: State, event: Event, plan: Plan) -> None:
    state.cancels += 1
    if state.status is ExecutionStatus.FINISHING:
        if state.cancels < 2:
            return
        if state.outcome == ExecutionStatus.COMPLETED:
            state.outcome = ExecutionStatus.CANCELLED.value
            state.failure = event.event_id
    elif state.status is not ExecutionStatus.FAILING:
        state.status = ExecutionStatus.CANCELLING
        state.failure = state.failure or event.event_id
    state.draining = state.killing = True
    state.pending = {}


def _paused(state: State, event: Event, plan: Plan) -> None:
    state.status = ExecutionStatus.PAUSED


def _resumed(state: State, event: Event, plan: Plan) -> None:
    state.status = ExecutionStatus.RUNNING


def _finishing(state: State, event: Event, plan: Plan) -> None:
    finally_ = plan.playbook.finally_
    meta = event.meta or {}
    state.status = ExecutionStatus.FINISHING
    state.outcome = (event.context or {})["outcome"]
    state.result = event.event_id if event.result is not None else meta.get("result_event", 0)
    state.draining = state.killing = False
    if finally_ is not None:
        state.pending[finally_.entry] = [[event.event_id, START_EDGE]]


def _ended(status: ExecutionStatus) -> Fold:
    def end(state: State, event: Event, plan: Plan) -> None:
        state.status = status
        if event.result is not None:
            state.result = event.event_id
        else:
            state.result = (event.meta or {}).get("result_event", state.result)
        state.draining = state.killing = False

    return end


FOLDS: Final[dict[EventType, Fold]] = {
    EventType.EXECUTION_START: _start,
    EventType.STEP_QUEUED: _queued,
    EventType.LOOP_STARTED: _loop_started,
    EventType.ITEM_COMPLETED: _item_ended,
    EventType.ITEM_FAILED: _item_ended,
    EventType.ITEM_SKIPPED: _item_ended,
    EventType.STEP_COMPLETED: _completed,
    EventType.STEP_FAILED: _failed,
    EventType.STEP_SKIPPED: _withdrawn,
    EventType.STEP_CANCELLED: _withdrawn,
    EventType.EXECUTION_FAILING: _failing,
    EventType.EXECUTION_CANCEL_REQUESTED: _cancel_requested,
    EventType.EXECUTION_PAUSED: _paused,
    EventType.EXECUTION_RESUMED: _resumed,
    EventType.EXECUTION_FINISHING: _finishing,
    EventType.EXECUTION_COMPLETE: _ended(ExecutionStatus.COMPLETED),
    EventType.EXECUTION_FAILED: _ended(ExecutionStatus.FAILED),
    EventType.EXECUTION_CANCELLED: _ended(ExecutionStatus.CANCELLED),
}
