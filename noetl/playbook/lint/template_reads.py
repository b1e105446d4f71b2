"""The reads of a template: every path from a name on, whether something guards it, and its position in the text."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from typing import Final

import jinja2
from jinja2 import nodes

from noetl.playbook.templates.internal_calls import is_internal_call
from noetl.playbook.templates.sandbox import ENVIRONMENT
from noetl.playbook.templates.template import DOTTED, KEYWORDS, PARTS, UnreadableTemplate, is_template, program

Path = tuple[str | int, ...]

_DEFAULT_FILTERS: Final = ("default", "d")
OWN_NAMES: Final = frozenset({"loop", "caller", "varargs", "kwargs", "self", "super"})
"""Names that templates give a meaning themselves."""


@dataclass(frozen=True, slots=True)
class Read:
    """One use of a name, with the keys and indexes behind it.

    `guarded`: nothing happens where it is undefined. `perhaps`: it is evaluated under a condition only. `places`
    finds where name and keys stand in the template's text. `argument`: of a call with one constant, that.
    """

    name: str
    path: Path = ()
    guarded: bool = False
    perhaps: bool = False
    called: bool = False
    places: Callable[[], tuple[int, ...]] = field(default=tuple, compare=False, repr=False)
    argument: str | None = None

    @property
    def offsets(self) -> tuple[int, ...]:
        """The offsets of name and keys, computed when they are needed."""
        return self.places()


@dataclass(frozen=True, slots=True)
class Reads:
    """All that a template reads. `asked`: names of which it asks whether they are defined; `wanted`: those among
    them of which it says that they must be."""

    reads: tuple[Read, ...] = ()
    asked: frozenset[str] = frozenset()
    wanted: frozenset[str] = frozenset()


NO_READS: Final = Reads()


@lru_cache(maxsize=4096)
def reads_of(text: str) -> Reads:
    """Return the reads of a template; none for a text that is no template, or cannot be parsed."""
    if not is_template(text):
        return NO_READS
    dotted = DOTTED.fullmatch(text)
    if dotted and dotted[1] not in KEYWORDS:
        return Reads((_dotted(dotted),))
    try:
        tree = program(text, False).tree or ENVIRONMENT.parse(text)
        walk = _ReadCollector(_Positions(text), _own_names(tree) if "{%" in text else OWN_NAMES)
        walk.visit(tree, perhaps=False, guarded=False)
    except (UnreadableTemplate, jinja2.TemplateSyntaxError, RecursionError):
        return NO_READS
    return Reads(tuple(walk.found), frozenset(walk.asked), frozenset(walk.wanted))


def _dotted(match: re.Match[str]) -> Read:
    """Return the read of a template that is a single dotted path."""
    path: list[str | int] = []
    offsets = [match.start(1)]
    for part in PARTS.finditer(match[2]):
        group = part.lastindex or 0
        path.append(int(part[group]) if group == 2 else part[group])
        offsets.append(match.start(2) + part.start(group))
    return Read(match[1], tuple(path), places=lambda: tuple(offsets))


def _own_names(tree: nodes.Template) -> frozenset[str]:
    """Return the names that a template gives a meaning itself, anywhere in it: statements do that."""
    assigned = {node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"}
    return frozenset(assigned | {node.name for node in tree.find_all(nodes.Macro)}) | OWN_NAMES


class _Positions:
    """The positions of a template's paths, in the order of its text, which is lexed only where they are needed."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._used: dict[tuple[str, Path], int] = defaultdict(int)

    @cached_property
    def _chains(self) -> dict[str, list[tuple[Path, tuple[int, ...]]]]:
        chains: dict[str, list[tuple[Path, tuple[int, ...]]]] = defaultdict(list)
        tokens = list(self._tokens())
        for at, (kind, value, _) in enumerate(tokens):
            before = tokens[at - 1][1] if at else ""
            if kind == "name" and before not in (".", "|", "is"):
                chains[value].append(self._chain(tokens, at))
        return chains

    def _tokens(self) -> Iterator[tuple[str, str, int]]:
        """Yield kind, text and index of every token but spaces."""
        at = 0
        for _, kind, value in ENVIRONMENT.lex(self._text):
            place = self._text.find(value, at)
            if place < 0:
                continue  # the lexer has stripped something from it
            at = place + len(value)
            if kind not in ("whitespace", "data"):
                yield kind, value, place

    @staticmethod
    def _chain(tokens: list[tuple[str, str, int]], at: int) -> tuple[Path, tuple[int, ...]]:
        path: list[str | int] = []
        offsets = [tokens[at][2]]
        at += 1
        while at + 1 < len(tokens):
            sign, (kind, value, place) = tokens[at][1], tokens[at + 1]
            if sign == "." and kind in ("name", "integer"):
                path.append(int(value) if kind == "integer" else value)
                offsets.append(place)
                at += 2
            elif sign == "[" and kind in ("string", "integer") and at + 2 < len(tokens) and tokens[at + 2][1] == "]":
                path.append(int(value) if kind == "integer" else value[1:-1])
                offsets.append(place + (kind == "string"))
                at += 3
            else:
                break
        return tuple(path), tuple(offsets)

    def take(self, name: str, path: Path) -> Callable[[], tuple[int, ...]]:
        """Return a function that finds the next use of a path."""
        number = self._used[name, path]
        self._used[name, path] += 1
        return partial(self._find, name, path, number)

    def _find(self, name: str, path: Path, number: int) -> tuple[int, ...]:
        fitting = [places for chain, places in self._chains.get(name, ()) if chain[: len(path)] == path]
        return fitting[min(number, len(fitting) - 1)][: len(path) + 1] if fitting else ()


