-- Quarantine a job that nobody can run and that this worker holds, or whose lease has expired; the reason goes to the
-- error log.
WITH quarantined AS (
       UPDATE queue
          SET status = 'quarantined', worker_id = NULL, lease_until = NULL
        WHERE id = %(job)s AND attempts = %(attempts)s AND status = 'leased'
          AND (worker_id = %(worker)s OR %(expired)s AND lease_until < clock_timestamp())
       RETURNING execution_id, node_id, visit, item_index, failures)
INSERT INTO error_log (execution_id, node_id, visit, item_index, attempt, worker_id, error_type, message)
SELECT execution_id, node_id, visit, item_index, failures + 1, %(worker)s, 'quarantined', %(reason)s FROM quarantined
