-- every job has the step_queued event of its visit, and no event that ended it
SELECT q.execution_id, format('job %s: %s, visit %s', q.id, q.node_id, q.visit) FROM queue AS q
 WHERE q.node_id NOT LIKE '$%'
   AND NOT (EXISTS (SELECT FROM event_log AS l
                     WHERE l.execution_id = q.execution_id AND l.node_id = split_part(q.node_id, '/', 1)
                       AND l.visit = q.visit AND l.event_type = 'step_queued')
            AND NOT EXISTS
                   (SELECT FROM event_log AS l
                     WHERE l.execution_id = q.execution_id AND l.node_id = split_part(q.node_id, '/', 1)
                       AND l.visit = q.visit AND l.event_type IN
                           ('step_completed', 'step_failed', 'step_skipped', 'step_cancelled')))
