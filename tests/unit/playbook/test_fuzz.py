"""Whatever somebody feeds the loader, the answer is a playbook or problems with a place, never a crash."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from noetl.errors import PlaybookError
from noetl.playbook.load import document_kind, lint, load_playbook

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = [
    file.read_text() for folder in ("examples", "tests/playbooks") for file in sorted((ROOT / folder).rglob("*.yaml"))
]

WORDS = """step type next when then else args start end a b python http wait fail workbook playbook code endpoint for
until task retry timeout on_error continue result max_visits loop true null 5 -1 {{ {% metadata path workflow workload
finally kind name pool desc message 1h 0 steps with data condition description iterator collection element chunk loop
save storage type postgres credential code_b64 cGFzcw== sql retry_when db_host secrets"""
words = st.sampled_from([*WORDS.split(), "{{ a }}", "{{ a.b | upper }}", "def main(): pass"])
documents = st.recursive(
    words | st.none() | st.booleans() | st.integers(-3, 10) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=5),
    max_leaves=25,
)


def check(text: str) -> None:
    """Hold the three ways to read a text against each other."""
    found = lint(text, "f.yaml")
    lines = text.count("\n") + 2
    for problem in found:
        assert problem.message
        assert 1 <= problem.line <= lines
        assert problem.column >= 1
    if any(problem.severity == "error" for problem in found):
        with pytest.raises(PlaybookError) as caught:
            load_playbook(text, "f.yaml")
        assert caught.value.problems == [problem for problem in found if problem.severity != "hint"]
    else:
        assert document_kind(text, "f.yaml")[1] == load_playbook(text, "f.yaml").path


@given(documents)
@settings(max_examples=200, deadline=None)
def test_any_document(document: Any) -> None:
    """As the whole file, as the steps, as one step, as what it leads to."""
    head: dict[str, Any] = {"metadata": {"path": "a"}}
    for whole in (
        document,
        {**head, "workflow": document},
        {**head, "workflow": [document], "finally": document, "workbook": document},
        {**head, "workflow": [{"step": "a", "next": document, "on_error": document, "retry": document}]},
        {**head, "workflow": [{"step": "a", "type": "iterator", "task": document, "save": document, "with": document}]},
        {**head, "workflow": [{"step": "a", "type": "postgres", "loop": document, "auth": document, "with": document}]},
    ):
        check(yaml.safe_dump(whole, allow_unicode=True))


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_mutilation_of_an_example(data: st.DataObject) -> None:
    """Lines dropped, doubled, cut short, indented, exchanged for others."""
    lines = data.draw(st.sampled_from(EXAMPLES)).splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.integers(0, 4)):
            case 0:
                del lines[at : at + 1]
            case 1:
                lines.insert(at, lines[at])
            case 2:
                lines[at] = lines[at][: data.draw(st.integers(0, len(lines[at])))]
            case 3:
                lines[at] = "  " + lines[at]
            case _:
                lines[at] = data.draw(st.text(max_size=20))
        lines = lines or [""]
    check("\n".join(lines))


@pytest.mark.parametrize(
    "code", ["(" * 20_000, "[" * 500 + "]" * 500, "x = " + "-" * 100_000 + "1", "1 +" * 50_000 + "1"]
)
def test_code_that_is_nested_beyond_measure(code: str) -> None:
    """Python's own parser gives up in several ways; here all of them are one problem."""
    text = f"metadata: {{path: a}}\nworkflow: [{{step: a, type: python, code: '{code}'}}]\n"
    found = lint(text, "f.yaml")
    assert [(problem.code, problem.severity) for problem in found] == [("python", "error")]
