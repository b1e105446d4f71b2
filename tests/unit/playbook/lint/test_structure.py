"""Checking: every problem at once, each at its place, with what to do; and no false alarm."""

import pytest

from noetl.errors import PlaybookError
from noetl.playbook.load import lint, load_playbook

HEAD = "metadata: {path: p}\n"


def findings(body: str, head: str = HEAD) -> list[str]:
    return [str(problem).removeprefix("f.yaml:") for problem in lint(head + body, "f.yaml")]


def one_step(body: str) -> str:
    lines = "".join(f"    {line}\n" for line in body.strip("\n").splitlines())
    return f"workflow:\n  - step: start\n    next: s\n  - step: s\n{lines}"


def looped(loop: str) -> str:
    return one_step(f"type: http\nendpoint: x\nloop: {loop}")


def test_all_problems_at_once() -> None:
    """In the order of the file, each with line and column, and the exception carries them all."""
    text = """apiVersion: noetl.io
kind: Playbook
metadata: {path: p, nam: x}
workloud: {}
workload: {greet: 1, x: "{{ a b }}"}
workflow:
  - step: start
    nxt: greet
    next:
      - when: a == 1
        then: [greet, gret]
  - step: greet
    type: http
    retry: {max: 3}
    timeout: soon
  - step: result
    type: pyton
  - step: a-b
    type: python
    code: |
      def main(x):
          return x +
"""
    expected = [
        "1:13: error: value: apiVersion is 'noetl.io': write noetl.io/v1",
        "3:21: error: unknown-key: unknown key 'nam' in metadata (did you mean 'name'?)",
        "4:1: error: unknown-key: unknown key 'workloud' in the playbook (did you mean 'workload'?)",
        "5:25: error: template: workload.x: expected token 'end of print statement', got 'b' in '{{ a b }}'",
        "8:5: error: unknown-key: unknown key 'nxt' in step 'start' (did you mean 'next'?)",
        "10:15: error: condition: next.when is 'a == 1': it must be true, false or {{ ... }}: write '{{ a == 1 }}'",
        "11:23: error: dangling: step 'start' leads to 'gret', which does not exist (did you mean 'greet'?)",
        "12:5: error: missing: step 'greet' of type http has no 'endpoint': add it",
        "12:11: error: clash: the step 'greet' has the name of a workload key (line 5): rename one",
        "14:13: error: unknown-key: unknown key 'max' in retry of step 'greet': write 'max_attempts', which counts the"
        " first one",
        "15:14: error: wrong-type: timeout of step 'greet': 'soon' is not a duration:"
        " write seconds (10) or text like '250ms', '10s', '1h30m'",
        "16:11: error: reserved-name: the step name 'result' is reserved: call it 'result_step'",
        "16:11: error: unreachable: no way leads to the step 'result' of workflow",
        "17:11: error: unknown-type: step 'result': unknown type 'pyton' (did you mean 'python'?)",
        "18:11: error: bad-name: the step name 'a-b' is no identifier: write 'a_b'",
        "18:11: error: unreachable: no way leads to the step 'a-b' of workflow",
        "22:21: error: python: code of step 'a-b': invalid syntax",
    ]
    assert findings(text, "") == expected
    with pytest.raises(PlaybookError) as caught:
        load_playbook(text, "f.yaml")
    assert [str(problem) for problem in caught.value.problems] == [f"f.yaml:{line}" for line in expected]
    assert str(caught.value).count("\n") == len(expected) - 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        # the document
        ("", "1:1: error: missing: there is no workflow: add one"),
        ("workflow:\n", "missing: workflow has no steps"),
        ("workflow: []\n", "missing: workflow has no steps"),
        ("workflow: {step: a}\n", "workflow is a mapping: it must be a list"),
        ("workflow: [a]\n", "a step is 'a': it must be a mapping"),
        ("workflow: [{type: python}]\n", "a step has no name: give it 'step: name'"),
        ("workflow: [{step: 5}]\n", "the name of a step is 5: it must be text, in quotes if you mean it: '5'"),
        ("workflow: [{step: '{{ x }}'}]\n", "the name of a step is a template: it must be plain text"),
        ("workflow: [{step: ''}]\n", "the name of a step is empty"),
        ("workload: 5\nworkflow: [{step: a}]\n", "workload is 5: it must be a mapping"),
        ("workload: '{{ x }}'\nworkflow: [{step: a}]\n", "workload is '{{ x }}': it must be a mapping"),
        ("workload: {'{{ x }}': 1}\nworkflow: [{step: a}]\n", "is a template: only values can be"),
        ("timeout: 0\nworkflow: [{step: a}]\n", "timeout is 0: it must be more"),
        ("timeout: -1\nworkflow: [{step: a}]\n", "timeout: -1 is negative"),
        ("timeout: '{{ x }}'\nworkflow: [{step: a}]\n", "is not a duration"),
        ("priority: high\nworkflow: [{step: a}]\n", "priority is 'high': it must be a whole number"),
        ("pool: 5\nworkflow: [{step: a}]\n", "pool is 5: it must be text"),
        ("labels: [a]\nworkflow: [{step: a}]\n", "labels is a list: it must be a mapping"),
        ("labels: {a: [b]}\nworkflow: [{step: a}]\n", "the label 'a' is a list: it must be text"),
        ("tests: 5\nworkflow: [{step: a}]\n", "tests is 5: it must be a list"),
        ("finally: []\nworkflow: [{step: a}]\n", "finally has no steps"),
        ("steps: []\nworkflow: [{step: a}]\n", "the playbook has both 'workflow' and 'steps': leave one out"),
        # names
        ("workflow: [{step: a, next: a}, {step: a}]\n", "the step 'a' is defined twice (first in line 2)"),
        ("workflow: [{step: a}]\nfinally: [{step: a}]\n", "the step 'a' of finally is in workflow too (line 2)"),
        (
            "workload: {a: 1}\nworkflow: [{step: b}]\nfinally: [{step: a}]\n",
            "the step 'a' has the name of a workload key",
        ),
        ("workflow: [{step: 1st}]\n", "the step name '1st' is no identifier: write 'step_1st'"),
        ("workflow: [{step: 'a b'}]\n", "the step name 'a b' is no identifier: write 'a_b'"),
        ("workflow: [{step: schön}]\n", "the step name 'schön' is no identifier: write 'sch_n'"),
        (f"workflow: [{{step: {'a' * 201}}}]\n", "is longer than 200 characters: shorten it"),
        (f"pool: {'ö' * 1001}\nworkflow: [{{step: a}}]\n", "pool is longer than 2,000 bytes: shorten it"),
        ("workflow: [{step: none}]\n", "is a word of the language"),
        ("workflow: [{step: continue}]\n", "is a word of the language"),
        # keys of a step
        (one_step("desc: [x]"), "desc of step 's' is a list: it must be text"),
        (one_step("args: [x]"), "args of step 's' is a list: it must be a mapping"),
        (one_step("args: text"), "args of step 's' is 'text': it must be a mapping"),
        (one_step("max_visits: 0"), "max_visits of step 's' is 0: it must be a whole number of at least 1"),
        (one_step("max_visits: '3'"), "max_visits of step 's' is '3': it must be a whole number"),
        (one_step("pool: [a]"), "pool of step 's' is a list"),
        (one_step("timeout: 0s"), "timeout of step 's' is 0: it must be more"),
        (one_step("retry: 0"), "retry of step 's' (true, a number of attempts or a mapping) is 0"),
        (one_step("retry: often"), "is 'often': it must be a whole number"),
        (one_step("retry: {max_attempts: 1.5}"), "retry.max_attempts of step 's' is 1.5"),
        (one_step("retry: {backoff: 0.5}"), "retry.backoff of step 's' is 0.5: it must be a number of at least 1"),
        (one_step("retry: {jitter: 1}"), "retry.jitter of step 's' is 1: it must be true or false"),
        (one_step("retry: {initial_delay: x}"), "retry.initial_delay of step 's': 'x' is not a duration"),
        (one_step("retry: {when: error.retryable}"), "write '{{ error.retryable }}'"),
        (one_step("loop: {in: [1]}"), "step 's' is without an action: 'loop' has nothing to work on"),
        (one_step("loop: {}"), "step 's' is without an action: 'loop' has nothing to work on"),
        (one_step("type: fail\nloop: {in: [1]}"), "step 's' is of type fail: 'loop' has nothing to work on"),
        (one_step("type: wait\nfor: 1s\nauth: a"), "step 's' is of type wait, which takes no auth: container, duckdb"),
        (one_step("type: http\nendpoint: x\nauth: 5"), "auth of step 's' is 5: it must be the name of a credential"),
        (one_step("type: http\nendpoint: x\nsave: 5"), "save of step 's' is 5: it must be a mapping"),
        (one_step("type: http\nendpoint: x\nsave: {tabel: t}"), "unknown key 'tabel' in save of step 's' (did you me"),
        (
            one_step("type: http\nendpoint: x\nsave: {mode: add}"),
            "save.mode of save of step 's' is 'add': it is one of",
        ),
        # loops
        (looped("5"), "loop of step 's' is 5: it must be a mapping"),
        (looped("[]"), "loop of step 's' has 0 levels: it can have 1 to 5"),
        (looped("{iterator: x}"), "loop of step 's' has no 'in': add what it runs over"),
        (looped("{in: text}"), "in of the loop of step 's' is 'text': it must be a list, or a template"),
        (looped("{in: {a: 1}}"), "in of the loop of step 's' is a mapping: it must be a list, or a template"),
        (looped("{in: [1], mode: parallel}"), "mode in loop of step 's' is 'parallel': it is one of sequential, async"),
        (looped("{in: [1], iterator: result}"), "the iterator 'result' of step 's' is reserved"),
        (looped("{in: [1], iterator: 1st}"), "the iterator '1st' of step 's' is no identifier"),
        (looped("{in: [1], concurrency: 0}"), "concurrency in loop of step 's' is 0: it must be a whole number"),
        (looped("{in: [1], where: item}"), "loop.where is 'item': it must be true, false or {{ ... }}"),
        (looped("{in: [1], on_error: skip}"), "on_error in loop of step 's' is 'skip': it is one of fail, continue"),
        (looped("[{in: [1]}, {in: [2]}]"), "two loops of step 's' have the iterator 'item'"),
        (looped("[{in: [1], save: {}}, {in: [2], iterator: x}]"), "only its innermost loop has it"),
        (one_step("type:"), "the type of step 's' is empty"),
        (one_step("type: 5"), "the type of step 's' is 5"),
        (one_step("type: postgres"), "step 's' of type postgres has no 'command' and no 'commands': add one of them"),
        (
            one_step("type: duckdb\ncommand: a\ncommands: b"),
            "step 's' has both 'command' and 'commands': leave one out",
        ),
        (one_step("type: postgres\ncommand: a\nonce: 5"), "once of step 's' is 5: it must be true or false"),
        (one_step("type: secrets\nprovider: x\nname: a"), "provider of step 's' is 'x': it is one of env, credential"),
        (one_step("type: frobnicate"), "unknown type 'frobnicate': the types are container, duckdb, end"),
        (one_step("type: router"), "unknown type 'router'"),
        # older spellings
        # fields
        (one_step("type: python"), "step 's' of type python has no 'code': add it"),
        (one_step("type: python\ncode:"), "step 's' of type python has no 'code': add it"),
        (one_step("type: python\ncode: [x]"), "code of step 's' is a list: it must be text"),
        (one_step("code: x"), "step 's' has 'code' but no type: add 'type: python'"),
        (one_step("url: x"), "step 's' has 'url' but no type: add 'type: http'"),
        (one_step("for: 5s"), "step 's' has 'for' but no type: add 'type: wait'"),
        (one_step("message: x"), "step 's' has 'message' but no type: add 'type: fail'"),
        (one_step("type: http\nendpoint: x\nmethod: GTE"), "method of step 's' is 'GTE' (did you mean 'GET'?)"),
        (one_step("type: http\nendpoint: x\nheaders: y"), "headers of step 's' is 'y': it must be a mapping"),
        (one_step("type: http\nendpoint: 5"), "endpoint of step 's' is 5: it must be text"),
        (one_step("type: http\nendpoint: x\nurl: y"), "step 's' has both 'endpoint' and 'url': leave one out"),
        (
            one_step("type: http\nendpoint: x\nheadres: {}"),
            "unknown key 'headres' in step 's' of type http (did you mean",
        ),
        (one_step("type: playbook"), "step 's' of type playbook has no 'path': add it"),
        (one_step("type: playbook\npath: a\nversion: new"), "version of step 's' is 'new': it must be a whole number"),
        (one_step("type: wait"), "step 's' of type wait has no 'for' and no 'until'"),
        (one_step("type: wait\nfor: 5s\nuntil: x"), "step 's' has both 'for' and 'until'"),
        (one_step("type: wait\nfor: ages"), "for of step 's': 'ages' is not a duration"),
        (one_step("type: fail\nnext: start"), "of type fail ends its branch: 'next' is never followed"),
        (one_step("type: fail\non_error: start"), "of type fail ends its branch: 'on_error' is never followed"),
        (one_step("type: python\ncode: 'def main(): pass'\nresult: 5"), "'result' of step 's': only 'end' and steps"),
        # workbook
        (one_step("type: workbook"), "step 's' of type workbook names no task: add 'task: name'"),
        (
            one_step("type: workbook\ntask: t"),
            "step 's' names the task 't', which does not exist: the workbook is empty",
        ),
        (
            "workbook: [{name: greet, type: python, code: 'def main(): pass'}]\n"
            + one_step("type: workbook\ntask: gret"),
            "step 's' names the task 'gret', which does not exist (did you mean 'greet'?)",
        ),
        (
            "workbook: [{name: t, type: python, code: 'def main(): pass'}]\n"
            + one_step("type: workbook\ntask: t\nendpoint: x"),
            "unknown key 'endpoint' in step 's' (its task is of type python)",
        ),
        ("workbook: {a: b}\nworkflow: [{step: a}]\n", "workbook is a mapping: it must be a list"),
        ("workbook: [{type: python}]\nworkflow: [{step: a}]\n", "a task of the workbook has no name"),
        ("workbook: [{name: t}]\nworkflow: [{step: a}]\n", "task 't' has no type"),
        (
            "workbook: [{name: t, type: workbook}]\nworkflow: [{step: a}]\n",
            "task 't' is of type 'workbook': name a tool",
        ),
        (
            "workbook: [{name: t, type: htp}]\nworkflow: [{step: a}]\n",
            "task 't': unknown type 'htp' (did you mean 'http'?)",
        ),
        (
            "workbook: [{name: t, type: python, code: x = 1}]\nworkflow: [{step: a}]\n",
            "code of task 't' has no 'def main",
        ),
        (
            "workbook:\n- {name: t, type: fail}\n- {name: t, type: fail}\nworkflow: [{step: a}]\n",
            "4:10: error: duplicate-task: the task 't' is defined twice",
        ),
        ("workbook: [{name: t, type: fail, next: a}]\nworkflow: [{step: a}]\n", "unknown key 'next' in task 't'"),
        # routing
        (one_step("next: nowhere"), "dangling: step 's' leads to 'nowhere', which does not exist"),
        (one_step("next: end"), "step 's' leads to 'end', which does not exist: add '- step: end'"),
        (one_step("on_error: nowhere"), "dangling: step 's' leads to 'nowhere', which does not exist"),
        (one_step("next: {when: true, then: [{step: nowhere}]}"), "step 's' leads to 'nowhere'"),
        (one_step("next: f") + "finally: [{step: f}]\n", "step 's' leads to 'f', which is a step of finally"),
        (
            "workflow: [{step: a}]\nfinally: [{step: f, next: a}]\n",
            "step 'f' leads to 'a', which is a step of workflow: only steps of the same workflow can follow",
        ),
        (one_step("next: 5"), "a target in next of step 's' is 5: it must be text"),
        (one_step("next: {when: '{{ x }}'}"), "next of step 's' leads nowhere"),
        (one_step("next: {when: '{{ x }}', else: start}"), "next of step 's' has a condition but no 'then'"),
        (one_step("next: {step: start, args: 5}"), "args of 'start' in next of step 's' is 5: it must be a mapping"),
        (one_step("next: {stepp: start}"), "unknown key 'stepp' in next of step 's' (did you mean 'step'?)"),
        (one_step("next: {then: [{when: true, step: start}]}"), "unknown key 'when' in a target in next of step 's'"),
        (one_step("next: {when: true, condition: true, step: start}"), "has both 'when' and 'condition'"),
        (one_step("next: {when: '{{ a }} == 1', step: start}"), "next.when is mixed text, always true"),
        (one_step("next: {when: 1, step: start}"), "next.when is 1: it must be true, false or {{ ... }}"),
        (one_step("next: {when: , step: start}"), "next.when is empty"),
        ("workflow: [{step: a}, {step: b}]\n", "unreachable: no way leads to the step 'b' of workflow"),
        ("workflow: [{step: a}, {step: end}]\n", "unreachable: no way leads to the step 'end' of workflow"),
        ("workflow: [{step: a}, {step: b, next: c}, {step: c, next: b}]\n", "no way leads to the step 'c'"),
        ("workflow: [{step: a}]\nfinally: [{step: b}, {step: c}]\n", "no way leads to the step 'c' of finally"),
        # templates
        (
            one_step("args: {x: {y: ['{{ a | uper }}']}}"),
            "template: args.x.y[0]: no filter 'uper' (did you mean 'upper'?)",
        ),
        (one_step("args: {'{{ k }}': 1}"), "template: the key '{{ k }}' of args is a template"),
        (one_step("type: http\nendpoint: '{{ x'"), "template: endpoint: unexpected end of template"),
        (one_step("next: {step: start, args: {a: '{{ + }}'}}"), "template: next.start.args.a: "),
        (
            "workflow: [{step: a, next: end}, {step: end, result: {x: '{{ ) }}'}}]\n",
            "template: result.x: unexpected ')'",
        ),
    ],
)
def test_each_problem_has_its_sentence(body: str, message: str) -> None:
    """Nothing loads that has an error, and the sentence says what to do."""
    found = findings(body)
    assert any(message in line for line in found), found
    assert any(" error: " in line for line in found)
    with pytest.raises(PlaybookError):
        load_playbook(HEAD + body, "f.yaml")


