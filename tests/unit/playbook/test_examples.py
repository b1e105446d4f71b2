"""The examples are correct to the last hint, and stand where their path says."""

from pathlib import Path

import pytest

from noetl.playbook.load import lint, load_playbook
from noetl.playbook.testfile.load import load_tested
from noetl.testing.python import PythonChild
from noetl.testing.suite import run_test
from tests.support.models import told

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: str(file.relative_to(ROOT)))
def test_an_example_has_no_findings(file: Path) -> None:
    """It loads, lint has nothing to say, and `metadata.path` is the file's place without the suffix."""
    text = file.read_text()
    name = str(file.relative_to(ROOT))
    assert lint(text, name) == []
    playbook = load_playbook(text, name)
    assert f"{playbook.path}.yaml" == name
    assert playbook.desc


def test_the_examples_are_there() -> None:
    """The first of them is what every new person runs."""
    names = {str(file.relative_to(ROOT / "examples")) for file in EXAMPLES}
    assert "test/simple_test.yaml" in names
    topics = {"http", "branching", "parallel", "paging", "retry", "errors", "subplaybook", "wait", "loops"}
    topics |= {"credentials"}
    assert topics <= {name.split("/")[0] for name in names}


def blocks(page: str) -> list[str]:
    """Return the YAML blocks of a page."""
    return [block.split("```")[0] for block in (ROOT / page).read_text().split("```yaml\n")[1:]]


def test_the_playbooks_in_the_documentation_are_correct() -> None:
    """A whole playbook stands as it is; steps and clauses are put where they belong."""
    whole, clauses, paging, looping, failing, polling, logging_in, fetching, older, today = blocks("docs/playbooks.md")
    assert lint(whole, "docs") == []
    rest = "  - {step: store}\n  - {step: report}\n"
    assert (
        lint(f"metadata: {{path: x}}\nworkload: {{base_url: x}}\nworkflow:\n{paging}- {{step: store}}\n", "docs") == []
    )
    for clause in clauses.strip().split("next:")[1:]:
        own = "fetch" if "{ step: fetch" in clause else "start"
        step = f"  - step: {own}\n    next:" + clause.replace("\n", "\n    ").rstrip() + "\n"
        text = f"metadata: {{path: x}}\nworkflow:\n{step}{rest}"
        assert [problem for problem in lint(text, "docs") if problem.code != "unreachable"] == [], text
    text = "metadata: {path: x}\nworkload: {base_url: x}\nworkflow:\n" + failing
    text += "- {step: release, next: end}\n- {step: end}\n"
    assert lint(text, "docs") == []
    head, end = "metadata: {path: x}\nworkload: {base_url: x, cities: []}\nworkflow:\n", "- {step: end}\n"
    for steps in (polling, looping, logging_in, fetching):
        assert lint(head + steps + end, "docs") == []
    assert lint(head + today + end, "docs") == []
    assert {found.severity for found in lint(head + older + end, "docs")} == {"hint"}
    assert told(load_playbook(head + older + end, "docs")) == told(load_playbook(head + today + end, "docs"))


def test_the_tests_in_the_documentation_pass() -> None:
    (whole,) = blocks("docs/testing.md")
    assert lint(whole, "docs") == []
    playbook, tests = load_tested(whole, "docs")
    with PythonChild({}) as python:
        tested = [run_test(playbook, test, lambda path, file: None, python) for test in tests]
    assert len(tested) == 2
    assert [failure for each in tested for failure in each.failures] == []


def test_the_steps_in_the_page_about_sql_are_correct() -> None:
    head = "metadata: {path: x}\nworkload: {base_url: x, from: a, note: b}\nworkflow:\n"
    steps = blocks("docs/sql.md")
    assert len(steps) == 3
    for step in steps:
        assert lint(head + step, "docs") == [], step
