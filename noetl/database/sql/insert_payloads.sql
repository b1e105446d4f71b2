-- Store large values once; events refer to them by number.
INSERT INTO payload (execution_id, payload_id, size, body)
SELECT execution_id, payload_id, size, body
  FROM json_to_recordset(%(rows)s::json) AS r (execution_id bigint, payload_id bigint, size bigint, body json)
