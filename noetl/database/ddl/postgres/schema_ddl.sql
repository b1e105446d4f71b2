-- The schema of NoETL, version 1. One transaction, idempotent, the same bytes for the CLI, `psql -f` and Kubernetes.
--
-- Two truths. event_log says what happened: append-only, numbered 1, 2, 3 ... within an execution. queue says what is
-- still to be done: a row lives while its work lives and is deleted in the transaction that records the result.
-- Everything else is kept beside them in the same transactions.
--
--   catalog      what was registered: path, version 1, 2, 3 ..., text, hash; workflow, transition and workbook are its
--                steps, edges and named tasks (views execution_* add the execution)
--   execution    one run: status, folded state, last_event_id (the version counter), parent and root
--   event_log    one row per fact, partitioned by weeks of execution_id; payload holds results too large for a row
--   queue        jobs: queued -> leased -> gone; waiting (a retry, a timer, a child) and quarantined ones queue again
--   workload     what an execution was started with, rendered
--   output       what a step printed, its last 64 KiB        loop_item    collections of loops, in chunks
--   error_log    failed attempts and template errors         runtime      servers and workers with their heartbeat
--   credential   encrypted connection data                   schema_version  what was applied, and the instance's id
--   noetl_inbox.noetl_done   keys of effects that were done, for exactly-once SQL (a schema of its own); playbooks' SQL
--                reaches it through enter() and leave(), whose keys carry an HMAC with the secret of noetl_seal
--
-- Flow. start: execution + workload + event 1 + first jobs. claim: a worker leases queued rows (SKIP LOCKED) and
-- writes nothing else; attempts counts the leases and is the fence. complete: lock the execution, delete the job where
-- (id, attempts, worker_id) still hold, decide, append events, insert the next jobs, update execution: one transaction.
--
-- Lock order. Execution rows by execution_id, then queue rows by id. A transaction locks only executions whose jobs it
-- completes; what one execution does to another goes through the queue.
--
-- Ids. execution_id = (milliseconds since 2024-01-01 UTC) << 22 | sequence, made by next_execution_id(). event_id is
-- the number in its execution; a payload has the id of its event.
--
-- Settings, all optional, by set_config() or PGOPTIONS="-c noetl.schema=... -c noetl.role=...":
--   noetl.schema         the schema (default noetl)
--   noetl.role           login of server and worker (default noetl): owns the tables but schema_version, which it can
--                        only read, and event_log and payload, into which it can only insert.
--   noetl.playbook_role  login of playbooks' own SQL (default noetl_playbook): may use the inbox and make tables in a
--                        schema of its own name, sees nothing else.
-- A role that is missing is a NOTICE; what it would own stays with whoever applies this file.
--
-- Nothing here runs code of a lesser role: what others own in these schemas, and could make run, is refused first, and
-- rows are written into tables of whoever applies this file only.
--
-- The search path is set for this transaction only; functions that name tables keep it. Concurrent applies wait for
-- each other at a lock on noetl_seal, which no login of playbooks may lock; before that exists, at an advisory lock
-- ('noetl' as a number). Give lock_timeout to bound the wait. With psql use
-- `-X -v ON_ERROR_STOP=1`, without which it ends with exit code 0 even after an error.

BEGIN;

SET LOCAL search_path = pg_catalog, pg_temp;

DO $header$
DECLARE
  target constant text := coalesce(nullif(current_setting('noetl.schema', true), ''), 'noetl');
  spaces constant text[] := ARRAY[target, 'noetl_inbox'];
  found text;
  grantee record;
