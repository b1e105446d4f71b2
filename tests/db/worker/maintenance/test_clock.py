"""The database's clock is set back or ahead: leases stay bounded, and what cannot be put right is said."""

from dataclasses import replace

import pytest
from psycopg import Connection

from noetl.database.connection.connect import Database
from noetl.settings import Settings
from noetl.worker.maintenance import clock
from noetl.worker.maintenance.clock import ClockCheck, ClockWatch, describe_jump
from noetl.worker.maintenance.parts import WorkerParts
from tests.support.hand import with_hand
from tests.support.working import Engine, working

LONG = '{"lease": 600}'

QUICK = """apiVersion: noetl.io/v1
kind: Playbook
metadata: {name: test, path: quick}
workflow:
  - {step: start, type: python, code: 'def main(): return 1'}
"""


@pytest.mark.parametrize(
    ("passed", "jump"),
    [(5.0, 0.0), (4.0, 0.0), (6.5, 0.0), (-115.0, -120.0), (2.9, -2.1), (125.0, 119.0), (8.5, 2.5)],
)
def test_a_jump_is_what_the_monotonic_clock_does_not_explain(passed: float, jump: float) -> None:
    """Between both readings lie 5 seconds at least and 6 at most."""
    watch = ClockWatch()
    assert watch.jump(1000.0, 10.0, 10.5) == 0.0
    assert watch.jump(1000.0 + passed, 15.5, 16.0) == pytest.approx(jump)


def test_a_lost_workers_lease_ends_although_the_clock_was_set_back(
    database: Database, settings: Settings, engine: Engine
) -> None:
    """By ten minutes, as it seems: its lease would hold for as long."""
    engine.register(QUICK)
    execution = engine.start("quick")
    with with_hand(database, "gone", lease=602.0) as hand:
        assert len(hand.claim()) == 1
    with database.session() as conn:
        conn.execute("INSERT INTO runtime (runtime_id, kind, meta) VALUES ('gone', 'worker', '{\"lease\": 2}')")
    with working(replace(settings, lease_seconds=2.0)):
        assert engine.wait(execution, limit=60) == "completed"
    assert "lease_expired start" in engine.events(execution)


def test_long_leases_of_those_who_take_long_ones_stay(
    database: Database, engine: Engine, worker: WorkerParts, conn: Connection
) -> None:
    engine.register(QUICK)
    engine.start("quick")
    with with_hand(database, "patient", lease=600.0) as hand:
        (row,) = hand.claim()
        with database.session() as other:
            other.execute(
                "INSERT INTO runtime (runtime_id, kind, meta) VALUES ('patient', 'worker', '{\"lease\": 600}')"
            )
        ClockCheck(worker)(conn)
        assert engine.one("SELECT lease_until > clock_timestamp() + interval '500 s' FROM queue")
        hand.done(row)


def test_a_clock_that_was_set_is_in_the_error_log(
    engine: Engine, worker: WorkerParts, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([1000.0, 1000.0, 880.0, 880.0])
    monkeypatch.setattr(clock, "database_clock", lambda _conn: next(times))
    check = ClockCheck(worker)
    for _ in range(4):
        check(conn)
    ((kind, message),) = engine.rows("SELECT error_type, message FROM error_log")
    assert kind == "clock"
    assert message.startswith("the database's clock was set back by 1")
    assert "went ahead" in describe_jump(120.0)
