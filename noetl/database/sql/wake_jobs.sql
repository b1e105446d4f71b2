-- A child has ended: the parent's waiting row may run. Rows are locked in the order of their ids.
UPDATE queue q
   SET status = 'queued', available_at = NULL
  FROM (SELECT id FROM queue WHERE id = ANY (%(jobs)s::bigint[]) AND status = 'waiting' ORDER BY id FOR UPDATE) w
 WHERE q.id = w.id
