-- Where some executions stand: their newest event and their status.
SELECT execution_id, last_event_id, status
  FROM execution
 WHERE execution_id = ANY (%(executions)s::bigint[])
