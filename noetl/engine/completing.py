"""The success of a step run: its result is kept, its `next` followed."""

from noetl.engine.failing import fail_run, template_error
from noetl.engine.routing import follow
from noetl.engine.scope import Scopes
from noetl.engine.turn import StepRun, Turn
from noetl.errors import InputError
from noetl.playbook.templates.result_views import result_view
from noetl.words import EventType


def complete(turn: Turn, run: StepRun, result: bytes | None) -> None:
    """End a step run that succeeded, and follow its `next`. Of a loop, `result` are the counts."""
    routes = None
    if result is not None and run.loop is None:
        turn.reader.raw[turn.next_id] = result
    if not turn.state.draining:
        routes = run.plan.fixed_next
        if routes is None:
            try:
                scopes = _next_scopes(turn, run, result)
                if run.plan.step.is_router:  # it has nothing else to read its args
                    scopes.add_args(run.plan.step.args)
                routes = follow(run.plan.step.next, scopes, run.plan.next_names)
            except InputError as problem:
                fail_run(turn, run, template_error(problem, phase="routing"), result=result)
                return
    turn.end_run(EventType.STEP_COMPLETED, run, result=result, routes=routes)


def _next_scopes(turn: Turn, run: StepRun, result: bytes | None) -> Scopes:
    if result is None:
        return turn.scopes(run.place())
    own = turn.next_id if run.loop is None else run.loop["first"]
    fixed = None
    if not run.plan.next_names.isdisjoint(("result", "this")):
        turn.reader.need([own], (), ())
        view = result_view(turn.reader.result(own))
        fixed = {"result": view, "this": view}
    return turn.scopes(run.place(own, fixed))
