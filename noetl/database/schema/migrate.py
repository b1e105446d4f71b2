"""Migrations: numbered files, each run once, in order, each in one transaction with its row in `schema_version`.

The folder is empty until the first release freezes the DDL as version 1; `0002_<what>.sql` is then the first file.
A file holds plain statements without BEGIN and COMMIT, with unqualified names.
"""

import re
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

import psycopg
import psycopg.errors as pg
from psycopg.sql import SQL, Identifier

from noetl.database.connection.connect import Database, translate
from noetl.database.schema.apply import (
    SCHEMA_VERSION,
    TAKE_LOCK,
    SchemaState,
    read_state,
    refuse_foreign,
    schema_problem,
)
from noetl.errors import InputError, Locked
from noetl.settings import Settings


@dataclass(frozen=True)
class Migration:
    """One file: what brings a schema to `version`."""

    version: int
    name: str
    text: str


def load_migrations(folder: Traversable | None = None) -> list[Migration]:
    """Return the migrations in order. Raises `InputError` where a number is missing or doubled."""
    folder = folder or files("noetl.database").joinpath("migrations")
    migrations = [
        Migration(int(match[1]), entry.name, entry.read_text(encoding="utf-8"))
        for entry in folder.iterdir()
        if (match := re.fullmatch(r"(\d{4})_\w+\.sql", entry.name))
    ]
    migrations.sort(key=lambda migration: (migration.version, migration.name))
    for expected, migration in enumerate(migrations, start=2):
        if migration.version != expected:
            raise InputError(f"migration {migration.name} should have the number {expected:04}: rename it")
    return migrations


def migrate(
    admin: Database,
    settings: Settings,
    *,
    migrations: list[Migration] | None = None,
    target: int = SCHEMA_VERSION,
) -> list[str]:
    """Bring an older schema to this program's version; return the names of what was run.

    Raises `SchemaMissing` (apply it first), `SchemaMismatch` (it is newer), `InputError` where a migration fails,
    which is then rolled back whole, `Locked`, `Unreachable`.
    """
    migrations = load_migrations() if migrations is None else migrations
    done: list[str] = []
    with admin.connect_admin() as conn, translate():
        conn.execute("SELECT set_config('lock_timeout', %s, false)", (f"{int(settings.lock_timeout * 1000)}ms",))
        refuse_foreign(conn, admin.schema)
        status = read_state(conn, admin.schema)
        if status.state is not SchemaState.OLDER:
            problem = schema_problem(status, admin.schema)
            if problem is not None and target <= SCHEMA_VERSION:
                raise problem
        for migration in migrations:
            if migration.version <= target and _run(conn, admin.schema, migration, settings):
                done.append(migration.name)
    return done


def _run(conn: psycopg.Connection[object], schema: str, migration: Migration, settings: Settings) -> bool:
    """Run one migration unless it was run already, perhaps by another just now."""
    try:
        with conn.transaction():
            conn.execute(TAKE_LOCK)
            conn.execute(SQL("SET LOCAL search_path = {}, pg_temp").format(Identifier(schema)))
            known = conn.execute("SELECT FROM schema_version WHERE version = %s", (migration.version,)).rowcount
            if known:
                return False
            conn.execute(migration.text.encode())
            conn.execute(
                "INSERT INTO schema_version (version, instance) SELECT %s, instance FROM schema_version LIMIT 1",
                (migration.version,),
            )
            return True
    except pg.LockNotAvailable as error:
        raise Locked(
            f"the lock on schema {schema} could not be had within {settings.lock_timeout:g} s: somebody else "
            "changes it; try again"
        ) from error
    except psycopg.DatabaseError as error:
        if conn.closed:
            raise
        message = error.diag.message_primary or str(error)
        raise InputError(f"migration {migration.name}: {message}; it was rolled back") from error
