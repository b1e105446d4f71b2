"""The reader of Python code: it checks the syntax, with the line in the file, and that there is a `main`."""

import ast
import warnings
from collections.abc import Iterator
from functools import lru_cache

from noetl.playbook.lint.codes import Code
from noetl.playbook.read.reader import Reader
from noetl.playbook.yaml.tree import Node

MAIN_FUNCTION = "main"


@lru_cache(maxsize=1024)
def parsed(code: str) -> ast.Module:
    """Return the tree of some code. Raises what Python raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(code)


def check(reader: Reader, node: Node, label: str) -> None:
    """Report problems of the code of a python step."""
    code: str = node.value
    try:
        tree = parsed(code)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(tree, "<code>", "exec", dont_inherit=True)
    except SyntaxError as error:
        line, column = place_of(reader, node, error.lineno or 1, error.offset or 1, code)
        where = f" (line {error.lineno} of the decoded text)" if node.apart else ""
        template = " (code is never a template: give the value in 'args')" if "{{" in (error.text or "") else ""
        reader.report(line, column, "error", Code.PYTHON, f"code of {label}: {error.msg}{where}{template}")
        return
    except (RecursionError, MemoryError):
        reader.error(node, Code.PYTHON, f"code of {label} is nested too deeply")
        return
    except ValueError as error:
        reader.error(node, Code.PYTHON, f"code of {label}: {error}")
        return
    bound = list(bindings(tree.body))
    if MAIN_FUNCTION not in (name for name, _ in bound) and "*" not in (name for name, _ in bound):
        reader.error(node, Code.PYTHON, f"code of {label} has no 'def main(...)': the step calls it")


def bindings(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """Yield the names that statements bind at the module's level, with the statement."""
    for statement in body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield statement.name, statement
        elif isinstance(statement, (ast.Import, ast.ImportFrom)):
            for alias in statement.names:
                yield alias.asname or alias.name, statement
        else:
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    yield node.id, statement
            for name in ("body", "orelse", "finalbody"):
                yield from bindings(getattr(statement, name, []))
            for handler in getattr(statement, "handlers", []):
                yield from bindings(handler.body)


def place_of(reader: Reader, node: Node, line: int, column: int, code: str) -> tuple[int, int]:
    """Return line and column in the file of a place in the code."""
    if node.apart:
        return node.line, node.column
    if not node.block:
        return (node.line, node.column) if line == 1 else (node.line + line - 1, 1)
    place = node.line + line
    texts = code.splitlines()
    if place > len(reader.lines) or line > len(texts):
        return min(place, max(len(reader.lines), 1)), 1
    indent = len(reader.lines[place - 1]) - len(texts[line - 1])
    return place, column + max(indent, 0)
