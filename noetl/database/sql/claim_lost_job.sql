-- Lease one job whose worker was lost before. The caller begins nothing else beside it, so that a job that
-- brings its worker down ends nothing else.
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
RETURNING {leased_job}
