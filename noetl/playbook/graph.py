"""The graph of a workflow: what routing needs, computed once (sources, joins, handlers, ancestors, cycles)."""

from collections.abc import Iterator, Mapping

from noetl.playbook.model import Clause, Graph, Step

END = "end"


class Ancestors(Mapping[str, frozenset[str]]):
    """Every step that can reach a step along one or more edges; worked out when first asked for."""

    def __init__(self, sources: Mapping[str, frozenset[str]], loops: frozenset[str]) -> None:
        self._sources = sources
        self._loops = loops  # steps with an edge to themselves
        self._known: dict[str, frozenset[str]] = {}

    def __getitem__(self, name: str) -> frozenset[str]:
        ancestors = self._known.get(name)
        if ancestors is None:
            ancestors = self._known[name] = self._reach(name)
        return ancestors

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)

    def _reach(self, name: str) -> frozenset[str]:
        seen: set[str] = set(self._sources[name])
        stack = list(seen)
        while stack:
            for source in self._sources[stack.pop()]:
                if source not in seen:
                    seen.add(source)
                    stack.append(source)
        return frozenset(seen | {name} if name in self._loops else seen)


def make_graph(steps: list[Step]) -> Graph:
    """Return the graph of a workflow's steps, which have unique names and no dangling edges."""
    by_name = {step.name: step for step in steps}
    entry = "start" if "start" in by_name else steps[0].name
    sources: dict[str, set[str]] = {name: set() for name in by_name}
    plainly: set[str] = {entry, END}  # reached otherwise than by a failure
    loops: set[str] = set()
    for step in steps:
        for target in _targets(step.next):
            plainly.add(target)
        for target in (*_targets(step.next), *_targets(step.on_error)):
            if target == step.name:
                loops.add(target)
            else:
                sources[target].add(step.name)
    asked = {step.name for step in steps if step.join}
    handlers = frozenset(name for name, before in sources.items() if before and name not in plainly | asked)
    joins = frozenset(asked | {name for name, before in sources.items() if name == END or len(before) > 1}) - handlers
    frozen = {name: frozenset(before) for name, before in sources.items()}
    return Graph(
        entry=entry,
        steps=by_name,
        sources=frozen,
        joins=joins,
        handlers=handlers,
        ancestors=Ancestors(frozen, frozenset(loops)),
        cycle=components({step.name: targets(step) for step in steps}),
        order={name: place for place, name in enumerate(by_name)},
    )


def _targets(clauses: tuple[Clause, ...]) -> list[str]:
    return [edge.target for clause in clauses for edge in clause.edges]


def targets(step: Step) -> list[str]:
    """Return every step that a step may lead to, by `next` or `on_error`."""
    return _targets(step.next) + _targets(step.on_error)


def components(edges: Mapping[str, list[str]]) -> dict[str, int]:
    """Return the number of each node's strongly connected component (Tarjan's algorithm, without recursion)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    component: dict[str, int] = {}
    path: list[str] = []
    count = 0
    for root in edges:
        if root in index:
            continue
        work = [(root, iter(edges[root]))]
        index[root] = low[root] = len(index)
        path.append(root)
        while work:
            node, following = work[-1]
            for target in following:
                if target not in index:
                    index[target] = low[target] = len(index)
                    path.append(target)
                    work.append((target, iter(edges[target])))
                    break
                if target not in component:
                    low[node] = min(low[node], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    while True:
                        member = path.pop()
                        component[member] = count
                        if member == node:
                            break
                    count += 1
    return component


def gates(entry: str, edges: Mapping[str, list[str]]) -> dict[str, str]:
    """Return for each step that can be reached the last one before it through which every way from the entry leads.

    Its immediate dominator, by Cooper, Harvey and Kennedy's "A Simple, Fast Dominance Algorithm" (2001).
    """
    order = _postorder(entry, edges)
    number = {name: place for place, name in enumerate(order)}
    sources: dict[str, list[str]] = {name: [] for name in order}
    for name in order:
        for target in edges[name]:
            sources[target].append(name)
    gate_of, changed = {entry: entry}, True
    while changed:
        changed = False
        for name in reversed(order[:-1]):
            gate = ""
            for source in sources[name]:
                if source in gate_of:
                    gate = _meet(gate, source, gate_of, number) if gate else source
            if gate_of.get(name) != gate:
                gate_of[name] = gate
                changed = True
    del gate_of[entry]
    return gate_of


def _meet(first: str, second: str, gate_of: Mapping[str, str], number: Mapping[str, int]) -> str:
    while first != second:
        if number[first] < number[second]:
            first = gate_of[first]
        else:
            second = gate_of[second]
    return first


def _postorder(entry: str, edges: Mapping[str, list[str]]) -> list[str]:
    order: list[str] = []
    seen, work = {entry}, [(entry, iter(edges[entry]))]
    while work:
        name, following = work[-1]
        for target in following:
            if target not in seen:
                seen.add(target)
                work.append((target, iter(edges[target])))
                break
        else:
            work.pop()
            order.append(name)
    return order
