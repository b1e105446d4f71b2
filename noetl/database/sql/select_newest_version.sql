-- The number of the newest version of a path.
SELECT max(version) FROM catalog WHERE path = %(path)s
