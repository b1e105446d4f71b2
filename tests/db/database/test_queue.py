"""The queue under many hands: each job is leased once at a time, and only who holds its lease completes it."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest

from noetl.calls import Call
from noetl.database import store
from noetl.database.connection.connect import Database
from noetl.database.rows import JobRow
from noetl.orchestrator.complete import MAX_STREAK_STEPS
from noetl.outcomes import Done, Expired, Failed
from noetl.settings import Settings
from noetl.words import CANCEL_NODE, JobStatus
from tests.support.hand import Hand, with_hand
from tests.support.waiting import wait_for
from tests.support.working import Engine, working

STEP = "{step: %s, type: python, code: 'def main(): pass', next: [%s]}"


def playbook(path: str, *steps: str) -> str:
    lines = "".join(f"  - {step}\n" for step in steps)
    return f"apiVersion: noetl.io/v1\nkind: Playbook\nmetadata: {{name: test, path: {path}}}\nworkflow:\n{lines}"


def wide(path: str, width: int) -> str:
    """A playbook whose start queues many jobs at once."""
    names = [f"s{number}" for number in range(width)]
    return playbook(path, f"{{step: start, next: [{', '.join(names)}]}}", *(STEP % (name, "end") for name in names),
                    "{step: end}")  # fmt: skip


def chain(path: str, length: int) -> str:
    """A playbook of steps one after the other."""
    names = [f"s{number}" for number in range(length)]
    return playbook(path, *(STEP % pair for pair in zip(names, [*names[1:], "end"], strict=True)), "{step: end}")


TWO = playbook(
    "two",
    "{step: first, type: python, code: 'def main(): pass', next: [{step: second, args: {seen: '{{ first }}'}}]}",
    "{step: second, type: python, args: {again: '{{ first }}'}, code: 'def main(seen, again): pass', next: [end]}",
    "{step: end, result: '{{ first }}'}",
)

BRANCHES = playbook(
    "branches",
    "{step: start, next: [mine, other]}",
    "{step: mine, type: python, code: 'def main(): pass', next: [end]}",
    "{step: other, type: python, code: 'def main(): pass', next: [{step: after, args: {seen: '{{ other }}'}}]}",
    "{step: after, type: python, args: {again: '{{ other }}'}, code: 'def main(seen, again): pass', next: [end]}",
    "{step: end, result: ['{{ mine }}', '{{ other }}']}",
)

CHILD = playbook("child", "{step: start, type: wait, for: 1h}")
CALLER = playbook("caller", "{step: start, type: playbook, path: child}")


@pytest.fixture
def engine(database: Database, settings: Settings) -> Engine:
    return Engine(database, settings)


@pytest.fixture
def hands(database: Database) -> Iterator[Callable[..., Hand]]:
    """Make workers by hand: `hands(name, lease=30)`."""
    made: list[Hand] = []

    def make(name: str = "hand", lease: float = 30.0) -> Hand:
        made.append(Hand(database, name, lease))
        return made[-1]

    yield make
    for hand in made:
        hand.conn.close()


def end_leases(engine: Engine) -> None:
    """Let time pass: no lease is valid any more."""
    with engine.database.session() as conn:
        conn.execute("UPDATE queue SET lease_until = clock_timestamp() - interval '1 s' WHERE status = 'leased'")


# ---- many at once ----------------------------------------------------------------------------------------------------


def test_eight_threads_claim_5000_jobs_each_exactly_once(engine: Engine, database: Database) -> None:
    engine.register(wide("wide", 100))
    for _ in range(50):
        engine.start("wide")
    begin = threading.Barrier(8)

    def claim(number: int) -> list[tuple[int, int]]:
        chance = random.Random(number)
        taken: list[tuple[int, int]] = []
        with with_hand(database, f"hand {number}") as hand:
            begin.wait(20)
            while rows := hand.claim(chance.randint(1, 40)):
                taken += [(row.job.job_id, row.job.attempts) for row in rows]
        return taken

    with ThreadPoolExecutor(8) as threads:
        shares = list(threads.map(claim, range(8)))
    claimed = [job for share in shares for job in share]
    assert len(claimed) == len(set(claimed)) == 5000
    assert {attempts for _, attempts in claimed} == {1}
    assert all(shares), "each of them got some"
    assert engine.rows("SELECT status, count(*) FROM queue GROUP BY status") == [("leased", 5000)]


def test_heartbeats_and_completions_do_not_deadlock_nor_lose_a_row(engine: Engine, database: Database) -> None:
    """Four workers complete jobs of the same executions while others renew all leases as fast as they can."""
    engine.register(wide("wide", 40))
    executions = [engine.start("wide") for _ in range(10)]
    held: dict[str, dict[int, int]] = {f"hand {number}": {} for number in range(4)}
    over = threading.Event()

    def work(name: str) -> int:
        completed = 0
        with with_hand(database, name) as hand:
            while rows := hand.claim(12):
                held[name] = {row.job.job_id: row.job.attempts for row in rows}
                todo = [hand.finished(row, Done(b"1")) for row in rows]
                while todo:
                    committed = hand.complete(*todo)
                    assert committed.dropped == []
                    completed += len(todo) - len(committed.postponed)
                    todo = committed.postponed
        return completed

    def beat(name: str) -> int:
        beats = 0
        with with_hand(database, name) as hand:
            while not over.is_set():
                beats += len(hand.renew(held[name].copy()))
        return beats

    with ThreadPoolExecutor(8) as threads:
        beating = [threads.submit(beat, name) for name in held]
        try:
            completed = sum(threads.map(work, held, timeout=60))
        finally:
            over.set()
        assert sum(each.result(10) for each in beating) > 0, "leases were renewed meanwhile"
    assert completed == 400
    assert Counter(engine.status(execution) for execution in executions) == {"completed": 10}
    assert engine.one("SELECT count(*) FROM queue") == 0
    with database.session() as conn:
        conn.execute("SELECT pg_stat_force_next_flush()")
    assert engine.one("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0


# ---- the fence -------------------------------------------------------------------------------------------------------


def test_a_lost_lease_is_another_ones_and_the_late_result_is_dropped(
    engine: Engine, hands: Callable[..., Hand]
) -> None:
    engine.register(TWO)
    execution = engine.start("two")
    late, quick = hands("late"), hands("quick")
    (before,) = late.claim()
    end_leases(engine)
    (lost,) = quick.expired()
    assert quick.complete(quick.finished(lost, Expired())).queued
    (again,) = quick.claim_lost()
    assert (again.job.job_id, again.job.attempts, again.job.lost) == (before.job.job_id, before.job.attempts + 1, 1)
    quick.done(again, result=b'"quick"')

    dropped = late.done(before, result=b'"late"').dropped
    assert [item.job.job_id for item in dropped] == [before.job.job_id]
    assert engine.events(execution)[1:5] == [
        "step_queued first", "lease_expired first", "step_completed first", "step_queued second",
    ]  # fmt: skip
    (second,) = late.claim()
    work = late.prepared(second)
    assert isinstance(work, Call)
    assert work.args == {"seen": "quick", "again": "quick"}
    late.done(second)
    assert engine.result(execution) == "quick"


def test_a_postponed_outcome_leaves_nothing_in_the_memory(engine: Engine, hands: Callable[..., Hand]) -> None:
    """It was decided, and would have been event 5. Meanwhile another branch's outcome has become that event."""
    engine.register(BRANCHES)
    execution = engine.start("branches")
    slow, quick = hands("slow"), hands("quick")
    (mine,), (other,) = slow.claim(), quick.claim()
    with locked(engine.database, execution):
        postponed = slow.done(mine, result=b'"slow"').postponed
    assert len(postponed) == 1
    quick.done(other, result=b'"quick"')
    (after,) = slow.claim()
    work = slow.prepared(after)
    assert isinstance(work, Call)
    assert work.args == {"seen": "quick", "again": "quick"}
    assert not slow.complete(*postponed).dropped
    slow.done(after)
    assert engine.result(execution) == ["slow", "quick"]


