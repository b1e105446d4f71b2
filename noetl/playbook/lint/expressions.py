"""The check of expressions that parse and never work: methods of Python, arithmetic with text, unknown functions.

Each sentence names the filter or the way that does it here, where there is one.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

import jinja2
from jinja2 import nodes

from noetl.playbook.lint.codes import Code
from noetl.playbook.lint.source import PlaybookSource
from noetl.playbook.lint.template_reads import OWN_NAMES
from noetl.playbook.read.reader import Reader
from noetl.playbook.step_types import fields_of
from noetl.playbook.templates.filter_table import FILTERS, Gives
from noetl.playbook.templates.functions import TEXT_FUNCTIONS
from noetl.playbook.templates.sandbox import ENVIRONMENT, MAPPING_METHODS
from noetl.playbook.templates.template import UnreadableTemplate, is_template, program
from noetl.playbook.yaml.tree import Node

Misuse = tuple[int, str, str]
"""Where it stands in the template's text, the word that stands there, and the sentence."""

_PLAIN_TEMPLATE: Final = re.compile(r"[^(\"'|~]*")
"""Templates with neither calls, filters nor text in them: nothing is known of what their operators get."""

_PYTHON_ADVICE: Final = "a python step does that"
_METHOD_ADVICE: Final[Mapping[str, str]] = {
    "strip": "write '| trim'",
    "lstrip": "write '| trim'",
    "rstrip": "write '| trim'",
    "format": "write '\"%s and %s\" | format(a, b)'",
    "join": "write 'items | join(\", \")'",
    "append": "write 'items + [item]'",
    "extend": "write 'items + others'",
    "update": "write 'dict(a, key=value)'",
    "startswith": "write 'text[:3] == \"abc\"'",
    "endswith": "write 'text[-3:] == \"abc\"'",
    "find": "write '\"abc\" in text'",
    "index": "write '\"abc\" in text'",
    "count": "write '| length', behind a filter as select",
    "isoformat": "leave it out, times are text by ISO 8601",
    "copy": "leave it out, nothing can be changed",
}
_FUNCTION_FILTERS: Final[Mapping[str, str]] = {
    "len": "length",
    "str": "string",
    "sorted": "sort",
    "reversed": "reverse",
    "json": "tojson",
    "to_json": "tojson",
    "from_json": "fromjson",
    "datetime": "now",
}
_NEVER_TAKEN: Final = frozenset({("number", "items"), ("number", "mapping"), ("text", "mapping"), ("text", "number")})
"""Kinds of values that no filter takes which takes another kind."""

_KIND_NAMES: Final[Mapping[str, str]] = {
    "text": "text",
    "number": "a number",
    "mapping": "a mapping",
    "items": "a list, a mapping or text",
}
_CHECKED_NODES: Final = (nodes.Call, nodes.Filter, nodes.BinExpr, nodes.Compare)
_ARITHMETIC_SIGNS: Final[Mapping[type[nodes.BinExpr], str]] = {
    nodes.Sub: "-",
    nodes.Div: "/",
    nodes.FloorDiv: "//",
    nodes.Pow: "**",
}


def check_expressions(source: PlaybookSource) -> None:
    """Report expressions that never work in the workload, steps and tasks."""
    if source.workload is not None:
        _check_below(source.reader, source.workload, "workload")
    for owner in source.steps_and_tasks:
        raw = {name for name, spec in fields_of(owner.type).items() if spec.raw}
        for key, value in owner.node.value.items():
            if key not in raw:
                _check_below(source.reader, value, f"{key} of {owner.label}")


def _check_below(reader: Reader, node: Node, label: str) -> None:
    """Report the misuses in the templates below a node."""
    for scalar in node.texts():
        for index, word, message in misuses_of(scalar.value):
            reader.report_token(scalar, index, word, "error", Code.TEMPLATE, f"{label}: {message}")


