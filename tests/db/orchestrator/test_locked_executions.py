"""What somebody else keeps locked costs itself: other executions go on, and whoever has to wait is told for whom."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from noetl.database import store
from noetl.database.connection import pooled
from noetl.database.connection.connect import Database
from noetl.errors import Locked
from noetl.outcomes import Done
from noetl.settings import Settings
from noetl.worker.executor import Executor
from noetl.worker.maintenance.timeouts import execution_timeouts
from tests.support.hand import with_hand
from tests.support.waiting import wait_for
from tests.support.worker_loops import a_worker_loop, worker_parts
from tests.support.working import Engine, working

HEAD = "apiVersion: noetl.io/v1\nkind: Playbook\nmetadata: {name: test, path: %s}\n"

QUICK = HEAD % "quick" + "workflow:\n  - {step: start, type: python, code: 'def main(): return 1'}\n"

OVERDUE = (
    HEAD % "overdue" + "timeout: 1ms\nworkflow:\n  - {step: start, type: wait, for: 1h, next: [end]}\n  - step: end\n"
)

GATED = (
    HEAD % "gated"
    + """workload: {gate: ''}
workflow:
  - step: start
    type: python
    args: {gate: '{{ workload.gate }}'}
    code: |
      import pathlib, time
      def main(gate):
          pathlib.Path(gate + ".begun").touch()
          while not pathlib.Path(gate).exists():
              time.sleep(0.01)
          return 1
"""
)

CHAIN = (
    HEAD % "chain"
    + "workflow:\n"
    + "".join(
        f"  - {{step: s{number}, type: python, code: 'def main(): return 1', next: [s{number + 1}]}}\n"
        for number in range(10)
    )
    + "  - step: s10\n"
)

LOCKED, OTHERS = 12, 10
"""Executions that somebody keeps locked, and those that have nothing to do with it."""


@pytest.fixture
def engine(database: Database, settings: Settings) -> Engine:
    engine = Engine(database, settings)
    for text in (QUICK, CHAIN, GATED, OVERDUE):
        engine.register(text)
    return engine


@contextmanager
def holding(database: Database, query: str, *parameters: object) -> Iterator[psycopg.Connection]:
    """Keep what a statement locks, in a session named `holder`, until the end of the block."""
    with database.connect() as conn, conn.transaction():
        conn.execute(f"SET LOCAL search_path = {database.schema}")
        conn.execute("SET application_name = 'holder'")
        conn.execute(query.encode(), parameters)
        yield conn


def ended(engine: Engine, executions: list[int]) -> int:
    return int(
        engine.one(
            "SELECT count(*) FROM execution WHERE finished_at IS NOT NULL AND execution_id = ANY (%s)", executions
        )
    )


def others_continue(engine: Engine) -> None:
    """Where each locked execution is waited for, each step of them stands behind all those waits."""
    others = [engine.start("chain") for _ in range(OTHERS)]
    wait_for(lambda: ended(engine, others) == OTHERS, limit=60)


def test_locked_executions_hold_up_nobody_else(engine: Engine, settings: Settings) -> None:
    executions = [engine.start("quick") for _ in range(LOCKED)]
    with working(settings, slots=4):
        with holding(
            engine.database, "SELECT FROM execution WHERE execution_id = ANY (%s) FOR NO KEY UPDATE", executions
        ):
            others_continue(engine)
            assert ended(engine, executions) == 0
        wait_for(lambda: ended(engine, executions) == LOCKED)


def test_locked_jobs_hold_up_no_other_execution(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    """Jobs are removed by statements that wait for their rows."""
    gates = [tmp_path / str(number) for number in range(LOCKED)]
    executions = [engine.start("gated", payload={"gate": str(gate)}) for gate in gates]
    with working(settings, slots=LOCKED + 2):
        wait_for(lambda: all(gate.with_suffix(".begun").exists() for gate in gates), limit=60)
        with holding(engine.database, "SELECT FROM queue WHERE execution_id = ANY (%s) FOR UPDATE", executions):
            for gate in gates:
                gate.touch()
            others_continue(engine)
            assert ended(engine, executions) == 0
        wait_for(lambda: ended(engine, executions) == LOCKED, limit=60)


def test_a_timed_out_execution_that_is_locked_does_not_stop_the_maintenance(engine: Engine, settings: Settings) -> None:
    """It renews leases, too: a wait without end would cost the worker all it holds."""
    execution = engine.start("overdue")
    executor = Executor(1)
    worker_loop = a_worker_loop(engine.database, settings, executor)
    time_out = execution_timeouts(worker_parts(worker_loop))
    with closing(executor), engine.database.connect() as conn, ThreadPoolExecutor(1) as threads:
        with holding(engine.database, "SELECT FROM execution FOR NO KEY UPDATE"):
            threads.submit(time_out, conn).result(20)
            assert engine.status(execution) == "running"

        def ended_by_now() -> bool:
            time_out(conn)
            return engine.status(execution) == "failed"

        wait_for(ended_by_now)


def test_a_start_behind_a_change_of_a_table_says_who_is_in_the_way(
    engine: Engine, admin: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that does not end, a DDL statement that waits for it, and everybody else behind that."""
    monkeypatch.setattr(pooled, "LOCK_PATIENCE", "300ms")
    engine.database.close()  # its pool was opened with the usual patience
    waiting = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted"
    with ThreadPoolExecutor(1) as threads, admin.connect() as looking, admin.connect() as changing:
        changing.execute("SET application_name = 'changer'")
        with holding(engine.database, "SELECT FROM execution"):
            change = threads.submit(changing.execute, "BEGIN; LOCK TABLE noetl.execution; COMMIT")
            wait_for(lambda: looking.execute(waiting).fetchone() == (1,))
            with pytest.raises(Locked) as raised:
                engine.start("quick")
        change.result(20)
    text = str(raised.value)
    assert "within 300ms" in text
    assert "(changer, user postgres) waits for" in text
    assert "on execution" in text
    assert "behind process" in text
    assert "(holder, user noetl), which holds AccessShareLock" in text


