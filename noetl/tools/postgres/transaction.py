"""A call's transaction: connection, time, exactly-once, and what is done when the connection is lost.

    take a session -> BEGIN, limits, is there an inbox? -> key -> job -> result beside the key -> COMMIT -> give it back

A connection that is lost before anything of the playbook's was sent is replaced. Where the inbox stands, the whole is
run again after any loss, also one during COMMIT: if that came through, the key says so.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Final

import psycopg
import psycopg.errors as pg
from psycopg.pq import TransactionStatus

from noetl.calls import Call
from noetl.errors import TooLarge, ValueNotJson
from noetl.outcomes import Done, Failed, error_value
from noetl.tools.base import storable
from noetl.tools.masking import mask_of
from noetl.tools.postgres import errors as postgres_errors
from noetl.tools.postgres import exactly_once as postgres_once
from noetl.tools.postgres.login import Login
from noetl.tools.postgres.pool import NoRoom, Pool
from noetl.tools.postgres.session import CopyRefused, Session
from noetl.tools.sql.bind import Invalid

PAUSES: Final = (0.05, 0.2, 0.5, 1.0, 2.0, 4.0)
"""Seconds before the next run after a lost connection. A server that restarts is back meanwhile."""

CANCEL_SECONDS: Final = 5.0
_ABANDONED: Final = "60s"  # our own pauses between two statements are short: who makes a longer one is gone

Job = Callable[[Session], bytes]
"""What is done in the transaction; its result is JSON text."""


@dataclass(slots=True)
class Run:
    """A call that is being carried out. `texts` are its commands, as far as errors point into them."""

    call: Call
    login: Login
    once: bool
    deadline: float | None  # on the monotonic clock
    isolation: str = ""  # the level of the transaction, where the step names one
    resets: bool = False  # whether the job may have changed its role
    texts: list[str] = field(default_factory=list)
    session: Session | None = None
    exact: bool = False  # the inbox stands: running it again does nothing twice
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def over(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline

    @property
    def begin(self) -> str:
        return f"BEGIN ISOLATION LEVEL {self.isolation}" if self.isolation else "BEGIN"

    def settings(self) -> str:
        """Return the settings that the SQL runs under, as statements."""
        scope = "SET LOCAL" if self.once else "SET"
        given = {
            "DateStyle": "ISO",
            "IntervalStyle": "iso_8601",
            "bytea_output": "hex",
            "extra_float_digits": "1",
            "standard_conforming_strings": "on",
            "tcp_keepalives_idle": "10",
            "tcp_keepalives_interval": "5",
            "tcp_keepalives_count": "3",
            "idle_in_transaction_session_timeout": _ABANDONED,
        }
        if self.session is not None and self.session.able.watched:
            given |= {"client_connection_check_interval": "2s", "log_parameter_max_length_on_error": "0"}
        if self.session is not None and self.session.able.quiet:
            given["log_min_error_statement"] = "panic"
        if self.deadline is not None:
            given["statement_timeout"] = f"{max(1, int((self.deadline - time.monotonic()) * 1000))}ms"
        return "; ".join(f"{scope} {name} = '{value}'" for name, value in given.items())


class Work:
    """Runs the jobs of calls. `run` and `cancel` may be called from any thread."""

    def __init__(self, secret: bytes | None = None) -> None:
        """`secret` seals the keys of the inbox; all workers of a database have the same."""
        self._secret = secret
        self._pool = Pool()
        self._lock = threading.Lock()
        self._runs: dict[int, Run] = {}  # by the identity of the call

    def run(
        self, call: Call, login: Login, once: bool, job: Job, *, isolation: str, texts: list[str], resets: bool
    ) -> Done | Failed:
        """Run a job in one transaction, or, without `once`, outside of any. Errors: `validation`, `postgres`,
        `timeout`, `cancelled`, `too_large`, `not_json`."""
        seconds = None if call.timeout is None or call.timeout == inf else call.timeout
        run = Run(call, login, once, None if seconds is None else time.monotonic() + seconds, isolation, resets, texts)
        with self._known(call, run):
            for pause in (*PAUSES, None):
                answer = self._attempt(run, job, pause is None)
                if answer is not None:
                    return answer
                run.cancelled.wait(pause)
        raise AssertionError("the last attempt always answers")

    def cancel(self, call: Call) -> None:
        """End a call that runs: its statement is cancelled on the server, its transaction rolled back."""
        with self._lock:
            run = self._runs.get(id(call))
            if run is None:
                return
            run.cancelled.set()
            session = run.session
        if session is not None:  # its connection is not given to another call: see `_give_back`
            try:
                session.conn.cancel_safe(timeout=CANCEL_SECONDS)
            except psycopg.Error:
                session.conn.close()  # the server does not answer; it will find out

    def close(self) -> None:
        """Close the connections that are kept."""
        self._pool.close()

    @contextmanager
    def _known(self, call: Call, run: Run) -> Iterator[None]:
        with self._lock:
            self._runs[id(call)] = run
        try:
            yield
        finally:
            with self._lock:
                del self._runs[id(call)]

    def _attempt(self, run: Run, job: Job, last: bool) -> Done | Failed | None:
        """Return what came of the job; None: the connection was lost and it is to be run again."""
        where, login = run.call.where, run.login
        fresh = run.exact or run.session is not None
        try:
            session = self._pool.take(login, run.deadline, run.cancelled.is_set, fresh=fresh)
        except NoRoom:
            return self._late(run) or Failed(error_value("cancelled", f"{where}: cancelled before it began"))
        except psycopg.Error as failure:
            if run.exact and not (last or run.over or run.cancelled.is_set()):
                return None
            return postgres_errors.of_connect(where, login, failure)
        with self._lock:
            run.session = session
        clean = False
        try:
            result = self._transaction(run, session, job)
            clean = True
            return Done(result, session.output())
        except psycopg.Error as failure:
            again = run.exact or session.untouched
            if session.lost(failure) and again and not (last or run.over or run.cancelled.is_set()):
                return None
            failed = self._failed(run, session, failure)
            clean = self._rolled_back(session)
            return failed
        except Invalid as failure:
            clean = self._rolled_back(session)
            return Failed(error_value("validation", storable(login.hide(f"{where}: {failure}"))), session.output())
        except CopyRefused:
            text = f"{where}: COPY from STDIN or to STDOUT has nothing at its other end here: use INSERT or SELECT"
            return Failed(error_value("validation", text), session.output())
        except TooLarge as failure:
            return Failed(error_value("too_large", storable(f"{where}: {failure}")), session.output())
        except (ValueNotJson, UnicodeDecodeError) as failure:
            return Failed(error_value("not_json", storable(f"{where}: {failure}")), session.output())
        finally:
            self._give_back(run, session, clean)

    def _give_back(self, run: Run, session: Session, clean: bool) -> None:
        """Part with the session. One that is being cancelled is closed: the request may still be on its way."""
        with self._lock:
            keep = clean and not run.cancelled.is_set()
            run.session = None if keep else session
        session.end()
        self._pool.put(session, keep=keep)

    def _rolled_back(self, session: Session) -> bool:
        try:
            session.rollback()
        except psycopg.Error:
            return False
        return True

    # ---- the transaction -----------------------------------------------------------------------------------------

    def _transaction(self, run: Run, session: Session, job: Job) -> bytes:
        if not run.once:
            session.simple(run.settings())
            return self._outside(session, job)
        inbox, key = self._begin(run, session), postgres_once.sealed(run.call.key, self._secret)
        if inbox is not None:
            stored = postgres_once.enter(session, inbox, key, lambda: self._begin_again(run, session))
            if stored is not None:
                session.simple("ROLLBACK")
                return stored.result
        result = mask_of(run.call.secrets).json(job(session))  # the inbox keeps it, too
        session.command = None
        if session.transaction != TransactionStatus.INTRANS:
            raise Invalid("the SQL has ended the step's transaction: leave COMMIT and ROLLBACK to it")
        if inbox is not None:
            if run.resets:
                session.simple("RESET SESSION AUTHORIZATION; RESET ROLE")
            postgres_once.leave(session, inbox, key, run.call, result)
        session.simple("COMMIT")
        return result

    def _begin(self, run: Run, session: Session) -> postgres_once.Inbox | None:
        """Open the transaction; return the inbox, if there is one. Raises `Invalid` where it may not be used."""
        found = session.simple(f"{run.begin}; {run.settings()}; {postgres_once.FIND}")[-1]
        rows = [tuple(found.get_value(row, column) for column in range(3)) for row in range(found.ntuples)]
        inbox = postgres_once.chosen(rows)
        if inbox is None:
            return None
        if not inbox.usable:
            needed = "USAGE on that schema" if inbox.functions else "SELECT, INSERT and UPDATE on that table"
            raise Invalid(
                f"{run.login.where} has the inbox {inbox.name}, which this login may not use: GRANT it {needed}, or"
                " give once: false"
            )
        run.exact = True
        return inbox

    def _begin_again(self, run: Run, session: Session) -> None:
        session.rollback()
        session.simple(f"{run.begin}; {run.settings()}")

    def _outside(self, session: Session, job: Job) -> bytes:
        result = job(session)
        session.command = None
        if session.transaction != TransactionStatus.IDLE:
            raise Invalid("the SQL leaves a transaction open, which is rolled back: end it with COMMIT")
        return result

    # ---- failures ------------------------------------------------------------------------------------------------

    def _failed(self, run: Run, session: Session, failure: psycopg.Error) -> Failed:
        if run.cancelled.is_set():
            return Failed(error_value("cancelled", f"{run.call.where}: cancelled while it ran"), session.output())
        if isinstance(failure, pg.QueryCanceled):
            late = self._late(run, session)
            if late is not None:
                return late
        number = session.command
        text = run.texts[number] if number is not None and number < len(run.texts) else None
        failed = postgres_errors.of_command(run.call.where, run.login, failure, number, text, session.place)
        return Failed(failed.error, session.output())

    def _late(self, run: Run, session: Session | None = None) -> Failed | None:
        """Return the error of a call whose time is over, None if it is not."""
        if run.deadline is None or time.monotonic() < run.deadline - 0.05:
            return None
        what = "no connection was free"
        if session is not None:
            what = "another run of this step has not ended" if session.untouched else _ran_on(session.command)
        text = f"{run.call.where}: {what} until its timeout of {run.call.timeout:g} s"
        output = "" if session is None else session.output()
        return Failed(error_value("timeout", text, retryable=True), output)


def _ran_on(command: int | None) -> str:
    return "the SQL ran on" if command is None else f"command_{command} ran on"
