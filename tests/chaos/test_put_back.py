"""The database is put back to an earlier time while a worker lives: what the worker remembers no longer happened."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from noetl.database.connection.connect import open_admin, open_database
from noetl.database.schema.verify import verify
from noetl.orchestrator.replay import verify_replay
from noetl.settings import Settings
from tests.support.chaos import playbook
from tests.support.postgres import URL_VARIABLE, TestServer, reachable
from tests.support.waiting import wait_for
from tests.support.working import Engine, working

DRAWN = playbook(
    "drawn",
    """
  - step: start
    type: python
    args: {folder: "{{ workload.folder }}"}
    code: &draw |
      import pathlib, time
      def main(folder, given=None):
          folder = pathlib.Path(folder)
          number = len(list(folder.glob("call*")))
          (folder / f"call{number}").touch()
          while not (folder / f"go{number}").exists():
              time.sleep(0.01)
          return [number, given]
    next: [then]
  - {step: then, type: python, args: {folder: "{{ workload.folder }}", given: "{{ start }}"}, code: *draw, next: [end]}
  - {step: end, result: ["{{ start }}", "{{ then }}"]}
""",
)
"""Each call returns its number, and the second step what the first gave it. A call ends when it is told to."""


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[TestServer]:
    """A server of this test's own."""
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
    settings = own.settings(own.create_database(), tmp_path)
    yield settings
    with open_admin(settings) as admin:
        assert verify(admin) == []
        assert verify_replay(admin) == []


def keep_copy(server: TestServer) -> Path:
    """Copy the data of a server, which is stopped for that; return the copy."""
    copy = server.base / "copy"
    server.stop()
    subprocess.run(["cp", "-a", str(server.data), str(copy)], check=True)
    server.start()
    return copy


def put_back(server: TestServer, copy: Path) -> None:
    """Let the server go on from a copy, as if nothing had happened since."""
    server.stop()
    shutil.rmtree(server.data)
    copy.rename(server.data)
    server.start()


def begun(folder: Path, count: int) -> None:
    wait_for(lambda: (folder / f"call{count - 1}").exists())


def test_what_a_worker_remembers_of_a_lost_tail_is_given_to_nobody(
    own: TestServer, settings: Settings, tmp_path: Path
) -> None:
    """The first step runs again, with another result: the second is given this one, whatever the worker had seen."""
    folder = tmp_path / "calls"
    folder.mkdir()
    with open_database(settings) as database:
        engine = Engine(database, settings)
        engine.register(DRAWN)
        with working(settings, slots=4):
            execution = engine.start("drawn", payload={"folder": str(folder)})
            begun(folder, 1)
            copy = keep_copy(own)
            wait_for(lambda: reachable(database))
            (folder / "go0").touch()
            begun(folder, 2)
            assert engine.one("SELECT result FROM event_log WHERE event_type = 'step_completed'") == [0, None]
            put_back(own, copy)
            wait_for(lambda: reachable(database))
            for number in range(2, 20):
                (folder / f"go{number}").touch()
            assert engine.wait(execution) == "completed"
        first, second = engine.result(execution)
        assert first[0] >= 2, "the first step ran again, since the log does not know of its first result"
        assert second[1] == first
        logged = engine.rows(
            "SELECT result FROM event_log WHERE event_type = 'step_completed' AND node_id <> 'end' ORDER BY event_id"
        )
        assert [row[0] for row in logged] == [first, second]


def test_what_the_log_still_knows_continues(own: TestServer, settings: Settings, tmp_path: Path) -> None:
    """A job that runs while Postgres is started again, with nothing lost, is not run a second time."""
    folder = tmp_path / "calls"
    folder.mkdir()
    with open_database(settings) as database:
        engine = Engine(database, settings)
        engine.register(DRAWN)
        with working(settings, slots=4):
            execution = engine.start("drawn", payload={"folder": str(folder)})
            (folder / "go0").touch()
            begun(folder, 2)
            own.stop()
            own.start()
            wait_for(lambda: reachable(database))
            (folder / "go1").touch()
            assert engine.wait(execution) == "completed"
        assert engine.result(execution) == [[0, None], [1, [0, None]]]
