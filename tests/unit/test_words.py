"""The vocabulary and those who use it."""

import re
from pathlib import Path

from noetl.words import EventType, ExecutionStatus, JobStatus

ROOT = Path(__file__).resolve().parents[2]
COMPARED = re.compile(r"event_type\s*(?:=|<>|IN)\s*\(?((?:'\w+',?\s*)+)")


def test_statements_name_types_of_events_that_exist() -> None:
    """A statement that asks for a type nobody writes would find nothing, and nobody would notice."""
    database = ROOT / "noetl" / "database"
    texts = [path.read_text() for path in [*database.rglob("*.sql"), *database.rglob("*.py")]]
    named = {word for text in texts for clause in COMPARED.findall(text) for word in re.findall(r"\w+", clause)}
    assert named
    assert named <= {word.value for word in EventType}


def test_each_status_has_a_row_in_the_description_of_the_insides() -> None:
    text = (ROOT / "docs" / "internals.md").read_text()
    section = text[text.index("## Statuses") : text.index("## Reading a playbook")]
    rows = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert rows == [*(word.value for word in ExecutionStatus), *(word.value for word in JobStatus)]
