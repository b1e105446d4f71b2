-- the first event, and only that, is execution_start
SELECT execution_id, format('event %s is %s', event_id, event_type) FROM event_log
 WHERE (event_id = 1) <> (event_type = 'execution_start')
