"""Executions past their timeout are ended by any worker."""

from psycopg import Connection

from noetl.worker.maintenance.parts import WorkerParts
from noetl.worker.maintenance.timeouts import execution_timeouts
from tests.support.due import WAITING
from tests.support.waiting import wait_for
from tests.support.working import Engine


def test_an_execution_past_its_timeout_fails_and_others_continue(
    engine: Engine, worker: WorkerParts, conn: Connection
) -> None:
    engine.register(WAITING)
    engine.register(WAITING.replace("path: waiting", "path: limited") + "timeout: 1ms\n")
    patient, limited = engine.start("waiting"), engine.start("limited")
    time_out = execution_timeouts(worker)

    def ended() -> bool:
        time_out(conn)
        return engine.status(limited) == "failed"

    wait_for(ended)
    assert engine.status(patient) == "running"
