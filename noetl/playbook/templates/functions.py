"""The functions and tests of templates, and the wrapper of every filter and test."""

import functools
import re
import uuid as uuids
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, cast

from jinja2 import Undefined, tests
from jinja2.exceptions import SecurityError
from jinja2.utils import Namespace

from noetl.errors import InputError
from noetl.playbook.templates import text_filters
from noetl.playbook.templates.budget import BUDGET, limited_range, text
from noetl.playbook.templates.filter_table import FILTERS, FilterSpec
from noetl.playbook.templates.operators import COMPARISONS, make_dict, number
from noetl.playbook.templates.result_views import raw
from noetl.playbook.templates.secret_references import REFERENCE, REFERENCE_MARK, read_source, refer

TEMPLATE_CLOCK: Final[ContextVar[Callable[[], datetime] | None]] = ContextVar("noetl_clock", default=None)
"""What `now` asks for the time: tests of playbooks set their virtual clock."""

_LONGEST_FORMAT: Final = 200
_WIDTH: Final = re.compile(r"%[-_0^#+]*\d{3}")
"""A width of three digits in a strftime format, which the C library fills."""


def now(format: str | None = None) -> str:
    """Return the present time in UTC, ISO 8601, or by a strftime format."""
    clock = TEMPLATE_CLOCK.get()
    moment = datetime.now(UTC) if clock is None else clock()
    if format is None:
        return moment.isoformat()
    if len(format) > _LONGEST_FORMAT or _WIDTH.search(format):
        raise SecurityError(f"now(): a format has at most {_LONGEST_FORMAT} characters and widths of two digits")
    return moment.strftime(format)


def uuid() -> str:
    """Return a new random UUID as text."""
    return str(uuids.uuid4())


def namespace(*args: Any, **kwargs: Any) -> Namespace:
    """Jinja's `namespace`, bounded."""
    return Namespace(make_dict(*args, **kwargs))


def secret(value: object, bound: str) -> str:
    """Return the reference to a secret, in whose place the worker puts the value; `bound`: where it is good."""
    try:
        return refer(read_source(raw(value)), bound)
    except InputError as error:
        raise SecurityError(str(error)) from None


def bounded(spec: FilterSpec) -> Callable[..., Any]:
    """Return a filter that takes no undefined value, charges its result, and hides no reference to a secret."""
    name, function, keeps = spec.name, spec.function, spec.keeps_references
    value_at = 1 if hasattr(function, "jinja_pass_arg") else 0

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        value = args[value_at]
        BUDGET.charge_steps(1)
        if isinstance(value, Undefined) and not spec.takes_undefined:
            str(value)  # raises, with the name
        if not keeps:
            _refuse_reference(name, value)
        result = function(*args, **kwargs)
        if isinstance(result, str):
            if not keeps:
                _refuse_reference(name, result)
            return str.__str__(result)
        return result

    return call


def _refuse_reference(name: str, value: object) -> None:
    """Refuse to change the reference to a secret: its value is not there yet, and would never be found."""
    if isinstance(value, str) and REFERENCE_MARK in value and REFERENCE.search(value):
        raise SecurityError(
            f"{name}: a secret is put in when the call is made, no filter can see it: pass it on as it is (a python"
            " step can change it, 'auth' of type basic encodes it)"
        )


# ---- tests -------------------------------------------------------------------------------------------------------


def _checked(test: Callable[..., Any]) -> Callable[..., Any]:
    """Return a test that looks at what a step's result stands for, within the budget."""

    @functools.wraps(test)
    def call(*args: Any) -> Any:
        BUDGET.charge_steps(1)
        value_at = 1 if hasattr(test, "jinja_pass_arg") else 0
        return test(*args[:value_at], raw(args[value_at]), *args[value_at + 1 :])

    return call


def _of_text(test: Callable[[str], bool]) -> Callable[[Any], bool]:
    return lambda value: test(text(value))


def _divisible(value: object, by: object) -> bool:
    return bool(number(value) % number(by) == 0)


_COMPARING: Final = {
    **dict.fromkeys(("eq", "equalto", "=="), "eq"),
    **dict.fromkeys(("ne", "!="), "ne"),
    **dict.fromkeys(("lt", "lessthan", "<"), "lt"),
    **dict.fromkeys(("le", "<="), "lteq"),
    **dict.fromkeys(("gt", "greaterthan", ">"), "gt"),
    **dict.fromkeys(("ge", ">="), "gteq"),
    "in": "in",
}
_TYPED: Final = (
    *("boolean", "callable", "false", "float", "integer", "iterable", "mapping", "none", "number", "sameas"),
    *("sequence", "string", "true"),
)


def _tests() -> dict[str, Callable[..., Any]]:
    known = cast("Mapping[str, Callable[..., Any]]", tests.TESTS)
    return {
        **{name: known[name] for name in ("defined", "undefined", "filter", "test")},
        **{name: _checked(known[name]) for name in _TYPED},
        **{name: _checked(COMPARISONS[name_of]) for name, name_of in _COMPARING.items()},
        "divisibleby": _checked(_divisible),
        "even": _checked(lambda value: _divisible(value, 2)),
        "odd": _checked(lambda value: not _divisible(value, 2)),
        "escaped": _checked(lambda value: False),
        "lower": _checked(_of_text(str.islower)),
        "upper": _checked(_of_text(str.isupper)),
    }


TESTS: Final = _tests()
FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "range": limited_range,
    "dict": make_dict,
    "namespace": namespace,
    "now": now,
    "uuid": uuid,
    "fromjson": text_filters.fromjson,
    "tojson": text_filters.tojson,
    "b64encode": text_filters.b64encode,
    "b64decode": text_filters.b64decode,
}

TEXT_FUNCTIONS: Final = frozenset({"now", "uuid"}) | {
    name for name in FUNCTIONS if name in FILTERS and FILTERS[name].gives == "text"
}
"""Functions that give text."""
