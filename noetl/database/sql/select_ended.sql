-- Read how an execution ended: its result (or that of one of its steps), and its error. One execution, so that `=`
-- prunes the partitions.
SELECT e.status, e.path,
       CASE WHEN %(step)s::text IS NOT NULL
            THEN (SELECT coalesce(l.result, p.body)::text
                    FROM event_log l
                    LEFT JOIN payload p ON p.execution_id = %(execution)s AND p.payload_id = l.result_ref
                   WHERE l.execution_id = %(execution)s AND l.node_id = %(step)s AND l.event_type = 'step_completed'
                   ORDER BY l.event_id DESC LIMIT 1)
            ELSE (SELECT coalesce(r.result, p.body)::text
                    FROM event_log r
                    LEFT JOIN payload p ON p.execution_id = %(execution)s AND p.payload_id = r.result_ref
                   WHERE r.execution_id = %(execution)s
                     AND r.event_id = coalesce((t.meta ->> 'result_event')::bigint, t.event_id)) END,
       t.error::text,
       %(step)s::text IS NULL
       OR EXISTS (SELECT FROM event_log l
                   WHERE l.execution_id = %(execution)s AND l.node_id = %(step)s AND l.event_type = 'step_completed')
  FROM execution e
  LEFT JOIN event_log t ON t.execution_id = %(execution)s AND t.event_id = e.last_event_id
 WHERE e.execution_id = %(execution)s