def test_another_workers_job_cannot_be_completed(engine: Engine, hands: Callable[..., Hand]) -> None:
    engine.register(TWO)
    execution = engine.start("two")
    holder, thief = hands("holder"), hands("thief")
    (row,) = holder.claim()
    assert thief.done(row).dropped
    assert not holder.done(row).dropped
    assert engine.events(execution).count("step_completed first") == 1


def test_a_lease_that_holds_cannot_be_reported_as_expired(engine: Engine, hands: Callable[..., Hand]) -> None:
    engine.register(TWO)
    execution = engine.start("two")
    holder, other = hands("holder"), hands("other")
    (row,) = holder.claim()
    assert other.expired() == []
    assert other.complete(other.finished(row, Expired())).dropped
    assert "lease_expired first" not in engine.events(execution)


def test_a_result_counts_as_long_as_nobody_has_taken_the_job(engine: Engine, hands: Callable[..., Hand]) -> None:
    """A lease that has expired unnoticed is still the holder's."""
    engine.register(TWO)
    execution = engine.start("two")
    holder, other = hands("holder"), hands("other")
    (row,) = holder.claim()
    end_leases(engine)
    (lost,) = other.expired()
    assert not holder.done(row).dropped
    assert other.complete(other.finished(lost, Expired())).dropped
    assert engine.events(execution)[1:3] == ["step_queued first", "step_completed first"]


