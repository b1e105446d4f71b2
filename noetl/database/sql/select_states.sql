-- Read where every execution stands. Reads the whole table.
SELECT execution_id, catalog_id, status, state
  FROM execution
 ORDER BY execution_id
