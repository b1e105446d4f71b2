-- Queued jobs that took a worker down with them, or seem to have.
SELECT count(*) FROM queue WHERE status = 'queued' AND lost > 0