BEGIN
  -- Asked of the catalog, as to_regclass may still answer from before the wait.
  IF NOT EXISTS (SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                  WHERE n.nspname = 'noetl_inbox' AND c.relname = 'noetl_seal') THEN
    PERFORM pg_advisory_xact_lock(474315322476);
  END IF;
  IF EXISTS (SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
              WHERE n.nspname = 'noetl_inbox' AND c.relname = 'noetl_seal') THEN
    LOCK TABLE noetl_inbox.noetl_seal IN SHARE ROW EXCLUSIVE MODE;
  END IF;
  IF current_setting('server_version_num')::integer < 150000 THEN
    RAISE EXCEPTION 'NoETL needs Postgres 15 or newer, this is %', current_setting('server_version');
  END IF;
  IF to_regnamespace(quote_ident(target)) IS NULL THEN
    EXECUTE format('CREATE SCHEMA %I', target);
  END IF;
  IF to_regnamespace('noetl_inbox') IS NULL THEN
    CREATE SCHEMA noetl_inbox;
  END IF;
  -- A schema that was made for us by somebody else is taken over, and with it the right to put functions there.
  FOR grantee IN
    SELECT nspname, pg_get_userbyid(nspowner) AS owner FROM pg_namespace
     WHERE nspname = ANY (spaces) AND nspowner <> quote_ident(current_user)::regrole
       AND NOT (SELECT rolsuper FROM pg_roles AS r WHERE r.oid = nspowner)
  LOOP
    BEGIN
      EXECUTE format('ALTER SCHEMA %I OWNER TO CURRENT_USER', grantee.nspname);
    EXCEPTION WHEN insufficient_privilege THEN
      RAISE EXCEPTION 'schema % belongs to %, who could have % run its functions: apply this file as %, or give the schema away',
        grantee.nspname, grantee.owner, current_user, grantee.owner;
    END;
  END LOOP;
  FOR grantee IN
    SELECT nspname, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS name
      FROM pg_namespace, aclexplode(nspacl) AS a
     WHERE nspname = ANY (spaces) AND a.privilege_type = 'CREATE' AND a.grantee <> nspowner
  LOOP
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM %s', grantee.nspname, grantee.name);
  END LOOP;
  -- What the statements below may call, or write into, has to belong to us or to a superuser.
  SELECT string_agg(format('%s %s of role %s', kind, name, pg_get_userbyid(owner)), ', ') INTO found
    FROM (SELECT 'function' AS kind, p.oid::regprocedure::text AS name, proowner AS owner, pronamespace AS space
            FROM pg_proc AS p
          UNION ALL SELECT 'operator', o.oid::regoperator::text, oprowner, oprnamespace FROM pg_operator AS o
          UNION ALL SELECT 'type', t.oid::regtype::text, typowner, typnamespace FROM pg_type AS t
                     WHERE typrelid = 0 AND typcategory <> 'A'
          UNION ALL SELECT 'table', c.oid::regclass::text, relowner, relnamespace FROM pg_class AS c
                     WHERE relkind NOT IN ('i', 'I', 't')
                       AND (relname ~ '^(event_log|payload)(_|$)' OR relnamespace = 'noetl_inbox'::regnamespace)) AS own
    JOIN pg_namespace AS n ON n.oid = own.space AND n.nspname = ANY (spaces)
   WHERE owner <> quote_ident(current_user)::regrole AND NOT (SELECT rolsuper FROM pg_roles AS r WHERE r.oid = owner);
  IF found IS NOT NULL THEN
    RAISE EXCEPTION '% would run what others can change: % (drop it, or give it to %)',
      current_user, found, current_user;
  END IF;
  PERFORM set_config('client_min_messages', 'warning', true);  -- "already exists, skipping" is no news
END
$header$;

-- schema_version was the runtime login's once, who could hang anything on it: it is taken over as we made it, or not.
DO $version$
DECLARE
  target constant text := coalesce(nullif(current_setting('noetl.schema', true), ''), 'noetl');
  versions constant regclass := to_regclass(format('%I.schema_version', target));
  applied integer;
  found text;
