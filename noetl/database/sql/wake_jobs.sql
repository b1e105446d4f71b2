-- A child has ended: the parent's waiting row may run. Not where it waits for something else by now: a child that was
-- given up, and has ended late, does not shorten the pause before the next attempt. Rows are locked in the order of
-- their ids.
UPDATE queue q
   SET status = 'queued', available_at = NULL
  FROM (SELECT w.id
          FROM queue w
          JOIN unnest(%(jobs)s::bigint[], %(children)s::bigint[]) AS c (id, child)
            ON w.id = c.id AND w.context ->> 'child' = c.child::text
         WHERE w.id = ANY (%(jobs)s::bigint[]) AND w.status = 'waiting'
         ORDER BY w.id
           FOR UPDATE OF w) w
 WHERE q.id = w.id AND q.id = ANY (%(jobs)s::bigint[])
