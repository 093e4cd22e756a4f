-- The host platform: its tables and its migration 077 with rows are there before
-- the extension; its services send what they always sent, as the app role under
-- row security, each request in a transaction of its own.
\getenv srcdir PG_ABS_SRCDIR
\set migration :srcdir /migration_077.sql
SET client_min_messages = warning;
CREATE DATABASE regress_ij_host TEMPLATE template0;
\c regress_ij_host
SET client_min_messages = warning;
CREATE TABLE tenants (tenant_id text PRIMARY KEY, name text NOT NULL DEFAULT '', status text NOT NULL DEFAULT 'ACTIVE', plan text NOT NULL DEFAULT 'basic',
                      metadata jsonb NOT NULL DEFAULT '{}', created_at timestamptz NOT NULL DEFAULT now());
ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenants_self ON tenants FOR SELECT USING (tenant_id = current_setting('app.tenant_id', true));
CREATE TABLE device_state (tenant_id text NOT NULL, device_id text NOT NULL, site_id text NOT NULL DEFAULT 's1',
                           status text NOT NULL DEFAULT 'STALE' CHECK (status IN ('ONLINE', 'STALE', 'OFFLINE')),
                           last_seen_at timestamptz, state jsonb NOT NULL DEFAULT '{}', PRIMARY KEY (tenant_id, device_id));
ALTER TABLE device_state ENABLE ROW LEVEL SECURITY;
CREATE POLICY device_state_tenant_isolation ON device_state USING (tenant_id = current_setting('app.tenant_id', true));
CREATE TABLE device_groups (tenant_id text NOT NULL, group_id text NOT NULL, name text NOT NULL DEFAULT '', description text, PRIMARY KEY (tenant_id, group_id));
ALTER TABLE device_groups ENABLE ROW LEVEL SECURITY;
CREATE POLICY device_groups_tenant_isolation ON device_groups USING (tenant_id = current_setting('app.tenant_id', true));
CREATE TABLE device_group_members (tenant_id text NOT NULL, group_id text NOT NULL, device_id text NOT NULL, added_at timestamptz NOT NULL DEFAULT now(),
                                   PRIMARY KEY (tenant_id, group_id, device_id), FOREIGN KEY (tenant_id, group_id) REFERENCES device_groups ON DELETE CASCADE);
ALTER TABLE device_group_members ENABLE ROW LEVEL SECURITY;
CREATE POLICY device_group_members_tenant_isolation ON device_group_members USING (tenant_id = current_setting('app.tenant_id', true));
-- Migration 077, as it was run.
\i :migration
CREATE ROLE regress_ij_host_app;
CREATE ROLE regress_ij_host_operator BYPASSRLS;
GRANT SELECT, INSERT, UPDATE, DELETE ON jobs, job_executions TO regress_ij_host_app, regress_ij_host_operator;
GRANT SELECT ON tenants, device_state, device_groups, device_group_members TO regress_ij_host_app, regress_ij_host_operator;

-- Rows from before, with the scars of the races that the host had.
INSERT INTO tenants (tenant_id) VALUES ('acme'), ('globex');
INSERT INTO device_state (tenant_id, device_id) SELECT t, 'dev-' || i FROM unnest(array['acme', 'globex']) t, generate_series(1, 5) i;
INSERT INTO device_groups (tenant_id, group_id) VALUES ('acme', 'floor'), ('acme', 'empty'), ('globex', 'floor');
INSERT INTO device_group_members (tenant_id, group_id, device_id) VALUES ('acme', 'floor', 'dev-1'), ('acme', 'floor', 'dev-2'), ('globex', 'floor', 'dev-1');
INSERT INTO jobs (job_id, tenant_id, document_type, target_all, status, expires_at, created_at) VALUES
    ('old-completed', 'acme', 'reboot', true, 'COMPLETED', '2026-01-02', '2026-01-01'),
    ('old-lost', 'acme', 'reboot', true, 'IN_PROGRESS', NULL, '2026-01-02'),
    ('old-raced', 'acme', 'reboot', true, 'CANCELED', NULL, '2026-01-03'),
    ('old-overdue', 'acme', 'reboot', true, 'IN_PROGRESS', '2026-01-05', '2026-01-04'),
    ('old-running', 'acme', 'reboot', true, 'IN_PROGRESS', NULL, '2026-01-05'),
    ('old-globex', 'globex', 'reboot', true, 'IN_PROGRESS', '2026-01-05', '2026-01-04');
