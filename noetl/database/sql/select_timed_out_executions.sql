-- Executions that have timed out and that nobody has ended yet, but for those that could not be ended a moment ago.
SELECT execution_id
  FROM execution
 WHERE timeout_at < (SELECT clock_timestamp()) AND finished_at IS NULL AND status IN ('running', 'paused')
   AND execution_id <> ALL (%(skip)s::bigint[])
 ORDER BY timeout_at
 LIMIT %(limit)s
