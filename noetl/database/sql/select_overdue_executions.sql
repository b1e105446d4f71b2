-- Executions past their timeout that nobody has ended yet, but for those that could not be ended a moment ago.
SELECT execution_id
  FROM execution
 WHERE expires_at < (SELECT clock_timestamp()) AND finished_at IS NULL AND status IN ('running', 'paused')
   AND execution_id <> ALL (%(skip)s::bigint[])
 ORDER BY expires_at
 LIMIT %(limit)s
