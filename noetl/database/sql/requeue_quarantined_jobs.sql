-- Queue the quarantined jobs of some pools, but for those of paused executions.
UPDATE queue
   SET status = 'queued'
 WHERE id = ANY (ARRAY (
         SELECT q.id
           FROM queue AS q
           JOIN execution AS e USING (execution_id)
          WHERE q.status = 'quarantined' AND q.pool = ANY (%(pools)s::text[]) AND e.status <> 'paused'
          ORDER BY q.id
            FOR UPDATE OF q SKIP LOCKED))
RETURNING id