@dataclass(slots=True)
class _ReadCollector:
    """Collects the reads in a template's tree."""

    positions: _Positions
    own: frozenset[str]
    found: list[Read] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    wanted: set[str] = field(default_factory=set)

    def visit(self, node: nodes.Node, *, perhaps: bool, guarded: bool, negated: bool = False) -> None:
        match node:
            case nodes.Name() | nodes.Getattr() | nodes.Getitem():
                self.path(node, perhaps, guarded, called=False)
            case nodes.Filter(name=name, node=inner) if name in _DEFAULT_FILTERS and inner is not None:
                self.visit(inner, perhaps=perhaps, guarded=True)
                self.each([*node.args, *node.kwargs], perhaps=True)
            case nodes.Call(args=[source]) if is_internal_call(node, "refer"):  # a call of secret
                constant = source.value if isinstance(source, nodes.Const) else None
                places = self.positions.take("secret", ())
                self.found.append(
                    Read("secret", guarded=guarded, perhaps=perhaps, called=True, places=places, argument=constant)
                )
                self.visit(source, perhaps=perhaps, guarded=guarded)
            case nodes.Test(name="defined" | "undefined", node=inner):
                self.ask(inner, wanted=(node.name == "defined") != negated)
                self.visit(inner, perhaps=perhaps, guarded=True)
            case nodes.Call():
                self.call(node, perhaps, guarded)
            case nodes.Not(node=inner):
                self.visit(inner, perhaps=perhaps, guarded=guarded, negated=not negated)
            case nodes.And(left=left, right=right) | nodes.Or(left=left, right=right):
                self.visit(left, perhaps=perhaps, guarded=guarded, negated=negated)
                self.visit(right, perhaps=True, guarded=guarded, negated=negated)
            case nodes.CondExpr(test=test):
                self.visit(test, perhaps=perhaps, guarded=False)
                self.each([node.expr1, node.expr2], perhaps=True, guarded=guarded)
            case nodes.If(test=test):
                self.visit(test, perhaps=perhaps, guarded=False)
                self.each([*node.body, *node.elif_, *node.else_], perhaps=True)
            case nodes.For(iter=iterated):
                self.visit(iterated, perhaps=perhaps, guarded=False)
                self.each([node.test, *node.body, *node.else_], perhaps=True)
            case nodes.Macro() | nodes.CallBlock():
                self.each(node.iter_child_nodes(), perhaps=True)
            case nodes.Compare(expr=nodes.Const(value=str(name)), ops=[nodes.Operand(op="in", expr=nodes.Name())]):
                self.asked.add(name)
                self.each(node.ops, perhaps=perhaps)
            case _:
                self.each(node.iter_child_nodes(), perhaps=perhaps)

    def each(self, some: Iterable[nodes.Node | None], *, perhaps: bool, guarded: bool = False) -> None:
        for node in some:
            if node is not None:
                self.visit(node, perhaps=perhaps, guarded=guarded)

    def call(self, node: nodes.Call, perhaps: bool, guarded: bool) -> None:
        constant = node.args[0] if node.args else None
        argument = constant.value if isinstance(constant, nodes.Const) and isinstance(constant.value, str) else None
        if isinstance(node.node, (nodes.Name, nodes.Getattr, nodes.Getitem)):
            self.path(node.node, perhaps, guarded, called=True, argument=argument)
        else:
            self.visit(node.node, perhaps=perhaps, guarded=guarded)
        self.each([*node.args, *node.kwargs, node.dyn_args, node.dyn_kwargs], perhaps=perhaps)

    def path(
        self, node: nodes.Node, perhaps: bool, guarded: bool, *, called: bool, argument: str | None = None
    ) -> None:
        parts: list[str | int] = []
        inner: nodes.Node = node
        while isinstance(inner, (nodes.Getattr, nodes.Getitem)):
            if isinstance(inner, nodes.Getattr):
                parts.append(inner.attr)
            elif isinstance(inner.arg, nodes.Const) and isinstance(inner.arg.value, (str, int)):
                parts.append(inner.arg.value)
            else:
                self.visit(inner.arg, perhaps=perhaps, guarded=False)
                parts, called = [], False
            inner = inner.node
        if not isinstance(inner, nodes.Name):
            self.visit(inner, perhaps=perhaps, guarded=guarded)
        elif inner.ctx == "load" and inner.name not in self.own:
            path = tuple(reversed(parts))
            places = self.positions.take(inner.name, path)
            self.found.append(
                Read(
                    inner.name,
                    path,
                    guarded=guarded,
                    perhaps=perhaps,
                    called=called,
                    places=places,
                    argument=argument,
                )
            )

    def ask(self, node: nodes.Node, *, wanted: bool) -> None:
        while isinstance(node, (nodes.Getattr, nodes.Getitem)):
            node = node.node
        if isinstance(node, nodes.Name):
            self.asked.add(node.name)
            if wanted:
                self.wanted.add(node.name)
