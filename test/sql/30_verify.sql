-- verify_jobs(): sees each invariant that is broken, and says how to mend it.
SET client_min_messages = warning;
CREATE DATABASE regress_ij_verify TEMPLATE template0;
\c regress_ij_verify
SET client_min_messages = warning;
-- a name that needs quoting, and holds whatever a format string could trip over
CREATE SCHEMA "Größe %s";
CREATE EXTENSION iot_jobs SCHEMA "Größe %s";
SET search_path = "Größe %s";
INSERT INTO tenants (tenant_id) VALUES ('acme'), ('o''brien');
INSERT INTO devices (tenant_id, device_id) SELECT t, 'd' || i FROM generate_series(1, 9) i, unnest('{acme,o''brien}'::text[]) t;
SELECT FROM unnest('{queued,values,times,cancelled,completed,expired,done,deleted,empty}'::text[]) job, create_job('acme', 't', target_all => true, job_id => job);
SELECT FROM create_job('o''brien', 't', target_all => true, job_id => 'it''s');
SELECT * FROM verify_jobs(grace => '0');

-- However the caller has names written: what is there is recognized.
SET quote_all_identifiers = on;
DROP EXTENSION iot_jobs;
CREATE EXTENSION iot_jobs SCHEMA "Größe %s";
SELECT * FROM verify_jobs(grace => '0');
SELECT job_index_profile(), (SELECT count(*) FROM job_index_statements('contract', online => false)) AS to_do;
RESET quote_all_identifiers;

-- What only a writer without guards can do.
SET session_replication_role = replica;
BEGIN;
ALTER TABLE jobs DROP CONSTRAINT jobs_status_check, DROP CONSTRAINT jobs_target_check;
ALTER TABLE job_executions DROP CONSTRAINT job_executions_status_check;
INSERT INTO jobs (tenant_id, job_id, document_type, target_all) VALUES ('', 'nobody''s', 't', true), ('gone', 'j', 't', true);
INSERT INTO jobs (tenant_id, job_id, document_type, target_device_id, target_group_id) VALUES ('acme', 'two targets', 't', 'd1', 'g');
INSERT INTO jobs (tenant_id, job_id, document_type) VALUES ('acme', 'no target', 't');
INSERT INTO jobs (tenant_id, job_id, document_type, target_all, status) VALUES ('acme', 'paused', 't', true, 'PAUSED');
INSERT INTO jobs (tenant_id, job_id, document_type, target_all, created_at) VALUES ('acme', 'never made', 't', true, 'infinity');
INSERT INTO jobs (tenant_id, job_id, document_type, target_all, created_at) VALUES ('acme', 'updated before', 't', true, now() + interval '1 min');
INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('acme', 'lost', 'd1'), ('o''brien', 'values', 'd1'), ('acme', 'values', '');
UPDATE job_executions SET status = 'PAUSED' WHERE (job_id, device_id) = ('values', 'd2');
UPDATE job_executions SET execution_number = 0 WHERE (job_id, device_id) = ('values', 'd3');
UPDATE job_executions SET started_at = now() WHERE (job_id, device_id) = ('values', 'd4');
UPDATE job_executions SET status = 'SUCCEEDED' WHERE (job_id, device_id) = ('it''s', 'd1');
UPDATE job_executions SET queued_at = 'infinity' WHERE (job_id, device_id) = ('times', 'd1');
UPDATE job_executions SET last_updated_at = 'infinity' WHERE (job_id, device_id) = ('times', 'd2');
UPDATE job_executions SET status = 'IN_PROGRESS', started_at = '-infinity' WHERE (job_id, device_id) = ('times', 'd3');
UPDATE job_executions SET queued_at = now() + interval '1 min' WHERE (job_id, device_id) = ('times', 'd4');
UPDATE job_executions SET status = 'FAILED', started_at = queued_at - interval '1 s' WHERE (job_id, device_id) = ('times', 'd5');
UPDATE job_executions SET status = 'IN_PROGRESS', started_at = now() + interval '1 s' WHERE (job_id, device_id) = ('times', 'd6');
UPDATE jobs SET status = 'CANCELED' WHERE job_id = 'cancelled';
UPDATE job_executions SET status = 'IN_PROGRESS', started_at = now(), last_updated_at = now() WHERE job_id = 'cancelled' AND device_id > 'd2';
UPDATE jobs SET status = 'COMPLETED' WHERE job_id = 'completed';
UPDATE job_executions SET status = 'SUCCEEDED', started_at = now(), last_updated_at = now() WHERE job_id = 'completed' AND device_id > 'd2';
UPDATE job_executions SET status = 'IN_PROGRESS', started_at = now(), last_updated_at = now() WHERE (job_id, device_id) = ('completed', 'd1');
-- and what the service has not come to yet
UPDATE jobs SET expires_at = now() - interval '1 s' WHERE job_id = 'expired';
UPDATE job_executions SET status = 'SUCCEEDED', started_at = now(), last_updated_at = now() WHERE job_id = 'expired' AND device_id > 'd1';
UPDATE job_executions SET status = 'SUCCEEDED', started_at = now(), last_updated_at = now() WHERE job_id = 'done';
UPDATE jobs SET status = 'DELETION_IN_PROGRESS' WHERE job_id = 'deleted';
DELETE FROM job_executions WHERE job_id = 'empty';
COMMIT;
RESET session_replication_role;
\set broken 'SELECT invariant, tenant_id, job_id, device_id FROM verify_jobs() ORDER BY (invariant, tenant_id, job_id, device_id)::text COLLATE "C"'
:broken;
SELECT detail FROM verify_jobs() WHERE detail NOT LIKE 'status %' ORDER BY detail COLLATE "C";
SELECT regexp_replace(detail, '(_at) [A-Z][^,]*', '\1 ...', 'g') AS detail FROM verify_jobs() WHERE (job_id, device_id) IN (('values', 'd3'), ('times', 'd1'));
-- one tenant, and not more rows of each kind than asked for
SELECT invariant, tenant_id, job_id, device_id FROM verify_jobs('o''brien') ORDER BY 1, 3;
SELECT count(*) FROM verify_jobs('acme', max_rows => 1);
SELECT * FROM verify_jobs('nobody') WHERE invariant NOT IN ('constraint');
-- each remedy can be run as it is, and in this order
SELECT remedy FROM verify_jobs() WITH ORDINALITY v ORDER BY min(ordinality) OVER (PARTITION BY invariant), remedy COLLATE "C" \gexec
:broken;
SELECT count(*) FROM job_executions WHERE (tenant_id, job_id) = ('acme', 'cancelled') AND status = 'IN_PROGRESS';

