"""Templates: values of a playbook with `{{ }}` in them, compiled once, rendered to plain JSON types.

A string that is exactly one `{{ expression }}` keeps the value's type; mixed text is text. Rendered data is never
rendered again. Most templates are a dotted path (`{{ a.b.c }}`): those are looked up without Jinja, and whatever is
not plainly there is left to Jinja, so that both always agree.
"""

import functools
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from jinja2.runtime import Context

from noetl.errors import TemplateError
from noetl.playbook.templates import parse as syntax
from noetl.playbook.templates.budget import BUDGET, NO_SCOPE, plain_value
from noetl.playbook.templates.conditions import AmbiguousCondition, ambiguity
from noetl.playbook.templates.env import Env
from noetl.playbook.templates.evaluate import reason_of
from noetl.playbook.templates.parse import ANY_RESULT, UnreadableTemplate
from noetl.playbook.templates.result_views import SELF_NAMES, VIEW_TYPES, raw, result_view
from noetl.playbook.templates.sandbox import ENVIRONMENT, EXPRESSION_ENVIRONMENT
from noetl.playbook.templates.secret_references import REFERENCE_CALL

__all__ = [
    "ANY_RESULT",
    "REFERENCE_CALL",
    "Env",
    "UnreadableTemplate",
    "compile_template",
    "compile_text",
    "is_template",
    "result_view",
]

_COMPILING: Final = threading.Lock()
_ROOT: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_PART: Final = rf"\.{_ROOT}|\[[0-9]{{1,9}}\]|\['[^'\\\n]*'\]|\[\"[^\"\\\n]*\"\]"
DOTTED: Final = re.compile(rf"\{{\{{\s*({_ROOT})((?:{_PART})*)\s*\}}\}}")
PARTS: Final = re.compile(rf"\.({_ROOT})|\[([0-9]+)\]|\['([^']*)'\]|\[\"([^\"]*)\"\]")
KEYWORDS: Final = frozenset(
    [
        "true",
        "false",
        "none",
        "True",
        "False",
        "None",
        "not",
        "and",
        "or",
        "in",
        "is",
        "if",
        "else",
        "elif",
        "for",
        "self",
        "super",
        "loop",
        "caller",
        "varargs",
        "kwargs",
    ]
)
_FEW_PIECES: Final = 8
"""So many pieces of a text are joined before they are charged: together they are no more than a few results."""

_PLAIN: Final = frozenset({dict, str, list, int, float, bool, type(None)})
"""Types of what a scope holds as JSON brought it: nothing in it is left to be checked."""


def is_template(text: str) -> bool:
    """Whether a string has anything to render in it."""
    return "{{" in text or "{%" in text or ("{#" in text and "#}" in text)


class Program:
    """One template text, whatever playbook it stands in: its names, and the compiled code, made when first run."""

    __slots__ = ("_environment", "_globals", "_root", "_tree", "is_expression", "names")

    def __init__(self, text: str, is_condition: bool) -> None:
        parsed = syntax.parse(text, is_condition)
        self.names = parsed.names
        self.is_expression = parsed.is_expression
        self._tree: Any = parsed.tree
        self._environment = EXPRESSION_ENVIRONMENT if parsed.is_expression else ENVIRONMENT
        self._globals = {name: value for name, value in ENVIRONMENT.globals.items() if name in self.names}
        self._root: Any = None

    def read(self, scope: Mapping[str, object]) -> dict[str, Any]:
        """Return the values that a render reads. Raises what the scope raises: that is not the template's fault."""
        variables = dict(self._globals)
        for name in self.names:
            try:
                variables[name] = scope[name]
            except KeyError:
                continue
        return variables

    def run(self, scope: Mapping[str, object], variables: dict[str, Any]) -> Any:
        """Return the rendered value as plain JSON types. Raises anything: see `evaluate`."""
        BUDGET.begin(scope)
        try:
            root = self._root or self._compile()
            pieces = root(Context(self._environment, variables, None, {}))
            if self.is_expression:
                return plain_value(next(iter(pieces)))
            texts = list(pieces)
            if len(texts) > _FEW_PIECES:
                BUDGET.charge_characters(sum(map(len, texts)))
                return "".join(texts)
            text = "".join(texts)
            BUDGET.charge_characters(len(text))
            return text
        finally:
            BUDGET.scope = NO_SCOPE  # keeps no results alive

    @property
    def tree(self) -> Any:
        """The parsed template, None once it has been compiled: to be looked at, not to be changed."""
        return self._tree

    def _compile(self) -> Any:
        with _COMPILING:
            if self._root is None:
                self._root = self._environment.from_string(self._tree).root_render_func
                self._tree = None
        return self._root


