-- Read why the last job of a step was quarantined.
SELECT message
  FROM error_log
 WHERE execution_id = %(execution)s AND node_id = %(node)s AND error_type = 'quarantined'
 ORDER BY error_id DESC
 LIMIT 1
