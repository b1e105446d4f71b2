"""What a worker holds: jobs under their leases, and outcomes on their way into the log."""

import random
import time
from collections.abc import Iterable

from noetl.database.store import JobRow
from noetl.orchestrator.part import Finished, What
from noetl.orchestrator.prepare import Leased


class Holdings:
    """The jobs of one worker. They belong to the pump's thread; `leases` and `executions` are read by the
    housekeeper's, too, each in one atomic operation.

    `isolated` is the job, lost by a worker before, beside which nothing else is begun.
    """

    def __init__(self, worker_id: str) -> None:
        self.worker_id = worker_id
        self.jobs: dict[int, Leased] = {}
        self.finished: list[Finished] = []
        self.leases: dict[int, tuple[int, float]] = {}  # job id -> attempts, monotonic time of the lease
        self.isolated: int | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is held and nothing waits to be written."""
        return not self.jobs and not self.finished

    def expect(self, rows: Iterable[JobRow]) -> None:
        """Know of leases from the moment they were granted, whatever comes before their jobs are held."""
        now = time.monotonic()
        for row in rows:
            self.leases[row.id] = (row.attempts, now)

    def hold(self, leased: Leased) -> None:
        """Hold a job."""
        self.jobs[leased.job.job_id] = leased
        self.leases[leased.job.job_id] = (leased.job.attempts, time.monotonic())

    def holds(self, job_id: int, attempts: int) -> bool:
        """Whether this very lease is held."""
        leased = self.jobs.get(job_id)
        return leased is not None and leased.job.attempts == attempts

    def of(self, token: int) -> Leased | None:
        """Return the job of a token, None where that lease is no longer ours."""
        leased = self.jobs.get(token >> 32)
        return leased if leased is not None and leased.token == token else None

    def drop(self, job_id: int, attempts: int) -> None:
        """Let go of a job, unless it has been leased to us again meanwhile."""
        if self.holds(job_id, attempts):
            del self.jobs[job_id]
            self.forget_lease(job_id)

    def forget_lease(self, job_id: int) -> None:
        """Let go of a lease whose job was never held."""
        self.leases.pop(job_id, None)
        if self.isolated == job_id:
            self.isolated = None

    def finish(self, leased: Leased, what: What, seconds: float = 0.0, output: str = "") -> None:
        """Put what came of a job on its way into the log. `seconds`: how long it ran."""
        leased.handed_out = True
        self.finished.append(
            Finished(
                leased.view,
                leased.job,
                what,
                self.worker_id,
                seconds,
                leased.queued,
                random.random(),  # noqa: S311 - jitter
                output,
                time.monotonic(),
            )
        )

    def executions(self) -> dict[int, int]:
        """Return {job id: execution id} of what is held."""
        return {job_id: leased.view.execution_id for job_id, leased in self.jobs.copy().items()}

    def reread(self, leases: dict[int, int]) -> dict[int, int]:
        """Compare with what the queue says we hold; return the leases ({job id: attempts}) that are no longer ours.

        Outcomes in doubt are not among them: they are sent again, and the fence tells.
        """
        in_doubt = {item.job.job_id for item in self.finished}
        self.leases = {job_id: lease for job_id, lease in self.leases.items() if job_id in self.jobs}
        if self.isolated not in self.jobs:  # the connection was lost between its claim and its beginning
            self.isolated = None
        return {
            job_id: held.job.attempts
            for job_id, held in self.jobs.items()
            if leases.get(job_id) != held.job.attempts and job_id not in in_doubt
        }