def test_one_mistake_is_one_problem() -> None:
    """A misspelt target, type or task does not drag others behind it."""
    text = "workflow:\n- {step: start, next: a}\n- {step: a, type: pyton, code: x, next: end}\n- {step: end}\n"
    assert len(findings(text)) == 1
    text = "workflow:\n- {step: start, next: a}\n- {step: a, type: workbook, task: t, x: 1, next: end}\n- {step: end}\n"
    assert len(findings(text)) == 1
    text = "workflow:\n- {step: start, next: fech}\n- {step: fetch, next: end}\n- {step: end}\n"
    assert findings(text) == [
        "3:23: error: dangling: step 'start' leads to 'fech', which does not exist (did you mean 'fetch'?)"
    ]


@pytest.mark.parametrize(
    "path", ["/", "a/", "a//b", "a b", "../a", "a/./b", "a\\b", "a@1", "a?b", "a.yaml", "x/y.yml", "a" * 501]
)
def test_paths_that_are_no_key_of_the_catalog(path: str) -> None:
    """They would not survive an address, a file name, or PATH@VERSION."""
    found = findings("workflow: [{step: a}]\n", f"metadata: {{path: '{path}'}}\n")
    assert len(found) == 1
    assert "error: path: the path" in found[0]


@pytest.mark.parametrize("path", ["a", "examples/test/simple_test", "a-b/c.d/e_1", "2026/01"])
def test_paths_that_are(path: str) -> None:
    """Letters, digits and a few signs, with slashes between."""
    assert findings("workflow: [{step: a}]\n", f"metadata: {{path: '{path}'}}\n") == []


