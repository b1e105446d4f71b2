"""Money moves between two accounts while everything around it dies: each transfer happens once."""

import json
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from noetl.database.connection.connect import Database
from noetl.database.schema.inbox import make_inbox
from noetl.settings import Settings
from tests.support.chaos import living, playbook
from tests.support.crew import a_crew
from tests.support.sql import Steps, sql_steps
from tests.support.working import Engine

TRANSFERS = 2000
STEPS = 10
KILLS = 6

ACCOUNTS = """
CREATE TABLE account (name text PRIMARY KEY, amount bigint NOT NULL);
CREATE TABLE transfer (execution text, number int);
INSERT INTO account VALUES ('from', 1000000), ('to', 0)
"""

TRANSFER = """
      INSERT INTO transfer VALUES (:execution, :number);
      UPDATE account SET amount = amount - 1 WHERE name = 'from';
      UPDATE account SET amount = amount + 1 WHERE name = 'to' RETURNING amount;
"""

RETRY = 'retry: {max_attempts: 20, initial_delay: 20ms, max_delay: 200ms, when: "{{ error.retryable }}"}'


def chain() -> str:
    """Return a playbook of ten transfers, one after the other. A lost connection is tried again."""
    steps = "".join(
        f"""
  - step: t{number}
    type: postgres
    command: |{TRANSFER}
    params: {{execution: "{{{{ execution_id }}}}", number: {number}}}
    {RETRY}
    next: [{{step: {f"t{number + 1}" if number < STEPS else "end"}}}]
"""
        for number in range(1, STEPS + 1)
    )
    return playbook("transfers", f"  - {{step: start, next: [t1]}}\n{steps}\n  - {{step: end, result: done}}\n")


def loop(login: Mapping[str, object]) -> str:
    """Return a playbook of all transfers as items of one loop."""
    return playbook(
        "transfers",
        f"""
  - step: start
    type: postgres
    auth: {json.dumps(dict(login))}
    loop: {{in: "{{{{ range({TRANSFERS}) | list }}}}", iterator: n, mode: async, concurrency: 16}}
    command: |{TRANSFER}
    params: {{execution: "{{{{ execution_id }}}}", number: "{{{{ n }}}}"}}
    {RETRY}
    next: [{{step: end}}]
  - {{step: end, result: "{{{{ start.count }}}}"}}
""",
    )


TERMINATE = """
SELECT count(pg_terminate_backend(pid))
  FROM (SELECT pid FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'noetl playbook' AND pid <> pg_backend_pid()
         ORDER BY random() LIMIT 2) AS chosen
"""


def test_every_transfer_happens_once(database: Database, admin: Database, settings: Settings, tmp_path: Path) -> None:
    """On the engine's server, as steps: two workers, six kills, and all the time connections are ended."""
    engine = Engine(database, settings)
    engine.register(chain())
    with sql_steps(settings) as steps:
        steps.result(ACCOUNTS)
        executions = [engine.start("transfers") for _ in range(TRANSFERS // STEPS)]
        suffer(engine, settings, tmp_path, admin.conninfo, "noetl_playbook.transfer")
        assert {engine.status(execution) for execution in executions} == {"completed"}
        assert_exact(steps)


def test_every_transfer_happens_once_in_another_database_too(
    database: Database, settings: Settings, tmp_path: Path, make_settings: Callable[..., Settings]
) -> None:
    """As items of a loop. It has the inbox, made by the command, and is reached by the fields of `auth`."""
    other = str(make_settings(with_schema=False).database_url)
    make_inbox(other)
    parts = conninfo_to_dict(other)
    login = {"type": "postgres", "host": parts["host"], "database": parts["dbname"], "user": parts["user"]}
    engine = Engine(database, settings)
    engine.register(loop(login))
    with sql_steps(settings) as steps:
        steps.auth = {"": login}
        steps.result(ACCOUNTS)
        execution = engine.start("transfers")
        suffer(engine, settings, tmp_path, other, "transfer")
        assert engine.status(execution) == "completed", engine.error(execution)
        assert engine.result(execution) == TRANSFERS
        assert_exact(steps)


def assert_exact(steps: Steps) -> None:
    """Hold the accounts to what was transferred."""
    assert steps.rows("SELECT name, amount FROM account ORDER BY name") == [
        ["from", 1_000_000 - TRANSFERS],
        ["to", TRANSFERS],
    ]
    assert steps.rows("SELECT count(*), count(DISTINCT (execution, number)) FROM transfer") == [[TRANSFERS, TRANSFERS]]


def suffer(engine: Engine, settings: Settings, folder: Path, target: str, table: str) -> None:
    """Let all executions end while workers are killed and their connections to `target` are ended."""
    chance = random.Random(5)
    ended = kills = next_cut = 0
    deadline = time.monotonic() + 240
    with a_crew(settings, folder, 2, lease=1.0) as crew, psycopg.connect(target, autocommit=True) as conn:
        while left := living(engine):
            assert time.monotonic() < deadline, f"{left} executions have not ended"
            done = count(conn, f"SELECT count(*) FROM {table}")
            if kills < KILLS and done >= (kills + 1) * TRANSFERS // (KILLS + 2):
                crew.workers[kills % 2].kill()
                crew.replace(kills % 2)
                kills += 1
            if done >= next_cut:  # so many of them, however fast the machine is
                ended += count(conn, TERMINATE)
                next_cut = done + chance.randrange(40)
            time.sleep(chance.uniform(0.0, 0.05))
    assert kills == KILLS
    assert ended > 20, "connections were ended"
    assert engine.one("SELECT count(*) FROM event_log WHERE event_type = 'lease_expired'") > 0, "jobs were lost"


def count(conn: psycopg.Connection, query: str) -> int:
    row = conn.execute(query.encode()).fetchone()
    return int(row[0]) if row else 0
