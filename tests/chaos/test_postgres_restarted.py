"""Postgres goes away in the middle and comes back; everybody connects again by himself."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from noetl.database.connection.connect import open_admin, open_database
from noetl.database.schema.verify import verify
from noetl.errors import DatabaseError
from noetl.orchestrator.replay import verify_replay
from noetl.settings import Settings
from tests.support.chaos import FORK, living
from tests.support.crew import a_crew
from tests.support.postgres import URL_VARIABLE, TestServer, reachable
from tests.support.waiting import wait_for
from tests.support.working import Engine


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[TestServer]:
    """A server of this test's own, which it may stop."""
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    home = Path(tempfile.mkdtemp(prefix=f"noetl-test-{os.getpid()}-"))
    server = TestServer(home)
    try:
        server.prepare()
        yield server
    finally:
        server.remove()
        shutil.rmtree(home)


@pytest.fixture
def settings(own: TestServer, tmp_path: Path) -> Iterator[Settings]:
    """Settings for a database on that server; its invariants hold when the test is over."""
    settings = own.settings(own.create_database(), tmp_path)
    yield settings
    with open_admin(settings) as admin:
        assert verify(admin) == []
        assert verify_replay(admin) == []


def crash(server: TestServer) -> None:
    """Let every process of the server end at once, without a checkpoint: it has to recover."""
    pid = server.pid()
    assert pid is not None
    os.kill(pid, signal.SIGQUIT)
    wait_for(lambda: not server.running(), limit=30)


def test_work_goes_on_after_postgres_was_away(own: TestServer, settings: Settings, tmp_path: Path) -> None:
    """Once stopped in order, once crashed; clients that ask meanwhile get a sentence, and what was accepted ends."""
    with open_database(settings) as database, a_crew(settings, tmp_path, 2, lease=5.0) as crew:
        database.pool(timeout=1.0)
        engine = Engine(database, settings)
        engine.register(FORK)
        executions: list[int] = []
        pids = [worker.pid for worker in crew.workers]
        for go_away in (own.stop, lambda: crash(own)):
            executions += [engine.start("fork") for _ in range(100)]
            wait_for(lambda: engine.one("SELECT count(*) FROM queue WHERE status = 'leased'") > 0)
            go_away()
            with pytest.raises(DatabaseError, match="no connection to the database"):
                engine.start("fork")
            own.start()
            wait_for(lambda: reachable(database))
        wait_for(lambda: living(engine) == 0, limit=60)
        assert [worker.pid for worker in crew.workers if worker.alive] == pids
        assert {engine.result(execution) for execution in executions} == {14}
        assert engine.one("SELECT count(*) FROM execution") == len(executions)
