"""Wake-ups. They only make things faster: polling finds everything, and all works with notifications off."""

from psycopg import Connection
from psycopg.sql import SQL, Identifier


def channel(schema: str) -> str:
    """Return the channel on which "there is something to do" is said."""
    return f"{schema}_news"


def notify(conn: Connection, schema: str, enabled: bool = True) -> None:
    """Tell everybody, after a commit and as a statement of its own: a NOTIFY inside a transaction makes all commits
    that notify wait for each other."""
    if enabled:
        conn.execute(SQL("NOTIFY {}").format(Identifier(channel(schema))))


def listen(conn: Connection, schema: str) -> None:
    """Receive wake-ups on this connection."""
    conn.execute(SQL("LISTEN {}").format(Identifier(channel(schema))))
