-- Put jobs into the queue: `queued`, `waiting` until a time or until somebody wakes them, or `leased` already to the
-- worker that continues the execution. A retried or waiting job keeps its id and its counters. A step that has a
-- job already is an error: nothing is dropped in silence.
INSERT INTO queue (id, execution_id, {job_names},
                   status, available_at, lease_until, worker_id, created_at)
SELECT coalesce(id, nextval('queue_id_seq')), execution_id, {job_names},
       status, timestamptz 'epoch' + available_at * interval '1 microsecond',
       CASE WHEN status = 'leased' THEN clock_timestamp() + %(lease)s * interval '1 second' END,
       CASE WHEN status = 'leased' THEN %(worker)s END,
       timestamptz 'epoch' + created_at * interval '1 microsecond'
  FROM json_to_recordset(%(rows)s::json)
    AS r (id bigint, execution_id bigint, {job_types},
          status text, available_at bigint, created_at bigint)
RETURNING id, execution_id, node_id, item_index
