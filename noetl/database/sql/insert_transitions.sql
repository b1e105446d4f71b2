-- The edges of a catalog version, by the number that events name them with.
INSERT INTO transition (catalog_id, edge, from_node, to_node, kind, condition, args)
SELECT catalog_id, edge, from_node, to_node, kind, condition, args
  FROM json_to_recordset(%(rows)s::json)
    AS r (catalog_id bigint, edge integer, from_node text, to_node text, kind text, condition text, args json)
