"""Statements in gathered form: what belongs together leaves in one write and is answered in one read.

psycopg's pipeline hands each statement to the kernel as it comes, and Postgres wakes up for each. Where a worker
completes thousands of steps a second, on processors that it shares with Postgres, those wake-ups cost more than the
statements. Here nothing is sent before somebody asks for a result or the transaction ends.

The worker's own connection is of this kind, and those of the pool. Each is a psycopg connection in every other
respect; what is used of libpq is the part that psycopg documents (`psycopg.pq`).
"""

import re
import select
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

import psycopg
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from noetl.database.rows import Row

_PLACEHOLDER = re.compile(r"%(?:\((\w+)\)s|s|%)")

INT8, FLOAT8, BOOL, UNKNOWN = 20, 701, 16, 0


class GatheredAnswer:
    """What a gathered statement will answer: the part of a cursor that the engine's statements use."""

    __slots__ = ("_batch", "result")

    def __init__(self, batch: "Batch") -> None:
        self._batch = batch
        self.result: PGresult | None = None

    def fetchall(self) -> list[Row]:
        """Return all rows, sending what has been gathered if it has not been sent."""
        if self.result is None:
            self._batch.exchange()
        assert self.result is not None
        return self._batch.rows(self.result)

    def fetchone(self) -> Row | None:
        """Return the first row, None if there is none."""
        rows = self.fetchall()
        return rows[0] if rows else None

    def __iter__(self) -> Iterator[Row]:
        return iter(self.fetchall())


class GatheringConnection(psycopg.Connection[Row]):
    """A connection whose statements inside `gathered` are gathered. For one thread."""

    used_at: float = 0.0  # monotonic seconds when its pool last lent it
    patience: str = "0"  # how long its transactions wait for one lock, as Postgres writes it; "0": as long as it takes
    server: bytes | None = None  # when the server was started that answered first
    _batch: "Batch | None" = None
    _names: dict[tuple[str, tuple[int, ...]], bytes]

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Gather the statements of the block; send what is left at its end."""
        self._batch = batch = Batch(self)
        self.pgconn.enter_pipeline_mode()
        try:
            yield
            batch.exchange()
        except BaseException:
            if not self.closed:
                batch.abandon()
            raise
        finally:
            self._batch = None
            if not self.closed:
                self.pgconn.exit_pipeline_mode()

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        """Execute a statement; inside `gathered`, remember it and return its `GatheredAnswer`."""
        if self._batch is None:
            return super().execute(query, params, **options)
        return self._batch.add(query.decode() if isinstance(query, bytes) else query, params)

    @property
    def names(self) -> dict[tuple[str, tuple[int, ...]], bytes]:
        """The statements that this connection has prepared."""
        if "_names" not in self.__dict__:
            self._names = {}
        return self._names


def check_server(conn: psycopg.Connection[Any], opened: Any) -> None:
    """Make sure that the server which answered `opened`, whose first column is its start, is the one from before.

    A session can survive its server behind a proxy, and what is known of the old one need not hold for the new one.
    Does nothing before the answer is there. Closes the connection and raises `psycopg.OperationalError`.
    """
    if not isinstance(conn, GatheringConnection) or opened.result is None:
        return
    server = opened.result.get_value(0, 0)
    if conn.server is None:
        conn.server = server
    elif server != conn.server:
        conn.close()
        raise psycopg.OperationalError("the session has come to another server, or to one that was started again")


class Batch:
    """The statements of one `gathered` block."""

    def __init__(self, conn: GatheringConnection) -> None:
        self._conn = conn
        self._pgconn = conn.pgconn
        self._transformer = Transformer(conn)
        self._pending: list[GatheredAnswer | tuple[str, tuple[int, ...], bytes]] = []

    def add(self, query: str, params: Mapping[str, object] | Sequence[object] | None) -> GatheredAnswer:
        """Gather a statement, preparing it if this connection never has."""
        text, order = positional(query)
        given = cast("Mapping[object, object]", params)  # a sequence answers to the numbers in `order` as well
        values = [] if params is None else [given[key] for key in order]
        types = tuple([_OIDS.get(type(value), UNKNOWN) for value in values])
        names = self._conn.names
        name = names.get((query, types))
        if name is None:
            name = f"g{len(names)}_{len(self._pending)}".encode()
            self._pgconn.send_prepare(name, text, types)
            self._pending.append((query, types, name))
        self._pgconn.send_query_prepared(name, [_text(value) for value in values])
        answer = GatheredAnswer(self)
        self._pending.append(answer)
        return answer

    def exchange(self) -> None:
        """Send what has been gathered and read all answers: one round trip. Raises the first error among them."""
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        self._pgconn.pipeline_sync()
        self._flush()
        failure: PGresult | None = None
        for one in pending:
            result = self._result()
            while self._result_or_none() is not None:
                continue  # the end of this statement's results
            if result.status in (ExecStatus.FATAL_ERROR, ExecStatus.PIPELINE_ABORTED):
                if failure is None:
                    failure = result
            elif isinstance(one, GatheredAnswer):
                one.result = result
            else:
                query, types, name = one
                self._conn.names[query, types] = name
        self._result()  # of the sync
        if failure is not None:
            raise error_from_result(failure, encoding=self._conn.info.encoding)

    def abandon(self) -> None:
        """Bring the connection out of a block that an exception has left: send, and drop what it answers."""
        try:
            self.exchange()
        except psycopg.Error:
            return  # the exception that is on its way says more

    def rows(self, result: PGresult) -> list[Row]:
        """Return a result's rows as Python values."""
        if not result.ntuples:
            return []
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, result.ntuples, tuple)

    def _flush(self) -> None:
        pgconn = self._pgconn
        if not pgconn.flush():
            return
        ready = select.poll()  # unlike `select`, it knows descriptors beyond 1023: a worker has some for each runner
        ready.register(pgconn.socket, select.POLLIN | select.POLLOUT)
        while pgconn.flush():  # the kernel takes no more: Postgres may be waiting for us to read
            if any(event & ~select.POLLOUT for _, event in ready.poll()):
                pgconn.consume_input()

    def _result(self) -> PGresult:
        result = self._result_or_none()
        if result is None:
            raise psycopg.OperationalError("the connection was lost while a result was awaited")
        return result

    def _result_or_none(self) -> PGresult | None:
        pgconn = self._pgconn
        if pgconn.is_busy():
            ready = select.poll()
            ready.register(pgconn.socket, select.POLLIN)
            while pgconn.is_busy():
                ready.poll()
                pgconn.consume_input()
        return pgconn.get_result()


