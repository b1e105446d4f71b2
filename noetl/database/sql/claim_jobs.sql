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
RETURNING {leased_job}
