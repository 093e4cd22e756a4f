-- Adoption goes by the whole definition, not by a name or by how it begins; and names are only names.
SET client_min_messages = warning;
CREATE DATABASE regress_ij_names TEMPLATE template0;
\c regress_ij_names
SET client_min_messages = warning;
CREATE EXTENSION iot_jobs;
DROP EXTENSION iot_jobs;
-- what CREATE EXTENSION says to the tables that are there, after one change; nothing stays
CREATE FUNCTION said(change text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
    relation text;
BEGIN
    EXECUTE change;
    CREATE EXTENSION iot_jobs;
    RAISE EXCEPTION USING ERRCODE = 'ZZ001', MESSAGE = 'adopted';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS relation = PG_EXCEPTION_DETAIL;
    RETURN CASE SQLSTATE WHEN 'ZZ001' THEN SQLERRM ELSE SQLSTATE || ' ' || relation END;
END $$;
SELECT c.n, said(format('DROP INDEX %I; %s', c.index, c.instead))
FROM (VALUES
    (1, 'idx_job_executions_job_id', 'CREATE UNIQUE INDEX idx_job_executions_job_id ON job_executions (tenant_id, job_id)'),
    (2, 'idx_job_executions_job_id', 'CREATE INDEX idx_job_executions_job_id ON job_executions (tenant_id, job_id) WHERE status = ''QUEUED'''),
    (3, 'idx_job_executions_job_id', 'CREATE INDEX idx_job_executions_job_id ON job_executions (tenant_id, job_id, device_id)'),
    (4, 'idx_job_executions_job_id', 'CREATE INDEX idx_job_executions_job_id ON job_executions USING hash (job_id)'),
    (5, 'idx_job_executions_device_queued', 'CREATE UNIQUE INDEX idx_job_executions_device_queued ON job_executions (tenant_id, device_id, status) WHERE status IN (''QUEUED'', ''IN_PROGRESS'')'),
    (6, 'idx_job_executions_device_queued', 'CREATE INDEX idx_job_executions_device_queued ON job_executions (tenant_id, device_id, status) WHERE status IN (''QUEUED'', ''FAILED'')'),
    (7, 'idx_job_executions_device_queued', 'CREATE INDEX idx_job_executions_device_queued ON job_executions (tenant_id, device_id, status)'),
    (8, 'idx_jobs_tenant_status', 'CREATE UNIQUE INDEX idx_jobs_tenant_status ON jobs (tenant_id, status)'),
    (9, 'idx_jobs_tenant_status', 'CREATE INDEX idx_jobs_tenant_status ON jobs (tenant_id, status) WHERE status = ''IN_PROGRESS'''),
    (10, 'idx_jobs_tenant_status', 'CREATE INDEX idx_jobs_tenant_status ON jobs (tenant_id, status) INCLUDE (expires_at)'),
    (11, 'idx_jobs_tenant_status', 'CREATE INDEX idx_jobs_tenant_status ON job_executions (tenant_id, status)'),
    (12, 'idx_jobs_tenant_status', 'CREATE TABLE idx_jobs_tenant_status ()'),
    (13, 'idx_jobs_expires_at', 'CREATE INDEX idx_jobs_expires_at ON jobs (expires_at)'),
    (14, 'idx_jobs_expires_at', 'CREATE INDEX idx_jobs_expires_at ON jobs (expires_at) WHERE expires_at IS NOT NULL'),
    -- the same again, and none at all, are no contradiction
    (15, 'idx_job_executions_job_id', 'CREATE INDEX idx_job_executions_job_id ON job_executions (tenant_id, job_id)'),
    (16, 'idx_jobs_expires_at', 'CREATE INDEX idx_jobs_expires_at ON jobs (expires_at) WHERE status = ''IN_PROGRESS'' AND expires_at IS NOT NULL'),
    (17, 'idx_jobs_expires_at', 'CREATE INDEX idx_jobs_expires_at ON jobs (expires_at) WHERE expires_at IS NOT NULL AND status = ''IN_PROGRESS'''),
    (18, 'idx_jobs_tenant_status', '')) c (n, index, instead)
ORDER BY c.n;
SELECT count(*) FROM pg_extension WHERE extname = 'iot_jobs';

-- A schema whose name means something to format().
CREATE SCHEMA "100% %s %I%%";
CREATE EXTENSION iot_jobs SCHEMA "100% %s %I%%";
SET search_path = "100% %s %I%%";
INSERT INTO tenants (tenant_id) VALUES ('t');
INSERT INTO devices (tenant_id, device_id) SELECT 't', 'd' || i FROM generate_series(1, 3) i;
SELECT total_executions FROM create_job('t', 'x', target_all => true, job_id => 'j');
SELECT status FROM start_next_pending_job_execution('t', 'd1');
SELECT accepted, status FROM update_job_executions('t', '[{"job_id": "j", "device_id": "d1", "status": "SUCCEEDED"}]');
SELECT status, succeeded, rejected FROM cancel_job('t', 'j');
SELECT * FROM run_job_sweep();
SELECT devices, group_members FROM iot_jobs_fleet;
-- over its own tables, and with something missing
DROP EXTENSION iot_jobs;
DROP INDEX idx_jobs_tenant_status;
DROP POLICY jobs_tenant_isolation ON jobs;
ALTER TABLE job_executions DROP CONSTRAINT job_executions_tenant_id_job_id_fkey;
CREATE EXTENSION iot_jobs SCHEMA "100% %s %I%%";
SELECT indexname FROM pg_indexes WHERE schemaname = '100% %s %I%%' AND tablename = 'jobs' ORDER BY 1;
SELECT policyname FROM pg_policies WHERE schemaname = '100% %s %I%%' AND tablename = 'jobs';
SELECT conname FROM pg_constraint WHERE conrelid = 'job_executions'::regclass AND contype = 'f';
SELECT status, succeeded, rejected FROM describe_job('t', 'j');
-- a contradiction is named there, too
\set SHOW_CONTEXT never
DROP EXTENSION iot_jobs;
DROP INDEX idx_jobs_tenant_status;
CREATE UNIQUE INDEX idx_jobs_tenant_status ON jobs (tenant_id, status, job_id);
CREATE EXTENSION iot_jobs SCHEMA "100% %s %I%%";
\c contrib_regression
DROP DATABASE regress_ij_names;
