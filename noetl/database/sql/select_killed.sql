-- Which of these executions have their running attempts killed: cancelled, or past their time.
SELECT execution_id
  FROM execution
 WHERE execution_id = ANY (%(executions)s::bigint[])
   AND (status = 'cancelling' OR status = 'failing' AND expires_at < clock_timestamp())
