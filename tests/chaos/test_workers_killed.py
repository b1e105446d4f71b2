"""Workers are killed, paused, drained and brought down by what they run; every execution ends as it should."""

import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from noetl.database.connection.connect import Database
from noetl.settings import Settings
from tests.support.chaos import FORK, living, playbook
from tests.support.crew import a_crew
from tests.support.waiting import wait_for
from tests.support.working import Engine

SLOW = playbook(
    "slow",
    """
  - step: start
    type: python
    args: {seconds: "{{ workload.seconds }}", mark: "{{ workload.mark }}"}
    code: |
      import os, time
      def main(seconds, mark):
          with open(mark, "a") as file:
              file.write(f"{os.getpid()}\\n")
          time.sleep(seconds)
          return int(open(f"/proc/{os.getppid()}/stat").read().rpartition(")")[2].split()[1])  # its runner's worker
    next: [end]
  - step: end
""",
)

DEADLY = playbook(
    "deadly",
    """
  - step: start
    type: python
    code: |
      import os
      def main():
          os.kill(int(open(f"/proc/{os.getppid()}/stat").read().rpartition(")")[2].split()[1]), 9)
    next: [end]
  - {step: end}
""",
)


@pytest.fixture
def engine(database: Database, settings: Settings) -> Engine:
    return Engine(database, settings)


def test_workers_killed_at_random_lose_nothing(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    """Three workers, eight kills, each worker started again at once. What was running runs again."""
    engine.register(FORK)
    chance = random.Random(7)
    executions: list[int] = []
    with a_crew(settings, tmp_path, 3) as crew:
        for place in range(8):
            executions += [engine.start("fork") for _ in range(15)]
            wait_for(lambda: engine.one("SELECT count(*) FROM queue WHERE status = 'leased'") > 0)
            time.sleep(chance.uniform(0.0, 0.15))
            crew.workers[place % 3].kill()
            crew.replace(place % 3)
        wait_for(lambda: living(engine) == 0, limit=90)
    statuses = Counter(engine.status(execution) for execution in executions)
    lost = [execution for execution in executions if engine.status(execution) == "failed"]
    for execution in lost:  # whose worker was killed three times in a row, and only those
        assert engine.error(execution)["type"] == "worker_lost"
        assert sum(event.startswith("lease_expired") for event in engine.events(execution)) >= 3
    assert len(lost) <= 2, statuses
    assert {engine.result(execution) for execution in executions if execution not in lost} == {14}
    assert engine.one("SELECT count(*) FROM event_log WHERE event_type = 'lease_expired'") > 0, "jobs were lost"


def test_a_dead_workers_work_runs_again_soon(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    """Within the lease and five seconds, by a worker that was there all the time."""
    engine.register(SLOW)
    lease = 2.0
    with a_crew(settings, tmp_path, 1, lease=lease) as crew:
        mark = tmp_path / "runs"
        execution = engine.start("slow", payload={"seconds": 60, "mark": str(mark)})
        wait_for(lambda: runs(mark) == 1)
        crew.hire()
        crew.workers[0].kill()
        killed = time.monotonic()
        wait_for(lambda: runs(mark) == 2, limit=lease + 30)
        assert time.monotonic() - killed < lease + 5
        engine.orchestrator.cancel(execution)
        assert engine.wait(execution) == "cancelled"
    assert engine.events(execution)[1:3] == ["step_queued start", "lease_expired start"]


def runs(mark: Path) -> int:
    """Return how often a step has begun."""
    return len(mark.read_text().splitlines()) if mark.exists() else 0


def test_a_drained_worker_finishes_what_runs_and_gives_back_the_rest(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    """SIGTERM with two jobs running, longer than their lease, and others waiting."""
    engine.register(SLOW)
    marks = [tmp_path / f"runs{number}" for number in range(6)]
    with a_crew(settings, tmp_path, 1, lease=1.0, slots=2) as crew:
        executions = [engine.start("slow", payload={"seconds": 2.5, "mark": str(mark)}) for mark in marks]
        wait_for(lambda: sum(runs(mark) for mark in marks) == 2)
        (first,) = crew.workers
        assert first.drain() == 0
        ended = [execution for execution in executions if engine.status(execution) == "completed"]
        assert len(ended) == 2
        assert {engine.result(execution) for execution in ended} == {first.pid}
        assert engine.rows("SELECT DISTINCT status, lost FROM queue") == [("queued", 0)]
        assert engine.one("SELECT status FROM runtime WHERE pid = %s", first.pid) == "stopped"
        crew.hire(2)
        wait_for(lambda: living(engine) == 0, limit=40)
    assert [runs(mark) for mark in marks] == [1] * 6
    assert engine.one("SELECT count(*) FROM event_log WHERE event_type = 'lease_expired'") == 0


def test_a_paused_workers_late_answers_are_dropped(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    """It is stopped for longer than its lease, another does the work, and it comes back."""
    engine.register(SLOW)
    with a_crew(settings, tmp_path, 1, lease=1.0) as crew:
        mark = tmp_path / "runs"
        execution = engine.start("slow", payload={"seconds": 0.5, "mark": str(mark)})
        (paused,) = crew.workers
        wait_for(lambda: runs(mark) == 1)
        paused.signal(signal.SIGSTOP)
        (other,) = crew.hire()
        assert engine.wait(execution) == "completed"
        paused.signal(signal.SIGCONT)
        after = engine.start("slow", payload={"seconds": 0, "mark": str(mark)})
        assert engine.wait(after) == "completed"
        assert engine.result(execution) == other.pid
        assert paused.alive
    assert engine.events(execution).count("step_completed start") == 1


def test_a_step_that_brings_its_worker_down_three_times_fails(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    """After the first time it runs alone, so nothing else is lost with it again."""
    engine.register(DEADLY)
    engine.register(FORK)
    with a_crew(settings, tmp_path, 2, lease=1.0) as crew:
        deadly = engine.start("deadly")
        good: list[int] = []
        deaths = 0

        def over() -> bool:
            nonlocal deaths
            deaths += crew.keep()
            if len(good) < 20:
                good.append(engine.start("fork"))
            return engine.status(deadly) == "failed" and living(engine) == 0

        wait_for(over, limit=60, every=0.1)
    assert deaths == 3
    assert engine.error(deadly)["type"] == "worker_lost"
    assert engine.events(deadly).count("lease_expired start") == 3
    assert engine.one("SELECT count(*) FROM error_log WHERE error_type = 'worker_lost'") == 1
    assert {engine.status(execution) for execution in good} == {"completed"}


def test_runners_that_die_take_only_their_own_step_with_them(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    engine.register(FORK)
    engine.register(
        playbook(
            "crash",
            """
  - {step: start, type: python, code: "def main():\\n  import os; os._exit(9)", on_error: [report], next: [end]}
  - {step: report, next: [{step: end, args: {kind: "{{ error.type }}"}}]}
  - {step: end, result: "{{ kind }}"}
""",
        )
    )
    with a_crew(settings, tmp_path, 1, lease=2.0) as crew:
        started: list[tuple[int, Any]] = []
        for _ in range(8):
            started += [(engine.start("crash"), "runner_exited"), (engine.start("fork"), 14)]
        wait_for(lambda: living(engine) == 0, limit=60)
        assert crew.workers[0].alive
    assert [engine.result(execution) for execution, _ in started] == [result for _, result in started]
