"""Jobs of playbooks that this version cannot read are quarantined at once, each with its reason, and hold up nobody."""

import pytest

from noetl.database.connection.connect import Database
from noetl.orchestrator import playbook_cache
from noetl.orchestrator.lost import OVERDUE_ROWS
from noetl.playbook.load import stored_playbook
from noetl.playbook.model import Playbook
from noetl.settings import Settings
from tests.support.hand import with_hand
from tests.support.waiting import wait_for
from tests.support.working import Engine, working

HEAD = "apiVersion: noetl.io/v1\nkind: Playbook\nmetadata: {name: test, path: %s}\n"
QUICK = "workflow:\n  - {step: start, type: python, code: 'def main(): return 1'}\n"

UNREADABLE = {
    "no YAML": "a: [",
    "nothing": "",
    "a list": "- 1\n",
    "a later version": "apiVersion: noetl.io/v9\nkind: Playbook\nmetadata: {name: t, path: later}\nworkflow: []\n",
    "an unknown type": HEAD % "later" + "workflow:\n  - {step: start, type: quantum}\n",
    "nested too deep": HEAD % "later" + "workload: " + "[" * 3000 + "]" * 3000 + "\n" + QUICK,
    "another kind": "apiVersion: noetl.io/v1\nkind: Secret\nmetadata: {name: t, path: later}\n",
}

MANY = 150


@pytest.mark.parametrize("case", UNREADABLE)
def test_unreadable_jobs_are_quarantined_and_hold_up_nobody(case: str, database: Database, settings: Settings) -> None:
    engine = Engine(database, settings)
    engine.register(HEAD % "later" + QUICK)
    engine.register(HEAD % "quick" + QUICK)
    later = [engine.start("later") for _ in range(MANY)]
    quick = engine.start("quick")
    with database.session() as conn:
        conn.execute("UPDATE catalog SET content = %s WHERE path = 'later'", [UNREADABLE[case]])
    with working(settings, slots=4):
        assert engine.wait(quick, limit=20) == "completed"
        wait_for(lambda: engine.one("SELECT count(*) FROM queue WHERE status = 'quarantined'") == MANY)
    errors = engine.rows("SELECT execution_id, error_type, message FROM error_log")
    assert sorted(row[0] for row in errors) == later
    assert {row[1] for row in errors} == {"quarantined"}
    assert all("cannot read playbook later" in row[2] for row in errors)
    make_readable(engine, QUICK)


@pytest.mark.parametrize("damage", ["state = '[]'", 'state = \'{"status": "unheard of"}\'', "state = '7'"])
def test_a_state_that_cannot_be_read_costs_its_own_execution(
    damage: str, database: Database, settings: Settings
) -> None:
    """It was written by another version, or by somebody's hand."""
    engine = Engine(database, settings)
    engine.register(HEAD % "quick" + QUICK)
    broken, quick = engine.start("quick"), engine.start("quick")
    whole = engine.one("SELECT state::text FROM execution WHERE execution_id = %s", broken)
    with database.session() as conn:
        conn.execute(f"UPDATE execution SET {damage} WHERE execution_id = {broken}".encode())
    with working(settings, slots=4):
        assert engine.wait(quick, limit=20) == "completed"
        wait_for(lambda: engine.one("SELECT status FROM queue") == "quarantined")
    assert [row[0] for row in engine.rows("SELECT execution_id FROM error_log")] == [broken]
    with database.session() as conn:
        conn.execute("UPDATE execution SET state = %s WHERE execution_id = %s", [whole, broken])
    with working(settings, slots=4):
        assert engine.wait(broken) == "completed"


def test_unreadable_jobs_of_a_worker_that_is_gone_do_not_hide_those_behind_them(
    database: Database, settings: Settings
) -> None:
    """Expired leases are looked at a bounded number at a time, the oldest first."""
    engine = Engine(database, settings)
    engine.register(HEAD % "later" + QUICK)
    engine.register(HEAD % "quick" + QUICK)
    for _ in range(OVERDUE_ROWS):
        engine.start("later")
    quick = engine.start("quick")
    with with_hand(database, "gone", lease=0.0) as hand:
        assert len(hand.claim(OVERDUE_ROWS)) == OVERDUE_ROWS
        assert len(hand.claim(1)) == 1
    with database.session() as conn:
        conn.execute("UPDATE catalog SET content = 'a: [' WHERE path = 'later'")
    with working(settings, slots=4):
        assert engine.wait(quick) == "completed"
        wait_for(lambda: engine.one("SELECT count(*) FROM queue WHERE status = 'quarantined'") == OVERDUE_ROWS)
    assert engine.one("SELECT count(*) FROM error_log WHERE error_type = 'quarantined'") == OVERDUE_ROWS
    make_readable(engine, QUICK)


def test_timed_out_executions_that_cannot_be_ended_do_not_hide_those_behind_them(
    database: Database, settings: Settings
) -> None:
    engine = Engine(database, settings)
    brief = "timeout: 1ms\n" + QUICK
    for path in ("later", "quick"):
        engine.register(HEAD % path + brief)
    for _ in range(OVERDUE_ROWS):
        engine.start("later")
    quick = engine.start("quick")
    with database.session() as conn:
        conn.execute("UPDATE catalog SET content = 'a: [' WHERE path = 'later'")
        conn.execute("UPDATE queue SET pool = 'nobody'")
    with working(settings, slots=4):
        assert engine.wait(quick) == "failed"
    make_readable(engine, brief)


def test_whatever_reading_a_playbook_raises_is_its_own_trouble(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(database, settings)
    engine.register(HEAD % "later" + QUICK)
    engine.register(HEAD % "quick" + QUICK)
    engine.start("later")
    quick = engine.start("quick")

    def reading(content: str, path: str) -> Playbook:
        if path == "later":
            raise RecursionError("too deep")
        return stored_playbook(content, path)

    with monkeypatch.context() as patch, working(settings, slots=4):
        patch.setattr(playbook_cache, "stored_playbook", reading)
        assert engine.wait(quick) == "completed"
        wait_for(lambda: engine.one("SELECT count(*) FROM queue WHERE status = 'quarantined'") == 1)
    assert "RecursionError: too deep" in engine.one("SELECT message FROM error_log")
    make_readable(engine, QUICK)


def make_readable(engine: Engine, workflow: str) -> None:
    """Give the playbook its text back, and let all that is quarantined end."""
    with engine.database.session() as conn:
        conn.execute("UPDATE catalog SET content = %s WHERE path = 'later'", [HEAD % "later" + workflow])
        conn.execute("UPDATE queue SET pool = 'default'")
    with working(engine.orchestrator.settings, slots=4):
        wait_for(lambda: engine.one("SELECT count(*) FROM execution WHERE finished_at IS NULL") == 0, limit=60)
