"""Playbooks of a later generation, which this program does not read: one sentence instead of an error per line.

They say `apiVersion: noetl.io/v2`, and their steps hold a mapping `tool: {kind: ..., ...}` in place of `type`.
"""

import re
from collections.abc import Iterator
from typing import Final

from noetl.errors import Problem
from noetl.playbook.lint.codes import Code
from noetl.playbook.read.document import API_VERSION
from noetl.playbook.yaml.tree import Node

_VERSION: Final = re.compile(r"noetl\.io/v[0-9]\w*")
_SECTIONS: Final = ("workflow", "steps", "finally", "workbook")
_ADVICE: Final = (
    f"this program reads {API_VERSION}, where a step says 'type: python' and has the tool's fields beside it:"
    " rewrite the file so, or run it with the NoETL that it was written for"
)


def later_generation(root: Node, filename: str) -> Problem | None:
    """Return the one problem of a playbook of a later generation; None for every other document."""
    if root.kind != "mapping":
        return None
    version, kind = root.value.get("apiVersion"), root.value.get("kind")
    named = version.value if version is not None and isinstance(version.value, str) else ""
    if version is not None and _VERSION.fullmatch(named) and named != API_VERSION:
        label = f"apiVersion {named}" + (f", kind {kind.text}" if kind is not None and kind.kind == "scalar" else "")
        return _problem(filename, version, f"the file is of another generation ({label}): {_ADVICE}")
    tool = next(_tools(root), None)
    if tool is None:
        return None
    return _problem(filename, tool, f"the file is of a later generation ('tool' holds a {tool.kind}): {_ADVICE}")


def _problem(filename: str, node: Node, message: str) -> Problem:
    return Problem(filename, node.line, node.column, "error", Code.GENERATION, message)


def _tools(root: Node) -> Iterator[Node]:
    """Yield the values of `tool` that are no names."""
    for section in _SECTIONS:
        steps = root.value.get(section)
        for step in steps.value if steps is not None and steps.kind == "list" else ():
            if step.kind == "mapping" and "tool" in step.value and step.value["tool"].kind != "scalar":
                yield step.value["tool"]
