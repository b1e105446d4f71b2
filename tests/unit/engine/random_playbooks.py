"""Random playbooks for property tests of the engine, as documents in canonical spelling."""

import itertools
from typing import Any

from hypothesis import strategies as st

from noetl.playbook.model import Graph, Playbook

ROUNDS = 3
"""Visits after which a guarded back-edge is followed no more."""

GUARD = "{{ result.visit < " + str(ROUNDS) + " }}"


@st.composite
def documents(draw: st.DrawFn, *, failures: bool) -> dict[str, Any]:
    """Draw a playbook: some 3 to 8 steps, with forks, joins, cycles, loops, handlers, an `end` and a `finally` or none.

    Every back-edge is guarded by the visits of the step it leaves, so that all visits are bounded; with `failures`
    there are unguarded ones too, `fail` steps, and a low `max_visits`.
    """
    count = draw(st.integers(2, 6))
    names = ["start", *(f"s{number}" for number in range(1, count))]
    handlers = [f"h{number}" for number in range(draw(st.sampled_from([0, 1, 1, 2])))]
    ends = ["end"] if draw(st.integers(0, 9)) < 6 else []
    order = (
        draw(st.permutations([*names[1:], *handlers, *ends])) if draw(st.booleans()) else names[1:] + handlers + ends
    )
    workflow = [_step(draw, name, names, handlers, ends, failures) for name in ["start", *order]]
    document: dict[str, Any] = {"workflow": _without_islands(workflow)}
    if draw(st.booleans()):
        draw(st.sampled_from(document["workflow"]))["join"] = True
    if draw(st.integers(0, 9)) < 4:
        document["finally"] = _finally(draw, failures)
    return document


def _step(
    draw: st.DrawFn, name: str, names: list[str], handlers: list[str], ends: list[str], failures: bool
) -> dict[str, Any]:
    if name == "end":
        return {"step": "end"} if draw(st.booleans()) else {"step": "end", "result": {"id": "{{ execution_id }}"}}
    kind = draw(st.integers(0, 19))
    if failures and kind == 0 and name != "start":
        return {"step": name, "type": "fail", "message": "{{ error.message | default('on purpose') }}"}
    router = kind < 5
    step: dict[str, Any] = {"step": name} if router else {"step": name, "type": "python"}
    if failures:
        step["max_visits"] = draw(st.integers(4, 7))
    place = names.index(name) if name in names else len(names)
    forward, back = names[place + 1 :] + ends, [] if name in handlers else names[: place + 1]
    loop = None if router else _loop(draw)
    if loop is not None:
        step["loop"] = loop
    step["next"] = _next(draw, router, forward, [] if loop else back, failures, "count" if loop else "visit")
    if not router and draw(st.integers(0, 9)) < 7:
        step["on_error"] = _on_error(draw, handlers, names if failures else forward)
    if not router and draw(st.integers(0, 9)) < 3:
        step["retry"] = _retry(draw)
    if not router and draw(st.booleans()):
        step["args"] = {"got": "{{ v | default(0) }}"}
    return step


