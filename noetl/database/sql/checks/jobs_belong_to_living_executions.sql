-- every job belongs to an execution that has not ended
SELECT q.execution_id, format('job %s (%s) is %s', q.id, q.node_id, q.status) FROM queue AS q
 WHERE NOT EXISTS (SELECT FROM execution AS e
                    WHERE e.execution_id = q.execution_id
                      AND (e.finished_at IS NULL OR q.node_id LIKE '$%'))
