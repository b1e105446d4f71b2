-- Which of these executions have their running attempts killed: cancelled, past their time, or cancelled once more
-- while their `finally` ran. The state says so; it is only looked at where the status allows it.
SELECT execution_id
  FROM execution
 WHERE execution_id = ANY (%(executions)s::bigint[])
   AND status IN ('cancelling', 'failing', 'finishing')
   AND (state ->> 'killing')::boolean
