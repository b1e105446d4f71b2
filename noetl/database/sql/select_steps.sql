-- Read the newest event of each step that has begun, in the order in which they began, with its result's beginning and,
-- while a loop runs, the loop's counters.
WITH own AS (
       SELECT event_id, event_type, node_id, node_type, visit, attempt, worker_id, duration, timestamp
         FROM event_log
        WHERE execution_id = %(execution)s AND item_index = -1 AND node_id NOT LIKE '%%/%%' AND node_id NOT LIKE '$%%'
          AND event_type = ANY (%(kinds)s)),
     newest AS (SELECT DISTINCT ON (node_id) * FROM own ORDER BY node_id, event_id DESC),
     begun AS (
       SELECT node_id, min(event_id) AS first, max(timestamp) FILTER (WHERE event_type = 'step_queued') AS queued_at
         FROM own GROUP BY node_id)
SELECT n.node_id AS step, n.node_type AS type, n.event_type, n.visit, n.attempt, n.worker_id, n.duration,
       b.queued_at, n.timestamp AS at, left(e.result::text, 400) AS result, e.result_ref, e.error,
       (e.meta -> 'loop') IS NOT NULL AS looped, s.state -> 'loops' -> n.node_id AS loop
  FROM newest AS n
  JOIN begun AS b USING (node_id)
  JOIN event_log AS e ON e.execution_id = %(execution)s AND e.event_id = n.event_id
  JOIN execution AS s ON s.execution_id = %(execution)s
 ORDER BY b.first
