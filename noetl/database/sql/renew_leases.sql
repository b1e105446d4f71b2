-- Heartbeat: renew only what the worker holds in memory, skipping rows that a completion is just removing.
UPDATE queue q
   SET lease_until = clock_timestamp() + %(lease)s * interval '1 second'
 WHERE q.id = ANY (ARRAY (
         SELECT w.id
           FROM queue w
           JOIN unnest(%(jobs)s::bigint[], %(attempts)s::integer[]) AS m (id, attempts)
             ON w.id = m.id AND w.attempts = m.attempts
          WHERE w.id = ANY (%(jobs)s::bigint[]) AND w.status = 'leased' AND w.worker_id = %(worker)s
          ORDER BY w.id
            FOR UPDATE OF w SKIP LOCKED))
RETURNING q.id
