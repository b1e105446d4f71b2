-- Have registrations of one path take their turns.
SELECT pg_advisory_xact_lock(hashtextextended('noetl catalog ' || %(path)s::text, 0))
