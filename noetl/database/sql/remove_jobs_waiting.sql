-- Remove finished jobs as remove_jobs does, to the letter (a test compares them), but wait for locked executions.
WITH asked AS (
       SELECT * FROM unnest(%(executions)s::bigint[], %(known)s::bigint[]) AS a (execution_id, last_event_id)),
     locked AS MATERIALIZED (
       SELECT e.execution_id, e.last_event_id, e.last_event_at, e.state, e.status
         FROM execution e
        WHERE e.execution_id = ANY (%(executions)s::bigint[])
        ORDER BY e.execution_id
          FOR NO KEY UPDATE),
     done AS (
       SELECT * FROM unnest(%(jobs)s::bigint[], %(attempts)s::integer[], %(expired)s::boolean[], %(of)s::bigint[])
                  AS d (id, attempts, expired, execution_id)),
     removed AS (
       DELETE FROM queue q
        USING done d
        WHERE q.id = d.id
          AND q.id = ANY (%(jobs)s::bigint[])
          AND q.execution_id = d.execution_id
          AND q.execution_id IN (SELECT execution_id FROM locked)
          AND q.status = 'leased'
          AND q.attempts = d.attempts
          AND (q.worker_id = %(worker)s OR d.expired AND q.lease_until < clock_timestamp())
       RETURNING q.execution_id, q.id, q.attempts)
SELECT l.execution_id, l.last_event_id, (extract(epoch FROM l.last_event_at) * 1000000)::bigint,
       (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
       CASE WHEN a.last_event_id = l.last_event_id THEN NULL ELSE l.state::text END,
       coalesce(r.jobs, '{}'), coalesce(r.attempts, '{}')
  FROM locked l
  JOIN asked a USING (execution_id)
  LEFT JOIN (SELECT execution_id, array_agg(id ORDER BY id) AS jobs, array_agg(attempts ORDER BY id) AS attempts
               FROM removed
              GROUP BY execution_id) r USING (execution_id)
