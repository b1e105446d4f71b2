"""The claimer of a worker: it leases jobs, renders them, and hands them to the executor or finishes them at once."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import psycopg
from psycopg import Connection

from noetl.calls import Call
from noetl.database import store
from noetl.database.rows import JobRow
from noetl.orchestrator.attempt import AwaitChild, Leased, LongLoop, NewChild, is_save_due, prepare_job
from noetl.orchestrator.batch import Broken, JobOutcome
from noetl.orchestrator.begin import MAX_ROUNDS, begin_jobs
from noetl.orchestrator.children import await_child, start_child
from noetl.orchestrator.execution_cache import ExecutionCache
from noetl.orchestrator.lost import quarantine_jobs
from noetl.outcomes import Done, Failed, save_failed
from noetl.playbook.step_types import STEP_TYPES
from noetl.settings import Settings
from noetl.worker.answers import Computed, First
from noetl.worker.executor import Executor
from noetl.worker.held_jobs import HeldJobs
from noetl.worker.secrets.inject import Secrets

log = logging.getLogger("noetl.worker")


@dataclass(slots=True)
class Claimer:
    """Takes jobs for one worker. `only_root`: jobs of that execution's tree, else those of `pools`."""

    settings: Settings
    pools: tuple[str, ...]
    only_root: int | None
    files: str  # the folder for what tools keep of an execution
    cache: ExecutionCache
    executor: Executor
    held_jobs: HeldJobs
    secrets: Secrets
    _result_limit: int = field(init=False)

    def __post_init__(self) -> None:
        self._result_limit = self.settings.result_limit  # asked for with each job

    def claim(self, conn: Connection, free: int) -> list[JobRow]:
        """Lease up to `free` jobs."""
        worker, lease = self.held_jobs.worker_id, self.settings.lease_seconds
        rows: list[JobRow] = []
        with store.transaction(conn, self.cache.schema, asynchronous=True):
            if self.only_root is not None:
                return store.claim_tree_jobs(conn, worker=worker, root=self.only_root, slots=free, lease=lease)
            for pool in self.pools[:-1]:
                if len(rows) < free:
                    rows += store.claim_jobs(conn, worker=worker, pool=pool, slots=free - len(rows), lease=lease)
            left = free - len(rows)
            last = store.send_claim(conn, worker=worker, pool=self.pools[-1], slots=left, lease=lease)
        return rows + last.get()

    def claim_lost(self, conn: Connection) -> list[JobRow]:
        """Lease one job that a worker was lost with; nothing else begins until it has ended."""
        if self.only_root is not None:
            return []
        worker, lease = self.held_jobs.worker_id, self.settings.lease_seconds
        rows: list[JobRow] = []
        with store.transaction(conn, self.cache.schema, asynchronous=True):
            for pool in self.pools:
                if not rows:
                    rows = store.claim_lost_job(conn, worker=worker, pool=pool, lease=lease)
        if rows:
            self.held_jobs.isolated = rows[0].job.job_id
        return rows

    def take(self, conn: Connection, rows: list[JobRow]) -> None:
        """Hold leased jobs and begin them."""
        if not rows:
            return
        if any(self.held_jobs.contradicts(row) for row in rows):
            raise psycopg.OperationalError(
                "it grants leases that are held: it was made anew or put back to an earlier time"
            )
        self.held_jobs.expect(rows)
        executions = self.cache.of_jobs(conn, rows)
        begun = []
        self.quarantine(conn, [row for row in rows if row.execution_id not in executions])
        for row in rows:
            if row.execution_id not in executions:
                continue
            leased = Leased(executions[row.execution_id], row.job, row.created_at, row.now)
            self.held_jobs.hold(leased)
            begun.append(leased)
        self.begin(conn, begun)

    def begin(self, conn: Connection, jobs: list[Leased]) -> None:
        """Render jobs and hand them out; values that they lack are read for all of them in one round trip."""
        for leased, broken in begin_jobs(conn, self.cache.schema, jobs, partial(self._hand_out, conn)):
            self.held_jobs.finish(leased, broken)

    def _hand_out(self, conn: Connection, leased: Leased) -> None:
        """Submit the call of a job, or finish the job where it needs none."""
        prepared = self._prepare(conn, leased)
        if isinstance(prepared, Done) and leased.done is None and is_save_due(leased):
            leased.done = prepared
            prepared = self._prepare(conn, leased)
        if isinstance(prepared, Call):
            call = self._with_files(prepared)
            self._submit(leased, call, self.secrets.of(leased.execution, call))
        elif isinstance(prepared, LongLoop):
            self._compute(leased, prepared)
        else:
            self.finish(leased, prepared)

    def _prepare(self, conn: Connection, leased: Leased) -> Call | LongLoop | JobOutcome:
        prepared = prepare_job(leased, self._result_limit)
        if isinstance(prepared, NewChild):
            return start_child(conn, self.cache, prepared)
        if isinstance(prepared, AwaitChild):
            return await_child(conn, self.cache, prepared)
        return prepared

    def _with_files(self, call: Call) -> Call:
        return (
            replace(call, context={**call.context, "files": self.files}) if STEP_TYPES[call.type].keeps_files else call
        )

    def _compute(self, leased: Leased, loop: LongLoop) -> None:
        """Have the items of a long loop chosen in a thread of the executor, in place of a call."""

        def choose(_call: Call) -> Computed:
            loop.collect()
            return Computed(loop)

        where = f"{leased.execution.playbook.path}#{leased.job.node_id} loop"
        call = Call("loop", where, where, fields={}, args={}, timeout=math.inf, limit=self._result_limit, context={})
        self._submit(leased, call, choose, lambda _call: loop.give_up())

    def _submit(
        self, leased: Leased, call: Call, first: First | None, give_up: Callable[[Call], None] | None = None
    ) -> None:
        self.executor.submit(leased.token, call, first, give_up)
        leased.handed_out = leased.at_work = True

    def computed(self, conn: Connection, leased: Leased, loop: LongLoop, seconds: float) -> None:
        """Finish a job whose loop has been chosen in a thread; where that lacked values, begin it again with them."""
        if loop.outcome is not None:
            self.finish(leased, loop.outcome, seconds)
            return
        leased.rounds += 1
        if leased.rounds > MAX_ROUNDS:
            self.finish(leased, Broken(RuntimeError("its loop asked for values a hundred times")), seconds)
            return
        leased.lacks, leased.handed_out = loop.missing, False
        self.begin(conn, [leased])

    def conclude(self, conn: Connection, leased: Leased, done: Done, seconds: float) -> None:
        """Finish a job whose tool is done; or begin its block `save`, which has to be done first, as any job is begun.
        Until that is handed out the outcome is kept with the job, whatever becomes of the connection."""
        if leased.done is None and is_save_due(leased):
            leased.done, leased.seconds, leased.handed_out = done, seconds, False
            self.begin(conn, [leased])
        else:
            self.finish(leased, done, seconds)

    def finish(self, leased: Leased, outcome: JobOutcome, seconds: float = 0.0) -> None:
        """Put the outcome of a job on its way into the log; what was saved is the job's own result."""
        done = leased.done
        if done is not None and isinstance(outcome, Done):
            outcome = Done(done.result, done.output + outcome.output, outcome.saved)
        elif done is not None and isinstance(outcome, Failed):
            outcome = save_failed(outcome, done)
        self.held_jobs.finish(leased, outcome, leased.seconds + seconds)

    def quarantine(self, conn: Connection, rows: list[JobRow], *, expired: bool = False) -> None:
        """Quarantine jobs that this version cannot read: leased to this worker, or `expired`."""
        quarantine_jobs(conn, self.cache, rows, by=self.held_jobs.worker_id, expired=expired)
        for row in rows:
            self.held_jobs.forget_lease(row.job.job_id)
