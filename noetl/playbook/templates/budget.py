"""The bounds on templates: a render has a budget of steps, characters and time, and gives plain values only.

Whatever a template does is charged *before* it is done, by what it may come to: a step is about what a round of a
loop takes, some hundred nanoseconds. What is beyond the budget is a `SecurityError`. Time is the thread's own time on
a processor, so that a busy machine fails nothing; it is looked at every so many steps, and is there for what the
charges estimate too low.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar

from jinja2 import Undefined
from jinja2.exceptions import SecurityError

from noetl.playbook.templates.result_views import VIEW_TYPES, Absent, raw
from noetl.playbook.templates.value_text import NullInText, json_text, null_in_text
from noetl.playbook.values import brief

Result = TypeVar("Result")

MAX_STEPS: Final = 2_000_000
MAX_CHARACTERS: Final = 64 * 1024 * 1024
MAX_SECONDS: Final = 2.0
"""Seconds on a processor that a render may take."""
STEPS_PER_CALL: Final = 10
"""What a call takes from the budget of steps."""
CHARACTERS_PER_VALUE: Final = 8
"""What a value in a list or mapping takes from the budget of characters."""
MAX_NUMBER: Final = 100_000
"""The greatest width, precision, count of a filter's argument, and of a range."""

_STEPS_PER_CLOCK_LOOK: Final = 20_000
_LARGE_CHARACTERS: Final = 100_000
"""The clock is looked at after so many steps, and whenever so many characters are made at once."""

_FIRST_LOOK: Final = MAX_STEPS - _STEPS_PER_CLOCK_LOOK

NO_SCOPE: Final[Mapping[str, Any]] = MappingProxyType({})


def limited_range(*bounds: int) -> range:
    """Return a range of at most 100,000 numbers."""
    numbers = range(*bounds)
    if numbers[MAX_NUMBER:]:
        raise SecurityError(f"range() gives at most {MAX_NUMBER:,} numbers: make a longer list in a python step")
    return numbers


MAX_CALL_DEPTH: Final = 100
"""How deep macros may call each other."""


class Budget(threading.local):
    """The budget of the render under way in this thread, and the scope it reads."""

    steps: int = MAX_STEPS
    characters: int = MAX_CHARACTERS
    scope: Mapping[str, Any] = NO_SCOPE
    shared: bool = False  # several renders spend of one budget
    _depth: int = 0
    _most: float = MAX_SECONDS
    _began: float = 0.0  # seconds on a processor at the first look: a render that is soon over has none
    _first_look: int = _FIRST_LOOK
    _next_look: int = _FIRST_LOOK

    def begin(self, scope: Mapping[str, object]) -> None:
        """Begin a render: with a budget of its own, unless it is one of several that share one."""
        self.scope = scope
        if not self.shared:
            self.steps = MAX_STEPS
            self.characters = MAX_CHARACTERS
            self._next_look = _FIRST_LOOK

    def share(self, times: int) -> None:
        """Let the renders that follow, until `unshare`, share one budget, `times` as large as that of one."""
        self.shared = True
        self.steps, self.characters, self._most = MAX_STEPS * times, MAX_CHARACTERS * times, MAX_SECONDS * times
        self._first_look = self._next_look = self.steps - _STEPS_PER_CLOCK_LOOK

    def unshare(self) -> None:
        """Give each render a budget of its own again."""
        self.shared = False
        self._most, self._first_look = MAX_SECONDS, _FIRST_LOOK

    def descend(self) -> None:
        """Go into a macro. Raises `SecurityError` where macros call each other too deep.

        Python's own limit does not protect the stack: a call from C to Python and back takes far more of it.
        """
        if self._depth >= MAX_CALL_DEPTH:
            raise SecurityError(f"macros call each other more than {MAX_CALL_DEPTH} deep")
        self._depth += 1

    def ascend(self) -> None:
        """Come back from where `descend` went."""
        self._depth -= 1

    def charge_steps(self, steps: int) -> None:
        """Take steps from the budget. Raises `SecurityError` when it is used up."""
        self.steps -= steps
        if self.steps < self._next_look:
            self._look()

    def charge_characters(self, characters: int) -> None:
        """Take characters from the budget. Raises `SecurityError` when it is used up."""
        self.characters -= characters
        if self.characters < 0 or characters > _LARGE_CHARACTERS:
            self._look()

    def _look(self) -> None:
        if self.steps < 0:
            raise SecurityError(f"the template takes more than {MAX_STEPS:,} steps: compute this in a python step")
        if self.characters < 0:
            raise SecurityError(f"the template makes more than {MAX_CHARACTERS:,} characters of text")
        now = time.thread_time()
        if self._next_look == self._first_look:
            self._began = now
        elif now - self._began > self._most:
            raise SecurityError(
                f"the template takes more than its budget of {self._most:g} s: compute this in a python step"
            )
        self._next_look = max(self.steps - _STEPS_PER_CLOCK_LOOK - 1, 0)