def _retry(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a policy; some look at what an attempt gave, too."""
    looks = [{}, {"until": "{{ (data.visit + attempt) % 2 == 0 }}"}, {"when": "{{ result is none or attempt < 2 }}"}]
    return {"max_attempts": draw(st.integers(2, 3)), **draw(st.sampled_from(looks))}


def _loop(draw: st.DrawFn) -> list[dict[str, Any]] | None:
    """Draw a loop of one to three levels, or none; some have no items."""
    return _levels(draw, draw(st.sampled_from([0, 0, 1, 1, 2, 3]))) or None


@st.composite
def loops(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a playbook that is mostly a loop, with a step beside it, a handler or none, and an `end`."""
    step: dict[str, Any] = {"step": "each", "type": "python", "loop": _levels(draw, draw(st.integers(1, 3)))}
    step["next"] = [{"step": "after", "args": {"given": "{{ each.count }}"}}]
    if draw(st.booleans()):
        step["retry"] = _retry(draw)
    if draw(st.booleans()):
        step["on_error"] = draw(st.sampled_from(["continue", [{"step": "after"}]]))
    beside = {"step": "beside", "type": "python", "next": [{"step": "end"}]}
    after = {"step": "after", "type": "python", "next": [{"step": "end"}]}
    end = {"step": "end", "result": "{{ each | default(none) }}"}
    start = {"step": "start", "next": [{"step": "each"}, {"step": "beside"}]}
    return {"workflow": [start, step, beside, after, end]}


def _levels(draw: st.DrawFn, depth: int) -> list[dict[str, Any]]:
    levels: list[dict[str, Any]] = []
    for level in range(depth):
        count = draw(st.integers(0, 4 if depth == 1 else 2 + level))
        one: dict[str, Any] = {"in": list(range(count)), "iterator": f"i{level}"}
        if draw(st.booleans()):
            one |= {"mode": "async", "concurrency": draw(st.integers(1, 3))}
        if draw(st.booleans()):
            one["on_error"] = "continue"
        if level and draw(st.booleans()):
            one["in"] = "{{ range(i0 + 1) | list }}"
        levels.append(one)
    return levels


def _next(
    draw: st.DrawFn, router: bool, forward: list[str], back: list[str], failures: bool, told: str
) -> list[dict[str, Any]]:
    ways = draw(st.lists(st.sampled_from(forward), min_size=draw(st.integers(0, 2)), max_size=3)) if forward else []
    args: dict[str, Any] = {} if router else {"args": {"v": "{{ result." + told + " }}"}}
    given = [draw(st.booleans()) for _ in ways]
    targets: list[dict[str, Any]] = [
        {"step": way, **(args if one else {})} for way, one in zip(ways, given, strict=True)
    ]
    clauses: list[dict[str, Any]] = []
    looping = draw(st.integers(0, 9))
    if back and not router and looping < 5:
        then = [{"step": draw(st.sampled_from(back)), **args}]
        beside: bool = draw(st.booleans())
        then += targets[:1] if beside else []
        clauses.append({"when": GUARD, "then": then})
    elif back and failures and looping == 9:
        targets.append({"step": draw(st.sampled_from(back))})
    if targets and draw(st.sampled_from([False, True])):
        return [*clauses, {"else": targets}]
    if draw(st.integers(0, 3)) == 0 and not router and targets:
        clauses.append({"when": "{{ result." + told + " == 1 }}", "then": targets[:1]})
    return [*clauses, *targets]


def _on_error(draw: st.DrawFn, handlers: list[str], others: list[str]) -> Any:
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return "continue"
    if handlers and (kind < 8 or not others):
        return [{"step": draw(st.sampled_from(handlers))}]
    if not others:
        return "continue"
    return [{"when": "{{ error.type != 'none' }}", "then": [{"step": draw(st.sampled_from(others))}]}]


def _finally(draw: st.DrawFn, failures: bool) -> list[dict[str, Any]]:
    count = draw(st.integers(1, 3))
    steps: list[dict[str, Any]] = [{"step": f"f{number}", "type": "python"} for number in range(count)]
    if draw(st.booleans()):
        steps[0]["loop"] = _levels(draw, draw(st.integers(1, 2)))
    for step, following in itertools.pairwise(steps):
        step["next"] = [{"step": following["step"]}]
    if failures and draw(st.integers(0, 4)) == 0:
        steps.append({"step": "broken", "type": "fail", "message": "finally {{ status }}"})
        steps[0].setdefault("next", []).append({"step": "broken"})
    return steps


def _without_islands(workflow: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out the steps that nothing leads to."""
    steps = {step["step"]: step for step in workflow}
    seen, todo = {"start"}, ["start"]
    while todo:
        for target in _targets(steps[todo.pop()]):
            if target not in seen:
                seen.add(target)
                todo.append(target)
    return [step for step in workflow if step["step"] in seen]


def _targets(step: dict[str, Any]) -> list[str]:
    found = []
    on_error = step.get("on_error", [])
    for clause in [*step.get("next", []), *(on_error if isinstance(on_error, list) else [])]:
        found += [target["step"] for target in clause.get("then") or clause.get("else") or [clause]]
    return found


# ---- what kind of playbook it is -----------------------------------------------------------------------------------


def has_cycle(graph: Graph) -> bool:
    """Whether some step can lead back to itself."""
    return any(name in graph.ancestors[name] for name in graph.steps)


def has_join(graph: Graph) -> bool:
    """Whether some step gathers the arrivals of several."""
    return any(len(graph.sources[name]) > 1 for name in graph.joins)


def forks_into_own_cycle(playbook: Playbook) -> bool:
    """Whether some step can lead to two steps of its own cycle at once."""
    graph = playbook.workflow
    for name, step in graph.steps.items():
        targets = {edge.target for clause in step.next for edge in clause.edges}
        inside = [
            target
            for target in targets
            if graph.cycle[target] == graph.cycle[name] and (target != name or name in graph.ancestors[name])
        ]
        if len(inside) > 1:
            return True
    return False
