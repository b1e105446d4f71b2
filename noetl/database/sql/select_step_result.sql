-- Read the event that ended a step or an item with what it gave: of one visit, or of the last.
SELECT event_id, event_type, node_id, visit, item_index, result, result IS NOT NULL, error, meta
  FROM event_result
 WHERE execution_id = %(execution)s AND node_id = %(node)s AND item_index = %(item)s
   AND (%(visit)s::integer IS NULL OR visit = %(visit)s)
   AND event_type IN ('step_completed', 'step_failed', 'item_completed', 'item_failed')
 ORDER BY event_id DESC
 LIMIT 1
