-- Jobs whose lease expired some seconds ago, read without a lock: they are completed like any other outcome, under their
-- fence.
SELECT {leased_job}
  FROM queue q
  JOIN execution e USING (execution_id)
 WHERE q.status = 'leased' AND q.lease_until < (SELECT clock_timestamp() - make_interval(secs => %(seconds)s))
 ORDER BY q.lease_until
 LIMIT %(limit)s
