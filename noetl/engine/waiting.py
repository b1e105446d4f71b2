"""Waits of a step that hold no worker: for a moment, or for a child execution.

Moments are whole microseconds since 1970.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeGuard

import orjson

from noetl.engine.render import Rendered
from noetl.errors import InputError
from noetl.outcomes import Deferred, Done, ErrorValue, Failed, error_value
from noetl.playbook.durations import moment, seconds
from noetl.playbook.values import brief

CANCELLED_BY_PARENT: Final = ("parent", "the parent execution was cancelled")
"""Who cancels a child, and the reason."""

_MAX_VERSION_DIGITS: Final = 10

MAX_CALL_DEPTH: Final = 50
"""How deep playbooks can call each other: beyond it, one surely calls itself."""


@dataclass(frozen=True, slots=True)
class ChildCall:
    """Which child a `playbook` step wants. `passed`: what of the payload it may leave aside."""

    path: str
    version: int | None
    payload: dict[str, Any]
    passed: frozenset[str]


def wait(rendered: Rendered, context: Mapping[str, Any], created_at: int, now: int) -> Done | Failed | Deferred:
    """Return the end of a `wait` step, or how long it waits.

    It counts from when its job was made, so that a rebuilt queue comes to the same time. Raises `InputError` for a text
    that is no duration and no timestamp.
    """
    fields, limit = rendered.fields, limit_of(rendered, context, now)
    due = context.get("due")
    if due is None:
        due = _until(fields["until"]) if "until" in fields else created_at + _microseconds(fields.get("for"))
    if due <= now:
        until = datetime.fromtimestamp(due / 1_000_000, UTC).isoformat()
        return Done(orjson.dumps({"until": until}))
    if limit is None:
        return _until_moment(due, now, {"due": due})
    if limit <= now:
        return Failed(timed_out(rendered.timeout))
    return _until_moment(min(due, limit), now, {"due": due, "limit": limit})


def _until_moment(moment: int, now: int, context: dict[str, Any]) -> Deferred:
    return Deferred((moment - now) / 1_000_000, context)


def limit_of(rendered: Rendered, context: Mapping[str, Any], now: int) -> int | None:
    """Return when an attempt that waits without a worker is over its timeout; the first answer stands in `context`."""
    known: int | None = context.get("limit")
    if known is not None or rendered.timeout is None:
        return known
    return now + _microseconds(rendered.timeout)


def _until(value: object) -> int:
    try:
        return moment(value)
    except InputError as error:
        raise InputError(f"until: {error}") from None


def _microseconds(duration: object) -> int:
    return int(seconds(duration) * 1_000_000)


def timed_out(timeout: float | None) -> ErrorValue:
    """Return the error value of an attempt that waited beyond its timeout."""
    return error_value("timeout", f"the attempt was not over after its timeout of {timeout:g} s", retryable=True)


# ---- children --------------------------------------------------------------------------------------------------------


def return_step(rendered: Rendered) -> str | None:
    """Return the child's step whose result is wanted, None for the child's own. Raises `InputError`."""
    name = rendered.fields.get("return_step")
    if name is not None and not _is_name(name):
        raise InputError(f"return_step: {brief(name)} is no step: write the name of one of the child's steps")
    return name


def child_call(rendered: Rendered) -> ChildCall:
    """Return which child a `playbook` step wants. Raises `InputError`."""
    path, version = rendered.fields.get("path"), rendered.fields.get("version")
    if not _is_name(path):
        raise InputError(f"path: {brief(path)} is no path: write the path of a playbook in the catalog")
    if version is not None and (not _is_version(version)):
        raise InputError(f"version: {brief(version)} is no version: write a number like 3")
    return ChildCall(
        path.strip().removesuffix(".yaml").removesuffix(".yml"),
        int(version) if version is not None else None,
        dict(rendered.args),
        rendered.passed,
    )


def _is_version(value: object) -> bool:
    if isinstance(value, str):
        return value.isascii() and value.isdigit() and len(value) <= _MAX_VERSION_DIGITS
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_name(value: object) -> TypeGuard[str]:
    """Tell whether a value can be looked up in the database as a name: text, and all of it characters."""
    return isinstance(value, str) and value.strip() != "" and value.isprintable()


def too_deep(depth: int, path: str) -> ErrorValue:
    """Return the error value of a step whose child would stand deeper than `MAX_CALL_DEPTH`."""
    return error_value("playbook", f"playbooks call each other {depth} deep: does {path} call itself?")


def child_failed(execution_id: int, path: str, status: str, inner: Mapping[str, object]) -> ErrorValue:
    """Return the error value of a step whose child has not completed; `inner` is the child's error."""
    cause = inner.get("cause") or inner.get("message") or ""  # of the innermost child, however deep it is
    message = f"child execution {execution_id} of {path} {status}" + (f": {cause}" if cause else "")
    detail = {"execution_id": str(execution_id), "path": path, "status": status, "error": dict(inner) or None}
    return error_value("playbook", message, retryable=bool(inner.get("retryable")), detail=detail, cause=cause)


def no_return_step(path: str, step: str | None) -> ErrorValue:
    """Return the error value where the step whose result is wanted has not completed."""
    return error_value("playbook", f"return_step: {path} has no step {step!r} that has completed")