BEGIN
  IF versions IS NULL THEN
    NULL;
  ELSIF EXISTS (SELECT FROM pg_class AS c JOIN pg_roles AS r ON r.oid = c.relowner
                 WHERE c.oid = versions AND NOT r.rolsuper AND r.rolname <> current_user) THEN
    EXECUTE format('ALTER TABLE %s OWNER TO CURRENT_USER', versions);
    SELECT string_agg(kind, ', ') INTO found FROM (
      SELECT 'trigger ' || quote_ident(tgname) AS kind FROM pg_trigger WHERE tgrelid = versions AND NOT tgisinternal
      UNION ALL SELECT 'rule ' || quote_ident(rulename) FROM pg_rewrite WHERE ev_class = versions
      UNION ALL SELECT 'policy ' || quote_ident(polname) FROM pg_policy WHERE polrelid = versions
      UNION ALL SELECT 'row security' FROM pg_class WHERE oid = versions AND (relrowsecurity OR relkind <> 'r')
      UNION ALL SELECT 'constraint ' || quote_ident(conname) FROM pg_constraint
                 WHERE conrelid = versions AND contype NOT IN ('p', 'n')
      UNION ALL SELECT 'default ' || pg_get_expr(adbin, adrelid) FROM pg_attrdef
                 WHERE adrelid = versions AND pg_get_expr(adbin, adrelid) NOT IN ('CURRENT_TIMESTAMP', 'CURRENT_USER')
      UNION ALL SELECT 'column ' || quote_ident(attname) FROM pg_attribute
                 WHERE attrelid = versions AND attnum > 0 AND NOT attisdropped AND (attgenerated <> ''
                       OR atttypid NOT IN ('integer'::regtype, 'uuid'::regtype, 'timestamptz'::regtype,
                                           'text'::regtype))
      UNION ALL SELECT 'index ' || indexrelid::regclass FROM pg_index
                 WHERE indrelid = versions AND (indexprs IS NOT NULL OR indpred IS NOT NULL)
      UNION ALL SELECT 'statistics ' || quote_ident(stxname) FROM pg_statistic_ext WHERE stxrelid = versions
      UNION ALL SELECT 'inheritance' FROM pg_inherits WHERE versions IN (inhrelid, inhparent)) AS things;
    IF found IS NOT NULL THEN
      RAISE EXCEPTION '% has what NoETL did not make: % (it would run as %: look at it, then drop it)',
        versions, found, current_user;
    END IF;
  END IF;
  IF versions IS NOT NULL THEN
    EXECUTE format('SELECT max(version) FROM %s', versions) INTO applied;
    IF applied > 1 THEN
      RAISE EXCEPTION 'schema % has version %, this file has version 1: use the NoETL that made it', target, applied;
    END IF;
  END IF;
  PERFORM set_config('search_path', format('%I, pg_temp', target), true);
END
$version$;

-- A schema with older names gets today's. Only names and a check of ours change: no row is written, and nothing that the
-- tables' owner made is run.
DO $names$
BEGIN
  IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('execution') AND attname = 'expires_at')
     AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('execution') AND attname = 'timeout_at') THEN
    ALTER TABLE execution RENAME COLUMN expires_at TO timeout_at;
    ALTER INDEX IF EXISTS execution_by_expiry RENAME TO execution_by_timeout;
  END IF;
  IF EXISTS (SELECT FROM pg_constraint AS c JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attname = 'status'
              WHERE c.conrelid = to_regclass('queue') AND c.conname = 'queue_status_valid'
                AND pg_get_constraintdef(c.oid) LIKE '%''paused''%'
                AND a.atttypid = 'text'::regtype AND a.attgenerated = '') THEN
    ALTER TABLE queue DROP CONSTRAINT queue_status_valid, ADD CONSTRAINT queue_status_valid
      CHECK (status IN ('queued', 'leased', 'waiting', 'quarantined'));
  END IF;
END
$names$;

-- ---- ids ----------------------------------------------------------------------------------------------------------

CREATE SEQUENCE IF NOT EXISTS execution_id_seq;

CREATE OR REPLACE FUNCTION next_execution_id() RETURNS bigint LANGUAGE sql VOLATILE
RETURN ((floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint - 1704067200000) << 22)
       | (nextval('execution_id_seq'::regclass) & 4194303);

-- ---- what was registered ------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS catalog (
  catalog_id    bigint PRIMARY KEY DEFAULT next_execution_id(),  -- never given twice, also not after a reset
  path          text NOT NULL,
  version       integer NOT NULL,
  kind          text NOT NULL DEFAULT 'Playbook',
  name          text NOT NULL DEFAULT '',
  description   text NOT NULL DEFAULT '',
  content       text NOT NULL,
  content_hash  text NOT NULL,
  created_by    text,
  created_at    timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT catalog_path_version_key UNIQUE (path, version),
  CONSTRAINT catalog_version_positive CHECK (version > 0)
);

