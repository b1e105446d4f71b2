"""Wake-ups. They only make things faster: polling finds everything, and all works with notifications off."""

from functools import cache

from psycopg import Connection
from psycopg.sql import SQL, Identifier


def channel(schema: str) -> str:
    """Return the channel on which "there is something to do" is said."""
    return f"{schema}_news"


@cache
def news(schema: str) -> bytes:
    """Return the statement that tells everybody. It is to run after a commit, on its own: a NOTIFY inside a transaction
    makes all commits that notify wait for each other."""
    return SQL("NOTIFY {}").format(Identifier(channel(schema))).as_bytes()


def notify(conn: Connection, schema: str, enabled: bool = True) -> None:
    """Tell everybody, on a connection that stands in no transaction."""
    if enabled:
        conn.execute(news(schema))


def listen(conn: Connection, schema: str) -> None:
    """Receive wake-ups on this connection."""
    conn.execute(SQL("LISTEN {}").format(Identifier(channel(schema))))
