-- Ask other executions to end, through their queue; once is enough.
INSERT INTO queue (execution_id, node_id, visit, pool, priority)
SELECT execution_id, node_id, visit, pool, priority
  FROM json_to_recordset(%(rows)s::json)
    AS r (execution_id bigint, node_id text, visit integer, pool text, priority integer)
ON CONFLICT (execution_id, node_id, item_index) DO NOTHING
