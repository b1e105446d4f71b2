"""The schema for editors agrees with the loader: what is correct validates, what is misspelt does not."""

from pathlib import Path

import jsonschema
import pytest

from noetl.playbook.json_schema import DESCRIPTIONS, json_schema
from noetl.playbook.step_types import STEP_TYPES
from noetl.playbook.yaml.tree import read
from tests.lint.corpus import cases, correct

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))
SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)


def faults(text: str) -> list[str]:
    root, _ = read(text, "f")
    assert root is not None
    return [f"{list(error.absolute_path)}: {error.message}" for error in VALIDATOR.iter_errors(root.plain())]


def test_it_is_a_schema() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_example_validates(file: Path) -> None:
    assert faults(file.read_text()) == []


def test_every_correct_playbook_of_the_corpus_validates() -> None:
    assert {name: found for name, text in correct() if (found := faults(text))} == {}


@pytest.mark.parametrize("code", ["unknown-key", "wrong-type", "unknown-type", "value"])
def test_what_is_wrong_with_keys_and_types_does_not_validate(code: str) -> None:
    """Every case of the corpus that needs no look beyond one step: of what type a task is, it cannot know."""
    found = [case for case in cases() if case.mistake.code == code and case.operator != "foreign_field"]
    assert len(found) > 5
    assert [str(case) for case in found if not faults(case.mistake.text)] == []


def test_it_says_what_each_type_does() -> None:
    for name, type_ in STEP_TYPES.items():
        properties = SCHEMA["definitions"][f"step-{name}"]["properties"]
        assert SCHEMA["definitions"][f"step-{name}"]["description"] == type_.description
        described = {field: spec.description for field, spec in type_.fields.items() if spec.description}
        assert {field: properties[field]["description"] for field in described} == described


def test_what_it_says_of_keys_are_keys_of_the_language() -> None:
    """No word about a key that there is not."""
    keys: set[str] = set()
    stack: list[object] = [SCHEMA]
    while stack:
        one = stack.pop()
        if isinstance(one, dict):
            keys.update(one.get("properties", {}))
            stack.extend(one.values())
        elif isinstance(one, list):
            stack.extend(one)
    assert set(DESCRIPTIONS) <= keys
