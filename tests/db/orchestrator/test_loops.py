"""What a loop gave is read from its items' events; several workers on one loop wait for each other, and do not spin."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import orjson
import psycopg
import pytest

from noetl.database import loops, store
from noetl.database.connect import Database
from noetl.database.loops import read_loop
from noetl.errors import TooLarge
from noetl.orchestrator.batch import Finished
from noetl.orchestrator.outcomes import Collected, Done, Failed
from noetl.settings import Settings
from noetl.worker.completer import CROWD, PUT_OFF_SECONDS, Completing
from noetl.worker.executor import Slots
from noetl.worker.loop import Pump
from tests.support.hand import Hand, with_hand
from tests.support.playbooks import playbook
from tests.support.pumps import a_pump
from tests.support.waiting import wait_for
from tests.support.working import Engine

NESTED = playbook(
    """
    - step: each
      type: python
      loop:
        - {in: "{{ range(workload.n) | list }}", iterator: x, mode: async, on_error: continue}
        - {in: "{{ range(x) | list }}", iterator: y, mode: async, on_error: continue}
      code: "def main(x, y): return [x, y]"
    """,
    "nested",
)

FLAT = playbook(
    """
    - step: each
      type: python
      loop: {in: "{{ range(workload.n) | list }}", iterator: x, mode: async, on_error: continue}
      code: "def main(x): return x"
      next: [{step: last, args: {all: "{{ each }}"}}]
    - {step: last, type: python, code: "def main(all): return all"}
    """,
    "flat",
)


@pytest.fixture
def engine(database: Database, settings: Settings) -> Engine:
    return Engine(database, settings)


@pytest.fixture
def hand(database: Database) -> Iterator[Hand]:
    with with_hand(database) as hand:
        yield hand


def work(hand: Hand, *, bad: tuple[tuple[str, int], ...] = ()) -> None:
    """Do what is queued, as a worker does, until nothing is."""
    while rows := hand.claim(50):
        for row in rows:
            what = hand.prepared(row)
            if not isinstance(what, Collected | Done | Failed):
                what = Done(orjson.dumps([row.node_id, row.item_index]))
            if (row.node_id, row.item_index) in bad:
                what = Failed({"type": "python", "message": "bad", "retryable": False, "detail": None})
            hand.complete(hand.finished(row, what))


def value_of(engine: Engine, execution: int) -> loops.LoopValue:
    first = engine.one(
        "SELECT min(event_id) FROM event_log WHERE execution_id = %s AND event_type = 'loop_started'", execution
    )
    with engine.database.session() as conn:
        return read_loop(conn, execution, first)


def test_lists_in_lists_and_all_errors_by_their_indexes(engine: Engine, hand: Hand) -> None:
    engine.register(NESTED)
    execution = engine.start("nested", payload={"n": 4})
    work(hand, bad=(("each/2", 1), ("each/3", 0), ("each", 1)))
    assert engine.wait(execution) == "completed"
    found = value_of(engine, execution)
    assert orjson.loads(found.items) == [
        [],
        None,
        [["each/2", 0], None],
        [None, ["each/3", 1], ["each/3", 2]],
    ]
    assert [(error["index"], error.get("indexes")) for error in found.errors] == [
        (1, None),
        (2, [2, 1]),
        (3, [3, 0]),
    ]
    assert engine.result(execution) == orjson.loads(found.items)


def test_more_than_anybody_can_take_is_refused_with_a_sentence(
    engine: Engine, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step that asks for it fails; the loop's step has not."""
    monkeypatch.setattr(loops, "LIMIT", 1000)
    engine.register(FLAT)
    for count, status in ((50, "completed"), (200, "failed")):
        execution = engine.start("flat", payload={"n": count})
        work(hand)
        assert engine.wait(execution) == status
    assert engine.error(execution)["message"].startswith("the results of the loop have more than 1,000 bytes as JSON")
    with pytest.raises(TooLarge):
        value_of(engine, execution)
    monkeypatch.undo()
    assert len(orjson.loads(value_of(engine, execution).items)) == 200


