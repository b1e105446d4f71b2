"""YAML that we write reads back as the same values, by our own reader."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noetl.playbook.yaml import tree as yamltree
from noetl.playbook.yaml.write import write_yaml

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=60)
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
KEYS = TEXT.filter(lambda key: key != "<<")
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
TRAPS = "on yes no null ~ true 12 0x1F 0o17 1e3 1_000 .inf -.5 12:30:45 2026-01-01 ' \" = << {{a}} [a] &a *a !a %a @a"
MORE_TRAPS = [
    "",
    "a: b",
    "# no",
    "- a",
    "a\nb\n",
    "a\nb",
    " a\nb",
    "\n",
    "a\n\n\n",
    "tab\there",
    "\u2028",
    "\x85",
    "a ",
]


def read(text: str) -> Any:
    root, problems = yamltree.read(text, "written.yaml")
    assert problems == [], text
    assert root is not None
    return root.plain()


@settings(derandomize=True, database=None, deadline=None, max_examples=600)
@given(VALUES)
def test_every_value_reads_back(value: Any) -> None:
    again = read(write_yaml(value))
    assert again == value
    assert repr(again) == repr(value), "types and the order of keys, too"


@pytest.mark.parametrize("text", [*TRAPS.split(), *MORE_TRAPS, "\x85", "a "])
def test_text_that_looks_like_something_else_stays_text(text: str) -> None:
    assert read(write_yaml({"key": text, f"{text}.": 1})) == {"key": text, f"{text}.": 1}


def test_lines_stand_as_a_block() -> None:
    """So that code and messages can be read."""
    assert write_yaml({"code": "def main():\n    return 1\n"}) == "code: |\n  def main():\n      return 1\n"


def test_what_stands_twice_is_written_twice() -> None:
    one = {"a": [1]}
    assert write_yaml([one, one]) == "- a:\n  - 1\n- a:\n  - 1\n"
