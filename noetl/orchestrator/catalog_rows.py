"""The rows that the catalog keeps of a playbook: steps, edges and tasks, as they stand in the file."""

from collections.abc import Iterator, Mapping
from typing import Any

from noetl.playbook.load import read_document
from noetl.playbook.model import Clause, Graph, Playbook

Rows = list[dict[str, Any]]


def materialize(playbook: Playbook, content: str) -> tuple[Rows, Rows, Rows]:
    """Return the rows of `workflow`, `transition` and `workbook` of a checked playbook."""
    root, _problems = read_document(content, playbook.path)
    document: Mapping[str, Any] = root.plain() if root is not None else {}
    steps: Rows = []
    edges: Rows = []
    for phase, graph in (("workflow", playbook.workflow), ("finally", playbook.finally_)):
        if graph is not None:
            specs = {spec.get("step"): spec for spec in document.get(phase) or []}
            steps += _steps(phase, graph, specs)
            edges += _edges(graph, specs)
    tasks = [
        {"task_name": task.get("name"), "task_type": task.get("type"), "spec": task}
        for task in document.get("workbook") or []
    ]
    return steps, edges, tasks


def _steps(phase: str, graph: Graph, specs: Mapping[str, object]) -> Rows:
    return [
        {
            "node_id": step.name,
            "node_type": step.type,
            "phase": phase,
            "position": graph.order[step.name],
            "description": step.desc,
            "spec": specs.get(step.name),
        }
        for step in graph.steps.values()
    ]


def _edges(graph: Graph, specs: Mapping[str, Any]) -> Rows:
    rows: Rows = []
    for step in graph.steps.values():
        spec = specs.get(step.name) or {}
        for kind, clauses in (("next", step.next), ("on_error", step.on_error)):
            conditions = list(_conditions(spec.get(kind), clauses))
            for clause, condition in zip(clauses, conditions, strict=True):
                rows += [
                    {
                        "edge": edge.number,
                        "from_node": edge.source,
                        "to_node": edge.target,
                        "kind": kind,
                        "condition": condition,
                        "args": _args(spec.get(kind), edge.target),
                    }
                    for edge in clause.edges
                ]
    return rows


def _conditions(spec: object, clauses: tuple[Clause, ...]) -> Iterator[str | None]:
    """Yield each clause's `when` as it is written, None for those without."""
    written = spec if isinstance(spec, list) else [spec]
    for place, clause in enumerate(clauses):
        entry = written[place] if place < len(written) else None
        when = entry.get("when") if isinstance(entry, dict) else None
        yield str(when) if clause.when is not None and when is not None else None


def _args(spec: object, target: str) -> Any:
    """Return the args written for the first way to a target, as they stand in the file."""
    todo = [spec]
    while todo:
        one = todo.pop(0)
        if isinstance(one, list):
            todo = [*one, *todo]
        elif isinstance(one, dict):
            if one.get("step") == target:
                return one.get("args")
            todo = [one.get("then"), one.get("else"), *todo]
    return None
