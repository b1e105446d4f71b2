-- a quarantined job has its reason in the error log
SELECT q.execution_id, format('job %s (%s)', q.id, q.node_id)
  FROM queue AS q JOIN execution AS e USING (execution_id)
 WHERE q.status = 'quarantined' AND e.status <> 'paused'
   AND NOT EXISTS (SELECT FROM error_log AS r
                    WHERE r.execution_id = q.execution_id AND r.node_id = q.node_id
                      AND r.error_type = 'quarantined')
