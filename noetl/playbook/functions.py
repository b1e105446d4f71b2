"""What templates may call beside Jinja's own: functions, filters, and the bounds on all of them.

A template cannot run for ever or fill the memory: every render has a budget of steps (loop rounds, calls, values
looked at) and of characters made, and each filter is wrapped to charge it.
"""

import base64
import functools
import json
import math
import re
import threading
import uuid as uuids
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from jinja2 import Environment, Undefined, pass_environment
from jinja2.exceptions import FilterArgumentError, SecurityError
from jinja2.filters import make_attrgetter
from markupsafe import Markup

from noetl.playbook.results import VIEW_TYPES, raw

MAX_STEPS: Final = 3_000_000
MAX_CHARACTERS: Final = 64 * 1024 * 1024
MAX_NUMBER: Final = 100_000
"""The greatest width, precision, count of a filter's argument, and of a range."""

_MAX_BITS: Final = 4096
_FORMAT: Final = re.compile(r"%(?:\([^)]*\))?[-+ #0]*(\*|\d*)(?:\.(\*|\d*))?")


class Budget(threading.local):
    """What the render under way in this thread may still spend, and the scope it reads."""

    steps: int = MAX_STEPS
    characters: int = MAX_CHARACTERS
    scope: Mapping[str, Any] = {}

    def begin(self, scope: Mapping[str, Any]) -> None:
        self.steps = MAX_STEPS
        self.characters = MAX_CHARACTERS
        self.scope = scope

    def spend(self, steps: int) -> None:
        """Take steps from the budget. Raises `SecurityError` when it is used up."""
        self.steps -= steps
        if self.steps < 0:
            raise SecurityError(f"the template takes more than {MAX_STEPS:,} steps: compute this in a python step")

    def write(self, characters: int) -> None:
        """Take characters from the budget. Raises `SecurityError` when it is used up."""
        self.characters -= characters
        if self.characters < 0:
            raise SecurityError(f"the template makes more than {MAX_CHARACTERS:,} characters of text")


BUDGET: Final = Budget()


# ---- values ------------------------------------------------------------------------------------------------------


def normal(value: Any, depth: int = 0) -> Any:
    """Return a rendered value as plain JSON types: views, markup, generators and tuples are resolved.

    Raises `SecurityError` for what is not data and `UndefinedError` for what is undefined.
    """
    kind = type(value)
    if kind is str:
        return value
    if kind is bool or value is None:
        return value
    if kind is int:
        return _bounded_integer(value)
    if kind is float:
        if not math.isfinite(value):
            raise SecurityError(f"the value is {value!r}, which JSON cannot hold")
        return value
    if depth > 200:
        raise SecurityError("the value is nested more than 200 levels deep")
    if kind is dict:
        return _normal_mapping(value, depth)
    if kind in VIEW_TYPES:
        return raw(value)
    if isinstance(value, Undefined):
        return _nothing(value)
    if kind is list or kind is tuple or isinstance(value, (list, tuple, range, Iterator, _VIEWS_OF_DICT)):
        BUDGET.spend(1)
        found = []
        for item in value:
            BUDGET.spend(1)
            found.append(normal(item, depth + 1))
        return found
    if isinstance(value, Mapping):
        return _normal_mapping(value, depth)
    if isinstance(value, str):  # Markup
        return str.__str__(value)
    raise SecurityError(f"the value is a {kind.__name__}, not data: is a call '()' missing?")


_VIEWS_OF_DICT: Final[tuple[type, ...]] = (type({}.keys()), type({}.values()), type({}.items()))


def _nothing(value: Undefined) -> None:
    """Raise for what is undefined; `{{ x if condition }}` without an else is None."""
    str(value)  # raises, with the name


