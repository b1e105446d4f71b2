-- Leases that have run out some seconds ago, read without a lock: they are completed like any other outcome, under their fence.
SELECT q.id, q.execution_id, q.node_id, q.visit, q.item_index, q.attempts, q.failures, q.lost, q.context::text,
       q.pool, q.priority, (extract(epoch FROM q.created_at) * 1000000)::bigint,
       (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
       e.catalog_id, e.last_event_id, (extract(epoch FROM e.last_event_at) * 1000000)::bigint, e.state::text, e.root_execution_id, e.parent_execution_id, e.parent_job_id,
       e.status
  FROM queue q
  JOIN execution e USING (execution_id)
 WHERE q.status = 'leased' AND q.lease_until < (SELECT clock_timestamp() - make_interval(secs => %(seconds)s))
 ORDER BY q.lease_until
 LIMIT %(limit)s
