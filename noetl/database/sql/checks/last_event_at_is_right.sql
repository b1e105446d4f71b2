-- last_event_at is the time of the last event
SELECT e.execution_id, format('%s, event %s at %s', e.last_event_at, l.event_id, l.timestamp)
  FROM execution AS e JOIN event_log AS l ON l.execution_id = e.execution_id
   AND l.event_id = e.last_event_id
 WHERE l.timestamp <> e.last_event_at
