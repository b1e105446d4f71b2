-- Read every catalog version with the names of what was made of it. Reads the whole catalog.
SELECT c.path, c.version, c.kind, c.content, c.content_hash,
       ARRAY (SELECT node_id FROM workflow AS w WHERE w.catalog_id = c.catalog_id),
       ARRAY (SELECT edge::text FROM transition AS t WHERE t.catalog_id = c.catalog_id),
       ARRAY (SELECT task_name FROM workbook AS b WHERE b.catalog_id = c.catalog_id)
  FROM catalog AS c
 ORDER BY c.path, c.version
