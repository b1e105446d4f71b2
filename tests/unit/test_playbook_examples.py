"""The examples are correct to the last hint, and stand where their path says."""

from pathlib import Path

import pytest

from noetl.playbook.load import lint, load_playbook

ROOT = Path(__file__).resolve().parents[2]
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
    topics = {"http", "branching", "parallel", "paging", "retry", "errors", "subplaybook", "wait"}
    assert topics <= {name.split("/")[0] for name in names}
