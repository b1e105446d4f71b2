-- How many executions stand above this one.
WITH RECURSIVE up AS (
       SELECT parent_execution_id, 0 AS depth FROM execution WHERE execution_id = %(execution)s
       UNION ALL
       SELECT e.parent_execution_id, up.depth + 1
         FROM up JOIN execution e ON e.execution_id = up.parent_execution_id
        WHERE up.depth < 1000)
SELECT max(depth) FROM up
