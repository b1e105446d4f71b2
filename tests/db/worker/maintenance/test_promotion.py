"""Waiting jobs are queued when their time has come."""

import time

import pytest
from psycopg import Connection

from noetl.worker.maintenance.parts import MAX_ROWS, WorkerParts
from noetl.worker.maintenance.promotion import INTERVAL_SECONDS, promote_due_jobs
from noetl.worker.maintenance.thread import Duty
from tests.support.due import WAITED, due_jobs
from tests.support.working import Engine


def test_more_jobs_than_are_promoted_at_once_do_not_wait_for_another_second(
    engine: Engine, worker: WorkerParts, conn: Connection
) -> None:
    due_jobs(engine, MAX_ROWS + 1, WAITED)
    duty = Duty(INTERVAL_SECONDS, lambda conn: promote_due_jobs(worker, conn))
    duty.do(conn, time.monotonic())
    assert engine.rows("SELECT status, count(*) FROM queue GROUP BY status ORDER BY status") == [
        ("queued", MAX_ROWS),
        ("waiting", 1),
    ]
    assert duty.due_at < time.monotonic() + INTERVAL_SECONDS / 2
    assert worker.loop.claim_now.is_set()


def test_it_returns_the_seconds_until_the_next_job_is_due(
    engine: Engine, worker: WorkerParts, conn: Connection
) -> None:
    assert promote_due_jobs(worker, conn) is None
    due_jobs(engine, 1, "status = 'waiting', available_at = clock_timestamp() + interval '60 s'")
    assert promote_due_jobs(worker, conn) == pytest.approx(60, abs=20)
    assert not worker.loop.claim_now.is_set()
