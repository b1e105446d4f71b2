"""Outcomes that come in an order which is rare: none is lost, none counts twice, none goes to the wrong place."""

from collections.abc import Iterator

import pytest

from noetl.database.connection.connect import Database
from noetl.engine.inputs import Cancel, Collected
from noetl.outcomes import Deferred, Done, Expired, Failed
from noetl.settings import Settings
from noetl.words import CANCEL_NODE
from tests.support.hand import Hand, with_hand
from tests.support.playbooks import playbook
from tests.support.working import Engine

BROKEN = Failed({"type": "python", "message": "broken", "retryable": False, "detail": None})

TWO_ITEMS = playbook(
    """
    - step: each
      type: wait
      for: 1h
      loop: {in: [1, 2, 3], iterator: x, mode: async, concurrency: 2}
    """,
    "items",
)

NESTED_ITEMS = playbook(
    """
    - step: each
      type: wait
      for: 1h
      loop: [{in: [1, 2], iterator: x, mode: async}, {in: [1], iterator: y}]
    """,
    "nested",
)

TWO_STEPS = playbook(
    """
    - {step: first, type: wait, for: 1h, next: [second]}
    - {step: second, type: wait, for: 1h}
    """,
    "steps",
)

BRANCHES = playbook(
    """
    - {step: start, next: [left, right]}
    - {step: left, type: wait, for: 1h}
    - {step: right, type: wait, for: 1h}
    """,
    "branches",
)

HEAVY = playbook(
    """
    pool: heavy
    workflow:
      - step: each
        type: wait
        for: 1h
        loop: {in: [1, 2], iterator: x, on_error: continue}
    """,
    "heavy",
)


@pytest.fixture
def engine(database: Database, settings: Settings) -> Engine:
    return Engine(database, settings)


@pytest.fixture
def hand(database: Database) -> Iterator[Hand]:
    with with_hand(database) as hand:
        yield hand


def end_leases(engine: Engine) -> None:
    with engine.database.session() as conn:
        conn.execute("UPDATE queue SET lease_until = clock_timestamp() - interval '1 s' WHERE status = 'leased'")


def begin_loops(hand: Hand, count: int, pool: str = "default") -> None:
    """Answer the next jobs, which collect what loops run over."""
    for _ in range(count):
        (row,) = hand.claim(1, pool)
        what = hand.prepared(row)
        assert isinstance(what, Collected)
        hand.complete(hand.finished(row, what))


def queue(engine: Engine) -> list[tuple[str, int, str]]:
    found: list[tuple[str, int, str]] = engine.rows("SELECT node_id, item_index, status FROM queue ORDER BY 1, 2")
    return found


# ---- a loop that has failed -----------------------------------------------------------------------------------------


def test_nothing_waits_in_a_loop_that_has_failed(engine: Engine, hand: Hand) -> None:
    """An item that was in somebody's hands when another one failed is not put back to wait for an hour."""
    engine.register(TWO_ITEMS)
    execution = engine.start("items")
    begin_loops(hand, 1)
    first, second = hand.claim(2)
    hand.complete(hand.finished(first, BROKEN))
    assert queue(engine) == [("each", 1, "leased")]
    hand.complete(hand.finished(second, Deferred(3600.0, {})))
    assert engine.status(execution) == "failed"
    assert queue(engine) == []
    assert "item_skipped each" in engine.events(execution)


def test_nothing_waits_in_a_loop_within_one_that_has_failed(engine: Engine, hand: Hand) -> None:
    engine.register(NESTED_ITEMS)
    execution = engine.start("nested")
    begin_loops(hand, 3)
    first, second = hand.claim(2)
    hand.complete(hand.finished(first, BROKEN), hand.finished(second, Deferred(3600.0, {})))
    assert engine.status(execution) == "failed"
    assert queue(engine) == []


def test_the_child_of_an_item_of_a_loop_that_has_failed_is_cancelled(engine: Engine, hand: Hand) -> None:
    engine.register(TWO_ITEMS)
    engine.register(TWO_STEPS)
    engine.start("items")
    child = engine.start("steps", priority=-1)
    begin_loops(hand, 1)
    first, second = hand.claim(2)
    hand.complete(hand.finished(first, BROKEN))
    second = second._replace(job=second.job.again(context={"child": str(child)}))
    hand.complete(hand.finished(second, Deferred(5.0, {})))
    assert (CANCEL_NODE, -1, "queued") in queue(engine)


def test_a_job_that_was_put_back_does_not_begin_in_a_loop_that_has_failed(engine: Engine, hand: Hand) -> None:
    """As after a connection lost between a claim and its beginning."""
    engine.register(TWO_ITEMS)
    execution = engine.start("items")
    begin_loops(hand, 1)
    first, second = hand.claim(2)
    hand.complete(hand.finished(first, BROKEN))
    hand.release(second.job.job_id)
    (again,) = hand.claim()
    what = hand.prepared(again)
    assert isinstance(what, Failed)
    hand.complete(hand.finished(again, what))
    assert engine.status(execution) == "failed"
    assert engine.events(execution).count("item_skipped each") == 1


