-- Put jobs into the queue: `queued`, `waiting` until a time or until somebody wakes them, or `leased` already to the
-- worker that goes on with the execution. A retried or waiting job keeps its id and its counters. A step that has a
-- job already is an error: nothing is dropped in silence.
INSERT INTO queue (id, execution_id, node_id, visit, item_index, status, pool, priority, attempts, failures, lost,
                   available_at, lease_until, worker_id, context, created_at)
SELECT coalesce(id, nextval('queue_id_seq')), execution_id, node_id, visit, item_index,
       status, pool, priority, attempts, failures, lost,
       timestamptz 'epoch' + available_at * interval '1 microsecond',
       CASE WHEN status = 'leased' THEN clock_timestamp() + %(lease)s * interval '1 second' END,
       CASE WHEN status = 'leased' THEN %(worker)s END,
       context, timestamptz 'epoch' + created_at * interval '1 microsecond'
  FROM json_to_recordset(%(rows)s::json)
    AS r (id bigint, execution_id bigint, node_id text, visit integer, item_index integer, status text, pool text,
          priority integer, attempts integer, failures integer, lost integer, available_at bigint, context json,
          created_at bigint)
RETURNING id, execution_id, node_id, item_index
