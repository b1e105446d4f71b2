"""A step has one live job: a second one is an error, and never dropped in silence."""

import psycopg
import pytest

from noetl.database import store
from noetl.database.connection.connect import Database
from noetl.settings import Settings
from tests.support.working import Engine

PLAYBOOK = "{metadata: {path: one}, workflow: [{step: a, type: wait, for: 1h}]}"


@pytest.fixture
def execution(database: Database, settings: Settings) -> int:
    engine = Engine(database, settings)
    return engine.start(engine.register(PLAYBOOK))


def test_a_second_job_of_a_step_is_refused_loudly(database: Database, execution: int) -> None:
    row = {
        "execution_id": execution, "node_id": "a", "visit": 1, "item_index": -1, "status": "queued", "pool": "default",
        "priority": 0, "attempts": 0, "failures": 0, "lost": 0, "context": {}, "created_at": 0,
    }  # fmt: skip
    refused = pytest.raises(psycopg.errors.UniqueViolation)
    with database.connect() as conn, refused, store.transaction(conn, database.schema):
        store.insert_jobs(conn, [row], worker=None, lease=0)


def test_a_child_is_asked_to_end_once(database: Database, execution: int) -> None:
    row = {"execution_id": execution, "node_id": "$cancel", "visit": 0, "pool": "default", "priority": 0}
    with database.connect() as conn:
        for _ in range(2):
            with store.transaction(conn, database.schema):
                store.insert_rows(conn, "insert_cancels", [row])
        found = conn.execute("SELECT count(*) FROM noetl.queue WHERE node_id = '$cancel'").fetchone()
    assert found == (1,)
