-- Which of these step runs their worker no longer holds. It holds one for as long as the queue says that it is leased
-- to it: what a dead worker held is taken from it when its lease has expired, by whoever is alive. A key is that of the
-- job, and a number behind it where the job was repeated.
SELECT wanted.place
  FROM unnest(%(executions)s::bigint[], %(keys)s::text[], %(workers)s::text[]) WITH ORDINALITY
       AS wanted (execution_id, key, worker_id, place)
 WHERE NOT EXISTS (
         SELECT
           FROM queue q
          WHERE q.execution_id = wanted.execution_id AND q.status = 'leased' AND q.worker_id = wanted.worker_id
            AND starts_with(wanted.key || ':', concat_ws(':', q.execution_id, q.node_id, q.visit, q.item_index) || ':'))
