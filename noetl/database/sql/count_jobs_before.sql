-- How many queued jobs of a pool are claimed before one of them, up to a limit.
SELECT count(*) FROM (
       SELECT FROM queue
        WHERE pool = %(pool)s AND status = 'queued' AND lost = 0
          AND (priority > %(priority)s OR (priority = %(priority)s AND id < %(job)s))
        LIMIT %(limit)s) AS before
