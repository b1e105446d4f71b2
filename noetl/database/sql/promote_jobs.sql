-- Waiting jobs whose time has come may run; bounded. Returns how many, and the seconds until the next one.
-- The clock is asked once, in a SELECT of its own: compared row by row, it could not be looked up in the index.
WITH promoted AS (
       UPDATE queue SET status = 'queued', available_at = NULL
        WHERE id = ANY (ARRAY (
                SELECT id FROM queue
                 WHERE status = 'waiting' AND available_at <= (SELECT clock_timestamp())
                 ORDER BY available_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
       RETURNING id)
SELECT (SELECT count(*) FROM promoted),
       (SELECT extract(epoch FROM min(available_at) - clock_timestamp())::double precision
          FROM queue WHERE status = 'waiting' AND available_at > (SELECT clock_timestamp()))
