-- Keep what a loop runs over, in chunks of its items.
INSERT INTO loop_item (execution_id, node_id, visit, chunk, items)
SELECT execution_id, node_id, visit, chunk, items
  FROM json_to_recordset(%(rows)s::json)
    AS r (execution_id bigint, node_id text, visit integer, chunk integer, items json)