@functools.lru_cache(maxsize=8192)
def program(text: str, is_condition: bool) -> Program:
    """Return the program of a template text. `is_condition`: it is a condition. Raises `UnreadableTemplate`.

    Nothing has a default: the cache would tell `program(text)` from `program(text, False)`.
    """
    return Program(text, is_condition)


class Constant:
    """A value with nothing to render in it."""

    __slots__ = ("value",)
    names: frozenset[str] = frozenset()
    constant = True
    is_expression = False

    def __init__(self, value: Any) -> None:
        self.value = value

    def render(self, scope: Mapping[str, object]) -> Any:
        return self.value


class Expression:
    """A string with a template in it."""

    __slots__ = ("_program", "is_expression", "names", "place", "text")
    constant = False

    def __init__(self, text: str, place: tuple[str, str, str], is_condition: bool = False) -> None:
        self.text = text
        self.place = place
        self._program = program(text, is_condition)
        self.names = self._program.names
        self.is_expression = self._program.is_expression

    def render(self, scope: Mapping[str, object]) -> Any:
        return _run(self._program, scope, self.text, self.place)


def _run(program: Program, scope: Mapping[str, object], text: str, place: tuple[str, str, str]) -> Any:
    playbook, step, field = place
    variables = program.read(scope)
    try:
        return program.run(scope, variables)
    except AmbiguousCondition as error:
        raise AmbiguousCondition(
            error.reason, playbook=playbook, step=step, field=field, template=_short(text)
        ) from None
    except Exception as error:  # noqa: BLE001 - the boundary: see `evaluate`
        reason = reason_of(error)
    raise TemplateError(reason, playbook=playbook, step=step, field=field, template=_short(text))


def _short(text: str) -> str:
    return text if len(text) <= 500 else text[:497] + "..."


class Path:
    """A template that is exactly one dotted path, looked up without Jinja where it is plainly there."""

    __slots__ = ("_first", "_parts", "names", "place", "text")
    constant = False
    is_expression = True

    def __init__(self, text: str, first: str, parts: tuple[str | int, ...], place: tuple[str, str, str]) -> None:
        self.text = text
        self.place = place
        self._first = first
        self._parts = parts
        self.names = frozenset({first})
        if first == "results":
            self.names |= {parts[0] if parts and isinstance(parts[0], str) else ANY_RESULT}

    def render(self, scope: Mapping[str, Any]) -> Any:
        try:
            value = scope[self._first]
            for part in self._parts:
                if type(value) in VIEW_TYPES and part in SELF_NAMES and not (isinstance(value, dict) and part in value):
                    continue
                if type(part) is int and not isinstance(value, list):
                    break
                if type(part) is str and not isinstance(value, Mapping):
                    break
                value = value[part]
            else:
                kind = type(value)
                if kind in _PLAIN:
                    return value
                if kind in VIEW_TYPES:
                    return raw(value)
        except (KeyError, IndexError):
            pass
        except TemplateError:
            pass
        return _run(program(self.text, False), scope, self.text, self.place)


class MappingTemplate:
    """A mapping with templates among its values."""

    __slots__ = ("_items", "keys", "names")
    constant = False
    is_expression = False

    def __init__(self, items: "Mapping[str, AnyTemplate]") -> None:
        self._items = [
            (key, item.value, None) if isinstance(item, Constant) else (key, None, item) for key, item in items.items()
        ]
        self.keys: frozenset[str] = frozenset(items)
        self.names: frozenset[str] = frozenset().union(*(item.names for item in items.values()))

    def text_of(self, key: str) -> str | None:
        """Return the text of a template that stands under a key, None where the value is no text with a template."""
        templates = [item for name, _, item in self._items if name == key]
        return templates[0].text if templates and isinstance(templates[0], Expression | Path) else None

    def render(self, scope: Mapping[str, object]) -> dict[str, Any]:
        return {key: value if item is None else item.render(scope) for key, value, item in self._items}

    def render_missing(self, scope: Mapping[str, object], known: Mapping[str, object]) -> dict[str, Any]:
        """Return the values of the keys that are not given already; templates that are overridden do not run."""
        return {
            key: value if item is None else item.render(scope) for key, value, item in self._items if key not in known
        }


