-- Read one version of a path, without a number the newest.
SELECT catalog_id, path, version, kind, name, description, content_hash, created_by, created_at, content
  FROM catalog
 WHERE path = %(path)s AND (%(version)s::numeric IS NULL OR version = %(version)s)
 ORDER BY version DESC
 LIMIT 1
