-- Shorten leases that are longer than their worker ever takes them: the clock was set back since. So a lost worker's
-- job runs again as soon as ever after that. Each worker tells in `runtime` how long its leases are; a day where it does
-- not. Only leases beyond those of the worker that looks are read: usually none.
UPDATE queue
   SET lease_until = clock_timestamp() + f.lease
  FROM (SELECT q.id, coalesce((r.meta ->> 'lease')::double precision, 86400) * interval '1 second' AS lease
          FROM queue AS q
          LEFT JOIN runtime AS r ON r.runtime_id = q.worker_id
         WHERE q.status = 'leased' AND q.lease_until > (SELECT clock_timestamp() + %(beyond)s * interval '1 second')
           AND q.lease_until > clock_timestamp() + %(slack)s * interval '1 second'
                               + coalesce((r.meta ->> 'lease')::double precision, 86400) * interval '1 second'
         ORDER BY q.lease_until DESC
         LIMIT %(limit)s
           FOR UPDATE OF q SKIP LOCKED) AS f
 WHERE queue.id = f.id
