-- Read names of credentials, to find the one that was meant.
SELECT name FROM credential ORDER BY name LIMIT 1000
