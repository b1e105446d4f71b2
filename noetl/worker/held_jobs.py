"""The jobs that a worker holds under their leases, and their outcomes on the way into the log."""

import random
import time
from collections.abc import Iterable, Mapping, Set

from noetl.database.leases import LastEvent, Lease
from noetl.database.rows import JobRow
from noetl.orchestrator.attempt import Leased
from noetl.orchestrator.batch import Finished, JobOutcome


class HeldJobs:
    """The jobs of one worker. They belong to the worker loop's thread; `leases` and `executions` are read by the
    maintenance thread, too, each in one atomic operation.

    `isolated` is the job, lost by a worker before, beside which nothing else is begun.
    """

    def __init__(self, worker_id: str) -> None:
        self.worker_id = worker_id
        self.jobs: dict[int, Leased] = {}
        self._by_token: dict[int, Leased] = {}
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
            self.leases[row.job.job_id] = (row.job.attempts, now)

    def hold(self, leased: Leased) -> None:
        """Hold a job."""
        before = self.jobs.get(leased.job.job_id)
        if before is not None:
            del self._by_token[before.token]
        self.jobs[leased.job.job_id] = self._by_token[leased.token] = leased
        self.leases[leased.job.job_id] = (leased.job.attempts, time.monotonic())

    def holds(self, job_id: int, attempts: int) -> bool:
        """Whether this very lease is held."""
        leased = self.jobs.get(job_id)
        return leased is not None and leased.job.attempts == attempts

    def of(self, token: int) -> Leased | None:
        """Return the job of a token, None where that lease is no longer ours."""
        return self._by_token.get(token)

    def drop(self, job_id: int, attempts: int) -> None:
        """Let go of a job, unless it has been leased to us again meanwhile."""
        if self.holds(job_id, attempts):
            del self._by_token[self.jobs.pop(job_id).token]
            self.forget_lease(job_id)

    def contradicts(self, row: JobRow) -> bool:
        """Tell whether a lease that was just granted cannot come from the database that granted those held: the job is
        another execution's, or its fence has not moved on."""
        held = self.jobs.get(row.job.job_id)
        return held is not None and (
            held.execution.execution_id != row.execution_id or held.job.attempts >= row.job.attempts
        )

    def forget_lease(self, job_id: int) -> None:
        """Let go of a lease whose job was never held."""
        self.leases.pop(job_id, None)
        if self.isolated == job_id:
            self.isolated = None

    def finish(self, leased: Leased, outcome: JobOutcome, seconds: float = 0.0) -> None:
        """Put the outcome of a job on its way into the log. `seconds`: how long it ran."""
        leased.handed_out = True
        self.finished.append(
            Finished(
                leased.execution,
                leased.job,
                outcome,
                worker_id=self.worker_id,
                duration=seconds,
                queued=leased.queued,
                jitter=random.random(),  # noqa: S311
                since=time.monotonic(),
            )
        )

    def executions(self) -> dict[int, int]:
        """Return {job id: execution id} of the jobs that are held."""
        return {job_id: leased.execution.execution_id for job_id, leased in self.jobs.copy().items()}

    def known(self) -> dict[int, LastEvent]:
        """Return the last event that is known of each execution of which a job is held."""
        executions = {leased.execution.execution_id: leased.execution for leased in self.jobs.values()}
        return {
            number: LastEvent(execution.state.last_event_id, execution.last_event_at)
            for number, execution in executions.items()
        }

    def ours(self, leases: Mapping[int, Lease], unchanged: Set[int]) -> set[int]:
        """Return the jobs held that go on, of the leases that the queue has: those of executions whose log is as it was
        known. What waits for a child begins again, since the child's log may be another one."""
        return {
            job_id
            for job_id, held in self.jobs.items()
            if held.execution.execution_id in unchanged
            and leases.get(job_id) == (held.job.attempts, held.execution.execution_id)
            and not (held.at_work and held.job.context.get("child"))
        }

    def reread(self, leases: Mapping[int, Lease], unchanged: Set[int]) -> dict[int, int]:
        """Compare with what the queue says we hold; return the leases ({job id: attempts}) that are no longer ours.

        Outcomes in doubt that a tool gave are not among them, where the execution's log is as it was known: they are
        sent again, and the fence tells. What was answered without a tool is answered again, from the log as it is now.
        """
        self.finished = [item for item in self.finished if self._stands(item, unchanged)]
        in_doubt = {item.job.job_id for item in self.finished}
        ours = self.ours(leases, unchanged)
        for job_id in ours - in_doubt:
            self.jobs[job_id].handed_out = self.jobs[job_id].handed_out and self.jobs[job_id].at_work
        self.leases = {job_id: lease for job_id, lease in self.leases.items() if job_id in self.jobs}
        if self.isolated not in self.jobs:  # the connection was lost between its claim and its beginning
            self.isolated = None
        return {
            job_id: held.job.attempts
            for job_id, held in self.jobs.items()
            if job_id not in ours and job_id not in in_doubt
        }

    def _stands(self, item: Finished, unchanged: Set[int]) -> bool:
        held = self.jobs.get(item.job.job_id)
        return (
            held is not None
            and held.job.attempts == item.job.attempts
            and held.at_work
            and not held.job.context.get("child")
            and item.execution.execution_id in unchanged
        )
