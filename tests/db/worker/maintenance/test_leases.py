"""Leases are renewed before they run out, and given up when they are another worker's."""

import time

from psycopg import Connection

from noetl.worker.maintenance.leases import renew_leases
from noetl.worker.maintenance.parts import WorkerParts
from noetl.worker.pulse import Pulse
from tests.support.due import due_jobs
from tests.support.working import Engine

OURS = "status = 'leased', worker_id = 'worker', attempts = 1, lease_until = clock_timestamp() + interval '3 s'"
RENEWED = "SELECT lease_until > clock_timestamp() + interval '10 s' FROM queue"


def lease(engine: Engine, worker: WorkerParts, since: float) -> int:
    """Have a job leased to the worker for so many seconds; return its id."""
    due_jobs(engine, 1, OURS)
    job_id = int(engine.one("SELECT id FROM queue"))
    worker.loop.held_jobs.leases[job_id] = (1, time.monotonic() - since)
    return job_id


def test_a_lease_is_renewed_that_has_stood_for_a_while(engine: Engine, worker: WorkerParts, conn: Connection) -> None:
    job_id = lease(engine, worker, since=0.0)
    renew_leases(worker, conn)
    assert not engine.one(RENEWED), "it is a new one"
    worker.loop.held_jobs.leases[job_id] = (1, time.monotonic() - worker.settings.lease_seconds / 2)
    renew_leases(worker, conn)
    assert engine.one(RENEWED)
    assert not worker.loop.inbox


def test_a_lease_that_is_another_workers_is_given_up(engine: Engine, worker: WorkerParts, conn: Connection) -> None:
    lease(engine, worker, since=worker.settings.lease_seconds)
    engine_says = "UPDATE queue SET worker_id = 'another', attempts = 2"
    with engine.database.session() as session:
        session.execute(engine_says)
    renew_leases(worker, conn)
    assert not engine.one(RENEWED)
    assert len(worker.loop.inbox) == 1


def test_a_loop_that_stands_still_has_none_renewed(engine: Engine, worker: WorkerParts, conn: Connection) -> None:
    lease(engine, worker, since=worker.settings.lease_seconds)
    worker.loop.pulse = Pulse(longest_turn=-1.0)
    worker.loop.pulse.turn()
    renew_leases(worker, conn)
    assert not engine.one(RENEWED)
