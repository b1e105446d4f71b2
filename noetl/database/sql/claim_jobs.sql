-- Lease the next jobs of one pool to a worker. It looks at `queued` rows only (the claim index) and writes nothing
-- but the lease; jobs that were lost before are claimed apart (claim_lost_job). `attempts` is the fence: whoever
-- completes the job has to name the number it was given here.
--
-- The rows are picked and locked in an ARRAY: whatever the planner makes of the rest, that part runs once, and its
-- ids lead to the rows through the primary key.
UPDATE queue q
   SET status = 'leased', worker_id = %(worker)s, attempts = q.attempts + 1,
       lease_until = clock_timestamp() + %(lease)s * interval '1 second'
  FROM execution e
 WHERE q.id = ANY (ARRAY (
         SELECT id
           FROM queue
          WHERE status = 'queued' AND lost = 0 AND pool = %(pool)s
          ORDER BY priority DESC, id
          LIMIT %(slots)s
            FOR UPDATE SKIP LOCKED))
   AND e.execution_id = q.execution_id
RETURNING q.id, q.execution_id, q.node_id, q.visit, q.item_index, q.attempts, q.failures, q.lost, q.context::text,
          q.pool, q.priority, (extract(epoch FROM q.created_at) * 1000000)::bigint,
          (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
          e.catalog_id, e.last_event_id, (extract(epoch FROM e.last_event_at) * 1000000)::bigint, e.state::text, e.root_execution_id, e.parent_execution_id, e.parent_job_id,
          e.status
