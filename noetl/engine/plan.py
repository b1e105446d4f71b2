"""The plan of a playbook: all that decisions look up again and again, worked out once per playbook object."""

from dataclasses import dataclass
from typing import Any, Final

from noetl.engine.retry import asks_result
from noetl.playbook.model import Clause, Edge, Graph, Playbook, Step, Template
from noetl.words import ROUTER, step_of

END_STEP: Final = "end"
FAIL_TYPE: Final = "fail"
START_EDGE: Final = -1
"""The edge number of the arrival that an execution or its `finally` begins with."""


@dataclass(frozen=True, slots=True)
class StepPlan:
    """A step in its graph.

    `fixed_next` is the routing of a step whose `next` has nothing to evaluate (its clauses in the form that the
    event carries), else None. `next_names` and `error_names` are all the names that the templates of `next` and
    `on_error` read.
    """

    step: Step
    graph: Graph
    inline: bool  # decided on the spot, without a queue row
    join: bool
    ancestors: frozenset[str]  # of joins only: nobody else waits
    fixed_next: list[dict[str, Any]] | None
    next_names: frozenset[str]
    error_names: frozenset[str]
    asks_result: bool  # its `retry` looks at attempts that succeeded, too


@dataclass(frozen=True, slots=True)
class Plan:
    """A playbook's steps and edges by name and number."""

    playbook: Playbook
    steps: dict[str, StepPlan]
    edges: dict[int, Edge]

    def continues_on_error(self, node: str) -> bool:
        """Whether the loop of a node continues when an item fails."""
        return self.steps[step_of(node)].step.loops[node.count("/")].continue_on_error


_MAX_PLANS: Final = 512
_plans: dict[int, Plan] = {}


def plan_of(playbook: Playbook) -> Plan:
    """Return the plan of a playbook. Kept by object identity: the plan holds its playbook, so ids stay unique."""
    plan = _plans.get(id(playbook))
    if plan is None or plan.playbook is not playbook:
        if len(_plans) >= _MAX_PLANS:
            _plans.clear()
        plan = _plans[id(playbook)] = _make(playbook)
    return plan


def _make(playbook: Playbook) -> Plan:
    steps: dict[str, StepPlan] = {}
    edges: dict[int, Edge] = {}
    for graph in (playbook.workflow, playbook.finally_):
        if graph is None:
            continue
        for name, step in graph.steps.items():
            steps[name] = _step_plan(step, graph)
            for clause in (*step.next, *step.on_error):
                edges.update((edge.number, edge) for edge in clause.edges)
    return Plan(playbook, steps, edges)


def _step_plan(step: Step, graph: Graph) -> StepPlan:
    return StepPlan(
        step=step,
        graph=graph,
        inline=step.type in (ROUTER, FAIL_TYPE),
        join=step.name in graph.joins,
        ancestors=graph.ancestors[step.name] if step.name in graph.joins else frozenset(),
        fixed_next=_fixed(step.next),
        next_names=clause_names(step.next),
        error_names=clause_names(step.on_error),
        asks_result=asks_result(step.retry),
    )


def clause_names(clauses: tuple[Clause, ...]) -> frozenset[str]:
    """Return every name that the templates of some clauses read."""
    names: set[str] = set()
    for clause in clauses:
        _add_names(names, clause.when)
        for edge in clause.edges:
            _add_names(names, edge.args)
    return frozenset(names)


def _add_names(names: set[str], template: Template | None) -> None:
    if template is not None:
        names |= template.names


def _fixed(clauses: tuple[Clause, ...]) -> list[dict[str, Any]] | None:
    if any(clause.when is not None or any(edge.args is not None for edge in clause.edges) for clause in clauses):
        return None
    reached: set[str] = set()
    routes = []
    for index, clause in enumerate(clauses):
        to = []
        for edge in clause.edges:
            if edge.target not in reached:
                reached.add(edge.target)
                to.append({"edge": edge.number, "step": edge.target})
        routes.append({"clause": index, "to": to} if to else {"clause": index})
    return routes
