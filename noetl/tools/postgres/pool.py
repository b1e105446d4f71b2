"""Connections of the postgres tool, kept between calls: a few per login, one call at a time, reset after each."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus

from noetl.tools.postgres import shared_login as postgres_own
from noetl.tools.postgres.login import CONNECT_SECONDS, PostgresLogin
from noetl.tools.postgres.session import Able, Session
from noetl.tools.postgres.values import make_adapters

MAX_CONNECTIONS: Final = 10
"""Connections per login in one process; further calls wait."""

IDLE_SECONDS: Final = 30.0
"""How long an idle connection is kept."""

_LOOK_INTERVAL_SECONDS: Final = 0.2  # between two looks whether a waiting call was cancelled
_QUIET_SQL: Final = "SET log_min_error_statement = 'panic'; RESET log_min_error_statement"


class NoRoom(Exception):
    """All connections of a login were in use until the deadline."""


@dataclass(slots=True)
class _Shelf:
    """The connections of one login."""

    idle: list[tuple[float, "psycopg.Connection[Any]", Able]] = field(default_factory=list)  # since when
    lent: int = 0


class Pool:
    """A pool of connections per login. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._adapters = make_adapters()
        self._shelves: dict[PostgresLogin, _Shelf] = {}
        self._changed = threading.Condition()
        self._sweeper: threading.Timer | None = None
        self._closed = False

    def take(
        self, login: PostgresLogin, deadline: float | None, given_up: Callable[[], bool], *, fresh: bool
    ) -> Session:
        """Return a session of a login, by `deadline` on the monotonic clock. `fresh`: the kept ones are closed
        first, not trusted. Raises `NoRoom`, and `psycopg.Error` where no connection can be had."""
        with self._changed:
            shelf = self._shelves.setdefault(login, _Shelf())
            while shelf.lent >= MAX_CONNECTIONS:
                if given_up() or (deadline is not None and time.monotonic() >= deadline):
                    raise NoRoom
                self._changed.wait(_LOOK_INTERVAL_SECONDS)
            shelf.lent += 1
            stale = [conn for _, conn, _ in shelf.idle] if fresh else []
            shelf.idle = [] if fresh else shelf.idle
            kept = shelf.idle.pop() if shelf.idle else None
        try:
            for conn in stale:
                conn.close()
            if kept is not None:
                return Session(kept[1], login, kept[2])
            return self._connect(login, deadline)
        except BaseException:
            self._returned(login, None)
            raise

    def put(self, session: Session, *, keep: bool) -> None:
        """Take a session back. It is closed unless it is to be kept and can be reset."""
        conn = session.conn
        if keep and self._reset(session):
            self._returned(session.login, (time.monotonic(), conn, session.able))
            return
        conn.close()
        self._returned(session.login, None)

    def close(self) -> None:
        """Close the kept connections; lent ones are closed when they come back."""
        with self._changed:
            self._closed = True
            if self._sweeper is not None:
                self._sweeper.cancel()
        self._sweep()

    def _connect(self, login: PostgresLogin, deadline: float | None) -> Session:
        conninfo = login.conninfo
        if deadline is not None and (left := max(1, ceil(deadline - time.monotonic()))) < CONNECT_SECONDS:
            conninfo = make_conninfo(conninfo, connect_timeout=left)
        conn = self._open(conninfo, login)
        able = Able(
            watched=_works(conn, "SET client_connection_check_interval = '2s'"),  # from 14, where the system can tell
            quiet=_works(conn, _QUIET_SQL),
        )
        return Session(conn, login, able)

    def _open(self, conninfo: str, login: PostgresLogin) -> "psycopg.Connection[Any]":
        """Open a connection. One of the shared login is free of settings that a playbook made."""
        for mended in (not login.own, True):
            conn: psycopg.Connection[Any] | None = None
            try:
                conn = psycopg.connect(
                    conninfo, autocommit=True, prepare_threshold=None, context=_Context(self._adapters)
                )
                if not login.own or not postgres_own.is_changed(conn):
                    return conn
            except psycopg.Error as failure:
                if mended or (conn is None and "FATAL" not in str(failure)):
                    raise  # where nobody answers no setting is at fault
            if conn is not None:
                conn.close()
            postgres_own.mend(login)
        raise psycopg.OperationalError("the settings of this login's role are changed again and again")

    def _reset(self, session: Session) -> bool:
        """Undo what a call may have left in the session: settings, roles, temporary tables, locks."""
        if session.conn.closed or session.transaction != TransactionStatus.IDLE:
            return False
        try:
            session.simple("DISCARD ALL")
        except psycopg.Error:
            return False
        return True

    def _returned(self, login: PostgresLogin, kept: "tuple[float, psycopg.Connection[Any], Able] | None") -> None:
        with self._changed:
            shelf = self._shelves[login]
            shelf.lent -= 1
            if kept is not None:
                shelf.idle.append(kept)
            elif not shelf.lent and not shelf.idle:
                del self._shelves[login]
            if kept is not None and self._sweeper is None and not self._closed:
                self._sweep_later()
            self._changed.notify()
        if self._closed:
            self._sweep()

    def _sweep_later(self) -> None:
        self._sweeper = threading.Timer(IDLE_SECONDS / 2, self._sweep)
        self._sweeper.daemon = True
        self._sweeper.start()

    def _sweep(self) -> None:
        """Close connections that have been idle for long; at the end all of them."""
        with self._changed:
            young = float("inf") if self._closed else time.monotonic() - IDLE_SECONDS
            old = [conn for shelf in self._shelves.values() for since, conn, _ in shelf.idle if since < young]
            for login, shelf in list(self._shelves.items()):
                shelf.idle = [kept for kept in shelf.idle if kept[0] >= young]
                if not shelf.idle and not shelf.lent:
                    del self._shelves[login]
            self._sweeper = None
            if not self._closed and any(shelf.idle for shelf in self._shelves.values()):
                self._sweep_later()
        for conn in old:
            conn.close()


def _works(conn: "psycopg.Connection[Any]", text: str) -> bool:
    """Tell whether a session may run a statement. Raises `psycopg.Error` where the connection is lost."""
    try:
        conn.execute(text.encode())
    except psycopg.Error:
        if conn.closed:
            raise
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Context:
    """The source of a new connection's adapters for psycopg."""

    adapters: Any
    connection: None = None
