"""The outline of a playbook in canonical words: its steps, their actions and their transitions."""

from collections.abc import Iterator
from typing import Any

from noetl.playbook.drawing.boxes import expression, labelled, loop_text, what_it_does
from noetl.playbook.graph import END
from noetl.playbook.model import Clause, Graph, Loop, Playbook, Step


def outline(playbook: Playbook) -> Iterator[str]:
    """Yield the lines that tell a playbook to people."""
    yield playbook.path + (f": {playbook.desc}" if playbook.desc else "")
    for title, graph in _graphs(playbook):
        yield ""
        yield title
        for step in graph.steps.values():
            yield f"  {step.name}: {', '.join(_traits(graph, step))}" + (f" - {step.desc}" if step.desc else "")
            for way in _ways(step):
                yield f"      {way}"


def as_data(playbook: Playbook) -> dict[str, Any]:
    """Return the same as plain data, with the whole texts of conditions."""
    return {
        "path": playbook.path,
        "name": playbook.name,
        "description": playbook.desc,
        **{title: [_step_data(graph, step) for step in graph.steps.values()] for title, graph in _graphs(playbook)},
    }


def _graphs(playbook: Playbook) -> list[tuple[str, Graph]]:
    graphs = [("workflow", playbook.workflow)]
    return [*graphs, ("finally", playbook.finally_)] if playbook.finally_ is not None else graphs


def _traits(graph: Graph, step: Step) -> Iterator[str]:
    """Yield the traits of a step: its action, and the way it starts."""
    yield what_it_does(step)
    yield from map(loop_text, step.loops)
    if step.name in graph.joins and (step.name != END or len(graph.sources[END]) > 1):
        yield "waits for " + ", ".join(sorted(graph.sources[step.name], key=graph.order.__getitem__))
    if step.name in graph.handlers:
        yield "handles failures of " + ", ".join(sorted(graph.sources[step.name], key=graph.order.__getitem__))


def _ways(step: Step) -> Iterator[str]:
    for clause, label in labelled(step.next):
        yield _way(clause, label)
    if step.on_error_continue:
        yield "on error -> goes on"
    for clause, label in labelled(step.on_error):
        yield "on error " + _way(clause, label)


def _way(clause: Clause, label: str) -> str:
    when = "" if not label else f"{label} " if label == "else" else f"when {label} "
    return f"{when}-> {', '.join(edge.target for edge in clause.edges) or 'nowhere'}"


def _step_data(graph: Graph, step: Step) -> dict[str, Any]:
    data: dict[str, Any] = {"step": step.name, "type": step.type, "line": step.line}
    if step.desc:
        data["desc"] = step.desc
    if step.task:
        data["task"] = step.task
    if step.loops:
        data["loop"] = [_loop_data(loop) for loop in step.loops]
    data["join"] = step.name in graph.joins
    data["handler"] = step.name in graph.handlers
    data["next"] = [_clause_data(clause) for clause in step.next]
    data["on_error"] = "continue" if step.on_error_continue else [_clause_data(clause) for clause in step.on_error]
    return data


def _loop_data(loop: Loop) -> dict[str, Any]:
    return {
        "in": expression(loop.items),
        "iterator": loop.iterator,
        "mode": "sequential" if loop.sequential else "async",
    }


def _clause_data(clause: Clause) -> dict[str, Any]:
    when = None if clause.when is None else expression(clause.when)
    return {"when": when, "then": [edge.target for edge in clause.edges]}
