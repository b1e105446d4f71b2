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
RETURNING q.id, q.execution_id, q.node_id, q.visit, q.item_index, q.attempts, q.failures, q.lost, q.context::text,
          q.pool, q.priority, (extract(epoch FROM q.created_at) * 1000000)::bigint,
          (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
          e.catalog_id, e.last_event_id, (extract(epoch FROM e.last_event_at) * 1000000)::bigint, e.state::text, e.root_execution_id, e.parent_execution_id, e.parent_job_id,
          e.status
