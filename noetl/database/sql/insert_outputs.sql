-- Keep what a step run printed.
INSERT INTO output (execution_id, node_id, visit, item_index, attempt, text)
SELECT execution_id, node_id, visit, item_index, attempt, text
  FROM json_to_recordset(%(rows)s::json)
    AS r (execution_id bigint, node_id text, visit integer, item_index integer, attempt integer, text text)
ON CONFLICT DO NOTHING
