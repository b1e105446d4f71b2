-- Take the jobs of one execution that have not begun out of the queue: all, or the items of one loop (`within`) and of
-- the loops in it. The execution's row is locked by the caller. A cancel by the parent stays: it ends what runs, too.
DELETE FROM queue q
 USING (SELECT id FROM queue
         WHERE execution_id = %(execution)s AND status IN ('queued', 'waiting', 'quarantined') AND node_id <> '$cancel'
           AND (%(within)s::text IS NULL OR node_id = %(within)s OR starts_with(node_id, %(within)s || '/'))
         ORDER BY id FOR UPDATE) w
 WHERE q.id = w.id AND q.status <> 'leased'
RETURNING {job}