def test_an_outcome_sent_twice_is_recorded_once(engine: Engine, hands: Callable[..., Hand]) -> None:
    """As after a connection lost between commit and reply."""
    engine.register(TWO)
    execution = engine.start("two")
    hand = hands()
    (row,) = hand.claim()
    outcome = hand.finished(row, Done(b"1"))
    assert not hand.complete(outcome).dropped
    assert hand.complete(outcome).dropped
    assert engine.events(execution).count("step_completed first") == 1


def test_an_outcome_in_doubt_is_no_trouble_when_its_execution_has_moved_on(
    engine: Engine, hands: Callable[..., Hand], caplog: pytest.LogCaptureFixture
) -> None:
    """It is sent again by who has learned meanwhile, from another job, that its step is over."""
    engine.register(BRANCHES)
    engine.start("branches")
    hand = hands()
    mine, other = hand.claim(2)
    outcome = hand.finished(mine, Done(b"1"))
    assert not hand.complete(outcome).dropped
    outcome.execution.state = hands("reader").finished(other, Done(b"1")).execution.state
    assert hand.complete(outcome, hand.finished(other, Done(b"2"))).dropped == [outcome]
    assert caplog.messages == []


def test_a_renewal_names_the_lease_it_renews(engine: Engine, hands: Callable[..., Hand]) -> None:
    engine.register(TWO)
    engine.start("two")
    holder, other = hands("holder"), hands("other")
    (row,) = holder.claim()
    assert holder.renew({row.job.job_id: row.job.attempts}) == {row.job.job_id}
    assert holder.renew({row.job.job_id: row.job.attempts + 1}) == set()
    assert other.renew({row.job.job_id: row.job.attempts}) == set()
    assert holder.renew({}) == set()


# ---- what a claim takes ----------------------------------------------------------------------------------------------


def test_a_lost_job_is_claimed_alone(engine: Engine, hands: Callable[..., Hand]) -> None:
    engine.register(wide("wide", 6))
    engine.start("wide")
    hand = hands()
    taken = hand.claim(4)
    end_leases(engine)
    hand.complete(*(hand.finished(row, Expired()) for row in hand.expired()))
    with engine.database.session() as conn:
        assert store.count_lost_jobs(conn) == 4
    assert {row.job.lost for row in hand.claim(100)} == {0}, "jobs lost before are not among those of a claim"
    alone = [hand.claim_lost() for _ in range(5)]
    assert [len(rows) for rows in alone] == [1, 1, 1, 1, 0]
    assert {rows[0].job.job_id for rows in alone[:4]} == {row.job.job_id for row in taken}


def test_three_leases_lost_in_a_row_fail_the_step(engine: Engine, hands: Callable[..., Hand]) -> None:
    engine.register(TWO)
    execution = engine.start("two")
    hand = hands()
    claims: list[Callable[[], list[JobRow]]] = [hand.claim, hand.claim_lost, hand.claim_lost]
    for claim in claims:
        assert len(claim()) == 1
        end_leases(engine)
        hand.complete(hand.finished(hand.expired()[0], Expired()))
    assert engine.status(execution) == "failed"
    assert engine.error(execution)["type"] == "worker_lost"
    assert engine.one("SELECT count(*) FROM queue") == 0
    assert engine.one("SELECT count(*) FROM error_log WHERE error_type = 'worker_lost'") == 1
    assert engine.events(execution).count("lease_expired first") == 3


