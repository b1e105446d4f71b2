"""A worker by hand: the engine's calls in the order in which a worker makes them, one at a time."""

from collections.abc import Iterator
from contextlib import contextmanager

from noetl.calls import Call
from noetl.database import store
from noetl.database.connection.connect import Database
from noetl.database.rows import JobRow
from noetl.engine.values import NotLoaded
from noetl.orchestrator.attempt import AwaitChild, Leased, LongLoop, NewChild, prepare_job
from noetl.orchestrator.batch import Finished, JobOutcome
from noetl.orchestrator.complete import BatchCommitter, CommittedBatch
from noetl.orchestrator.execution_cache import ExecutionCache, load_missing, load_until_done
from noetl.outcomes import Done

LIMIT = 32 * 1024 * 1024


class Hand:
    """One worker with a connection of its own. `with_hand` closes it."""

    def __init__(self, database: Database, name: str, lease: float = 30.0) -> None:
        self.name = name
        self.schema = database.schema
        self.conn = database.connect()
        self.cache = ExecutionCache(database.schema, {})
        self.lease = lease
        self.committer = BatchCommitter(database.schema, name, lease, 262144, self.cache)

    def claim(self, slots: int = 1, pool: str = "default") -> list[JobRow]:
        with store.transaction(self.conn, self.schema, asynchronous=True):
            return store.claim_jobs(self.conn, worker=self.name, pool=pool, slots=slots, lease=self.lease)

    def claim_lost(self, pool: str = "default") -> list[JobRow]:
        with store.transaction(self.conn, self.schema, asynchronous=True):
            return store.claim_lost_job(self.conn, worker=self.name, pool=pool, lease=self.lease)

    def expired(self, limit: int = 100) -> list[JobRow]:
        with store.transaction(self.conn, self.schema, asynchronous=True):
            return store.select_expired_jobs(self.conn, limit=limit)

    def renew(self, held: dict[int, int]) -> set[int]:
        with store.transaction(self.conn, self.schema, asynchronous=True):
            return store.renew_leases(self.conn, worker=self.name, held=held, lease=self.lease)

    def release(self, *jobs: int) -> None:
        with store.transaction(self.conn, self.schema):
            store.release_jobs(self.conn, worker=self.name, jobs=jobs)

    def promote(self, limit: int = 100) -> tuple[int, float | None]:
        with store.transaction(self.conn, self.schema, asynchronous=True):
            return store.promote_jobs(self.conn, limit=limit)

    def prepared(self, row: JobRow) -> Call | NewChild | AwaitChild | JobOutcome:
        """Render what a leased job is to do, as this worker sees its execution."""
        leased = Leased(self.cache.of_jobs(self.conn, [row])[row.execution_id], row.job, 0, 0)

        def load(missing: NotLoaded) -> None:
            with store.transaction(self.conn, self.schema, asynchronous=True):
                load_missing(self.conn, leased.execution, missing)

        found = load_until_done(lambda: prepare_job(leased, LIMIT), load)
        while isinstance(found, LongLoop):
            found.collect()
            if found.outcome is not None:
                return found.outcome
            leased.lacks = found.missing
            found = load_until_done(lambda: prepare_job(leased, LIMIT), load)
        return found

    def finished(self, row: JobRow, outcome: JobOutcome) -> Finished:
        """Return an outcome of a job, as this worker sees its execution now."""
        execution = self.cache.of_jobs(self.conn, [row])[row.execution_id]
        return Finished(execution, row.job, outcome, self.name)

    def complete(self, *finished: Finished, room: int = 0, idle: bool = True, waiting: bool = False) -> CommittedBatch:
        return self.committer.commit_batch(self.conn, list(finished), room=room, idle=idle, waiting=waiting)

    def done(self, *rows: JobRow, result: bytes = b"null") -> CommittedBatch:
        """Complete jobs, all with the same result."""
        return self.complete(*(self.finished(row, Done(result)) for row in rows))


@contextmanager
def with_hand(database: Database, name: str = "hand", lease: float = 30.0) -> Iterator[Hand]:
    hand = Hand(database, name, lease)
    try:
        yield hand
    finally:
        hand.conn.close()
