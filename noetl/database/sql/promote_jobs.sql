-- Waiting jobs whose time has come may run; bounded. Returns how many, and the seconds until the next one.
WITH due AS (
       SELECT id FROM queue
        WHERE status = 'waiting' AND available_at <= clock_timestamp()
        ORDER BY available_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED),
     promoted AS (
       UPDATE queue q SET status = 'queued', available_at = NULL FROM due WHERE q.id = due.id RETURNING q.id)
SELECT (SELECT count(*) FROM promoted),
       (SELECT extract(epoch FROM min(available_at) - clock_timestamp())::double precision
          FROM queue WHERE status = 'waiting' AND available_at > clock_timestamp())
