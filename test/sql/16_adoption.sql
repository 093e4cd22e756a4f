-- CREATE EXTENSION where something is there already: the missing is made, the
-- rest is adopted, in any schema.
\getenv srcdir PG_ABS_SRCDIR
\set migration :srcdir /migration_077.sql
SET client_min_messages = warning;
CREATE DATABASE regress_ij_adopt TEMPLATE template0;
\c regress_ij_adopt
SET client_min_messages = warning;

-- What an installation has made of a schema, apart from the extension's own objects.
CREATE SCHEMA ijtest;
CREATE FUNCTION ijtest.tables(schema_name text) RETURNS TABLE (kind text, what text) LANGUAGE sql AS $$
    SELECT 'table', format('%s, row security %s', relname, relrowsecurity) FROM pg_class WHERE relnamespace = schema_name::regnamespace AND relkind IN ('r', 'p')
    UNION ALL
    SELECT 'index', c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace = schema_name::regnamespace
    UNION ALL
    SELECT 'policy', format('%s on %s', polname, c.relname) FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid WHERE c.relnamespace = schema_name::regnamespace
    UNION ALL
    SELECT 'constraint', format('%s on %s', conname, c.relname) FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
    WHERE c.relnamespace = schema_name::regnamespace AND k.contype <> 'n'
    UNION ALL
    SELECT 'trigger', format('%s on %s', tgname, c.relname) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relnamespace = schema_name::regnamespace AND NOT tgisinternal
$$;

-- In a schema of its own, whose name needs quoting; nothing lands anywhere else.
CREATE SCHEMA "Größe; my schema";
CREATE EXTENSION iot_jobs SCHEMA "Größe; my schema";
SELECT count(*) AS elsewhere FROM pg_class WHERE relname IN ('jobs', 'job_executions', 'tenants', 'devices') AND relnamespace <> (SELECT extnamespace FROM pg_extension WHERE extname = 'iot_jobs');
SELECT kind, count(*) FROM ijtest.tables('"Größe; my schema"') WHERE what NOT LIKE '%ijtest%' GROUP BY 1 ORDER BY 1;
SET search_path = "Größe; my schema";
INSERT INTO tenants (tenant_id) VALUES ('t');
INSERT INTO devices (tenant_id, device_id) VALUES ('t', 'd1'), ('t', 'd2');
RESET search_path;
SELECT total_executions FROM "Größe; my schema".create_job('t', 'x', target_all => true, job_id => 'j', expires_in => '1 h');
SELECT status FROM "Größe; my schema".start_next_pending_job_execution('t', 'd1');
SELECT status FROM "Größe; my schema".update_job_execution('t', 'j', 'd1', 'SUCCEEDED');
UPDATE "Größe; my schema".jobs SET expires_at = '2001-01-01';
SELECT expired, completed FROM "Größe; my schema".run_job_sweep();
\set VERBOSITY sqlstate
UPDATE "Größe; my schema".jobs SET status = 'IN_PROGRESS';
\set VERBOSITY default
SELECT status, succeeded, timed_out FROM "Größe; my schema".describe_job('t', 'j');

-- Dropped and created again, elsewhere: another pair of tables, the first left alone.
DROP EXTENSION iot_jobs;
CREATE SCHEMA second;
CREATE EXTENSION iot_jobs SCHEMA second;
SELECT count(*) FROM second.jobs;
DROP EXTENSION iot_jobs;
CREATE EXTENSION iot_jobs SCHEMA "Größe; my schema";
SELECT status, succeeded, timed_out FROM "Größe; my schema".describe_job('t', 'j');
DROP EXTENSION iot_jobs;
DROP SCHEMA "Größe; my schema" CASCADE;
DROP SCHEMA second CASCADE;

-- The tables alone, without row security, policies, indexes and named check: all of it is made, and the rows are kept.
CREATE SCHEMA bare;
SET search_path = bare;
CREATE TABLE tenants (tenant_id text PRIMARY KEY);
CREATE TABLE jobs (
    job_id text NOT NULL, tenant_id text NOT NULL REFERENCES tenants (tenant_id) ON DELETE CASCADE, document_type text NOT NULL,
    document_params jsonb NOT NULL DEFAULT '{}', target_device_id text, target_group_id text, target_all boolean NOT NULL DEFAULT false,
    status text NOT NULL DEFAULT 'IN_PROGRESS' CHECK (status IN ('IN_PROGRESS', 'COMPLETED', 'CANCELED', 'DELETION_IN_PROGRESS')),
    expires_at timestamptz, created_by text, created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, job_id));
