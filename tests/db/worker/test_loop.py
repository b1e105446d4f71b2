"""The worker loop: it sleeps while nothing is due, forgets no job, and tells the database's troubles from a value's."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from noetl.calls import Call
from noetl.database import store
from noetl.database.connection.connect import Database
from noetl.database.quarantine import requeue_quarantined_jobs
from noetl.database.schema.apply import reset_schema
from noetl.orchestrator import execution_cache
from noetl.settings import Settings
from noetl.tools.base import Tool
from noetl.tools.registry import TOOLS
from noetl.worker.answers import First, NotBegun, Report
from noetl.worker.completer import passes
from noetl.worker.executor import Executor
from noetl.worker.loop import OWN_PROMOTION_ROWS, WorkerLoop
from tests.support.due import WAITED, due_jobs
from tests.support.hand import with_hand
from tests.support.saver import Saver
from tests.support.waiting import wait_for
from tests.support.worker_loops import a_worker_loop
from tests.support.working import Engine, working

HEAD = "apiVersion: noetl.io/v1\nkind: Playbook\nmetadata: {name: test, path: test}\n"

GATED = (
    HEAD
    + """workload: {gate: ''}
workflow:
  - step: start
    type: python
    args: {gate: '{{ workload.gate }}'}
    code: |
      import pathlib, time
      def main(gate):
          pathlib.Path(gate + '.begun').touch()
          while not pathlib.Path(gate).exists():
              time.sleep(0.01)
          return 1
"""
)

QUICK = HEAD + "workflow:\n  - {step: start, type: python, code: 'def main(): return 1'}\n"


class Watched(Executor):
    """Executor that remember how long each poll was to wait, and give the first answers back as not begun if told."""

    def __init__(self, count: int, tools: Mapping[str, Tool] = TOOLS) -> None:
        super().__init__(count, tools=tools)
        self.timeouts: list[float] = []
        self.refuse = 0
        self.submitted: list[int] = []
        self.killed: list[int] = []

    def poll(self, timeout: float) -> list[Report]:
        self.timeouts.append(timeout)
        reports = super().poll(timeout)
        for place, report in enumerate(reports):
            if self.refuse:
                self.refuse -= 1
                reports[place] = Report(report.token, NotBegun(), 0.0)
        return reports

    def submit(
        self, token: int, call: Call, first: First | None = None, give_up: Callable[[Call], None] | None = None
    ) -> None:
        self.submitted.append(token)
        super().submit(token, call, first, give_up)

    def kill(self, token: int) -> None:
        self.killed.append(token)
        super().kill(token)


@pytest.fixture
def engine(database: Database, settings: Settings) -> Engine:
    return Engine(database, settings)


@pytest.fixture
def executor() -> Iterator[Watched]:
    executor = Watched(4)
    yield executor
    executor.close()


@pytest.fixture
def worker_loop(database: Database, settings: Settings, executor: Watched) -> WorkerLoop:
    return a_worker_loop(database, settings, executor)


@contextmanager
def running(worker_loop: WorkerLoop) -> Iterator[threading.Event]:
    """Run a worker loop in a thread, without maintenance, until the end of the block."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            worker_loop.run(stop)
        except BaseException as failure:  # noqa: BLE001 - carried over to the test's thread
            failures.append(failure)

    thread = threading.Thread(target=run, name="worker loop")
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()
        assert failures == []


def polls(executor: Watched, count: int) -> list[float]:
    """Return how long the next polls were to wait, but for the one that is under way."""
    begun = len(executor.timeouts) + 1
    wait_for(lambda: len(executor.timeouts) >= begun + count)
    return executor.timeouts[begun : begun + count]


def test_a_draining_worker_sleeps_while_its_last_job_runs(
    engine: Engine, worker_loop: WorkerLoop, executor: Watched, tmp_path: Path
) -> None:
    """Nothing is claimed any more, so nothing that would have been due keeps it awake."""
    engine.register(GATED)
    execution = engine.start("test", payload={"gate": str(tmp_path / "gate")})
    with running(worker_loop) as stop:
        wait_for((tmp_path / "gate.begun").exists)
        worker_loop.claim_now.set()
        stop.set()
        assert min(polls(executor, 3)) > 0
        (tmp_path / "gate").touch()
        assert engine.wait(execution) == "completed"


