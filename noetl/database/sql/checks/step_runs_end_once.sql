-- a step run ends once
SELECT execution_id, format('%s, visit %s: %s', node_id, visit, string_agg(event_type, ', '))
  FROM event_log
 WHERE event_type IN ('step_completed', 'step_failed', 'step_skipped', 'step_cancelled')
 GROUP BY execution_id, node_id, visit HAVING count(*) > 1
