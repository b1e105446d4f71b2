"""What routing asks of a workflow: entry, sources, joins, handlers, ancestors, cycles, order."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noetl.errors import PlaybookError
from noetl.playbook.graph import components, make_graph
from noetl.playbook.load import load_playbook
from noetl.playbook.model import Clause, Edge, Graph, Step


def clause(source: str, targets: Iterable[str]) -> tuple[Clause, ...]:
    edges = tuple(Edge(0, source, target, None) for target in targets)
    return (Clause(None, edges),) if edges else ()


def graph(next_: dict[str, str], on_error: dict[str, str] | None = None) -> Graph:
    """Build a graph of steps with targets as words: {"a": "b c"}."""
    handlers = on_error or {}
    return make_graph(
        [
            Step(
                name=name,
                type="router",
                line=1,
                next=clause(name, targets.split()),
                on_error=clause(name, handlers.get(name, "").split()),
            )
            for name, targets in next_.items()
        ]
    )


def test_a_diamond_joins() -> None:
    """Two sources make a join, one does not, the step itself is not counted."""
    found = graph({"start": "a b", "a": "c", "b": "c", "c": "c d", "d": "end", "end": ""})
    assert found.sources["c"] == {"a", "b"}
    assert found.sources["d"] == {"c"}
    assert found.joins == {"c", "end"}
    assert found.handlers == frozenset()
    assert found.ancestors["c"] == {"start", "a", "b", "c"}
    assert found.ancestors["d"] == {"start", "a", "b", "c"}
    assert found.ancestors["start"] == frozenset()
    assert found.order == {"start": 0, "a": 1, "b": 2, "c": 3, "d": 4, "end": 5}


def test_paging_is_no_join() -> None:
    """A step that leads to itself and to one other has one source each."""
    found = graph({"start": "fetch", "fetch": "fetch store", "store": "end", "end": ""})
    assert found.joins == {"end"}
    assert found.sources["fetch"] == {"start"}
    assert found.ancestors["fetch"] == {"start", "fetch"}
    assert found.ancestors["store"] == {"start", "fetch"}


def test_end_is_always_a_join() -> None:
    """With one source, with none, and where only failures lead to it."""
    assert "end" in graph({"a": "end", "end": ""}).joins
    assert "end" in graph({"a": "", "end": ""}).joins
    only_failures = graph({"a": "", "end": ""}, {"a": "end"})
    assert only_failures.joins == {"end"}
    assert only_failures.handlers == frozenset()


def test_handlers_are_reached_by_failures_only() -> None:
    """However many sources they have; one `next` edge makes a handler an ordinary step."""
    found = graph({"start": "a b", "a": "", "b": "", "h": "x", "x": ""}, {"a": "h", "b": "h"})
    assert found.handlers == {"h"}
    assert found.joins == frozenset()
    assert found.ancestors["x"] == {"start", "a", "b", "h"}
    mixed = graph({"start": "a h", "a": "", "h": ""}, {"a": "h"})
    assert mixed.handlers == frozenset()
    assert mixed.joins == {"h"}
    assert graph({"start": "a", "a": ""}, {"a": "start"}).handlers == frozenset()


def test_the_entry_is_start_or_the_first() -> None:
    """Wherever it stands."""
    assert graph({"a": "start", "start": ""}).entry == "start"
    assert graph({"a": "b", "b": ""}).entry == "a"


def test_cycles_are_components() -> None:
    """Steps of one cycle share a number, others have their own."""
    found = graph({"start": "a", "a": "b", "b": "c a", "c": "d", "d": "c end", "end": ""})
    assert found.cycle["a"] == found.cycle["b"]
    assert found.cycle["c"] == found.cycle["d"]
    assert len({found.cycle[name] for name in ("start", "a", "c", "end")}) == 4


edges_of = st.integers(1, 9).flatmap(
    lambda count: st.dictionaries(
        st.integers(0, count - 1).map(str), st.lists(st.integers(0, count - 1).map(str), max_size=4), min_size=1
    ).map(lambda found: {str(n): found.get(str(n), []) for n in range(count)})
)


def closure(edges: dict[str, list[str]]) -> dict[str, set[str]]:
    """Return what each node reaches along one or more edges, the slow and plain way."""
    reach = {node: set(targets) for node, targets in edges.items()}
    for _ in edges:
        for node in edges:
            for target in list(reach[node]):
                reach[node] |= reach[target]
    return reach


@given(edges_of)
@settings(max_examples=200, deadline=None)
def test_any_graph(edges: dict[str, list[str]]) -> None:
    """Components and ancestors agree with plain reachability."""
    reach = closure(edges)
    numbers = components(edges)
    for a in edges:
        for b in edges:
            assert (numbers[a] == numbers[b]) == (a == b or (b in reach[a] and a in reach[b]))
    found = graph({f"s{node}": " ".join(f"s{target}" for target in targets) for node, targets in edges.items()})
    for node in edges:
        assert found.ancestors[f"s{node}"] == {f"s{other}" for other in edges if node in reach[other]}
    with pytest.raises(KeyError):
        found.ancestors["nope"]


def test_a_chain_of_thousands_is_no_problem() -> None:
    """No recursion, and ancestors only for those that are asked for."""
    found = graph({**{f"s{n}": f"s{n + 1}" for n in range(5000)}, "s5000": ""})
    assert len(found.ancestors["s5000"]) == 5000
    assert len(set(found.cycle.values())) == 5001


def test_a_step_that_says_join_is_one_with_any_number_of_sources() -> None:
    text = """
metadata: {path: p}
workflow:
- {step: start, next: a, on_error: h}
- {step: a, next: end, join: JOIN}
- {step: h, join: JOIN}
- {step: end}
"""
    with_join = load_playbook(text.replace("JOIN", "true"), "f").workflow
    assert sorted(with_join.joins) == ["a", "end", "h"]
    assert not with_join.handlers
    assert with_join.ancestors["a"] == {"start"}
    without = load_playbook(text.replace("JOIN", "false"), "f").workflow
    assert (sorted(without.joins), sorted(without.handlers)) == (["end"], ["h"])
    with pytest.raises(PlaybookError, match="join of step 'a' is 'yes': write true"):
        load_playbook(text.replace("JOIN", "'yes'"), "f")
