-- a step run that was queued has ended, or has a job in the queue
SELECT l.execution_id, format('%s, visit %s', l.node_id, l.visit)
  FROM event_log AS l JOIN execution AS e ON e.execution_id = l.execution_id
 WHERE l.event_type = 'step_queued'
   AND NOT EXISTS (SELECT FROM event_log AS x
                    WHERE x.execution_id = l.execution_id AND x.node_id = l.node_id
                      AND x.visit = l.visit AND x.event_type IN
                          ('step_completed', 'step_failed', 'step_skipped', 'step_cancelled'))
   AND NOT EXISTS (SELECT FROM queue AS q
                    WHERE q.execution_id = l.execution_id AND split_part(q.node_id, '/', 1) = l.node_id
                      AND q.visit = l.visit)