def test_a_cancel_that_was_lost_with_its_worker_is_carried_out(
    engine: Engine, settings: Settings, hands: Callable[..., Hand]
) -> None:
    engine.register(CHILD)
    engine.register(CALLER)
    parent = engine.start("caller")
    with working(settings):
        wait_for(lambda: engine.one("SELECT count(*) FROM queue WHERE status = 'waiting'") == 2)
    assert engine.orchestrator.cancel(parent) == "cancelled"
    hand = hands()
    (cancel,) = hand.claim()
    assert cancel.job.node_id == CANCEL_NODE
    end_leases(engine)
    hand.complete(hand.finished(hand.expired()[0], Expired()))
    assert engine.status(cancel.execution_id) == "cancelled"
    assert engine.one("SELECT count(*) FROM queue") == 0


def test_better_priority_first_then_the_oldest(engine: Engine, hands: Callable[..., Hand]) -> None:
    engine.register(TWO)
    low, high, middle, high2 = (engine.start("two", priority=number) for number in (-1, 5, 0, 5))
    hand = hands()
    assert [hand.claim()[0].execution_id for _ in range(4)] == [high, high2, middle, low]


def test_a_pool_is_worked_by_its_workers_only(engine: Engine, hands: Callable[..., Hand]) -> None:
    engine.register(TWO)
    execution = engine.start("two", pool="heavy")
    hand = hands()
    assert hand.claim(10) == []
    assert [row.execution_id for row in hand.claim(10, pool="heavy")] == [execution]


def test_a_released_job_is_queued_again_and_its_late_answer_dropped(engine: Engine, hands: Callable[..., Hand]) -> None:
    engine.register(TWO)
    engine.start("two")
    first, second = hands("first"), hands("second")
    (row,) = first.claim()
    second.release(row.job.job_id)
    assert second.claim() == [], "nobody releases what another holds"
    first.release(row.job.job_id)
    (again,) = second.claim()
    assert (again.job.job_id, again.job.attempts, again.job.lost, again.job.failures) == (row.job.job_id, 2, 0, 0)
    assert first.done(row).dropped
    first.release(row.job.job_id)
    assert not second.done(again).dropped


# ---- waiting jobs ----------------------------------------------------------------------------------------------------

RETRIED = playbook(
    "retried",
    "{step: start, type: python, code: 'def main(): pass', next: [end],"
    " retry: {max_attempts: 3, initial_delay: 1h, max_delay: 1h, jitter: false}}",
    "{step: end}",
)


def test_waiting_jobs_are_promoted_when_their_time_has_come(engine: Engine, hands: Callable[..., Hand]) -> None:
    engine.register(RETRIED)
    for _ in range(5):
        engine.start("retried")
    hand = hands()
    rows = hand.claim(5)
    error = {"type": "python", "message": "no", "retryable": True}
    hand.complete(*(hand.finished(row, Failed(error)) for row in rows))
    count, seconds = hand.promote()
    assert count == 0
    assert seconds == pytest.approx(3600, abs=60)
    assert hand.claim(5) == []
    with engine.database.session() as conn:
        conn.execute(
            "UPDATE queue SET available_at = clock_timestamp() - id * interval '1 ms' WHERE id <> %s",
            [rows[0].job.job_id],
        )
    assert hand.promote(limit=3)[0] == 3, "no more than was asked for"
    assert hand.promote(limit=3)[0] == 1
    again = hand.claim(5)
    assert {row.job.job_id for row in again} == {row.job.job_id for row in rows[1:]}, "a job keeps its number"
    assert {(row.job.attempts, row.job.failures, row.job.lost) for row in again} == {(2, 1, 0)}
    assert engine.rows("SELECT status FROM queue WHERE id = %s", rows[0].job.job_id) == [(JobStatus.WAITING,)]


# ---- locks -----------------------------------------------------------------------------------------------------------


@contextmanager
def locked(database: Database, execution: int) -> Iterator[None]:
    """Hold an execution's row, as a completion does."""
    with database.connect() as conn, database.transaction(conn, pipeline=False):
        assert store.lock_execution(conn, execution) is not None
        yield


