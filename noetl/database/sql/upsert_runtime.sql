-- A process says that it is there.
WITH beat AS (
       INSERT INTO runtime (runtime_id, kind, status, host, pid, pools, slots, address, version, meta,
                            started_at, heartbeat_at)
       VALUES (%(runtime_id)s, %(kind)s, %(status)s, %(host)s, %(pid)s, %(pools)s, %(slots)s, %(address)s,
               %(version)s, %(meta)s, clock_timestamp(), clock_timestamp())
       ON CONFLICT (runtime_id) DO UPDATE
          SET heartbeat_at = excluded.heartbeat_at, status = excluded.status, address = excluded.address
       RETURNING runtime_id)
SELECT instance FROM schema_version, beat LIMIT 1
