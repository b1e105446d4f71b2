-- The steps of a catalog version, as they stand in the file.
INSERT INTO workflow (catalog_id, node_id, node_name, node_type, phase, position, description, spec)
SELECT catalog_id, node_id, node_id, node_type, phase, position, description, spec
  FROM json_to_recordset(%(rows)s::json)
    AS r (catalog_id bigint, node_id text, node_type text, phase text, position integer, description text, spec json)
