-- Read results and arrivals of some events of one execution (one execution per statement: `=` prunes partitions).
SELECT event_id, result::text, meta::text, error::text, event_type = 'loop_started'
  FROM event_result
 WHERE execution_id = %(execution)s AND event_id = ANY (%(events)s::bigint[])
