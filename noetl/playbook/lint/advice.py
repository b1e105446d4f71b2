"""Warnings about workflows that are correct and probably not meant: they load, lint tells."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from noetl.playbook.graph import targets
from noetl.playbook.lint.codes import Code
from noetl.playbook.model import Clause, Graph, Step
from noetl.playbook.read.reader import Reader
from noetl.playbook.yaml.tree import Node


def advise(reader: Reader, graph: Graph, nodes: Mapping[str, Node]) -> None:
    """Warn of cycles without a way out, forks back into a cycle, and failures that count as handled."""
    for members in _cycles(graph):
        if not _has_exit(graph, members):
            first = min(members, key=graph.order.__getitem__)
            loop = ", ".join(sorted(members, key=graph.order.__getitem__))
            reader.warning(
                nodes[first], Code.ENDLESS, f"the cycle of {loop} has no way out: give one of its clauses a condition"
            )
        for name in members:
            if _forks(graph.steps[name], members):
                reader.warning(
                    nodes[name],
                    Code.FORK_IN_CYCLE,
                    f"the step {name!r} sends two branches back into its own cycle: they multiply with each round",
                )
    normal = _normal(graph)
    for name in sorted(graph.handlers, key=graph.order.__getitem__):
        if not _ends_well(graph, name, normal):
            reader.warning(
                nodes[name],
                Code.HANDLED,
                f"after {name!r} the failure counts as handled and its branch ends: lead on, or to a step of type fail",
            )


def _cycles(graph: Graph) -> Iterator[frozenset[str]]:
    """Yield the steps of each cycle."""
    groups: dict[int, set[str]] = defaultdict(set)
    for name, number in graph.cycle.items():
        groups[number].add(name)
    for members in groups.values():
        if len(members) > 1 or next(iter(members)) in targets(graph.steps[next(iter(members))]):
            yield frozenset(members)


def _has_exit(graph: Graph, members: frozenset[str]) -> bool:
    for name in members:
        step = graph.steps[name]
        if not members.issuperset(targets(step)):
            return True
        if all(clause.when is not None and not clause.when.constant for clause in step.next):
            return True  # none of them may be true
    return False


def _forks(step: Step, members: frozenset[str]) -> bool:
    """Whether one completion surely gives arrivals to two steps of the step's own cycle."""

    def inside(clauses: list[Clause]) -> set[str]:
        return {edge.target for clause in clauses for edge in clause.edges} & members

    plain = [clause for clause in step.next if clause.when is None]
    return len(inside(plain)) > 1 or any(len(inside([clause])) > 1 for clause in step.next)


def _normal(graph: Graph) -> set[str]:
    """Return the steps that are reached without a failure."""
    return _reach(graph, graph.entry, failing=False)


def _ends_well(graph: Graph, handler: str, normal: set[str]) -> bool:
    reached = _reach(graph, handler, failing=True)
    return any(name in normal or graph.steps[name].type == "fail" for name in reached)


def _reach(graph: Graph, entry: str, *, failing: bool) -> set[str]:
    seen, stack = {entry}, [entry]
    while stack:
        step = graph.steps[stack.pop()]
        clauses = (*step.next, *step.on_error) if failing else step.next
        for target in (edge.target for clause in clauses for edge in clause.edges):
            if target not in seen:
                seen.add(target)
                stack.append(target)
    return seen
