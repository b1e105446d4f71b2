"""What a loop gave is read from its items' events; several workers on one loop wait for each other, and do not spin."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import orjson
import psycopg
import pytest

from noetl.database import loops, store
from noetl.database.connection.connect import Database
from noetl.database.loops import read_loop
from noetl.engine.inputs import Collected
from noetl.errors import TooLarge
from noetl.orchestrator.batch import Finished
from noetl.outcomes import Done, Failed
from noetl.settings import Settings
from noetl.worker.completer import CROWD_OUTCOMES, POSTPONED_SECONDS, Completer
from noetl.worker.executor import Executor
from noetl.worker.loop import WorkerLoop
from tests.support.hand import Hand, with_hand
from tests.support.playbooks import playbook
from tests.support.waiting import wait_for
from tests.support.worker_loops import a_worker_loop
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
                what = Done(orjson.dumps([row.job.node_id, row.job.item_index]))
            if (row.job.node_id, row.job.item_index) in bad:
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
def worker_loop(database: Database, settings: Settings) -> Iterator[WorkerLoop]:
    """A worker loop that nobody runs: the test calls what its loop calls."""
    executor = Executor(4, warm=False)
    worker_loop = a_worker_loop(database, settings, executor)
    worker_loop._connect()
    yield worker_loop
    worker_loop._leave()
    executor.close()


def begun(engine: Engine, hand: Hand, *counts: int) -> list[int]:
    """Start loops of so many items, all queued."""
    executions = [engine.start("flat", payload={"n": count}) for count in counts]
    for row in hand.claim(len(counts)):
        what = hand.prepared(row)
        assert isinstance(what, Collected)
        hand.complete(hand.finished(row, what))
    return executions


def take(worker_loop: WorkerLoop, count: int) -> list[Finished]:
    """Lease items and end them."""
    conn = worker_loop._connected()
    rows = worker_loop._claimer.claim(conn, count)
    worker_loop._claimer.take(conn, rows)
    for leased in list(worker_loop.held_jobs.jobs.values()):
        worker_loop._executor.kill(leased.token)
        worker_loop.held_jobs.finish(leased, Done(b"1"))
    worker_loop._executor.poll(0)
    return worker_loop.held_jobs.finished


@contextmanager
def locked(database: Database, execution: int) -> Iterator[None]:
    with database.connect() as conn, database.transaction(conn, pipeline=False):
        assert store.lock_execution(conn, execution) is not None
        yield


def complete(worker_loop: WorkerLoop) -> None:
    """Write what is finished, and go on with nothing."""
    worker_loop._draining = True
    worker_loop._completer.complete(worker_loop._connected())


def batches(worker_loop: WorkerLoop) -> list[tuple[int, bool]]:
    return [(len(items), waiting) for items, waiting in worker_loop._completer.batches()]


def test_a_crowd_of_outcomes_waits_for_the_lock_in_one_transaction(
    engine: Engine, hand: Hand, worker_loop: WorkerLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.register(FLAT)
    execution, other = begun(engine, hand, CROWD_OUTCOMES, 1)
    take(worker_loop, CROWD_OUTCOMES + 1)
    assert batches(worker_loop) == [(CROWD_OUTCOMES + 1, False)], "nobody knows of others yet"
    with locked(engine.database, execution):
        complete(worker_loop)
        assert engine.one("SELECT count(*) FROM event_log WHERE event_type = 'item_completed'") == 1
        assert engine.events(other)[-1] == "item_completed each", "whose execution was free is not held up"
        assert batches(worker_loop) == [(CROWD_OUTCOMES, True)]
        assert worker_loop._timeout() == 0.0, "and at once"
    commits: list[int] = []
    commit_batch = Completer._commit_batch

    def counted(self: Completer, conn: Any, items: list[Finished], *given: Any, **more: Any) -> None:
        commits.append(len(items))
        commit_batch(self, conn, items, *given, **more)

    monkeypatch.setattr(Completer, "_commit_batch", counted)
    complete(worker_loop)
    assert commits == [CROWD_OUTCOMES]
    assert engine.one("SELECT count(*) FROM event_log WHERE event_type = 'item_completed'") == CROWD_OUTCOMES + 1
    assert not worker_loop.held_jobs.finished
    work(hand)


def test_a_few_outcomes_are_tried_with_the_others_until_they_have_waited_for_long(
    engine: Engine, hand: Hand, worker_loop: WorkerLoop
) -> None:
    engine.register(FLAT)
    few, other = begun(engine, hand, 2, 1)
    finished = take(worker_loop, 3)
    for item in worker_loop.held_jobs.finished:
        item.since = time.monotonic() + 60.0  # as if no time passed, however busy the machine is
    with locked(engine.database, few), locked(engine.database, other):
        complete(worker_loop)
        assert batches(worker_loop) == [(3, False)]
        assert worker_loop._timeout() > 0
        for item in finished:
            item.since = time.monotonic() - 2 * POSTPONED_SECONDS
        for item in worker_loop.held_jobs.finished:
            item.since = time.monotonic() - 2 * POSTPONED_SECONDS
        assert batches(worker_loop) == [(1, False), (2, True)], "one at a time is waited for, the others are tried"
    complete(worker_loop)
    assert not worker_loop.held_jobs.finished
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


def test_a_lock_that_does_not_come_is_waited_for_once_for_a_moment(
    engine: Engine, hand: Hand, worker_loop: WorkerLoop
) -> None:
    """Its holder may have been stopped; what belongs to others goes on in between."""
    engine.register(FLAT)
    stuck, other = begun(engine, hand, CROWD_OUTCOMES, 1)
    take(worker_loop, CROWD_OUTCOMES + 1)
    with locked(engine.database, stuck):
        complete(worker_loop)
        assert batches(worker_loop) == [(CROWD_OUTCOMES, True)]
        complete(worker_loop)
        assert (CROWD_OUTCOMES, True) not in batches(worker_loop), "it is tried with the others, in growing pauses"
        assert worker_loop._timeout() > 0

    def tried() -> bool:
        complete(worker_loop)
        return not worker_loop.held_jobs.finished

    wait_for(tried)
    assert engine.events(stuck)[-1] == engine.events(other)[-1] == "item_completed each"
    assert not worker_loop.held_jobs.finished
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


def test_an_execution_that_nobody_else_works_on_is_not_waited_for_again(
    engine: Engine, hand: Hand, worker_loop: WorkerLoop
) -> None:
    engine.register(FLAT)
    (execution,) = begun(engine, hand, 4)
    take(worker_loop, 1)
    with locked(engine.database, execution):
        complete(worker_loop)
    assert batches(worker_loop) == [(1, True)], "alone, it holds up nobody"
    complete(worker_loop)
    take(worker_loop, 1)
    assert batches(worker_loop) == [(1, False)], "nobody had changed anything meanwhile"
    complete(worker_loop)
    work(hand)
