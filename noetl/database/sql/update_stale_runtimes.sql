-- Processes that stopped saying so are offline.
UPDATE runtime
   SET status = 'offline'
 WHERE status IN ('running', 'draining')
   AND heartbeat_at < clock_timestamp() - %(seconds)s * interval '1 second'
