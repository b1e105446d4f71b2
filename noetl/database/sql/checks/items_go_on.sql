-- each item of a loop that has begun and not ended has a job, or a loop of its own
SELECT e.execution_id, format('%s: %s have begun, %s ended, %s have a job, %s a loop', l.key,
                              l.value ->> 'begun', l.value ->> 'ended', j.jobs, i.inner_loops)
  FROM execution AS e
 CROSS JOIN LATERAL json_each(e.state -> 'loops') AS l
 CROSS JOIN LATERAL (SELECT count(*) AS jobs FROM queue AS q
                      WHERE q.execution_id = e.execution_id AND q.node_id = l.key
                        AND q.item_index >= 0) AS j
 CROSS JOIN LATERAL (SELECT count(*) AS inner_loops FROM json_object_keys(e.state -> 'loops') AS k
                      WHERE regexp_replace(k, '/[0-9]+$', '') = l.key AND k <> l.key) AS i
 WHERE e.finished_at IS NULL AND e.state -> 'loops' IS NOT NULL
   AND (l.value ->> 'begun')::bigint - (l.value ->> 'ended')::bigint <> j.jobs + i.inner_loops
