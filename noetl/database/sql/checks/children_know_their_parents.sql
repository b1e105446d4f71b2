-- a child that is waited for knows the job that it wakes at its end
SELECT c.execution_id, format('job %s of execution %s waits for it, it knows of job %s', q.id,
                              q.execution_id, coalesce(c.parent_job_id::text, 'none'))
  FROM queue AS q JOIN execution AS c ON c.execution_id = (q.context ->> 'child')::bigint
 WHERE q.status = 'waiting' AND c.finished_at IS NULL
   AND (c.parent_job_id IS DISTINCT FROM q.id OR c.parent_execution_id IS DISTINCT FROM q.execution_id)
