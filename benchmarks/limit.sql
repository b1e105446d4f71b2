-- The database's own limit: lease a hundred jobs and complete them, with the rows that a sequential step writes (two
-- events, one queue row removed and one inserted, the execution's state), on the real schema at default durability.
-- Nothing is sent but a list of ids: no program could ask Postgres for the same work more cheaply.
\set lease 30
BEGIN;
SET LOCAL search_path = noetl, pg_temp;
WITH picked AS (
       SELECT id FROM queue WHERE status = 'queued' AND lost = 0 AND pool = 'default'
        ORDER BY priority DESC, id LIMIT 100 FOR UPDATE SKIP LOCKED),
     leased AS (
       UPDATE queue q
          SET status = 'leased', worker_id = 'pgbench', attempts = attempts + 1,
              lease_until = clock_timestamp() + :lease * interval '1 second'
         FROM picked
        WHERE q.id = picked.id
       RETURNING q.id, q.execution_id)
SELECT coalesce(array_agg(id), '{}') AS jobs, coalesce(array_agg(execution_id ORDER BY execution_id), '{}') AS executions
  FROM leased
\gset
COMMIT;
BEGIN;
SET LOCAL search_path = noetl, pg_temp;
SELECT count(*) AS locked
  FROM (SELECT FROM execution WHERE execution_id = ANY (:executions::bigint[])
         ORDER BY execution_id FOR NO KEY UPDATE) AS rows
\gset
DELETE FROM queue WHERE id = ANY (:jobs::bigint[]) AND worker_id = 'pgbench' AND status = 'leased';
INSERT INTO event_log (execution_id, event_id, timestamp, event_type, node_id, node_name, node_type, visit, attempt,
                       worker_id, duration, context, result, meta)
SELECT execution_id, last_event_id + 1, clock_timestamp(), 'step_completed', 'one', 'one', 'python', last_event_id, 1,
       'pgbench', 0.0001, NULL::json, '{"value": 1}'::json, '{"next": [{"clause": 0, "to": [{"edge": 1, "step": "two"}]}], "queued": 0.001}'::json
  FROM execution WHERE execution_id = ANY (:executions::bigint[])
UNION ALL
SELECT execution_id, last_event_id + 2, clock_timestamp(), 'step_queued', 'two', 'two', 'python', last_event_id, NULL,
       NULL, NULL, '{"arrivals": [[1, 1]]}'::json, NULL, NULL
  FROM execution WHERE execution_id = ANY (:executions::bigint[]);
UPDATE execution
   SET state = state, last_event_id = last_event_id + 2, last_event_at = clock_timestamp()
 WHERE execution_id = ANY (:executions::bigint[]);
INSERT INTO queue (execution_id, node_id, visit, context)
SELECT execution_id, 'two', last_event_id, '{"arrivals": [[1, 1]]}'::json
  FROM execution WHERE execution_id = ANY (:executions::bigint[]);
COMMIT;
