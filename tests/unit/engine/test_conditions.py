"""The truth of values in conditions: JSON's by itself, text only where it cannot be meant otherwise."""

from typing import Any

import pytest

from noetl.errors import TemplateError
from noetl.playbook.load import lint
from noetl.playbook.templates.conditions import ambiguity
from noetl.playbook.templates.template import compile_template
from tests.unit.engine.model import Execution, flow, playbook, py, router

FALSE = ["false", "False", "FALSE", "no", "No", "off", "0", "0.0", "none", "None", "null", "nil", "n", "f", "[]", "{}"]
OTHER = ["true", "True", "yes", "on", "1", "12.50", "-3", "1e3", "nan", ".5", "y", "t", "~"]
BLANKS = [" false", "false\n", "\tno \n", "0\n", " ", "\n"]
CLEAR = [
    "https://example.com/?page=2",
    "falsely",
    "nobody",
    "on hold",
    "2026-01-01",
    "00:00",
    "1.2.3",
    "v1",
    "x" * 99,
]


def chosen(when: str, payload: dict[str, Any]) -> Execution:
    """Run a workflow that goes one of two ways, with a workload."""
    steps = [
        router("start") | {"next": [{"when": when, "then": [{"step": "yes"}]}, {"else": [{"step": "no"}]}]},
        py("yes"),
        py("no"),
    ]
    return Execution(playbook({"workload": {"x": None, "y": None}, "workflow": steps}), payload)


@pytest.mark.parametrize("text", [*FALSE, *OTHER, *BLANKS])
def test_a_text_that_could_be_meant_either_way_is_an_error_and_no_branch(text: str) -> None:
    execution = chosen("{{ x }}", {"x": text})
    assert execution.status == "failed"
    assert execution.waiting() == []
    message = execution.error["message"]
    assert repr(text) in message
    assert "comparison" in message
    assert execution.error["type"] == "template"


@pytest.mark.parametrize("text", CLEAR)
def test_any_other_text_is_true(text: str) -> None:
    assert chosen("{{ x }}", {"x": text}).waiting() == ["yes"]


@pytest.mark.parametrize(
    ("value", "branch"),
    [
        *[("", "no"), (0, "no"), (0.0, "no"), (None, "no"), ([], "no"), ({}, "no"), (False, "no")],
        *[(True, "yes"), (1, "yes"), (-0.5, "yes"), ([0], "yes"), ({"a": None}, "yes")],
    ],
)
def test_values_of_json_have_their_truth_and_empty_text_is_false(value: Any, branch: str) -> None:
    assert chosen("{{ x }}", {"x": value}).waiting() == [branch]


@pytest.mark.parametrize(
    "when",
    [
        *("{{ not x }}", "{{ x and y }}", "{{ y or x }}", "{{ not (y or x) }}", "{{ true if x else false }}"),
        *("{{ x if true else 1 }}", "{{ workload.x }}", "{{ x | trim }}", "{{ x ~ '' }}", "{{ [x] | first }}"),
        *("{{ workload['x'] }}", "  {{ x }}\n", "{{ 'no' and not y }}"),
    ],
)
def test_the_rule_holds_in_every_operand_that_decides(when: str) -> None:
    assert chosen(when, {"x": "false", "y": ""}).error["type"] == "template"


@pytest.mark.parametrize(
    ("when", "branch"),
    [
        ("{{ x == 'false' }}", "yes"),
        ("{{ x | bool }}", "no"),
        ("{{ not (x | bool) }}", "yes"),
        ("{{ x != 'false' and y }}", "no"),
        ("{{ x is defined }}", "yes"),
        ("{{ x in ['true', 'false'] }}", "yes"),
        ("{{ y and x }}", "no"),
        ("{{ (x or 'a') == 'false' }}", "yes"),
    ],
)
def test_what_asks_for_a_text_in_so_many_words_is_answered(when: str, branch: str) -> None:
    assert chosen(when, {"x": "false", "y": ""}).waiting() == [branch]


def test_the_result_of_a_step_is_judged_like_any_text() -> None:
    """As a shell's stdout, the line end included."""
    execution = flow(py("start") | {"next": [{"when": "{{ start.stdout }}", "then": [{"step": "a"}]}]}, py("a"))
    execution.done("start", {"stdout": "false\n"})
    assert execution.status == "failed"
    assert "'false\\n'" in execution.error["message"]


def test_where_of_a_loop_is_a_condition() -> None:
    loop = {"in": "{{ range(2) }}", "where": "{{ ['x', '0'][item] }}"}
    execution = flow(py("start") | {"loop": loop})
    with pytest.raises(TemplateError, match="the text '0' is no condition"):
        execution.collected("start")


@pytest.mark.parametrize("key", ["until", "when"])
def test_a_success_that_retry_cannot_judge_fails_the_step(key: str) -> None:
    execution = flow(py("start") | {"retry": {"max_attempts": 3, key: "{{ data.ready }}"}})
    execution.done("start", {"ready": "no"})
    assert execution.status == "failed"
    assert "the text 'no' is no condition" in execution.error["message"]


@pytest.mark.parametrize("key", ["until", "when"])
def test_a_failure_that_retry_cannot_judge_is_not_repeated(key: str) -> None:
    execution = flow(py("start") | {"retry": {"max_attempts": 3, key: "{{ error.detail.ready }}"}})
    execution.fail("start", detail={"ready": "no"})
    assert execution.status == "failed"
    assert "the text 'no' is no condition" in execution.error["retry_error"]


@pytest.mark.parametrize("place", ["next", "where", "until", "when"])
def test_text_around_a_template_is_no_condition(place: str) -> None:
    """It would be a text, and true whatever the data; registration refuses it."""
    mixed = "'{{ workload.action }} == build'"
    keys = {
        "next": f"next: [{{when: {mixed}, then: end}}]",
        "where": f"loop: {{in: [1], where: {mixed}}}",
        "until": f"retry: {{max_attempts: 2, until: {mixed}}}",
        "when": f"retry: {{max_attempts: 2, when: {mixed}}}",
    }[place]
    text = (
        "metadata: {path: p}\nworkload: {action: test}\nworkflow:\n"
        f"- step: start\n  type: python\n  code: 'def main(): return 1'\n  {keys}\n- step: end\n"
    )
    assert "condition" in [problem.code for problem in lint(text, "f.yaml") if problem.severity == "error"]


@pytest.mark.parametrize("text", ["true", "no", "0", "1e3", "none", " "])
def test_the_error_says_which_way_to_write_it(text: str) -> None:
    told = ambiguity(text)
    assert told is not None
    assert "bool" in told or "comparison" in told


# ---- the filter ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [True, 1, 1.0, "true", " TRUE\n", "yes", "On", "1", "y", "T"])
def test_bool_reads_what_means_true(value: Any) -> None:
    assert rendered("{{ x | bool }}", x=value) is True


@pytest.mark.parametrize("value", [False, 0, 0.0, None, "", " ", "false", "False", "no", "OFF", " 0", "n", "f"])
def test_bool_reads_what_means_false(value: Any) -> None:
    assert rendered("{{ x | bool }}", x=value) is False


@pytest.mark.parametrize("value", ["maybe", "2", 2, -1, "none", [], [1], {}, "yes please", "x" * 500])
def test_bool_refuses_everything_else(value: Any) -> None:
    with pytest.raises(TemplateError, match=r"bool: .* is no truth value"):
        rendered("{{ x | bool }}", x=value)


def rendered(template: str, **scope: Any) -> Any:
    return compile_template(template, playbook="p", step="s", field="f").render(scope)
