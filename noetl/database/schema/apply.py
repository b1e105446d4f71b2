"""The schema: apply it, reset it, tell what stands in the database and how it differs from what should.

The file in the package is the one source of truth. It is run as it stands, in one message, so that it is one
transaction whatever is in it; settings go before it as custom settings of the session.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final, assert_never
from uuid import UUID

import psycopg
import psycopg.errors as pg
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Identifier

from noetl.database.connection.connect import Connection, Database, is_connection_lost, translate
from noetl.database.schema.roles import ensure_roles, wanted_roles
from noetl.errors import InputError, Locked, SchemaMismatch, SchemaMissing
from noetl.settings import Settings

SCHEMA_VERSION = 1

LOCK: Final = 474315322476
"""The advisory lock of a first apply."""

TAKE_LOCK: Final = f"""
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                  WHERE n.nspname = 'noetl_inbox' AND c.relname = 'noetl_seal') THEN
    PERFORM pg_advisory_xact_lock({LOCK});
  END IF;
  IF EXISTS (SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
              WHERE n.nspname = 'noetl_inbox' AND c.relname = 'noetl_seal') THEN
    LOCK TABLE noetl_inbox.noetl_seal IN SHARE ROW EXCLUSIVE MODE;
  END IF;
END $$
"""
"""Take the lock of everything that changes the schema, as the file does: one that SQL of playbooks cannot hold."""

FOREIGN: Final = """
SELECT string_agg(format('%%s %%s of role %%s', kind, name, pg_get_userbyid(owner)), ', ')
  FROM (SELECT 'schema' AS kind, nspname::text AS name, nspowner AS owner, nspname FROM pg_namespace
        UNION ALL SELECT 'function', p.oid::regprocedure::text, proowner, nspname
                    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = pronamespace
        UNION ALL SELECT 'operator', o.oid::regoperator::text, oprowner, nspname
                    FROM pg_operator AS o JOIN pg_namespace AS n ON n.oid = oprnamespace
        UNION ALL SELECT 'table', relname::text, relowner, nspname
                    FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace
                   WHERE relname = 'schema_version') AS own
 WHERE nspname = %s AND NOT EXISTS
       (SELECT FROM pg_roles AS r WHERE r.oid = owner AND (r.rolsuper OR r.rolname = current_user))
"""
"""What of a schema the administrator must not run or read: it belongs to a lesser role. The file looks for the same."""

DDL_NAME = "noetl/database/ddl/postgres/schema_ddl.sql"


class SchemaState(StrEnum):
    """What stands in the database, compared with this program."""

    MISSING = "missing"
    PARTIAL = "partial"
    OLDER = "older"
    NEWER = "newer"
    CURRENT = "current"


@dataclass(frozen=True)
class SchemaStatus:
    """State, applied version, instance (a new one with every reset) and the objects that are missing."""

    state: SchemaState
    version: int | None = None
    instance: UUID | None = None
    missing: tuple[str, ...] = ()


@cache
def packaged_ddl() -> str:
    """Return the canonical DDL."""
    return files("noetl.database").joinpath("ddl/postgres/schema_ddl.sql").read_text(encoding="utf-8")


@cache
def expected_objects() -> tuple[str, ...]:
    """Return the names of tables, views, functions and sequences that the DDL makes in the engine's schema."""
    pattern = r"^CREATE (?:OR REPLACE )?(?:TABLE|VIEW|FUNCTION|SEQUENCE) (?:IF NOT EXISTS )?(?!IF\b)(\w+)\b(?!\.)"
    return tuple(re.findall(pattern, packaged_ddl(), re.MULTILINE))


# ---- applying ----


def apply_schema(
    admin: Database, settings: Settings, *, file: Path | None = None, ensure_role: bool | None = None
) -> list[str]:
    """Apply the DDL (or `file`) and return warnings and notices for people. Applying twice changes nothing.

    `ensure_role` creates the logins first (None: on the embedded server only). Raises `InputError` where the file
    cannot be read or fails, naming the line; then nothing of it is left. Raises `Locked`, `SchemaMismatch`,
    `Unreachable`.
    """
    name, text = _read(file)
    with admin.connect_admin() as conn, translate():
        said = _roles(conn, settings, ensure_role)
        _prepare(conn, settings)
        with _listening(conn) as notices:
            _run(conn, name, text, settings)
        return said + notices


