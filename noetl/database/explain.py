"""What an execution has done and waits for, read for those who ask why: its steps, failures, jobs, and the workers.

Every list is bounded. Runs in a transaction that already has the search path.
"""

from collections.abc import Iterable, Sequence
from typing import LiteralString

from noetl.database.paging import Connection, Row, fetch
from noetl.database.runtime import STALE_SECONDS
from noetl.words import EventType, RuntimeStatus

JOBS = 20
FAILURES = 10
AHEAD = 1000
"""The most jobs of an execution, failures, and jobs before one of them, that are looked at."""

_STEP_EVENTS = [
    EventType.STEP_QUEUED,
    EventType.STEP_COMPLETED,
    EventType.STEP_FAILED,
    EventType.STEP_SKIPPED,
    EventType.STEP_CANCELLED,
    EventType.ATTEMPT_FAILED,
    EventType.LEASE_EXPIRED,
]

_STEPS: LiteralString = """
WITH own AS (
       SELECT event_id, event_type, node_id, node_type, visit, attempt, worker_id, duration, timestamp
         FROM event_log
        WHERE execution_id = %(execution)s AND item_index = -1 AND node_id NOT LIKE '%%/%%' AND node_id NOT LIKE '$%%'
          AND event_type = ANY (%(kinds)s)),
     newest AS (SELECT DISTINCT ON (node_id) * FROM own ORDER BY node_id, event_id DESC),
     begun AS (
       SELECT node_id, min(event_id) AS first, max(timestamp) FILTER (WHERE event_type = 'step_queued') AS queued_at
         FROM own GROUP BY node_id)
SELECT n.node_id AS step, n.node_type AS type, n.event_type, n.visit, n.attempt, n.worker_id, n.duration,
       b.queued_at, n.timestamp AS at, left(e.result::text, 400) AS result, e.result_ref, e.error,
       (e.meta -> 'loop') IS NOT NULL AS looped, s.state -> 'loops' -> n.node_id AS loop
  FROM newest AS n
  JOIN begun AS b USING (node_id)
  JOIN event_log AS e ON e.execution_id = %(execution)s AND e.event_id = n.event_id
  JOIN execution AS s ON s.execution_id = %(execution)s
 ORDER BY b.first"""

_FAILURES: LiteralString = """
SELECT event_id, event_type, timestamp, node_id, node_type, visit, item_index, attempt, error
  FROM event_log
 WHERE execution_id = %s AND event_type = 'step_failed'
 ORDER BY event_id LIMIT %s"""

_JOBS: LiteralString = """
SELECT id, node_id, visit, item_index, status, pool, priority, attempts, failures, lost, available_at, lease_until,
       worker_id, created_at, context ->> 'child' AS child, (context ->> 'due')::bigint AS due,
       (context ->> 'limit')::bigint AS "limit", lease_until < clock_timestamp() AS expired
  FROM queue WHERE execution_id = %s ORDER BY id LIMIT %s"""

_WORKERS: LiteralString = """
SELECT pool, count(*) AS workers, sum(slots) AS slots
  FROM runtime, unnest(pools) AS pool
 WHERE kind = 'worker' AND status = %s AND heartbeat_at > clock_timestamp() - %s * interval '1 second'
 GROUP BY pool"""

_OWN_WORKER: LiteralString = """
SELECT FROM runtime
 WHERE kind = 'worker' AND status = %s AND heartbeat_at > clock_timestamp() - %s * interval '1 second'
   AND meta ->> 'only_root' = %s
 LIMIT 1"""

_AHEAD: LiteralString = """
SELECT count(*) FROM (
       SELECT FROM queue
        WHERE pool = %(pool)s AND status = 'queued' AND lost = 0
          AND (priority > %(priority)s OR (priority = %(priority)s AND id < %(job)s))
        LIMIT %(limit)s) AS before"""

_LAST_FAILURE: LiteralString = """
SELECT attempt, error, meta FROM event_log
 WHERE execution_id = %s AND node_id = %s AND visit = %s AND item_index = %s AND event_type = 'attempt_failed'
 ORDER BY event_id DESC LIMIT 1"""

_QUARANTINED: LiteralString = """
SELECT message FROM error_log
 WHERE execution_id = %s AND node_id = %s AND error_type = 'quarantined' ORDER BY error_id DESC LIMIT 1"""

_SEEN: LiteralString = """
SELECT runtime_id, status, extract(epoch FROM clock_timestamp() - heartbeat_at)::float8 AS silent
  FROM runtime WHERE runtime_id = ANY (%s)"""


def read_steps(conn: Connection, execution_id: int) -> list[Row]:
    """Return the newest event of each step that has begun, in the order in which they began, with its result's
    beginning and, while a loop runs, the loop's counters."""
    kinds = [str(kind) for kind in _STEP_EVENTS]
    with conn.cursor() as cursor:
        cursor.execute(_STEPS, {"execution": execution_id, "kinds": kinds})
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor]


def read_failures(conn: Connection, execution_id: int) -> list[Row]:
    """Return the steps that failed for good, the first ones, with their errors."""
    return fetch(conn, _FAILURES, (execution_id, FAILURES))


def read_jobs(conn: Connection, execution_id: int) -> list[Row]:
    """Return what of an execution stands in the queue, the oldest first."""
    return fetch(conn, _JOBS, (execution_id, JOBS))


def read_workers(conn: Connection) -> dict[str, tuple[int, int]]:
    """Return {pool: (living workers, their slots)}."""
    found = fetch(conn, _WORKERS, (RuntimeStatus.RUNNING, STALE_SECONDS))
    return {row["pool"]: (int(row["workers"]), int(row["slots"])) for row in found}


def has_own_worker(conn: Connection, root_execution_id: str) -> bool:
    """Tell whether an execution's tree has a worker of its own, as `noetl run` starts one: it serves every pool."""
    return bool(fetch(conn, _OWN_WORKER, (RuntimeStatus.RUNNING, STALE_SECONDS, root_execution_id)))


def read_silence(conn: Connection, workers: Iterable[str]) -> dict[str, float]:
    """Return for how many seconds these workers have said nothing; one that has left has said nothing ever since."""
    rows = fetch(conn, _SEEN, (sorted(workers),))
    return {row["runtime_id"]: float(row["silent"]) for row in rows}


def jobs_before(conn: Connection, job: Row) -> int:
    """Return how many jobs of its pool are claimed before a queued one, at most `AHEAD`."""
    given = {"pool": job["pool"], "priority": job["priority"], "job": int(job["id"]), "limit": AHEAD}
    row = conn.execute(_AHEAD, given).fetchone()
    return int(row[0]) if row else 0


def last_failure(conn: Connection, execution_id: int, job: Row) -> Row | None:
    """Return attempt, error and meta of a job's last attempt that failed, or None."""
    given: Sequence[object] = (execution_id, job["node_id"], job["visit"], job["item_index"])
    rows = fetch(conn, _LAST_FAILURE, given)
    return rows[0] if rows else None


def why_quarantined(conn: Connection, execution_id: int, node_id: str) -> str:
    """Return why a job was quarantined, as the error log has it."""
    rows = fetch(conn, _QUARANTINED, (execution_id, node_id))
    return str(rows[0]["message"]) if rows else ""
