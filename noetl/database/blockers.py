"""Who keeps others from the engine's tables: said to whoever could not have a lock in time."""

from typing import LiteralString

from psycopg import Connection

_BLOCKERS: LiteralString = """
SELECT l.pid, a.usename, coalesce(nullif(a.application_name, ''), 'without a name'), l.mode, c.relname, l.granted,
       extract(epoch FROM clock_timestamp() - a.xact_start)::bigint, pg_blocking_pids(l.pid)
  FROM pg_locks AS l
  JOIN pg_class AS c ON c.oid = l.relation
  JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = %(schema)s
  JOIN pg_stat_activity AS a ON a.pid = l.pid
 WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.pid <> pg_backend_pid()
   AND (l.mode = ANY ('{ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}')
        OR l.pid = ANY (%(pids)s::integer[])
        OR %(rows)s AND c.relname IN ('execution', 'queue') AND l.mode = ANY ('{RowShareLock,RowExclusiveLock}'))
 ORDER BY a.xact_start NULLS LAST, l.granted
 LIMIT 1
"""


def who_blocks(conn: Connection, schema: str) -> str:
    """Return the session that others wait for, and the one it waits for itself, for people; "" where none is found.

    A session that waits for a lock on a whole table goes first: everybody else stands behind it. Else it is the oldest
    one that holds rows of executions or jobs. Runs outside a transaction.
    """
    row = _find(conn, schema, rows=False) or _find(conn, schema, rows=True)
    if row is None:
        return ""
    pid, user, name, mode, table, granted, seconds, behind = row
    since = "" if seconds is None else f" for {seconds} s"
    text = f"process {pid} ({name}, user {user}) {'holds' if granted else 'waits for'} {mode} on {table}{since}"
    if granted or not behind:
        return text
    other = _find(conn, schema, pids=behind)
    if other is None:
        return f"{text}, behind process {behind[0]}"
    pid, user, name, mode, table, _granted, seconds, _behind = other
    since = "" if seconds is None else f" for {seconds} s"
    return f"{text}, behind process {pid} ({name}, user {user}), which holds {mode} on {table}{since}"


def _find(
    conn: Connection, schema: str, *, rows: bool = False, pids: list[int] | None = None
) -> tuple[int, str, str, str, str, bool, int | None, list[int]] | None:
    query = _BLOCKERS
    return conn.execute(query, {"schema": schema, "rows": rows, "pids": pids or []}).fetchone()
