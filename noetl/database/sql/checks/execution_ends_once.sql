-- exactly one terminal event, the last of all, of the kind the status names
SELECT e.execution_id, format('status %s, terminal events %s, last event %s',
                              e.status, l.ends, e.last_event_id)
  FROM execution AS e
  LEFT JOIN (SELECT execution_id, count(*) AS n, max(event_id) AS event_id,
                    string_agg(event_type, ', ') AS ends
               FROM event_log
              WHERE event_type IN ('execution_complete', 'execution_failed', 'execution_cancelled')
              GROUP BY execution_id) AS l
    ON l.execution_id = e.execution_id
 WHERE CASE WHEN e.finished_at IS NULL THEN l.n IS NOT NULL
            ELSE l.n IS DISTINCT FROM 1 OR l.event_id <> e.last_event_id
              OR l.ends <> CASE e.status WHEN 'completed' THEN 'execution_complete'
                                         ELSE 'execution_' || e.status END
       END