# ---- python ----------------------------------------------------------------------------------------------------------


def code(*lines: str) -> str:
    return one_step("type: python\ncode: |\n" + "".join(f"  {line}\n" for line in lines))


def test_python_errors_have_the_place_in_the_file() -> None:
    """Line and column of the mistake, not of the key."""
    assert findings(code("import os", "", "def main(x):", "    return x +")) == [
        "11:21: error: python: code of step 's': invalid syntax"
    ]
    assert findings(code("def main(:", "    pass"))[0].startswith("8:16: error: python: ")
    assert findings(code("def main():", "return 1"))[0].startswith("9:7: error: python: code of step 's': expected an")
    assert findings(code("return 1", "def main(): pass"))[0].startswith(
        "8:7: error: python: code of step 's': 'return'"
    )
    assert findings(one_step("type: python\ncode: 'def main(: pass'"))[0].startswith("7:11: error: python: ")
    assert findings(code("async def main():", "    pass")) == []


@pytest.mark.parametrize(
    "lines",
    [
        ["def main():", "    pass"],
        ["from helpers import main"],
        ["from helpers import work as main"],
        ["from helpers import *"],
        ["main = print"],
        ["main, other = print, 1"],
        ["try:", "    from fast import main", "except ImportError:", "    def main(): pass"],
        ["import sys", "if sys.platform == 'linux':", "    def main(): return 1", "else:", "    def main(): return 2"],
        ["class main:", "    pass"],
        ["import re", "def main():", "    return re.match('\\d', 'x')"],
        ["def main():", "    return '{{ not.a.template }} {% nor this'"],
    ],
)
def test_every_way_to_have_a_main(lines: list[str]) -> None:
    """No false alarm, and no warning of the compiler's own."""
    assert findings(code(*lines)) == []


