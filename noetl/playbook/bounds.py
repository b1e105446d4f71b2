"""The bounds on templates: a render has a budget of steps and characters, and gives plain values only.

A step is a round of a loop or a value that a filter looks at; a call takes some. What is beyond the budget is a
`SecurityError`.
"""

import math
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from jinja2 import Undefined
from jinja2.exceptions import FilterArgumentError, SecurityError

from noetl.playbook.results import VIEW_TYPES, Absent, raw
from noetl.playbook.written import NullInText, null_in_text, written

MAX_STEPS: Final = 2_000_000
MAX_CHARACTERS: Final = 64 * 1024 * 1024
CALL: Final = 10
"""What a call takes from the budget of steps."""
_VALUE: Final = 8
"""What a value in a list or mapping takes from the budget of characters."""
MAX_NUMBER: Final = 100_000
"""The greatest width, precision, count of a filter's argument, and of a range."""


def limited_range(*bounds: int) -> range:
    """Return a range of at most so many numbers."""
    found = range(*bounds)
    if found[MAX_NUMBER:]:
        raise SecurityError(f"range() gives at most {MAX_NUMBER:,} numbers: make a longer list in a python step")
    return found


_MAX_BITS: Final = 4096
_FORMAT: Final = re.compile(r"%(?:\([^)]*\))?[-+ #0]*(\*|\d*)(?:\.(\*|\d*))?")


NO_SCOPE: Final[Mapping[str, Any]] = MappingProxyType({})


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


def normal(value: Any) -> Any:
    """Return a rendered value as plain JSON types: views, markup, generators and tuples are resolved.

    Raises `SecurityError` for what is not data and `UndefinedError` for what is undefined.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind in VIEW_TYPES:
        return raw(value)
    return _scalar(value) if kind in (int, float) else _Walk().value(value, 0)


def _scalar(value: Any) -> Any:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise SecurityError(f"the value is {value!r}, which JSON cannot hold")
    elif not -(2**63) <= value < 2**64:
        raise SecurityError("the value is an integer beyond 64 bits")
    return value


class _Walk:
    """Makes one value plain. A part that stands in it many times is walked once and charged each time."""

    __slots__ = ("seen",)

    def __init__(self) -> None:
        self.seen: dict[int, tuple[Any, Any, int]] = {}  # by id: the part (kept alive), its plain form, its charge

    def value(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            BUDGET.write(len(value))
            return value
        if kind is bool or value is None:
            return value
        if kind is int or kind is float:
            return _scalar(value)
        if kind in VIEW_TYPES:
            return self.value(raw(value), depth)
        if isinstance(value, str):  # Markup
            return self.value(str.__str__(value), depth)
        if isinstance(value, Undefined):
            str(value)  # raises, with the name; `{{ x if condition }}` without an else does not
            return None
        return self.collection(value, depth)

    def collection(self, value: Any, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise SecurityError(f"the value is nested more than {_MAX_DEPTH} levels deep")
        known = self.seen.get(id(value))
        if known is not None:
            BUDGET.write(known[2])
            return known[1]
        before = BUDGET.characters
        if isinstance(value, Mapping):
            found: Any = self.mapping(value, depth)
        elif isinstance(value, _SEQUENCES):
            items: Iterable[Any] = value
            found = []
            for item in items:
                BUDGET.write(_VALUE)
                found.append(self.value(item, depth + 1))
        else:
            raise SecurityError(f"the value is a {type(value).__name__}, not data: is a call '()' missing?")
        self.seen[id(value)] = (value, found, before - BUDGET.characters)
        return found

    def mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        found = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise SecurityError(f"the key {key!r} is not text")
            BUDGET.write(_VALUE + len(key))
            found[str.__str__(key)] = self.value(item, depth + 1)
        return found


_MAX_DEPTH: Final = 200
_SEQUENCES: Final[Any] = (list, tuple, range, Iterator, type({}.keys()), type({}.values()), type({}.items()))


def text(value: Any) -> str:
    """Return a value as the text that stands for it in mixed text, within the budget. Raises `NullInText`."""
    if isinstance(value, (Undefined, Absent)):
        value = str(value)
    elif not isinstance(value, str):
        value = written(normal(value))
    BUDGET.write(len(value))
    return str(value)


def join_text(parts: Iterable[Any]) -> str:
    """Concatenate values as text, within the budget: what `~` and blocks of text do."""
    return "".join([text(part) for part in parts])


def placed(value: Any, name: str) -> str:
    """Return a value as part of mixed text; `name` is what the template calls it. Raises `NullInText`."""
    if type(value) is str:
        return value
    try:
        return text(value)
    except NullInText:
        raise null_in_text(name) from None


def joined(parts: tuple[Any, ...], names: tuple[str, ...]) -> str:
    """Concatenate values as text, as `~` does. Raises `NullInText`."""
    pieces = []
    for part, name in zip(parts, names, strict=True):
        piece = placed(part, name)
        if piece is part:
            BUDGET.write(len(piece))
        pieces.append(piece)
    return "".join(pieces)


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
