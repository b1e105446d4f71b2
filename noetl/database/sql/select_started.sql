-- Read what an execution was started as, and where it stands.
SELECT path, version, status FROM execution WHERE execution_id = %(execution)s
