"""`noetl db verify` looks at the catalog: nobody has changed a text, and no row of a version is gone."""

from collections.abc import Callable, Iterator

import pytest

from noetl.database.connection.connect import Database, open_admin
from noetl.orchestrator.catalog_check import verify_catalog
from noetl.orchestrator.commands import Orchestrator
from noetl.settings import Settings

PLAYBOOK = """
apiVersion: noetl.io/v1
kind: Playbook
metadata: {name: test, path: checked}
workflow:
  - {step: start, type: workbook, task: one, next: [end]}
  - step: end
workbook:
  - {name: one, type: python, code: "def main(): return 1"}
"""

BROKEN = {
    "a step that is gone": (
        "DELETE FROM workflow WHERE node_id = 'start'",
        "workflow are not those of its text: st",
    ),
    "a step of nobody": ("UPDATE workflow SET node_id = 'other' WHERE node_id = 'end'", "text: end, other"),
    "an edge that is gone": ("DELETE FROM transition", "transition are not those of its text: "),
    "a task that is gone": ("DELETE FROM workbook", "workbook are not those of its text: one"),
    "another text": (
        "UPDATE catalog SET content = replace(content, 'return 1', 'return 2')",
        "its text is not",
    ),
}


@pytest.fixture
def unverified(make_settings: Callable[..., Settings]) -> Iterator[Database]:
    settings = make_settings()
    with open_admin(settings) as database:
        Orchestrator(database, settings).register(PLAYBOOK, filename="test.yaml")
        yield database


def test_what_is_sound_has_no_findings(unverified: Database) -> None:
    assert verify_catalog(unverified) == []


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_found(unverified: Database, case: str) -> None:
    damage, says = BROKEN[case]
    with unverified.session() as conn:
        conn.execute(damage.encode())
    (finding,) = verify_catalog(unverified)
    assert finding.startswith("checked version 1: ")
    assert says in finding
