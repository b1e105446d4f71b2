"""The answers that calls get: the stubs of a test, tried in order."""

from collections.abc import Mapping
from typing import Any, Final

from noetl.errors import InputError
from noetl.outcomes import Done, Failed
from noetl.playbook.step_types import STEP_TYPES
from noetl.playbook.testfile.model import Stub, StubAnswer
from noetl.playbook.values import plain
from noetl.testing.broken_test import BrokenTest
from noetl.testing.calls import CallRecord

MAX_RESULT_BYTES: Final = 32 * 1024 * 1024
"""Bytes that a result may have."""


class StubAnswers:
    """The stubs of one playbook in a test, and how often each answer has been given."""

    def __init__(self, stubs: Mapping[str, Stub], behind: Mapping[str, Stub] | None = None) -> None:
        """`behind` are stubs by type that hold where `stubs` have none."""
        self._stubs = stubs
        self._behind = behind or {}
        self._given: dict[int, int] = {}

    def find(self, call: CallRecord) -> StubAnswer | None:
        """Return the answer to a call, None where it has no stub. Raises `BrokenTest` where its stub has none left."""
        stub = self._stubs.get(call.step) or self._stubs.get(call.type) or self._behind.get(call.type)
        if stub is None:
            return None
        answers, line = stub.answers, stub.line
        own = stub.items.get(str(call.item))
        if own is not None:
            answers, line = own.answers, own.line
        scope = _scope(call)
        for answer in answers:
            used = self._given.get(id(answer), 0)
            if (answer.times is None or used < answer.times) and _holds(answer, scope):
                self._given[id(answer)] = used + 1
                return answer
        message = f"the stub of {call} has no answer left for a call with args {dict(call.args)!r:.500}"
        raise BrokenTest(
            message, line=line, advice="add one to its list, or one with 'when: true' for every further call"
        )


def _scope(call: CallRecord) -> dict[str, Any]:
    """Return the names that templates of stubs can read."""
    return {
        "args": call.args,
        "fields": call.fields,
        "visit": call.visit,
        "attempt": call.attempt,
        "index": call.index,
    }


def _holds(answer: StubAnswer, scope: Mapping[str, object]) -> bool:
    if answer.when is None:
        return True
    try:
        return bool(answer.when.render(scope))
    except InputError as error:
        raise BrokenTest(str(error), line=answer.line) from None


def outcome_of(answer: StubAnswer, call: CallRecord) -> Done | Failed:
    """Return the outcome that an answer stands for. Raises `BrokenTest` where it cannot be made."""
    if answer.error is not None:
        return Failed(dict(answer.error))
    try:
        value = answer.result
        if answer.render is not None:
            value = answer.render.render(_scope(call))
        return Done(plain(value, MAX_RESULT_BYTES, f"result of the stub of {call.step!r}"))
    except InputError as error:
        raise BrokenTest(str(error), line=answer.line) from None


def unstubbed(call: CallRecord) -> BrokenTest:
    """Return the trouble of a call that would reach outside, with the stub to write."""
    if call.type == "secrets":
        name = call.fields.get("name")
        advice = f"secrets:\n  {name}: some-value"
        return BrokenTest(f"{call} asks for the secret {name!r}, and the test gives none", advice=advice)
    advice = f"stubs:\n  {call.step}:\n    {STEP_TYPES[call.type].stub}"
    return BrokenTest(f"{call} has effects outside, and the test has no stub for it", advice=advice)
