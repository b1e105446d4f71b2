"""The parser of templates: it refuses what is not available, collects the names, and finds single expressions."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import jinja2
from jinja2 import nodes

from noetl.errors import InputError
from noetl.playbook.suggest import did_you_mean
from noetl.playbook.templates.conditions import guarded_condition
from noetl.playbook.templates.filter_table import FILTERS
from noetl.playbook.templates.internal_calls import internal_call
from noetl.playbook.templates.sandbox import ENVIRONMENT, MAPPING_METHODS
from noetl.playbook.templates.secret_references import REFERENCE_CALL, read_source

ANY_RESULT: Final = "*"
"""Stands in `names` where a template reads `results` in a way that does not say which: supply all of them."""

_NO_NODES: Final[dict[type[nodes.Node], str]] = {
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "from ... import",
    nodes.Extends: "extends",
    nodes.Block: "block",
}
_RETURN: Final = "\ue00d"
"""Stands for a carriage return while Jinja reads a text: its lexer would drop it."""

_CARRIERS: Final = (
    *(nodes.Template, nodes.Output, nodes.Concat, nodes.Add, nodes.CondExpr, nodes.If, nodes.For),
    *(nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair),
)
"""What gives a value on as it is, or as part of a text: where `secret()` may stand."""
_LOOKED_AT: Final = frozenset({"test", "iter", "target", "key"})
"""The parts of those that are looked at instead."""

_NODES_PER_STEP: Final = 16


class UnreadableTemplate(Exception):
    """A template cannot be read. `line` counts from 1 in the template."""

    def __init__(self, reason: str, line: int) -> None:
        self.reason = reason
        self.line = line
        super().__init__(reason)


@dataclass(slots=True)
class Parsed:
    """A template's tree, ready to be compiled. `is_expression`: it is exactly one expression."""

    tree: nodes.Template
    is_expression: bool
    names: frozenset[str]


def parse(text: str, is_condition: bool = False) -> Parsed:
    """Return the tree of a template; `is_condition`: of a condition, if it is one expression.

    Raises `UnreadableTemplate`.
    """
    returns = "\r" in text and _RETURN not in text
    if returns:
        text = text.replace("\r", _RETURN)
    stripped = text.rstrip("\n")
    try:
        if stripped.startswith("{{") and stripped.endswith("}}"):
            tree = ENVIRONMENT.parse(stripped)
            if _is_one_expression(tree):
                names = _prepare(tree, text, returns)
                if is_condition:
                    _guard(tree)
                return Parsed(tree, True, names)
        tree = ENVIRONMENT.parse(text)
        return Parsed(tree, False, _prepare(tree, text, returns))
    except jinja2.TemplateSyntaxError as error:
        raise UnreadableTemplate(error.message or "it cannot be read", error.lineno) from None
    except RecursionError:
        raise UnreadableTemplate("it is nested too deeply", 1) from None


def _guard(tree: Any) -> None:
    """Refuse text that could be meant as true and as false wherever it decides a condition."""
    output = tree.body[0]
    output.nodes[0] = guarded_condition(output.nodes[0])


def _is_one_expression(tree: nodes.Template) -> bool:
    if len(tree.body) != 1 or not isinstance(tree.body[0], nodes.Output):
        return False
    parts = tree.body[0].nodes
    return len(parts) == 1 and not isinstance(parts[0], nodes.TemplateData)


def _prepare(tree: nodes.Template, text: str, returns: bool) -> frozenset[str]:
    """Refuse what templates of playbooks have not, bound the loops, and return the names that are read.

    Those behind `results['x']` are among them as `x`. Names that the template itself assigns may be too: who
    supplies values gives those that exist.
    """
    names: set[str] = {REFERENCE_CALL} if "secret" in text and _refer(tree, True) else set()
    opaque = 0  # uses of `results` that do not say which step they mean
    for node in _walk(tree):
        if isinstance(node, nodes.Name):
            if node.ctx == "load":
                names.add(node.name)
                opaque += node.name == "results"
        elif isinstance(node, (nodes.Getattr, nodes.Getitem)):
            step = _step_of_results(node)
            if step is not None:
                names.add(step)
                opaque -= 1
        elif isinstance(node, (nodes.TemplateData, nodes.Const)):
            if returns:
                _put_returns_back(node)
        elif isinstance(node, nodes.For):
            if node.recursive:
                raise jinja2.TemplateSyntaxError("a recursive loop is not available", node.lineno)
            node.iter = internal_call("iterate", node.iter, nodes.Const(_weight(node)), line=node.lineno)
        elif isinstance(node, (nodes.Macro, nodes.CallBlock)):
            line = node.lineno
            charge = nodes.ExprStmt(internal_call("take", nodes.Const(_weight(node)), line=line), lineno=line)
            node.body = [charge, *node.body]
        else:
            _check(node)
    if opaque:
        names.add(ANY_RESULT)
    return frozenset(names)


