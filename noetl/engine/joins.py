"""The choice of the next visit that can begin, and of its arrivals."""

from noetl.engine.plan import Plan, StepPlan
from noetl.engine.state import Arrival, State


def next_ready(state: State, plan: Plan) -> str | None:
    """Return a step that can begin a visit now, or None.

    Steps that wait for nobody come first: what they lead to decides which joins may begin.
    """
    runs, steps = state.runs, plan.steps
    joins: list[str] = []
    for name in state.pending:
        if name in runs:
            continue
        if not steps[name].join:
            return name
        joins.append(name)
    for name in joins:
        if may_join(state, plan, steps[name]):
            return name
    return None


def may_join(state: State, plan: Plan, join: StepPlan) -> bool:
    """Whether a join with arrivals may begin.

    (a) No running step can reach it. Ways that pass through the join itself need no care: whoever is on one can
    reach the join before. (b) No other step with arrivals can reach it, unless that one is in the same cycle and
    later in the playbook: of the joins of one cycle that wait for each other the first begins.
    """
    ancestors = join.ancestors
    if not ancestors.isdisjoint(state.runs):
        return False
    graph, name = join.graph, join.step.name
    for other in state.pending:
        if other == name or other not in ancestors:
            continue
        if graph.cycle[other] != graph.cycle[name] or graph.order[other] < graph.order[name]:
            return False
    return True


def arrivals_of_visit(state: State, plan: Plan, step: StepPlan) -> list[Arrival]:
    """Return the arrivals that begin the next visit: of a join all of them, of any other step one, its own first."""
    name = step.step.name
    pending = state.pending[name]
    if step.join or len(pending) == 1:
        return pending
    for arrival in pending:
        edge = plan.edges.get(arrival[1])
        if edge is not None and edge.source == name:
            return [arrival]
    return pending[:1]