BUDGET: Final = Budget()


def on_one_budget(compute: Callable[..., Result], *args: Any, times: int = 1) -> Result:
    """Return `compute(*args)`; all its renders together share the budget of one render, or of `times`."""
    if BUDGET.shared:
        return compute(*args)
    BUDGET.share(times)
    try:
        return compute(*args)
    finally:
        BUDGET.unshare()


# ---- values ------------------------------------------------------------------------------------------------------


def plain_value(value: object) -> Any:
    """Return a rendered value as plain JSON types: views, markup, generators and tuples are resolved.

    Raises `SecurityError` for what is not data and `UndefinedError` for what is undefined.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind in VIEW_TYPES:
        return raw(value)
    return _scalar(value) if kind in (int, float) else _PlainMaker().value(value, 0)


def _scalar(value: Any) -> Any:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise SecurityError(f"the value is {value!r}, which JSON cannot hold")
    elif not -(2**63) <= value < 2**64:
        raise SecurityError("the value is an integer beyond 64 bits")
    return value


class _PlainMaker:
    """Makes one value plain. A part that stands in it many times is walked once and charged each time."""

    __slots__ = ("seen",)

    def __init__(self) -> None:
        self.seen: dict[int, tuple[Any, Any, int]] = {}  # by id: the part (kept alive), its plain form, its charge

    def value(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            BUDGET.charge_characters(len(value))
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

    def collection(self, value: object, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise SecurityError(f"the value is nested more than {_MAX_DEPTH} levels deep")
        known = self.seen.get(id(value))
        if known is not None:
            BUDGET.charge_characters(known[2])
            return known[1]
        before = BUDGET.characters
        if isinstance(value, Mapping):
            BUDGET.charge_steps(1 + len(value) // 2)
            made: Any = self.mapping(value, depth)
        elif isinstance(value, _SEQUENCES):
            items: Iterable[Any] = iterate(value) if isinstance(value, Iterator) else value
            BUDGET.charge_steps(1 if isinstance(value, Iterator) else 1 + len(value) // 4)
            made = []
            for item in items:
                BUDGET.charge_characters(CHARACTERS_PER_VALUE)
                made.append(self.value(item, depth + 1))
        else:
            raise SecurityError(f"the value is a {type(value).__name__}, not data: is a call '()' missing?")
        self.seen[id(value)] = (value, made, before - BUDGET.characters)
        return made

    def mapping(self, value: Mapping[Any, object], depth: int) -> dict[str, Any]:
        made = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise SecurityError(f"the key {brief(key)} is not text")
            BUDGET.charge_characters(CHARACTERS_PER_VALUE + len(key))
            made[str.__str__(key)] = self.value(item, depth + 1)
        return made


_MAX_DEPTH: Final = 200
_SEQUENCES: Final[Any] = (list, tuple, range, Iterator, type({}.keys()), type({}.values()), type({}.items()))


def text(value: object) -> str:
    """Return a value as the text that stands for it in mixed text, within the budget. Raises `NullInText`."""
    if isinstance(value, (Undefined, Absent)):
        value = str(value)
    elif not isinstance(value, str):
        value = json_text(plain_value(value))
    BUDGET.charge_characters(len(value))
    return str(value)


def join_text(parts: Iterable[object]) -> str:
    """Concatenate values as text, within the budget: what `~` and blocks of text do."""
    return "".join([text(part) for part in parts])


def placed(value: object, name: str) -> str:
    """Return a value as part of mixed text; `name` is what the template calls it. Raises `NullInText`."""
    if type(value) is str:
        return value
    try:
        return text(value)
    except NullInText:
        raise null_in_text(name) from None


def joined(parts: tuple[object, ...], names: tuple[str, ...]) -> str:
    """Concatenate values as text, as `~` does. Raises `NullInText`."""
    pieces = []
    for part, name in zip(parts, names, strict=True):
        piece = placed(part, name)
        if piece is part:
            BUDGET.charge_characters(len(piece))
        pieces.append(piece)
    return "".join(pieces)


def iterate(value: Any, weight: int = 1) -> Any:
    """Return the values of a `for`, each round charged `weight` steps."""
    if isinstance(value, (list, tuple, dict, str, range)):
        BUDGET.charge_steps(len(value) * weight)
        return value
    if weight == 1 and isinstance(value, Iterator):  # of a filter, which has taken as much for each item
        return value
    return _counted(value, weight)


def _counted(value: Iterable[object], weight: int) -> Iterator[Any]:
    for item in value:
        BUDGET.charge_steps(weight)
        yield item
