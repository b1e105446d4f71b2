-- every execution has its workload
SELECT e.execution_id, e.path FROM execution AS e
 WHERE NOT EXISTS (SELECT FROM workload AS w WHERE w.execution_id = e.execution_id)
