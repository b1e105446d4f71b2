"""A call's transaction: connection, time limit, exactly-once, and another attempt after a lost connection.

    take a session -> BEGIN, limits, is there an inbox? -> key -> job -> result beside the key -> COMMIT -> give it back

A connection that is lost before anything of the playbook's was sent is replaced. Where there is an inbox, all is run
again after any loss, also one during COMMIT: the key tells whether that succeeded.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Final

import psycopg
import psycopg.errors as pg
from psycopg.pq import TransactionStatus

from noetl.calls import Call
from noetl.errors import TooLarge, ValueNotJson
from noetl.outcomes import Done, Failed
from noetl.tools.base import InvalidCall, failed_at
from noetl.tools.masking import mask_of
from noetl.tools.postgres import errors as postgres_errors
from noetl.tools.postgres import exactly_once as postgres_once
from noetl.tools.postgres.login import PostgresLogin
from noetl.tools.postgres.pool import NoRoom, Pool
from noetl.tools.postgres.session import CopyRefused, Session

RETRY_PAUSES_SECONDS: Final = (0.05, 0.2, 0.5, 1.0, 2.0, 4.0)
"""Pauses before the next attempt after a lost connection. A server that restarts is back meanwhile."""

CANCEL_SECONDS: Final = 5.0
_IDLE_LIMIT: Final = "60s"  # our own pauses between two statements are short: a longer one means that we are gone

Job = Callable[[Session], bytes]
"""The work of a transaction; it returns the result as JSON text."""


@dataclass(slots=True)
class TransactionRun:
    """A call that is being carried out. `texts` are its commands, for errors that point into them."""

    call: Call
    login: PostgresLogin
    job: Job
    once: bool
    deadline: float | None  # on the monotonic clock
    isolation: str  # the level of the transaction, empty where the step names none
    resets: bool  # whether the job may have changed its role
    texts: Sequence[str]
    session: Session | None = None
    exact: bool = False  # the inbox stands: running it again does nothing twice
    cancelled: threading.Event = field(default_factory=threading.Event)

    def may_continue(self, last: bool) -> bool:
        """Tell whether another attempt may follow this one."""
        over = self.deadline is not None and time.monotonic() >= self.deadline
        return not (last or over or self.cancelled.is_set())

    @property
    def begin(self) -> str:
        return f"BEGIN ISOLATION LEVEL {self.isolation}" if self.isolation else "BEGIN"

    def settings(self) -> str:
        """Return the settings that the SQL runs under, as statements."""
        scope = "SET LOCAL" if self.once else "SET"
        values = {
            "DateStyle": "ISO",
            "IntervalStyle": "iso_8601",
            "bytea_output": "hex",
            "extra_float_digits": "1",
            "standard_conforming_strings": "on",
            "tcp_keepalives_idle": "10",
            "tcp_keepalives_interval": "5",
            "tcp_keepalives_count": "3",
            "idle_in_transaction_session_timeout": _IDLE_LIMIT,
        }
        if self.session is not None and self.session.able.watched:
            values |= {"client_connection_check_interval": "2s", "log_parameter_max_length_on_error": "0"}
        if self.session is not None and self.session.able.quiet:
            values["log_min_error_statement"] = "panic"
        if self.deadline is not None:
            values["statement_timeout"] = f"{max(1, int((self.deadline - time.monotonic()) * 1000))}ms"
        return "; ".join(f"{scope} {name} = '{value}'" for name, value in values.items())


class Transactions:
    """The transactions of all calls of the process. `run` and `cancel` may be called from any thread."""

    def __init__(self, secret: bytes | None = None) -> None:
        """`secret` seals the keys of the inbox; all workers of a database have the same."""
        self._secret = secret
        self._pool = Pool()
        self._lock = threading.Lock()
        self._runs: dict[int, TransactionRun] = {}  # by the identity of the call

    def run(
        self,
        call: Call,
        login: PostgresLogin,
        job: Job,
        *,
        once: bool = True,
        isolation: str = "",
        texts: Sequence[str] = (),
        resets: bool = False,
    ) -> Done | Failed:
        """Run a job in one transaction, or, without `once`, outside of any. Errors: `validation`, `postgres`,
        `timeout`, `cancelled`, `too_large`, `not_json`."""
        seconds = None if call.timeout is None or call.timeout == inf else call.timeout
        run = TransactionRun(
            call=call,
            login=login,
            job=job,
            once=once,
            deadline=None if seconds is None else time.monotonic() + seconds,
            isolation=isolation,
            resets=resets,
            texts=texts,
        )
        with self._known(run):
            for pause in (*RETRY_PAUSES_SECONDS, None):
                outcome = self._attempt(run, last=pause is None)
                if outcome is not None:
                    return outcome
                run.cancelled.wait(pause)
        raise AssertionError("the last attempt always has an outcome")

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
    def _known(self, run: TransactionRun) -> Iterator[None]:
        with self._lock:
            self._runs[id(run.call)] = run
        try:
            yield
        finally:
            with self._lock:
                del self._runs[id(run.call)]

    def _attempt(self, run: TransactionRun, *, last: bool) -> Done | Failed | None:
        """Return the outcome of one attempt; None where the connection was lost and another attempt follows."""
        session = self._session(run, last)
        if session is None or isinstance(session, Failed):
            return session
        where, clean = run.call.where, False
        try:
            result = self._transaction(run, session)
            clean = True
            return Done(result, session.output())
        except psycopg.Error as failure:
            if session.lost(failure) and (run.exact or session.untouched) and run.may_continue(last):
                return None
            failed = self._failed(run, session, failure)
            clean = self._rolled_back(session)
            return failed
        except InvalidCall as failure:
            clean = self._rolled_back(session)
            return failed_at(where, "validation", run.login.hide(str(failure)), output=session.output())
        except CopyRefused as failure:
            return failed_at(where, "validation", failure, output=session.output())
        except TooLarge as failure:
            return failed_at(where, "too_large", failure, output=session.output())
        except (ValueNotJson, UnicodeDecodeError) as failure:
            return failed_at(where, "not_json", failure, output=session.output())
        finally:
            self._give_back(run, session, clean)

    def _session(self, run: TransactionRun, last: bool) -> Session | Failed | None:
        """Take a session for an attempt; return the failure where none can be had, None where another attempt may."""
        fresh = run.exact or run.session is not None
        try:
            session = self._pool.take(run.login, run.deadline, run.cancelled.is_set, fresh=fresh)
        except NoRoom:
            return self._late(run) or failed_at(run.call.where, "cancelled", "cancelled before it began")
        except psycopg.Error as failure:
            if run.exact and run.may_continue(last):
                return None
            return postgres_errors.of_connect(run.call.where, run.login, failure)
        with self._lock:
            run.session = session
        return session

    def _give_back(self, run: TransactionRun, session: Session, clean: bool) -> None:
        """Give the session back. One that is being cancelled is closed: the request may still be on its way."""
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

    def _transaction(self, run: TransactionRun, session: Session) -> bytes:
        if not run.once:
            session.simple(run.settings())
            return self._outside(session, run.job)
        inbox, key = self._begin(run, session), postgres_once.sealed(run.call.key, self._secret)
        if inbox is not None:
            stored = postgres_once.enter(session, inbox, key, lambda: self._begin_again(run, session))
            if stored is not None:
                session.simple("ROLLBACK")
                return stored.result
        result = mask_of(run.call.secrets).json(run.job(session))  # the inbox keeps it, too
        session.command = None
        if session.transaction != TransactionStatus.INTRANS:
            raise InvalidCall("the SQL has ended the step's transaction: leave COMMIT and ROLLBACK to it")
        if inbox is not None:
            if run.resets:
                session.simple("RESET SESSION AUTHORIZATION; RESET ROLE")
            postgres_once.leave(session, inbox, key, run.call, result)
        session.simple("COMMIT")
        return result

    def _begin(self, run: TransactionRun, session: Session) -> postgres_once.Inbox | None:
        """Open the transaction; return the inbox, if there is one. Raises `InvalidCall` where it may not be used."""
        looked_up = session.simple(f"{run.begin}; {run.settings()}; {postgres_once.FIND_INBOX}")[-1]
        rows = [tuple(looked_up.get_value(row, column) for column in range(3)) for row in range(looked_up.ntuples)]
        inbox = postgres_once.chosen(rows)
        if inbox is None:
            return None
        if not inbox.usable:
            needed = "USAGE on that schema" if inbox.functions else "SELECT, INSERT and UPDATE on that table"
            raise InvalidCall(
                f"{run.login.where} has the inbox {inbox.name}, which this login may not use: GRANT it {needed}, or"
                " give once: false"
            )
        run.exact = True
        return inbox

    def _begin_again(self, run: TransactionRun, session: Session) -> None:
        session.rollback()
        session.simple(f"{run.begin}; {run.settings()}")

    def _outside(self, session: Session, job: Job) -> bytes:
        result = job(session)
        session.command = None
        if session.transaction != TransactionStatus.IDLE:
            raise InvalidCall("the SQL leaves a transaction open, which is rolled back: end it with COMMIT")
        return result

    # ---- failures ------------------------------------------------------------------------------------------------

    def _failed(self, run: TransactionRun, session: Session, failure: psycopg.Error) -> Failed:
        if run.cancelled.is_set():
            return failed_at(run.call.where, "cancelled", "cancelled while it ran", output=session.output())
        if isinstance(failure, pg.QueryCanceled):
            late = self._late(run, session)
            if late is not None:
                return late
        number = session.command
        text = run.texts[number] if number is not None and number < len(run.texts) else None
        command = postgres_errors.FailedCommand(number, text, session.place)
        failed = postgres_errors.of_command(run.call.where, run.login, failure, command)
        return Failed(failed.error, session.output())

    def _late(self, run: TransactionRun, session: Session | None = None) -> Failed | None:
        """Return the error of a call whose time is over, None if it is not."""
        if run.deadline is None or time.monotonic() < run.deadline - 0.05:
            return None
        reason = "no connection was free"
        if session is not None:
            reason = "another run of this step has not ended" if session.untouched else _ran_on(session.command)
        problem = f"{reason} until its timeout of {run.call.timeout:g} s"
        return failed_at(
            run.call.where, "timeout", problem, retryable=True, output="" if session is None else session.output()
        )


def _ran_on(command: int | None) -> str:
    return "the SQL ran on" if command is None else f"command_{command} ran on"