def test_a_worker_sleeps_while_a_job_runs_that_was_lost_before(
    engine: Engine, worker_loop: WorkerLoop, executor: Watched, tmp_path: Path
) -> None:
    """Nothing is begun beside it, and the worker loop does not turn in circles over what it must not claim."""
    engine.register(GATED)
    lost = engine.start("test", payload={"gate": str(tmp_path / "gate")})
    with engine.database.session() as conn:
        conn.execute("UPDATE queue SET lost = 1, attempts = 1")
    worker_loop.lost_waiting.set()
    worker_loop.claim_now.set()
    with running(worker_loop):
        wait_for((tmp_path / "gate.begun").exists)
        (tmp_path / "other").touch()
        other = engine.start("test", payload={"gate": str(tmp_path / "other")})
        worker_loop.claim_now.set()
        assert min(polls(executor, 3)) > 0
        assert engine.status(other) == "running"
        (tmp_path / "gate").touch()
        assert engine.wait(lost) == engine.wait(other) == "completed"


def test_a_job_given_back_as_not_begun_is_begun_also_after_the_connection_was_lost(
    engine: Engine, worker_loop: WorkerLoop, executor: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.register(QUICK)
    executor.refuse = 1
    claimer = worker_loop._claimer
    whole = type(claimer).begin
    broken: list[int] = []

    def begin(self: Any, conn: psycopg.Connection, todo: list[Any]) -> None:
        if executor.submitted and not broken:
            broken.append(len(todo))
            raise psycopg.OperationalError("the connection was lost")
        whole(self, conn, todo)

    monkeypatch.setattr(type(claimer), "begin", begin)
    execution = engine.start("test")
    with running(worker_loop):
        assert engine.wait(execution) == "completed"
    assert broken == [1]
    assert len(executor.submitted) == 2


def test_a_lease_that_was_missed_is_not_the_one_that_came_after_it(
    engine: Engine, worker_loop: WorkerLoop, executor: Watched, tmp_path: Path
) -> None:
    """A retried job keeps its id: that its last lease is gone says nothing about the one it has now."""
    engine.register(GATED)
    execution = engine.start("test", payload={"gate": str(tmp_path / "gate")})
    with running(worker_loop):
        wait_for(lambda: executor.submitted)
        token = executor.submitted[0]
        leased = worker_loop.held_jobs.of(token)
        assert leased is not None
        job, attempts = leased.job.job_id, leased.job.attempts
        told = threading.Event()
        worker_loop.inbox.append(lambda: worker_loop.lose({job: attempts - 1}))
        worker_loop.inbox.append(told.set)
        executor.wake()
        assert told.wait(10)
        assert executor.killed == []
        assert worker_loop.held_jobs.holds(job, attempts)
        (tmp_path / "gate").touch()
        assert engine.wait(execution) == "completed"


def test_a_lease_that_a_new_schema_grants_again_is_not_the_one_that_was_held(
    engine: Engine, worker_loop: WorkerLoop, admin: Database, settings: Settings, tmp_path: Path
) -> None:
    """Numbers of jobs begin anew, and so do their attempts: the old attempt is ended, the new one begins."""
    engine.register(GATED)
    engine.start("test", payload={"gate": str(tmp_path / "old")})
    with running(worker_loop):
        wait_for((tmp_path / "old.begun").exists)
        reset_schema(admin, settings, ensure_role=False)
        engine.register(GATED)
        execution = engine.start("test", payload={"gate": str(tmp_path / "new")})
        assert engine.one("SELECT id FROM queue") == 1
        worker_loop.claim_now.set()
        wait_for((tmp_path / "new.begun").exists)
        (tmp_path / "new").touch()
        assert engine.wait(execution) == "completed"
    assert engine.one("SELECT count(*) FROM error_log") == 0


def test_a_value_that_postgres_has_no_room_for_is_no_trouble_of_the_connection() -> None:
    """What is about the value fails its step; what is not is tried again, and no result is given up for it."""
    assert not passes(psycopg.errors.ProgramLimitExceeded())
    assert not passes(psycopg.errors.UntranslatableCharacter())
    assert not passes(psycopg.errors.CheckViolation())
    assert passes(psycopg.errors.ReadOnlySqlTransaction())
    assert passes(psycopg.errors.IdleInTransactionSessionTimeout())
    assert passes(psycopg.errors.AdminShutdown())
    assert passes(psycopg.errors.DiskFull())
    assert passes(psycopg.errors.UndefinedTable())
    assert passes(psycopg.OperationalError("server closed the connection unexpectedly"))


def test_a_refused_value_fails_its_step_and_the_worker_lives_on(engine: Engine, worker_loop: WorkerLoop) -> None:
    """An index entry has a bound; here one that a step's outcome would have to exceed."""
    engine.register(HEAD + "workflow:\n  - {step: start, type: python, code: 'def main(): return 1', next: [then]}\n"
                    "  - {step: then, type: python, code: 'def main(): return 2'}\n")  # fmt: skip
    name = "".join(f"{number:x}" for number in range(5000))
    execution = engine.start("test")
    cache = worker_loop._cache.playbooks
    with running(worker_loop):
        assert engine.wait(execution) == "completed"
    playbook = next(iter(cache.by_id.values()))
    object.__setattr__(playbook.step("then"), "pool", name)
    execution = engine.start("test")
    with running(worker_loop):
        assert engine.wait(execution) == "failed"
    assert "cannot be stored" in engine.error(execution)["message"]


def test_views_are_forgotten_when_they_have_become_too_much(
    engine: Engine, worker_loop: WorkerLoop, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is counted is workloads and results; what a worker holds it keeps however large it is."""
    monkeypatch.setattr(execution_cache, "EXECUTION_CACHE_BYTES", 50_000)
    engine.register(QUICK)
    for _ in range(8):
        engine.start("test", payload={"text": "x" * 20_000})
    with with_hand(database) as hand:
        rows = hand.claim(8)
        assert len(rows) == 8
        seen = [hand.cache.of_jobs(hand.conn, [row]) for row in rows]
        assert all(len(executions) == 1 for executions in seen)
        assert 20_000 <= hand.cache.size <= 50_000
        hand.done(*rows)
        assert hand.cache.size <= 50_000
        for row in rows:
            hand.cache.forget(row.execution_id)
        assert hand.cache.size == 0


def test_a_damaged_log_quarantines_its_own_execution(
    engine: Engine, worker_loop: WorkerLoop, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker lives on, and what it was given together with the damaged one is done."""
    engine.register(
        HEAD + "workflow:\n  - {step: start, type: python, code: 'def main(): return 1', next: [then]}\n"
        "  - {step: then, type: python, args: {one: '{{ start }}'}, code: 'def main(one): return one + 1'}\n"
    )
    damaged, sound = engine.start("test"), engine.start("test")
    with with_hand(database) as hand:
        hand.done(*hand.claim(2), result=b"1")
    select = store.select_events

    def select_events(conn: psycopg.Connection, execution: int, events: Any) -> Any:
        return select(conn, execution, [99] if execution == damaged else events)

    monkeypatch.setattr(store, "select_events", select_events)
    with running(worker_loop):
        assert engine.wait(sound) == "completed"
        wait_for(lambda: engine.one("SELECT status FROM queue WHERE execution_id = %s", damaged) == "quarantined")
    assert engine.one("SELECT error_type FROM error_log WHERE execution_id = %s", damaged) == "quarantined"
    assert engine.status(damaged) == "running"


def test_what_can_be_written_in_no_way_quarantines_its_own_execution(engine: Engine, worker_loop: WorkerLoop) -> None:
    """Not even the failure that would stand for it: a job is there that nobody can have made."""
    engine.register(
        HEAD + "workflow:\n"
        "  - {step: start, type: python, code: 'def main(): return 1', next: [then], on_error: [then]}\n"
        "  - {step: then, type: python, code: 'def main(): return 2'}\n"
    )
    damaged, sound = engine.start("test"), engine.start("test")
    with engine.database.session() as conn:
        conn.execute(
            "INSERT INTO queue (execution_id, node_id, status, worker_id, attempts, lease_until)"
            " VALUES (%s, 'then', 'leased', 'somebody', 1, 'infinity')",
            [damaged],
        )
    with running(worker_loop):
        wait_for(lambda: engine.one("SELECT status FROM queue WHERE node_id = 'start'") == "quarantined")
        assert engine.wait(sound) == "completed"
    (message,) = engine.rows("SELECT message FROM error_log WHERE error_type = 'quarantined'")
    assert "queue_one_live_job" in message[0]
    with engine.database.session() as conn:
        conn.execute("DELETE FROM queue WHERE node_id = 'then'")


def test_what_is_quarantined_is_tried_again_when_a_worker_starts(
    engine: Engine, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be a newer one. What another pool's workers quarantined is theirs, what somebody paused is his."""
    engine.register(QUICK)
    execution = engine.start("test")
    other = engine.start("test", pool="other")
    with engine.database.session() as conn:
        conn.execute("UPDATE queue SET status = 'quarantined'")
    with caplog.at_level("INFO"), working(settings):
        assert engine.wait(execution) == "completed"
    assert "1 quarantined jobs are tried again" in caplog.text
    assert engine.rows("SELECT execution_id, status FROM queue") == [(other, "quarantined")]
    with engine.database.session() as conn:
        conn.execute("UPDATE execution SET status = 'paused' WHERE execution_id = %s", [other])
        assert requeue_quarantined_jobs(conn, ["other"]) == 0
        conn.execute("UPDATE execution SET status = 'running' WHERE execution_id = %s", [other])
        assert requeue_quarantined_jobs(conn, ["other"]) == 1


def test_what_is_completed_waits_for_the_disk_and_what_is_leased_does_not(
    engine: Engine, worker_loop: WorkerLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease may be lost with a crash of Postgres; a result that was acknowledged may not."""
    original, insert, claim = store.transaction, store.insert_rows, store.send_claim
    now: list[bool] = []
    completed: list[bool] = []
    leased: list[bool] = []

    @contextmanager
    def transaction(conn: psycopg.Connection, schema: str, **options: Any) -> Iterator[None]:
        with original(conn, schema, **options):
            shown = conn.execute("SHOW synchronous_commit").fetchone()
            assert shown is not None
            now[:] = [shown[0] == "off"]
            yield

    def insert_rows(conn: psycopg.Connection, statement: str, rows: Any) -> None:
        if statement == "insert_events":
            completed.extend(now)
        insert(conn, statement, rows)

    def send_claim(conn: psycopg.Connection, **given: Any) -> Any:
        leased.extend(now)
        return claim(conn, **given)

    engine.register(QUICK)
    executions = [engine.start("test") for _ in range(3)]
    monkeypatch.setattr(store, "transaction", transaction)
    monkeypatch.setattr(store, "insert_rows", insert_rows)
    monkeypatch.setattr(store, "send_claim", send_claim)
    with running(worker_loop):
        wait_for(lambda: not engine.one("SELECT EXISTS (SELECT FROM queue)"))
    assert {engine.status(execution) for execution in executions} == {"completed"}
    assert set(completed) == {False}
    assert set(leased) == {True}


def test_what_a_tool_gave_is_kept_until_it_is_saved_also_when_the_connection_is_lost_in_between(
    database: Database, settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tool has run: it is not run again for want of a connection."""
    saver = Saver()
    executor = Watched(4, tools=saver.tools())
    worker_loop = a_worker_loop(database, settings, executor)
    claimer = type(worker_loop._claimer)
    whole = claimer.begin
    broken: list[int] = []

    def begin(self: Any, conn: psycopg.Connection, todo: list[Any]) -> None:
        if todo and todo[0].done is not None and not broken:
            broken.append(len(todo))
            raise psycopg.OperationalError("the connection was lost")
        whole(self, conn, todo)

    monkeypatch.setattr(claimer, "begin", begin)
    engine.register(QUICK.replace("return 1'}", "return 1', save: {storage: file, path: f.json}}"))
    execution = engine.start("test")
    try:
        with running(worker_loop):
            assert engine.wait(execution) == "completed"
    finally:
        executor.close()
    assert broken == [1]
    assert saver.saved == [1]
    assert len(executor.submitted) == 2, "the tool, and the save"


LARGE_LOOP = HEAD + (
    "workload: {gate: ''}\nworkflow:\n  - step: start\n    type: python\n"
    "    loop: {in: '{{ range(1200) | list }}', iterator: n, mode: async}\n"
    "    args: {gate: '{{ workload.gate }}'}\n"
    "    code: |\n"
    "      import pathlib, time\n"
    "      def main(n, gate):\n"
    "          while n == 700 and not pathlib.Path(gate).exists():\n"
    "              time.sleep(0.01)\n"
    "          return 'x' * 1000\n"
)


# ---- many at the same time -------------------------------------------------------------------------------------------


def test_more_jobs_than_are_promoted_at_once_do_not_wait_for_another_second(
    engine: Engine, worker_loop: WorkerLoop
) -> None:
    due_jobs(engine, OWN_PROMOTION_ROWS + 1, WAITED)
    left = "SELECT count(*) FROM queue WHERE status = 'waiting'"
    worker_loop._connect()
    worker_loop._due = 0.0
    worker_loop._promote()
    assert engine.one(left) == 1
    worker_loop._promote()
    assert engine.one(left) == 0
    worker_loop._leave()


# ---- memory ----------------------------------------------------------------------------------------------------------


def test_a_worker_remembers_nothing_of_the_items_it_has_done(
    engine: Engine, worker_loop: WorkerLoop, executor: Watched, tmp_path: Path
) -> None:
    """1.2 MB of results have gone through its hands; what is left is what the loop runs over."""
    engine.register(LARGE_LOOP)
    execution = engine.start("test", payload={"gate": str(tmp_path / "gate")})
    count = "SELECT count(*) FROM event_log WHERE event_type = 'item_completed'"
    with running(worker_loop):
        wait_for(lambda: engine.one(count) == 1199)
        values = worker_loop._cache._executions[execution].values
        assert 3 * 500 < values.size < 20_000
        (tmp_path / "gate").touch()
        assert engine.wait(execution) == "completed"
    assert [len(one) for one in engine.result(execution)] == [1000] * 1200
