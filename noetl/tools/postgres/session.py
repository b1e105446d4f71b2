"""Sessions of the postgres tool: a connection while one call has it, its statements and notices."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
import psycopg.errors as pg
from psycopg import capabilities, generators
from psycopg.abc import Transformer as AbstractTransformer
from psycopg.adapt import Transformer
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from noetl.rules.text import storable
from noetl.tools.base import InvalidCall
from noetl.tools.postgres import types as postgres_types
from noetl.tools.postgres.login import PostgresLogin
from noetl.tools.postgres.values import Value, parameters
from noetl.tools.sql.bind import Bound
from noetl.tools.sql.values import Results

CHUNK_ROWS: Final = 20
"""Rows that arrive at once, before the limit is checked."""

MAX_VALUES: Final = 65535
"""Values of one command: their number has two bytes in Postgres' protocol."""

OUTPUT_LIMIT_CHARACTERS: Final = 64 * 1024
_ROW_STATUSES: Final = frozenset({ExecStatus.SINGLE_TUPLE, ExecStatus.TUPLES_CHUNK, ExecStatus.TUPLES_OK})
_COPY_STATUSES: Final = frozenset({ExecStatus.COPY_IN, ExecStatus.COPY_OUT, ExecStatus.COPY_BOTH})
_LOST_STATES: Final = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03"})


class CopyRefused(Exception):
    """A COPY has nothing at its other end."""

    def __init__(self) -> None:
        super().__init__("COPY from STDIN or to STDOUT has nothing at its other end here: use INSERT or SELECT")


@dataclass(frozen=True, slots=True)
class Able:
    """The abilities of a server: to notice by itself that a client is gone, to keep failed SQL out of its log."""

    watched: bool
    quiet: bool


