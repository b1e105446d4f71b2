"""Attempts of cancelled executions are ended where they run."""

from psycopg import Connection

from noetl.worker.maintenance.cancelled import end_cancelled_attempts
from noetl.worker.maintenance.parts import WorkerParts
from tests.support.due import WAITING
from tests.support.hand import with_hand
from tests.support.working import Engine


def test_only_executions_that_are_held_and_cancelled_are_told(
    engine: Engine, worker: WorkerParts, conn: Connection
) -> None:
    engine.register(WAITING)
    execution = engine.start("waiting")
    with with_hand(engine.database, "worker") as hand:
        rows = hand.claim()
        engine.orchestrator.cancel(execution, by="test")
        end_cancelled_attempts(worker, conn)
        assert not worker.loop.inbox, "it holds nothing"
        worker.loop._connect()
        worker.loop._claimer.take(worker.loop._connected(), rows)
        worker.loop.held_jobs.finished.clear()
        end_cancelled_attempts(worker, conn)
        assert len(worker.loop.inbox) == 1
        worker.loop.inbox.popleft()()
        assert all(leased.killed for leased in worker.loop.held_jobs.jobs.values())
