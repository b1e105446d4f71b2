-- an item of a loop ends once
SELECT execution_id, format('%s, visit %s, item %s: %s', node_id, visit, item_index,
                            string_agg(event_type, ', '))
  FROM event_log
 WHERE event_type IN ('item_completed', 'item_failed', 'item_skipped')
 GROUP BY execution_id, node_id, visit, item_index HAVING count(*) > 1
