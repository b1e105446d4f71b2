"""Each expectation fails for its own reason, and says where, what was expected, and what there was."""

from collections.abc import Iterator
from typing import Any

import pytest

from noetl.testing.compare import differences, holds
from noetl.testing.python import PythonChild
from tests.support.trials import Trials, told

BOOK = """
workflow:
  - {step: start, next: [fetch, judge]}
  - {step: fetch, type: http, endpoint: x, args: {page: "{{ fetch.next | default(1) }}"}, retry: true, next: [
      {when: "{{ fetch.next }}", then: fetch}, {else: end}]}
  - {step: judge, type: python, code: "def main(): return 1", next: end}
  - {step: never, type: python, code: "def main(): return 1"}
  - {step: end, result: {next: "{{ fetch.next }}", list: [1, 2, 3]}, next: [{when: false, then: never}]}
"""
STUBS = "stubs: {fetch: [{result: {next: 2}}, {error: broken}, {result: {next: null}}]}\n"


@pytest.fixture(scope="module")
def trials() -> Iterator[Trials]:
    with PythonChild({}) as python:
        yield Trials(python)


GOOD = [
    "status: completed",
    "result: {next: null, list: [1, 2, 3.0]}",
    "result: {contains: {list: [1, 3]}}",
    "result: {equals: {next: null, list: [1, 2, 3]}}",
    "steps: [start, fetch, judge, fetch, end]",
    "steps: {exactly: [start, fetch, judge, fetch, end]}",
    "steps: {in_order: [fetch, fetch, end]}",
    "steps: {taken: [end, start]}",
    "steps: {not_taken: [never]}",
    "steps: {visits: {fetch: 2, never: 0}}",
    "calls: {fetch: 3, never: 0, judge: 1}",
    "calls: {fetch: {visit: 2, args: {page: 2}}}",
    "calls: {fetch: [{visit: 1}, {visit: 2, attempt: 1}, {visit: 2, attempt: 2, fields: {endpoint: x}}]}",
    "duration: 1s",
]

WRONG = [
    ("status: failed", "status: expected failed, got completed"),
    ("error: broken", 'status: expected failed, got completed\nerror: expected {"message": "broken"}, there is none'),
    ("result: {next: 1, list: [1, 2, 3]}", "result.next: expected 1, got null"),
    ("result: {next: null}", "result.list: not expected, got [1, 2, 3]"),
    ("result: {next: null, list: [1, 2]}", "result.list: expected 2 items, got 3"),
    ("result: {next: null, list: [true, 2, 3]}", "result.list[0]: expected true, got 1"),
    ("result: {contains: {lost: 1}}", "result.lost: expected 1, it is not there"),
    (
        "result: {contains: {list: [3, 1]}}",
        "result.list: expected item 1, 1, is not there (or not in this order)",
    ),
    ("steps: [start, judge, fetch]", "steps: after 'start' expected 'judge', got 'fetch'"),
    ("steps: [start, fetch, judge, fetch]", "steps: after 'fetch' expected the end, got 'end'"),
    ("steps: [start, fetch, judge, fetch, end, never]", "steps: after 'end' expected 'never', got the end"),
    ("steps: {in_order: [end, fetch]}", "steps in order: 'fetch' was not taken in this place"),
    ("steps: {in_order: [start, never]}", "steps in order: 'never' was not taken"),
    ("steps: {taken: [start, never]}", "steps taken: 'never' was not"),
    ("steps: {not_taken: [start, never]}", "steps not taken: 'start' was"),
    ("steps: {visits: {fetch: 3}}", "visits of 'fetch': expected 3, got 2"),
    ("calls: {fetch: 2}", "calls of 'fetch': expected 2, got 3"),
    ("calls: {never: {args: {}}}", "calls of 'never': expected one, there is none"),
    (
        "calls: {fetch: {visit: 2, args: {page: 3}}}",
        "calls of 'fetch': none of 3 is as expected; the nearest\n  call.args.page: expected 3, got 2",
    ),
    (
        "calls: {fetch: [{visit: 1}, {args: {page: 1}}]}",
        "calls of 'fetch': expected 2, got 3\ncalls of 'fetch'[1].args.page: expected 1, got 2",
    ),
    ("duration: 500ms", "duration: expected at most 0.5 s, took 1 s"),
]


