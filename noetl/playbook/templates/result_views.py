"""Step results as templates see them: `s.x`, `s.data.x` and `s.result.x` reach the same value.

A real key wins over the self-reference. Each kind of JSON value has a subclass that remembers being a step's
result, so that filters, tests and arithmetic treat it as what it is. `None` has no subclasses: its stand-in equals
None, is false, and the `none` test knows it.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

SELF_NAMES: Final = frozenset({"data", "result"})
"""What a step's result calls itself."""

LOOP_NAMES: Final = frozenset({"results", "count", "errors"})
"""What a loop's result answers to, beside those."""


ENVELOPE_KEYS: Final = frozenset({"status", "data", "meta", "error", "message"})
"""The keys of a result that says how it went beside what it gave: `status` and `data`, and perhaps the others."""


def is_envelope(keys: Collection[str]) -> bool:
    """Whether a result with these keys is an envelope around its `data`, whose fields it then answers to.

    >>> is_envelope({"status", "data"}), is_envelope({"status", "data", "rows"})
    (True, False)
    """
    return "data" in keys and "status" in keys and ENVELOPE_KEYS.issuperset(keys)


class ResultDict(dict[str, Any]):
    """A mapping that is a step's result; `raw` is the original."""

    __slots__ = ("raw",)

    def __init__(self, raw: dict[str, Any]) -> None:
        super().__init__(raw)
        self.raw = raw


class ResultList(list[Any]):
    """A list that is a step's result; `raw` is the original."""

    __slots__ = ("raw",)

    def __init__(self, raw: list[Any]) -> None:
        super().__init__(raw)
        self.raw = raw


class LoopResult(ResultList):
    """The results of a loop's items, in the order of the input, null for those that failed; `errors` are theirs.

    `steps` are the results of steps that it answers to besides, where a loop's save calls it `results`.
    """

    __slots__ = ("errors", "steps")

    def __init__(self, raw: list[Any], errors: list[Any], steps: Mapping[str, object] | None = None) -> None:
        super().__init__(raw)
        self.errors = errors
        self.steps = steps or {}

    def look(self, name: str) -> Any:
        """Return the value of one of `LOOP_NAMES`."""
        if name == "errors":
            return self.errors
        return len(self) if name == "count" else self


class ResultText(str):
    """A text that is a step's result."""

    __slots__ = ()


class ResultInt(int):
    """An integer that is a step's result."""

    __slots__ = ()


class ResultFloat(float):
    """A number that is a step's result."""

    __slots__ = ()


class ResultBool(int):
    """A truth value that is a step's result."""

    __slots__ = ()

    def __str__(self) -> str:
        return str(bool(self))

    __repr__ = __str__


class ResultNone:
    """None that is a step's result."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, (ResultNone, Absent))

    def __hash__(self) -> int:
        return hash(None)

    def __str__(self) -> str:
        return "None"

    __repr__ = __str__


class Absent:
    """Null where templates expect a mapping: `error` where nothing failed, `result` where there is none.

    It equals None and is false; its keys are like it, its text and its items are empty, and it adds nothing. So what
    reports an error at the end of an execution does not fail because there was none.
    """

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __getitem__(self, key: object) -> "Absent":
        return self

    def __add__(self, other: object) -> Any:
        return other

    __radd__ = __add__

    def __lt__(self, other: object) -> bool:
        return False

    __le__ = __gt__ = __ge__ = __lt__

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, (Absent, ResultNone))

    def __hash__(self) -> int:
        return hash(None)

    def __str__(self) -> str:
        return ""

    __repr__ = __str__


ABSENT: Final = Absent()
"""The one there is."""

_VIEWS: Final[dict[type, Any]] = {
    dict: ResultDict,
    list: ResultList,
    str: ResultText,
    int: ResultInt,
    float: ResultFloat,
    bool: ResultBool,
    type(None): lambda _: ResultNone(),
}
_RAW: Final[dict[type, Any]] = {
    ResultDict: lambda view: view.raw,
    ResultList: lambda view: view.raw,
    LoopResult: lambda view: view.raw,
    ResultText: str.__str__,
    ResultInt: int.__int__,
    ResultFloat: float.__float__,
    ResultBool: bool,
    ResultNone: lambda _: None,
    Absent: lambda _: None,
}
VIEW_TYPES: Final = frozenset(_RAW)


def result_view(value: object) -> Any:
    """Return a step's result as scopes hold it; anything but plain JSON comes back as it is."""
    view = _VIEWS.get(type(value))
    return value if view is None else view(value)


def raw(value: object) -> Any:
    """Return the plain value behind a view; any other value is returned as it is."""
    unwrap = _RAW.get(type(value))
    return value if unwrap is None else unwrap(value)