@lru_cache(maxsize=4096)
def misuses_of(text: str) -> tuple[Misuse, ...]:
    """Return the misuses in a template; none for a text that is no template, or cannot be parsed.

    >>> misuses_of("{{ name.upper() }}")
    ((8, 'upper', "text, lists and mappings have no methods: write '| upper'"),)
    """
    if not is_template(text) or _PLAIN_TEMPLATE.fullmatch(text):
        return ()
    try:
        tree = program(text, False).tree or ENVIRONMENT.parse(text)
    except (UnreadableTemplate, jinja2.TemplateSyntaxError, RecursionError):
        return ()
    own = OWN_NAMES | {"secret"} | {node.name for node in tree.find_all(nodes.Macro)}
    own |= {node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"}
    places = _Places(text)
    misuses = [misuse for node in tree.find_all(_CHECKED_NODES) for misuse in _misuses(node, own)]
    return tuple((*places.take(word, sign), message) for word, sign, message in misuses)


class _Places:
    """The places of words in a text: the first time, then the next, each time they are taken."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at: dict[str, int] = {}

    def take(self, word: str, pattern: str) -> tuple[int, str]:
        match = re.compile(pattern).search(self._text, self._at.get(pattern, 0))
        if match is None:
            return 0, word
        self._at[pattern] = match.end()
        return match.start("word"), word


def _misuses(node: nodes.Node, own: frozenset[str]) -> Iterator[tuple[str, str, str]]:
    """Yield word, pattern of its position and message of each misuse in a node."""
    if isinstance(node, nodes.Call):
        yield from _call(node.node, own)
    elif isinstance(node, nodes.Filter):
        yield from _filter(node)
    elif isinstance(node, nodes.Add):
        if {_kind(node.left), _kind(node.right)} == {"text", "number"}:
            yield (
                "+",
                r"(?P<word>\+)",
                "text and a number cannot be added: write '~' to join them, or '| int' on the text",
            )
    elif type(node) in _ARITHMETIC_SIGNS and isinstance(node, nodes.BinExpr):
        sign = _ARITHMETIC_SIGNS[type(node)]
        if "text" in (_kind(node.left), _kind(node.right)):
            yield sign, rf"(?P<word>{re.escape(sign)})(?!\w*%)", f"{sign!r} with text never works: {_instead(node)}"
    elif isinstance(node, nodes.Compare):
        kinds = {_kind(node.expr), *(_kind(one.expr) for one in node.ops)}
        signs = [{"lt": "<", "lteq": "<=", "gt": ">", "gteq": ">="}.get(one.op, "") for one in node.ops]
        if kinds == {"text", "number"} and signs[0]:
            message = f"text and a number cannot be compared by {signs[0]!r}: write '| int' on the text"
            yield signs[0], rf"(?P<word>{re.escape(signs[0])})", message


def _call(called: nodes.Node, own: frozenset[str]) -> Iterator[tuple[str, str, str]]:
    if isinstance(called, nodes.Getattr) and called.attr not in MAPPING_METHODS:
        if not (isinstance(called.node, nodes.Name) and called.node.name in own):
            message = f"text, lists and mappings have no methods: {_method(called.attr)}"
            yield called.attr, rf"\.\s*(?P<word>{re.escape(called.attr)})\s*\(", message
    elif isinstance(called, nodes.Name) and called.name not in own and called.name not in ENVIRONMENT.globals:
        message = f"there is no function {called.name!r}: {_function(called.name)}"
        yield called.name, rf"(?<![\w.])(?P<word>{re.escape(called.name)})\s*\(", message


def _filter(node: nodes.Filter) -> Iterator[tuple[str, str, str]]:
    """Yield the misuse of a filter that never takes the kind of value before it."""
    if node.name in FILTERS and node.node is not None:
        kind, takes = _kind(node.node), FILTERS[node.name].takes
        if (kind, takes) in _NEVER_TAKEN:
            message = f"'| {node.name}' takes {_KIND_NAMES[takes]}, never {_KIND_NAMES[kind]}"
            yield node.name, rf"\|\s*(?P<word>{re.escape(node.name)})\b", message


def _method(name: str) -> str:
    if name in ENVIRONMENT.filters:
        return _METHOD_ADVICE[name] if name in ("format", "join") else f"write '| {name}'"
    if name == "strftime" or name.startswith("now"):
        return "write now('%Y-%m-%d')"
    return _METHOD_ADVICE.get(name, _PYTHON_ADVICE)


def _function(name: str) -> str:
    known = _FUNCTION_FILTERS.get(name, name)
    if known in ENVIRONMENT.globals:
        return f"write {known}()"
    return f"write '| {known}'" if known in ENVIRONMENT.filters else _PYTHON_ADVICE


def _instead(node: nodes.BinExpr) -> str:
    for side in (node.left, node.right):
        if isinstance(side, nodes.Call) and isinstance(side.node, nodes.Name) and side.node.name == "now":
            filter_name = next((name for name in ("date_sub", "date_add") if name in ENVIRONMENT.filters), "")
            return f"now() is text by ISO 8601, {f'write | {filter_name}(...)' if filter_name else _PYTHON_ADVICE}"
    return "write '| int' or '| float' on it"


def _kind(node: nodes.Node) -> Gives:
    """Return the kind of value that an expression surely gives, `any` where that is not known."""
    match node:
        case nodes.Const(value=str()) | nodes.Concat():
            return "text"
        case nodes.Const(value=bool()):
            return "any"
        case nodes.Const(value=int() | float()):
            return "number"
        case nodes.Call(node=nodes.Name(name=name)) if name in TEXT_FUNCTIONS:
            return "text"
        case nodes.Filter(name=name) if name in FILTERS:
            return FILTERS[name].gives
        case _:
            return "any"
