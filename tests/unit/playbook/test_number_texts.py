"""Numbers in a file whose text is not their own."""

import pytest

from noetl.playbook.load import lint, load_playbook

HEAD = "metadata: {path: p}\n"


NUMBERS = [("0e12", "0.0"), ("01234", "1234"), ("1.10", "1.1"), ("+5", "5"), ("1e3", "1000.0"), (".5", "0.5")]
PLACES = (
    "workload: {zip: HERE}\nworkflow: [{step: start}]\n",
    "workflow: [{step: start, args: {v: HERE}}]\n",
    "workflow: [{step: start, next: {step: end, args: {v: [HERE]}}}, {step: end}]\n",
)


@pytest.mark.parametrize(("text", "number"), NUMBERS)
def test_lint_hints_at_a_number_whose_text_is_not_its_own(text: str, number: str) -> None:
    for body in PLACES:
        (found,) = lint(HEAD + body.replace("HERE", text), "f")
        assert (found.severity, found.code, found.column) == ("hint", "number-text", body.index("HERE") + 1)
        assert found.message == f"{text} is the number {number}: write {text!r} in quotes where its text is meant"


OTHERS = ["12", "-3", "1.5", "1.0", "0x1F", "0o17", "'01234'", '"1.10"', "1.1.0", "2026-01-01"]


@pytest.mark.parametrize("text", OTHERS)
def test_other_numbers_and_texts_have_no_hint(text: str) -> None:
    assert lint(f"{HEAD}workload: {{zip: {text}}}\nworkflow: [{{step: start}}]\n", "f") == []


def test_durations_and_counts_are_numbers() -> None:
    step = "{step: start, type: wait, for: 1s, timeout: 1.50, retry: {max_attempts: 3, backoff: 1.50}}"
    assert lint(f"{HEAD}workflow: [{step}]\n", "f") == []


def test_where_text_is_asked_for_a_number_stays_as_it_is_written() -> None:
    text = (
        HEAD
        + "workflow:\n- {step: start, type: http, endpoint: x, headers: {V: 1.10}, params: {z: 01234, l: [1e3, true]},"
        " next: run}\n- {step: run, type: shell, command: date, env: {V: 1.10, N: 7, T: true}}\n"
    )
    assert lint(text, "f") == []
    playbook = load_playbook(text, "f")
    asked, run = playbook.step("start").fields, playbook.step("run").fields
    assert asked is not None
    assert run is not None
    assert asked.render({})["headers"] == {"V": "1.10"}
    assert asked.render({})["params"] == {"z": "01234", "l": ["1e3", True]}
    assert run.render({})["env"] == {"V": "1.10", "N": "7", "T": True}
