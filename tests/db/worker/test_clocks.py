"""The database's clock is set back or ahead: leases stay bounded, and what cannot be put right is said."""

from contextlib import closing
from dataclasses import replace

import pytest

from noetl.database.connect import Database
from noetl.database.runtime import Process
from noetl.settings import Settings
from noetl.worker.clock import ClockWatch, told
from noetl.worker.executor import Executor
from noetl.worker.maintenance import housekeeper as housekeeper_module
from noetl.worker.maintenance.containers import LeftContainers
from noetl.worker.maintenance.housekeeper import Housekeeper
from tests.support.hand import with_hand
from tests.support.worker_loops import a_worker_loop
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


def test_a_lost_workers_lease_ends_although_the_clock_was_set_back(database: Database, settings: Settings) -> None:
    """By ten minutes, as it seems: its lease would hold for as long."""
    engine = Engine(database, settings)
    engine.register(QUICK)
    execution = engine.start("quick")
    with with_hand(database, "gone", lease=602.0) as hand:
        assert len(hand.claim()) == 1
    with database.session() as conn:
        conn.execute("INSERT INTO runtime (runtime_id, kind, meta) VALUES ('gone', 'worker', '{\"lease\": 2}')")
    with working(replace(settings, lease_seconds=2.0)):
        assert engine.wait(execution, limit=60) == "completed"
    assert "lease_expired start" in engine.events(execution)


def test_long_leases_of_those_who_take_long_ones_stay(database: Database, settings: Settings) -> None:
    engine = Engine(database, settings)
    engine.register(QUICK)
    engine.start("quick")
    with (
        with_hand(database, "patient", lease=600.0) as hand,
        closing(Executor(1)) as executor,
        database.connect() as conn,
    ):
        (row,) = hand.claim()
        with database.session() as other:
            other.execute(
                "INSERT INTO runtime (runtime_id, kind, meta) VALUES ('patient', 'worker', '{\"lease\": 600}')"
            )
        a_housekeeper(database, settings, executor).beat(conn)
        assert engine.one("SELECT lease_until > clock_timestamp() + interval '500 s' FROM queue")
        hand.done(row)


def test_a_clock_that_was_set_is_in_the_error_log(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(database, settings)
    times = iter([1000.0, 1000.0, 880.0, 880.0])
    monkeypatch.setattr(housekeeper_module, "database_clock", lambda _conn: next(times))
    with closing(Executor(1)) as executor, database.connect() as conn:
        housekeeper = a_housekeeper(database, settings, executor)
        for _ in range(4):
            housekeeper.beat(conn)
    ((kind, message),) = engine.rows("SELECT error_type, message FROM error_log")
    assert kind == "clock"
    assert message.startswith("the database's clock was set back by 1")
    assert "went ahead" in told(120.0)


def a_housekeeper(database: Database, settings: Settings, executor: Executor) -> Housekeeper:
    me = Process("worker", "worker", "here", 1, ("default",), 1, "0")
    return Housekeeper(
        database,
        settings,
        a_worker_loop(database, settings, executor),
        executor,
        me,
        LeftContainers(database, "worker"),
    )
