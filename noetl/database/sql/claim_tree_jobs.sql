-- Lease the next jobs of one execution tree to a worker that was started for it alone, in whatever pool they are.
UPDATE queue q
   SET status = 'leased', worker_id = %(worker)s, attempts = q.attempts + 1,
       lease_until = clock_timestamp() + %(lease)s * interval '1 second'
  FROM execution e
 WHERE q.id = ANY (ARRAY (
         SELECT id
           FROM queue
          WHERE status = 'queued'
            AND execution_id = ANY (ARRAY (
                  SELECT %(root)s::bigint
                   UNION ALL
                  SELECT execution_id FROM execution
                   WHERE root_execution_id = %(root)s AND parent_execution_id IS NOT NULL))
          ORDER BY priority DESC, id
          LIMIT %(slots)s
            FOR UPDATE SKIP LOCKED))
   AND e.execution_id = q.execution_id
RETURNING {leased_job}
