"""Which steps have surely run before a step, and which may have: the ways through a workflow, for lint.

A step can go on in several ways: each condition alone may be true, or none, or the step may fail. `before` asks for
any way, `sure` for all of them. Sure behind a join is what no choice of ways to the join leaves out, since a join
waits for every branch that can reach it; behind other steps it is what stands on the only way to them.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from noetl.playbook.graph import END, components, gates, targets
from noetl.playbook.model import Clause, Step
from noetl.playbook.reads import reads_of

_NOBODY: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Way:
    """One way in which a step can go on. `done`: it has a result. `proves`: steps whose results its conditions ask
    for."""

    targets: frozenset[str]
    done: bool = True
    proves: frozenset[str] = _NOBODY


def never(clause: Clause, clauses: Sequence[Clause]) -> bool:
    """Whether a clause is never followed, whatever the data: its condition is false, or another is always true."""
    if clause.when is None:
        return any(_constant(other) is True for other in clauses)
    return _constant(clause) is False


def _constant(clause: Clause) -> bool | None:
    """Return the truth of a condition that is a constant; None for one that is not, or could not be read."""
    found = clause.when.render({}) if clause.when is not None and clause.when.constant else None
    return found if isinstance(found, bool) else None


def ways(clauses: Sequence[Clause], known: Mapping[str, Step]) -> Iterator[Way]:
    """Yield the smallest ways in which `next` or `on_error` can be followed: more conditions only add steps."""

    def of(some: Sequence[Clause]) -> frozenset[str]:
        return frozenset(edge.target for clause in some for edge in clause.edges if edge.target in known)

    always = [clause for clause in clauses if _constant(clause) is True]
    conditional = [clause for clause in clauses if clause.when is not None and _constant(clause) is None]
    plain = [clause for clause in clauses if clause.when is None]
    for clause in conditional:
        yield Way(of([clause, *always]), proves=_wanted(clause))
    yield Way(of(always or plain))


def _wanted(clause: Clause) -> frozenset[str]:
    return reads_of(getattr(clause.when, "text", "")).wanted


def _spans(entry: str, gates: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    """Number the steps so that those behind a gate have the numbers up to its second one."""
    behind: dict[str, list[str]] = {}
    for name, gate in gates.items():
        behind.setdefault(gate, []).append(name)
    spans: dict[str, tuple[int, int]] = {}
    stack = [(entry, False)]
    while stack:
        name, leaving = stack.pop()
        if leaving:
            spans[name] = spans[name][0], len(spans) - 1
        else:
            spans[name] = len(spans), 0
            stack.append((name, True))
            stack.extend((inner, False) for inner in behind.get(name, ()))
    return spans


class Flow:
    """The ways through the steps of one workflow; edges that lead nowhere are left out."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps: dict[str, Step] = {step.name: step for step in steps}
        self.entry = "start" if "start" in self.steps else steps[0].name
        self._order = {name: place for place, name in enumerate(self.steps)}
        self._ways = {step.name: list(self._ways_of(step)) for step in steps}
        self.sources: dict[str, set[str]] = {name: set() for name in self.steps}
        self._plainly = {self.entry}  # steps that are reached otherwise than by a failure
        for step in steps:
            for target in targets(step):
                if target in self.steps and target != step.name:
                    self.sources[target].add(step.name)
            self._plainly.update(edge.target for clause in step.next for edge in clause.edges)
        self._before: dict[str, frozenset[str]] = {}
        self._always: dict[tuple[str, bool], bool] = {}
        self._ending = self._avoid("", self._backwards(self.steps), set())
        edges = {step.name: [target for target in targets(step) if target in self.steps] for step in steps}
        self._gates, self._cycle = gates(self.entry, edges), components(edges)
        self._spans = _spans(self.entry, self._gates)
        self._sure: dict[tuple[str, str], bool] = {}

    def _backwards(self, some: Iterable[str]) -> list[str]:
        """Return steps in the order in which few rounds are enough: most lead to later ones."""
        return sorted(some, key=self._order.__getitem__, reverse=True)

    def _ways_of(self, step: Step) -> Iterator[Way]:
        yield from ways(step.next, self.steps)
        if step.on_error_continue:
            for way in ways(step.next, self.steps):
                yield Way(way.targets, False, way.proves)
        if step.on_error:
            for way in ways(step.on_error, self.steps):
                yield Way(way.targets, False, way.proves)

    # ---- any way

    def before(self, name: str) -> frozenset[str]:
        """Return every step that can come before a step; itself, where it stands in a cycle."""
        found = self._before.get(name)
        if found is None:
            found = self._before[name] = self._reaching(name)
        return found

    def _reaching(self, name: str) -> frozenset[str]:
        seen = set(self.sources[name])
        stack = list(seen)
        while stack:
            for source in self.sources[stack.pop()] - seen:
                seen.add(source)
                stack.append(source)
        return frozenset(seen | {name} if name in targets(self.steps[name]) else seen)

    def reached(self, *, failing: bool) -> set[str]:
        """Return the steps that can be reached by edges that are ever followed; not failing: without a failure."""
        seen, stack = {self.entry}, [self.entry]
        while stack:
            for target in self._followed(self.steps[stack.pop()], failing):
                if target in self.steps and target not in seen:
                    seen.add(target)
                    stack.append(target)
        return seen

    @staticmethod
    def _followed(step: Step, failing: bool) -> Iterator[str]:
        for clauses in (step.next, step.on_error) if failing else (step.next,):
            for clause in clauses:
                if not never(clause, clauses):
                    yield from (edge.target for edge in clause.edges)

    def is_join(self, name: str) -> bool:
        """Whether a step waits for all branches that can reach it."""
        return (name == END or len(self.sources[name]) > 1) and not self.is_handler(name)

    def is_handler(self, name: str) -> bool:
        """Whether a step is reached by failures only."""
        return bool(self.sources[name]) and name not in self._plainly and name != END

    # ---- every way

    def sure(self, wanted: str, name: str) -> bool:
        """Whether `wanted` has a result whenever `name` begins."""
        key = wanted, name
        if key not in self._sure:
            self._sure[key] = True  # in a cycle of handlers: what the others say
            self._sure[key] = self._is_sure(wanted, name)
        return self._sure[key]

    def _is_sure(self, wanted: str, name: str) -> bool:
        while True:
            sources = self.sources[name]
            if wanted not in self.before(name) or name == self.entry:
                return False
            if self.is_join(name):
                gate = self._gates[name]
                if gate == wanted or self._passes(gate, wanted):
                    return not self._avoidable(wanted, gate, name)
            elif len(sources) > 1:
                return all(self._sure_behind(wanted, source, name) for source in sources)
            else:
                (gate,) = sources
                if self._leads_with(wanted, gate, name):
                    return True
            name = gate

    def _sure_behind(self, wanted: str, source: str, name: str) -> bool:
        return self._leads_with(wanted, source, name) or self.sure(wanted, source)

    def _leads_with(self, wanted: str, source: str, name: str) -> bool:
        """Whether every way from a step to the next proves that `wanted` has a result."""
        leading = [way for way in self._ways[source] if name in way.targets]
        return bool(leading) and all((source == wanted and way.done) or wanted in way.proves for way in leading)

    def _avoidable(self, wanted: str, gate: str, join: str) -> bool:
        """Whether the join can be reached from its gate while `wanted`, which is behind the gate, gets no result."""
        inside = {name for name in self.before(wanted) | {wanted} if name == gate or self._passes(gate, name)}
        # What is not inside cannot reach `wanted`, or is not asked for; and nobody is sure to wait for a step of the
        # same cycle that has arrivals.
        outside = (self._ending - inside) | {name for name in inside if self._cycle[name] == self._cycle[join]}
        avoiding, reaching = self._avoid(wanted, self._backwards(inside), outside), {join}
        waiting = [(source, join) for source in self.sources[join]]
        while waiting:
            name, target = waiting.pop()
            if name not in reaching and any(
                target in way.targets and way.targets <= avoiding | reaching for way in self._without(wanted, name)
            ):
                reaching.add(name)
                waiting += [(source, name) for source in self.sources[name] if name != gate]
        return gate in reaching

    def _passes(self, gate: str, name: str) -> bool:
        """Whether every way to a step leads through a gate before it."""
        first, last = self._spans[gate]
        return first < self._spans[name][0] <= last

    def always(self, wanted: str, *, failing: bool = True) -> bool:
        """Whether `wanted` has a result in every run that ends well; not failing: in which nothing fails."""
        key = wanted, failing
        if key not in self._always:
            well = self._backwards(name for name, step in self.steps.items() if step.type != "fail")
            self._always[key] = self.entry not in self._avoid(wanted, well, set(), failing)
        return self._always[key]

    def _avoid(self, wanted: str, inside: Collection[str], outside: set[str], failing: bool = True) -> set[str]:
        """Return the steps from which everything comes to an end while `wanted` never gets a result.

        Only those `inside` are looked at; `outside` are others of which it is known.
        """
        found, grown = set(outside), True
        while grown:
            grown = False
            for name in inside:
                if name not in found and any(
                    way.targets <= found and (failing or way.done) for way in self._without(wanted, name)
                ):
                    found.add(name)
                    grown = True
        return found

    def _without(self, wanted: str, name: str) -> Iterator[Way]:
        """Yield the ways on which a step goes on although `wanted` has no result."""
        for way in self._ways[name]:
            if not (name == wanted and way.done) and wanted not in way.proves:
                yield way
