-- Read results and arrivals of some events of one execution (one execution per statement: `=` prunes partitions).
SELECT l.event_id, coalesce(l.result, p.body)::text, l.meta::text, l.error::text,
       l.event_type = 'loop_started'
  FROM event_log l
  LEFT JOIN payload p ON p.execution_id = l.execution_id AND p.payload_id = l.result_ref
                     AND p.execution_id = %(execution)s
 WHERE l.execution_id = %(execution)s AND l.event_id = ANY (%(events)s::bigint[])
