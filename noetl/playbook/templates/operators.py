"""The operators of templates: each charges the budget before it works, by the largest result it can have.

Python compares, hashes and adds in one go, however large the values are, and a value in which a part stands many times
(`[a, a]` of `[b, b]` of ...) counts each of them anew. So containers are compared here, item by item.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from jinja2 import Undefined
from jinja2.exceptions import SecurityError

from noetl.playbook.templates.budget import BUDGET, CHARACTERS_PER_VALUE, iterate
from noetl.playbook.templates.formatting import format_text
from noetl.playbook.templates.result_views import ResultBool, ResultFloat, ResultInt, ResultNone, raw

MAX_BITS: Final = 4096
"""The most that an integer may have on the way to a result."""

_ATOMS: Final = frozenset({bool, int, float, type(None), ResultBool, ResultFloat, ResultInt, ResultNone})
_SHORT_TEXT_CHARACTERS: Final = 1000
"""Characters that are compared without a charge."""


# ---- arithmetic --------------------------------------------------------------------------------------------------


def multiply(left: Any, right: Any) -> Any:
    """`*`, bounded."""
    for sequence, count in ((left, right), (right, left)):
        if isinstance(sequence, (str, list, tuple)) and isinstance(count, int):
            BUDGET.charge_characters(len(sequence) * max(count, 0) * _size_of_item(sequence))
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() + right.bit_length() > MAX_BITS:
        raise SecurityError(f"the product has more than {MAX_BITS} bits")
    return left * right


def power(left: Any, right: Any) -> Any:
    """`**`, bounded."""
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() * abs(right) > MAX_BITS:
        raise SecurityError(f"the power has more than {MAX_BITS} bits")
    return left**right


def add(left: Any, right: Any) -> Any:
    """`+`, bounded."""
    if isinstance(left, (str, list, tuple)) and isinstance(right, (str, list, tuple)):
        BUDGET.charge_characters((len(left) + len(right)) * _size_of_item(left))
        return raw(left) + raw(right)
    return number(left + right)


def modulo(left: object, right: object) -> Any:
    """`%`, bounded; it formats text."""
    if isinstance(left, str):
        return format_text(left, *right) if isinstance(right, tuple) else format_text(left, right)
    return number(left) % number(right)


def _of_numbers(work: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def call(left: object, right: object) -> Any:
        return number(work(number(left), number(right)))

    return call


def number(value: object) -> Any:
    """Return a value; an integer only if it is no giant."""
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise SecurityError(f"an integer has more than {MAX_BITS} bits")
    return value


def _size_of_item(sequence: object) -> int:
    return 1 if isinstance(sequence, str) else CHARACTERS_PER_VALUE


BINARY: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "*": multiply,
    "**": power,
    "+": add,
    "%": modulo,
    "-": _of_numbers(operator.sub),
    "/": _of_numbers(operator.truediv),
    "//": _of_numbers(operator.floordiv),
}


# ---- comparing ---------------------------------------------------------------------------------------------------


def equal(left: object, right: object) -> Any:
    """`==`, bounded."""
    if type(left) in _ATOMS or type(right) in _ATOMS:
        return left == right
    if isinstance(left, str) and isinstance(right, str):
        _charge_text(left, right)
        return left == right
    return _same(left, right)


def unequal(left: object, right: object) -> Any:
    """`!=`, bounded."""
    if type(left) in _ATOMS or type(right) in _ATOMS:
        return left != right
    return not equal(left, right)


def _same(left: object, right: object) -> bool:
    """Compare as Python's containers compare what is in them: what is the same object is equal."""
    if left is right and not isinstance(left, Undefined):
        return True
    if type(left) in _ATOMS or type(right) in _ATOMS:
        return bool(left == right)
    if isinstance(left, str) and isinstance(right, str):
        _charge_text(left, right)
        return bool(left == right)
    BUDGET.charge_steps(5)
    for kind in (list, tuple):
        if isinstance(left, kind) and isinstance(right, kind):
            return len(left) == len(right) and all(map(_same, iterate(left), right))
    if isinstance(left, dict) and isinstance(right, dict):
        return len(left) == len(right) and all(
            hashable(key) in right and _same(value, right[key]) for key, value in _pairs(left)
        )
    return bool(left == right)


def _pairs(value: Mapping[Any, object]) -> Iterable[tuple[Any, Any]]:
    BUDGET.charge_steps(len(value))
    return value.items()


