"""The flow of a workflow: the steps that may have run before a step, and those that certainly have.

A step can go on in several ways: each condition alone may be true, or none, or the step may fail. `before` asks for
any way, `sure` for all of them. Sure behind a join is what no choice of ways to the join leaves out, since a join
waits for every branch that can reach it; behind other steps it is what stands on the only way to them.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from noetl.playbook.graph import END, components, gates, targets
from noetl.playbook.lint.template_reads import reads_of
from noetl.playbook.model import Clause, Step

_NO_STEPS: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Way:
    """One way in which a step can go on. `done`: it has a result. `proves`: steps whose results its conditions ask
    for."""

    targets: frozenset[str]
    done: bool = True
    proves: frozenset[str] = _NO_STEPS


def never(clause: Clause, clauses: Sequence[Clause]) -> bool:
    """Whether a clause is never followed, whatever the data: its condition is false, or another is always true."""
    if clause.when is None:
        return any(_constant(other) is True for other in clauses)
    return _constant(clause) is False


def _constant(clause: Clause) -> bool | None:
    """Return the truth of a condition that is a constant; None for one that is not, or could not be read."""
    value = clause.when.render({}) if clause.when is not None and clause.when.constant else None
    return value if isinstance(value, bool) else None


def _key(clause: Clause, clauses: Sequence[Clause], steps: Collection[str]) -> str:
    """Return a key of a clause's condition, equal where conditions of other steps mean the same: those that read
    nothing but the workload and results. An `else` has the conditions of the other clauses; empty: not comparable."""
    conditions = [clause] if clause.when is not None else [other for other in clauses if other.when is not None]
    texts = sorted(" ".join(getattr(one.when, "text", "").split()) for one in conditions)
    names = {read.name for text in texts for read in reads_of(text).reads}
    if not names or not all(name == "workload" or name in steps for name in names):
        return ""
    return "\n".join([*texts, *(["else"] if clause.when is None else [])])


def ways(
    clauses: Sequence[Clause], known: Collection[str], proved: Callable[[Clause], Collection[str]]
) -> Iterator[Way]:
    """Yield the smallest ways in which `next` or `on_error` can be followed: more conditions only add steps.

    `proved`: the steps that have run where a clause is followed.
    """

    def of(some: Sequence[Clause]) -> frozenset[str]:
        return frozenset(edge.target for clause in some for edge in clause.edges if edge.target in known)

    always = [clause for clause in clauses if _constant(clause) is True]
    conditional = [clause for clause in clauses if clause.when is not None and _constant(clause) is None]
    plain = [clause for clause in clauses if clause.when is None]
    for clause in conditional:
        yield Way(of([clause, *always]), proves=frozenset(proved(clause)))
    yield Way(of(always or plain), proves=frozenset(proved(plain[0])) if plain and not always else _NO_STEPS)


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
        self._chosen = self._by_condition(steps)
        self._ways = {step.name: list(self._ways_of(step)) for step in steps}
        self.sources: dict[str, set[str]] = {name: set() for name in self.steps}
        self._plainly = {self.entry}  # steps that are reached otherwise than by a failure
        for step in steps:
            for target in targets(step):
                if target in self.steps and target != step.name:
                    self.sources[target].add(step.name)
            self._plainly.update(edge.target for clause in step.next for edge in clause.edges)
        self._always: dict[tuple[str, bool], bool] = {}
        self._ending = self._avoid("", self._backwards(self.steps), set())
        edges = {step.name: [target for target in targets(step) if target in self.steps] for step in steps}
        self._gates, self._cycle = gates(self.entry, edges), components(edges)
        self._before = self._befores()
        self._spans = _spans(self.entry, self._gates)
        self._sure: dict[tuple[str, str], bool] = {}
        self._repeated: dict[str, str | None] = {}

    def _by_condition(self, steps: Sequence[Step]) -> dict[str, dict[str, set[str]]]:
        """Return by condition, and by the step that has it, where it leads."""
        chosen: dict[str, dict[str, set[str]]] = {}
        for step in steps:
            for clause in step.next:
                key = _key(clause, step.next, self.steps)
                if key:
                    led = chosen.setdefault(key, {}).setdefault(step.name, set())
                    led.update(edge.target for edge in clause.edges)
        return chosen

    def _same(self, step: Step, clause: Clause) -> set[str]:
        """Return the targets of the same condition in other steps: where it is true again, they have run."""
        others = self._chosen.get(_key(clause, step.next, self.steps), {})
        own = {edge.target for edge in clause.edges}
        return set().union(*(led for name, led in others.items() if name != step.name)) - own

    def _backwards(self, names: Iterable[str]) -> list[str]:
        """Return steps in an order in which few rounds are enough, since most transitions lead to later ones."""
        return sorted(names, key=self._order.__getitem__, reverse=True)

    def _ways_of(self, step: Step) -> Iterator[Way]:
        def proved(clause: Clause) -> set[str]:
            asked = reads_of(getattr(clause.when, "text", "")).wanted if clause.when is not None else frozenset()
            return self._same(step, clause) | asked

        yield from ways(step.next, self.steps, proved)
        for way in ways(step.next if step.on_error_continue else step.on_error, self.steps, proved):
            if step.on_error_continue or step.on_error:
                yield Way(way.targets, False, way.proves)

    # ---- any way

    def comes_before(self, other: str, name: str) -> bool:
        """Whether a step can come before another; itself, where it stands in a cycle."""
        return bool(self._before[name] >> self._order[other] & 1)

    def before(self, name: str) -> set[str]:
        """Return every step that can come before a step; itself, where it stands in a cycle."""
        return {other for other in self.steps if self.comes_before(other, name)}

    def _befores(self) -> dict[str, int]:
        """Return for each step those that can come before it, as the bits of a number: their places are its bits."""
        by_cycle: dict[int, int] = {}  # by cycle: all before it, and itself
        before: dict[str, int] = {}
        members: dict[int, list[str]] = {}
        for name, number in self._cycle.items():
            members.setdefault(number, []).append(name)
        for number in sorted(members, reverse=True):  # a cycle has its number after all that it leads to
            own = members[number]
            ahead = 0
            for name in own:
                for source in self.sources[name]:
                    if self._cycle[source] != number:
                        ahead |= by_cycle[self._cycle[source]]
            bits = sum(1 << self._order[name] for name in own)
            cyclic = len(own) > 1 or own[0] in targets(self.steps[own[0]])
            before.update(dict.fromkeys(own, ahead | bits if cyclic else ahead))
            by_cycle[number] = ahead | bits
        return before

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
        several = name == END or len(self.sources[name]) > 1 or self.steps[name].join
        return several and not self.is_handler(name)

    def is_handler(self, name: str) -> bool:
        """Whether a step is reached by failures only."""
        plainly = name in self._plainly or name == END or self.steps[name].join
        return bool(self.sources[name]) and not plainly

    def repeated_by(self, name: str) -> str | None:
        """Return the step of a cycle that leads to a step and back into the cycle at once, so that it runs repeatedly.

        None where there is none, or a join waits for its end.
        """
        seen: set[str] = set()
        repeating: str | None = None
        while name not in seen and not self.is_join(name) and len(self.sources[name]) == 1:
            if name in self._repeated:
                repeating = self._repeated[name]
                break
            seen.add(name)
            (source,) = self.sources[name]
            if self._leads_out_and_back(source, name):
                repeating = source
                break
            name = source
        self._repeated.update(dict.fromkeys(seen, repeating))  # a chain is walked once, however long
        return repeating

    def _leads_out_and_back(self, source: str, name: str) -> bool:
        """Whether a way out of a cycle to a step goes on with the cycle, too."""
        cycle = self._cycle[source]
        return self._cycle[name] != cycle and any(
            name in way.targets and any(self._cycle[target] == cycle for target in way.targets)
            for way in self._ways[source]
        )

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
            if not self.comes_before(wanted, name) or name == self.entry:
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
        """Whether the join can be reached from its gate without a result of `wanted`, which lies between them."""
        inside, waiting = {gate, wanted}, [wanted] if wanted != gate else []
        while waiting:
            for source in self.sources[waiting.pop()] - inside:
                inside.add(source)
                waiting.append(source)
        # What is not inside cannot reach `wanted`, or is not asked for; and nobody is sure to wait for a step of the
        # same cycle that has arrivals.
        outside = (self._ending - inside) | {name for name in inside if self._cycle[name] == self._cycle[join]}
        avoiding, reaching = self._avoid(wanted, self._backwards(inside), outside), {join}
        arriving = [(source, join) for source in self.sources[join]]
        while arriving:
            name, target = arriving.pop()
            if name not in reaching and any(
                target in way.targets and way.targets <= avoiding | reaching for way in self._without(wanted, name)
            ):
                reaching.add(name)
                arriving += [(source, name) for source in self.sources[name] if name != gate]
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
        """Return the steps from which an execution can come to its end without a result of `wanted`.

        Only those `inside` are looked at; `outside` are others of which it is known.
        """
        avoiding, grown = set(outside), True
        while grown:
            grown = False
            for name in inside:
                if name not in avoiding and any(
                    way.targets <= avoiding and (failing or way.done) for way in self._without(wanted, name)
                ):
                    avoiding.add(name)
                    grown = True
        return avoiding

    def _without(self, wanted: str, name: str) -> Iterator[Way]:
        """Yield the ways out of a step that do not need a result of `wanted`."""
        for way in self._ways[name]:
            if not (name == wanted and way.done) and wanted not in way.proves:
                yield way
