-- DROP EXTENSION takes the code and the guards and leaves the data; CREATE
-- EXTENSION adopts what is there.
SET client_min_messages = warning;
CREATE DATABASE regress_ij_drop TEMPLATE template0;
\c regress_ij_drop
SET client_min_messages = warning;
CREATE EXTENSION iot_jobs;
INSERT INTO tenants (tenant_id) VALUES ('t');
INSERT INTO devices (tenant_id, device_id) SELECT 't', 'd' || i FROM generate_series(1, 4) i;
INSERT INTO device_groups (tenant_id, group_id) VALUES ('t', 'g');
INSERT INTO device_group_members (tenant_id, group_id, device_id) VALUES ('t', 'g', 'd1'), ('t', 'g', 'd2');
SELECT FROM create_job('t', 'x', target_all => true, job_id => 'live', expires_in => '1 day');
SELECT FROM create_job('t', 'x', target_group_id => 'g', job_id => 'canceled');
SELECT FROM cancel_job('t', 'canceled');
SELECT FROM update_job_execution('t', 'live', 'd1', 'SUCCEEDED', '{"a": 1}');
SELECT FROM start_next_pending_job_execution('t', 'd2');

-- The operator's own things on the tables, which must survive too.
CREATE VIEW open_executions AS SELECT * FROM job_executions WHERE status IN ('QUEUED', 'IN_PROGRESS');
CREATE INDEX own_index ON job_executions (last_updated_at);
CREATE TABLE note (tenant_id text, job_id text, device_id text, FOREIGN KEY (tenant_id, job_id, device_id) REFERENCES job_executions);
CREATE POLICY own_policy ON jobs AS RESTRICTIVE USING (document_type <> 'secret');
SELECT use_fleet('devices');

CREATE TABLE kept AS
    SELECT 'jobs' AS relation, to_jsonb(j) AS content FROM jobs j UNION ALL SELECT 'job_executions', to_jsonb(e) FROM job_executions e
    UNION ALL SELECT 'tenants', to_jsonb(t) FROM tenants t UNION ALL SELECT 'devices', to_jsonb(d) FROM devices d
    UNION ALL SELECT 'device_group_members', to_jsonb(m) FROM device_group_members m UNION ALL SELECT 'fleet', to_jsonb(f) FROM iot_jobs_fleet f;
CREATE VIEW lost AS
    TABLE kept EXCEPT (
    SELECT 'jobs', to_jsonb(j) FROM jobs j UNION ALL SELECT 'job_executions', to_jsonb(e) FROM job_executions e
    UNION ALL SELECT 'tenants', to_jsonb(t) FROM tenants t UNION ALL SELECT 'devices', to_jsonb(d) FROM devices d
    UNION ALL SELECT 'device_group_members', to_jsonb(m) FROM device_group_members m UNION ALL SELECT 'fleet', to_jsonb(f) FROM iot_jobs_fleet f);
SELECT relation, count(*) FROM kept GROUP BY 1 ORDER BY 1;

-- Plain DROP, no CASCADE.
DROP EXTENSION iot_jobs;
SELECT * FROM lost;
SELECT relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') ORDER BY relname COLLATE "C";
SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace;
SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype = 'c' AND typname LIKE 'job\_%\_%' ORDER BY 1;
SELECT tgname FROM pg_trigger WHERE NOT tgisinternal;
SELECT indexname FROM pg_indexes WHERE indexname = 'own_index';
SELECT polname, polrelid::regclass FROM pg_policy WHERE polrelid IN ('jobs'::regclass, 'job_executions'::regclass) ORDER BY 1;
SELECT relname, relrowsecurity FROM pg_class WHERE oid IN ('jobs'::regclass, 'job_executions'::regclass) ORDER BY 1;
-- Nobody guards now.
BEGIN;
UPDATE job_executions SET status = 'QUEUED' WHERE device_id = 'd1' AND job_id = 'live' RETURNING status, execution_number;
ROLLBACK;

-- And back.
CREATE EXTENSION iot_jobs;
SELECT * FROM lost;
SELECT tgname, tgrelid::regclass FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2;
\set VERBOSITY sqlstate
UPDATE job_executions SET status = 'QUEUED' WHERE device_id = 'd1' AND job_id = 'live' RETURNING status, execution_number;
\set VERBOSITY default
SELECT status, queued, in_progress, succeeded FROM describe_job('t', 'live');
SELECT device_id, status, execution_number FROM start_next_pending_job_execution('t', 'd2');
SELECT total_executions FROM create_job('t', 'x', target_all => true, job_id => 'after');
-- The choice of the registry was the operator's, and is kept.
SELECT devices, group_members FROM iot_jobs_fleet;
-- Twice more, to be sure that nothing piles up.
DROP EXTENSION iot_jobs;
CREATE EXTENSION iot_jobs;
DROP EXTENSION iot_jobs;
CREATE EXTENSION iot_jobs;
SELECT (SELECT count(*) FROM pg_policy) AS policies, (SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal) AS triggers,
       (SELECT count(*) FROM pg_index WHERE indrelid IN ('jobs'::regclass, 'job_executions'::regclass)) AS indexes,
       (SELECT count(*) FROM pg_constraint WHERE conrelid IN ('jobs'::regclass, 'job_executions'::regclass) AND contype <> 'n') AS constraints;

-- In one transaction that rolls back, all is as it was.
BEGIN;
DROP EXTENSION iot_jobs;
ROLLBACK;
SELECT status FROM describe_job('t', 'live');
BEGIN;
DROP EXTENSION iot_jobs;
CREATE EXTENSION iot_jobs;
SELECT status FROM describe_job('t', 'live');
COMMIT;
SELECT status FROM describe_job('t', 'live');

-- Rows that no machine would allow, from the time without guards: what is queued in a canceled job is rejected when the
-- extension comes back, as the cancel should have done; everything else is adopted as it is, and can be read.
DROP EXTENSION iot_jobs;
UPDATE job_executions SET status = 'QUEUED' WHERE job_id = 'canceled' AND device_id = 'd1';
UPDATE jobs SET status = 'COMPLETED' WHERE job_id = 'after';
CREATE EXTENSION iot_jobs;
SELECT device_id, status, status_details, execution_number FROM job_executions WHERE job_id = 'canceled' ORDER BY 1;
SELECT status, queued FROM describe_job('t', 'after');
SELECT job_id, device_id FROM claim_job_executions('t', 100, array['d3']);
SELECT status, execution_number FROM update_job_execution('t', 'after', 'd3', 'FAILED');

-- What depends on the code is the operator's to decide about.
CREATE VIEW uses AS SELECT * FROM list_jobs('t');
\set VERBOSITY sqlstate
DROP EXTENSION iot_jobs;
DROP VIEW uses;
DROP EXTENSION iot_jobs CASCADE;
SELECT count(*) FROM jobs;

\c contrib_regression
DROP DATABASE regress_ij_drop;