class ListTemplate:
    """A list with templates among its items."""

    __slots__ = ("_items", "names")
    constant = False
    is_expression = False

    def __init__(self, items: "Sequence[AnyTemplate]") -> None:
        self._items = items
        self.names: frozenset[str] = frozenset().union(*(item.names for item in items))

    def render(self, scope: Mapping[str, object]) -> list[Any]:
        return [item.render(scope) for item in self._items]


class Condition:
    """A condition: one expression, whose value has a truth. Rendering gives the value, to be kept with its event."""

    __slots__ = ("_value", "names", "place", "text")
    constant = False
    is_expression = True

    def __init__(self, value: "Expression | Path") -> None:
        self._value = value
        self.text = value.text
        self.place = value.place
        self.names = value.names

    def render(self, scope: Mapping[str, object]) -> Any:
        """Return the value, whose truth is Python's. Raises `AmbiguousCondition` for a text that is neither."""
        value = self._value.render(scope)
        reason = ambiguity(value) if type(value) is str else None
        if reason:
            playbook, step, field = self.place
            raise AmbiguousCondition(reason, playbook=playbook, step=step, field=field, template=_short(self.text))
        return value


AnyTemplate = Constant | Expression | Path | MappingTemplate | ListTemplate | Condition


def mapping_template(items: Mapping[str, AnyTemplate]) -> AnyTemplate:
    """Return the template of a mapping of templates; a constant where all are."""
    values = {key: item.value for key, item in items.items() if isinstance(item, Constant)}
    return Constant(values) if len(values) == len(items) else MappingTemplate(items)


def list_template(items: Sequence[AnyTemplate]) -> AnyTemplate:
    """Return the template of a list of templates; a constant where all are."""
    values = [item.value for item in items if isinstance(item, Constant)]
    return Constant(values) if len(values) == len(items) else ListTemplate(items)


def compile_template(value: object, *, playbook: str, step: str, field: str) -> AnyTemplate:
    """Return the template of a value of any nesting. Raises `TemplateError` where one cannot be read.

    The three words say in errors where it stands; `field` grows by the path inside the value. Keys of mappings are
    not templates.
    """
    if isinstance(value, str):
        return _compile_text(value, (playbook, step, field))
    if isinstance(value, dict):
        return mapping_template(
            {
                key: compile_template(item, playbook=playbook, step=step, field=f"{field}.{key}" if field else key)
                for key, item in value.items()
            }
        )
    if isinstance(value, list):
        return list_template(
            [
                compile_template(item, playbook=playbook, step=step, field=f"{field}[{index}]")
                for index, item in enumerate(value)
            ]
        )
    return Constant(value)


def _compile_text(text: str, place: tuple[str, str, str]) -> AnyTemplate:
    try:
        return compile_text(text, place)
    except UnreadableTemplate as error:
        playbook, step, field = place
        raise TemplateError(error.reason, playbook=playbook, step=step, field=field, template=_short(text)) from None


def compile_text(text: str, place: tuple[str, str, str], is_condition: bool = False) -> AnyTemplate:
    """Return the template of a text; `place` is playbook, step and field, `is_condition` says that it is a condition.

    Raises `UnreadableTemplate`.
    """
    if not is_template(text):
        return Constant(text)
    dotted = DOTTED.fullmatch(text.rstrip("\n"))
    if dotted and dotted[1] not in KEYWORDS:
        parts = tuple(
            int(index) if index else name or single or double
            for name, index, single, double in PARTS.findall(dotted[2])
        )
        return Path(text, dotted[1], parts, place)
    return Expression(text, place, is_condition)
