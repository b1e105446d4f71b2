-- Living workers of each pool, and their slots together.
SELECT pool, count(*), sum(slots)
  FROM runtime, unnest(pools) AS pool
 WHERE kind = 'worker' AND status = 'running'
   AND heartbeat_at > clock_timestamp() - %(seconds)s * interval '1 second'
 GROUP BY pool
