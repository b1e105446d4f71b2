"""The conditions of `retry`, evaluated on an attempt that has ended."""

from collections.abc import Mapping
from typing import Any, Final

from noetl.engine.failing import template_error
from noetl.engine.loops.scope import names_of_item
from noetl.engine.retry import when_asks_result
from noetl.engine.turn import StepRun, Turn
from noetl.errors import InputError
from noetl.outcomes import ErrorValue, error_value
from noetl.playbook.model import Template
from noetl.playbook.templates.conditions import AmbiguousCondition
from noetl.playbook.templates.result_views import ABSENT, result_view
from noetl.words import NO_ITEM

UNSATISFIED_ERROR: Final = "unsatisfied"
"""The type of the error that stands for a success which `retry` does not accept."""

_UNSATISFIED_MESSAGE: Final = "the attempt succeeded, but its result is not the one that 'retry' waits for"


def wanted(turn: Turn, run: StepRun, error: ErrorValue) -> bool:
    """Whether the conditions want another attempt after a failure. If `when` cannot be rendered, they do not."""
    policy = run.plan.step.retry
    if policy.when is None and policy.until is None:
        return True
    seen = {**error, "step": run.plan.step.name, "attempt": run.attempt}
    names = {**_of_item(turn, run), **condition_names(run.attempt, None, seen)}
    try:
        if policy.until is not None and _over(turn, run, policy.until, names):
            return False
        return policy.when is None or _true(turn, run, policy.when, names)
    except InputError as problem:
        turn.note_error(run, template_error(problem))
        error["retry_error"] = str(problem)
        return False


def _over(turn: Turn, run: StepRun, until: Template, names: dict[str, Any]) -> bool:
    """Whether `until` is true of a failure. The values it asks for may be missing just because the attempt failed.

    Raises `AmbiguousCondition`.
    """
    try:
        return _true(turn, run, until, names)
    except AmbiguousCondition:
        raise
    except InputError:
        return False


def dissatisfied(turn: Turn, run: StepRun, result: bytes) -> ErrorValue | None:
    """Return why a success is not the one that `retry` waits for, as an error value; None where it is."""
    policy, own = run.plan.step.retry, turn.next_id
    turn.reader.raw[own] = result
    try:
        names = {**_of_item(turn, run), **condition_names(run.attempt, turn.reader.result(own), None)}
        if policy.until is not None and _true(turn, run, policy.until, names, own):
            return None
        if when_asks_result(policy) and not _wants_better(turn, run, names, own):
            return None
    except InputError as problem:
        return template_error(problem, phase="retry")
    return error_value(UNSATISFIED_ERROR, _UNSATISFIED_MESSAGE, retryable=True)


def _wants_better(turn: Turn, run: StepRun, names: dict[str, Any], own: int) -> bool:
    """Whether `when` wants another attempt after a success. If it cannot be rendered, the success stands.

    Raises `AmbiguousCondition`.
    """
    when = run.plan.step.retry.when
    assert when is not None
    try:
        return _true(turn, run, when, names, own)
    except AmbiguousCondition:
        raise
    except InputError as problem:
        turn.note_error(run, template_error(problem))
        return False


def _true(turn: Turn, run: StepRun, condition: Template, names: dict[str, Any], own: int = 0) -> bool:
    place = run.place(own if run.item == NO_ITEM else 0, names)
    return bool(condition.render(turn.scopes(place).scope(condition.names)))


def _of_item(turn: Turn, run: StepRun) -> dict[str, Any]:
    """Return what its loops give an item to name; nothing where a run is none."""
    if run.item == NO_ITEM:
        return {}
    return names_of_item(turn.plan, turn.state, turn.reader.values, run.node, run.visit, run.item)


def condition_names(attempt: int, result: object, error: Mapping[str, object] | None) -> dict[str, Any]:
    """Return what the conditions of `retry` read of an attempt beside the names that every template has.

    After a failure `result` is what the error keeps of an answer (`detail`), else None; after a success `error` is
    None. `data` is the result's `data`, else the result itself; `status_code` is 0 where there was no answer.
    """
    if error is not None:
        kept = error.get("detail")
        result = kept if isinstance(kept, dict) else None
    fields = result if isinstance(result, dict) else {}
    code = fields.get("status_code")
    return {
        "attempt": attempt,
        "success": error is None,
        "error": ABSENT if error is None else error,
        "result": result_view(result),
        "data": fields["data"] if "data" in fields else result_view(result),
        "status_code": code if isinstance(code, int) else 0,
    }
