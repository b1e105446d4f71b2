"""The beginning of step runs; routers and `fail` steps end with it."""

from noetl.engine.completing import complete
from noetl.engine.events import Event
from noetl.engine.failing import fail_run, template_error
from noetl.engine.joins import arrivals_of_visit, next_ready
from noetl.engine.plan import END_STEP, FAIL_TYPE, StepPlan
from noetl.engine.render import render_step
from noetl.engine.routing import MAX_ARGS_BYTES
from noetl.engine.turn import ROUTERS_PER_DECISION, StepRun, Turn
from noetl.errors import InputError
from noetl.outcomes import error_value
from noetl.playbook.values import plain
from noetl.words import CONTINUE_NODE, ROUTER, EventType


def begin_ready(turn: Turn) -> None:
    """Begin every step that can begin, until none is left."""
    state, steps = turn.state, turn.plan.steps
    while state.pending:
        name = next_ready(state, turn.plan)
        if name is None:
            return
        step_plan = steps[name]
        if step_plan.inline:
            if turn.routers >= ROUTERS_PER_DECISION:
                _continue_later(turn)
                return
            turn.routers += 1
        _begin(turn, step_plan)


def _begin(turn: Turn, step_plan: StepPlan) -> None:
    step = step_plan.step
    visit = turn.state.visits.get(step.name, 0) + 1
    arrivals = arrivals_of_visit(turn.state, turn.plan, step_plan)
    if visit <= step.max_visits and not step_plan.inline:
        turn.queue_step(step_plan, visit, arrivals)
        return
    run = StepRun(step_plan, visit, arrivals)
    if visit > step.max_visits:
        message = f"step {step.name!r} would begin visit {visit}, its max_visits is {step.max_visits}"
        # Not for `on_error`: a handler that leads back would begin visits for ever.
        fail_run(turn, run, error_value("max_visits", message), handle=False)
    elif step.type == FAIL_TYPE:
        _fail(turn, run)
    else:
        _route(turn, run)


def _fail(turn: Turn, run: StepRun) -> None:
    """End a branch, and have the execution fail."""
    try:
        fields = render_step(turn.plan, run.plan, turn.scopes(run.place())).fields
        message = fields.get("message")
        error = error_value("fail", message if isinstance(message, str) else _message(message))
    except InputError as problem:
        error = template_error(problem)
    fail_run(turn, run, error, handle=False)


def _message(message: object) -> str:
    return "the playbook said so" if message is None else plain(message, MAX_ARGS_BYTES, "message").decode()


def _route(turn: Turn, run: StepRun) -> None:
    """Run a router: render its `result`, if it has one, and follow its `next`."""
    step = run.plan.step
    result = None
    # The `result` of `end` is rendered when the execution ends: by then what ran beside it has ended, too.
    if step.result is not None and (step.name != END_STEP or run.plan.graph is not turn.plan.playbook.workflow):
        try:
            scopes = turn.scopes(run.place())
            scopes.add_args(step.args)
            value = step.result.render(scopes.scope(step.result.names))
            result = plain(value, MAX_ARGS_BYTES, f"result of {step.name}")
        except InputError as problem:
            fail_run(turn, run, template_error(problem))
            return
    complete(turn, run, result)


def _continue_later(turn: Turn) -> None:
    """Have the execution continue in a transaction of its own."""
    if CONTINUE_NODE in turn.state.runs:
        return
    visit = turn.state.visits.get(CONTINUE_NODE, 0) + 1
    turn.emit(
        Event(
            event_id=turn.next_id,
            event_type=EventType.STEP_QUEUED,
            node_id=CONTINUE_NODE,
            node_type=ROUTER,
            visit=visit,
        )
    )
    turn.queue_continuation(visit)
