"""The heartbeat keeps a worker in the registry, marks silent ones, and notices a database that was made anew."""

from psycopg import Connection

from noetl.database.connection.connect import Database
from noetl.worker.maintenance.heartbeat import Heartbeat
from noetl.worker.maintenance.parts import WorkerParts
from tests.db.database.test_runtime import register
from tests.support.working import Engine


def test_a_worker_says_that_it_is_there_and_who_is_silent(
    engine: Engine, worker: WorkerParts, conn: Connection
) -> None:
    register(engine.database, ("silent", "running", 600))
    Heartbeat(worker)(conn)
    assert engine.rows("SELECT runtime_id, status FROM runtime ORDER BY runtime_id") == [
        ("silent", "offline"),
        ("worker", "running"),
    ]


def test_another_instance_of_the_schema_is_noticed(worker: WorkerParts, conn: Connection, admin: Database) -> None:
    heartbeat = Heartbeat(worker)
    heartbeat(conn)
    heartbeat(conn)
    assert not worker.loop.inbox
    with admin.session() as session:
        session.execute("UPDATE schema_version SET instance = gen_random_uuid()")
    heartbeat(conn)
    assert list(worker.loop.inbox) == [worker.loop.forget]
