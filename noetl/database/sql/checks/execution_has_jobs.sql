-- an execution that has not ended has a job in the queue
SELECT e.execution_id, format('status %s', e.status) FROM execution AS e
 WHERE e.finished_at IS NULL AND e.status <> 'paused'
   AND NOT EXISTS (SELECT FROM queue AS q WHERE q.execution_id = e.execution_id)
