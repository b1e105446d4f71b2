-- How many servers and workers run.
SELECT kind, count(*) FROM runtime WHERE status = 'running' GROUP BY kind
