-- Whether the log of one execution still holds an event as a worker saw it: number and time. Events are appended one by
-- one, so all before it are the same, too. One execution per statement: `=` prunes the partitions.
SELECT execution_id
  FROM event_log
 WHERE execution_id = %(execution)s AND event_id = %(event)s
   AND timestamp = timestamptz 'epoch' + %(at)s * interval '1 microsecond'