INSERT INTO job_executions (job_id, tenant_id, device_id, status, execution_number, started_at) VALUES
    ('old-completed', 'acme', 'dev-1', 'SUCCEEDED', 3, '2026-01-01'), ('old-completed', 'acme', 'dev-2', 'TIMED_OUT', 1, NULL),
    ('old-lost', 'acme', 'dev-1', 'SUCCEEDED', 3, '2026-01-01'), ('old-lost', 'acme', 'dev-2', 'FAILED', 3, '2026-01-01'),
    ('old-raced', 'acme', 'dev-1', 'REJECTED', 1, NULL), ('old-raced', 'acme', 'dev-2', 'QUEUED', 1, NULL),
    ('old-overdue', 'acme', 'dev-1', 'IN_PROGRESS', 2, '2026-01-04'), ('old-overdue', 'acme', 'dev-2', 'QUEUED', 1, NULL),
    ('old-running', 'acme', 'dev-1', 'QUEUED', 1, NULL), ('old-running', 'acme', 'dev-5', 'QUEUED', 1, NULL),
    ('old-globex', 'globex', 'dev-1', 'QUEUED', 1, NULL);
CREATE TEMP TABLE before AS SELECT 'jobs' AS relation, to_jsonb(j) AS content FROM jobs j UNION ALL SELECT 'job_executions', to_jsonb(e) FROM job_executions e;

-- The extension arrives.  Not a row changes but the one that a cancel had left behind.
CREATE EXTENSION iot_jobs;
SELECT count(*) FROM before;
SELECT b.relation, b.content ->> 'job_id' AS job_id, b.content ->> 'device_id' AS device_id
FROM (TABLE before EXCEPT (SELECT 'jobs', to_jsonb(j) FROM jobs j UNION ALL SELECT 'job_executions', to_jsonb(e) FROM job_executions e)) b;
SELECT device_id, status, status_details, execution_number FROM job_executions WHERE job_id = 'old-raced' ORDER BY 1;
SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY relname COLLATE "C";
SELECT devices, group_members FROM iot_jobs_fleet;
SELECT c.relname FROM pg_depend d JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND c.relkind = 'r' AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'iot_jobs');
-- What the host lost is found again, and what is overdue is done.
SELECT * FROM run_job_sweep();
SELECT tenant_id, job_id, status FROM jobs ORDER BY 1, 2;
SELECT device_id, status, status_details, execution_number FROM job_executions WHERE job_id = 'old-overdue' ORDER BY 1;

-- 1. Create: for one device, for a group, for all; one statement a device.
BEGIN;
SET LOCAL ROLE regress_ij_host_app;
SELECT set_config('app.tenant_id', 'acme', true);
SELECT 1 AS found FROM device_state WHERE tenant_id = 'acme' AND device_id = 'dev-3';
INSERT INTO jobs (job_id, tenant_id, document_type, document_params, target_device_id, target_group_id, target_all, expires_at, created_by)
    VALUES ('h-device', 'acme', 'reboot', '{"delay_s": 5}', 'dev-3', NULL, false, now() + interval '24 hours', 'alice');
INSERT INTO job_executions (job_id, tenant_id, device_id) VALUES ('h-device', 'acme', 'dev-3') ON CONFLICT DO NOTHING;
COMMIT;
BEGIN;
SET LOCAL ROLE regress_ij_host_app;
SELECT set_config('app.tenant_id', 'acme', true);
SELECT device_id FROM device_group_members WHERE tenant_id = 'acme' AND group_id = 'floor' ORDER BY device_id;
INSERT INTO jobs (job_id, tenant_id, document_type, document_params, target_device_id, target_group_id, target_all, expires_at, created_by)
    VALUES ('h-group', 'acme', 'update', '{}', NULL, 'floor', false, now() + interval '1 hour', 'alice');
INSERT INTO job_executions (job_id, tenant_id, device_id) VALUES ('h-group', 'acme', 'dev-1') ON CONFLICT DO NOTHING;
INSERT INTO job_executions (job_id, tenant_id, device_id) VALUES ('h-group', 'acme', 'dev-2') ON CONFLICT DO NOTHING;
INSERT INTO job_executions (job_id, tenant_id, device_id) VALUES ('h-group', 'acme', 'dev-2') ON CONFLICT DO NOTHING;
COMMIT;
BEGIN;
SET LOCAL ROLE regress_ij_host_app;
SELECT set_config('app.tenant_id', 'acme', true);
INSERT INTO jobs (job_id, tenant_id, document_type, document_params, target_device_id, target_group_id, target_all, expires_at, created_by)
    VALUES ('h-all', 'acme', 'config', '{"level": 1}', NULL, NULL, true, now() + interval '720 hours', 'alice');
