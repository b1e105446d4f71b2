"""A pool of sessions that notices soon when the database has gone, however it went."""

import select
import time

import psycopg
from psycopg.pq import ExecStatus
from psycopg_pool import ConnectionPool

from noetl.database.connection.gathered import OPTIONS, GatheringConnection

ANSWERS_WITHIN = 2.0
"""Seconds for a session to show that it is alive. One whose server is frozen, or vanished from the network, would keep
a request for as long as the kernel hopes."""

TRUSTED = 1.0
"""Seconds since a session was last lent for which it is lent again without being asked: while work comes in, none costs
a round trip."""

WAIT_AGAIN = 0.3
"""Seconds to wait for a session where the last wait was in vain: time to connect anew, and a crowd of requests does not
queue up behind waits that would all end the same."""


LOCK_PATIENCE = "5s"
"""How long a request waits for one lock: it is answered before whoever asks gives up, and says who holds the lock."""


def make_pool(conninfo: str, *, min: int, max: int, timeout: float, name: str) -> ConnectionPool[GatheringConnection]:
    """Return an open pool of sessions in autocommit mode. `timeout` is the wait for one, in seconds."""
    return ConnectionPool(
        conninfo,
        min_size=min,
        max_size=max,
        timeout=timeout,
        reconnect_timeout=2.0,  # then whoever asks next begins anew, without ever longer pauses
        open=True,
        connection_class=GatheringConnection,
        kwargs=dict(OPTIONS),
        configure=_limit_patience,
        check=check_session,  # a session may have died with a restart
        name=name,
    )


def _limit_patience(conn: GatheringConnection) -> None:
    conn.patience = LOCK_PATIENCE


def check_session(conn: GatheringConnection) -> None:
    """Make sure that a session is alive; close it and raise `psycopg.OperationalError` if it does not answer.

    An idle one has something to read only if it was ended, or is told something.
    """
    readable = select.poll()
    readable.register(conn.fileno(), select.POLLIN)
    since, conn.used_at = conn.used_at, time.monotonic()
    if conn.used_at - since < TRUSTED and not readable.poll(0):
        return
    try:
        _ask(conn.pgconn, readable)
    except psycopg.OperationalError:
        conn.close()
        raise


def _ask(pgconn: psycopg.pq.abc.PGconn, readable: select.poll) -> None:
    pgconn.send_query(b"")
    pgconn.flush()
    while pgconn.is_busy():
        if not readable.poll(ANSWERS_WITHIN * 1000):
            raise psycopg.OperationalError("the session does not answer")
        pgconn.consume_input()
    while (result := pgconn.get_result()) is not None:
        if result.status != ExecStatus.EMPTY_QUERY:
            raise psycopg.OperationalError("the session has ended")
