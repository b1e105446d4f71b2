-- a payload is what its event stored
SELECT p.execution_id, format('payload %s has %s bytes, it was stored with %s', p.payload_id,
                              octet_length(p.body::text), p.size)
  FROM payload AS p
  LEFT JOIN event_log AS l ON l.execution_id = p.execution_id AND l.event_id = p.payload_id
 WHERE octet_length(p.body::text) <> p.size
    OR l.meta ->> 'sha256' <> encode(sha256(convert_to(p.body::text, 'UTF8')), 'hex')
