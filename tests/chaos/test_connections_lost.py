"""Connections end at any moment, also between a commit and its reply; each result is recorded once."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from noetl.database import store
from noetl.database.connection.connect import Database
from noetl.settings import Settings
from tests.support.chaos import CHILD, FAILING, FORK, PARENT, RETRIED, SLEEPER, STUCK, living
from tests.support.crew import a_crew
from tests.support.waiting import wait_for
from tests.support.working import Engine, working


@pytest.fixture
def engine(database: Database, settings: Settings) -> Engine:
    return Engine(database, settings)


def test_sessions_ended_by_an_administrator(
    engine: Engine, admin: Database, settings: Settings, tmp_path: Path
) -> None:
    """Every session of two workers is ended, again and again, while they work."""
    engine.register(FORK)
    executions = [engine.start("fork") for _ in range(150)]
    ended = 0
    chance = random.Random(3)
    with a_crew(settings, tmp_path, 2, lease=5.0) as crew, admin.connect() as conn:
        pids = [worker.pid for worker in crew.workers]
        beating = "SELECT count(*) FROM runtime WHERE kind = 'worker'"  # one that starts may end, and is started again
        wait_for(lambda: engine.one(beating) == 2)
        for _ in range(12):
            before = living(engine)
            row = conn.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND usename = %s AND application_name LIKE 'noetl worker%%'",
                [settings.user],
            ).fetchone()
            assert row is not None
            ended += row[0]
            wait_for(lambda before=before: living(engine) < before or living(engine) == 0, limit=30)  # type: ignore[misc]
            time.sleep(chance.uniform(0, 0.1))
        wait_for(lambda: living(engine) == 0, limit=60)
        assert [worker.pid for worker in crew.workers if worker.alive] == pids, "no worker died of it"
    assert ended >= 12
    assert {engine.result(execution) for execution in executions} == {14}
    assert engine.one("SELECT count(*) FROM event_log WHERE event_type = 'step_failed'") == 0


@pytest.mark.parametrize("moment", ["before the commit", "between commit and reply"])
def test_workers_never_learn_what_became_of_their_transactions(
    moment: str, engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some transactions of two workers end with the connection, whatever the executions are about. A worker reads
    back what it holds, and sends again what is in doubt; what was written already is not written twice."""
    for text in (FORK, CHILD, SLEEPER, PARENT, RETRIED, FAILING, STUCK):
        engine.register(text)
    ends = {"fork": "completed", "parent": "completed", "retried": "completed", "failing": "failed"}
    executions = {path: [engine.start(path) for _ in range(8)] for path in [*ends, "stuck"]}
    lost = lose_connections(monkeypatch, moment, random.Random(11), 0.1)
    with working(settings), working(settings):
        for execution in executions["stuck"]:
            engine.orchestrator.cancel(execution)
        wait_for(lambda: living(engine) == 0, limit=90)
    assert lost.count(False) >= 3, "completions were among them"
    assert lost.count(True) >= 3, "claims were among them"
    for path, end in (*ends.items(), ("stuck", "cancelled")):
        assert {engine.status(execution) for execution in executions[path]} == {end}
    assert [engine.result(execution) for execution in executions["fork"]] == [14] * 8
    assert [engine.result(execution) for execution in executions["parent"]] == [12] * 8
    assert [engine.result(execution) for execution in executions["retried"]] == [[3, 1, "python"]] * 8
    assert {engine.events(execution).count("step_completed tidy") for execution in executions["failing"]} == {1}
    assert engine.one("SELECT count(*) FROM queue") == 0
    assert engine.one("SELECT count(*) FROM event_log WHERE event_type = 'lease_expired'") == 0, (
        "a lease that nobody knows of is put back at once"
    )


def lose_connections(monkeypatch: pytest.MonkeyPatch, moment: str, chance: random.Random, share: float) -> list[bool]:
    """Let a share of the workers' transactions end with their connection; return which: was it asynchronous?"""
    lost: list[bool] = []
    original = store.transaction

    def lose(conn: Connection, asynchronous: bool) -> None:
        lost.append(asynchronous)
        conn.close()
        raise psycopg.OperationalError("the connection is lost")

    @contextmanager
    def unsafe(conn: Connection, schema: str, *, asynchronous: bool = False, **options: Any) -> Iterator[None]:
        doomed = threading.current_thread().name in ("worker", "maintenance") and chance.random() < share
        with original(conn, schema, asynchronous=asynchronous, **options):
            yield
            if doomed and moment == "before the commit":
                lose(conn, asynchronous)
        if doomed:
            lose(conn, asynchronous)

    monkeypatch.setattr(store, "transaction", unsafe)
    return lost
