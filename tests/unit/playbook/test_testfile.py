"""The section `tests` is read with every problem at its place, when a playbook is loaded as when it is tested."""

from textwrap import dedent

import pytest

from noetl.errors import PlaybookError
from noetl.playbook.load import lint, load_playbook, stored_playbook
from noetl.playbook.testfile.load import load_tested, load_tests

BOOK = """\
metadata: {path: a/b}
workflow:
  - {step: start, next: fetch}
  - {step: fetch, type: http, endpoint: x, next: judge}
  - {step: judge, type: python, code: "def main(): return 1", next: end}
  - {step: end}
finally:
  - {step: last, type: http, endpoint: x}
tests:
"""


def problems(tests: str) -> list[str]:
    """Return what lint finds in tests, without the name of the file; lines count from the first test."""
    found = lint(BOOK + dedent(tests).strip("\n") + "\n", "book.yaml")
    return [f"{p.line - BOOK.count(chr(10))}:{p.column}: {p.code}: {p.message}" for p in found]


GOOD = """\
- name: everything at once
  desc: what it is about
  payload: {a: 1}
  merge: true
  execution_id: "12"
  now: 2026-03-01T08:00:00Z
  env: {HOME: here}
  secrets: {token: x}
  credentials: {db: {type: postgres, password: x}}
  cancel_at: [5m, 6m]
  stubs:
    fetch:
      - {error: text}
      - {error: {type: http, message: m, retryable: false, detail: {a: 1}, cause: c}, times: 2, takes: 1s}
      - {result: null, when: "{{ args.a == 1 }}"}
      - {render: {a: "{{ args.a }}"}, when: true}
    judge: run
    last: {items: {0: {result: 1}, 3: [{error: e}, {result: 2}]}, result: 3}
    postgres: {result: {}}
  children:
    c/one: one.yaml
    c/two: {file: two.yaml, stubs: {anything: {result: 1}}}
    c/three:
  expect:
    status: failed
    result: {contains: {a: 1}}
    error: {type: http, message: m, step: fetch, retryable: true}
    steps: {exactly: [start], in_order: [start, end], taken: [end], not_taken: [judge], visits: {fetch: 2}}
    calls: {fetch: 2, judge: {args: {a: 1}}, last: [{visit: 1, item: 0, attempt: 1, args: {}, fields: {}, auth: a}]}
    duration: 5m
- {name: nothing at all}
"""


def test_everything_that_can_stand_in_a_test_is_read() -> None:
    assert problems(GOOD) == []
    _playbook, (test, plain) = load_tested(BOOK + GOOD, "book.yaml")
    assert (test.name, test.line, test.file, test.execution_id) == ("everything at once", 10, "book.yaml", 12)
    assert test.merge
    assert (test.now, test.cancel_at) == (1_772_352_000 * 1_000_000, (300, 360))
    assert [answer.kind for answer in test.stubs["fetch"].answers] == ["error", "error", "result", "render"]
    assert [answer.times for answer in test.stubs["fetch"].answers] == [1, 2, None, None]
    assert test.stubs["fetch"].answers[0].error == {
        "type": "http",
        "message": "text",
        "retryable": True,
        "detail": None,
    }
    assert test.stubs["judge"].answers[0].kind == "run"
    assert sorted(test.stubs["last"].items) == ["0", "3"]
    assert test.stubs["last"].answers[0].result == 3
    assert {path: child.file for path, child in test.children.items()} == {
        "c/one": "one.yaml",
        "c/two": "two.yaml",
        "c/three": None,
    }
    told = [(each.kind, each.step, each.line - 9) for each in test.expectations]
    assert told == [
        ("status", "", 25),
        ("result contains", "", 26),
        ("error", "", 27),
        ("steps", "", 28),
        ("in_order", "", 28),
        ("taken", "", 28),
        ("not_taken", "", 28),
        ("visits", "fetch", 28),
        ("calls", "fetch", 29),
        ("calls", "judge", 29),
        ("calls", "last", 29),
        ("duration", "", 30),
    ]
    assert [(each.kind, each.value) for each in plain.expectations] == [("status", "completed")]


