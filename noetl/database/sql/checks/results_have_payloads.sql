-- every result_ref has its payload, and every payload its event
SELECT coalesce(l.execution_id, p.execution_id), format('event %s, payload %s', l.event_id, p.payload_id)
  FROM (SELECT execution_id, event_id, result_ref FROM event_log WHERE result_ref IS NOT NULL) AS l
  FULL JOIN payload AS p ON p.execution_id = l.execution_id AND p.payload_id = l.result_ref
 WHERE l.execution_id IS NULL OR p.execution_id IS NULL
