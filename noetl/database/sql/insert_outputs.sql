-- Keep what a step run printed. The time is read under the execution's lock: who follows the output by its time misses
-- nothing.
INSERT INTO output (execution_id, node_id, visit, item_index, attempt, text, created_at)
SELECT execution_id, node_id, visit, item_index, attempt, text, clock_timestamp()
  FROM json_to_recordset(%(rows)s::json)
    AS r (execution_id bigint, node_id text, visit integer, item_index integer, attempt integer, text text)
ON CONFLICT DO NOTHING
