"""The giving half of a worker: outcomes become transactions, and each is ours until its commit is acknowledged.

outcomes ──> batches: all in one, apart whose lock is to be waited for ──> one transaction each
               ^                                                               │
               ├──── the execution is locked: with the next batch  <───────────┤
               └──── Postgres refuses what is to be written: one by one  <─────┘
"""

import logging
import time
from collections.abc import Callable

import psycopg
from psycopg import Connection
from psycopg.errors import IdleInTransactionSessionTimeout, LockNotAvailable, ReadOnlySqlTransaction

from noetl.orchestrator.advance import Advance, Advanced
from noetl.orchestrator.outcomes import Failed
from noetl.orchestrator.part import Broken, Finished
from noetl.orchestrator.prepare import failure
from noetl.worker.holdings import Holdings

log = logging.getLogger("noetl.worker")

PATIENCE = 0.1
"""Seconds an outcome is put off because its execution is locked, before a transaction waits for that."""

CROWD = 8
"""So many outcomes of an execution that others work on, too, are worth waiting for its lock at once."""

PASSING = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.ProgrammingError,
    ReadOnlySqlTransaction,
    IdleInTransactionSessionTimeout,
)


def passes(error: psycopg.Error) -> bool:
    """Tell whether an error is not about what is written: no connection, a schema that is being made anew, a server
    that does not write just now. A limit of Postgres's (class 54) that a value exceeds does not pass."""
    return isinstance(error, PASSING) and (error.sqlstate or "")[:2] != "54"


Batch = tuple[list[Finished], bool]
"""The outcomes of one transaction; True: it waits for its execution's lock."""


class Completing:
    """Writes what a worker holds as finished. `room()` and `idle()` say how much may be continued here, `then` is
    called with what each transaction came to."""

    def __init__(
        self,
        advance: Advance,
        holdings: Holdings,
        room: Callable[[], int],
        idle: Callable[[], bool],
        then: Callable[[Advanced], None],
    ) -> None:
        self._advance = advance
        self._holdings = holdings
        self._room = room
        self._idle = idle
        self._then = then

    def __call__(self, conn: Connection) -> None:
        """Write the outcomes that are there. They stay ours until the commit has been acknowledged.

        Raises what `passes`: the connection is to be opened again, and this to be called again.
        """
        holdings, todo = self._holdings, self.batches()
        holdings.finished = []
        try:
            while todo:
                self._settle_all(conn, *todo[0])
                del todo[0]
        except BaseException:
            known = {id(item) for item in holdings.finished}
            holdings.finished += [item for batch, _ in todo for item in batch if id(item) not in known]
            raise

    def batches(self) -> list[Batch]:
        """Divide the outcomes into transactions.

        All that skip what is locked are one. An execution is waited for, apart, where it has been put off for long;
        or where others work on it, too, as on a large loop, and many outcomes of it are here, or no others: to try
        again and again would cost more, and each time it is tried its lock is likely to be held.
        """
        executions: dict[int, list[Finished]] = {}
        for item in self._holdings.finished:
            executions.setdefault(item.view.execution_id, []).append(item)
        patient_until = time.monotonic() - PATIENCE
        together: list[Finished] = []
        apart: list[Batch] = []
        for items in executions.values():
            worth_it = items[0].view.contended and (len(items) >= CROWD or len(executions) == 1)
            if worth_it or any(item.put_off and item.since < patient_until for item in items):
                apart.append((items, True))
            else:
                together += items
        return [(together, False), *apart] if together else apart

    def _settle_all(self, conn: Connection, batch: list[Finished], waiting: bool) -> None:
        """Settle a batch; where Postgres refuses what one execution writes, only that one fails."""
        try:
            self._settle(conn, batch, waiting)
            return
        except LockNotAvailable:
            self._put_off(batch)
            return
        except psycopg.Error as error:
            if passes(error):
                raise
            log.warning("a batch of %d outcomes was refused (%s): trying one by one", len(batch), error)
        for item in batch:
            self._settle_one(conn, item, waiting)

    def _settle_one(self, conn: Connection, item: Finished, waiting: bool) -> None:
        """Settle an outcome as what it is; else as a failure; where not even that can be written, set its job aside."""
        reason = self._refused(conn, item, waiting)
        if reason is not None:
            message = f"what came of the step cannot be stored: {reason}"
            log.error("execution %s: %s", item.view.execution_id, message)
            item.what, item.output = Failed(failure("not_stored", message)), ""
            reason = self._refused(conn, item, waiting)
        if reason is not None:
            item.what = Broken(RuntimeError(f"nothing that follows can be stored: {reason}"))
            self._settle(conn, [item], waiting)

    def _refused(self, conn: Connection, item: Finished, waiting: bool) -> str | None:
        """Settle one outcome; return why Postgres refuses what it comes to, None where it does not."""
        try:
            self._settle(conn, [item], waiting)
        except psycopg.Error as error:
            if passes(error):
                raise
            return str(error).strip()
        return None

    def _put_off(self, items: list[Finished]) -> None:
        """Keep outcomes whose execution is locked by somebody who has perhaps been stopped: others come first."""
        for item in items:
            item.since, item.put_off = time.monotonic(), True
            item.view.contended = False
        self._holdings.finished += items

    def _settle(self, conn: Connection, items: list[Finished], waiting: bool) -> None:
        advanced = self._advance(conn, items, room=self._room(), idle=self._idle(), waiting=waiting)
        postponed = {id(item) for item in advanced.postponed}
        for item in items:
            if id(item) not in postponed:
                self._holdings.drop(item.job.job_id, item.job.attempts)
        self._holdings.finished += advanced.postponed
        self._then(advanced)
