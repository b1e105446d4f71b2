-- a job waits, or is leased, until a moment that will come
SELECT execution_id, format('job %s (%s) is %s until %s', id, node_id, status,
                            coalesce(available_at, lease_until))
  FROM queue WHERE NOT isfinite(available_at) OR NOT isfinite(lease_until)