def _refer(node: nodes.Node, placed: bool) -> bool:
    """Turn every call of `secret` into the filter that makes a reference; return whether there was one.

    `placed`: whether a value in this place is given on. Elsewhere a reference would be looked at instead of the
    secret: an error.
    """
    referred = False
    placed = placed and (isinstance(node, _CARRIERS) or _keeps(node))
    for name, value in node.iter_fields():
        many = value if isinstance(value, list) else None
        for index, child in enumerate(many if many is not None else [value]):
            if not isinstance(child, nodes.Node):
                continue
            if not _calls_secret(child):
                referred |= _refer(child, placed and name not in _LOOKED_AT)
                continue
            made = _reference(child, placed and name not in _LOOKED_AT)
            if many is not None:
                many[index] = made
            else:
                setattr(node, name, made)
            referred = True
    return referred


def _keeps(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Filter) and node.name in FILTERS and FILTERS[node.name].keeps_references


def _calls_secret(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name == "secret"


def _reference(call: Any, placed: bool) -> nodes.Call:
    line = call.lineno
    if len(call.args) != 1 or call.kwargs or call.dyn_args or call.dyn_kwargs:
        raise jinja2.TemplateSyntaxError("secret() takes one text: the name of a credential, 'env:NAME' ...", line)
    if not placed:
        raise jinja2.TemplateSyntaxError(
            "secret() is put in when the call is made: no filter, test or key can see its value, pass it on as it is",
            line,
        )
    source = call.args[0]
    if isinstance(source, nodes.Const):
        try:
            read_source(source.value)
        except InputError as error:
            raise jinja2.TemplateSyntaxError(str(error), line) from None
    _refer(nodes.Output([source], lineno=line), False)
    return internal_call("refer", source, line=line)


def _put_returns_back(node: nodes.TemplateData | nodes.Const) -> None:
    if isinstance(node, nodes.TemplateData):
        node.data = node.data.replace(_RETURN, "\r")
    elif isinstance(node.value, str):
        node.value = node.value.replace(_RETURN, "\r")


def _walk(tree: nodes.Node) -> Iterator[nodes.Node]:
    stack: list[nodes.Node] = [tree]
    while stack:
        node = stack.pop()
        stack.extend(node.iter_child_nodes())
        yield node


def _weight(node: nodes.Node) -> int:
    """Return the steps that one round or call of a node costs, beside those of its operations."""
    return 1 + sum(1 for _ in _walk(node)) // _NODES_PER_STEP


def _check(node: nodes.Node) -> None:
    statement = _NO_NODES.get(type(node))
    if statement:
        raise jinja2.TemplateSyntaxError(f"'{statement}' is not available: a template stands alone", node.lineno)
    if isinstance(node, (nodes.Filter, nodes.Test)):
        kind = "filter" if isinstance(node, nodes.Filter) else "test"
        known = ENVIRONMENT.filters if kind == "filter" else ENVIRONMENT.tests
        if node.name not in known:
            raise jinja2.TemplateSyntaxError(f"no {kind} {node.name!r}{did_you_mean(node.name, known)}", node.lineno)


def _step_of_results(node: Any) -> str | None:
    """Return `x` of `results.x` and `results['x']`."""
    if not isinstance(node.node, nodes.Name) or node.node.name != "results":
        return None
    if isinstance(node, nodes.Getattr):
        return None if node.attr in MAPPING_METHODS else node.attr
    return node.arg.value if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str) else None
