-- no lease is longer than its worker's are (a day, where the worker is not known)
SELECT q.execution_id, format('job %s (%s) is leased to %s until %s', q.id, q.node_id, q.worker_id,
                              q.lease_until)
  FROM queue AS q LEFT JOIN runtime AS r ON r.runtime_id = q.worker_id
 WHERE q.status = 'leased'
   AND q.lease_until > clock_timestamp() + interval '1 minute'
                       + coalesce((r.meta ->> 'lease')::float, 86400) * interval '1 second'