def test_what_is_refused_is_not_read_before(engine: Engine, hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred inner loops of which each is small enough are not fetched together to find that they are too much."""
    monkeypatch.setattr(loops, "LIMIT", 10_000)
    engine.register(NESTED)
    execution = engine.start("nested", payload={"n": 80})
    work(hand)
    read, original = [0], loops._read

    def counted(*given: Any) -> list[tuple[int, int]]:
        sizes = original(*given)
        read[0] += sum(size for _, size in sizes)
        return sizes

    monkeypatch.setattr(loops, "_read", counted)
    with pytest.raises(TooLarge):
        value_of(engine, execution)
    assert read[0] < 2 * 10_000


def test_a_loop_without_its_items_is_a_damaged_log(engine: Engine, hand: Hand) -> None:
    engine.register(FLAT)
    (execution,) = begun(engine, hand, 3)
    with pytest.raises(LookupError, match="has no 3 results of loop 3: the log is damaged"):
        value_of(engine, execution)
    work(hand)
    assert orjson.loads(value_of(engine, execution).items) == [["each", n] for n in range(3)]


# ---- several workers, one row ---------------------------------------------------------------------------------------


@pytest.fixture
def pump(database: Database, settings: Settings) -> Iterator[Pump]:
    """A pump that nobody runs: the test calls what its loop calls."""
    slots = Slots(4, warm=False)
    pump = a_pump(database, settings, slots)
    pump._connect()
    yield pump
    pump._leave()
    slots.close()


def begun(engine: Engine, hand: Hand, *counts: int) -> list[int]:
    """Start loops of so many items, all queued."""
    executions = [engine.start("flat", payload={"n": count}) for count in counts]
    for row in hand.claim(len(counts)):
        what = hand.prepared(row)
        assert isinstance(what, Collected)
        hand.complete(hand.finished(row, what))
    return executions


def take(pump: Pump, count: int) -> list[Finished]:
    """Lease items and end them."""
    conn = pump._connected()
    rows = pump._intake.claim(conn, count)
    pump._intake.take(conn, rows)
    for leased in list(pump.holdings.jobs.values()):
        pump._slots.kill(leased.token)
        pump.holdings.finish(leased, Done(b"1"))
    pump._slots.poll(0)
    return pump.holdings.finished


@contextmanager
def locked(database: Database, execution: int) -> Iterator[None]:
    with database.connect() as conn, database.transaction(conn, pipeline=False):
        assert store.lock_execution(conn, execution) is not None
        yield


def complete(pump: Pump) -> None:
    """Write what is finished, and go on with nothing."""
    pump._draining = True
    pump._completing(pump._connected())


def batches(pump: Pump) -> list[tuple[int, bool]]:
    return [(len(items), waiting) for items, waiting in pump._completing.batches()]


def test_a_crowd_of_outcomes_waits_for_the_lock_in_one_transaction(
    engine: Engine, hand: Hand, pump: Pump, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.register(FLAT)
    execution, other = begun(engine, hand, CROWD, 1)
    take(pump, CROWD + 1)
    assert batches(pump) == [(CROWD + 1, False)], "nobody knows of others yet"
    with locked(engine.database, execution):
        complete(pump)
        assert engine.one("SELECT count(*) FROM event_log WHERE event_type = 'item_completed'") == 1
        assert engine.events(other)[-1] == "item_completed each", "whose execution was free is not held up"
        assert batches(pump) == [(CROWD, True)]
        assert pump._timeout() == 0.0, "and at once"
    commits: list[int] = []
    settle = Completing._settle

    def counted(self: Completing, conn: Any, items: list[Finished], *given: Any, **more: Any) -> None:
        commits.append(len(items))
        settle(self, conn, items, *given, **more)

    monkeypatch.setattr(Completing, "_settle", counted)
    complete(pump)
    assert commits == [CROWD]
    assert engine.one("SELECT count(*) FROM event_log WHERE event_type = 'item_completed'") == CROWD + 1
    assert not pump.holdings.finished
    work(hand)


def test_a_few_outcomes_are_tried_with_the_others_until_they_have_waited_for_long(
    engine: Engine, hand: Hand, pump: Pump
) -> None:
    engine.register(FLAT)
    few, other = begun(engine, hand, 2, 1)
    finished = take(pump, 3)
    with locked(engine.database, few), locked(engine.database, other):
        complete(pump)
        for item in pump.holdings.finished:
            item.since = time.monotonic() + 60.0  # as if no time had passed, however busy the machine is
        assert batches(pump) == [(3, False)]
        assert pump._timeout() > 0
        for item in finished:
            item.since = time.monotonic() - 2 * PUT_OFF_SECONDS
        for item in pump.holdings.finished:
            item.since = time.monotonic() - 2 * PUT_OFF_SECONDS
        assert batches(pump) == [(1, False), (2, True)], "one at a time is waited for, the others are tried"
    complete(pump)
    assert not pump.holdings.finished
    work(hand)


@contextmanager
def opened_with(**settings: str) -> Iterator[None]:
    """Have transactions begin with other settings."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setattr(store, name, value)
        store.opening.cache_clear()
        yield
    store.opening.cache_clear()


def test_a_lock_that_does_not_come_is_waited_for_once_for_a_moment(engine: Engine, hand: Hand, pump: Pump) -> None:
    """Its holder may have been stopped; what belongs to others goes on in between."""
    engine.register(FLAT)
    stuck, other = begun(engine, hand, CROWD, 1)
    take(pump, CROWD + 1)
    with locked(engine.database, stuck):
        complete(pump)
        assert batches(pump) == [(CROWD, True)]
        complete(pump)
        assert (CROWD, True) not in batches(pump), "it is tried with the others, in growing pauses"
        assert pump._timeout() > 0

    def tried() -> bool:
        complete(pump)
        return not pump.holdings.finished

    wait_for(tried)
    assert engine.events(stuck)[-1] == engine.events(other)[-1] == "item_completed each"
    assert not pump.holdings.finished
    work(hand)


def test_a_transaction_that_was_left_alone_lets_go_of_its_locks(engine: Engine, hand: Hand, database: Database) -> None:
    """Its worker was stopped in the middle of a completion, for longer than anybody should have to wait."""
    engine.register(FLAT)
    (execution,) = begun(engine, hand, 1)
    (row,) = hand.claim(1)
    with closing(database.connect_gathering()) as stopped:
        with opened_with(ABANDONED="100ms"):
            left = store.transaction(stopped, database.schema)
            left.__enter__()
            assert store.lock_execution(stopped, execution) is not None
        hand.complete(hand.finished(row, Done(b"1")), waiting=True)
        assert engine.events(execution)[-1] == "item_completed each"
        with pytest.raises((psycopg.OperationalError, psycopg.errors.IdleInTransactionSessionTimeout)):
            left.__exit__(None, None, None)
    work(hand)


def test_an_execution_that_nobody_else_works_on_is_not_waited_for_again(engine: Engine, hand: Hand, pump: Pump) -> None:
    engine.register(FLAT)
    (execution,) = begun(engine, hand, 4)
    take(pump, 1)
    with locked(engine.database, execution):
        complete(pump)
    assert batches(pump) == [(1, True)], "alone, it holds up nobody"
    complete(pump)
    take(pump, 1)
    assert batches(pump) == [(1, False)], "nobody had changed anything meanwhile"
    complete(pump)
    work(hand)
