-- The named tasks of a catalog version.
INSERT INTO workbook (catalog_id, task_name, task_type, spec)
SELECT catalog_id, task_name, task_type, spec
  FROM json_to_recordset(%(rows)s::json) AS r (catalog_id bigint, task_name text, task_type text, spec json)
