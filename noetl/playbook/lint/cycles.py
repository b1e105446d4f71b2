"""The check of cycles: those without a way out, and those in which branches multiply."""

from collections import defaultdict
from collections.abc import Iterator

from noetl.playbook.graph import targets
from noetl.playbook.lint.codes import Code
from noetl.playbook.lint.source import PlaybookSource
from noetl.playbook.model import Clause, Graph, Step


def check_cycles(source: PlaybookSource) -> None:
    """Warn of cycles without a way out, and of forks back into a cycle."""
    for graph, places in source.graphs:
        for members in _cycles(graph):
            names = sorted(members, key=graph.order.__getitem__)
            if not _has_exit(graph, members):
                message = f"the cycle of {', '.join(names)} has no way out: give one of its clauses a condition"
                source.reader.warning(places[names[0]], Code.ENDLESS, message)
            for name in names:
                if _forks(graph.steps[name], members):
                    message = f"the step {name!r} starts two branches of its own cycle: they multiply with each round"
                    source.reader.warning(places[name], Code.FORK_IN_CYCLE, message)


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
