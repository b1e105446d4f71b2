-- Pools with their living workers: those that run and have said so lately. Workers that drain claim no jobs.
SELECT pool, count(*)
  FROM runtime, unnest(pools) AS pool
 WHERE kind = 'worker' AND status = 'running'
   AND heartbeat_at > clock_timestamp() - %(seconds)s * interval '1 second'
 GROUP BY pool
