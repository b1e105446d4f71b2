"""Shapes of results that are known before anything has run: fixed ones of types, and dicts that python code writes out.

None stands for "anything": most results are known only when they are there, and then lint says nothing.
"""

import ast
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from noetl.playbook.read.python_code import MAIN_FUNCTION, bindings, parsed
from noetl.playbook.shapes import Shape, shape_of
from noetl.playbook.step_types import STEP_TYPES
from noetl.playbook.yaml.tree import Node
from noetl.words import ROUTER

LOOP: Final = Shape(shape_of("result", "results", "data", "count", "errors").keys, listed=True)
ERROR: Final = shape_of(
    "type", "message", "step", "attempt", "retryable", "detail", "phase", "item", "item_index", "index", "traceback"
)
JOB: Final = shape_of("id", "uuid")


def result_shape(type_: str, node: Node, code: str | None) -> Shape | None:
    """Return the known shape of a step's result; `code` is that of its task, where it has none itself."""
    if "loop" in node.value:
        return LOOP
    if type_ == "python":
        own = node.value.get("code")
        text = own.value if own is not None else code
        return returned(text) if isinstance(text, str) else None
    if type_ == ROUTER:
        return literal(node.value.get("result"))
    return STEP_TYPES[type_].result if type_ in STEP_TYPES else None


def literal(node: Node | None) -> Shape | None:
    """Return the shape of a mapping that is written out in the playbook; templates in it can be anything."""
    if node is None or node.kind != "mapping":
        return None
    return Shape({key: literal(value) for key, value in node.value.items()})


# ---- python ----------------------------------------------------------------------------------------------------------


def main_of(code: str) -> ast.FunctionDef | None:
    """Return the function `main`, None where the step may call another: it is defined once, plainly, undecorated."""
    try:
        tree = parsed(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    definitions = [statement for name, statement in bindings(tree.body) if name in (MAIN_FUNCTION, "*")]
    if len(definitions) != 1 or definitions[0] not in tree.body:
        return None
    main = definitions[0]
    return main if isinstance(main, ast.FunctionDef) and not main.decorator_list else None


@lru_cache(maxsize=1024)
def returned(code: str) -> Shape | None:
    """Return the keys of the dicts that `main` returns, where every return writes one out."""
    main = main_of(code)
    if main is None:
        return None
    inside = list(_own_nodes(main.body))
    if any(isinstance(node, (ast.Yield, ast.YieldFrom)) for node in inside):
        return None
    values = [node.value for node in inside if isinstance(node, ast.Return)]
    return _union(values) if values else None


def _own_nodes(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Yield the nodes of a function's body, those of inner functions and classes left out."""
    stack: list[ast.AST] = list(body)
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            stack.extend(ast.iter_child_nodes(node))


def _union(values: list[ast.expr | None]) -> Shape | None:
    """Return the shape of dicts that are written out; None where one of the values is anything else."""
    keys: dict[str, list[ast.expr | None]] = {}
    for value in values:
        if not isinstance(value, ast.Dict):
            return None
        for key, inner in zip(value.keys, value.values, strict=True):
            if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
                return None
            keys.setdefault(key.value, []).append(inner)
    return Shape({key: _union(inner) for key, inner in keys.items()})
