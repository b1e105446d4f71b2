-- Read catalog versions a worker has not compiled yet.
SELECT catalog_id, path, version, kind, content, content_hash
  FROM catalog
 WHERE catalog_id = ANY (%(catalogs)s::bigint[])
