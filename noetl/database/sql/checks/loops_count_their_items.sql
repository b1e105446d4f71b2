-- a step that ran over a list has an event for each of its items
SELECT l.execution_id, format('%s, visit %s: %s items, %s events', l.node_id, l.visit,
                              l.meta #>> '{loop,count}', x.n)
  FROM event_log AS l
 CROSS JOIN LATERAL (SELECT count(*) AS n FROM event_log AS x
                      WHERE x.execution_id = l.execution_id AND x.node_id = l.node_id
                        AND x.visit = l.visit AND x.event_type IN ('item_completed', 'item_failed')) AS x
 WHERE l.event_type = 'step_completed' AND l.meta #>> '{loop,count}' IS NOT NULL
   AND (l.meta #>> '{loop,count}')::bigint <> x.n
