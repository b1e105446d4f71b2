-- Read what is shown of an execution's jobs.
SELECT id, node_id, visit, item_index, status, attempts, failures, worker_id, available_at
  FROM queue
 WHERE execution_id = %(execution)s
 ORDER BY id
 LIMIT 100