@pytest.mark.parametrize(
    ("test", "found"),
    [
        ("- {}", "1:3: missing: a test has no name: give it 'name: what it shows'"),
        ("- name: ''", "1:9: wrong-type: the name of a test is empty: write what it shows"),
        ("- name: 5", "1:9: wrong-type: the name of a test is 5: it must be text, in quotes if you mean it: '5'"),
        ("- text", "1:3: wrong-type: a test is 'text': it must be a mapping"),
        (
            "- {name: t}\n- {name: t}",
            "2:10: duplicate-test: the test 't' is defined twice (first in line 10): rename one of them",
        ),
        ("- {name: t, expects: {}}", "1:13: unknown-key: unknown key 'expects' in test 't' (did you mean 'expect'?)"),
        ("- {name: t, payload: [1]}", "1:22: wrong-type: payload of test 't' is a list: it must be a mapping"),
        ("- {name: t, merge: 1}", "1:20: wrong-type: merge of test 't' is 1: it must be true or false"),
        (
            "- {name: t, now: today}",
            "1:18: wrong-type: now of test 't' is 'today': write a timestamp like 2026-01-31T08:00:00Z",
        ),
        (
            "- {name: t, execution_id: x}",
            "1:27: wrong-type: execution_id of test 't' is 'x': write the digits of an id",
        ),
        (
            "- {name: t, cancel_at: soon}",
            "1:24: wrong-type: cancel_at of test 't': 'soon' is not a duration: write seconds (10) or text like"
            " '250ms', '10s', '1h30m'",
        ),
        (
            "- {name: t, stubs: {fech: {result: 1}}}",
            "1:21: unknown-step: stubs of test 't': 'fech' is neither a step nor a type (did you mean 'fetch'?)",
        ),
        (
            "- {name: t, stubs: {start: {result: 1}}}",
            "1:21: unknown-step: stubs of test 't': the step 'start' has no action: the engine itself decides it, there"
            " is nothing to stub",
        ),
        (
            "- {name: t, stubs: {workbook: {result: 1}}}",
            "1:21: unknown-step: stubs of test 't': a stub for 'workbook' has no meaning: name the step, or the type of"
            " its task",
        ),
        (
            "- {name: t, stubs: {fetch: {reslut: 1}}}",
            "1:29: unknown-key: unknown key 'reslut' in the stub of 'fetch' in test 't' (did you mean 'result'?)",
        ),
        (
            "- {name: t, stubs: {fetch: {result: 1, error: e}}}",
            "1:28: missing: the stub of 'fetch' in test 't' has both 'result' and 'error': give it one of result,"
            " render, error, run",
        ),
        (
            "- {name: t, stubs: {fetch: 200}}",
            "1:28: wrong-type: the stub of 'fetch' in test 't' is 200: write 'result: ...', 'error: ...', or 'run' to"
            " carry the step out",
        ),
        (
            "- {name: t, stubs: {fetch: []}}",
            "1:28: missing: the stub of 'fetch' in test 't' is an empty list: write what its calls get",
        ),
        (
            "- {name: t, stubs: {fetch: run}}",
            "1:28: value: the stub of 'fetch' in test 't': a step of type http has effects outside and cannot run in a"
            " test: give it a result",
        ),
        (
            "- {name: t, stubs: {judge: {run: false}}}",
            "1:34: wrong-type: run of the stub of 'judge' in test 't' is false: it can only be true",
        ),
        (
            "- {name: t, stubs: {fetch: {result: 1, times: 0}}}",
            "1:47: wrong-type: times of the stub of 'fetch' in test 't' is 0: it must be a whole number of at least 1",
        ),
        (
            "- {name: t, stubs: {fetch: {result: 1, when: yes}}}",
            "1:46: condition: when of the stub of 'fetch' in test 't' is 'yes': it must be true, false or {{ ..."
            " }}: write '{{ yes }}'",
        ),
        (
            '- {name: t, stubs: {fetch: {render: "{{ a b }}"}}}',
            "1:37: template: render of the stub of 'fetch' in test 't': expected token 'end of print statement',"
            " got 'b' in '{{ a b }}'",
        ),
        (
            "- {name: t, stubs: {fetch: {error: {typ: x}}}}",
            "1:37: unknown-key: unknown key 'typ' in error of the stub of 'fetch' in test 't' (did you mean 'type'?)",
        ),
        (
            "- {name: t, stubs: {fetch: {items: {first: {result: 1}}}}}",
            "1:37: value: items of the stub of 'fetch' in test 't': 'first' is no index: items count 0, 1, 2 ...",
        ),
        (
            "- {name: t, stubs: {fetch: {items: [{items: [{result: 1}]}]}}}",
            "1:37: unknown-key: item 0 of the stub of 'fetch' in test 't' has items of its own: write '0/0' for them",
        ),
        (
            "- {name: t, children: {c/one.yaml: one.yaml}}",
            "1:24: value: child 'c/one.yaml' of test 't': a child is named by its path in the catalog: write 'c/one'",
        ),
        (
            "- {name: t, children: {c: {files: x}}}",
            "1:28: unknown-key: unknown key 'files' in child 'c' of test 't' (did you mean 'file'?)",
        ),
        (
            "- {name: t, expect: {status: complete}}",
            "1:30: value: status in expect of test 't' is 'complete' (did you mean 'completed'?): it is one of"
            " cancelled, completed, failed",
        ),
        (
            "- {name: t, expect: {reslt: 1}}",
            "1:22: unknown-key: unknown key 'reslt' in expect of test 't' (did you mean 'result'?)",
        ),
        (
            "- {name: t, expect: {steps: [start, fetsch]}}",
            "1:37: unknown-step: steps in expect of test 't': there is no step 'fetsch' (did you mean 'fetch'?)",
        ),
        (
            "- {name: t, expect: {steps: {order: [start]}}}",
            "1:30: unknown-key: unknown key 'order' in steps in expect of test 't' (did you mean 'in_order'?)",
        ),
        (
            "- {name: t, expect: {steps: {visits: {lost: 1}}}}",
            "1:39: unknown-step: steps in expect of test 't': there is no step 'lost' (did you mean 'last'?)",
        ),
        (
            "- {name: t, expect: {calls: {jugde: 1}}}",
            "1:30: unknown-step: calls in expect of test 't': there is no step 'jugde' (did you mean 'judge'?)",
        ),
        (
            "- {name: t, expect: {calls: {judge: -1}}}",
            "1:37: wrong-type: 'judge' of calls in expect of test 't' (a number, a call, or the list of all calls)"
            " is -1: it must be a whole number of at least 0",
        ),
        (
            "- {name: t, expect: {calls: {judge: {arg: {}}}}}",
            "1:38: unknown-key: unknown key 'arg' in a call of 'judge' of calls in expect of test 't' (did you mean"
            " 'args'?)",
        ),
        (
            "- {name: t, expect: {error: {step: fecth}}}",
            "1:36: unknown-step: error in expect of test 't': there is no step 'fecth' (did you mean 'fetch'?)",
        ),
        (
            "- {name: t, expect: {error: 5}}",
            "1:29: wrong-type: error in expect of test 't' is 5: it must be a mapping",
        ),
        (
            "- {name: t, expect: {duration: -5s}}",
            "1:32: wrong-type: duration in expect of test 't': '-5s' is not a duration: write seconds (10) or text like"
            " '250ms', '10s', '1h30m'",
        ),
    ],
)
def test_each_mistake_is_one_problem_at_its_place(test: str, found: str) -> None:
    assert problems(test) == [found]


