"""The boundary around the evaluation of templates, which are written by users and filled with their data.

Evaluating somebody's text can raise anything: Jinja's compiled code a `SyntaxError`, a filter an `AssertionError`, a
date an `OverflowError`, a deep value a `RecursionError`, a huge one a `MemoryError`. No list of types holds them all,
so every `Exception` that comes out becomes an `InputError`, which fails that step or refuses that start. A fault of
the engine's own, raised elsewhere, quarantines its execution.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import jinja2

from noetl.errors import InputError, TemplateError
from noetl.playbook.values import brief

Result = TypeVar("Result")

_MAX_REASON_CHARACTERS: Final = 1000


def evaluated(compute: Callable[..., Result], *args: Any) -> Result:
    """Return `compute(*args)`, which evaluates what a user wrote. Raises `InputError` for every exception of it."""
    try:
        return compute(*args)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - the boundary
        raise TemplateError(reason_of(error)) from None


def reason_of(error: Exception) -> str:
    """Return the reason of an error as one bounded sentence, without the long parts of values."""
    if isinstance(error, TemplateError):
        return error.reason
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, MemoryError):
        return "there is not enough memory for it"
    if isinstance(error, SyntaxError):
        return f"it is nested too deeply, or too large, to be compiled ({error.msg})"
    if isinstance(error, jinja2.TemplateError):
        reason = error.message or type(error).__name__
    elif isinstance(error, KeyError) and error.args:
        reason = f"KeyError: {brief(error.args[0])}"
    else:
        reason = f"{type(error).__name__}: {error}"
    return reason if len(reason) <= _MAX_REASON_CHARACTERS else reason[: _MAX_REASON_CHARACTERS - 3] + "..."
