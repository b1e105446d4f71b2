"""The run of a playbook's test, and its verdict."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from noetl.errors import InputError
from noetl.playbook.model import Playbook
from noetl.playbook.testfile.load import steps_of
from noetl.playbook.testfile.model import Stub, Test
from noetl.playbook.testfile.stubs import wrong_name
from noetl.testing.broken_test import BrokenTest
from noetl.testing.expectations import FailedExpectation, check
from noetl.testing.python import PythonChild
from noetl.testing.run_record import RunRecord, record_of
from noetl.testing.simulation import Simulation

FindFile = Callable[[str, str | None], Playbook | None]
"""Return the playbook of a catalog path: from the file that a test names for it (counted from the test's own), else
from the one where the path says. Raises `InputError` for a file that cannot be read."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One test that has run. `advice` is for a test that could not go on; `seconds` are real ones."""

    test: Test
    run: RunRecord
    failures: tuple[FailedExpectation, ...]
    advice: str
    seconds: float
    output: Sequence[tuple[str, str]]

    @property
    def ok(self) -> bool:
        return not self.failures


def run_test(playbook: Playbook, test: Test, find_file: FindFile, python: PythonChild) -> Verdict:
    """Run one test."""
    began = time.perf_counter()
    simulation = Simulation(test, playbook, _Children(test, find_file).find, python)
    advice, failures = "", []
    try:
        simulation.run()
    except BrokenTest as problem:
        advice = problem.advice
        failures.append(FailedExpectation(problem.line or test.line, "trouble", (problem.message,)))
    record = record_of(simulation)
    if not failures:
        failures = [failure for each in test.expectations if (failure := check(each, record)) is not None]
    seconds = time.perf_counter() - began
    return Verdict(
        test=test,
        run=record,
        failures=tuple(failures),
        advice=advice,
        seconds=seconds,
        output=tuple(simulation.output),
    )


class _Children:
    """The child playbooks that a test can call."""

    def __init__(self, test: Test, find_file: FindFile) -> None:
        self._test = test
        self._find_file = find_file

    def find(self, path: str) -> tuple[Playbook, Mapping[str, Stub]] | None:
        child = self._test.children.get(path)
        try:
            playbook = self._find_file(path, child.file if child is not None else None)
        except InputError as error:
            raise BrokenTest(f"the child {path!r} cannot be read: {error}", line=child.line if child else 0) from None
        if playbook is None or child is None:
            return None if playbook is None else (playbook, {})
        steps = steps_of(playbook)
        for name, stub in child.stubs.items():
            if wrong := wrong_name(name, steps):
                raise BrokenTest(f"stubs of the child {path!r}: {wrong}", line=stub.line)
        return playbook, child.stubs


def as_data(tested: Verdict, file: str) -> dict[str, Any]:
    """Return a test that has run as plain JSON."""
    record = tested.run
    return {
        "file": file,
        "test_file": tested.test.file,
        "line": tested.test.line,
        "name": tested.test.name,
        "ok": tested.ok,
        "milliseconds": round(tested.seconds * 1000, 3),
        "status": record.status,
        "result": record.result,
        "error": record.error,
        "duration": round(record.seconds, 6),
        "steps": [
            {"step": each.step, "visit": each.visit, "ended": each.ended, "result": each.result, "error": each.error}
            for each in record.path
        ],
        "calls": [{"step": call.step, **call.as_data()} for call in record.calls],
        "failures": [
            {
                "line": each.line,
                "what": each.kind,
                "differences": each.lines,
                "expected": each.expected,
                "got": each.got,
            }
            for each in tested.failures
        ],
        "advice": tested.advice or None,
    }
