-- The two index profiles: to and fro, asked twice, by whom, with what is in the way;
-- adoption and re-creation keep the one that is there.
SET client_min_messages = warning;
CREATE ROLE regress_ij_owner;
CREATE ROLE regress_ij_user;
CREATE DATABASE regress_ij_profiles TEMPLATE template0;
\c regress_ij_profiles
SET client_min_messages = warning;
-- however names are written here, where none needs quoting (30_verify: where one does)
SET quote_all_identifiers = on;
CREATE EXTENSION iot_jobs;
DROP EXTENSION iot_jobs;
CREATE EXTENSION iot_jobs;
RESET quote_all_identifiers;
INSERT INTO tenants (tenant_id) VALUES ('t');
INSERT INTO devices (tenant_id, device_id) SELECT 't', 'd' || i FROM generate_series(1, 3) i;
-- The operator's own, on the same table, is nobody else's affair.
CREATE INDEX own_index ON job_executions (device_id, queued_at);
CREATE VIEW indexes AS
    SELECT c.relname AS index, i.indisvalid AS valid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = 'job_executions'::regclass ORDER BY c.relname COLLATE "C";
CREATE VIEW options AS SELECT reloptions FROM pg_class WHERE oid = 'job_executions'::regclass;

-- There.
SELECT job_index_profile();
SELECT job_index_statements('lean');
SELECT use_job_indexes('lean');
SELECT job_index_profile();
TABLE indexes;
TABLE options;
SELECT pg_get_indexdef('idx_job_executions_device_order'::regclass);
-- Again: nothing to do, and nobody waits.
SELECT job_index_statements('lean');
SELECT job_index_statements('lean', online => false);
BEGIN;
SELECT use_job_indexes('lean');
SELECT mode FROM pg_locks WHERE relation = 'job_executions'::regclass AND pid = pg_backend_pid() AND mode NOT LIKE 'Access%Share%Lock';
COMMIT;

-- What changes in a row is in no index, so the row stays in its page.
SELECT FROM create_job('t', 'x', target_all => true, job_id => 'hot');
SELECT device_id, status FROM start_next_pending_job_execution('t', 'd1');
SELECT device_id, status FROM claim_job_executions('t', 1, '{d2}');
SELECT status FROM update_job_execution('t', 'hot', 'd1', 'SUCCEEDED', '{"a": 1}');
SELECT queued, in_progress, rejected, succeeded FROM cancel_job('t', 'hot', force => true);
SELECT FROM create_job('t', 'x', target_all => true, job_id => 'late', expires_at => now() + interval '1 hour');
BEGIN;
-- a job whose time has come, without waiting for it
SET LOCAL session_replication_role = replica;
UPDATE jobs SET expires_at = now() - interval '1 minute' WHERE job_id = 'late';
COMMIT;
SELECT expired FROM run_job_sweep();
SELECT pg_stat_force_next_flush();
SELECT n_tup_upd AS updated, n_tup_hot_upd AS hot FROM pg_stat_user_tables WHERE relname = 'job_executions';
-- Full pages have room for a batch of claims and its reports, with nothing cleaned up in between.
TRUNCATE jobs, job_executions;
INSERT INTO tenants (tenant_id) VALUES ('tenant-0001');
INSERT INTO devices (tenant_id, device_id) SELECT 'tenant-0001', 'device-' || lpad(i::text, 6, '0') FROM generate_series(1, 1000) i;
BEGIN;
SELECT queued FROM create_job('tenant-0001', 'x', target_all => true);
SELECT count(*) FROM claim_job_executions('tenant-0001', 1000);
SELECT count(*) FROM update_job_executions('tenant-0001', (
    SELECT jsonb_agg(jsonb_build_object('job_id', job_id, 'device_id', device_id, 'status', 'SUCCEEDED',
                                        'status_details', '{"message": "done"}'::jsonb))
    FROM job_executions WHERE tenant_id = 'tenant-0001')) WHERE accepted;
SELECT n_tup_upd AS updated, n_tup_hot_upd AS hot FROM pg_stat_xact_user_tables WHERE relname = 'job_executions';
COMMIT;
DELETE FROM tenants WHERE tenant_id = 'tenant-0001';

-- And back, one by one and concurrently.
SELECT job_index_statements('contract');
SELECT job_index_statements('contract') \gexec
SELECT job_index_profile();
TABLE indexes;
TABLE options;
SELECT job_index_statements('lean') \gexec
SELECT job_index_profile();
SELECT use_job_indexes('contract');
SELECT job_index_profile();

-- In a transaction that rolls back, all is as it was.
BEGIN;
SELECT use_job_indexes('lean');
SELECT job_index_profile();
ROLLBACK;
SELECT job_index_profile();
TABLE options;

