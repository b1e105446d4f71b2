-- Read of the events of one execution what its state was folded from.
SELECT event_id, event_type, coalesce(node_id, ''), coalesce(node_type, ''), coalesce(visit, 0), item_index,
       coalesce(attempt, 0), context, result IS NOT NULL OR result_ref IS NOT NULL, error, meta
  FROM event_log
 WHERE execution_id = %(execution)s
 ORDER BY event_id
