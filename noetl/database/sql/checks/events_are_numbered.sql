-- events are numbered 1, 2, 3 ... without gaps, up to execution.last_event_id
SELECT coalesce(e.execution_id, l.execution_id),
       format('last_event_id %s, %s events from %s to %s', e.last_event_id, l.n, l.first, l.last)
  FROM execution AS e
  FULL JOIN (SELECT execution_id, count(*) AS n, min(event_id) AS first, max(event_id) AS last
               FROM event_log GROUP BY execution_id) AS l ON l.execution_id = e.execution_id
 WHERE e.execution_id IS NULL OR l.execution_id IS NULL
    OR l.first <> 1 OR l.n <> l.last OR l.last <> e.last_event_id
