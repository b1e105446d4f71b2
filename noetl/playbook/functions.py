"""What templates may call beside Jinja's own, and Jinja's filters wrapped to stay within the budget."""

import base64
import functools
import json
import uuid as uuids
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final

from jinja2 import Environment, Undefined, pass_environment
from jinja2.exceptions import FilterArgumentError, SecurityError
from jinja2.filters import make_attrgetter
from markupsafe import Markup

from noetl.errors import InputError
from noetl.playbook.bounds import BUDGET, MAX_NUMBER, format_text, normal, text
from noetl.playbook.references import APOSTROPHE, MARK, REFERENCE, in_json, read_source, refer
from noetl.playbook.results import raw
from noetl.playbook.truth import to_bool
from noetl.playbook.written import default

CLOCK: Final[ContextVar[Callable[[], datetime] | None]] = ContextVar("noetl_clock", default=None)
"""What `now` asks for the time: tests of playbooks set their virtual clock."""


def now(format: str | None = None) -> str:
    """Return the present time in UTC, ISO 8601, or by a strftime format."""
    clock = CLOCK.get()
    moment = datetime.now(UTC) if clock is None else clock()
    return moment.isoformat() if format is None else moment.strftime(format)


def uuid() -> str:
    """Return a new random UUID as text."""
    return str(uuids.uuid4())


def secret(value: Any) -> str:
    """Return the reference to a secret, in whose place the worker puts the value."""
    try:
        return refer(read_source(raw(value)))
    except InputError as error:
        raise SecurityError(str(error)) from None


def fromjson(value: Any) -> Any:
    """Return the value that a JSON text stands for."""
    if not isinstance(value, str):
        raise FilterArgumentError(f"fromjson takes text, not {type(value).__name__}")
    BUDGET.write(len(value))
    return json.loads(value, parse_constant=_no_constant)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def tojson(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON text, which may stand within apostrophes: its own are written as \\u0027."""
    if indent is not None and not 0 <= indent <= 16:
        raise FilterArgumentError("tojson: indent is between 0 and 16")
    written = json.dumps(normal(value), ensure_ascii=False, indent=indent)
    return text(in_json(written.replace("'", APOSTROPHE)))


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


TEXT_FILTERS: Final = frozenset(
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
KEEP_REFERENCES: Final = frozenset({"default", "d", "string", "trim", "join", "format", "tojson", "indent", "safe"})
"""Filters through which the reference to a secret comes whole."""
_SIZED: Final = frozenset({"batch", "center", "indent", "round", "slice", "truncate", "wordwrap"})


def bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that charges the budget for its input and output, and refuses huge numbers and undefined."""
    value_at = 1 if hasattr(function, "jinja_pass_arg") else 0
    as_text, sized, forgiving = name in TEXT_FILTERS, name in _SIZED, name in ("default", "d")
    keeps = name in KEEP_REFERENCES

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
        if not keeps:
            _refuse_reference(name, value)
        found = function(*args, **kwargs)
        if isinstance(found, str):
            if not keeps:
                _refuse_reference(name, found)
            BUDGET.write(len(found))
            return str.__str__(found) if isinstance(found, Markup) else found
        return found

    return call


def _refuse_reference(name: str, value: Any) -> None:
    """Refuse to change the reference to a secret: its value is not there yet, and would never be found."""
    if isinstance(value, str) and MARK in value and REFERENCE.search(value):
        raise SecurityError(
            f"{name}: a secret is put in when the call is made, no filter can see it: pass it on as it is (a python"
            " step can change it, 'auth' of type basic encodes it)"
        )


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
    "bool": to_bool,
    "d": default,
    "default": default,
    "format": format_text,
    "join": join,
    "replace": replace,
}
