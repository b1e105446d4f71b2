-- Read one event with what it gave.
SELECT event_id, event_type, node_id, visit, item_index, result, result IS NOT NULL, error, meta
  FROM event_result
 WHERE execution_id = %(execution)s AND event_id = %(event)s
