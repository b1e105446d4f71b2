-- Tell which of some executions ended long ago. What is not known here may be another instance's.
SELECT execution_id
  FROM execution
 WHERE execution_id = ANY (%(executions)s::bigint[])
   AND finished_at < clock_timestamp() - %(seconds)s * interval '1 second'
