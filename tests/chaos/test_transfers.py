"""Money moves between two accounts while everything around it dies: each transfer happens once."""

import random
import time
from pathlib import Path

import psycopg

from noetl.database.connect import Database
from noetl.settings import Settings
from tests.support.chaos import living, playbook
from tests.support.crew import a_crew
from tests.support.sql import sql_steps
from tests.support.working import Engine

STEPS = 10
EXECUTIONS = 200
KILLS = 6

ACCOUNTS = """
CREATE TABLE account (name text PRIMARY KEY, amount bigint NOT NULL);
CREATE TABLE transfer (id bigint GENERATED ALWAYS AS IDENTITY, execution text, step int);
INSERT INTO account VALUES ('from', 1000000), ('to', 0)
"""

TRANSFER = """
INSERT INTO transfer (execution, step) VALUES (:execution, :step);
UPDATE account SET amount = amount - 1 WHERE name = 'from';
UPDATE account SET amount = amount + 1 WHERE name = 'to' RETURNING amount;
"""


def transfers(auth: str) -> str:
    """Return a playbook of ten transfers, one after the other. A lost connection or a deadlock is tried again."""
    steps = "".join(
        f"""
  - step: t{number}
    type: postgres
    {auth}
    command: |
{"".join(f"      {line}" + chr(10) for line in TRANSFER.strip().splitlines())}
    params: {{execution: "{{{{ execution_id }}}}", step: {number}}}
    retry: {{max_attempts: 20, initial_delay: 20ms, max_delay: 200ms, when: "{{{{ error.retryable }}}}"}}
    next: [{{step: {f"t{number + 1}" if number < STEPS else "end"}}}]
"""
        for number in range(1, STEPS + 1)
    )
    return playbook("transfers", f"  - {{step: start, next: [t1]}}\n{steps}\n  - {{step: end, result: done}}\n")


TERMINATE = """
SELECT count(pg_terminate_backend(pid))
  FROM (SELECT pid FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'noetl playbook' AND pid <> pg_backend_pid()
         ORDER BY random() LIMIT 2) AS chosen
"""


def test_every_transfer_happens_once(database: Database, admin: Database, settings: Settings, tmp_path: Path) -> None:
    """On the engine's server: two workers, six kills, and all the time connections are ended."""
    engine = Engine(database, settings)
    engine.register(transfers(""))
    with sql_steps(settings) as steps:
        steps.result(ACCOUNTS)
    suffer(engine, settings, tmp_path, admin.conninfo)
    with sql_steps(settings) as steps:
        assert steps.rows("SELECT name, amount FROM account ORDER BY name") == [
            ["from", 1_000_000 - STEPS * EXECUTIONS],
            ["to", STEPS * EXECUTIONS],
        ]
        assert steps.rows("SELECT count(*), count(DISTINCT (execution, step)) FROM transfer") == [
            [STEPS * EXECUTIONS, STEPS * EXECUTIONS]
        ]


def suffer(engine: Engine, settings: Settings, folder: Path, target: str) -> None:
    """Run all transfers while workers are killed and their connections to `target` are ended."""
    executions = [engine.start("transfers") for _ in range(EXECUTIONS)]
    chance = random.Random(5)
    ended = kills = 0
    deadline = time.monotonic() + 120
    with a_crew(settings, folder, 2, lease=1.0) as crew, psycopg.connect(target, autocommit=True) as conn:
        while left := living(engine):
            assert time.monotonic() < deadline, f"{left} executions have not ended"
            done = EXECUTIONS - left
            if kills < KILLS and done >= (kills + 1) * EXECUTIONS // (KILLS + 2):
                crew.workers[kills % 2].kill()
                crew.replace(kills % 2)
                kills += 1
            row = conn.execute(TERMINATE).fetchone()
            ended += row[0] if row else 0
            time.sleep(chance.uniform(0.0, 0.1))
    assert kills == KILLS
    assert ended > 20, "connections were ended"
    assert {engine.status(execution) for execution in executions} == {"completed"}
    assert engine.one("SELECT count(*) FROM event_log WHERE event_type = 'lease_expired'") > 0, "jobs were lost"
