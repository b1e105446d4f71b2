-- Write the folded state of executions whose rows this transaction has locked. Their ids are given apart, too: they
-- lead to the rows through the primary key, however small the table was when the plan was made.
UPDATE execution e
   SET state = u.state, status = u.status, last_event_id = u.last_event_id,
       last_event_at = timestamptz 'epoch' + u.at * interval '1 microsecond',
       cancel_requested_at = coalesce(e.cancel_requested_at,
                                      timestamptz 'epoch' + u.cancel_at * interval '1 microsecond'),
       finished_at = CASE WHEN u.ended THEN timestamptz 'epoch' + u.at * interval '1 microsecond' END
  FROM json_to_recordset(%(rows)s::json)
    AS u (execution_id bigint, state json, status text, last_event_id bigint, at bigint, ended boolean,
          cancel_at bigint)
 WHERE e.execution_id = u.execution_id AND e.execution_id = ANY (%(executions)s::bigint[])