def _normal_mapping(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    BUDGET.spend(1 + len(value))
    found = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise SecurityError(f"the key {key!r} is not text")
        found[str(key)] = normal(item, depth + 1)
    return found


def _bounded_integer(value: int) -> int:
    if not -(2**63) <= value < 2**64:
        raise SecurityError("the value is an integer beyond 64 bits")
    return value


def text(value: Any) -> str:
    """Return a value as the text that stands for it in mixed text, within the budget."""
    if isinstance(value, Undefined):
        value = str(value)
    elif not isinstance(value, str):
        value = str(normal(value))
    BUDGET.write(len(value))
    return str(value)


def join_text(parts: Iterable[Any]) -> str:
    """Concatenate values as text, within the budget: what `~` and blocks of text do."""
    return "".join([text(part) for part in parts])


def iterate(value: Any) -> Any:
    """Return what a `for` runs over, each round within the budget."""
    if isinstance(value, (list, tuple, dict, str, range)):
        BUDGET.spend(len(value))
        return value
    return _counted(value)


def _counted(value: Iterable[Any]) -> Iterator[Any]:
    for item in value:
        BUDGET.spend(1)
        yield item


# ---- operators ---------------------------------------------------------------------------------------------------


def multiply(left: Any, right: Any) -> Any:
    """`*`, bounded."""
    for sequence, count in ((left, right), (right, left)):
        if isinstance(sequence, (str, list, tuple)) and isinstance(count, int):
            BUDGET.write(len(sequence) * max(count, 0))
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() + right.bit_length() > _MAX_BITS:
        raise SecurityError(f"the product has more than {_MAX_BITS} bits")
    return left * right


def power(left: Any, right: Any) -> Any:
    """`**`, bounded."""
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() * abs(right) > _MAX_BITS:
        raise SecurityError(f"the power has more than {_MAX_BITS} bits")
    return left**right


def add(left: Any, right: Any) -> Any:
    """`+`, bounded."""
    if isinstance(left, (str, list, tuple)) and isinstance(right, (str, list, tuple)):
        BUDGET.write(len(left) + len(right))
        left, right = raw(left), raw(right)
    return left + right


def modulo(left: Any, right: Any) -> Any:
    """`%`, bounded where it formats text."""
    if isinstance(left, str):
        return format_text(left, *right) if isinstance(right, tuple) else format_text(left, right)
    return left % right


def format_text(pattern: str, *args: Any, **kwargs: Any) -> str:
    """Jinja's `format` (printf-style), bounded."""
    if args and kwargs:
        raise FilterArgumentError("format takes positional or named arguments, not both")
    for width, precision in _FORMAT.findall(pattern):
        if "*" in (width, precision) or any(part and int(part[:9]) > 1000 for part in (width, precision)):
            raise SecurityError("a width in a format is at most 1000")
    if kwargs:
        return text(pattern % {key: normal(value) for key, value in kwargs.items()})
    values = tuple(normal(value) for value in args)
    if len(values) == 1 and isinstance(values[0], dict):
        return text(pattern % values[0])
    return text(pattern % values)


# ---- functions and filters of our own ----------------------------------------------------------------------------


def now(format: str | None = None) -> str:
    """Return the present time in UTC, ISO 8601, or by a strftime format."""
    moment = datetime.now(UTC)
    return moment.isoformat() if format is None else moment.strftime(format)


def uuid() -> str:
    """Return a new random UUID as text."""
    return str(uuids.uuid4())


def fromjson(value: Any) -> Any:
    """Return the value that a JSON text stands for."""
    if not isinstance(value, str):
        raise FilterArgumentError(f"fromjson takes text, not {type(value).__name__}")
    BUDGET.write(len(value))
    return json.loads(value, parse_constant=_no_constant)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def tojson(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON text."""
    if indent is not None and not 0 <= indent <= 16:
        raise FilterArgumentError("tojson: indent is between 0 and 16")
    return text(json.dumps(normal(value), ensure_ascii=False, indent=indent))


def b64encode(value: Any) -> str:
    """Return text, as UTF-8, in Base64."""
    return text(base64.b64encode(text(value).encode()).decode())


def b64decode(value: Any) -> str:
    """Return the UTF-8 text that Base64 stands for."""
    return text(base64.b64decode(text(value), validate=True).decode())


@pass_environment
def join(environment: Environment, value: Iterable[Any], d: str = "", attribute: Any = None) -> str:
    """Jinja's `join`, bounded."""
    separator = text(d)
    look = make_attrgetter(environment, attribute)
    parts: list[str] = []
    for item in value:
        BUDGET.spend(1)
        BUDGET.write(len(separator))
        parts.append(text(look(item)))
    return separator.join(parts)


@pass_environment
def attr(environment: Environment, value: Any, name: str) -> Any:
    """Jinja's `attr`, by the same rules as `a.b`."""
    return environment.getattr(value, name)


def replace(value: Any, old: Any, new: Any, count: int | None = None) -> str:
    """Jinja's `replace`, bounded."""
    source, old, new = text(value), text(old), text(new)
    found = source.count(old) if count is None or count < 0 else min(source.count(old), count)
    BUDGET.write(len(source) + found * len(new))
    return source.replace(old, new, -1 if count is None else count)


_TEXT_FILTERS: Final = frozenset(
    [
        "capitalize",
        "center",
        "e",
        "escape",
        "forceescape",
        "indent",
        "lower",
        "pprint",
        "safe",
        "string",
        "striptags",
        "title",
        "trim",
        "truncate",
        "upper",
        "urlencode",
        "urlize",
        "wordcount",
        "wordwrap",
    ]
)
_SIZED: Final = frozenset({"batch", "center", "indent", "round", "slice", "truncate", "wordwrap"})


def bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that charges the budget for its input and output, and refuses huge numbers and undefined."""
    value_at = 1 if hasattr(function, "jinja_pass_arg") else 0
    as_text, sized, forgiving = name in _TEXT_FILTERS, name in _SIZED, name in ("default", "d")

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        value = args[value_at]
        if isinstance(value, Undefined):
            if not forgiving:
                str(value)  # raises, with the name
        elif isinstance(value, str):
            BUDGET.spend(1 + len(value) // 100)
        elif isinstance(value, (list, tuple, dict, range)):
            BUDGET.spend(1 + len(value))
            if as_text:
                args = (*args[:value_at], normal(value), *args[value_at + 1 :])
        if sized:
            _check_sizes(name, value, (*args[value_at + 1 :], *kwargs.values()))
        found = function(*args, **kwargs)
        if isinstance(found, str):
            BUDGET.write(len(found))
            return str.__str__(found) if isinstance(found, Markup) else found
        return found

    return call


def _check_sizes(name: str, value: Any, args: tuple[Any, ...]) -> None:
    """Refuse a filter's argument that would make its result huge."""
    for arg in args:
        if isinstance(arg, (int, float)) and abs(arg) > MAX_NUMBER:
            raise SecurityError(f"{name}: {arg} is more than {MAX_NUMBER:,}")
        if name == "indent":
            width = len(arg) if isinstance(arg, str) else int(arg)
            BUDGET.write(width * (text(value).count("\n") + 1))


def with_raw(test: Callable[..., Any]) -> Callable[..., Any]:
    """Return a Jinja test that looks at what a step's result stands for."""

    @functools.wraps(test)
    def call(value: Any, *args: Any) -> Any:
        return test(raw(value), *args)

    return call


FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "now": now,
    "uuid": uuid,
    "fromjson": fromjson,
    "tojson": tojson,
    "b64encode": b64encode,
    "b64decode": b64decode,
}
FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "fromjson": fromjson,
    "tojson": tojson,
    "b64encode": b64encode,
    "b64decode": b64decode,
    "attr": attr,
    "format": format_text,
    "join": join,
    "replace": replace,
}