def reset_schema(
    admin: Database, settings: Settings, *, file: Path | None = None, ensure_role: bool | None = None
) -> list[str]:
    """Drop the schema with everything in it and apply the DDL, in one transaction: on an error all is as before.

    The inbox stays, since it belongs to effects that have happened. Raises like `apply_schema`.
    """
    name, text = _read(file)
    with admin.connect_admin() as conn, translate():
        said = _roles(conn, settings, ensure_role)
        _prepare(conn, settings)
        with _listening(conn) as notices:
            _run(conn, name, text, settings, drop=True)
        return said + notices


def _roles(conn: Connection, settings: Settings, ensure_role: bool | None) -> list[str]:
    wanted = settings.embedded if ensure_role is None else ensure_role
    return ensure_roles(conn, wanted_roles(settings)) if wanted else []


def _read(file: Path | None) -> tuple[str, str]:
    if file is None:
        return DDL_NAME, packaged_ddl()
    try:
        return str(file), file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"the DDL file {file} cannot be read: {reason}") from error


def _prepare(conn: Connection, settings: Settings) -> None:
    """Hand the settings to the file: custom settings of the session, and a bound on waiting for locks."""
    custom = {
        "noetl.schema": settings.schema,
        "noetl.role": settings.user,
        "noetl.playbook_role": settings.playbook_user,
        "lock_timeout": f"{int(settings.lock_timeout * 1000)}ms",
    }
    for name, value in custom.items():
        conn.execute("SELECT set_config(%s, %s, false)", (name, value))


def _run(conn: Connection, name: str, text: str, settings: Settings, *, drop: bool = False) -> None:
    """Send the file in one message; roll back and explain whatever goes wrong."""
    try:
        if drop:
            _drop(conn, settings)  # and so in our transaction instead of the file's own
            text = re.sub(r"^(BEGIN|COMMIT);$", r"-- \1", text, flags=re.MULTILINE)
        conn.execute(text.encode())
        if conn.info.transaction_status != TransactionStatus.IDLE:
            conn.execute("COMMIT")
    except psycopg.Error as error:
        if conn.closed:
            raise
        conn.rollback()
        raise _explained(conn, name, text, error, settings) from error


def _drop(conn: Connection, settings: Settings) -> None:
    """Begin a transaction and drop the schema in it.

    Live workers lock the tables in another order than this must, so it never waits long while it holds a lock:
    it gives up sooner than anybody would be ended for a deadlock, and tries again until its time is over.
    """
    deadline = time.monotonic() + settings.lock_timeout
    while True:
        try:
            conn.execute("BEGIN")
            conn.execute("SET LOCAL client_min_messages = warning")  # no list of what goes
            conn.execute(TAKE_LOCK)
            conn.execute(f"SET LOCAL lock_timeout = '{int(min(settings.lock_timeout, 0.1) * 1000)}ms'")
            conn.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(settings.schema)))
            conn.execute(f"SET LOCAL lock_timeout = '{int(settings.lock_timeout * 1000)}ms'")
            return
        except pg.LockNotAvailable:
            conn.rollback()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _explained(conn: Connection, name: str, text: str, error: psycopg.Error, settings: Settings) -> Exception:
    """Return the error as one of ours, with the file's line where the server named a position."""
    message = error.diag.message_primary or str(error).strip()
    if isinstance(error, pg.LockNotAvailable):
        return Locked(
            f"the lock on schema {settings.schema} could not be had within {settings.lock_timeout:g} s"
            f"{_holder(conn)}: wait for it, end it, or raise NOETL_LOCK_TIMEOUT; nothing was changed"
        )
    if isinstance(error, pg.RaiseException) and "has version" in message:
        return SchemaMismatch(message)
    if is_connection_lost(error):
        return error
    position = error.diag.statement_position
    where = f"{name}, line {text.count(chr(10), 0, int(position)) + 1}" if position else name
    return InputError(f"{where}: {message}; it was rolled back, nothing was changed")


def _holder(conn: Connection) -> str:
    row = conn.execute(
        """SELECT a.pid, a.application_name FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
            WHERE l.granted AND (
                  l.locktype = 'advisory' AND (l.classid::bigint << 32 | l.objid::bigint) = %s
                  OR l.relation = to_regclass('noetl_inbox.noetl_seal') AND l.mode = 'ShareRowExclusiveLock')
              AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())""",
        (LOCK,),
    ).fetchone()
    return f" (it is held by process {row[0]}, {row[1] or 'without a name'})" if row else ""


