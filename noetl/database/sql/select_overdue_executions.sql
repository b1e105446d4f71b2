-- Executions past their timeout that nobody has ended yet.
SELECT execution_id
  FROM execution
 WHERE expires_at < (SELECT clock_timestamp()) AND finished_at IS NULL AND status IN ('running', 'paused')
 ORDER BY expires_at
 LIMIT %(limit)s
