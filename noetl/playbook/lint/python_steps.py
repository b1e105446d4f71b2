"""The check of Python code that parses and never works: undefined names, and templates, which code never is."""

import ast
import re
import sys
from collections.abc import Collection, Iterator
from typing import Final

from noetl.playbook.lint.codes import Code
from noetl.playbook.lint.source import PlaybookSource
from noetl.playbook.read.python_code import parsed, place_of
from noetl.playbook.read.python_names import undefined_names
from noetl.playbook.read.reader import Reader
from noetl.playbook.suggest import did_you_mean
from noetl.playbook.yaml.tree import Node

_IN_TEXT: Final = re.compile(r"\{\{-?\s*(\w+)[^{}]*\}\}")
_TEMPLATE_NAMES: Final = frozenset({"workload", "results", "env", "secret", "job", "execution_id"})
_RENDERING_CODE: Final = re.compile(r"jinja|Template|\.format\(|render|Environment")
_ARGS_ADVICE: Final = "code is never a template: take the value as a parameter of main, and give it in 'args'"


def check_python_steps(source: PlaybookSource) -> None:
    """Report undefined names and templates in the code of python steps and tasks."""
    names = {*source.workload_keys, *(step.name for steps in source.lists for step in steps.steps)}
    for owner in source.steps_and_tasks:
        if owner.type == "python":
            _check_code(source.reader, owner.node, owner.label, names)


def _check_code(reader: Reader, owner: Node, label: str, names: Collection[str]) -> None:
    """Report undefined names and templates in code; `names` are those that templates of the step could read."""
    node = owner.value.get("code")
    if node is None or not isinstance(node.value, str):
        return
    code, args_node = node.value, owner.value.get("args")
    args = args_node.value.keys() if args_node is not None and args_node.kind == "mapping" else ()
    try:
        tree = parsed(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # reported by who read it
    for name in undefined_names(code):
        _report(
            reader, node, name, "error", f"code of {label}: {name.id!r} is not defined{_meant(name.id, tree, args)}"
        )
    for expression, message in (
        _templates(tree, names if not _RENDERING_CODE.search(code) else ()) if "{{" in code else ()
    ):
        severity = "error" if isinstance(expression, ast.Set) else "warning"
        _report(reader, node, expression, severity, f"code of {label}: {message}: {_ARGS_ADVICE}")


def _report(reader: Reader, node: Node, expression: ast.expr, severity: str, message: str) -> None:
    column = len(_line(node.value, expression.lineno).encode()[: expression.col_offset].decode(errors="ignore")) + 1
    reader.report(*place_of(reader, node, expression.lineno, column, node.value), severity, Code.PYTHON, message)


def _line(code: str, number: int) -> str:
    lines = code.splitlines()
    return lines[number - 1] if number <= len(lines) else ""


def _meant(name: str, tree: ast.Module, args: Collection[str]) -> str:
    if name in args:
        return ": args are no globals, take it as a parameter of main"
    if name in sys.stdlib_module_names:
        return f": write 'import {name}'"
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    bound |= {
        alias.asname or alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    return did_you_mean(name, bound)


def _templates(tree: ast.Module, names: Collection[str]) -> Iterator[tuple[ast.expr, str]]:
    """Yield expressions that look like templates: a set in a set (`{{ x }}` to Python), and texts with one in them."""
    formatted = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.Set) and any(isinstance(one, (ast.Set, ast.Dict)) for one in node.elts):
            yield node, "'{{ ... }}' is a set within a set to Python, which cannot be"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in formatted and names:
            match = _IN_TEXT.search(node.value)
            if match and (match[1] in names or match[1] in _TEMPLATE_NAMES):
                yield node, f"the text {match[0][:60]!r} stays as it is"