INSERT INTO tenants VALUES ('t');
INSERT INTO jobs (job_id, tenant_id, document_type, target_all, status) VALUES ('old', 't', 'x', true, 'COMPLETED');
RESET search_path;
CREATE EXTENSION iot_jobs SCHEMA bare;
SELECT * FROM ijtest.tables('bare') ORDER BY kind COLLATE "C", what COLLATE "C";
SELECT job_id, status FROM bare.jobs;
-- A tenants table of the host's own, with no table of devices that could be the registry: nothing is guessed.
SELECT count(*) FROM bare.iot_jobs_fleet;
DO $$
BEGIN
    PERFORM bare.create_job('t', 'x', target_all => true);
EXCEPTION WHEN OTHERS THEN
    RAISE INFO '%', SQLSTATE;
END $$;
DROP EXTENSION iot_jobs;
DROP SCHEMA bare CASCADE;

-- More than the migration is no contradiction: the host's own columns, indexes, policies, triggers, constraints stay.
CREATE SCHEMA more;
SET search_path = more;
CREATE TABLE tenants (tenant_id text PRIMARY KEY, name text, plan text);
CREATE TABLE device_state (tenant_id text, device_id text, site_id text, PRIMARY KEY (tenant_id, device_id));
CREATE TABLE device_groups (tenant_id text, group_id text, name text, PRIMARY KEY (tenant_id, group_id));
CREATE TABLE device_group_members (tenant_id text, group_id text, device_id text, PRIMARY KEY (tenant_id, group_id, device_id));
\i :migration
ALTER TABLE jobs ADD COLUMN priority int NOT NULL DEFAULT 5, ADD COLUMN note text;
ALTER TABLE job_executions ADD CONSTRAINT no_demo CHECK (device_id <> 'demo'), ALTER COLUMN device_id SET STORAGE MAIN;
CREATE INDEX by_type ON jobs (document_type);
CREATE POLICY reader ON jobs FOR SELECT USING (true);
CREATE FUNCTION own_trigger() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.note := 'seen by the host'; RETURN NEW; END$$;
CREATE TRIGGER host_notes BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION own_trigger();
INSERT INTO tenants VALUES ('t');
INSERT INTO device_state SELECT 't', 'd' || i FROM generate_series(1, 3) i;
RESET search_path;
CREATE EXTENSION iot_jobs SCHEMA more;
SELECT kind, what FROM ijtest.tables('more')
WHERE what ~ 'by_type|reader|host_notes|no_demo|guard|cascade' OR kind = 'table' ORDER BY kind COLLATE "C", what COLLATE "C";
-- The registry of the host was found.
SELECT devices, group_members FROM more.iot_jobs_fleet;
SELECT total_executions FROM more.create_job('t', 'x', target_all => true, job_id => 'j');
SELECT job_id, priority, note FROM more.jobs;
SELECT document_type FROM more.start_next_pending_job_execution('t', 'd2');
DROP EXTENSION iot_jobs;
SELECT kind, what FROM ijtest.tables('more')
WHERE what ~ 'by_type|reader|host_notes|no_demo|guard|cascade' ORDER BY kind COLLATE "C", what COLLATE "C";
DROP SCHEMA more CASCADE;

-- A registry that is there in part, without tenants: what is missing is made, and the host's own tables stay as they are.
CREATE SCHEMA half;
CREATE TABLE half.devices (tenant_id text, device_id text, PRIMARY KEY (tenant_id, device_id));
CREATE TABLE half.device_groups (tenant_id text, group_id text, PRIMARY KEY (tenant_id, group_id));
CREATE EXTENSION iot_jobs SCHEMA half;
SELECT kind, what FROM ijtest.tables('half')
WHERE kind IN ('table', 'policy') AND what ~ '\m(tenants|devices|device_groups|device_group_members)\M' ORDER BY kind COLLATE "C", what COLLATE "C";
DROP EXTENSION iot_jobs;
DROP SCHEMA half CASCADE;

