"""A server ends what no living worker ends: leases that have expired, and executions that have timed out."""

from collections.abc import Iterator

import pytest

from noetl.database.connection.connect import Database
from noetl.orchestrator.commands import Orchestrator
from noetl.orchestrator.lost import LEASE_GRACE_SECONDS, OVERDUE_ROWS
from noetl.server.caretaker import Caretaker
from noetl.server.service import Service
from noetl.settings import Settings
from tests.support.hand import Hand, with_hand
from tests.support.working import Engine, working

HEAD = "apiVersion: noetl.io/v1\nkind: Playbook\nmetadata: {name: test, path: %s}\n"
ONE = HEAD % "one" + "workflow:\n  - {step: start, type: python, code: 'def main(): return 1'}\n"
LIMITED = HEAD % "limited" + "timeout: 1\nworkflow:\n  - {step: start, type: wait, for: 1h}\n"


@pytest.fixture
def engine(database: Database, settings: Settings) -> Engine:
    return Engine(database, settings)


@pytest.fixture
def hand(database: Database) -> Iterator[Hand]:
    with with_hand(database) as hand:
        yield hand


@pytest.fixture
def caretaker(engine: Engine, settings: Settings) -> Caretaker:
    return Caretaker(Service(engine.database, Orchestrator(engine.database, settings)), "server-here-1")


def end_leases(engine: Engine, seconds: float = LEASE_GRACE_SECONDS + 1) -> None:
    """Let time pass: leases expired so many seconds ago."""
    with engine.database.session() as conn:
        conn.execute(
            "UPDATE queue SET lease_until = clock_timestamp() - make_interval(secs => %s) WHERE status = 'leased'",
            [seconds],
        )


def test_the_only_worker_dies_three_times_and_the_server_fails_the_step(
    engine: Engine, hand: Hand, caretaker: Caretaker
) -> None:
    engine.register(ONE)
    execution = engine.start("one")
    for claim in (hand.claim, hand.claim_lost, hand.claim_lost):
        assert len(claim()) == 1
        end_leases(engine)
        caretaker.look()
    assert engine.status(execution) == "failed"
    assert engine.error(execution)["type"] == "worker_lost"
    assert engine.events(execution).count("lease_expired start") == 3
    assert engine.one("SELECT count(*) FROM queue") == 0


def test_a_job_that_the_server_gave_back_runs_on_the_next_worker(
    engine: Engine, settings: Settings, hand: Hand, caretaker: Caretaker
) -> None:
    engine.register(ONE)
    execution = engine.start("one")
    hand.claim()
    end_leases(engine)
    caretaker.look()
    assert engine.one("SELECT status || ' ' || lost FROM queue") == "queued 1"
    with working(settings):
        assert engine.wait(execution) == "completed"


def test_leases_that_hold_or_have_just_run_out_are_left_to_workers(
    engine: Engine, hand: Hand, caretaker: Caretaker
) -> None:
    engine.register(ONE)
    engine.start("one")
    (row,) = hand.claim()
    caretaker.look()
    end_leases(engine, seconds=1)
    caretaker.look()
    assert engine.one("SELECT status || ' ' || lost FROM queue") == "leased 0"
    assert not hand.done(row).dropped, "the late answer of a slow worker counts as long as nobody was told otherwise"


def test_the_server_ends_executions_past_their_timeout(engine: Engine, hand: Hand, caretaker: Caretaker) -> None:
    engine.register(LIMITED)
    execution = engine.start("limited")
    hand.claim()
    with engine.database.session() as conn:
        conn.execute("UPDATE execution SET timeout_at = clock_timestamp() - interval '1 s'")
    caretaker.look()
    assert engine.error(execution)["type"] == "timeout"


def test_unreadable_executions_do_not_hide_those_behind_them(engine: Engine, hand: Hand, caretaker: Caretaker) -> None:
    """Each look takes a bounded number of leases, the oldest first."""
    engine.register(ONE)
    many = [engine.start("one") for _ in range(OVERDUE_ROWS + 1)]
    assert len(hand.claim(OVERDUE_ROWS + 1)) == OVERDUE_ROWS + 1
    end_leases(engine)
    states = engine.rows("SELECT execution_id, state::text FROM execution ORDER BY execution_id")
    with engine.database.session() as conn:
        conn.execute("UPDATE queue SET lease_until = lease_until - interval '1 s' WHERE execution_id <> %s", [many[-1]])
        conn.execute("UPDATE execution SET state = '[]' WHERE execution_id <> %s", [many[-1]])
    caretaker.look()
    caretaker.look()
    assert engine.one("SELECT count(*) FROM queue WHERE status = 'quarantined'") == OVERDUE_ROWS
    assert engine.one("SELECT lost FROM queue WHERE execution_id = %s", many[-1]) == 1
    assert engine.one("SELECT DISTINCT worker_id FROM error_log") == "server-here-1"
    with engine.database.session() as conn:
        for execution, state in states[:OVERDUE_ROWS]:
            conn.execute("UPDATE execution SET state = %s WHERE execution_id = %s", [state, execution])


def test_a_locked_execution_is_left_for_the_next_look(engine: Engine, hand: Hand, caretaker: Caretaker) -> None:
    engine.register(ONE)
    locked, other = engine.start("one"), engine.start("one")
    assert len(hand.claim(2)) == 2
    end_leases(engine)
    with engine.database.connect() as holder, holder.transaction():
        holder.execute("SELECT FROM noetl.execution WHERE execution_id = %s FOR NO KEY UPDATE", [locked])
        caretaker.look()
        assert engine.one("SELECT lost FROM queue WHERE execution_id = %s", other) == 1
        assert engine.one("SELECT lost FROM queue WHERE execution_id = %s", locked) == 0
    caretaker.look()
    assert engine.one("SELECT lost FROM queue WHERE execution_id = %s", locked) == 1
