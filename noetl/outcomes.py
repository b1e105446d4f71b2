"""Outcomes of attempts: the values that go from a tool through the worker and the engine into the event log.

Results travel as raw JSON text (`bytes`): most are stored without ever being looked at.
"""

from dataclasses import dataclass
from typing import Any

from noetl.words import fact

ErrorValue = dict[str, Any]
"""`{type, message, retryable, detail}`, and whatever else belongs to the failure. The type is a word like `timeout`,
`python`, `http`, `template`, `validation`, `cancelled`, `routing`."""


@fact
class Done:
    """The attempt succeeded. `result` is JSON text, checked to be plain and within the limit. `output`: captured prints
    (the last 64 KiB). `saved`: data that a block `save` keeps in the log beside the result."""

    result: bytes
    output: str = ""
    saved: Any = None


@fact
class Failed:
    """The attempt failed. `output`: captured prints. `result`: that of the call, where only its block `save` failed."""

    error: ErrorValue
    output: str = ""
    result: bytes | None = None


@dataclass(slots=True)
class Deferred:
    """The attempt waits without holding a worker: for `seconds`, or (None) until somebody wakes its job. `context` is
    kept with the job."""

    seconds: float | None
    context: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Expired:
    """The lease expired: the worker that held the job is lost."""


def error_value(type_: str, message: str, *, retryable: bool = False, detail: object = None, **more: Any) -> ErrorValue:
    """Return an error value.

    >>> error_value("timeout", "it took too long", retryable=True)
    {'type': 'timeout', 'message': 'it took too long', 'retryable': True, 'detail': None}
    """
    return {"type": type_, "message": message, "retryable": retryable, "detail": detail, **more}


def save_failed(failed: Failed, done: Done) -> Failed:
    """Return the outcome of an attempt whose call gave a result, and whose block `save` failed."""
    return Failed({**failed.error, "phase": "save"}, done.output + failed.output, done.result)
