"""Loops over many items, with several worker processes that are killed: every item once in the log, in order."""

import itertools
import random
import time
from functools import partial
from pathlib import Path

import pytest

from noetl.database.connection.connect import Database
from noetl.settings import Settings
from tests.support.chaos import living, playbook
from tests.support.crew import a_crew
from tests.support.waiting import wait_for
from tests.support.working import Engine

ITEMS = 2_000

MANY = playbook(
    "many",
    """
  - step: each
    type: python
    loop: {in: "{{ range(workload.items) | list }}", iterator: n, mode: async, concurrency: 60}
    code: "def main(n): return n * 3"
    next: [end]
  - {step: end, result: "{{ each }}"}
""",
)

NESTED = playbook(
    "nested",
    """
  - step: each
    type: python
    loop:
      - {in: "{{ range(12) | list }}", iterator: x, mode: async, concurrency: 5, on_error: continue}
      - {in: "{{ range(x) | list }}", iterator: y, mode: async, concurrency: 3}
    retry: {max_attempts: 3, initial_delay: 10ms}
    code: |
      import random, time
      def main(x, y):
          time.sleep(random.random() / 50)
          assert x != 7 or y < 5, "always"
          assert random.random() < 0.95, "sometimes"
          return [x, y]
    next: [end]
  - {step: end, result: {list: "{{ each }}", failed: "{{ each.errors | map(attribute='index') | unique | list }}"}}
""",
)

ONE_BY_ONE = playbook(
    "one",
    """
  - step: each
    type: python
    loop: {in: "{{ range(60) | list }}", iterator: n}
    code: |
      import os, time
      def main(n):
          began = time.monotonic()
          time.sleep(0.005)
          worker = int(open(f"/proc/{os.getppid()}/stat").read().rpartition(")")[2].split()[1])
          return {"span": [began, time.monotonic()], "worker": worker}
    next: [end]
  - {step: end, result: "{{ each }}"}
""",
)


@pytest.fixture
def engine(database: Database, settings: Settings) -> Engine:
    return Engine(database, settings)


def ended(engine: Engine, execution: int) -> dict[str, int]:
    """Return how many items ended in each way."""
    return dict(
        engine.rows(
            "SELECT event_type, count(*) FROM event_log WHERE execution_id = %s AND item_index >= 0"
            " AND event_type IN ('item_completed', 'item_failed', 'item_skipped') GROUP BY 1",
            execution,
        )
    )


def done(engine: Engine, execution: int) -> int:
    return ended(engine, execution).get("item_completed", 0)


def has_done(engine: Engine, execution: int, count: int) -> bool:
    return done(engine, execution) >= count


def test_a_worker_killed_in_the_middle_of_2000_items_loses_none_and_doubles_none(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    engine.register(MANY)
    with a_crew(settings, tmp_path, 2) as crew:
        execution = engine.start("many", payload={"items": ITEMS})
        for _ in range(2):
            at = done(engine, execution) + ITEMS // 5
            wait_for(partial(has_done, engine, execution, at), limit=60)
            crew.workers[0].kill()
            crew.replace(0)
        assert engine.wait(execution, 60) == "completed"
    assert engine.result(execution) == [n * 3 for n in range(ITEMS)]
    assert ended(engine, execution) == {"item_completed": ITEMS}
    assert engine.one("SELECT count(*) FROM event_log WHERE event_type = 'lease_expired'") > 0, "items were lost"


def test_sequential_items_never_overlap_with_two_workers(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    """With a slot each and three loops to run, they hand them to each other after a few items."""
    engine.register(ONE_BY_ONE)
    with a_crew(settings, tmp_path, 2, slots=1):
        executions = [engine.start("one") for _ in range(3)]
        for execution in executions:
            assert engine.wait(execution, 60) == "completed"
    for execution in executions:
        found = engine.result(execution)
        spans = [one["span"] for one in found]
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
        assert len({one["worker"] for one in found}) == 2, "both had their share"


def test_loops_within_loops_survive_failures_and_kills(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    engine.register(NESTED)
    chance = random.Random(11)
    with a_crew(settings, tmp_path, 3) as crew:
        executions = [engine.start("nested") for _ in range(6)]
        for place in range(4):
            wait_for(lambda: engine.one("SELECT count(*) FROM queue WHERE status = 'leased'") > 0)
            time.sleep(chance.uniform(0.0, 0.3))
            crew.workers[place % 3].kill()
            crew.replace(place % 3)
        wait_for(lambda: living(engine) == 0, limit=90)
    for execution in executions:
        assert engine.status(execution) == "completed", engine.error(execution)
        result = engine.result(execution)
        assert 7 in result["failed"]
        for x, inner in enumerate(result["list"]):
            assert inner is None if x in result["failed"] else inner == [[x, y] for y in range(x)]