_OIDS = {int: INT8, float: FLOAT8, bool: BOOL}


def _text(value: object) -> bytes | None:
    """Return a parameter in Postgres's text form.

    Raises `DataError` for NUL, at which libpq would end the text without a word, `TypeError` for what has no such form.
    """
    if value is None:
        return None
    if value is True or value is False:
        return b"t" if value else b"f"
    if isinstance(value, str):
        if "\0" in value:
            raise psycopg.DataError("a parameter holds a NUL character, which Postgres cannot store")
        return value.encode()
    if isinstance(value, int | float):
        return str(value).encode()
    raise TypeError(f"a {type(value).__name__} is no parameter of a gathered statement: give text or a number")


@cache
def positional(query: str) -> tuple[bytes, tuple[str | int, ...]]:
    """Return a statement with `$1, $2 ...` for its placeholders, and which parameter each of them is."""
    order: list[str | int] = []

    def number(placeholder: re.Match[str]) -> str:
        if placeholder[0] == "%%":
            return "%"
        key: str | int = placeholder[1] or len(order)
        if key not in order:
            order.append(key)
        return f"${order.index(key) + 1}"

    text = _PLACEHOLDER.sub(number, query)
    return text.encode(), tuple(order)


OPTIONS: Mapping[str, Any] = {"autocommit": True, "prepare_threshold": None}
"""How such a connection is opened. psycopg prepares nothing on it: after a ROLLBACK it would forget what it has
prepared by DEALLOCATE ALL, and ours with it."""


def connect(conninfo: str) -> GatheringConnection:
    """Open a connection. Raises `psycopg.OperationalError`."""
    return GatheringConnection.connect(conninfo, **OPTIONS)
