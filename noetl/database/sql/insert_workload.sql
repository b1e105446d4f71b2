-- Keep the rendered workload of an execution.
INSERT INTO workload (execution_id, payload) VALUES (%(execution)s, %(payload)s)
