"""Who keeps others from the engine's tables: said to whoever could not have a lock in time."""

from typing import NamedTuple

from psycopg import Connection

from noetl.database.sql import sql


class Blocker(NamedTuple):
    """A session with a lock that it holds or waits for. `behind`: the processes that it waits for itself."""

    pid: int
    user: str
    name: str
    mode: str
    table: str
    granted: bool
    seconds: int | None
    behind: list[int]

    def __str__(self) -> str:
        return f"process {self.pid} ({self.name}, user {self.user})"

    @property
    def lock(self) -> str:
        """The lock, and for how long the session's transaction has lasted."""
        since = "" if self.seconds is None else f" for {self.seconds} s"
        return f"{self.mode} on {self.table}{since}"


def who_blocks(conn: Connection, schema: str) -> str:
    """Return the session that others wait for, and the one it waits for itself, for people; "" where none is found.

    A session that waits for a lock on a whole table goes first: everybody else stands behind it. Else it is the oldest
    one that holds rows of executions or jobs. Runs outside a transaction.
    """
    blocker = _find(conn, schema, rows=False) or _find(conn, schema, rows=True)
    if blocker is None:
        return ""
    text = f"{blocker} {'holds' if blocker.granted else 'waits for'} {blocker.lock}"
    if blocker.granted or not blocker.behind:
        return text
    other = _find(conn, schema, pids=blocker.behind)
    if other is None:
        return f"{text}, behind process {blocker.behind[0]}"
    return f"{text}, behind {other}, which holds {other.lock}"


def _find(conn: Connection, schema: str, *, rows: bool = False, pids: list[int] | None = None) -> Blocker | None:
    row = conn.execute(sql("select_blocker"), {"schema": schema, "rows": rows, "pids": pids or []}).fetchone()
    return None if row is None else Blocker._make(row)
