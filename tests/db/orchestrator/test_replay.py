"""`noetl db verify` replays every execution, and reports what cannot be: it never breaks on what it is looking for."""

from collections.abc import Callable, Iterator

import pytest

from noetl.database.connection.connect import Database, open_admin
from noetl.orchestrator.commands import Orchestrator
from noetl.orchestrator.replay import verify_replay
from noetl.orchestrator.start import StartRequest
from noetl.settings import Settings

PLAYBOOK = """
apiVersion: noetl.io/v1
kind: Playbook
metadata: {name: test, path: replayed}
workflow:
  - {step: start, type: python, code: "def main(): return 1", next: [end]}
  - step: end
"""

APPEND = """
INSERT INTO event_log (execution_id, event_id, timestamp, event_type)
SELECT execution_id, last_event_id + 1, clock_timestamp(), '{}' FROM execution WHERE path = 'replayed'
"""

BROKEN = {
    "an event type that is not known": (APPEND.format("step_teleported"), "is of type 'step_teleported', which this"),
    "an event that lacks its context": (
        APPEND.format("execution_finishing"),
        "cannot be replayed (KeyError('outcome')",
    ),
    "another state": ("UPDATE execution SET state = '{}'", "its state is {}, but its events come to"),
    "another status": ("UPDATE execution SET status = 'paused'", "its status is paused, its state's running"),
    "a playbook that this version cannot read": ("UPDATE catalog SET content = 'kind: Other'", "replayed"),
}


@pytest.fixture
def unverified(make_settings: Callable[..., Settings]) -> Iterator[Database]:
    """A database that may end in any state, with one execution that has begun."""
    settings = make_settings()
    with open_admin(settings) as database:
        orchestrator = Orchestrator(database, settings)
        orchestrator.register(PLAYBOOK, filename="test.yaml")
        orchestrator.start(StartRequest("replayed"))
        yield database


def test_what_is_sound_has_no_findings(unverified: Database) -> None:
    assert verify_replay(unverified) == []


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_replayed_is_one_finding(unverified: Database, case: str) -> None:
    """It names the execution."""
    damage, says = BROKEN[case]
    with unverified.session() as conn:
        conn.execute(damage.encode())
    (finding,) = verify_replay(unverified)
    assert finding.startswith("execution ")
    assert says in finding
