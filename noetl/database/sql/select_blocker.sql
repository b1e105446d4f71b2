-- Find the session that others wait for: one that waits for a lock on a whole table goes first, since everybody else
-- stands behind it. Else the oldest of some sessions, or (`rows`) of those that hold rows of executions or jobs.
SELECT l.pid, a.usename, coalesce(nullif(a.application_name, ''), 'without a name'), l.mode, c.relname, l.granted,
       extract(epoch FROM clock_timestamp() - a.xact_start)::bigint, pg_blocking_pids(l.pid)
  FROM pg_locks AS l
  JOIN pg_class AS c ON c.oid = l.relation
  JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = %(schema)s
  JOIN pg_stat_activity AS a ON a.pid = l.pid
 WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.pid <> pg_backend_pid()
   AND (l.mode = ANY ('{ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}')
        OR l.pid = ANY (%(pids)s::integer[])
        OR %(rows)s AND c.relname IN ('execution', 'queue') AND l.mode = ANY ('{RowShareLock,RowExclusiveLock}'))
 ORDER BY a.xact_start NULLS LAST, l.granted
 LIMIT 1
