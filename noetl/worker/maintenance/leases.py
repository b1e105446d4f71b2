"""The leases of a worker's own jobs: renewed long before they run out, however long a completion waits."""

import logging
import time
from functools import partial

from psycopg import Connection

from noetl.database import store
from noetl.database.leases import select_leases
from noetl.settings import Settings
from noetl.worker.maintenance.parts import WorkerParts

log = logging.getLogger("noetl.worker")

RENEWALS_PER_LEASE = 4


def interval_seconds(settings: Settings) -> float:
    """Return the seconds between two renewals."""
    return settings.lease_seconds / RENEWALS_PER_LEASE


def renew_leases(worker: WorkerParts, conn: Connection) -> None:
    """Renew leases that have stood for a while; jobs that are another worker's by now are given up.

    A loop that stands still completes nothing any more: its jobs are left to other workers.
    """
    if worker.loop.pulse.stands_still():
        log.error("the loop of this worker stands still: its leases are not renewed")
        return
    lease = worker.settings.lease_seconds
    renewable_since = time.monotonic() - interval_seconds(worker.settings) / 2
    leases = worker.loop.held_jobs.leases.copy()
    held = {job: attempts for job, (attempts, since) in leases.items() if since < renewable_since}
    if not held:
        return
    with store.transaction(conn, worker.schema, asynchronous=True):
        renewed = store.renew_leases(conn, worker=worker.worker_id, held=held, lease=lease)
        if len(renewed) == len(held):
            return
        ours = select_leases(conn, worker=worker.worker_id)
    lost = {job: attempts for job, attempts in held.items() if job not in ours or ours[job].attempts != attempts}
    if lost:
        worker.in_loop(partial(worker.loop.lose, lost))
