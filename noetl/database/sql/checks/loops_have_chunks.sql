-- a loop that has begun has what it runs over, in chunks of 500 items
SELECT l.execution_id, format('%s, visit %s: %s items, %s of them in %s chunks', l.node_id, l.visit,
                              l.context ->> 'count', c.items, c.n)
  FROM event_log AS l
 CROSS JOIN LATERAL (SELECT count(*) AS n, count(*) FILTER (WHERE chunk >= 0) AS numbered,
                            coalesce(max(chunk) + 1, 0) AS following,
                            coalesce(sum(CASE json_typeof(items) WHEN 'array' THEN json_array_length(items)
                                         END), 0) AS items
                       FROM loop_item AS c
                      WHERE c.execution_id = l.execution_id AND c.node_id = l.node_id
                        AND c.visit = l.visit) AS c
 WHERE l.event_type = 'loop_started'
   AND (((l.context ->> 'count')::bigint + 499) / 500 <> c.n OR c.numbered <> c.n OR c.following <> c.n
        OR (l.context ->> 'count')::bigint <> c.items)
