"""Leases that have run out are handed to the worker loop."""

import time

from psycopg import Connection

from noetl.worker.maintenance.expired_leases import INTERVAL_SECONDS, take_back_expired_leases
from noetl.worker.maintenance.parts import MAX_ROWS, WorkerParts
from noetl.worker.maintenance.thread import Duty
from tests.support.due import LEASE_OVER, due_jobs
from tests.support.working import Engine


def test_more_leases_than_are_read_at_once_do_not_wait_for_another_second(
    engine: Engine, worker: WorkerParts, conn: Connection
) -> None:
    due_jobs(engine, MAX_ROWS + 1, LEASE_OVER)
    duty = Duty(INTERVAL_SECONDS, lambda conn: take_back_expired_leases(worker, conn))
    duty.do(conn, time.monotonic())
    assert duty.due_at < time.monotonic() + INTERVAL_SECONDS / 2
    assert len(worker.loop.inbox) == 1


def test_the_loop_completes_them_as_lost(engine: Engine, worker: WorkerParts, conn: Connection) -> None:
    due_jobs(engine, 2, LEASE_OVER)
    take_back_expired_leases(worker, conn)
    worker.loop._connect()
    worker.loop._turn()
    assert engine.rows("SELECT DISTINCT status, lost FROM queue") == [("queued", 1)]


def test_leases_that_hold_are_left_alone(engine: Engine, worker: WorkerParts, conn: Connection) -> None:
    due_jobs(engine, 1, LEASE_OVER.replace("- interval", "+ interval"))
    assert take_back_expired_leases(worker, conn) is None
    assert not worker.loop.inbox
