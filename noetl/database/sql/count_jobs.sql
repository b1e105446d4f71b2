-- How many jobs stand in each status. Reads the whole queue.
SELECT status, count(*) FROM queue GROUP BY status
