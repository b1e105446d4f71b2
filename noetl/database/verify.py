"""The invariants of log, state and queue over the whole database.

Each check is one query that finds what must not be. Together they read every event once; the orchestrator's
`verify_replay` adds that each living execution's state equals the replay of its events.
"""

from dataclasses import dataclass
from typing import LiteralString

from noetl.database.connect import Database

SAMPLES = 5
"""How many findings of a kind are named."""


@dataclass(frozen=True)
class Check:
    """`says` is completed by the rows of `query`: an execution and a detail each."""

    says: str
    query: LiteralString


ENDS: LiteralString = "('execution_complete', 'execution_failed', 'execution_cancelled')"

CHECKS = (
    Check(
        "events are numbered 1, 2, 3 ... without gaps, up to execution.last_event_id",
        """SELECT coalesce(e.execution_id, l.execution_id),
                  format('last_event_id %s, %s events from %s to %s', e.last_event_id, l.n, l.first, l.last)
             FROM execution AS e
             FULL JOIN (SELECT execution_id, count(*) AS n, min(event_id) AS first, max(event_id) AS last
                          FROM event_log GROUP BY execution_id) AS l ON l.execution_id = e.execution_id
            WHERE e.execution_id IS NULL OR l.execution_id IS NULL
               OR l.first <> 1 OR l.n <> l.last OR l.last <> e.last_event_id""",
    ),
    Check(
        "timestamps strictly increase within an execution",
        """SELECT execution_id, format('event %s at %s', event_id, timestamp)
             FROM (SELECT execution_id, event_id, timestamp,
                          lag(timestamp) OVER (PARTITION BY execution_id ORDER BY event_id) AS before
                     FROM event_log) AS l
            WHERE timestamp <= before""",
    ),
    Check(
        "last_event_at is the time of the last event",
        """SELECT e.execution_id, format('%s, event %s at %s', e.last_event_at, l.event_id, l.timestamp)
             FROM execution AS e JOIN event_log AS l ON l.execution_id = e.execution_id
              AND l.event_id = e.last_event_id
            WHERE l.timestamp <> e.last_event_at""",
    ),
    Check(
        "the first event, and only that, is execution_start",
        """SELECT execution_id, format('event %s is %s', event_id, event_type) FROM event_log
            WHERE (event_id = 1) <> (event_type = 'execution_start')""",
    ),
    Check(
        "exactly one terminal event, the last of all, of the kind the status names",
        f"""SELECT e.execution_id, format('status %s, terminal events %s, last event %s',
                                          e.status, l.ends, e.last_event_id)
              FROM execution AS e
              LEFT JOIN (SELECT execution_id, count(*) AS n, max(event_id) AS event_id,
                                string_agg(event_type, ', ') AS ends
                           FROM event_log WHERE event_type IN {ENDS} GROUP BY execution_id) AS l
                ON l.execution_id = e.execution_id
             WHERE CASE WHEN e.finished_at IS NULL THEN l.n IS NOT NULL
                        ELSE l.n IS DISTINCT FROM 1 OR l.event_id <> e.last_event_id
                          OR l.ends <> CASE e.status WHEN 'completed' THEN 'execution_complete'
                                                     ELSE 'execution_' || e.status END
                   END""",
    ),
    Check(
        "an execution that has not ended has a job in the queue",
        """SELECT e.execution_id, format('status %s', e.status) FROM execution AS e
            WHERE e.finished_at IS NULL AND e.status <> 'paused'
              AND NOT EXISTS (SELECT FROM queue AS q WHERE q.execution_id = e.execution_id)""",
    ),
    Check(
        "every job belongs to an execution that has not ended",
        """SELECT q.execution_id, format('job %s (%s) is %s', q.id, q.node_id, q.status) FROM queue AS q
            WHERE NOT EXISTS (SELECT FROM execution AS e
                               WHERE e.execution_id = q.execution_id
                                 AND (e.finished_at IS NULL OR q.node_id LIKE '$%'))""",
    ),
    Check(
        "every job has the step_queued event of its visit, and no event that ended it",
        """SELECT q.execution_id, format('job %s: %s, visit %s', q.id, q.node_id, q.visit) FROM queue AS q
            WHERE q.node_id NOT LIKE '$%'
              AND NOT (EXISTS (SELECT FROM event_log AS l
                                WHERE l.execution_id = q.execution_id AND l.node_id = split_part(q.node_id, '/', 1)
                                  AND l.visit = q.visit AND l.event_type = 'step_queued')
                       AND NOT EXISTS
                              (SELECT FROM event_log AS l
                                WHERE l.execution_id = q.execution_id AND l.node_id = split_part(q.node_id, '/', 1)
                                  AND l.visit = q.visit AND l.event_type IN
                                      ('step_completed', 'step_failed', 'step_skipped', 'step_cancelled')))""",
    ),
    Check(
        "a step run that was queued has ended, or has a job in the queue",
        """SELECT l.execution_id, format('%s, visit %s', l.node_id, l.visit)
             FROM event_log AS l JOIN execution AS e ON e.execution_id = l.execution_id
            WHERE l.event_type = 'step_queued'
              AND NOT EXISTS (SELECT FROM event_log AS x
                               WHERE x.execution_id = l.execution_id AND x.node_id = l.node_id
                                 AND x.visit = l.visit AND x.event_type IN
                                     ('step_completed', 'step_failed', 'step_skipped', 'step_cancelled'))
              AND NOT EXISTS (SELECT FROM queue AS q
                               WHERE q.execution_id = l.execution_id AND split_part(q.node_id, '/', 1) = l.node_id
                                 AND q.visit = l.visit)""",
    ),
    Check(
        "each item of a loop that has begun and not ended has a job, or a loop of its own",
        """SELECT e.execution_id, format('%s: %s have begun, %s ended, %s have a job, %s a loop', l.key,
                                         l.value ->> 'begun', l.value ->> 'ended', j.jobs, i.inner_loops)
             FROM execution AS e
            CROSS JOIN LATERAL json_each(e.state -> 'loops') AS l
            CROSS JOIN LATERAL (SELECT count(*) AS jobs FROM queue AS q
                                 WHERE q.execution_id = e.execution_id AND q.node_id = l.key
                                   AND q.item_index >= 0) AS j
            CROSS JOIN LATERAL (SELECT count(*) AS inner_loops FROM json_object_keys(e.state -> 'loops') AS k
                                 WHERE regexp_replace(k, '/[0-9]+$', '') = l.key AND k <> l.key) AS i
            WHERE e.finished_at IS NULL AND e.state -> 'loops' IS NOT NULL
              AND (l.value ->> 'begun')::bigint - (l.value ->> 'ended')::bigint <> j.jobs + i.inner_loops""",
    ),
    Check(
        "an item of a loop ends once",
        """SELECT execution_id, format('%s, visit %s, item %s: %s', node_id, visit, item_index,
                                       string_agg(event_type, ', '))
             FROM event_log
            WHERE event_type IN ('item_completed', 'item_failed', 'item_skipped')
            GROUP BY execution_id, node_id, visit, item_index HAVING count(*) > 1""",
    ),
    Check(
        "a step that ran over a list has an event for each of its items",
        """SELECT l.execution_id, format('%s, visit %s: %s items, %s events', l.node_id, l.visit,
                                         l.meta #>> '{loop,count}', x.n)
             FROM event_log AS l
            CROSS JOIN LATERAL (SELECT count(*) AS n FROM event_log AS x
                                 WHERE x.execution_id = l.execution_id AND x.node_id = l.node_id
                                   AND x.visit = l.visit AND x.event_type IN ('item_completed', 'item_failed')) AS x
            WHERE l.event_type = 'step_completed' AND l.meta #>> '{loop,count}' IS NOT NULL
              AND (l.meta #>> '{loop,count}')::bigint <> x.n""",
    ),
    Check(
        "a loop that has begun has what it runs over, in chunks of 500 items",
        """SELECT l.execution_id, format('%s, visit %s: %s items, %s of them in %s chunks', l.node_id, l.visit,
                                         l.context ->> 'count', c.items, c.n)
             FROM event_log AS l
            CROSS JOIN LATERAL (SELECT count(*) AS n, count(*) FILTER (WHERE chunk >= 0) AS numbered,
                                       coalesce(max(chunk) + 1, 0) AS following,
                                       coalesce(sum(CASE json_typeof(items) WHEN 'array' THEN json_array_length(items)
                                                    END), 0) AS items
                                  FROM loop_item AS c
                                 WHERE c.execution_id = l.execution_id AND c.node_id = l.node_id
                                   AND c.visit = l.visit) AS c
            WHERE l.event_type = 'loop_started'
              AND (((l.context ->> 'count')::bigint + 499) / 500 <> c.n OR c.numbered <> c.n OR c.following <> c.n
                   OR (l.context ->> 'count')::bigint <> c.items)""",
    ),
    Check(
        "every item that has a job or an event is one of its loop's",
        """SELECT x.execution_id, format('%s, visit %s, item %s', x.node_id, x.visit, x.item_index)
             FROM (SELECT execution_id, node_id, visit, item_index FROM event_log WHERE item_index >= 0
                   UNION ALL
                   SELECT execution_id, node_id, visit, item_index FROM queue WHERE item_index >= 0) AS x
            WHERE NOT EXISTS (SELECT FROM event_log AS l
                               WHERE l.execution_id = x.execution_id AND l.node_id = x.node_id AND l.visit = x.visit
                                 AND l.event_type = 'loop_started'
                                 AND (l.context ->> 'count')::bigint > x.item_index)""",
    ),
    Check(
        "a child that is waited for knows the job that it wakes at its end",
        """SELECT c.execution_id, format('job %s of execution %s waits for it, it knows of job %s', q.id,
                                         q.execution_id, coalesce(c.parent_job_id::text, 'none'))
             FROM queue AS q JOIN execution AS c ON c.execution_id = (q.context ->> 'child')::bigint
            WHERE q.status = 'waiting' AND c.finished_at IS NULL
              AND (c.parent_job_id IS DISTINCT FROM q.id OR c.parent_execution_id IS DISTINCT FROM q.execution_id)""",
    ),
    Check(
        "a job waits, or is leased, until a moment that will come",
        """SELECT execution_id, format('job %s (%s) is %s until %s', id, node_id, status,
                                       coalesce(available_at, lease_until))
             FROM queue WHERE NOT isfinite(available_at) OR NOT isfinite(lease_until)""",
    ),
    Check(
        "no lease is longer than its worker's are (a day, where the worker is not known)",
        """SELECT q.execution_id, format('job %s (%s) is leased to %s until %s', q.id, q.node_id, q.worker_id,
                                         q.lease_until)
             FROM queue AS q LEFT JOIN runtime AS r ON r.runtime_id = q.worker_id
            WHERE q.status = 'leased'
              AND q.lease_until > clock_timestamp() + interval '1 minute'
                                  + coalesce((r.meta ->> 'lease')::float, 86400) * interval '1 second'""",
    ),
    Check(
        "a quarantined job has its reason in the error log",
        """SELECT q.execution_id, format('job %s (%s)', q.id, q.node_id)
             FROM queue AS q JOIN execution AS e USING (execution_id)
            WHERE q.status = 'quarantined' AND e.status <> 'paused'
              AND NOT EXISTS (SELECT FROM error_log AS r
                               WHERE r.execution_id = q.execution_id AND r.node_id = q.node_id
                                 AND r.error_type = 'quarantined')""",
    ),
    Check(
        "an execution, its first event and its catalog version name one playbook",
        """SELECT e.execution_id, format('%s version %s; the event says %s version %s, the catalog %s version %s',
                                         e.path, e.version, l.context ->> 'path', l.context ->> 'version',
                                         c.path, c.version)
             FROM execution AS e
             JOIN catalog AS c USING (catalog_id)
             LEFT JOIN event_log AS l ON l.execution_id = e.execution_id AND l.event_id = 1
            WHERE e.path <> c.path OR e.version <> c.version OR l.context ->> 'path' <> e.path
               OR (l.context ->> 'version')::integer <> e.version OR l.context ->> 'hash' <> c.content_hash""",
    ),
    Check(
        "a payload is what its event stored",
        """SELECT p.execution_id, format('payload %s has %s bytes, it was stored with %s', p.payload_id,
                                         octet_length(p.body::text), p.size)
             FROM payload AS p
             LEFT JOIN event_log AS l ON l.execution_id = p.execution_id AND l.event_id = p.payload_id
            WHERE octet_length(p.body::text) <> p.size
               OR l.meta ->> 'sha256' <> encode(sha256(convert_to(p.body::text, 'UTF8')), 'hex')""",
    ),
    Check(
        "a job waits without a time only for a child that has not ended, since nobody else will wake it",
        """SELECT q.execution_id, format('job %s (%s) waits for %s', q.id, q.node_id,
                                         coalesce(q.context ->> 'child', 'nobody'))
             FROM queue AS q
            WHERE q.status = 'waiting' AND q.available_at IS NULL
              AND NOT EXISTS (SELECT FROM execution AS c
                               WHERE c.execution_id = (q.context ->> 'child')::bigint AND c.finished_at IS NULL)""",
    ),
    Check(
        "a step run ends once",
        """SELECT execution_id, format('%s, visit %s: %s', node_id, visit, string_agg(event_type, ', '))
             FROM event_log
            WHERE event_type IN ('step_completed', 'step_failed', 'step_skipped', 'step_cancelled')
            GROUP BY execution_id, node_id, visit HAVING count(*) > 1""",
    ),
    Check(
        "every result_ref has its payload, and every payload its event",
        """SELECT coalesce(l.execution_id, p.execution_id), format('event %s, payload %s', l.event_id, p.payload_id)
             FROM (SELECT execution_id, event_id, result_ref FROM event_log WHERE result_ref IS NOT NULL) AS l
             FULL JOIN payload AS p ON p.execution_id = l.execution_id AND p.payload_id = l.result_ref
            WHERE l.execution_id IS NULL OR p.execution_id IS NULL""",
    ),
    Check(
        "every execution has its workload",
        """SELECT e.execution_id, e.path FROM execution AS e
            WHERE NOT EXISTS (SELECT FROM workload AS w WHERE w.execution_id = e.execution_id)""",
    ),
    Check(
        "a child's root is its parent's",
        """SELECT e.execution_id, format('parent %s, root %s', e.parent_execution_id, e.root_execution_id)
             FROM execution AS e LEFT JOIN execution AS p ON p.execution_id = e.parent_execution_id
            WHERE e.root_execution_id <> coalesce(p.root_execution_id, e.execution_id)""",
    ),
)


def verify(db: Database) -> list[str]:
    """Check the invariants over the whole database; return one sentence per violation, none if all hold.

    Reads one snapshot, so it can run beside live workers.
    """
    findings: list[str] = []
    with db.connect() as conn, db.transaction(conn, pipeline=False):
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        for check in CHECKS:
            rows = conn.execute(f"SELECT x.*, count(*) OVER () FROM ({check.query}) AS x LIMIT {SAMPLES}").fetchall()
            findings += [f"execution {row[0]}: {row[1]}; but {check.says}" for row in rows]
            if rows and rows[0][-1] > SAMPLES:
                findings.append(f"and {rows[0][-1] - SAMPLES} more where not: {check.says}")
    return findings
