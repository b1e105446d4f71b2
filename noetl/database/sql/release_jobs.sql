-- Put jobs back that were never begun. The fence number stays, so that a late answer finds nothing.
UPDATE queue
   SET status = 'queued', worker_id = NULL, lease_until = NULL
 WHERE status = 'leased' AND worker_id = %(worker)s AND id = ANY (%(jobs)s::bigint[])
