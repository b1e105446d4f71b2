-- Read how an execution ended: its result (or that of one of its steps), and its error; of a loop's result, the event
-- that began the loop. One execution, so that `=` prunes the partitions.
SELECT e.status, e.path, r.result::text, t.error::text, r.event_id IS NOT NULL,
       CASE WHEN r.event_type = 'loop_started' THEN r.event_id ELSE (r.meta #>> '{loop,first}')::bigint END
  FROM execution e
  LEFT JOIN event_log t ON t.execution_id = %(execution)s AND t.event_id = e.last_event_id
  LEFT JOIN event_result r
         ON r.execution_id = %(execution)s
        AND r.event_id = CASE WHEN %(step)s::text IS NULL
                              THEN coalesce((t.meta ->> 'result_event')::bigint, t.event_id)
                              ELSE (SELECT max(l.event_id) FROM event_log l
                                     WHERE l.execution_id = %(execution)s AND l.node_id = %(step)s
                                       AND l.event_type = 'step_completed') END
 WHERE e.execution_id = %(execution)s
