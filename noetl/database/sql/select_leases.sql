-- What the queue believes this worker holds, for reading back after a lost connection.
SELECT id, attempts, execution_id FROM queue WHERE status = 'leased' AND worker_id = %(worker)s
