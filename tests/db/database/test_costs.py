"""What a step costs the database: rows, commits, statements."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from noetl.database.connection.connect import Database, open_database
from noetl.database.connection.gathered import Batch
from noetl.settings import Settings
from tests.support.waiting import wait_for
from tests.support.working import Engine, working

EXECUTIONS = 1000
STEPS = 5

FIVE = "apiVersion: noetl.io/v1\nkind: Playbook\nmetadata: {name: five, path: five}\nworkflow:\n" + "".join(
    f"  - step: s{number}\n    type: python\n    args: {{n: {number}}}\n    code: 'def main(n): return n'\n"
    + (f"    next: [s{number + 1}]\n" if number < STEPS else "")
    for number in range(1, STEPS + 1)
)

ROWS = """
SELECT coalesce(p.inhparent::regclass::text, s.relname), sum(n_tup_ins)::int, sum(n_tup_upd)::int, sum(n_tup_del)::int
  FROM pg_stat_user_tables AS s
  LEFT JOIN pg_inherits AS p ON p.inhrelid = s.relid
 WHERE s.schemaname = 'noetl'
 GROUP BY 1
"""


class Bill:
    """What was counted: `rows` is {table: (inserted, updated, deleted)}."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def rows(self) -> dict[str, tuple[int, int, int]]:
        with self._database.connect() as conn, self._database.transaction(conn, pipeline=False):
            return {table: tuple(counts) for table, *counts in conn.execute(ROWS)}

    @property
    def commits(self) -> int:
        with self._database.connect() as conn:
            row = conn.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()").fetchone()
        assert row is not None
        return int(row[0])


@contextmanager
def counting_statements(monkeypatch: pytest.MonkeyPatch, *, gathered: bool) -> Iterator[list[int]]:
    """Count what the connections of this process are asked to execute, alone and (`gathered`) in batches."""
    count = [0]

    def counting(execute: Any) -> Any:
        def counted(*given: Any, **options: Any) -> Any:
            count[0] += 1
            return execute(*given, **options)

        return counted

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Connection, "execute", counting(psycopg.Connection.execute))
        if gathered:
            patch.setattr(Batch, "add", counting(Batch.add))
        yield count


def test_an_execution_is_accepted_in_two_round_trips(
    settings: Settings, admin: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One to find the playbook, one that writes, commits and wakes the workers; the pool asks nothing."""
    trips = [0]
    exchange = Batch.exchange

    def counted(batch: Batch) -> None:
        trips[0] += bool(batch._pending)
        exchange(batch)

    with open_database(settings) as database:
        engine = Engine(database, settings)
        engine.register(FIVE)
        engine.start("five")  # it compiles the playbook
        monkeypatch.setattr(Batch, "exchange", counted)
        with counting_statements(monkeypatch, gathered=False) as statements:
            engine.start("five")
    assert (trips[0], statements[0]) == (2, 0), "gathered, and alone"


def test_a_step_costs_two_events_and_one_job(
    settings: Settings, admin: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    bill = Bill(admin)
    with open_database(settings) as database:  # sessions tell what they did at the latest when they end
        engine = Engine(database, settings)
        engine.register(FIVE)
        for _ in range(EXECUTIONS):
            engine.start("five")
    wait_for(lambda: bill.rows["workload"][0] == EXECUTIONS)
    accepted, before = bill.rows, bill.commits
    assert accepted["event_log"] == (2 * EXECUTIONS, 0, 0)
    assert accepted["queue"] == (EXECUTIONS, 0, 0)
    assert accepted["execution"] == (EXECUTIONS, 0, 0)

    with counting_statements(monkeypatch, gathered=True) as statements:
        with working(settings), open_database(settings) as database:
            engine = Engine(database, settings)
            wait_for(lambda: not engine.one("SELECT EXISTS (SELECT FROM queue)"), limit=60, every=0.2)
        statements_per_step = statements[0] / EXECUTIONS / STEPS
    wait_for(lambda: bill.rows["queue"][2] == EXECUTIONS * STEPS)

    rows = bill.rows
    assert rows["event_log"] == (EXECUTIONS * (2 * STEPS + 2), 0, 0), "two per step, and start and end"
    inserted, leased, deleted = rows["queue"]
    assert (inserted, deleted) == (EXECUTIONS * STEPS, EXECUTIONS * STEPS)
    assert leased <= 1.5 * EXECUTIONS * STEPS, "a job is written when it comes, when it is leased, and no more"
    inserted, updated, deleted = rows["execution"]
    assert (inserted, deleted) == (EXECUTIONS, 0)
    assert updated <= EXECUTIONS * STEPS, "one write of the state per step"
    assert rows["workload"] == (EXECUTIONS, 0, 0)
    assert {table: rows[table] for table in ("payload", "error_log", "output", "loop_item")} == dict.fromkeys(
        ("payload", "error_log", "output", "loop_item"), (0, 0, 0)
    )
    commits_per_step = (bill.commits - before) / EXECUTIONS / STEPS
    print(f"per step: {commits_per_step:.3f} commits, {statements_per_step:.3f} statements")
    assert commits_per_step < 0.5, "outcomes are completed in batches"
    assert statements_per_step < 3, "one statement per table and batch"


def test_an_item_of_a_loop_costs_one_event_and_one_job(settings: Settings, admin: Database) -> None:
    """Beside them a loop costs what its step does, one more job and event, and a row for each 500 items."""
    items = 2_000
    text = (
        "apiVersion: noetl.io/v1\nkind: Playbook\nmetadata: {name: each, path: each}\nworkflow:\n"
        "  - step: each\n    type: python\n    loop: {in: '{{ range(workload.n) | list }}', mode: async}\n"
        "    code: 'def main(value): return value'\n"
    )
    bill = Bill(admin)
    with working(settings), open_database(settings) as database:
        engine = Engine(database, settings)
        engine.register(text)
        execution = engine.start("each", payload={"n": items})
        assert engine.wait(execution, 60) == "completed"
        assert engine.result(execution) == list(range(items))
    wait_for(lambda: bill.rows["queue"][2] == items + 2)
    rows = bill.rows
    assert rows["queue"][0] == items + 2
    assert rows["event_log"] == (items + 5, 0, 0), "start, queued, loop, its items, its end, the end"
    assert rows["loop_item"] == (items // 500, 0, 0)
    assert rows["execution"][0] == 1