@contextmanager
def _listening(conn: Connection) -> Iterator[list[str]]:
    """Collect the notices and warnings of the server."""
    heard: list[str] = []

    def hear(diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.sqlstate != "00000" or diagnostic.severity_nonlocalized == "NOTICE":
            heard.append(diagnostic.message_primary or "")

    conn.add_notice_handler(hear)
    try:
        yield heard
    finally:
        conn.remove_notice_handler(hear)


def live_processes(database: Database) -> list[str]:
    """Return who works on the schema at the moment, as far as it has a registry to tell.

    `database` is the runtime's, who owns the registry."""
    query = SQL(
        """SELECT format('%s %s on %s', kind, runtime_id, host) FROM {}
            WHERE status IN ('running', 'draining') AND heartbeat_at > clock_timestamp() - interval '30 s'
            ORDER BY kind, runtime_id"""
    ).format(Identifier(database.schema, "runtime"))
    with database.connect() as conn, translate():
        try:
            return [row[0] for row in conn.execute(query)]
        except (pg.UndefinedTable, pg.UndefinedColumn):
            return []


# ---- what stands there ----


def refuse_foreign(conn: Connection, schema: str) -> None:
    """Raise `SchemaMismatch` where reading the schema could run code of a lesser role than this administrator."""
    row = conn.execute(FOREIGN, (schema,)).fetchone()
    if row is not None and row[0] is not None:
        raise SchemaMismatch(
            f"the administrator could run what others can change ({row[0]}): run noetl db apply-schema, which takes it"
            " over or says what is wrong with it"
        )


def schema_state(db: Database) -> SchemaStatus:
    """Compare the names and the version in the database with what this program expects."""
    with db.connect() as conn, translate():
        return read_state(conn, db.schema)


def read_state(conn: Connection, schema: str) -> SchemaStatus:
    """Do the work of `schema_state` on a connection."""
    row = conn.execute(
        """SELECT array(SELECT c.relname::text FROM pg_class AS c WHERE c.relnamespace = n.oid AND c.relkind <> 'i')
               || array(SELECT p.proname::text FROM pg_proc AS p WHERE p.pronamespace = n.oid)
             FROM pg_namespace AS n WHERE n.nspname = %s""",
        (schema,),
    ).fetchone()
    present = set(row[0]) if row else set()
    missing = tuple(name for name in expected_objects() if name not in present)
    if len(missing) == len(expected_objects()):
        return SchemaStatus(SchemaState.MISSING, missing=missing)
    version, instance = None, None
    if "schema_version" in present:
        table = Identifier(schema, "schema_version")
        query = SQL("SELECT version, instance FROM {} ORDER BY version DESC LIMIT 1").format(table)
        version, instance = conn.execute(query).fetchone() or (None, None)
    if version is not None and version > SCHEMA_VERSION:
        state = SchemaState.NEWER
    elif version is not None and version < SCHEMA_VERSION:
        state = SchemaState.OLDER
    else:
        state = SchemaState.PARTIAL if missing or version is None else SchemaState.CURRENT
    return SchemaStatus(state, version, instance, missing)


def require_schema(db: Database) -> UUID:
    """Return the instance of the schema; raise `SchemaMissing` or `SchemaMismatch` saying what to run."""
    status = schema_state(db)
    problem = schema_problem(status, db.schema)
    if problem is not None:
        raise problem
    assert status.instance is not None
    return status.instance


def schema_problem(status: SchemaStatus, schema: str) -> SchemaMissing | SchemaMismatch | None:
    """Return the sentence that says what is wrong and what to run, or None where the schema can be used."""
    match status.state:
        case SchemaState.CURRENT:
            return None
        case SchemaState.MISSING:
            return SchemaMissing(f"schema {schema} is not in the database: run noetl db apply-schema")
        case SchemaState.PARTIAL:
            lacking = ", ".join(status.missing) or "its version"
            return SchemaMissing(f"schema {schema} is incomplete ({lacking}): run noetl db apply-schema")
        case SchemaState.OLDER:
            return SchemaMismatch(
                f"schema {schema} has version {status.version}, this program needs {SCHEMA_VERSION}: "
                "run noetl db migrate"
            )
        case SchemaState.NEWER:
            return SchemaMismatch(
                f"schema {schema} has version {status.version}, this program knows {SCHEMA_VERSION}: "
                "use the NoETL that made it, or a newer one"
            )
        case _:
            assert_never(status.state)
