-- Read what of an execution stands in the queue, the oldest first.
SELECT id, node_id, visit, item_index, status, pool, priority, attempts, failures, lost, available_at, lease_until,
       worker_id, context ->> 'child' AS child, (context ->> 'due')::bigint AS due,
       lease_until < clock_timestamp() AS expired
  FROM queue
 WHERE execution_id = %(execution)s
 ORDER BY id
 LIMIT %(limit)s
