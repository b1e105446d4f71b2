-- Accept an execution; nothing is returned where its key has been used for the path before.
INSERT INTO execution (execution_id, catalog_id, path, version, status, state, last_event_id, last_event_at, pool,
                       priority, parent_execution_id, parent_node_id, parent_visit, parent_item_index, parent_job_id,
                       root_execution_id, start_key, labels, started_by, timeout_at, started_at, finished_at)
SELECT %(execution)s, %(catalog)s, %(path)s, %(version)s, %(status)s, %(state)s, %(last_event_id)s,
       t.at + (%(last_event_id)s - 1) * interval '1 microsecond', %(pool)s, %(priority)s, %(parent)s, %(parent_node)s,
       %(parent_visit)s, %(parent_item)s, %(parent_job)s, %(root)s, %(key)s, %(labels)s, %(by)s,
       t.at + %(timeout)s * interval '1 second', t.at, CASE WHEN %(ended)s THEN t.at END
  FROM (SELECT timestamptz 'epoch' + %(at)s * interval '1 microsecond' AS at) t
ON CONFLICT (path, start_key) WHERE start_key IS NOT NULL DO NOTHING
RETURNING execution_id
