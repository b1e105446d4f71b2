-- Lock one execution and read what a decision about it needs.
SELECT catalog_id, last_event_id, (extract(epoch FROM last_event_at) * 1000000)::bigint,
       (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, state::text, root_execution_id,
       parent_execution_id, parent_job_id, status
  FROM execution
 WHERE execution_id = %(execution)s
   FOR NO KEY UPDATE
