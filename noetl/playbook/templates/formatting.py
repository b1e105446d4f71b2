"""Formatting with `%` and `format`, within the budget: the size of the result is charged before it is made."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from jinja2.exceptions import FilterArgumentError, SecurityError

from noetl.playbook.templates.budget import BUDGET, plain_value, text

MAX_WIDTH: Final = 1000
"""The greatest width and precision that a pattern may name."""

_FLAGS: Final = "-+ #0"
_LENGTHS: Final = "hlL"
_MAX_NUMBER_CHARACTERS: Final = 400
"""Characters that a number may come to: the greatest float, without an exponent, has 309 digits and six more."""

_TOO_WIDE: Final = f"a width in a format is at most {MAX_WIDTH:,}"


def format_text(pattern: str, *args: Any, **kwargs: Any) -> str:
    """Jinja's `format` (printf-style), bounded."""
    if args and kwargs:
        raise FilterArgumentError("format takes positional or named arguments, not both")
    values: Any
    if kwargs:
        values = {key: _ready(value) for key, value in kwargs.items()}
    elif len(args) == 1 and isinstance(args[0], Mapping):
        values = _Named(plain_value(args[0]))
    else:
        values = tuple(_ready(value) for value in args)
    _charge(pattern, values)
    return str(pattern % values)


class _Text(str):
    """What a list or mapping comes to: `%r` of it is itself."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str.__str__(self)


class _Named(dict[str, Any]):
    """The mapping that a pattern takes its values from, or writes as a whole."""

    def __getitem__(self, key: str) -> Any:
        return _ready(super().__getitem__(key))

    def __str__(self) -> str:
        return text(dict(self))

    __repr__ = __str__


def _ready(value: object) -> Any:
    """Return a value as a pattern may take it: what is neither text nor number becomes text once, not at each place."""
    plain = plain_value(value)
    if isinstance(plain, (int, float, str)) and not isinstance(plain, bool):
        return plain
    return _Text(text(value if plain is None else plain))


def _charge(pattern: str, values: Any) -> None:
    """Take what a pattern will come to from the budget. Raises `SecurityError` for a great width."""
    BUDGET.charge_characters(len(pattern))
    sizes: dict[Any, int] = {}
    for number, (key, width, conversion) in enumerate(_places(pattern)):
        BUDGET.charge_steps(2)
        if isinstance(values, tuple):
            size = _size(values[number], conversion) if number < len(values) else 0
        else:
            if (key, conversion) not in sizes:
                sizes[key, conversion] = _size(dict(values) if key is None else values.get(key), conversion)
            size = sizes[key, conversion]
        BUDGET.charge_characters(width + size)


def _size(value: object, conversion: str) -> int:
    """Return the largest size that a value can have as text, in characters."""
    if not isinstance(value, (str, list, dict)):
        return _MAX_NUMBER_CHARACTERS
    size = len(value) if isinstance(value, str) else len(text(value))
    return size if conversion == "s" else 10 * size  # of %r and %a


def _places(pattern: str) -> Iterator[tuple[Any, int, str]]:
    """Yield key (None: by its place), width and conversion of each value that a pattern asks for."""
    at = pattern.find("%")
    while at != -1:
        at += 1
        key = None
        if pattern.startswith("(", at):
            end = _closing(pattern, at)
            if end < 0:
                return  # Python says so
            key, at = pattern[at + 1 : end], end + 1
        while at < len(pattern) and pattern[at] in _FLAGS:
            at += 1
        width, at = _number_at(pattern, at)
        precision = 0
        if pattern.startswith(".", at):
            precision, at = _number_at(pattern, at + 1)
        while at < len(pattern) and pattern[at] in _LENGTHS:
            at += 1
        if not pattern.startswith("%", at):
            yield key, width + precision, pattern[at : at + 1]
        at = pattern.find("%", at + 1)


def _closing(pattern: str, at: int) -> int:
    """Return the index of the parenthesis that closes the one at an index, -1 where there is none."""
    depth = 0
    while True:
        close = pattern.find(")", at)
        if close < 0:
            return -1
        depth += pattern.count("(", at, close) - 1
        BUDGET.charge_steps(1)
        if depth <= 0:
            return close
        at = close + 1


def _number_at(pattern: str, at: int) -> tuple[int, int]:
    """Return the number that stands at a place, and where it ends."""
    if pattern.startswith("*", at):
        raise SecurityError(_TOO_WIDE)
    end = at
    while end < len(pattern) and pattern[end].isdecimal():
        end += 1
    if end - at > 9 or (end > at and int(pattern[at:end]) > MAX_WIDTH):
        raise SecurityError(_TOO_WIDE)
    return int(pattern[at:end] or 0), end