def test_all_problems_are_told_at_once() -> None:
    text = """
    - name: one
      stubs: {strat: {result: 1}, fetch: {reslut: 1}}
      expect: {steps: [nowhere], duration: x}
    - nam: two
    """
    assert [line.split(": ")[1] for line in problems(text)] == [
        "unknown-step",
        "unknown-key",
        "unknown-step",
        "wrong-type",
        "missing",
        "unknown-key",
    ]


def test_a_playbook_with_wrong_tests_is_not_loaded() -> None:
    """So registration refuses it, too."""
    with pytest.raises(PlaybookError, match=r"book.yaml:10:21: error: unknown-step: stubs of test 't': 'nowhere'"):
        load_playbook(BOOK + "- {name: t, stubs: {nowhere: {result: 1}}}", "book.yaml")


def test_tests_are_a_list_or_nothing() -> None:
    assert lint(BOOK, "book.yaml") == []
    (problem,) = lint(BOOK.replace("tests:", "tests: {a: 1}"), "book.yaml")
    assert problem.message == "tests is a mapping: it must be a list"


def test_where_steps_have_problems_of_their_own_tests_do_not_repeat_them() -> None:
    """A step whose type is misspelt can be stubbed; one that cannot be read at all leaves names unchecked."""
    text = BOOK.replace("type: http, endpoint: x, next: judge", "type: htp, next: judge")
    found = lint(text + "- {name: t, stubs: {fetch: {result: 1}}}\n", "book.yaml")
    assert [problem.code for problem in found] == ["unknown-type"]
    text = BOOK.replace("{step: fetch, ", "{stp: fetch, ")
    found = lint(text + "- {name: t, stubs: {fetch: {result: 1}}}\n", "book.yaml")
    assert all(problem.line < 9 for problem in found)


def test_a_file_of_tests_has_nothing_else() -> None:
    playbook = load_playbook(BOOK.removesuffix("tests:\n"), "book.yaml")
    (test,) = load_tests("tests:\n  - {name: t}\n", "book.test.yaml", playbook)
    assert (test.name, test.file, test.line) == ("t", "book.test.yaml", 2)
    for text, told in [
        ("test: []\n", "1:1: error: unknown-key: unknown key 'test' in the file of tests (did you mean 'tests'?)"),
        ("{}\n", "1:1: error: missing: the file has no tests: add 'tests:' with a list of them"),
        ("[]\n", "1:1: error: wrong-type: the file of tests is a list: it must be a mapping"),
        ("tests:\n  - {name: t, stubs: {no: {result: 1}}}\n", "2:23: error: unknown-step: stubs of test 't': 'no'"),
    ]:
        with pytest.raises(PlaybookError) as caught:
            load_tests(text, "book.test.yaml", playbook)
        assert f"book.test.yaml:{told}" in str(caught.value)


def test_a_stored_playbook_is_loaded_whatever_its_tests_are() -> None:
    """What was registered once still runs when tests have come to be checked more strictly."""
    text = BOOK + "- {name: t, stubs: {nowhere: {result: 1}}}"
    assert stored_playbook(text, "book.yaml").path == "a/b"
    with pytest.raises(PlaybookError):
        load_playbook(text, "book.yaml")