-- The service is late, if one asks for no patience: a job without executions only after an hour.
SELECT invariant, tenant_id, job_id, device_id, regexp_replace(detail, '(at|since) .*', '\1 ...') AS detail FROM verify_jobs(grace => '0') ORDER BY 1, 3;
SET session_replication_role = replica;
UPDATE jobs SET updated_at = now() - interval '61 min', created_at = '2001-01-01' WHERE job_id = 'empty';
RESET session_replication_role;
:broken;
SELECT DISTINCT remedy FROM verify_jobs(grace => '0') \gexec
SELECT * FROM verify_jobs(grace => '0');
-- with the settings as they are, two sweeps are ten minutes
SET session_replication_role = replica;
UPDATE jobs SET status = 'IN_PROGRESS', updated_at = now() - interval '11 min' WHERE job_id IN ('done', 'completed');
UPDATE job_executions SET last_updated_at = now() - interval '9 min', started_at = queued_at - interval '10 min', queued_at = queued_at - interval '10 min' WHERE job_id = 'done' AND device_id = 'd3';
UPDATE job_executions SET last_updated_at = now() - interval '10 min 1 s', started_at = queued_at - interval '11 min', queued_at = queued_at - interval '11 min' WHERE job_id = 'completed';
RESET session_replication_role;
SELECT invariant, job_id FROM verify_jobs() WHERE invariant <> 'job_times';
SELECT remedy FROM verify_jobs() \gexec
:broken;