def is_free(database: Database, execution: int) -> bool:
    with database.session() as conn:
        row = conn.execute(
            "SELECT FROM execution WHERE execution_id = %s FOR NO KEY UPDATE SKIP LOCKED", [execution]
        ).fetchone()
    return row is not None


def test_a_locked_execution_is_postponed_and_holds_up_nobody(engine: Engine, hands: Callable[..., Hand]) -> None:
    engine.register(TWO)
    busy, idle = engine.start("two"), engine.start("two")
    hand = hands()
    rows = hand.claim(2)
    with locked(engine.database, busy):
        committed = hand.done(*rows)
        assert [item.execution.execution_id for item in committed.postponed] == [busy]
        assert hand.renew({row.job.job_id: row.job.attempts for row in rows}) == {rows[0].job.job_id}, (
            "its job is untouched"
        )
        assert [row.execution_id for row in hand.claim(5)] == [idle], "the other went on"
    assert not hand.complete(*committed.postponed).postponed
    assert "step_completed first" in engine.events(busy)


def test_executions_are_locked_in_the_order_of_their_ids(engine: Engine, hands: Callable[..., Hand]) -> None:
    """Who waits for a lower one does not hold a higher one meanwhile, in whatever order the outcomes came."""
    engine.register(TWO)
    low, high = engine.start("two"), engine.start("two")
    hand = hands()
    rows = {row.execution_id: row for row in hand.claim(2)}
    outcomes = [hand.finished(rows[high], Done(b"1")), hand.finished(rows[low], Done(b"1"))]
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with ThreadPoolExecutor(1) as threads:
        with locked(engine.database, low):
            completing = threads.submit(hand.complete, *outcomes, waiting=True)
            wait_for(lambda: engine.one(waiting) == 1)
            assert is_free(engine.database, high)
        assert completing.result(20).dropped == []
    with ThreadPoolExecutor(1) as threads:
        rows = {row.execution_id: row for row in hand.claim(2)}
        outcomes = [hand.finished(rows[high], Done(b"1")), hand.finished(rows[low], Done(b"1"))]
        with locked(engine.database, high):
            completing = threads.submit(hand.complete, *outcomes, waiting=True)
            wait_for(lambda: engine.one(waiting) == 1)
            assert not is_free(engine.database, low)
        assert completing.result(20).dropped == []


def test_an_outcome_removes_no_job_of_another_execution(engine: Engine, hands: Callable[..., Hand]) -> None:
    """A database that was put back to an earlier time gives the numbers of jobs again."""
    engine.register(TWO)
    engine.start("two")
    engine.start("two")
    hand = hands()
    first, second = hand.claim(2)
    outcomes = [hand.finished(first, Done(b"1")), hand.finished(second, Done(b"1"))]
    outcomes[0].job = replace(outcomes[0].job, job_id=second.job.job_id, attempts=second.job.attempts)
    outcomes[1].job = replace(outcomes[1].job, job_id=first.job.job_id, attempts=first.job.attempts)
    assert len(hand.complete(*outcomes).dropped) == 2
    assert engine.one("SELECT count(*) FROM queue WHERE status = 'leased'") == 2
    hand.done(first, second)


# ---- going on --------------------------------------------------------------------------------------------------------


def test_an_execution_is_continued_for_a_while_only_when_others_wait(
    engine: Engine, hands: Callable[..., Hand]
) -> None:
    """Next jobs come leased to who completed the last one, so often in a row; nothing is continued without room."""
    engine.register(chain("chain", 40))
    execution = engine.start("chain")
    hand = hands()
    (row,) = hand.claim()
    committed = hand.complete(hand.finished(row, Done(b"1")), room=1, idle=False)
    streak = 0
    while committed.leased:
        streak += 1
        (leased,) = committed.leased
        item = hand.finished(row, Done(b"1"))
        item.execution, item.job = leased.execution, leased.job
        committed = hand.complete(item, room=1, idle=False)
    assert 1 <= streak <= MAX_STREAK_STEPS
    assert committed.queued
    (row,) = hand.claim()
    assert not hand.complete(hand.finished(row, Done(b"1")), room=0).leased
    assert engine.status(execution) == "running"
