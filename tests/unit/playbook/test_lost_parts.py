"""What cannot be read refuses the playbook, and what is only doubtful loses nothing."""

import pytest

from noetl.errors import PlaybookError
from noetl.playbook.load import lint, load_playbook
from noetl.playbook.read import sections
from noetl.playbook.read.steps import Task

HEAD = "metadata: {path: p}\n"
CLEAR_TEXT = (
    "auth: {type: postgres, host: localhost, user: demo, password: demo, database: demo}\n    command: SELECT 4",
    "auth: {type: bearer, token: abc}\n    endpoint: http://localhost/",
    "auth: {type: basic, username: a, password: b}\n    endpoint: http://localhost/",
    "auth: {type: s3, access_key: a, secret_key: b}\n    command: SELECT 4",
)
TYPES = ("postgres", "http", "http", "duckdb")


@pytest.mark.parametrize(("type_", "fields"), list(zip(TYPES, CLEAR_TEXT, strict=True)))
def test_a_task_with_a_warning_is_still_the_task_of_its_steps(type_: str, fields: str) -> None:
    """A step whose task has a login in clear text does its work; it is not a router that completes at once."""
    text = (
        f"{HEAD}workflow: [{{step: put, type: workbook, task: t}}]\nworkbook:\n"
        f"  - name: t\n    type: {type_}\n    {fields}\n"
    )
    assert {problem.code for problem in lint(text, "f.yaml")} == {"clear-text"}
    step = load_playbook(text, "f.yaml").step("put")
    assert (step.type, step.task) == (type_, "t")
    assert step.fields is not None


def test_a_task_with_an_error_refuses_the_playbook_and_says_nothing_wrong_of_its_step() -> None:
    text = HEAD + "workflow: [{step: put, type: workbook, task: t}]\nworkbook: [{name: t, type: pyton}]\n"
    assert [problem.code for problem in lint(text, "f.yaml")] == ["unknown-type"]


@pytest.mark.parametrize("used", [True, False])
def test_a_part_that_is_lost_without_an_error_refuses_the_playbook(used: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a reader forgets to report: no playbook comes of it."""

    def lost(reader: object, node: object) -> tuple[str, Task | None]:
        return "t", None

    monkeypatch.setattr(sections, "read_task", lost)
    step = "{step: put, type: workbook, task: t}" if used else "{step: put}"
    text = f"{HEAD}workflow: [{step}]\nworkbook: [{{name: t, type: python, code: 'def main(): return 1'}}]\n"
    with pytest.raises(PlaybookError, match=r"f\.yaml:3:12: error: unreadable: the task 't' could not be read"):
        load_playbook(text, "f.yaml")


def test_a_step_that_is_lost_without_an_error_refuses_the_playbook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sections, "read_step", lambda *_: None)
    with pytest.raises(PlaybookError, match="unreadable: a step of workflow could not be read"):
        load_playbook(HEAD + "workflow: [{step: start}]\n", "f.yaml")
