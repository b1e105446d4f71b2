-- Find the catalog version to start, a new execution id, and the execution that used the key before, if any.
SELECT c.catalog_id, c.version, c.kind, next_execution_id(),
       (SELECT e.execution_id FROM execution e WHERE e.path = c.path AND e.start_key = %(key)s),
       (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
  FROM catalog c
 WHERE c.path = %(path)s AND (%(version)s::integer IS NULL OR c.version = %(version)s)
 ORDER BY c.version DESC
 LIMIT 1