@pytest.mark.parametrize(
    "lines", [["x = 1"], ["def mian(): pass"], ["def other():", "    def main(): pass"], ["import main2"]]
)
def test_no_main(lines: list[str]) -> None:
    """The step calls it, so it must be there."""
    assert "has no 'def main(...)'" in findings(code(*lines))[0]


# ---- warnings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code_"),
    [
        ("workflow: [{step: a, next: b}, {step: b, next: a}]\n", "endless"),
        ("workflow: [{step: a, next: a}]\n", "endless"),
        ("workflow: [{step: a, next: [{when: '{{ x }}', step: a}, {else: b}]}, {step: b, next: a}]\n", "endless"),
        (
            "workflow:\n- {step: a, next: [b, c]}\n- {step: b, next: a}\n"
            "- {step: c, next: {when: '{{ x }}', step: a}}\n",
            "fork-in-cycle",
        ),
        ("workflow: [{step: a, on_error: h}, {step: h}]\n", "handled"),
        ("workflow: [{step: a, on_error: h}, {step: h, next: i}, {step: i}]\n", "handled"),
        ("workflow: [{step: status}]\n", "reserved-name"),
    ],
)
def test_warnings(body: str, code_: str) -> None:
    """What is correct and probably not meant: it loads, and lint tells."""
    found = findings(body)
    assert [line.split(": ")[1:3] for line in found] == [["warning", code_]]
    assert load_playbook(HEAD + body, "f.yaml").path == "p"


