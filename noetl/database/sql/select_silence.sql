-- For how many seconds some processes have said nothing.
SELECT runtime_id, extract(epoch FROM clock_timestamp() - heartbeat_at)::double precision
  FROM runtime
 WHERE runtime_id = ANY (%(workers)s::text[])
