"""The undefined names in Python code: reading one raises `NameError`.

Python's own symbol table says which names each scope takes from the module; what the module never binds, and Python
does not have, is undefined. Where code can bind names that no table shows (a star import, `exec`, `globals()`), or
expects a `NameError`, nothing is said.
"""

import ast
import builtins
import symtable
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from noetl.playbook.read.python_code import parsed

_BUILTIN_NAMES: Final = frozenset(dir(builtins)) | {"__annotations__", "__builtins__", "context"}
_BINDING_NAMES: Final = frozenset({"exec", "globals", "vars", "NameError", "UnboundLocalError"})


@lru_cache(maxsize=1024)
def undefined_names(code: str) -> tuple[ast.Name, ...]:
    """Return the first use of each name that nothing defines, in the order of the code; of what does not parse, none.

    >>> [name.id for name in undefined_names("def main(x): return jsn.dumps(x)")]
    ['jsn']
    """
    try:
        tree = parsed(code)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = symtable.symtable(code, "<code>", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    used = list(_used(tree))
    if any(name.id in _BINDING_NAMES for name in used) or any(alias.name == "*" for alias in _imported(tree)):
        return ()
    tables = list(_tables(table))
    bound = {one.get_name() for one in table.get_symbols() if one.is_assigned() or one.is_imported()}
    bound |= {
        one.get_name()
        for inner in tables
        for one in inner.get_symbols()
        if one.is_declared_global() and (one.is_assigned() or one.is_imported())
    }
    wanted = {
        one.get_name() for inner in tables for one in inner.get_symbols() if one.is_referenced() and _global(inner, one)
    }
    missing = wanted - bound - _BUILTIN_NAMES
    first: dict[str, ast.Name] = {}
    for name in used:
        if name.id in missing:
            first.setdefault(name.id, name)
    return tuple(first.values())


def _global(table: symtable.SymbolTable, symbol: symtable.Symbol) -> bool:
    """Whether a scope takes a name from the module."""
    return table.get_type() == "module" or symbol.is_global()


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    stack = [table]
    while stack:
        inner = stack.pop()
        stack.extend(inner.get_children())
        yield inner


def _imported(tree: ast.Module) -> Iterator[ast.alias]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from node.names


def _used(tree: ast.Module) -> list[ast.Name]:
    """Return every use of a name in the order of the code, without annotations, which may never be looked at."""
    names: list[ast.Name] = []
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            names.append(node)
        for key, value in ast.iter_fields(node):
            if key not in ("annotation", "returns"):
                stack.extend(one for one in (value if isinstance(value, list) else [value]) if isinstance(one, ast.AST))
    return sorted(names, key=lambda name: (name.lineno, name.col_offset))
