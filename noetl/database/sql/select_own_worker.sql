-- Find a living worker that serves one execution's tree alone.
SELECT runtime_id
  FROM runtime
 WHERE kind = 'worker' AND status = 'running'
   AND heartbeat_at > clock_timestamp() - %(seconds)s * interval '1 second'
   AND meta ->> 'only_root' = %(root)s
 LIMIT 1