def _charge_text(left: str, right: str) -> None:
    size = min(len(left), len(right))
    if size > _SHORT_TEXT_CHARACTERS:
        BUDGET.charge_steps(size // _SHORT_TEXT_CHARACTERS)


def _order(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return an order, bounded: of lists the first items that differ decide."""

    def call(left: object, right: object) -> Any:
        if type(left) in _ATOMS or type(right) in _ATOMS:
            return compare(left, right)
        if isinstance(left, str) and isinstance(right, str):
            _charge_text(left, right)
            return compare(left, right)
        for kind in (list, tuple):
            if isinstance(left, kind) and isinstance(right, kind):
                BUDGET.charge_steps(2)
                for mine, other in zip(left, right, strict=False):
                    BUDGET.charge_steps(1)
                    if not _same(mine, other):
                        return call(mine, other)
                return compare(len(left), len(right))
        return compare(left, right)

    return call


less: Final = _order(operator.lt)
less_or_equal: Final = _order(operator.le)
greater: Final = _order(operator.gt)
greater_or_equal: Final = _order(operator.ge)


def contains(container: Any, item: Any) -> bool:
    """`item in container`, bounded."""
    if isinstance(container, str):
        BUDGET.charge_steps(1 + len(container) // 50)
    elif isinstance(container, Mapping):
        hashable(item)
    elif isinstance(container, (list, tuple)):
        if type(item) not in _ATOMS and not (isinstance(item, str) and len(item) <= _SHORT_TEXT_CHARACTERS):
            return any(_same(each, item) for each in iterate(container))
        BUDGET.charge_steps(1 + len(container) // 20)
    elif isinstance(container, Iterator) or (isinstance(container, range) and not isinstance(item, int)):
        return any(_same(each, item) for each in iterate(container))
    return bool(item in container)


def contains_not(container: object, item: object) -> bool:
    """`item not in container`, bounded."""
    return not contains(container, item)


COMPARISONS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "eq": equal,
    "ne": unequal,
    "lt": less,
    "lteq": less_or_equal,
    "gt": greater,
    "gteq": greater_or_equal,
    "in": lambda item, container: contains(container, item),
    "notin": lambda item, container: contains_not(container, item),
}
"""By Jinja's names of the operators, left operand first."""


# ---- keys and order ----------------------------------------------------------------------------------------------


def hashable(value: object) -> Any:
    """Return a value that is to be a key; of a tuple each part is charged, as often as it stands there."""
    if isinstance(value, tuple):
        BUDGET.charge_steps(1 + len(value))
        for item in value:
            if isinstance(item, tuple):
                hashable(item)
    return value


def make_dict(pairs: object = (), **named: Any) -> dict[Any, Any]:
    """`dict()` and `{...}`, bounded."""
    if isinstance(pairs, Mapping):
        BUDGET.charge_steps(len(pairs))
        return {**pairs, **named}
    made = {}
    for pair in iterate(pairs):
        key, value = pair if isinstance(pair, (list, tuple)) else list(islice(iterate(pair), 3))
        made[hashable(key)] = value
    return {**made, **named}


class _Ordered:
    """A value that is sorted by the bounded order."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __lt__(self, other: "_Ordered") -> bool:
        return bool(less(self.value, other.value))


def ordered(items: list[Any], keys: list[Any], *, reverse: bool = False) -> list[Any]:
    """Return items in the order of their keys, stable. Raises `TypeError` where these have no order."""
    size = len(items)
    kinds = {type(key) for key in keys}
    if kinds <= _ATOMS or kinds <= {str}:
        BUDGET.charge_steps(
            size * size.bit_length() // 16 + sum(len(key) for key in keys if type(key) is str) // _SHORT_TEXT_CHARACTERS
        )
        long = kinds == {str} and any(len(key) > _SHORT_TEXT_CHARACTERS for key in keys)
    else:
        long = True
    sort_by = [_Ordered(key) for key in keys] if long else keys
    return [items[at] for at in sorted(range(size), key=sort_by.__getitem__, reverse=reverse)]


def cut(value: Any, part: slice) -> Any:
    """`value[a:b:c]`, bounded."""
    if isinstance(value, (str, list, tuple)):
        BUDGET.charge_characters(len(range(*part.indices(len(value)))) * _size_of_item(value))
    return value[part]