CREATE TABLE IF NOT EXISTS workflow (
  catalog_id   bigint NOT NULL REFERENCES catalog,
  node_id      text NOT NULL,
  node_name    text NOT NULL,
  node_type    text NOT NULL,
  phase        text NOT NULL DEFAULT 'workflow',
  position     integer NOT NULL,
  description  text NOT NULL DEFAULT '',
  spec         json NOT NULL DEFAULT '{}',
  PRIMARY KEY (catalog_id, node_id),
  CONSTRAINT workflow_phase_valid CHECK (phase IN ('workflow', 'finally'))
);

CREATE TABLE IF NOT EXISTS transition (
  catalog_id  bigint NOT NULL REFERENCES catalog,
  edge        integer NOT NULL,
  from_node   text NOT NULL,
  to_node     text NOT NULL,
  kind        text NOT NULL DEFAULT 'next',
  condition   text,
  args        json,
  PRIMARY KEY (catalog_id, edge),
  CONSTRAINT transition_kind_valid CHECK (kind IN ('next', 'on_error'))
);

CREATE TABLE IF NOT EXISTS workbook (
  catalog_id  bigint NOT NULL REFERENCES catalog,
  task_name   text NOT NULL,
  task_type   text NOT NULL,
  spec        json NOT NULL DEFAULT '{}',
  PRIMARY KEY (catalog_id, task_name)
);

-- ---- one run ------------------------------------------------------------------------------------------------------

