-- Add the next version of a path, unless the newest one has the same content. The caller holds the path's lock.
WITH newest AS (
       SELECT catalog_id, version, content_hash FROM catalog WHERE path = %(path)s ORDER BY version DESC LIMIT 1),
     added AS (
       INSERT INTO catalog (path, version, kind, name, description, content, content_hash, created_by)
       SELECT %(path)s, coalesce((SELECT version FROM newest), 0) + 1, %(kind)s, %(name)s, %(description)s,
              %(content)s, %(content_hash)s, %(by)s
        WHERE NOT EXISTS (SELECT FROM newest WHERE content_hash = %(content_hash)s)
       RETURNING catalog_id, version)
SELECT catalog_id, version, true FROM added
UNION ALL
SELECT catalog_id, version, false FROM newest WHERE content_hash = %(content_hash)s
