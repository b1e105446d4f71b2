-- Read the rendered workloads of executions a worker sees for the first time.
SELECT execution_id, payload::text FROM workload WHERE execution_id = ANY (%(executions)s::bigint[])