class Session:
    """A connection and the progress of its call. It belongs to one thread; `cancel` may be called from any.

    `untouched`: nothing of the playbook's has been sent yet. `command` counts from 0, None between commands.
    """

    def __init__(self, conn: "psycopg.Connection[Any]", login: PostgresLogin, able: Able) -> None:
        self.conn = conn
        self.login = login
        self.able = able
        self.untouched = True
        self.command: int | None = None
        self.place: tuple[int, str] | None = None  # the row and the column of a save's data that was refused
        self._notices: list[str] = []
        self._noted = 0
        conn.add_notice_handler(self._notice)

    # ---- statements ----------------------------------------------------------------------------------------------

    def simple(self, text: str) -> list[PGresult]:
        """Run statements of the tool, several in one message; return their results. Raises `psycopg.Error`."""
        self.conn.pgconn.send_query(text.encode())
        results: list[PGresult] = self.conn.wait(generators.execute(self.conn.pgconn))
        for result in results:
            self._check(result)
        return results

    def query(self, text: str, *values: Value) -> list[tuple[Any, ...]]:
        """Run one statement of the tool; return its rows. Raises `psycopg.Error`."""
        self._send(text.encode(), values)
        rows: list[tuple[Any, ...]] = []
        for result in self.conn.wait(generators.execute(self.conn.pgconn)):
            self._check(result)
            rows += self._load(Transformer(self.conn), result)
        return rows

    def change(self, text: str, *values: Value) -> int:
        """Run one statement that returns no rows; return how many it changed. Raises `psycopg.Error`."""
        self._send(text.encode(), values)
        count = 0
        for result in self.conn.wait(generators.execute(self.conn.pgconn)):
            self._check(result)
            count += result.command_tuples or 0
        return count

    def execute(self, command: Bound, results: Results) -> None:
        """Run one command of a playbook and add its rows as they arrive.

        Raises `psycopg.Error`, `InvalidCall`, `CopyRefused`; `TooLarge` and `ValueNotJson`, after which the connection
        is still busy and must be closed.
        """
        if command.values is not None and len(command.values) > MAX_VALUES:
            raise InvalidCall(
                f"the command has {len(command.values):,} values, and Postgres takes {MAX_VALUES:,}: give a list as"
                " one value (= ANY($1), unnest($1::int[])), or store rows with a save step"
            )
        self.untouched = False
        query = command.text.encode()
        self._send(query, parameters(self.conn, query, command.values or ()))
        if capabilities.has_stream_chunked():
            self.conn.pgconn.set_chunked_rows_mode(CHUNK_ROWS)
        else:
            self.conn.pgconn.set_single_row_mode()
        self.conn.wait(generators.send(self.conn.pgconn))
        begun, changed_rows = False, 0
        own_types: dict[int, int] = {}
        transformer = Transformer(self.conn)
        for result in self._results():
            if result.status in _ROW_STATUSES:
                if not begun:
                    own_types = postgres_types.unknown(result)
                    names = [(result.fname(place) or b"").decode() for place in range(result.nfields)]
                    results.begin(names, kept=bool(own_types))
                    begun = True
                for row in self._load(transformer, result):
                    results.row(row)
            else:
                results.begin()
                begun = True
            changed_rows = result.command_tuples or 0
        results.end(changed_rows, postgres_types.readers(self.conn, own_types) if own_types else {})

    def _send(self, query: bytes, values: Sequence[Value]) -> None:
        """Send one statement, and one only: the extended protocol takes no second one."""
        self.conn.pgconn.send_query_params(
            query, [value for _, value in values], param_types=[oid for oid, _ in values]
        )

    def _results(self) -> Iterator[PGresult]:
        """Yield the results of what was sent. An error is raised when the connection is ready again."""
        failed: psycopg.Error | None = None
        while True:
            try:
                result = self.conn.wait(generators.fetch(self.conn.pgconn))
            except psycopg.Error as failure:  # the connection is gone; an error before that says why
                raise failed or failure from None
            if result is None:
                break
            if result.status in _COPY_STATUSES:
                raise CopyRefused
            if result.status == ExecStatus.FATAL_ERROR:
                failed = pg.error_from_result(result, encoding="utf-8")
            else:
                yield result
        if failed is not None:
            raise failed

    def _check(self, result: PGresult) -> None:
        if result.status == ExecStatus.FATAL_ERROR:
            raise pg.error_from_result(result, encoding="utf-8")

    def _load(self, transformer: AbstractTransformer, result: PGresult) -> list[tuple[Any, ...]]:
        transformer.set_pgresult(result)
        return transformer.load_rows(0, result.ntuples, tuple)

    # ---- its state -----------------------------------------------------------------------------------------------

    @property
    def transaction(self) -> TransactionStatus:
        """Return the state of the transaction, idle where none is open."""
        return TransactionStatus(self.conn.pgconn.transaction_status)

    def rollback(self) -> None:
        """End the transaction, if one is open and the connection is ready for that; else leave it as it is."""
        if self.transaction in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
            self.simple("ROLLBACK")

    def lost(self, failure: BaseException) -> bool:
        """Tell whether a failure means that the connection is gone."""
        return isinstance(failure, psycopg.Error) and (self.conn.closed or is_lost(failure))

    # ---- notices -------------------------------------------------------------------------------------------------

    def _notice(self, diagnostic: pg.Diagnostic) -> None:
        line = f"{diagnostic.severity}: {diagnostic.message_primary}\n"
        if self._noted < OUTPUT_LIMIT_CHARACTERS:
            self._noted += len(line)
            self._notices.append(line)

    def output(self) -> str:
        """Return the server's notices."""
        return self.login.hide(storable("".join(self._notices), OUTPUT_LIMIT_CHARACTERS))

    def end(self) -> None:
        """Stop taking notices: the connection may go to another call."""
        self.conn.remove_notice_handler(self._notice)


def is_lost(failure: psycopg.Error) -> bool:
    """Tell whether an error means that there is no connection."""
    state = failure.sqlstate
    if state is None:
        return isinstance(failure, psycopg.OperationalError | psycopg.InterfaceError)
    return state.startswith("08") or state in _LOST_STATES
