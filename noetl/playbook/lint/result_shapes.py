"""What is known of results before anything has run: the fixed shapes of tools, and what python code writes out.

None stands for "anything": most results are known only when they are there, and then lint says nothing.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from noetl.playbook.read.python_code import MAIN, bindings, parsed
from noetl.playbook.yaml.tree import Node
from noetl.words import ROUTER


@dataclass(frozen=True, slots=True)
class Shape:
    """A mapping with these keys and no others; or, with `listed`, a list that has these names beside its items.

    `numbered`: keys that match it are there, too, all of one shape.
    """

    keys: Mapping[str, "Shape | None"]
    listed: bool = False
    numbered: tuple[re.Pattern[str], "Shape | None"] | None = None

    def has(self, key: str) -> bool:
        return key in self.keys or bool(self.numbered and self.numbered[0].fullmatch(key))

    def inner(self, key: str) -> "Shape | None":
        """Return the shape behind a key that is there."""
        return self.keys[key] if key in self.keys else self.numbered[1] if self.numbered else None


def _of(*keys: str, **inner: "Shape | None") -> Shape:
    return Shape(MappingProxyType({**dict.fromkeys(keys), **inner}))


_COMMAND: Final = _of("status", "rows", "row_count", "columns")
_SQL: Final = Shape(_of("executed_commands").keys, numbered=(re.compile(r"command_\d+"), _COMMAND))
_PROCESS: Final = _of("exit_code", "stdout", "stderr")

TOOLS: Final[Mapping[str, Shape]] = {
    "http": _of("status_code", "headers", "url", "elapsed", "data"),
    "postgres": _SQL,
    "duckdb": _SQL,
    "secrets": _of("secret_value", "version", "provider"),
    "save": _of("saved", "data", "table", "path", "row_count"),
    "shell": _PROCESS,
    "container": _PROCESS,
}
"""The results of tools that are the same whatever they did."""

LOOP: Final = Shape(_of("result", "results", "data", "count", "errors").keys, listed=True)
ERROR: Final = _of(
    "type", "message", "step", "attempt", "retryable", "detail", "phase", "item", "item_index", "index", "traceback"
)
JOB: Final = _of("id", "uuid")


def result_shape(type_: str, node: Node, code: str | None) -> Shape | None:
    """Return what the result of a step is known to be; `code` is that of its task, where it has none itself."""
    if "loop" in node.value:
        return LOOP
    if type_ == "python":
        own = node.value.get("code")
        text = own.value if own is not None else code
        return returned(text) if isinstance(text, str) else None
    if type_ == ROUTER:
        return literal(node.value.get("result"))
    return TOOLS.get(type_)


def literal(node: Node | None) -> Shape | None:
    """Return the shape of a mapping that is written out in the playbook; templates in it can be anything."""
    if node is None or node.kind != "mapping":
        return None
    return Shape({key: literal(value) for key, value in node.value.items()})


# ---- python ----------------------------------------------------------------------------------------------------------


def main_of(code: str) -> ast.FunctionDef | None:
    """Return the function `main` where it is surely what the step calls: defined once, plainly, undecorated."""
    try:
        tree = parsed(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    found = [statement for name, statement in bindings(tree.body) if name in (MAIN, "*")]
    if len(found) != 1 or found[0] not in tree.body:
        return None
    main = found[0]
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
    """Yield what a function's body consists of, other functions and classes left out."""
    stack: list[ast.AST] = list(body)
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            stack.extend(ast.iter_child_nodes(node))


def _union(values: list[ast.expr | None]) -> Shape | None:
    """Return the shape of values of which each is a dict that is written out; None where one is not."""
    keys: dict[str, list[ast.expr | None]] = {}
    for value in values:
        if not isinstance(value, ast.Dict):
            return None
        for key, inner in zip(value.keys, value.values, strict=True):
            if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
                return None
            keys.setdefault(key.value, []).append(inner)
    return Shape({key: _union(inner) for key, inner in keys.items()})