-- What the tables have lost, and what was put in its place.
CREATE FUNCTION harmless() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
ALTER TABLE jobs DISABLE TRIGGER iot_jobs_cascade_cancel;
ALTER TABLE job_executions DISABLE TRIGGER ALL;
DROP TRIGGER iot_jobs_guard ON jobs;
CREATE TRIGGER iot_jobs_guard BEFORE INSERT OR UPDATE OR DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION harmless();
ALTER TABLE jobs DISABLE ROW LEVEL SECURITY;
DROP POLICY jobs_tenant_isolation ON jobs;
ALTER POLICY job_executions_tenant_isolation ON job_executions USING (true);
CREATE POLICY everything ON job_executions FOR SELECT USING (status <> 'QUEUED');
CREATE POLICY harmless ON job_executions AS RESTRICTIVE USING (status <> 'QUEUED');
CREATE POLICY harmless ON jobs TO pg_read_all_data USING (true);
ALTER TABLE job_executions DROP CONSTRAINT job_executions_status_check, ADD CONSTRAINT job_executions_status_check CHECK (status = ANY (ARRAY['QUEUED', 'IN_PROGRESS', 'SUCCEEDED', 'FAILED', 'TIMED_OUT', 'REJECTED'])) NOT VALID;
ALTER TABLE jobs DROP CONSTRAINT jobs_tenant_id_fkey;
DROP INDEX idx_jobs_expires_at;
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_job_executions_device_queued'::regclass;
CREATE ROLE regress_ij_verify_one;
CREATE ROLE regress_ij_verify_other;
ALTER TABLE jobs OWNER TO regress_ij_verify_one;
ALTER TABLE job_executions OWNER TO regress_ij_verify_other;
SELECT use_fleet('devices');
UPDATE iot_jobs_fleet SET devices = 0;
SELECT invariant, detail FROM verify_jobs();
UPDATE iot_jobs_fleet SET devices = 'devices';
DROP TRIGGER iot_jobs_guard ON jobs;
SELECT detail FROM verify_jobs() WHERE invariant = 'guard';
\set VERBOSITY terse
SELECT remedy FROM verify_jobs() \gexec
\set VERBOSITY default
-- the new guard had to wait for the constraint
SELECT remedy FROM verify_jobs() \gexec
:broken;
ALTER TABLE jobs OWNER TO CURRENT_USER;
ALTER TABLE job_executions OWNER TO CURRENT_USER;
-- an index of the lean profile stands for the two of the migration by device and by job, and nothing else does
DROP INDEX idx_job_executions_device_queued, idx_job_executions_job_id;
CREATE INDEX partial ON job_executions (tenant_id, device_id, queued_at) WHERE status = 'QUEUED';
:broken;
CREATE INDEX lean ON job_executions (tenant_id, device_id, queued_at);
:broken;
-- the SQL objects of another version
UPDATE pg_extension SET extversion = '0.9' WHERE extname = 'iot_jobs';
SELECT detail, remedy FROM verify_jobs();
UPDATE pg_extension SET extversion = '1.0' WHERE extname = 'iot_jobs';
-- without a table nothing else can be asked
ALTER TABLE job_executions RENAME TO elsewhere;
SELECT invariant, detail, remedy FROM verify_jobs();
ALTER TABLE elsewhere RENAME TO job_executions;

-- Policies that show less are the operator's affair.
:broken;
DROP POLICY harmless ON jobs;
DROP POLICY harmless ON job_executions;

-- Under row security one's own tenant is verified, and nobody concludes from what is hidden.
CREATE ROLE regress_ij_verify_app;
GRANT USAGE ON SCHEMA "Größe %s" TO regress_ij_verify_app;
GRANT SELECT ON jobs, job_executions TO regress_ij_verify_app;
SET session_replication_role = replica;
INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('acme', 'lost', 'd1'), ('o''brien', 'lost', 'd1'), ('o''brien', 'times', 'd1');
RESET session_replication_role;
SELECT invariant, tenant_id, job_id, detail FROM verify_jobs() ORDER BY 1, 2;
SET client_min_messages = notice;
SET ROLE regress_ij_verify_app;
SET app.tenant_id = 'o''brien';
SELECT invariant, tenant_id, job_id, detail FROM verify_jobs() ORDER BY 3;
SELECT invariant, tenant_id, job_id FROM verify_jobs('acme');
RESET ROLE;
CREATE POLICY hide ON jobs AS RESTRICTIVE USING (job_id <> 'it''s');
SET ROLE regress_ij_verify_app;
SELECT invariant, tenant_id, job_id FROM verify_jobs();
RESET ROLE;
-- nor from executions that are hidden, of which some may be open
DROP POLICY hide ON jobs;
SELECT FROM create_job('o''brien', 't', target_all => true, job_id => 'open'), update_job_execution('o''brien', 'open', 'd1', 'SUCCEEDED');
CREATE POLICY hide ON job_executions AS RESTRICTIVE USING (status <> 'QUEUED');
SET ROLE regress_ij_verify_app;
SELECT invariant, tenant_id, job_id FROM verify_jobs(grace => '0');
RESET ROLE;
-- Who sees all jobs and may not read the tenants is told what can be told.
ALTER ROLE regress_ij_verify_app BYPASSRLS;
SET ROLE regress_ij_verify_app;
SELECT invariant, tenant_id, job_id FROM verify_jobs() ORDER BY 1, 2;
RESET ROLE;
SET client_min_messages = warning;

-- It only reads.
BEGIN READ ONLY;
SELECT count(*) FROM verify_jobs();
COMMIT;
\set VERBOSITY terse
SELECT * FROM verify_jobs(max_rows => 0);
SELECT * FROM verify_jobs(max_rows => NULL);
SELECT * FROM verify_jobs(grace => '-1 s');
SELECT * FROM verify_jobs('');
\c postgres
SET client_min_messages = warning;
DROP DATABASE regress_ij_verify;
DROP ROLE regress_ij_verify_app;
DROP ROLE regress_ij_verify_one;
DROP ROLE regress_ij_verify_other;
