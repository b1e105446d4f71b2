-- an execution, its first event and its catalog version name one playbook
SELECT e.execution_id, format('%s version %s; the event says %s version %s, the catalog %s version %s',
                              e.path, e.version, l.context ->> 'path', l.context ->> 'version',
                              c.path, c.version)
  FROM execution AS e
  JOIN catalog AS c USING (catalog_id)
  LEFT JOIN event_log AS l ON l.execution_id = e.execution_id AND l.event_id = 1
 WHERE e.path <> c.path OR e.version <> c.version OR l.context ->> 'path' <> e.path
    OR (l.context ->> 'version')::integer <> e.version OR l.context ->> 'hash' <> c.content_hash
