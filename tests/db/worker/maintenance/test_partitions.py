"""Workers make the weekly partitions ahead of time."""

from psycopg import Connection

from noetl.worker.maintenance.partitions import make_partitions
from noetl.worker.maintenance.parts import WorkerParts
from tests.support.working import Engine

COUNT = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'event_log'::regclass"


def test_partitions_are_made_once(engine: Engine, worker: WorkerParts, conn: Connection) -> None:
    before = engine.one(COUNT)
    make_partitions(worker, conn)
    made = engine.one(COUNT)
    assert made > before
    make_partitions(worker, conn)
    assert engine.one(COUNT) == made
