-- a job waits without a time only for a child that has not ended, since nobody else will wake it
SELECT q.execution_id, format('job %s (%s) waits for %s', q.id, q.node_id,
                              coalesce(q.context ->> 'child', 'nobody'))
  FROM queue AS q
 WHERE q.status = 'waiting' AND q.available_at IS NULL
   AND NOT EXISTS (SELECT FROM execution AS c
                    WHERE c.execution_id = (q.context ->> 'child')::bigint AND c.finished_at IS NULL)