def test_a_cancel_of_a_locked_execution_says_who_holds_it(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooled, "LOCK_PATIENCE", "300ms")
    engine.database.close()
    execution = engine.start("quick")
    with (
        holding(engine.database, "SELECT FROM execution FOR NO KEY UPDATE"),
        pytest.raises(Locked, match=r"holder, user noetl\) holds RowShareLock on execution"),
    ):
        engine.orchestrator.cancel(execution)
    engine.orchestrator.cancel(execution)


def test_a_client_that_stops_in_the_middle_of_a_message_lets_go_of_its_locks(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For Postgres it is not idle: it waits for the rest of what the client was about to say."""
    execution = engine.start("quick")
    with monkeypatch.context() as patch:  # the transaction that waits for the lock has the engine's own time
        patch.setattr(store, "STALLED", "300ms")
        store.opening.cache_clear()
        opening = store.opening("noetl", False).decode()
    store.opening.cache_clear()
    with with_hand(engine.database) as hand, closing(engine.database.connect_gathering()) as stopped:
        (row,) = hand.claim()
        pgconn = stopped.pgconn
        pgconn.enter_pipeline_mode()
        lock = "SELECT FROM noetl.execution FOR NO KEY UPDATE"
        for statement in ("BEGIN", opening, lock):
            pgconn.send_query_params(statement.encode(), None)
        pgconn.send_flush_request()
        pgconn.flush()
        wait_for(lambda: not is_free(engine))
        hand.complete(hand.finished(row, Done(b"1")), waiting=True)
        assert engine.status(execution) == "completed"


def is_free(engine: Engine) -> bool:
    return bool(engine.rows("SELECT 1 FROM execution FOR NO KEY UPDATE SKIP LOCKED"))
