"""The check of failure handlers: those whose branch ends, so that the failure counts as handled and is forgotten."""

from noetl.playbook.lint.codes import Code
from noetl.playbook.lint.source import PlaybookSource
from noetl.playbook.model import Graph


def check_handlers(source: PlaybookSource) -> None:
    """Warn of handlers that lead neither back to the steps of a success nor to a step of type `fail`."""
    for graph, places in source.graphs:
        normal = _reached(graph, graph.entry, failing=False)
        for name in sorted(graph.handlers, key=graph.order.__getitem__):
            behind = _reached(graph, name, failing=True)
            if behind.isdisjoint(normal) and all(graph.steps[step].type != "fail" for step in behind):
                message = (
                    f"after {name!r} the failure counts as handled and its branch ends: lead on, or to a step of type"
                    " fail"
                )
                source.reader.warning(places[name], Code.HANDLED, message)


def _reached(graph: Graph, entry: str, *, failing: bool) -> set[str]:
    """Return a step and all that can follow it; without `failing`, after successes only."""
    seen, stack = {entry}, [entry]
    while stack:
        step = graph.steps[stack.pop()]
        clauses = (*step.next, *step.on_error) if failing else step.next
        for target in (edge.target for clause in clauses for edge in clause.edges):
            if target not in seen:
                seen.add(target)
                stack.append(target)
    return seen
