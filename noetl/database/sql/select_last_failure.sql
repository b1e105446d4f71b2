-- Read the last attempt of a step run that failed and was followed by another.
SELECT attempt, error, meta
  FROM event_log
 WHERE execution_id = %(execution)s AND node_id = %(node)s AND visit = %(visit)s AND item_index = %(item)s
   AND event_type = 'attempt_failed'
 ORDER BY event_id DESC
 LIMIT 1
