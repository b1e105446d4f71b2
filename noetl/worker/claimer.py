"""The taking half of a worker: lease jobs, render them, hand them to the executor or answer them at once."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
from psycopg import Connection

from noetl.database import store
from noetl.errors import DatabaseError
from noetl.orchestrator.attempt import AwaitChild, Leased, NewChild, Ran, Work, collected, prepare, saves
from noetl.orchestrator.batch import Broken, What
from noetl.orchestrator.children import await_child, start_child
from noetl.orchestrator.execution_cache import ExecutionCache, MissingValues, load_values
from noetl.orchestrator.lost import set_aside
from noetl.orchestrator.outcomes import Collection, Done, Failed, NotLoaded, save_failed
from noetl.playbook.step_types import STEP_TYPES
from noetl.tools.base import Call
from noetl.worker.executor import Computed, Executor
from noetl.worker.held_jobs import HeldJobs
from noetl.worker.secrets.inject import Secrets

log = logging.getLogger("noetl.worker")

MOST_ROUNDS = 100
"""How often a job may ask for values before it counts as broken."""


@dataclass(slots=True)
class Claimer:
    """Takes jobs for one worker. `only_root`: jobs of that execution's tree, else those of `pools`."""

    schema: str
    lease: float  # seconds
    result_limit: int
    files: str  # the folder for what tools keep of an execution
    pools: tuple[str, ...]
    only_root: int | None
    views: ExecutionCache
    executor: Executor
    held_jobs: HeldJobs
    secrets: Secrets

    def claim(self, conn: Connection, free: int) -> list[store.JobRow]:
        """Lease up to `free` jobs."""
        worker, lease = self.held_jobs.worker_id, self.lease
        rows: list[store.JobRow] = []
        with store.transaction(conn, self.schema, asynchronous=True):
            if self.only_root is not None:
                return store.claim_tree_jobs(conn, worker=worker, root=self.only_root, slots=free, lease=lease)
            for pool in self.pools[:-1]:
                if len(rows) < free:
                    rows += store.claim_jobs(conn, worker=worker, pool=pool, slots=free - len(rows), lease=lease)
            left = free - len(rows)
            last = store.send_claim(conn, worker=worker, pool=self.pools[-1], slots=left, lease=lease)
        return rows + store.job_rows(last)

    def claim_lost(self, conn: Connection) -> list[store.JobRow]:
        """Lease one job that was lost before; nothing else is to begin until it has ended."""
        if self.only_root is not None:
            return []
        rows: list[store.JobRow] = []
        with store.transaction(conn, self.schema, asynchronous=True):
            for pool in self.pools:
                if not rows:
                    rows = store.claim_lost_job(conn, worker=self.held_jobs.worker_id, pool=pool, lease=self.lease)
        if rows:
            self.held_jobs.isolated = rows[0].job.job_id
        return rows

    def take(self, conn: Connection, rows: list[store.JobRow]) -> None:
        """Hold leased jobs and begin them."""
        if not rows:
            return
        if any(self.held_jobs.contradicts(row) for row in rows):
            raise psycopg.OperationalError(
                "it grants leases that are held: it was made anew or put back to an earlier time"
            )
        self.held_jobs.expect(rows)
        views = self.views.of_jobs(conn, rows)
        begun = []
        self.set_aside(conn, [row for row in rows if row.execution_id not in views])
        for row in rows:
            if row.execution_id not in views:
                continue
            leased = Leased(views[row.execution_id], row.job, row.created_at, row.now)
            self.held_jobs.hold(leased)
            begun.append(leased)
        self.begin(conn, begun)

    def begin(self, conn: Connection, todo: list[Leased]) -> None:
        """Render jobs and hand them out; what they lack is read for all of them in one round trip."""
        for _ in range(MOST_ROUNDS):
            wanted: dict[int, MissingValues] = {}
            later = []
            for leased in todo:
                try:
                    self._hand_out(conn, leased)
                except NotLoaded as missing:
                    view = leased.view
                    wanted.setdefault(view.execution_id, MissingValues(view)).add(missing)
                    later.append(leased)
            if not later:
                return
            broken = self._load(conn, wanted)
            todo = [leased for leased in later if leased.view.execution_id not in broken]
            for leased in later:
                if leased.view.execution_id in broken:
                    self.held_jobs.finish(leased, Broken(broken[leased.view.execution_id]))
        for leased in todo:
            self.held_jobs.finish(leased, Broken(RuntimeError("its job asked for values a hundred times")))

    def _load(self, conn: Connection, wanted: Mapping[int, MissingValues]) -> dict[int, LookupError]:
        """Read what views lack, in one round trip; return the executions whose log does not have it.

        A damaged log is the trouble of its execution only: the others are read one by one then.
        """
        try:
            with store.transaction(conn, self.schema, asynchronous=True):
                load_values(conn, wanted.values())
        except LookupError as damaged:
            if len(wanted) == 1:
                return dict.fromkeys(wanted, damaged)
            broken: dict[int, LookupError] = {}
            for number, one in wanted.items():
                broken |= self._load(conn, {number: one})
            return broken
        return {}

    def _hand_out(self, conn: Connection, leased: Leased) -> None:
        """Have a job done, or answered at once. What the engine itself gets wrong is that execution's trouble only."""
        try:
            what = self._answer(conn, leased)
            if isinstance(what, Done) and leased.done is None and saves(leased):
                leased.done = Ran(what.result)
                what = self._answer(conn, leased)
            if isinstance(what, Work):
                self.executor.submit(leased.token, self._call(what), self.secrets.of(leased.view, what))
                leased.handed_out = leased.at_work = True
            elif isinstance(what, Collection):
                self._compute(leased, what)
            else:
                self.finish(leased, what)
        except (NotLoaded, psycopg.OperationalError, psycopg.InterfaceError, DatabaseError):
            raise
        except Exception as error:  # noqa: BLE001 - told with the completion, which sets the execution aside
            self.held_jobs.finish(leased, Broken(error))

    def _compute(self, leased: Leased, collection: Collection) -> None:
        """Have a long loop collected in a thread of the executor, in place of a call: nothing else waits for it."""

        def first(_call: Call) -> Computed:
            try:
                return Computed(collected(collection, self.result_limit))
            except NotLoaded as missing:
                return Computed(missing)
            except Exception as error:  # noqa: BLE001 - as where a job is handed out
                return Computed(Broken(error))

        def give_up(_call: Call) -> None:
            collection.given_up = True

        where = f"{leased.view.playbook.path}#{leased.job.node_id} loop"
        call = Call("loop", where, where, {}, {}, math.inf, self.result_limit, {})
        self.executor.submit(leased.token, call, first, give_up)
        leased.handed_out = leased.at_work = True

    def computed(self, conn: Connection, leased: Leased, found: What | NotLoaded, seconds: float) -> None:
        """Take what a thread has computed; where that lacked values, they are read and it begins again."""
        if not isinstance(found, NotLoaded):
            self.finish(leased, found, seconds)
            return
        leased.handed_out, leased.rounds = False, leased.rounds + 1
        if leased.rounds > MOST_ROUNDS:
            self.held_jobs.finish(leased, Broken(RuntimeError("its loop asked for values a hundred times")))
            return
        wanted = MissingValues(leased.view)
        wanted.add(found)
        broken = self._load(conn, {leased.view.execution_id: wanted})
        if broken:
            self.held_jobs.finish(leased, Broken(broken[leased.view.execution_id]))
        else:
            self.begin(conn, [leased])

    def conclude(self, conn: Connection, leased: Leased, done: Ran) -> None:
        """Take what a tool gave: it is on its way into the log, or a block `save` has to be done first, which is begun
        as any job is. Until that is handed out the result is kept with the job, whatever becomes of the connection."""
        if leased.done is None and saves(leased):
            leased.done, leased.handed_out = done, False
            self.begin(conn, [leased])
        else:
            self.finish(leased, Done(done.result), done.seconds, done.output)

    def finish(self, leased: Leased, what: What, seconds: float = 0.0, output: str = "") -> None:
        """Put what came of a job on its way into the log; what was saved is the job's own result."""
        done = leased.done
        if done is not None:
            seconds, output = done.seconds + seconds, done.output + output
            if isinstance(what, Done):
                what = Done(done.result, what.saved)
            elif isinstance(what, Failed):
                what = save_failed(what.error, done.result)
        self.held_jobs.finish(leased, what, seconds, output)

    def _answer(self, conn: Connection, leased: Leased) -> Work | Collection | What:
        what = prepare(leased, self.result_limit)
        if isinstance(what, NewChild):
            return start_child(conn, self.views, what)
        if isinstance(what, AwaitChild):
            return await_child(conn, self.views, what)
        return what

    def _call(self, work: Work) -> Call:
        return Call(
            work.type,
            work.key,
            work.where,
            work.fields,
            work.args,
            work.timeout,
            self.result_limit,
            {**work.context, "files": self.files} if STEP_TYPES[work.type].keeps_files else work.context,
        )

    def set_aside(self, conn: Connection, rows: list[store.JobRow], *, expired: bool = False) -> None:
        """Keep jobs as `paused` that this version cannot read: leased to this worker, or `expired`."""
        set_aside(conn, self.views, rows, by=self.held_jobs.worker_id, expired=expired)
        for row in rows:
            self.held_jobs.forget_lease(row.job.job_id)
