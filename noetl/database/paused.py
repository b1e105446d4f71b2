"""Jobs that were set aside come back when a worker starts: it may be a newer one, which can do what failed."""

from collections.abc import Sequence

from psycopg import Connection

BRING_BACK = """
UPDATE queue SET status = 'queued'
 WHERE id = ANY (ARRAY (
         SELECT q.id
           FROM queue AS q
           JOIN execution AS e USING (execution_id)
          WHERE q.status = 'paused' AND q.pool = ANY (%s) AND e.status <> 'paused'
          ORDER BY q.id
            FOR UPDATE OF q SKIP LOCKED))
RETURNING id
"""


def bring_back(conn: Connection, pools: Sequence[str]) -> int:
    """Queue the jobs of these pools that were set aside, but for executions that somebody paused; return how many.

    Reads the whole queue, once per start of a worker. Runs in a transaction.
    """
    return len(conn.execute(BRING_BACK, [list(pools)]).fetchall())