@pytest.mark.parametrize("expect", GOOD)
def test_what_is_so_passes(trials: Trials, expect: str) -> None:
    trials.passes(BOOK, STUBS + f"expect: {{{expect}}}")


@pytest.mark.parametrize(("expect", "why"), WRONG)
def test_what_is_not_so_fails_and_says_why(trials: Trials, expect: str, why: str) -> None:
    assert trials.fails(BOOK, STUBS + f"expect: {{{expect}}}") == why


FAILING = "- {step: start, type: http, endpoint: x}"


def test_without_more_said_a_test_expects_completion(trials: Trials) -> None:
    assert trials.fails(FAILING, "stubs: {http: {error: broken}}") == "status: expected completed, got failed: broken"


def test_an_expected_error_is_compared_key_by_key(trials: Trials) -> None:
    stubs = "stubs: {http: {error: {type: http, message: the API is gone}}}\n"
    trials.passes(FAILING, stubs + "expect: {error: API is}")
    trials.passes(FAILING, stubs + "expect: {error: {type: http, message: gone, step: start, retryable: true}}")
    why = trials.fails(FAILING, stubs + "expect: {error: {type: timeout, message: back, retryable: false}}")
    assert why.splitlines() == [
        'error.type: expected "timeout", got "http"',
        'error.message: expected "back" in it, got "the API is gone"',
        "error.retryable: expected false, got true",
    ]


def test_every_failure_is_told_each_with_its_line(trials: Trials) -> None:
    test = (
        STUBS
        + "expect:\n  result: 1\n  steps:\n    taken: [never]\n    visits:\n      fetch: 9\n  calls:\n    judge: 5\n"
    )
    tested = trials.one(BOOK, test)
    first = tested.failures[0].line
    assert [(failure.kind, failure.line - first) for failure in tested.failures] == [
        ("result", 0),
        ("taken", 2),
        ("visits", 4),
        ("calls", 6),
    ]
    assert tested.failures[2].expected == 9
    assert tested.failures[2].got == 2
    assert "result: expected 1" in told(tested)


# ---- comparing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "got", "more", "same"),
    [
        ({"a": 1}, {"a": 1}, False, True),
        ({"a": 1}, {"a": 1, "b": 2}, False, False),
        ({"a": 1}, {"a": 1, "b": 2}, True, True),
        ({"a": {"b": [1]}}, {"a": {"b": [0, 1], "c": 1}}, True, True),
        ([1, 3], [1, 2, 3], True, True),
        ([1, 1], [1], True, False),
        ([], [1], True, True),
        ([], [1], False, False),
        (1, 1.0, False, True),
        (True, 1, False, False),
        (0, False, False, False),
        (None, 0, False, False),
        ("1", 1, False, False),
        ([{"a": 1}, {"a": 2}], [{"a": 1, "b": 1}, {"a": 2}], True, True),
        ({}, [], True, False),
    ],
)
def test_values_are_compared_as_json(expected: Any, got: Any, more: bool, same: bool) -> None:
    assert (differences(expected, got, "v", contains=more) == []) is same
    if more:
        assert holds(expected, got) is same


def test_too_many_differences_are_cut_off() -> None:
    lines = differences(list(range(100)), [-1] * 100, "v")
    assert len(lines) == 21
    assert (lines[0], lines[-1]) == ("v[0]: expected 0, got -1", "...")


def test_a_long_value_is_cut_off() -> None:
    (line,) = differences("a" * 1000, "b", "v")
    assert len(line) < 250
    assert "..." in line


def test_keys_that_are_no_names_are_told_in_quotes() -> None:
    assert differences({"a b": 1}, {"a b": 2}, "v") == ["v['a b']: expected 1, got 2"]
