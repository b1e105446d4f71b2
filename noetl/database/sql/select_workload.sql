-- Read the rendered workload of one execution.
SELECT payload FROM workload WHERE execution_id = %(execution)s
