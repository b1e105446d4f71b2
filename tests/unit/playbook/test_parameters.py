"""A run sets what the playbook has, and a name that it does not have is an error."""

from collections.abc import Iterator
from typing import Any

import pytest

from noetl.engine.workload import render_workload
from noetl.errors import InputError
from noetl.playbook.load import lint, load_playbook
from noetl.playbook.model import Playbook
from noetl.testing.python import PythonChild
from tests.support.trials import Trials

WORKLOAD = "workload: {date: 2026-01-01, limit: 10, db: {host: a}}\n"
STEPS = """workflow:
- step: start
  type: http
  endpoint: "{{ workload.base | default('http://localhost/') }}"
  params: { page: "{{ page | default(1) }}", day: "{{ date }}", n: "{{ workload['count'] | default(0) }}" }
  loop: { in: [1], iterator: thing }
  next: code
- step: code
  type: python
  code: |
    def main():
        return context["workload"].get("zone")
"""


def book(head: str, steps: str = STEPS) -> Playbook:
    return load_playbook(f"metadata: {{path: a/b}}\n{head}{steps}", "f")


def run(playbook: Playbook, **payload: Any) -> dict[str, Any]:
    return render_workload(playbook, 1, {}, payload)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("dat", "date"),
        ("Limit", "limit"),
        ("limits", "limit"),
        ("tmp", ""),
        ("start", ""),
        ("thing", ""),
        ("result", ""),
    ],
)
@pytest.mark.parametrize("how", ["payload", "overlay"])
def test_a_name_that_the_workload_does_not_have_is_an_error_that_says_which_there_are(
    name: str, meant: str, how: str
) -> None:
    playbook = book(WORKLOAD)
    given: dict[str, Any] = {"payload": {}, how: {name: "2026-02-02"}}
    with pytest.raises(InputError) as caught:
        render_workload(playbook, 1, {}, **given)
    message = str(caught.value)
    assert message.startswith(f"a/b has nothing called {name!r}")
    assert "its workload, which has date, db, limit" in message
    assert "additional: true" in message
    assert ("did you mean" in message) is bool(meant)
    assert not meant or f"did you mean {meant!r}" in message


def test_all_of_them_are_named_at_once() -> None:
    with pytest.raises(InputError, match=r"nothing called 'dat' \(did you mean 'date'\?\), 'x' in its workload"):
        run(book(WORKLOAD), dat=1, x=2, limit=3)


@pytest.mark.parametrize("name", ["date", "limit", "db", "base", "page", "count", "zone"])
def test_what_the_workload_has_or_a_template_reads_can_be_set(name: str) -> None:
    """`workload.x | default(...)` is a parameter without a default of its own."""
    assert run(book(WORKLOAD), **{name: "new"})[name] == "new"


@pytest.mark.parametrize("head", [WORKLOAD + "additional: true\n", "", "workload: {}\n", "workload:\n"])
def test_a_playbook_can_take_anything(head: str) -> None:
    """Where it says so, and where it has no workload that could say which names there are."""
    assert run(book(head), whatever=1)["whatever"] == 1


def test_what_is_laid_within_a_key_is_the_runs_own_business() -> None:
    playbook = book(WORKLOAD)
    assert render_workload(playbook, 1, {}, {}, overlay={"db": {"port": 1}})["db"] == {"host": "a", "port": 1}


def test_additional_is_a_truth_value() -> None:
    text = f"metadata: {{path: p}}\n{WORKLOAD}additional: 3\n{STEPS}"
    assert [problem.code for problem in lint(text, "f")] == ["wrong-type"]


# ---- children --------------------------------------------------------------------------------------------------------

PARENT = """
- step: start
  type: playbook
  path: test/child
  args: {nmae: Ada}
  on_error: end
- step: end
  result: "{{ error.message | default('fine') }}"
"""
CHILD = """
workload: {name: nobody}
workflow:
- {step: start, next: end}
- {step: end, result: "{{ name }}"}
"""


@pytest.fixture(scope="module")
def trials() -> Iterator[Trials]:
    with PythonChild({}) as python:
        yield Trials(python)


def test_the_args_of_a_child_are_its_parameters(trials: Trials) -> None:
    """A misspelt one fails the step, before the child does its work with a default."""
    told = (
        "test/child has nothing called 'nmae' (did you mean 'name'?) in its workload, which has name: correct the name,"
        " or let the playbook say 'additional: true'"
    )
    trials.passes(PARENT, f'expect: {{result: "{told}"}}', {"test/child": CHILD})
    trials.passes(
        PARENT, "expect: {result: fine}", {"test/child": CHILD.replace("workflow", "additional: true\nworkflow")}
    )


def test_what_the_way_to_a_step_passes_on_may_be_left_aside(trials: Trials) -> None:
    """As a python step's `main` leaves it: the step's own templates may want it. What the child has, it gets."""
    parent = """
- step: start
  next: { step: call, args: { which: test/child, name: Ada, other: 1 } }
- step: call
  type: playbook
  path: "{{ which }}"
  ARGS
  next: end
- step: end
  result: "{{ call }}"
"""
    for args in ("", "args: { name: Bob }", 'args: "{{ {} }}"'):
        trials.passes(parent.replace("ARGS", args), "expect: {result: Ada}", {"test/child": CHILD})
    trials.passes(
        parent.replace("ARGS", "args: { other: 2 }"),
        "expect: {status: failed, error: {type: playbook}}",
        {"test/child": CHILD},
    )
