-- Keep structured errors for diagnosis.
INSERT INTO error_log (execution_id, node_id, visit, item_index, attempt, worker_id, error_type, message, detail)
SELECT execution_id, node_id, visit, item_index, attempt, worker_id, error_type, message, detail
  FROM json_to_recordset(%(rows)s::json)
    AS r (execution_id bigint, node_id text, visit integer, item_index integer, attempt integer, worker_id text,
          error_type text, message text, detail json)
