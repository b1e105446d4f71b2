"""The inbox: the table that makes a playbook's SQL exactly-once in whatever database has it.

The engine's own server gets it with the schema, in a schema of its own; `noetl db inbox URL` makes it elsewhere.
"""

import psycopg
from psycopg.conninfo import conninfo_to_dict

from noetl.database.connect import Database, translate
from noetl.errors import InputError

CREATE = """
CREATE SCHEMA IF NOT EXISTS noetl_inbox;
CREATE TABLE IF NOT EXISTS noetl_inbox.noetl_done (
  key     text PRIMARY KEY,                       -- execution:step:visit:item
  result  json,
  at      timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP
);
"""


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
    with database.connect() as conn, translate(), conn.transaction():
        conn.execute("SET LOCAL client_min_messages = warning")
        row = conn.execute("SELECT to_regclass('noetl_inbox.noetl_done') IS NULL").fetchone()
        try:
            conn.execute(CREATE)
        except psycopg.errors.InsufficientPrivilege as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"the inbox cannot be made in {database.where} ({reason}): use a login that may create a schema"
            ) from error
    return database.where, bool(row and row[0])
