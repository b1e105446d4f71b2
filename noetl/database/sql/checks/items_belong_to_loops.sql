-- every item that has a job or an event is one of its loop's
SELECT x.execution_id, format('%s, visit %s, item %s', x.node_id, x.visit, x.item_index)
  FROM (SELECT execution_id, node_id, visit, item_index FROM event_log WHERE item_index >= 0
        UNION ALL
        SELECT execution_id, node_id, visit, item_index FROM queue WHERE item_index >= 0) AS x
 WHERE NOT EXISTS (SELECT FROM event_log AS l
                    WHERE l.execution_id = x.execution_id AND l.node_id = x.node_id AND l.visit = x.visit
                      AND l.event_type = 'loop_started'
                      AND (l.context ->> 'count')::bigint > x.item_index)
