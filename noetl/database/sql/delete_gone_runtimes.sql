-- Forget processes that ended, or were last heard of, long ago.
DELETE FROM runtime
 WHERE runtime_id IN (SELECT runtime_id
                        FROM runtime
                       WHERE status IN ('stopped', 'offline')
                         AND heartbeat_at < clock_timestamp() - %(seconds)s * interval '1 second'
                       ORDER BY heartbeat_at
                       LIMIT %(limit)s
                         FOR UPDATE SKIP LOCKED)