@pytest.mark.parametrize(
    "body",
    [
        # paging, polling, a way out by a condition, by nothing being true, by a failure
        "workflow:\n- {step: f, next: [{when: '{{ f.n }}', then: [f, s]}, {else: s}]}\n"
        "- {step: s, next: end}\n- {step: end}\n",
        "workflow: [{step: a, next: [{when: '{{ x }}', step: a}]}]\n",
        "workflow: [{step: a, next: a, on_error: b}, {step: b, type: fail}]\n",
        "workflow:\n- {step: a, next: b}\n- {step: b, next: [{when: '{{ x }}', step: a}, {when: '{{ y }}', step: c}]}\n"
        "- {step: c}\n",
        # two conditions back into the cycle may exclude each other
        "workflow:\n- {step: a, next: [{when: '{{ x }}', step: b}, {when: '{{ not x }}', step: c}]}\n"
        "- {step: b, next: a}\n- {step: c, next: a}\n",
        # handlers that lead back, fail, or end the execution
        "workflow: [{step: a, next: b, on_error: h}, {step: h, next: b}, {step: b}]\n",
        "workflow: [{step: a, on_error: h}, {step: h, next: f}, {step: f, type: fail, message: x}]\n",
        "workflow: [{step: a, next: end, on_error: h}, {step: h, next: end}, {step: end}]\n",
        "workflow: [{step: a, on_error: continue, next: b}, {step: b}]\n",
        # end alone, with a result
        "workflow: [{step: a}, {step: end, result: '{{ a }}'}]\n",
        "workflow: [{step: end}]\n",
        # names that are nearly words of the language
        "workflow: [{step: items, next: class}, {step: class, next: import_}, {step: import_}]\n",
        "workload: {items: [1], status: x, data: {}}\nworkflow: [{step: a}]\n",
        # keys of YAML 1.1's booleans
        "workload: {on: 1, yes: 2}\nworkflow: [{step: a}]\n",
        "finally: [{step: b}]\nworkflow: [{step: a}]\n",
        "workload: &x {k: 1}\nworkflow: [{step: a, args: *x}]\n",
    ],
)
def test_no_false_alarm(body: str) -> None:
    """Correct playbooks have no findings at all."""
    assert findings(body) == []
