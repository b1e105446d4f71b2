"""Connections: one dedicated one for a worker, a pool for a server, and the only place that knows how to open them.

Every transaction begins with `SET LOCAL search_path`, sent with its first statements: connection options would not
survive a transaction pooler, and no statement has to name the schema. Errors of psycopg that mean "cannot serve"
leave this room as ours.
"""

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import psycopg
import psycopg.errors as pg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from noetl.database import store
from noetl.database.connection import gathered, pooled
from noetl.database.connection.blockers import who_blocks
from noetl.database.connection.gathered import GatheringConnection
from noetl.database.embedded.server import EmbeddedServer
from noetl.database.schema.roles import ensure_roles, wanted_roles
from noetl.errors import DatabaseError, Locked, SchemaMismatch, SchemaMissing, Unreachable
from noetl.settings import Settings

Connection = psycopg.Connection[Any]

log = logging.getLogger("noetl.database")

KEEPALIVE = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30000,
}
"""A peer that vanished is noticed within half a minute."""

_REFUSED = re.compile(r"authentication failed|no password supplied|role .* does not exist|not permitted to log in")
"""What the server says where the login is at fault, and not the network. The client library gives it no code."""


READ_ONLY = (
    "the database is read-only: it is a standby, or default_transaction_read_only is on; "
    "what runs waits until it can be written to"
)


@contextmanager
def translate() -> Iterator[None]:
    """Turn errors of psycopg that mean "cannot serve" into `DatabaseError`s; let all others pass.

    Raises `Unreachable`, `SchemaMissing`, `SchemaMismatch`, `Locked`, `DatabaseError`.
    """
    try:
        yield
    except (pg.UndefinedTable, pg.InvalidSchemaName) as error:
        raise SchemaMissing(
            f"the schema is missing or incomplete ({_first_line(error)}): run noetl db apply-schema"
        ) from error
    except (pg.UndefinedColumn, pg.UndefinedFunction) as error:
        raise SchemaMismatch(
            f"the schema does not fit this program ({_first_line(error)}): run noetl db status"
        ) from error
    except pg.InsufficientPrivilege as error:
        raise SchemaMismatch(
            f"the login lacks rights on the schema ({_first_line(error)}): run noetl db apply-schema"
        ) from error
    except pg.LockNotAvailable as error:
        raise Locked(f"a lock could not be had in time ({_first_line(error)}): try again") from error
    except (pg.InvalidPassword, pg.InvalidAuthorizationSpecification) as error:
        raise Unreachable(f"the database refuses the login ({_first_line(error)})") from error
    except pg.ReadOnlySqlTransaction as error:
        raise DatabaseError(READ_ONLY) from error
    except (PoolTimeout, PoolClosed) as error:
        raise Unreachable("no connection to the database: is it running?") from error
    except psycopg.OperationalError as error:
        if not is_connection_lost(error):
            if (error.sqlstate or "")[:2] in ("53", "58"):  # a full disk, memory, files that cannot be read or written
                raise DatabaseError(f"the database cannot serve ({_first_line(error)}): look at its server") from error
            raise
        raise Unreachable(f"no connection to the database ({_first_line(error)})") from error


def is_writable(conn: Connection) -> bool:
    """Tell whether the server takes writes: no standby, and not read-only by default. Runs in a transaction."""
    row = conn.execute("SELECT current_setting('transaction_read_only') = 'off' AND NOT pg_is_in_recovery()").fetchone()
    return bool(row and row[0])


def is_connection_lost(error: psycopg.Error) -> bool:
    """Tell whether the session is gone, or was never there."""
    state = error.sqlstate
    if state is None:
        return isinstance(error, psycopg.OperationalError) and not isinstance(error, pg.PipelineAborted)
    return state[:2] == "08" or state in ("57P01", "57P02", "57P03", "57P05", "53300")


