"""The layout of a graph: layers from top to bottom, in which most arrows lead down and few cross.

The method is that of Sugiyama, Tagawa and Toda (1981): arrows that would close a cycle are turned round, each node
gets the layer below its lowest source, arrows over several layers get a point in each of them, the order within the
layers is improved by barycentres, and last everything is moved to where its neighbours are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

Edge = tuple[str, str]

_SWEEPS: Final = 12
_BOX_GAP: Final = 28.0
"""Between two nodes beside each other."""
_POINT_WIDTH: Final = 12.0
"""The width that an arrow takes in a layer that it passes."""


@dataclass(slots=True)
class _Node:
    """A node, or a point of an arrow that passes a layer."""

    key: str
    width: float
    layer: int
    place: int = 0
    x: float = 0.0  # the centre


@dataclass(frozen=True, slots=True)
class Layout:
    """A layout: the centres of nodes, their layers, and for each arrow the points on its way.

    Nodes stand in even layers. An arrow passes at least one odd layer; its first point is where its label stands.
    """

    x: Mapping[str, float]
    layer: Mapping[str, int]
    passing: Sequence[Sequence[tuple[float, int]]]
    width: float
    layers: int


def place(entry: str, widths: Mapping[str, float], edges: Sequence[Edge], labels: Sequence[float]) -> Layout:
    """Place nodes of these widths, and arrows with labels of these widths (0: none).

    Arrows from a node to itself have no points: they are left to who draws.
    """
    forward = _acyclic(entry, widths, [edge for edge in dict.fromkeys(edges) if edge[0] != edge[1]])
    layer = {name: 2 * number for name, number in _layers(widths, set(forward.values())).items()}
    nodes = {name: _Node(name, width, layer[name]) for name, width in widths.items()}
    links: list[Edge] = []
    points: list[list[str]] = []
    for number, edge in enumerate(edges):
        upper, lower = forward.get(edge, edge)
        passed = [f"{number}\0{at}" for at in range(layer[upper] + 1, layer[lower])]
        for key, at in zip(passed, range(layer[upper] + 1, layer[lower]), strict=True):
            nodes[key] = _Node(key, _POINT_WIDTH, at)
        chain = [upper, *passed, lower] if passed else []
        links += pairwise(chain)
        points.append(passed if edge == (upper, lower) else passed[::-1])
        if points[-1]:
            nodes[points[-1][0]].width = max(_POINT_WIDTH, labels[number])
    rows = _ordered(nodes, links)
    _move(rows, nodes, links)
    left = min(node.x - node.width / 2 for node in nodes.values())
    for node in nodes.values():
        node.x -= left
    return Layout(
        {name: nodes[name].x for name in widths},
        layer,
        [[(nodes[key].x, nodes[key].layer) for key in keys] for keys in points],
        max(node.x + node.width / 2 for node in nodes.values()),
        len(rows),
    )


# ---- layers ----------------------------------------------------------------------------------------------------------


def _acyclic(entry: str, names: Mapping[str, float], edges: Sequence[Edge]) -> dict[Edge, Edge]:
    """Return each arrow as it is for the layers: turned round where it leads back to where it came from."""
    following: dict[str, list[str]] = {name: [] for name in names}
    for source, target in edges:
        following[source].append(target)
    done, open_ = set[str](), set[str]()
    back: set[Edge] = set()
    for root in (entry, *names):
        if root in done or root in open_:
            continue
        work = [(root, iter(following[root]))]
        open_.add(root)
        while work:
            name, targets = work[-1]
            for target in targets:
                if target in open_:
                    back.add((name, target))
                elif target not in done:
                    open_.add(target)
                    work.append((target, iter(following[target])))
                    break
            else:
                work.pop()
                open_.remove(name)
                done.add(name)
    return {edge: (edge[1], edge[0]) if edge in back else edge for edge in edges}


def _layers(names: Mapping[str, float], edges: set[Edge]) -> dict[str, int]:
    """Return the layer of each node: one below its lowest source."""
    sources: dict[str, int] = dict.fromkeys(names, 0)
    following: dict[str, list[str]] = {name: [] for name in names}
    for source, target in sorted(edges):
        following[source].append(target)
        sources[target] += 1
    layer = dict.fromkeys(names, 0)
    ready = [name for name, count in sources.items() if count == 0]
    while ready:
        name = ready.pop()
        for target in following[name]:
            layer[target] = max(layer[target], layer[name] + 1)
            sources[target] -= 1
            if not sources[target]:
                ready.append(target)
    return layer


# ---- order within a layer --------------------------------------------------------------------------------------------


def _ordered(nodes: Mapping[str, _Node], links: Sequence[Edge]) -> list[list[_Node]]:
    """Return the nodes of each layer in an order with few crossings."""
    rows: list[list[_Node]] = [[] for _ in range(1 + max(node.layer for node in nodes.values()))]
    for node in nodes.values():
        rows[node.layer].append(node)
    above, below = _neighbours(nodes, links)
    _number(rows)
    best, fewest = [list(row) for row in rows], _crossings(rows, below)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            row.sort(key=_barycentre(above if down else below))
            _number([row])
        count = _crossings(rows, below)
        if count < fewest:
            best, fewest = [list(row) for row in rows], count
    _number(best)
    return best


Neighbours = dict[str, list[_Node]]


def _neighbours(nodes: Mapping[str, _Node], links: Sequence[Edge]) -> tuple[Neighbours, Neighbours]:
    above: Neighbours = {key: [] for key in nodes}
    below: Neighbours = {key: [] for key in nodes}
    for upper, lower in links:
        above[lower].append(nodes[upper])
        below[upper].append(nodes[lower])
    return above, below


def _barycentre(neighbours: Neighbours) -> Callable[[_Node], float]:
    def mean(node: _Node) -> float:
        others = neighbours[node.key]
        return sum(other.place for other in others) / len(others) if others else float(node.place)

    return mean


def _number(rows: Sequence[Sequence[_Node]]) -> None:
    for row in rows:
        for place_, node in enumerate(row):
            node.place = place_


def _crossings(rows: Sequence[Sequence[_Node]], below: Neighbours) -> int:
    """Count the arrows that cross between neighbouring layers."""
    count = 0
    for row in rows:
        seen: list[int] = []
        for node in row:
            places = sorted(other.place for other in below[node.key])
            count += sum(1 for place_ in places for other in seen if other > place_)
            seen += places
    return count


# ---- coordinates -----------------------------------------------------------------------------------------------------


def _move(rows: Sequence[Sequence[_Node]], nodes: Mapping[str, _Node], links: Sequence[Edge]) -> None:
    """Move nodes to where their neighbours are, without one over another."""
    above, below = _neighbours(nodes, links)
    for row in rows:
        _pack(row, [0.0] * len(row))
    for sweep in range(_SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            sides = (above, below) if sweep >= _SWEEPS - 4 else (above,) if sweep % 2 == 0 else (below,)
            _pack(row, [_wanted(node, sides) for node in row])


def _wanted(node: _Node, sides: Sequence[Neighbours]) -> float:
    others = [other.x for side in sides for other in side[node.key]]
    return sum(others) / len(others) if others else node.x


def _pack(row: Sequence[_Node], wanted: Sequence[float]) -> None:
    """Put a row's nodes as near to where they want to be as their order and widths allow.

    Neighbours that would overlap form a block that stands at the mean of what its members want (isotonic regression).
    """
    blocks: list[tuple[float, int]] = []  # where a block's first node stands on the mean, and how many it has
    offsets: list[float] = []
    for number, node in enumerate(row):
        before = row[number - 1] if number else None
        step = (before.width + node.width) / 2 + _BOX_GAP if before is not None else 0.0
        offsets.append(offsets[-1] + step if offsets else 0.0)
        blocks.append((wanted[number] - offsets[number], 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (second, more), (first, some) = blocks.pop(), blocks.pop()
            blocks.append(((first * some + second * more) / (some + more), some + more))
    starts = [start for start, count in blocks for _ in range(count)]
    for node, start, offset in zip(row, starts, offsets, strict=True):
        node.x = start + offset
