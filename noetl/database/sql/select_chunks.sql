-- Read chunks of what the loops of one execution run over.
SELECT i.node_id, i.visit, i.chunk, i.items::text
  FROM json_to_recordset(%(chunks)s::json) AS c (node_id text, visit integer, chunk integer)
  JOIN loop_item i ON i.node_id = c.node_id AND i.visit = c.visit AND i.chunk = c.chunk
                  AND i.execution_id = %(execution)s
