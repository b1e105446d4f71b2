"""Exactly once: the key of a step run commits together with its effect, in every database that has the inbox.

The key goes in first. Whoever runs the same step a second time waits there for the end of the first transaction: if
that committed, the stored result is all that is left to do; if it was rolled back, the key went with the effect.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import psycopg.errors as pg

from noetl.errors import TooLarge
from noetl.tools.base import Call
from noetl.tools.masking import mask_of
from noetl.tools.postgres_session import Session
from noetl.tools.sql_bind import Invalid

FIND: Final = """
SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname),
       pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
   AND pg_catalog.has_table_privilege(c.oid, 'INSERT') AND pg_catalog.has_table_privilege(c.oid, 'UPDATE')
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relname = 'noetl_done' AND c.relkind IN ('r', 'p')
   AND (n.nspname = 'noetl_inbox' OR pg_catalog.pg_table_is_visible(c.oid))
   AND pg_catalog.current_setting('transaction_read_only') = 'off'
 ORDER BY n.nspname <> 'noetl_inbox' LIMIT 1
"""
"""The inbox, quoted, and whether this login may use it. Where nothing can be written nothing can be done twice."""

_ROUNDS: Final = 5


@dataclass(frozen=True, slots=True)
class Stored:
    """The result of a step run that has happened already, as JSON text."""

    result: bytes


def enter(session: Session, inbox: str, key: str, begin_again: Callable[[], None]) -> Stored | None:
    """Write the key; return what is stored where it has been written before. `begin_again` opens a new transaction.

    Waits for another transaction that has written the key and not ended. Raises `psycopg.Error`.
    """
    name = (0, key.encode())
    for _ in range(_ROUNDS):
        try:
            sql = f"INSERT INTO {inbox} (key) VALUES ($1) ON CONFLICT (key) DO NOTHING RETURNING 1"
            if session.query(sql, name):
                return None
            rows = session.query(f"SELECT result::pg_catalog.text FROM {inbox} WHERE key = $1", name)
        except pg.SerializationFailure:
            rows = []  # the other one has committed, which a transaction of this isolation level does not see
        if rows:
            return Stored((rows[0][0] or "null").encode())
        begin_again()
    raise pg.SerializationFailure("the key of this step run comes and goes: another program deletes from the inbox")


def leave(session: Session, inbox: str, call: Call, result: bytes) -> None:
    """Store the result, its secrets masked, beside the key.

    Raises `psycopg.Error`, `Invalid` where the key is gone, `TooLarge`.
    """
    stored = mask_of(call.secrets).json(result) if call.secrets else result
    if len(stored) > call.limit:
        raise TooLarge(f"the result has {len(stored):,} bytes as JSON, the limit is {call.limit:,}")
    sql = f"UPDATE {inbox} SET result = $2 WHERE key = $1 RETURNING 1"
    if not session.query(sql, (0, call.key.encode()), (0, stored)):
        raise Invalid(f"the SQL has removed its own key from {inbox}: leave that table alone")
