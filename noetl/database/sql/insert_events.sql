-- Append events. `at` is in microseconds since 1970, worked out from the lock's clock (see remove_jobs).
-- A result that is JSON's null would come out of the recordset as no result at all: hence `has_result`.
INSERT INTO event_log (execution_id, event_id, timestamp, event_type, node_id, node_name, node_type, visit,
                       item_index, attempt, worker_id, duration, context, result, result_ref, error, meta,
                       parent_execution_id)
SELECT execution_id, event_id, timestamptz 'epoch' + at * interval '1 microsecond', event_type, node_id, node_id,
       node_type, visit, item_index, attempt, worker_id, duration, context,
       CASE WHEN has_result THEN coalesce(result, 'null') END, result_ref, error, meta, parent_execution_id
  FROM json_to_recordset(%(rows)s::json)
    AS r (execution_id bigint, event_id bigint, at bigint, event_type text, node_id text, node_type text,
          visit integer, item_index integer, attempt integer, worker_id text, duration double precision,
          context json, has_result boolean, result json, result_ref bigint, error json, meta json,
          parent_execution_id bigint)