PREPARE one_device AS INSERT INTO job_executions (job_id, tenant_id, device_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;
EXECUTE one_device('h-all', 'acme', 'dev-1');
EXECUTE one_device('h-all', 'acme', 'dev-2');
EXECUTE one_device('h-all', 'acme', 'dev-3');
EXECUTE one_device('h-all', 'acme', 'dev-4');
EXECUTE one_device('h-all', 'acme', 'dev-5');
EXECUTE one_device('h-all', 'acme', 'dev-5');
COMMIT;

-- 2. List.
BEGIN;
SET LOCAL ROLE regress_ij_host_app;
SELECT set_config('app.tenant_id', 'acme', true);
SELECT j.job_id, j.document_type, j.status,
       (SELECT COUNT(*) FROM job_executions e WHERE e.tenant_id = j.tenant_id AND e.job_id = j.job_id) AS total_count,
       (SELECT COUNT(*) FROM job_executions e WHERE e.tenant_id = j.tenant_id AND e.job_id = j.job_id AND e.status = 'SUCCEEDED') AS succeeded_count,
       (SELECT COUNT(*) FROM job_executions e WHERE e.tenant_id = j.tenant_id AND e.job_id = j.job_id AND e.status IN ('FAILED', 'TIMED_OUT', 'REJECTED')) AS failed_count
FROM jobs j WHERE j.tenant_id = 'acme' ORDER BY j.created_at DESC, j.job_id LIMIT 6 OFFSET 1;
COMMIT;

-- 3. Detail.
BEGIN;
SET LOCAL ROLE regress_ij_host_app;
SELECT set_config('app.tenant_id', 'acme', true);
SELECT count(*) FROM (SELECT * FROM jobs WHERE tenant_id = 'acme' AND job_id = 'h-group') j;
SELECT device_id, status, execution_number FROM job_executions WHERE tenant_id = 'acme' AND job_id = 'h-group' ORDER BY device_id;
SELECT count(*) AS of_another_tenant FROM jobs WHERE job_id = 'old-globex';
COMMIT;

-- 5. Poll.
BEGIN;
SET LOCAL ROLE regress_ij_host_app;
SELECT set_config('app.tenant_id', 'acme', true);
SELECT e.job_id, j.document_type, j.document_params, e.execution_number
FROM job_executions e JOIN jobs j ON j.tenant_id = e.tenant_id AND j.job_id = e.job_id
WHERE e.tenant_id = 'acme' AND e.device_id = 'dev-1' AND e.status = 'QUEUED' AND (j.expires_at IS NULL OR j.expires_at > NOW())
ORDER BY e.queued_at, e.job_id LIMIT 10;
COMMIT;

-- 6. Report: claim, then the end, each with its own lock on the number; the last one completes the job itself.
BEGIN;
SET LOCAL ROLE regress_ij_host_app;
SELECT set_config('app.tenant_id', 'acme', true);
SELECT status, execution_number FROM job_executions WHERE tenant_id = 'acme' AND job_id = 'h-group' AND device_id = 'dev-1';
UPDATE job_executions SET status = 'IN_PROGRESS', status_details = NULL, execution_number = execution_number + 1, last_updated_at = NOW(), started_at = NOW()
WHERE tenant_id = 'acme' AND job_id = 'h-group' AND device_id = 'dev-1' RETURNING status, execution_number, started_at = now() AS started_now;
COMMIT;
BEGIN;
SET LOCAL ROLE regress_ij_host_app;
SELECT set_config('app.tenant_id', 'acme', true);
UPDATE job_executions SET status = 'SUCCEEDED', status_details = '{"message": "done"}', execution_number = execution_number + 1, last_updated_at = NOW()
WHERE tenant_id = 'acme' AND job_id = 'h-group' AND device_id = 'dev-1' RETURNING status, execution_number, started_at < now() AS start_kept;
SELECT COUNT(*) AS open FROM job_executions WHERE tenant_id = 'acme' AND job_id = 'h-group' AND status IN ('QUEUED', 'IN_PROGRESS');
COMMIT;
BEGIN;
SET LOCAL ROLE regress_ij_host_app;
SELECT set_config('app.tenant_id', 'acme', true);
UPDATE job_executions SET status = 'IN_PROGRESS', status_details = NULL, execution_number = execution_number + 1, last_updated_at = NOW(), started_at = NOW()
WHERE tenant_id = 'acme' AND job_id = 'h-group' AND device_id = 'dev-2' RETURNING execution_number;
UPDATE job_executions SET status = 'REJECTED', status_details = '{"message": "busy"}', execution_number = execution_number + 1, last_updated_at = NOW()
WHERE tenant_id = 'acme' AND job_id = 'h-group' AND device_id = 'dev-2' RETURNING execution_number;
SELECT COUNT(*) AS open FROM job_executions WHERE tenant_id = 'acme' AND job_id = 'h-group' AND status IN ('QUEUED', 'IN_PROGRESS');
UPDATE jobs SET status = 'COMPLETED', updated_at = NOW() WHERE tenant_id = 'acme' AND job_id = 'h-group' AND status = 'IN_PROGRESS' RETURNING status;
COMMIT;

-- 4. Cancel.
BEGIN;
SET LOCAL ROLE regress_ij_host_app;
SELECT set_config('app.tenant_id', 'acme', true);
UPDATE job_executions SET status = 'IN_PROGRESS', execution_number = execution_number + 1, last_updated_at = NOW(), started_at = NOW()
WHERE tenant_id = 'acme' AND job_id = 'h-all' AND device_id = 'dev-1' RETURNING execution_number;
COMMIT;
BEGIN;
SET LOCAL ROLE regress_ij_host_app;
SELECT set_config('app.tenant_id', 'acme', true);
SELECT status FROM jobs WHERE tenant_id = 'acme' AND job_id = 'h-all';
UPDATE job_executions SET status = 'REJECTED', status_details = '{"reason": "job_canceled"}', last_updated_at = NOW()
WHERE tenant_id = 'acme' AND job_id = 'h-all' AND status = 'QUEUED';
UPDATE jobs SET status = 'CANCELED', updated_at = NOW() WHERE tenant_id = 'acme' AND job_id = 'h-all' RETURNING status;
COMMIT;
SELECT device_id, status, status_details, execution_number FROM job_executions WHERE job_id = 'h-all' ORDER BY 1;

-- 7. The expiry tick, by the operator, across tenants.
UPDATE jobs SET expires_at = now() - interval '1 s' WHERE job_id = 'h-device';
BEGIN;
SET LOCAL ROLE regress_ij_host_operator;
SELECT tenant_id, job_id FROM jobs WHERE status = 'IN_PROGRESS' AND expires_at IS NOT NULL AND expires_at < NOW() ORDER BY 1, 2;
UPDATE job_executions SET status = 'TIMED_OUT', status_details = '{"reason": "job_expired"}', last_updated_at = NOW()
WHERE tenant_id = 'acme' AND job_id = 'h-device' AND status = 'QUEUED' RETURNING device_id, execution_number, status_details;
SELECT COUNT(*) AS open FROM job_executions WHERE tenant_id = 'acme' AND job_id = 'h-device' AND status IN ('QUEUED', 'IN_PROGRESS');
UPDATE jobs SET status = 'COMPLETED', updated_at = NOW() WHERE tenant_id = 'acme' AND job_id = 'h-device' RETURNING status;
COMMIT;

-- The functions beside it, as the same role, on the same rows.
BEGIN;
SET LOCAL ROLE regress_ij_host_app;
SELECT set_config('app.tenant_id', 'acme', true);
\set VERBOSITY sqlstate
SELECT create_job('acme', 'reboot', target_all => true);
ROLLBACK;
GRANT EXECUTE ON FUNCTION create_job, cancel_job, start_next_pending_job_execution, update_job_execution, claim_job_executions, update_job_executions TO regress_ij_host_app;
\set VERBOSITY default
BEGIN;
SET LOCAL ROLE regress_ij_host_app;
SELECT set_config('app.tenant_id', 'acme', true);
SELECT total_executions FROM create_job('acme', 'reboot', '{"delay_s": 5}', target_all => true, job_id => 'f-all', expires_in => '24 h');
SELECT total_executions FROM create_job('acme', 'reboot', target_group_id => 'floor', job_id => 'f-group');
SELECT job_id, execution_number FROM start_next_pending_job_execution('acme', 'dev-5');
SELECT status FROM update_job_execution('acme', 'old-running', 'dev-5', 'SUCCEEDED');
SELECT job_id FROM start_next_pending_job_execution('acme', 'dev-4');
SELECT status, rejected, in_progress FROM cancel_job('acme', 'f-all');
COMMIT;
BEGIN;
SET LOCAL ROLE regress_ij_host_app;
SELECT set_config('app.tenant_id', 'globex', true);
\set VERBOSITY sqlstate
SAVEPOINT s;
SELECT create_job('acme', 'reboot', target_all => true);
ROLLBACK TO s;
SELECT cancel_job('acme', 'f-group');
ROLLBACK TO s;
SELECT count(*) FROM claim_job_executions('acme', 10);
COMMIT;
\set VERBOSITY default

-- What the host could not refuse, is refused.
\set VERBOSITY sqlstate
BEGIN;
SET LOCAL ROLE regress_ij_host_app;
SELECT set_config('app.tenant_id', 'acme', true);
UPDATE job_executions SET status = 'QUEUED' WHERE tenant_id = 'acme' AND job_id = 'h-group' AND device_id = 'dev-1';
ROLLBACK;
BEGIN;
SET LOCAL ROLE regress_ij_host_app;
SELECT set_config('app.tenant_id', 'acme', true);
INSERT INTO job_executions (job_id, tenant_id, device_id) VALUES ('h-all', 'acme', 'dev-9') ON CONFLICT DO NOTHING;
ROLLBACK;

\c contrib_regression
DROP DATABASE regress_ij_host;
DROP ROLE regress_ij_host_app, regress_ij_host_operator;