class Database:
    """A database with the engine's schema. Opens nothing by itself; close it if `session` was used.

    Sessions come from a pool that the first one opens.
    """

    def __init__(self, conninfo: str, schema: str, *, application: str = "noetl", connect_timeout: int = 10) -> None:
        self.conninfo = make_conninfo(
            conninfo,
            **{
                "application_name": application,
                "connect_timeout": connect_timeout,
                **KEEPALIVE,
                **conninfo_to_dict(conninfo),
            },
        )
        self.schema = schema
        self._pool: ConnectionPool[GatheringConnection] | None = None
        self._pool_lock = threading.Lock()
        self._in_vain = False  # the last wait for a session was

    def __repr__(self) -> str:
        return f"Database({self.where}, schema={self.schema!r})"

    @property
    def where(self) -> str:
        """Return user, host and database for people; never a password."""
        parts = conninfo_to_dict(self.conninfo)
        host = parts.get("host") or parts.get("hostaddr") or "localhost"
        port = "" if str(host).startswith("/") else f":{parts.get('port') or 5432}"
        return f"{parts.get('user', '')}@{host}{port}/{parts.get('dbname') or parts.get('user', '')}"

    def connect(self, autocommit: bool = True) -> Connection:
        """Open one dedicated connection. Raises `Unreachable` with a sentence that says where and why."""
        try:
            return psycopg.connect(self.conninfo, autocommit=autocommit, prepare_threshold=2)
        except psycopg.OperationalError as error:
            raise Unreachable(f"no connection to {self.where}: {_reason(error)}") from error

    def connect_admin(self) -> Connection:
        """Open a connection for the administrator's own statements, which find nobody else's functions by a name of
        Postgres'. Raises `Unreachable`."""
        conn = self.connect()
        try:
            conn.execute("SET search_path = pg_catalog, pg_temp")
        except BaseException:
            conn.close()
            raise
        return conn

    def connect_gathering(self) -> Connection:
        """Open a dedicated connection whose transactions leave in one write (see `gathered`). Raises `Unreachable`."""
        try:
            return gathered.connect(self.conninfo)
        except psycopg.OperationalError as error:
            raise Unreachable(f"no connection to {self.where}: {_reason(error)}") from error

    @contextmanager
    def transaction(
        self, conn: Connection, *, asynchronous: bool = False, pipeline: bool = True
    ) -> Iterator[Connection]:
        """Open a transaction on a connection that is in autocommit mode, and commit it at the end of the block.

        In a `pipeline` (the default) begin, search path, the block's statements and the commit share round trips,
        so errors show up late: when a result is fetched, or at the end. With `asynchronous` the commit does not
        wait for the disk.
        """
        with translate():
            if pipeline:
                with store.transaction(conn, self.schema, asynchronous=asynchronous):
                    yield conn
                return
            with conn.transaction():
                conn.execute(store.search_path(self.schema))
                conn.execute(store.lock_timeout(getattr(conn, "patience", "0")))
                if asynchronous:
                    conn.execute("SET LOCAL synchronous_commit = off")
                yield conn

    def pool(self, min: int = 1, max: int = 10, *, timeout: float = 30.0) -> ConnectionPool[GatheringConnection]:
        """Return the pool of this database, opening it on the first call. `timeout` is the wait for a session."""
        with self._pool_lock:
            if self._pool is None:
                name = f"noetl-{self.schema}"
                self._pool = pooled.make_pool(self.conninfo, min=min, max=max, timeout=timeout, name=name)
            return self._pool

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend a pooled connection in autocommit mode, for who opens its own transactions.

        Raises `Unreachable` where none is to be had.
        """
        try:
            with translate(), self.pool().connection(pooled.WAIT_AGAIN if self._in_vain else None) as conn:
                self._in_vain = False
                try:
                    yield conn
                except pg.LockNotAvailable as error:
                    blocker = who_blocks(conn, self.schema)
                    raise Locked(
                        f"a lock on the engine's tables could not be had within {pooled.LOCK_PATIENCE}"
                        f"{f': {blocker}' if blocker else ''}; try again when it is free"
                    ) from error
        except Unreachable as error:
            self._in_vain = isinstance(error.__cause__, PoolTimeout)
            raise

    @contextmanager
    def session(self, *, asynchronous: bool = False, pipeline: bool = False) -> Iterator[Connection]:
        """Lend a pooled connection that stands in a transaction with the search path; commit at the end.

        Raises `Unreachable` where none is to be had.
        """
        with (
            self.connection() as conn,
            self.transaction(conn, asynchronous=asynchronous, pipeline=pipeline),
        ):
            yield conn

    def close(self) -> None:
        """Close the pool, if one was opened."""
        with self._pool_lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def embedded_server(settings: Settings) -> EmbeddedServer:
    """Return the embedded server of these settings, running or not.

    Raises `DatabaseError` where the settings name another database.
    """
    if not settings.embedded:
        raise DatabaseError(
            "the settings name a database of their own (POSTGRES_*, NOETL_DATABASE_URL, NOETL_EMBEDDED=false or "
            "Kubernetes): there is no embedded one to manage"
        )
    return EmbeddedServer(settings.home)


def require_embedded(settings: Settings) -> None:
    """Raise `Unreachable` where the embedded Postgres is the one and has not been made: reading makes none."""
    if settings.embedded and not embedded_server(settings).exists():
        raise Unreachable(f"there is no embedded Postgres of {settings.home}: noetl db apply-schema makes it")


def open_admin(settings: Settings, *, application: str = "noetl db") -> Database:
    """Return the database under the administrator's login, the embedded server started where it is the one."""
    if settings.embedded:
        server = embedded_server(settings)
        server.start()
        conninfo = server.conninfo()
    else:
        conninfo = settings.admin_conninfo()
    return Database(conninfo, settings.schema, application=application, connect_timeout=settings.connect_timeout)


