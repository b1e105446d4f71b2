"""The lines of a playbook's file at which the code of its steps begins: tracebacks name the file's own lines."""

from collections.abc import Iterator

from noetl.playbook.load import read_document
from noetl.playbook.yaml.tree import Node


def code_lines(text: str, filename: str) -> dict[str, int]:
    """Return {step: lines of the file before the first line of its code}, for code written as a block (`code: |`).

    The code of a step that runs a task of the workbook is the task's.
    """
    root, _problems = read_document(text, filename)
    if root is None or root.kind != "mapping":
        return {}
    tasks = dict(_named(root.value.get("workbook"), "name"))
    lines = {}
    for phase in ("workflow", "finally"):
        for name, step in _named(root.value.get(phase), "step"):
            task = step.value.get("task")
            holder = tasks.get(str(task.value), step) if task is not None else step
            code = holder.value.get("code")
            if code is not None and code.block and not code.apart:
                lines[name] = code.line
    return lines


def _named(node_list: Node | None, key: str) -> Iterator[tuple[str, Node]]:
    """Yield the mappings of a list with the name that each has under a key."""
    for node in node_list.value if node_list is not None and node_list.kind == "list" else ():
        if node.kind == "mapping" and (name := node.value.get(key)) is not None:
            yield str(name.value), node