-- Which relations list the devices is guessed from a name and the types of the columns, in one order.
CREATE FUNCTION ijtest.guess(registry text, OUT devices text, OUT group_members text) LANGUAGE plpgsql AS $$
BEGIN
    CREATE SCHEMA host;
    CREATE TABLE host.tenants (tenant_id text PRIMARY KEY);
    PERFORM set_config('search_path', 'host', true);
    EXECUTE registry;
    PERFORM set_config('search_path', 'public', true);
    CREATE EXTENSION iot_jobs SCHEMA host;
    EXECUTE 'SELECT devices, group_members FROM host.iot_jobs_fleet' INTO devices, group_members;
    DROP EXTENSION iot_jobs;
    DROP SCHEMA host CASCADE;
END $$;
\set groups 'CREATE TABLE device_group_members (tenant_id varchar(9), group_id varchar(9), device_id text); '
SELECT r.n, g.*
FROM (VALUES
    (1, :'groups' || 'CREATE TABLE device_state (tenant_id text, device_id text); CREATE TABLE device_registry (LIKE device_state); CREATE TABLE devices (LIKE device_state)'),
    (2, :'groups' || 'CREATE TABLE device_state (tenant_id text, device_id text); CREATE TABLE device_registry (LIKE device_state); CREATE TABLE devices (tenant_id text, device_id bigint)'),
    (3, :'groups' || 'CREATE TABLE device_state (tenant_id varchar(9), device_id varchar(9)); CREATE TABLE device_registry (tenant_id uuid, device_id text)'),
    (4, 'CREATE TABLE device_group_members (tenant_id text, group_id int, device_id text); CREATE VIEW devices AS SELECT tenant_id, ''d''::text AS device_id FROM tenants'),
    (5, :'groups' || 'CREATE TABLE devices (tenant_id text, id text)')) r (n, registry), ijtest.guess(r.registry) g
ORDER BY r.n;

-- Columns in another order, after a dropped one, are the same columns.
CREATE SCHEMA shuffled;
SET search_path = shuffled;
CREATE TABLE tenants (tenant_id text PRIMARY KEY);
CREATE TABLE devices (tenant_id text, device_id text, PRIMARY KEY (tenant_id, device_id));
\i :migration
ALTER TABLE job_executions DROP COLUMN status_details;
ALTER TABLE job_executions ADD COLUMN status_details jsonb;
ALTER TABLE jobs DROP COLUMN created_by;
ALTER TABLE jobs ADD COLUMN created_by text;
INSERT INTO tenants VALUES ('t');
INSERT INTO devices VALUES ('t', 'd1'), ('t', 'd2');
RESET search_path;
CREATE EXTENSION iot_jobs SCHEMA shuffled;
SELECT created_by, total_executions FROM shuffled.create_job('t', 'x', '{"a": 1}', target_all => true, job_id => 'j', created_by => 'alice');
SELECT status, status_details, execution_number, document_params FROM shuffled.start_next_pending_job_execution('t', 'd1', '{"n": 1}');
SELECT status, status_details, execution_number, started_at IS NOT NULL AS started FROM shuffled.update_job_execution('t', 'j', 'd1', 'FAILED', '{"n": 2}');
SELECT status, status_details FROM shuffled.cancel_job_execution('t', 'j', 'd2');
UPDATE shuffled.job_executions SET status_details = '{"n": 3}' WHERE device_id = 'd1' RETURNING execution_number;
SELECT completed FROM shuffled.run_job_sweep();
SELECT job_id, created_by, status, failed, rejected FROM shuffled.list_jobs('t');
DROP EXTENSION iot_jobs;
DROP SCHEMA shuffled CASCADE;

-- Told not to make tables, as in a restore, CREATE EXTENSION makes the code only ...
SET iot_jobs.create_tables = off;
CREATE SCHEMA late;
CREATE EXTENSION iot_jobs SCHEMA late;
SELECT count(*) FROM ijtest.tables('late');
DO $$
BEGIN
    PERFORM late.describe_job('t', 'j');
EXCEPTION WHEN OTHERS THEN
    RAISE INFO '%', SQLSTATE;
END $$;
DROP EXTENSION iot_jobs;
-- ... and told to, it does.
SET iot_jobs.create_tables = on;
CREATE EXTENSION iot_jobs SCHEMA late;
SELECT count(*) FROM ijtest.tables('late') WHERE kind = 'table';
DROP EXTENSION iot_jobs;
DROP SCHEMA late CASCADE;

\c contrib_regression
DROP DATABASE regress_ij_adopt;
