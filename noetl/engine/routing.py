"""The routing of a step that has ended: its clauses evaluated, the args of each arrival rendered."""

from collections.abc import Collection
from typing import Any, Final

from noetl.engine.scope import Scopes
from noetl.errors import TemplateError
from noetl.playbook.model import Clause, Edge
from noetl.playbook.values import brief, plain

MAX_ARGS_BYTES: Final = 32 * 1024 * 1024
"""The most bytes that the args of one arrival may have, as a result."""

Routes = list[dict[str, Any]]
"""Each clause as the event's `meta` tells it: `{clause, when?, to?: [{edge, step, args?}]}`."""


def follow(clauses: tuple[Clause, ...], scopes: Scopes, names: Collection[str]) -> Routes:
    """Evaluate `next` or `on_error`.

    Every clause whose `when` is true is followed; if none is, every clause without `when` is. Two ways to the same
    step are one arrival, with the first's args. Raises `TemplateError`, `ValueNotJson`, `TooLarge`, `NotLoaded`.
    """
    scopes.load(names)
    truths = [_truth(clause, scopes) for clause in clauses]
    chosen = [truth is not None and bool(truth) for truth in truths]
    if not any(chosen):
        chosen = [clause.when is None for clause in clauses]
    reached: set[str] = set()
    routes: Routes = []
    for index, clause in enumerate(clauses):
        route: dict[str, Any] = {"clause": index}
        if clause.when is not None:
            route["when"] = _shown(truths[index])
        if chosen[index]:
            to = [_way(edge, scopes) for edge in clause.edges if not _seen(edge.target, reached)]
            if to:
                route["to"] = to
        routes.append(route)
    return routes


def leads_on(routes: Routes) -> bool:
    """Whether any clause was followed to a step."""
    return any("to" in route for route in routes)


def _truth(clause: Clause, scopes: Scopes) -> Any:
    return None if clause.when is None else clause.when.render(scopes.scope(clause.when.names))


def _shown(value: object) -> Any:
    """Return a condition's value as the event shows it: short values as they are, others as their truth."""
    if value is None or isinstance(value, (bool, int, float)) or (isinstance(value, str) and len(value) <= 80):
        return value
    return bool(value)


def _seen(target: str, reached: set[str]) -> bool:
    if target in reached:
        return True
    reached.add(target)
    return False


def _way(edge: Edge, scopes: Scopes) -> dict[str, Any]:
    way: dict[str, Any] = {"edge": edge.number, "step": edge.target}
    if edge.args is not None:
        args = edge.args.render(scopes.scope(edge.args.names))
        if not isinstance(args, dict):
            raise TemplateError(
                f"the args of the way to {edge.target!r} must be a mapping, they are {brief(args)}",
                step=edge.source,
                field="args",
            )
        plain(args, MAX_ARGS_BYTES, f"args of the way to {edge.target}")
        way["args"] = args
    return way
