-- A table that contradicts migration 077 is refused, with one error that names
-- the difference, and nothing is left of the attempt.
SET client_min_messages = warning;
CREATE DATABASE regress_ij_refused TEMPLATE template0;
\c regress_ij_refused
SET client_min_messages = warning;
\getenv srcdir PG_ABS_SRCDIR
\set migration :srcdir /migration_077.sql
\set text `cat :'migration'`
SELECT format('CREATE FUNCTION build() RETURNS void LANGUAGE plpgsql SET search_path = host AS %L', 'BEGIN
    CREATE SCHEMA host;
    CREATE TABLE tenants (tenant_id text PRIMARY KEY);
    CREATE TABLE devices (tenant_id text, device_id text, PRIMARY KEY (tenant_id, device_id));
    ' || :'text' || '
END') AS build_it \gset
:build_it;
-- adopt the migration with one alteration: what is the client told, and is all as it was before?
CREATE FUNCTION attempt(alteration text, OUT code text, OUT message text, OUT detail text, OUT hint text) LANGUAGE plpgsql AS $$
DECLARE
    relations bigint;
BEGIN
    PERFORM build();
    PERFORM set_config('search_path', 'host', true);
    EXECUTE alteration;
    PERFORM set_config('search_path', 'public', true);
    INSERT INTO host.tenants VALUES ('t');
    relations := (SELECT count(*) FROM pg_class WHERE relnamespace = 'host'::regnamespace);
    BEGIN
        CREATE EXTENSION iot_jobs SCHEMA host;
        code := 'ok';
        DROP EXTENSION iot_jobs;
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
        IF EXISTS (SELECT FROM pg_extension WHERE extname = 'iot_jobs')
           OR relations <> (SELECT count(*) FROM pg_class WHERE relnamespace = 'host'::regnamespace) THEN
            RAISE EXCEPTION 'something is left';
        END IF;
    END;
    DROP SCHEMA host CASCADE;
END $$;

-- The migration itself is adopted, and so are harmless differences.
SELECT a.n, a.alteration, t.code, t.message
FROM (VALUES (1, ''), (2, 'ALTER TABLE jobs ADD COLUMN extra text'), (3, 'ALTER TABLE job_executions ADD COLUMN extra int NOT NULL DEFAULT 0'),
             (4, 'DROP INDEX idx_job_executions_job_id'), (5, 'DROP POLICY jobs_tenant_isolation ON jobs'), (6, 'ALTER TABLE jobs DISABLE ROW LEVEL SECURITY'),
             (7, 'ALTER TABLE jobs FORCE ROW LEVEL SECURITY'), (8, 'DROP TABLE job_executions'), (9, 'ALTER TABLE job_executions SET (fillfactor = 50)'),
             (10, 'CREATE INDEX extra ON jobs (created_by)'), (11, 'ALTER TABLE jobs ALTER COLUMN job_id TYPE text COLLATE "C"'),
             (12, 'ALTER TABLE jobs ADD COLUMN extra bigint GENERATED ALWAYS AS IDENTITY')) a (n, alteration), attempt(a.alteration) t ORDER BY a.n;

-- Contradictions.
\pset format unaligned
\pset expanded on
SELECT a.n, a.alteration, t.code, t.message, t.detail, t.hint
FROM (VALUES
    (1, 'ALTER TABLE jobs ALTER COLUMN document_type TYPE varchar(20)'),
    (2, 'ALTER TABLE jobs ALTER COLUMN document_params DROP DEFAULT, ALTER COLUMN document_params TYPE json USING document_params::text::json'),
    (3, 'ALTER TABLE jobs ALTER COLUMN expires_at TYPE timestamp'),
    (4, 'ALTER TABLE job_executions ALTER COLUMN execution_number TYPE integer'),
    (5, 'ALTER TABLE jobs DROP COLUMN created_by'),
    (6, 'ALTER TABLE job_executions DROP COLUMN queued_at'),
    (7, 'ALTER TABLE jobs DROP CONSTRAINT jobs_status_check, ADD CONSTRAINT jobs_status_check CHECK (status IN (''IN_PROGRESS'', ''COMPLETED'', ''CANCELED''))'),
    (8, 'ALTER TABLE job_executions DROP CONSTRAINT job_executions_status_check, ADD CONSTRAINT job_executions_status_check CHECK (status <> '''')'),
    (9, 'ALTER TABLE jobs DROP CONSTRAINT jobs_target_check, ADD CONSTRAINT jobs_target_check CHECK (target_all)'),
    (10, 'ALTER TABLE job_executions DROP CONSTRAINT job_executions_pkey, ADD PRIMARY KEY (tenant_id, device_id, job_id)'),
    (11, 'ALTER TABLE job_executions DROP CONSTRAINT job_executions_pkey, ADD PRIMARY KEY (job_id, device_id)'),
    (12, 'ALTER TABLE job_executions DROP CONSTRAINT job_executions_tenant_id_job_id_fkey; ALTER TABLE jobs DROP CONSTRAINT jobs_pkey, ADD PRIMARY KEY (job_id)'),
    (13, 'ALTER TABLE jobs ADD COLUMN owner text NOT NULL'),
    (14, 'ALTER TABLE job_executions ADD COLUMN shard int NOT NULL'),
    (15, 'ALTER TABLE jobs ALTER COLUMN created_by SET NOT NULL'),
    (16, 'ALTER TABLE job_executions ALTER COLUMN started_at SET NOT NULL'),
    (17, 'ALTER TABLE jobs ALTER COLUMN status DROP DEFAULT'),
    (18, 'ALTER TABLE jobs ALTER COLUMN status SET DEFAULT ''COMPLETED'''),
    (19, 'ALTER TABLE job_executions ALTER COLUMN execution_number SET DEFAULT 0'),
    (20, 'ALTER TABLE jobs ALTER COLUMN updated_at DROP NOT NULL'),
    (21, 'ALTER POLICY jobs_tenant_isolation ON jobs USING (true)'),
    (22, 'ALTER POLICY job_executions_tenant_isolation ON job_executions WITH CHECK (true)'),
    (23, 'DROP INDEX idx_jobs_tenant_status; CREATE INDEX idx_jobs_tenant_status ON jobs (status)'),
    (24, 'DROP INDEX idx_job_executions_device_queued; CREATE INDEX idx_job_executions_device_queued ON job_executions (tenant_id, device_id, status)'),
    (25, 'ALTER TABLE job_executions DROP CONSTRAINT job_executions_tenant_id_job_id_fkey, ADD CONSTRAINT job_executions_tenant_id_job_id_fkey FOREIGN KEY (tenant_id, job_id) REFERENCES jobs (tenant_id, job_id)'),
    (26, 'DROP TABLE job_executions; CREATE VIEW job_executions AS SELECT 1 AS one'),
    (27, 'DROP TABLE job_executions, jobs; CREATE TABLE jobs (id int)'),
    -- the expressions of the migration, for less than all statements, not of a policy that grants, or not for everybody
    (28, 'DROP POLICY jobs_tenant_isolation ON jobs; CREATE POLICY jobs_tenant_isolation ON jobs FOR UPDATE USING (tenant_id = current_setting(''app.tenant_id'', true)) WITH CHECK (tenant_id = current_setting(''app.tenant_id'', true))'),
    (29, 'DROP POLICY jobs_tenant_isolation ON jobs; CREATE POLICY jobs_tenant_isolation ON jobs AS RESTRICTIVE USING (tenant_id = current_setting(''app.tenant_id'', true)) WITH CHECK (tenant_id = current_setting(''app.tenant_id'', true))'),
    (30, 'ALTER POLICY jobs_tenant_isolation ON jobs TO pg_monitor'),
    (31, 'ALTER TABLE job_executions DROP CONSTRAINT job_executions_pkey, ADD CONSTRAINT by_device PRIMARY KEY (tenant_id, device_id, job_id)')
    ) a (n, alteration), attempt(a.alteration) t ORDER BY a.n;
\pset expanded off
\pset format aligned
\set VERBOSITY sqlstate
-- Afterwards the way is free.
CREATE EXTENSION iot_jobs;
SELECT count(*) FROM jobs;

-- Only where a character is what it is taken for.
CREATE DATABASE regress_ij_ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C';
\c regress_ij_ascii
CREATE EXTENSION iot_jobs;
SELECT count(*) FROM pg_extension WHERE extname = 'iot_jobs';

\c contrib_regression
DROP DATABASE regress_ij_ascii;
DROP DATABASE regress_ij_refused;