# ---- children -------------------------------------------------------------------------------------------------------


def test_a_child_is_cancelled_whose_parent_was_in_somebodys_hands_when_it_was_cancelled(
    engine: Engine, hand: Hand
) -> None:
    """Its job is put back, as after a lost connection, and answered without being begun."""
    engine.register(TWO_STEPS)
    parent, child = engine.start("steps"), engine.start("steps", priority=-1)
    (row,) = hand.claim()
    assert engine.orchestrator.cancel(parent) == "cancelling"
    row = row._replace(job=row.job.again(context={"child": str(child)}))
    hand.complete(hand.finished(row, Failed({"type": "cancelled", "message": "it is ending", "retryable": False})))
    assert engine.status(parent) == "cancelled"
    assert engine.rows("SELECT node_id FROM queue WHERE execution_id = %s ORDER BY 1", child) == [
        (CANCEL_NODE,),
        ("first",),
    ]


def test_a_cancel_by_the_parent_is_not_withdrawn_by_a_failure_of_the_childs_own(engine: Engine, hand: Hand) -> None:
    """It ends running attempts, which a failure lets go on."""
    engine.register(BRANCHES)
    child = engine.start("branches")
    left, right = hand.claim(2)
    with engine.database.session() as conn:
        conn.execute("INSERT INTO queue (execution_id, node_id, visit) VALUES (%s, %s, 0)", [child, CANCEL_NODE])
    hand.complete(hand.finished(left, BROKEN))
    (cancel,) = hand.claim()
    assert cancel.job.node_id == CANCEL_NODE
    what = hand.prepared(cancel)
    assert isinstance(what, Cancel)
    hand.complete(hand.finished(cancel, what))
    assert engine.one("SELECT state ->> 'killing' FROM execution") == "true"
    hand.complete(hand.finished(right, BROKEN))
    assert engine.status(child) == "failed"
    assert queue(engine) == []


# ---- one job, two leases --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 1])
def test_of_two_outcomes_of_a_job_the_one_counts_whose_lease_holds(engine: Engine, hand: Hand, place: int) -> None:
    """Its lease expired, somebody else has said so, it is ours again: both outcomes may come in one batch."""
    engine.register(TWO_STEPS)
    execution = engine.start("steps")
    hand.claim()
    end_leases(engine)
    (lost,) = hand.expired()
    postponed = hand.finished(lost, Expired())
    hand.complete(hand.finished(lost, Expired()))
    (again,) = hand.claim_lost()
    outcomes = [hand.finished(again, Done(b"1"))]
    outcomes.insert(place, postponed)
    committed = hand.complete(*outcomes)
    assert committed.dropped == [postponed]
    assert engine.events(execution) == [
        "execution_start", "step_queued first", "lease_expired first", "step_completed first", "step_queued second",
    ]  # fmt: skip
    assert queue(engine) == [("second", -1, "queued")]


def test_an_outcome_that_is_there_twice_counts_once(engine: Engine, hand: Hand) -> None:
    """As where two have noticed the same lost worker."""
    engine.register(TWO_STEPS)
    execution = engine.start("steps")
    hand.claim()
    end_leases(engine)
    (lost,) = hand.expired()
    first, second = hand.finished(lost, Expired()), hand.finished(lost, Expired())
    assert hand.complete(first, second).dropped == [second]
    assert engine.events(execution).count("lease_expired first") == 1


def test_leases_are_lost_in_a_row_only_without_a_good_one_between_them(engine: Engine, hand: Hand) -> None:
    """A job that waits is leased again and again, for days: each time that goes well the count begins anew."""
    engine.register(TWO_STEPS)
    engine.start("steps")
    hand.claim()
    end_leases(engine)
    (lost,) = hand.expired()
    hand.complete(hand.finished(lost, Expired()))
    (again,) = hand.claim_lost()
    assert again.job.lost == 1
    hand.complete(hand.finished(again, Deferred(0.0, {})))
    assert engine.rows("SELECT status, lost FROM queue") == [("waiting", 0)]


# ---- pools ----------------------------------------------------------------------------------------------------------


def test_who_notices_a_lost_worker_does_not_continue_with_what_is_another_pools(engine: Engine, hand: Hand) -> None:
    engine.register(HEAVY)
    engine.start("heavy")
    begin_loops(hand, 1, "heavy")
    hand.claim(1, "heavy")
    for attempt in range(3):
        if attempt:
            assert hand.claim_lost("heavy")
        end_leases(engine)
        (lost,) = hand.expired()
        committed = hand.complete(hand.finished(lost, Expired()), room=5)
    assert committed.leased == []
    assert committed.queued
    assert queue(engine) == [("each", 1, "queued")]
