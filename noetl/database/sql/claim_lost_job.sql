-- Lease one job whose worker was lost before. The caller begins nothing else beside it, so that a job that takes
-- its worker down with it takes down nothing else.
UPDATE queue q
   SET status = 'leased', worker_id = %(worker)s, attempts = q.attempts + 1,
       lease_until = clock_timestamp() + %(lease)s * interval '1 second'
  FROM execution e
 WHERE q.id = ANY (ARRAY (
         SELECT id
           FROM queue
          WHERE status = 'queued' AND lost > 0 AND pool = %(pool)s
          ORDER BY id
          LIMIT 1
            FOR UPDATE SKIP LOCKED))
   AND e.execution_id = q.execution_id
RETURNING q.id, q.execution_id, q.node_id, q.visit, q.item_index, q.attempts, q.failures, q.lost, q.context::text,
          q.pool, q.priority, (extract(epoch FROM q.created_at) * 1000000)::bigint,
          (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
          e.catalog_id, e.last_event_id, (extract(epoch FROM e.last_event_at) * 1000000)::bigint, e.state::text, e.root_execution_id, e.parent_execution_id, e.parent_job_id,
          e.status