-- A fillfactor of the operator's stays whatever happens.
ALTER TABLE job_executions SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.1);
SELECT use_job_indexes('lean');
TABLE options;
SELECT use_job_indexes('contract');
TABLE options;
ALTER TABLE job_executions RESET (fillfactor);
SELECT use_job_indexes('lean');
TABLE options;
SELECT use_job_indexes('contract');
TABLE options;
ALTER TABLE job_executions RESET (autovacuum_vacuum_scale_factor);

-- Between the two.
CREATE INDEX idx_job_executions_device_order ON job_executions USING btree (tenant_id, device_id, queued_at);
SELECT job_index_profile();
SELECT job_index_statements('contract');
SELECT job_index_statements('lean');
DROP INDEX idx_job_executions_device_order, idx_job_executions_job_id;
SELECT job_index_profile();
SELECT use_job_indexes('contract');
SELECT job_index_profile();

-- What a concurrent build leaves behind when it is interrupted is built anew, or dropped.
CREATE INDEX idx_job_executions_device_order ON job_executions USING btree (tenant_id, device_id, queued_at);
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_job_executions_device_order'::regclass;
SELECT job_index_profile();
SELECT job_index_statements('lean');
SELECT job_index_statements('contract');
BEGIN;
SELECT use_job_indexes('contract');
SELECT job_index_profile();
TABLE indexes;
ROLLBACK;
SELECT use_job_indexes('lean');
SELECT job_index_profile();
TABLE indexes;
SELECT use_job_indexes('contract');

\set SHOW_CONTEXT never
-- A name that something else has.
CREATE INDEX idx_job_executions_device_order ON job_executions (device_id);
SELECT job_index_profile();
SELECT job_index_statements('lean');
SELECT use_job_indexes('lean');
SELECT use_job_indexes('contract');
SELECT job_index_profile();
DROP INDEX idx_job_executions_device_order;
CREATE TABLE idx_job_executions_device_order ();
SELECT use_job_indexes('lean');
TABLE indexes;
DROP TABLE idx_job_executions_device_order;

-- Bad arguments.
SELECT use_job_indexes('fat');
SELECT use_job_indexes(NULL);
SELECT job_index_statements('Lean');
SELECT job_index_statements(NULL);
SELECT job_index_statements('lean', NULL);

-- By whom: the owner of the table.
GRANT ALL ON job_executions TO regress_ij_user;
SET ROLE regress_ij_user;
SELECT use_job_indexes('lean');
RESET ROLE;
GRANT EXECUTE ON FUNCTION use_job_indexes TO regress_ij_user, regress_ij_owner;
SET ROLE regress_ij_user;
SELECT use_job_indexes('lean');
-- not even if there is nothing to do
SELECT use_job_indexes('contract');
SELECT job_index_profile();
RESET ROLE;
GRANT CREATE ON SCHEMA public TO regress_ij_owner;
ALTER TABLE job_executions OWNER TO regress_ij_owner;
SET ROLE regress_ij_owner;
SELECT use_job_indexes('lean');
SELECT job_index_profile();
RESET ROLE;

-- A name of the other profile that something else has is no part of it.
CREATE INDEX idx_job_executions_job_id ON job_executions (job_id);
SELECT job_index_profile();
DROP INDEX idx_job_executions_job_id;

-- Under a hostile search_path, and in a schema of another name.
CREATE SCHEMA hostile;
CREATE FUNCTION hostile.quote_ident(text) RETURNS text LANGUAGE sql AS $$SELECT 'hostile'$$;
CREATE FUNCTION hostile.differ(text, text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE 'hostile'; END$$;
CREATE OPERATOR hostile.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile.differ);
CREATE OPERATOR hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile.differ);
SET search_path = hostile, public, pg_catalog;
SELECT use_job_indexes('contract');
SELECT job_index_profile();
RESET search_path;
ALTER SCHEMA public RENAME TO "jobs of ""t""";
SET search_path = "jobs of ""t""";
SELECT job_index_statements('lean');
SELECT use_job_indexes('lean');
SELECT job_index_profile();
ALTER SCHEMA "jobs of ""t""" RENAME TO public;
RESET search_path;

-- A lean database is adopted, and re-created, as it is.
DROP EXTENSION iot_jobs;
CREATE EXTENSION iot_jobs;
SELECT job_index_profile();
TABLE indexes;
TABLE options;
SELECT total_executions FROM create_job('t', 'x', target_all => true, job_id => 'after');
SELECT job_id, device_id FROM start_next_pending_job_execution('t', 'd1');
-- One whose lean index is not fit for use gets those of the migration.
DROP EXTENSION iot_jobs;
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_job_executions_device_order'::regclass;
CREATE EXTENSION iot_jobs;
TABLE indexes;
SELECT use_job_indexes('contract');
SELECT job_index_profile();
TABLE options;

-- No profile for what is no ordinary table.
ALTER TABLE job_executions RENAME TO elsewhere;
SELECT use_job_indexes('lean');
CREATE VIEW job_executions AS SELECT 1;
SELECT job_index_statements('lean');

\c contrib_regression
DROP DATABASE regress_ij_profiles;
DROP ROLE regress_ij_owner, regress_ij_user;
