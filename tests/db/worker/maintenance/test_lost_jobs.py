"""A job that a worker was lost with is announced to the worker loop."""

from psycopg import Connection

from noetl.worker.maintenance.lost_jobs import announce_lost_jobs
from noetl.worker.maintenance.parts import WorkerParts
from tests.support.due import due_jobs
from tests.support.working import Engine


def test_a_lost_job_is_announced_and_others_are_not(engine: Engine, worker: WorkerParts, conn: Connection) -> None:
    due_jobs(engine, 1, "lost = 0")
    announce_lost_jobs(worker, conn)
    assert not worker.loop.lost_waiting.is_set()
    due_jobs(engine, 1, "lost = 1")
    announce_lost_jobs(worker, conn)
    assert worker.loop.lost_waiting.is_set()
    assert worker.loop.claim_now.is_set()
