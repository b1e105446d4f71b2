-- Read the first steps that failed for good.
SELECT event_id, event_type, timestamp, node_id, node_type, visit, item_index, attempt, error
  FROM event_log
 WHERE execution_id = %(execution)s AND event_type = 'step_failed'
 ORDER BY event_id
 LIMIT %(limit)s
