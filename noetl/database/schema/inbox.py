"""The inbox: the table that makes a playbook's SQL exactly-once in whatever database has it.

The engine's own server gets it with the schema, in a schema of its own; `noetl db inbox URL` makes it elsewhere.
"""

import re

import psycopg
from psycopg.conninfo import conninfo_to_dict

from noetl.database.connection.connect import Database, translate
from noetl.database.schema.apply import packaged_ddl
from noetl.database.sql import sql
from noetl.errors import InputError, SchemaMissing

SECTION = re.compile(r"^-- ---- the inbox[^\n]*\n(.*?)^-- ---- ", re.MULTILINE | re.DOTALL)
"""The part of the schema's file that makes it."""


def make_inbox(url: str) -> tuple[str, bool]:
    """Make the inbox in the database at `url`; return where (no password) and whether it is new.

    Raises `InputError` where `url` is no connection string, `Unreachable`, `SchemaMismatch` for missing rights.
    """
    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:  # the message may quote a password
        raise InputError(
            "the URL is not a connection string: write it as postgresql://user@host:port/database"
        ) from error
    database = Database(url, "noetl_inbox", application="noetl db inbox")
    section = SECTION.search(packaged_ddl())
    assert section is not None
    with database.connect_admin() as conn, translate(), conn.transaction():
        conn.execute("SET LOCAL client_min_messages = warning")
        row = conn.execute("SELECT to_regclass('noetl_inbox.noetl_done') IS NULL").fetchone()
        try:
            conn.execute("CREATE SCHEMA IF NOT EXISTS noetl_inbox")
            conn.execute(section[1].encode())
        except psycopg.errors.InsufficientPrivilege as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"the inbox cannot be made in {database.where} ({reason}): use a login that may create a schema"
            ) from error
    return database.where, bool(row and row[0])


def read_seal(database: Database) -> bytes:
    """Return the secret that makes keys of the inbox unguessable. Raises `SchemaMissing` where there is none yet."""
    with database.connect() as conn, translate():
        row = conn.execute(sql("select_seal")).fetchone()
    if row is None:
        raise SchemaMissing("the inbox has no secret: run noetl db apply-schema")
    return str(row[0]).encode()