-- Updated with every completion: pages keep room for the new row versions (HOT), and a state of up to 4 KB stays in
-- its row.
CREATE TABLE IF NOT EXISTS execution (
  execution_id         bigint PRIMARY KEY DEFAULT next_execution_id(),
  catalog_id           bigint NOT NULL REFERENCES catalog,
  path                 text NOT NULL,
  version              integer NOT NULL,
  status               text NOT NULL,
  state                json NOT NULL,
  last_event_id        bigint NOT NULL,
  last_event_at        timestamptz NOT NULL,
  pool                 text NOT NULL DEFAULT 'default',
  priority             integer NOT NULL DEFAULT 0,
  parent_execution_id  bigint,
  parent_node_id       text,
  parent_visit         integer,
  parent_item_index    integer,
  parent_job_id        bigint,                    -- the parent's waiting row in queue
  root_execution_id    bigint NOT NULL,
  start_key            text,
  labels               jsonb NOT NULL DEFAULT '{}',
  started_by           text,
  cancel_requested_at  timestamptz,
  timeout_at           timestamptz,
  started_at           timestamptz NOT NULL,
  finished_at          timestamptz,
  CONSTRAINT execution_status_valid CHECK (status IN
    ('running', 'paused', 'failing', 'cancelling', 'finishing', 'completed', 'failed', 'cancelled')),
  CONSTRAINT execution_finished_valid CHECK
    ((finished_at IS NOT NULL) = (status IN ('completed', 'failed', 'cancelled')))
) WITH (fillfactor = 60, toast_tuple_target = 4080,
        autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX IF NOT EXISTS execution_by_status ON execution (status, execution_id DESC);
CREATE INDEX IF NOT EXISTS execution_by_path ON execution (path, execution_id DESC);
CREATE INDEX IF NOT EXISTS execution_by_parent ON execution (parent_execution_id)
  WHERE parent_execution_id IS NOT NULL;
CREATE UNIQUE INDEX IF NOT EXISTS execution_one_per_key ON execution (path, start_key) WHERE start_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS execution_by_root ON execution (root_execution_id) WHERE parent_execution_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS execution_by_timeout ON execution (timeout_at)
  WHERE timeout_at IS NOT NULL AND finished_at IS NULL;
CREATE INDEX IF NOT EXISTS execution_by_label ON execution USING gin (labels jsonb_path_ops) WHERE labels <> '{}';

CREATE TABLE IF NOT EXISTS workload (
  execution_id  bigint PRIMARY KEY,
  payload       json NOT NULL,
  created_at    timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP
);

-- ---- what happened ------------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS event_log (
  execution_id         bigint NOT NULL,
  event_id             bigint NOT NULL,
  timestamp            timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
  event_type           text NOT NULL,
  node_id              text,
  node_name            text,
  node_type            text,
  visit                integer,
  item_index           integer NOT NULL DEFAULT -1,
  attempt              integer,
  worker_id            text,
  duration             double precision,          -- seconds the attempt ran
  context              json,
  result               json,
  result_ref           bigint,                    -- payload_id, where the result is too large for this row
  error                json,
  meta                 json,
  parent_execution_id  bigint,
  PRIMARY KEY (execution_id, event_id),
  CONSTRAINT event_log_event_id_positive CHECK (event_id > 0)
) PARTITION BY RANGE (execution_id);

CREATE UNIQUE INDEX IF NOT EXISTS event_log_one_end ON event_log (execution_id)
  WHERE event_type IN ('execution_complete', 'execution_failed', 'execution_cancelled');

CREATE TABLE IF NOT EXISTS payload (
  execution_id  bigint NOT NULL,
  payload_id    bigint NOT NULL,
  size          bigint NOT NULL,
  body          json NOT NULL,
  created_at    timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (execution_id, payload_id)
) PARTITION BY RANGE (execution_id);

-- An insert never fails for want of a partition.
CREATE TABLE IF NOT EXISTS event_log_default PARTITION OF event_log DEFAULT;
CREATE TABLE IF NOT EXISTS payload_default PARTITION OF payload DEFAULT;

CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $refuse$
BEGIN
  RAISE EXCEPTION '% is append-only: % is refused', tg_table_name, tg_op USING ERRCODE = 'restrict_violation';
END
$refuse$;

-- Row triggers reach every partition by themselves, statement triggers do not: make_partitions() sets those.
CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE ON event_log
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE ON payload
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER never_truncated BEFORE TRUNCATE ON event_log
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER never_truncated BEFORE TRUNCATE ON payload
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER never_truncated BEFORE TRUNCATE ON event_log_default
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER never_truncated BEFORE TRUNCATE ON payload_default
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Make the partitions of the coming weeks, as far as they are missing, and return how many tables were made. Only
-- ranges that begin in the future: a range whose rows stand in the default partition can never be attached. Ids count
-- from a Monday, so week n of them begins at n weeks. Attaching lets inserts go on, but waits for them in the default
-- partition; the short lock_timeout keeps others from piling up behind that wait. Whoever comes second returns 0.
CREATE OR REPLACE FUNCTION make_partitions(weeks integer) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT SET lock_timeout = '1s' SET client_min_messages = 'warning' AS $make$
DECLARE
  week_ms constant bigint := 604800000;
  present constant bigint := floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint - 1704067200000;
  parent text;
  week bigint;
  child text;
  made integer := 0;
BEGIN
  IF weeks IS NULL OR weeks < 0 OR weeks > 520 THEN
    RAISE EXCEPTION 'make_partitions(%): weeks must be from 0 to 520', weeks USING ERRCODE = 'invalid_parameter_value';
  END IF;
  BEGIN
    LOCK TABLE ONLY event_log IN SHARE UPDATE EXCLUSIVE MODE NOWAIT;
  EXCEPTION WHEN lock_not_available THEN
    RETURN 0;
  END;
  FOR week IN SELECT present / week_ms + n FROM generate_series(1, weeks) AS n LOOP
    FOREACH parent IN ARRAY ARRAY['event_log', 'payload'] LOOP
      child := parent || to_char(timestamp '2024-01-01' + week * interval '7 days', '"_"YYYYMMDD');
      CONTINUE WHEN to_regclass(child) IS NOT NULL;
      BEGIN
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', child, parent);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
                       parent, child, (week * week_ms) << 22, ((week + 1) * week_ms) << 22);
        EXECUTE format('CREATE TRIGGER never_truncated BEFORE TRUNCATE ON %I
                        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', child);
        made := made + 1;
      EXCEPTION
        WHEN check_violation THEN NULL;           -- a clock ran ahead: that week's rows stay in the default partition
        WHEN lock_not_available THEN RETURN made; -- the next call goes on
      END;
    END LOOP;
  END LOOP;
  RETURN made;
END
$make$;

REVOKE EXECUTE ON FUNCTION make_partitions(integer) FROM PUBLIC;

-- ---- what is still to be done -------------------------------------------------------------------------------------

-- Rows come and go by the thousand each second: vacuum early and without pauses. No lease without end and holder.
CREATE TABLE IF NOT EXISTS queue (
  id               bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  execution_id     bigint NOT NULL,
  node_id          text NOT NULL,
  visit            integer NOT NULL DEFAULT 1,
  item_index       integer NOT NULL DEFAULT -1,
  status           text NOT NULL DEFAULT 'queued',
  pool             text NOT NULL DEFAULT 'default',
  priority         integer NOT NULL DEFAULT 0,
  attempts         integer NOT NULL DEFAULT 0,    -- leases granted: the fence
  failures         integer NOT NULL DEFAULT 0,    -- what retry counts
  lost             integer NOT NULL DEFAULT 0,    -- leases lost in a row
  available_at     timestamptz,                   -- waiting: until then, or until woken where NULL
  lease_until      timestamptz,
  worker_id        text,
  concurrency_key  text,
  context          json NOT NULL DEFAULT '{}',
  created_at       timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT queue_one_live_job UNIQUE (execution_id, node_id, item_index),
  CONSTRAINT queue_status_valid CHECK (status IN ('queued', 'leased', 'waiting', 'quarantined')),
  CONSTRAINT queue_lease_valid CHECK
    (status <> 'leased' OR (lease_until IS NOT NULL AND worker_id IS NOT NULL AND attempts > 0))
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
        autovacuum_vacuum_insert_threshold = -1,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 10000);

CREATE INDEX IF NOT EXISTS queue_to_claim ON queue (pool, priority DESC, id) WHERE status = 'queued' AND lost = 0;
CREATE INDEX IF NOT EXISTS queue_lost ON queue (pool, id) WHERE status = 'queued' AND lost > 0;
CREATE INDEX IF NOT EXISTS queue_to_promote ON queue (available_at) WHERE status = 'waiting';
CREATE INDEX IF NOT EXISTS queue_to_expire ON queue (lease_until) WHERE status = 'leased';

-- ---- beside them --------------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS output (
  execution_id  bigint NOT NULL,
  node_id       text NOT NULL,
  visit         integer NOT NULL,
  item_index    integer NOT NULL DEFAULT -1,
  attempt       integer NOT NULL,
  text          text NOT NULL,
  created_at    timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (execution_id, node_id, visit, item_index, attempt)
);

CREATE TABLE IF NOT EXISTS loop_item (
  execution_id  bigint NOT NULL,
  node_id       text NOT NULL,
  visit         integer NOT NULL,
  chunk         integer NOT NULL,
  items         json NOT NULL,
  PRIMARY KEY (execution_id, node_id, visit, chunk)
);

CREATE TABLE IF NOT EXISTS error_log (
  error_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  execution_id  bigint,
  node_id       text,
  visit         integer,
  item_index    integer,
  attempt       integer,
  worker_id     text,
  error_type    text NOT NULL,
  message       text NOT NULL,
  detail        json,
  created_at    timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX IF NOT EXISTS error_log_by_execution ON error_log (execution_id, error_id);

CREATE TABLE IF NOT EXISTS runtime (
  runtime_id    text PRIMARY KEY,                 -- a worker's id, new with every process start
  kind          text NOT NULL,
  status        text NOT NULL DEFAULT 'running',
  host          text NOT NULL DEFAULT '',
  pid           integer,
  pools         text[] NOT NULL DEFAULT '{}',
  slots         integer NOT NULL DEFAULT 0,
  address       text,
  version       text NOT NULL DEFAULT '',
  started_at    timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
  heartbeat_at  timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
  meta          json NOT NULL DEFAULT '{}',
  CONSTRAINT runtime_kind_valid CHECK (kind IN ('worker', 'server')),
  CONSTRAINT runtime_status_valid CHECK (status IN ('running', 'draining', 'stopped', 'offline'))
) WITH (fillfactor = 50);

CREATE TABLE IF NOT EXISTS credential (
  credential_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name           text NOT NULL CONSTRAINT credential_name_key UNIQUE,
  type           text NOT NULL,
  key_id         text NOT NULL,                   -- which key encrypted the data
  data           bytea NOT NULL,
  description    text NOT NULL DEFAULT '',
  created_at     timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at     timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP
);

-- What events gave: in the event itself, or in the payload that it refers to.
CREATE OR REPLACE VIEW event_result AS
  SELECT l.execution_id, l.event_id, l.timestamp, l.event_type, l.node_id, l.node_name, l.node_type, l.visit,
         l.item_index, l.attempt, l.worker_id, l.duration, l.context, coalesce(l.result, p.body) AS result,
         coalesce(p.size, octet_length(l.result::text)) AS result_size, l.result_ref, l.error, l.meta,
         l.parent_execution_id
    FROM event_log AS l
    LEFT JOIN payload AS p ON p.execution_id = l.execution_id AND p.payload_id = l.result_ref;

CREATE OR REPLACE VIEW execution_workflow AS
  SELECT e.execution_id, w.catalog_id, w.node_id, w.node_name, w.node_type, w.phase, w.position, w.description, w.spec
    FROM execution AS e JOIN workflow AS w ON w.catalog_id = e.catalog_id;

CREATE OR REPLACE VIEW execution_transition AS
  SELECT e.execution_id, t.catalog_id, t.edge, t.from_node, t.to_node, t.kind, t.condition, t.args
    FROM execution AS e JOIN transition AS t ON t.catalog_id = e.catalog_id;

CREATE OR REPLACE VIEW execution_workbook AS
  SELECT e.execution_id, w.catalog_id, w.task_name, w.task_type, w.spec
    FROM execution AS e JOIN workbook AS w ON w.catalog_id = e.catalog_id;

CREATE TABLE IF NOT EXISTS schema_version (
  version     integer PRIMARY KEY,
  instance    uuid NOT NULL,                      -- one per schema: caches are dropped when it changes
  applied_at  timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
  applied_by  text NOT NULL DEFAULT CURRENT_USER
);

INSERT INTO schema_version (version, instance)
  SELECT 1, coalesce((SELECT instance FROM schema_version LIMIT 1), gen_random_uuid())
  ON CONFLICT DO NOTHING;

-- ---- the inbox: also made elsewhere, by noetl db inbox ------------------------------------------------------------

CREATE TABLE IF NOT EXISTS noetl_inbox.noetl_done (
  key     text PRIMARY KEY,                       -- execution:step:visit:item/HMAC
  result  json,
  at      timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP
);

-- Write a key and return (true, null); where it stands already, (false, what is stored beside it); no row where it
-- went meanwhile. Waits for another transaction that has written it. SQL of playbooks reaches the table only by these
-- two functions, and knows no key.
CREATE OR REPLACE FUNCTION noetl_inbox.enter(step_run text) RETURNS TABLE (fresh boolean, stored json)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $enter$
BEGIN
  INSERT INTO noetl_inbox.noetl_done (key) VALUES (step_run) ON CONFLICT (key) DO NOTHING;
  IF FOUND THEN
    RETURN QUERY SELECT true, NULL::json;
  ELSE
    RETURN QUERY SELECT false, done.result FROM noetl_inbox.noetl_done AS done WHERE done.key = step_run;
  END IF;
END
$enter$;

-- Store a result beside its key; return whether the key is there.
CREATE OR REPLACE FUNCTION noetl_inbox.leave(step_run text, outcome json) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $leave$
BEGIN
  UPDATE noetl_inbox.noetl_done SET result = outcome WHERE key = step_run;
  RETURN FOUND;
END
$leave$;

-- ---- the seal ----------------------------------------------------------------------------------------------------

-- The secret of the keys, for workers only; it stays as long as the inbox does. Who changes the schema locks it.
CREATE TABLE IF NOT EXISTS noetl_inbox.noetl_seal (
  secret  text PRIMARY KEY
);

INSERT INTO noetl_inbox.noetl_seal (secret)
  SELECT gen_random_uuid()::text || gen_random_uuid()::text WHERE NOT EXISTS (SELECT FROM noetl_inbox.noetl_seal);

-- ---- owners and rights --------------------------------------------------------------------------------------------

DO $rights$
DECLARE
  target constant name := current_schema();
  runner constant text := coalesce(nullif(current_setting('noetl.role', true), ''), 'noetl');
  guest constant text := coalesce(nullif(current_setting('noetl.playbook_role', true), ''), 'noetl_playbook');
  relation record;
BEGIN
  PERFORM set_config('client_min_messages', 'notice', true);
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = runner) THEN
    RAISE NOTICE 'role % does not exist: its tables stay with %', runner, current_user;
  ELSIF runner <> current_user THEN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', target, runner);
    EXECUTE format('GRANT SELECT, INSERT ON event_log, payload TO %I', runner);
    EXECUTE format('GRANT SELECT ON event_result TO %I', runner);
    EXECUTE format('GRANT SELECT ON schema_version, noetl_inbox.noetl_seal TO %I', runner);
    EXECUTE format('GRANT EXECUTE ON FUNCTION make_partitions(integer) TO %I', runner);
    EXECUTE format('GRANT USAGE ON SCHEMA noetl_inbox TO %I', runner);
    EXECUTE format('REVOKE ALL ON noetl_inbox.noetl_done FROM %I', runner);
    EXECUTE format('GRANT SELECT, DELETE ON noetl_inbox.noetl_done TO %I', runner);
    BEGIN
      -- Who is no superuser must be able to become the new owner, which has to have CREATE on the schema at this
      -- moment, and no longer.
      IF current_setting('server_version_num')::integer < 160000 THEN
        IF NOT pg_has_role(runner, 'MEMBER') THEN
          EXECUTE format('GRANT %I TO %I', runner, current_user);
        END IF;
      ELSIF NOT pg_has_role(runner, 'SET') THEN
        EXECUTE format('GRANT %I TO %I WITH INHERIT TRUE, SET TRUE', runner, current_user);
      END IF;
      EXECUTE format('GRANT CREATE ON SCHEMA %I TO %I', target, runner);
      FOR relation IN
        SELECT c.relname, CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind
          FROM pg_class AS c
         WHERE c.relnamespace = quote_ident(target)::regnamespace
           AND c.relname IN ('catalog', 'workflow', 'transition', 'workbook', 'execution', 'workload', 'queue',
                             'output', 'loop_item', 'error_log', 'runtime', 'credential', 'execution_id_seq',
                             'execution_workflow', 'execution_transition', 'execution_workbook')
           AND pg_get_userbyid(c.relowner) <> runner
         ORDER BY c.relname
      LOOP
        EXECUTE format('ALTER %s %I OWNER TO %I', relation.kind, relation.relname, runner);
      END LOOP;
      EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM %I', target, runner);
    EXCEPTION WHEN insufficient_privilege OR invalid_grant_operation THEN
      RAISE NOTICE '% may not give tables to role %, which gets rights on them instead: %',
        current_user, runner, sqlerrm;
      FOR relation IN
        SELECT c.relname FROM pg_class AS c
         WHERE c.relnamespace = quote_ident(target)::regnamespace AND c.relkind IN ('r', 'v')
           AND NOT c.relispartition AND c.relowner = quote_ident(current_user)::regrole
           AND c.relname <> 'schema_version'
      LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO %I', relation.relname, runner);
      END LOOP;
      EXECUTE format('GRANT USAGE ON SEQUENCE execution_id_seq TO %I', runner);
    END;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = guest) THEN
    RAISE NOTICE 'role % does not exist: playbooks cannot run SQL on this server under it', guest;
  ELSIF guest <> current_user THEN
    EXECUTE format('GRANT USAGE ON SCHEMA noetl_inbox TO %I', guest);
    EXECUTE format('REVOKE ALL ON noetl_inbox.noetl_done FROM %I', guest);
    IF guest = target THEN
      RAISE NOTICE 'role % has the name of the engine''s schema: its own tables have no place', guest;
    ELSE
      -- Where playbooks make their tables: the default search path, "$user", public, finds a schema of this name.
      IF to_regnamespace(quote_ident(guest)) IS NULL THEN
        EXECUTE format('CREATE SCHEMA %I', guest);
      END IF;
      BEGIN
        EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO %I', guest, guest);
      EXCEPTION WHEN insufficient_privilege THEN
        RAISE NOTICE 'schema % is somebody else''s: role % gets no rights on it', guest, guest;
      END;
    END IF;
  END IF;
  PERFORM make_partitions(4);
END
$rights$;

COMMIT;
