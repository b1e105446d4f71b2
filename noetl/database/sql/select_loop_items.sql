-- What became of the items of a loop, from the event that began it on. Every item ends with one event, so the reading
-- ends with the last of them, however long the log is. `total` grows with the results; those that would be
-- beyond the limit are told by their size alone.
WITH loop AS MATERIALIZED (
       SELECT node_id, visit, (context ->> 'count')::bigint AS count
         FROM event_log
        WHERE execution_id = %(execution)s AND event_id = %(first)s AND event_type = 'loop_started'),
     ended AS (
       SELECT event_id, item_index, event_type, result, result_size, error, meta
         FROM event_result
        WHERE execution_id = %(execution)s AND event_id > %(first)s
          AND node_id = (SELECT node_id FROM loop) AND visit = (SELECT visit FROM loop) AND item_index >= 0
          AND event_type IN ('item_completed', 'item_failed', 'item_skipped')
        ORDER BY event_id
        LIMIT (SELECT count FROM loop)),
     sized AS (
       SELECT *, sum(coalesce(result_size, 4) + 1) OVER (ORDER BY event_id) AS total FROM ended)
SELECT s.item_index, s.event_type, CASE WHEN s.total <= %(limit)s THEN s.result::text END,
       s.error::text, (s.meta #>> '{loop,first}')::bigint, s.total::bigint, l.count
  FROM loop l
  LEFT JOIN sized s ON true
