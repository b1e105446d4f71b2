-- A process says that it has stopped.
UPDATE runtime SET status = 'stopped', heartbeat_at = clock_timestamp() WHERE runtime_id = %(runtime_id)s
