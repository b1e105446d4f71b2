"""People interrupt: a cancel reaches running work, a schema is reset under live workers."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from noetl.database.connection.connect import Database
from noetl.database.schema.apply import reset_schema
from noetl.settings import Settings
from tests.support.calls import alive, read_pid
from tests.support.chaos import FORK, living, playbook
from tests.support.crew import a_crew
from tests.support.waiting import wait_for
from tests.support.working import Engine, working

ENDLESS = playbook(
    "endless",
    """
  - step: start
    type: python
    args: {mark: "{{ workload.mark }}"}
    code: |
      import os, time
      def main(mark):
          with open(mark + ".new", "w") as file:
              file.write(f"{os.getpid()}\\n")
          os.rename(mark + ".new", mark)
          time.sleep(600)
    next: [end]
  - step: end
""",
)

PARENT = playbook(
    "parent",
    """
  - {step: start, type: playbook, path: endless, args: {mark: "{{ workload.mark }}"}, next: [end]}
  - step: end
""",
)


@pytest.fixture
def engine(database: Database, settings: Settings) -> Engine:
    return Engine(database, settings)


@pytest.mark.parametrize("path", ["endless", "parent"])
def test_a_cancel_reaches_running_work_within_two_seconds(
    path: str, engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    """The best of three, since other programs have the processors, too. A parent's cancel reaches its child's."""
    engine.register(ENDLESS)
    engine.register(PARENT)
    seconds = []
    with working(settings):
        for number in range(3):
            mark = tmp_path / f"runner{number}"
            execution = engine.start(path, payload={"mark": str(mark)})
            wait_for(lambda mark=mark: read_pid(mark) is not None)  # type: ignore[misc]
            runner = read_pid(mark)
            assert runner is not None
            begun = time.monotonic()
            engine.orchestrator.cancel(execution, by="somebody", reason="enough")
            wait_for(lambda runner=runner: not alive(runner))  # type: ignore[misc]
            seconds.append(time.monotonic() - begun)
            assert engine.wait(execution) == "cancelled"
            if min(seconds) <= 2:
                break
        wait_for(lambda: living(engine) == 0)
    assert min(seconds) <= 2, seconds
    assert engine.one("SELECT count(*) FROM queue") == 0


def greeting(word: str) -> str:
    return playbook(
        "greeting",
        f"""
  - {{step: start, type: python, code: "def main(): return '{word}'", next: [end]}}
  - {{step: end, result: "{{{{ start }}}}"}}
""",
    )


def test_a_schema_is_reset_under_live_workers(
    engine: Engine, admin: Database, settings: Settings, tmp_path: Path
) -> None:
    """What ran is gone; the workers stay, and nothing they knew is taken for true in the new schema."""
    mark = tmp_path / "runner"
    with a_crew(settings, tmp_path, 2, lease=5.0) as crew:
        pids = [worker.pid for worker in crew.workers]
        for word in ("old", "new"):
            engine.register(greeting(word))
            engine.register(ENDLESS)
            engine.register(FORK)
            endless = engine.start("endless", payload={"mark": str(mark)})
            for _ in range(30):
                engine.start("fork")
            execution = engine.start("greeting")
            assert engine.wait(execution) == "completed"
            assert engine.result(execution) == word
            wait_for(lambda: read_pid(mark) is not None)
            runner = read_pid(mark)
            assert runner is not None
            if word == "old":
                reset_schema(admin, settings, ensure_role=False)
                assert engine.one("SELECT count(*) FROM execution") == 0
                wait_for(gone(runner), limit=30)
                mark.unlink()
        engine.orchestrator.cancel(endless)
        wait_for(lambda: living(engine) == 0, limit=60)
        assert [worker.pid for worker in crew.workers if worker.alive] == pids


def gone(pid: int) -> Callable[[], bool]:
    return lambda: not alive(pid)
