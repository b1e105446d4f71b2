-- Queued jobs that brought a worker down, or seem to have.
SELECT count(*) FROM queue WHERE status = 'queued' AND lost > 0