def open_database(settings: Settings, *, application: str = "noetl") -> Database:
    """Return the database under the login of server and worker, the embedded server started where it is the one.

    No other login is taken where this one is refused. Raises `Unreachable`, `SettingsError`.
    """
    if settings.embedded:
        with open_admin(settings, application=application) as admin:
            _ensure_embedded_roles(admin, settings)
    database = Database(
        _conninfo_of(settings, settings.user, settings.password),
        settings.schema,
        application=application,
        connect_timeout=settings.connect_timeout,
    )
    try:
        database.connect().close()
    except Unreachable as error:
        if not _REFUSED.search(str(error)):
            raise
        raise Unreachable(
            f"{error}: set NOETL_USER and NOETL_PASSWORD and make the login with noetl db apply-schema --ensure-role, "
            "which gives it this password; the administrator's own login is used where NOETL_USER names it"
        ) from error
    return database


def playbook_login(settings: Settings) -> dict[str, str]:
    """Return where playbooks' SQL without auth goes: the engine's server, under the login that sees nothing of it.

    The parts of a connection string. Opens nothing; a login that is refused is the trouble of who uses it.
    """
    parts = conninfo_to_dict(_conninfo_of(settings, settings.playbook_user, settings.playbook_password))
    return {name: str(value) for name, value in parts.items() if value is not None}


def _conninfo_of(settings: Settings, user: str, password: str | None) -> str:
    if settings.embedded:
        return embedded_server(settings).conninfo(user)
    return settings.login_conninfo(user, password)


def _ensure_embedded_roles(admin: Database, settings: Settings) -> None:
    """Create the logins on our own server, where nobody else could have done it, with the passwords of this home."""
    roles = wanted_roles(settings)
    with admin.connect_admin() as conn:
        passwords = conn.execute(
            "SELECT rolname::text, rolpassword FROM pg_catalog.pg_authid WHERE rolname = ANY(%s)",
            ([role.name for role in roles],),
        ).fetchall()
        if dict(passwords) == {role.name: role.password for role in roles}:
            return
        for warning in ensure_roles(conn, roles):
            log.warning("%s", warning)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _reason(error: psycopg.OperationalError) -> str:
    """Return what the server or the network said, without libpq's repetition of the address."""
    text = _first_line(error)
    for marker in ("FATAL:  ", "failed: ", "ERROR:  "):
        if marker in text:
            text = text.split(marker)[-1]
    return text
