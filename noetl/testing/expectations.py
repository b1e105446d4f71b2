"""The expectations of a test, compared with its run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from noetl.playbook.testfile.model import Expectation
from noetl.testing.compare import differences, holds, short
from noetl.testing.run_record import RunRecord


@dataclass(frozen=True, slots=True)
class FailedExpectation:
    """Something that was not as expected. `lines` say how, for people."""

    line: int
    kind: str
    lines: tuple[str, ...]
    expected: Any = None
    got: Any = None


def check(expectation: Expectation, run: RunRecord) -> FailedExpectation | None:
    """Return the failure of an expectation, None where it holds."""
    lines, got = EXPECTATION_CHECKS[expectation.kind](expectation, run)
    if not lines:
        return None
    return FailedExpectation(expectation.line, expectation.kind, tuple(lines), expectation.value, got)


Comparison = tuple[list[str], Any]


def _status(expectation: Expectation, run: RunRecord) -> Comparison:
    if run.status == expectation.value:
        return [], run.status
    because = f": {run.error['message']}" if run.error else ""
    return [f"status: expected {expectation.value}, got {run.status}{because}"], run.status


def _result(expectation: Expectation, run: RunRecord) -> Comparison:
    return differences(expectation.value, run.result, "result"), run.result


def _result_contains(expectation: Expectation, run: RunRecord) -> Comparison:
    return differences(expectation.value, run.result, "result", contains=True), run.result


def _error(expectation: Expectation, run: RunRecord) -> Comparison:
    got = run.error
    if got is None:
        return [f"error: expected {short(expectation.value)}, there is none"], None
    wanted: Mapping[str, Any] = expectation.value
    lines = []
    for key, value in wanted.items():
        if key == "message":
            if str(value) not in str(got.get(key)):
                lines.append(f"error.message: expected {short(value)} in it, got {short(got.get(key))}")
        else:
            lines += differences(value, got.get(key), f"error.{key}")
    return lines, got


def _steps(expectation: Expectation, run: RunRecord) -> Comparison:
    got, wanted = run.names, list(expectation.value)
    if got == wanted:
        return [], got
    at = next((n for n, (a, b) in enumerate(zip(wanted, got, strict=False)) if a != b), min(len(wanted), len(got)))
    expected = repr(wanted[at]) if at < len(wanted) else "the end"
    actual = repr(got[at]) if at < len(got) else "the end"
    after = f"after {got[at - 1]!r}" if at else "at the beginning"
    return [f"steps: {after} expected {expected}, got {actual}"], got


def _in_order(expectation: Expectation, run: RunRecord) -> Comparison:
    rest = iter(run.names)
    for name in expectation.value:
        if name not in rest:
            where = "was not taken" if name not in run.names else "was not taken in this place"
            return [f"steps in order: {name!r} {where}"], run.names
    return [], run.names


def _taken(expectation: Expectation, run: RunRecord) -> Comparison:
    missing = [name for name in expectation.value if name not in run.names]
    return [f"steps taken: {name!r} was not" for name in missing], run.names


def _not_taken(expectation: Expectation, run: RunRecord) -> Comparison:
    wrong = [name for name in expectation.value if name in run.names]
    return [f"steps not taken: {name!r} was" for name in wrong], run.names


def _visits(expectation: Expectation, run: RunRecord) -> Comparison:
    count = run.names.count(expectation.step)
    if count == expectation.value:
        return [], count
    return [f"visits of {expectation.step!r}: expected {expectation.value}, got {count}"], count


def _calls(expectation: Expectation, run: RunRecord) -> Comparison:
    got = [call.as_data() for call in run.calls if call.step == expectation.step]
    name, wanted = f"calls of {expectation.step!r}", expectation.value
    if isinstance(wanted, dict):
        if any(holds(wanted, call) for call in got):
            return [], got
        like = max(got, key=lambda call: -len(differences(wanted, call, "", contains=True)), default=None)
        if like is None:
            return [f"{name}: expected one, there is none"], got
        return [f"{name}: none of {len(got)} is as expected; the nearest", *_indented(wanted, like)], got
    count = wanted if isinstance(wanted, int) else len(wanted)
    lines = [] if count == len(got) else [f"{name}: expected {count}, got {len(got)}"]
    if isinstance(wanted, list):
        for index, (one, call) in enumerate(zip(wanted, got, strict=False)):
            lines += differences(one, call, f"{name}[{index}]", contains=True)
    return lines, got


def _indented(wanted: object, call: object) -> list[str]:
    return [f"  {line}" for line in differences(wanted, call, "call", contains=True)]


def _duration(expectation: Expectation, run: RunRecord) -> Comparison:
    if run.seconds <= expectation.value:
        return [], run.seconds
    return [f"duration: expected at most {expectation.value:g} s, took {run.seconds:g} s"], run.seconds


EXPECTATION_CHECKS: Final[dict[str, Callable[[Expectation, RunRecord], Comparison]]] = {
    "status": _status,
    "result": _result,
    "result contains": _result_contains,
    "error": _error,
    "steps": _steps,
    "in_order": _in_order,
    "taken": _taken,
    "not_taken": _not_taken,
    "visits": _visits,
    "calls": _calls,
    "duration": _duration,
}
