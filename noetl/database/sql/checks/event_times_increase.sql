-- timestamps strictly increase within an execution
SELECT execution_id, format('event %s at %s', event_id, timestamp)
  FROM (SELECT execution_id, event_id, timestamp,
               lag(timestamp) OVER (PARTITION BY execution_id ORDER BY event_id) AS before
          FROM event_log) AS l
 WHERE timestamp <= before
