"""Exactly once: the key of a step run commits together with its effect, in every database that has the inbox.

The key is inserted first. A second run of the same step waits there for the end of the first transaction: if that
committed, the stored result is returned; if it was rolled back, the key is gone with the effect.
"""

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import psycopg.errors as pg

from noetl.calls import Call
from noetl.errors import TooLarge
from noetl.tools.base import InvalidCall
from noetl.tools.masking import mask_of
from noetl.tools.postgres.session import Session

FIND_INBOX: Final = """
SELECT 'noetl_inbox', pg_catalog.has_schema_privilege(n.oid, 'USAGE')
   AND pg_catalog.bool_and(pg_catalog.has_function_privilege(p.oid, 'EXECUTE')), true
  FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
 WHERE n.nspname = 'noetl_inbox' AND p.proname IN ('enter', 'leave')
   AND pg_catalog.current_setting('transaction_read_only') = 'off'
 GROUP BY n.oid HAVING pg_catalog.count(*) = 2
UNION ALL
(SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname),
        pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
    AND pg_catalog.has_table_privilege(c.oid, 'INSERT') AND pg_catalog.has_table_privilege(c.oid, 'UPDATE'), false
   FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  WHERE c.relname = 'noetl_done' AND c.relkind IN ('r', 'p')
    AND (n.nspname = 'noetl_inbox' OR pg_catalog.pg_table_is_visible(c.oid))
    AND pg_catalog.current_setting('transaction_read_only') = 'off'
  ORDER BY n.nspname <> 'noetl_inbox' LIMIT 1)
"""
"""Inboxes, whether this login may use each, and whether by functions. Where nothing can be written nothing can be done
twice."""

_MAX_ROUNDS: Final = 5


@dataclass(frozen=True, slots=True)
class Inbox:
    """The place of keys: behind the functions of `noetl_inbox`, or a table that the login itself writes.

    `name` is quoted; `usable` tells whether the login has the rights.
    """

    name: str
    usable: bool
    functions: bool

    @property
    def insert(self) -> str:
        """Return the statement that writes the key $1 and returns a row where it is new."""
        if self.functions:
            return "SELECT fresh, stored::pg_catalog.text FROM noetl_inbox.enter($1)"
        return f"INSERT INTO {self.name} (key) VALUES ($1) ON CONFLICT (key) DO NOTHING RETURNING true, NULL"

    @property
    def select(self) -> str | None:
        """Return the statement that reads the result beside a key that was there, None where `insert` returns it."""
        if self.functions:
            return None
        return f"SELECT false, result::pg_catalog.text FROM {self.name} WHERE key = $1"

    @property
    def update(self) -> str:
        """Return the statement that stores $2 beside the key $1 and returns a row where the key is there."""
        if self.functions:
            return "SELECT 1 WHERE noetl_inbox.leave($1, $2)"
        return f"UPDATE {self.name} SET result = $2 WHERE key = $1 RETURNING 1"


def chosen(rows: Sequence[tuple[bytes | None, ...]]) -> Inbox | None:
    """Return the inbox to use, of the rows of `FIND_INBOX` as text: the first that may be used, else the first."""
    inboxes = [Inbox((name or b"").decode(), usable == b"t", functions == b"t") for name, usable, functions in rows]
    return next((inbox for inbox in inboxes if inbox.usable), inboxes[0] if inboxes else None)


def sealed(key: str, secret: bytes | None) -> bytes:
    """Return the key of a step run as it is stored: with an HMAC, so that SQL of another step cannot know it."""
    if secret is None:
        return key.encode()
    return f"{key}/{hmac.digest(secret, key.encode(), 'sha256').hex()[:32]}".encode()


@dataclass(frozen=True, slots=True)
class Stored:
    """The result of a step run that has happened already, as JSON text."""

    result: bytes


def enter(session: Session, inbox: Inbox, key: bytes, begin_again: Callable[[], None]) -> Stored | None:
    """Write the key; return the stored result where it was there before. `begin_again` opens a new transaction.

    Waits for another transaction that has written the key and not ended. Raises `psycopg.Error`.
    """
    for _ in range(_MAX_ROUNDS):
        try:
            rows = session.query(inbox.insert, (0, key))
            if not rows and inbox.select is not None:
                rows = session.query(inbox.select, (0, key))
        except pg.SerializationFailure:
            rows = []  # the other one has committed, which a transaction of this isolation level does not see
        if rows:
            fresh, stored = rows[0]
            return None if fresh else Stored((stored or "null").encode())
        begin_again()
    raise pg.SerializationFailure("the key of this step run comes and goes: another program deletes from the inbox")


def leave(session: Session, inbox: Inbox, key: bytes, call: Call, result: bytes) -> None:
    """Store the result, its secrets masked, beside the key.

    Raises `psycopg.Error`, `InvalidCall` where the key is gone, `TooLarge`.
    """
    stored = mask_of(call.secrets).json(result) if call.secrets else result
    if len(stored) > call.limit:
        raise TooLarge(f"the result has {len(stored):,} bytes as JSON, the limit is {call.limit:,}")
    if not session.query(inbox.update, (0, key), (0, stored)):
        raise InvalidCall(f"the SQL has removed its own key from {inbox.name}: leave that table alone")
