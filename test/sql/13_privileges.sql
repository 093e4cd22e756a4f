-- Who may do what: rights on the functions, rights on the tables, row security.
-- The superuser sets the scene and checks the result; everything else is tried
-- by ordinary roles.
SET client_min_messages = warning;
CREATE ROLE regress_ij_app;
CREATE ROLE regress_ij_gateway;
CREATE ROLE regress_ij_operator BYPASSRLS;
CREATE ROLE regress_ij_nobody;
RESET client_min_messages;
SELECT ijtest.add_tenant('rls-a', 4, 2);
SELECT ijtest.add_tenant('rls-b', 4, 2);
SELECT FROM create_job('rls-a', 't', '{"of": "a"}', target_all => true, job_id => 'shared') a, create_job('rls-b', 't', '{"of": "b"}', target_all => true, job_id => 'shared') b;
SELECT FROM create_job('rls-a', 't', target_group_id => 'g', job_id => 'only a') a, create_job('rls-b', 't', target_group_id => 'g', job_id => 'only b') b;

-- As the documentation tells an administrator to grant.
GRANT SELECT, INSERT, UPDATE, DELETE ON jobs, job_executions TO regress_ij_app, regress_ij_operator;
GRANT SELECT ON tenants, devices, device_groups, device_group_members TO regress_ij_app, regress_ij_operator;
GRANT SELECT ON jobs TO regress_ij_gateway;
GRANT SELECT, UPDATE ON job_executions TO regress_ij_gateway;
GRANT EXECUTE ON FUNCTION create_job, update_job, cancel_job, delete_job, purge_jobs, purge_all_jobs, cancel_job_execution, delete_job_execution,
    start_next_pending_job_execution, update_job_execution, claim_job_executions, update_job_executions, run_job_sweep
    TO regress_ij_app, regress_ij_operator;
GRANT EXECUTE ON FUNCTION start_next_pending_job_execution, update_job_execution, claim_job_executions, update_job_executions TO regress_ij_gateway;

-- Without app.tenant_id, or with an empty one, there is nothing: no row, no error of the policy.
CREATE FUNCTION ijtest.seen() RETURNS TABLE (relation text, visible bigint, foreigners bigint) LANGUAGE sql AS $$
    SELECT 'jobs', count(*), count(*) FILTER (WHERE tenant_id IS DISTINCT FROM current_setting('app.tenant_id', true)) FROM jobs
    UNION ALL SELECT 'job_executions', count(*), count(*) FILTER (WHERE tenant_id IS DISTINCT FROM current_setting('app.tenant_id', true)) FROM job_executions
    UNION ALL SELECT 'tenants', count(*), count(*) FILTER (WHERE tenant_id IS DISTINCT FROM current_setting('app.tenant_id', true)) FROM tenants
    UNION ALL SELECT 'devices', count(*), count(*) FILTER (WHERE tenant_id IS DISTINCT FROM current_setting('app.tenant_id', true)) FROM devices
    UNION ALL SELECT 'device_groups', count(*), count(*) FILTER (WHERE tenant_id IS DISTINCT FROM current_setting('app.tenant_id', true)) FROM device_groups
    UNION ALL SELECT 'device_group_members', count(*), count(*) FILTER (WHERE tenant_id IS DISTINCT FROM current_setting('app.tenant_id', true)) FROM device_group_members
$$;
-- One line a call, for whatever tenant is set and whatever tenant is asked for.
CREATE FUNCTION ijtest.calls(tenant text) RETURNS TABLE (n int, call text) LANGUAGE sql AS $$
    SELECT c.n, format(c.call, tenant) FROM (VALUES
        (1, 'SELECT describe_job(%L, ''shared'')'),
        (2, 'SELECT ijtest.some(count(*)) FROM list_jobs(%L)'),
        (3, 'SELECT list_job_executions_for_job(%L, ''shared'')'),
        (4, 'SELECT ijtest.some(count(*)) FROM list_job_executions_for_device(%L, ''d1'')'),
        (5, 'SELECT ijtest.some(count(*)) FROM get_pending_job_executions(%L, ''d1'')'),
        (6, 'SELECT describe_job_execution(%L, ''shared'', ''d1'')'),
        (7, 'SELECT ijtest.some(count(*)) FROM start_next_pending_job_execution(%L, ''d1'')'),
        (8, 'SELECT ijtest.some(count(*)) FROM claim_job_executions(%L, 1)'),
        (9, 'SELECT ijtest.some(count(*)) FROM claim_job_executions(%L, 10, array[''d2''])'),
        (10, 'SELECT update_job_execution(%L, ''shared'', ''d3'', ''SUCCEEDED'')'),
        (11, 'SELECT ijtest.some(count(*)) FROM update_job_executions(%L, ''[{"job_id": "shared", "device_id": "d4", "status": "SUCCEEDED"}]'') WHERE accepted'),
        (12, 'SELECT create_job(%L, ''t'', target_all => true)'),
        (13, 'SELECT create_job(%L, ''t'', target_device_id => ''d1'')'),
        (14, 'SELECT create_job(%L, ''t'', target_group_id => ''g'')'),
        (15, 'SELECT update_job(%L, ''shared'', NULL)'),
        (16, 'SELECT cancel_job_execution(%L, ''shared'', ''d4'', force => true)'),
        (17, 'SELECT delete_job_execution(%L, ''shared'', ''d4'', force => true)'),
        (18, 'SELECT cancel_job(%L, ''shared'')'),
        (19, 'SELECT delete_job(%L, ''shared'')'),
        (20, 'SELECT ijtest.some(purge_jobs(%L, ''0''))')) c (n, call)
$$;
-- nothing is an outcome too, and it is not the same as something
CREATE FUNCTION ijtest.some(n bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF n = 0 THEN RAISE EXCEPTION 'nothing' USING ERRCODE = 'P0002'; END IF;
    RETURN true;
END $$;

-- (P0002 is ijtest.some's word for no row)
SET ROLE regress_ij_app;
SELECT current_setting('app.tenant_id', true) IS NULL AS never_set;
SELECT * FROM ijtest.seen();
SELECT outcome, array_agg(n ORDER BY n) FROM ijtest.calls('rls-a'), ijtest.outcome(call) outcome GROUP BY 1 ORDER BY 1;
SELECT * FROM run_job_sweep();
SELECT purge_all_jobs('0');
-- Empty: what RESET leaves behind when it was set once in the session.
SET app.tenant_id = '';
SELECT * FROM ijtest.seen();
SELECT outcome, array_agg(n ORDER BY n) FROM ijtest.calls('rls-a'), ijtest.outcome(call) outcome GROUP BY 1 ORDER BY 1;
-- Another tenant's.
SET app.tenant_id = 'rls-b';
SELECT * FROM ijtest.seen();
SELECT outcome, array_agg(n ORDER BY n) FROM ijtest.calls('rls-a'), ijtest.outcome(call) outcome GROUP BY 1 ORDER BY 1;
RESET ROLE;
-- None of that has touched anything.
SELECT tenant_id, job_id, status, execution_number, count(*) FROM job_executions WHERE tenant_id LIKE 'rls-%' GROUP BY 1, 2, 3, 4 ORDER BY 1, 2;
SELECT tenant_id, job_id, status, updated_at = created_at AS untouched FROM jobs WHERE tenant_id LIKE 'rls-%' ORDER BY 1, 2;
-- One's own: everything works.
SET ROLE regress_ij_app;
SET app.tenant_id = 'rls-a';
SELECT * FROM ijtest.seen();
BEGIN;
SELECT n, outcome, left(call, 60) AS call FROM ijtest.calls('rls-a'), ijtest.outcome(call) outcome ORDER BY n;
SELECT count(*) FROM jobs;
ROLLBACK;

-- The sweep and the purge of one tenant leave the others alone.
RESET ROLE;
UPDATE jobs SET expires_at = now() - interval '1 s' WHERE tenant_id LIKE 'rls-%' AND job_id LIKE 'only%';
SELECT FROM create_job('rls-a', 't', target_all => true, job_id => 'canceled') a, create_job('rls-b', 't', target_all => true, job_id => 'canceled') b;
SELECT FROM cancel_job('rls-a', 'canceled') a, cancel_job('rls-b', 'canceled') b;
SET ROLE regress_ij_app;
SELECT * FROM run_job_sweep();
SELECT purge_all_jobs('0');
RESET ROLE;
SELECT tenant_id, job_id, status FROM jobs WHERE tenant_id LIKE 'rls-%' ORDER BY 1, 2;

-- By hand, as another tenant: refused, and the answer does not depend on what the other has.
SET ROLE regress_ij_app;
SELECT t.job_id, ijtest.outcome(format('INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES (%L, %L, %L)', 'rls-b', t.job_id, 'd9'))
FROM (VALUES ('shared'), ('canceled'), ('no such job')) t (job_id) ORDER BY 1;
SELECT ijtest.outcome($$INSERT INTO jobs (tenant_id, job_id, document_type, target_all) VALUES ('rls-b', 'new', 't', true)$$) AS new_job,
       ijtest.outcome($$INSERT INTO jobs (tenant_id, job_id, document_type, target_all) VALUES ('rls-b', 'shared', 't', true)$$) AS existing_job,
       ijtest.outcome($$UPDATE jobs SET tenant_id = 'rls-b' WHERE job_id = 'shared'$$) AS given_away;
WITH u AS (UPDATE job_executions SET status = 'SUCCEEDED' WHERE tenant_id = 'rls-b' RETURNING 1) SELECT count(*) FROM u;
WITH u AS (DELETE FROM jobs WHERE tenant_id = 'rls-b' RETURNING 1) SELECT count(*) FROM u;
-- The refusal says nothing of the row.
\set VERBOSITY default
INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('rls-b', 'canceled', 'd9');
RESET ROLE;

-- A gateway: claims and reports with SELECT on jobs and SELECT, UPDATE on job_executions, and nothing else.
SET ROLE regress_ij_gateway;
SELECT job_id, device_id, status FROM start_next_pending_job_execution('rls-a', 'd1');
SELECT job_id, device_id, status FROM claim_job_executions('rls-a', 10, array['d2']);
SELECT count(*) FROM claim_job_executions('rls-a', 1, array['d3']);
SELECT status, execution_number FROM update_job_execution('rls-a', 'shared', 'd1', 'SUCCEEDED');
SELECT accepted, sqlstate FROM update_job_executions('rls-a', '[{"job_id": "shared", "device_id": "d2", "status": "SUCCEEDED"}, {"job_id": "shared", "device_id": "d4", "status": "SUCCEEDED"}]');
SELECT count(*) FROM start_next_pending_job_execution('rls-b', 'd1');
SELECT ijtest.outcome($$SELECT create_job('rls-a', 't', target_all => true)$$) AS create_job,
       ijtest.outcome($$SELECT cancel_job('rls-a', 'shared')$$) AS cancel_job,
       ijtest.outcome($$SELECT delete_job('rls-a', 'shared')$$) AS delete_job,
       ijtest.outcome($$SELECT cancel_job_execution('rls-a', 'shared', 'd3')$$) AS cancel_job_execution,
       ijtest.outcome($$SELECT delete_job_execution('rls-a', 'shared', 'd3')$$) AS delete_job_execution,
       ijtest.outcome($$SELECT run_job_sweep()$$) AS run_job_sweep,
       ijtest.outcome($$SELECT use_fleet('devices')$$) AS use_fleet,
       ijtest.outcome($$UPDATE jobs SET status = 'CANCELED'$$) AS by_hand;
SELECT status FROM describe_job('rls-a', 'shared');
RESET ROLE;

-- The right to call is not the right to write: the tables decide.
GRANT EXECUTE ON FUNCTION create_job, cancel_job, delete_job, delete_job_execution, update_job, purge_jobs, run_job_sweep TO regress_ij_gateway;
SET ROLE regress_ij_gateway;
SELECT ijtest.outcome($$SELECT create_job('rls-a', 't', target_all => true)$$) AS create_job,
       ijtest.outcome($$SELECT cancel_job('rls-a', 'shared')$$) AS cancel_job,
       ijtest.outcome($$SELECT update_job('rls-a', 'shared', NULL)$$) AS update_job,
       ijtest.outcome($$SELECT delete_job_execution('rls-a', 'shared', 'd3')$$) AS delete_job_execution,
       ijtest.outcome($$SELECT delete_job('rls-a', 'shared', true)$$) AS delete_job;
RESET ROLE;
SELECT status FROM describe_job('rls-a', 'shared');

-- An operator who bypasses row security works across tenants.
SET ROLE regress_ij_operator;
RESET app.tenant_id;
SELECT tenant_id, count(*) FROM jobs WHERE tenant_id LIKE 'rls-%' GROUP BY 1 ORDER BY 1;
SELECT status FROM describe_job('rls-b', 'shared');
SELECT total_executions FROM create_job('rls-b', 't', target_all => true, job_id => 'by the operator');
SELECT status FROM cancel_job('rls-b', 'by the operator');
SELECT expired FROM run_job_sweep();
RESET ROLE;

-- Nobody gets nothing, readers included: the functions open no door.
SET ROLE regress_ij_nobody;
SELECT outcome, array_agg(n ORDER BY n) FROM ijtest.calls('rls-a'), ijtest.outcome(call) outcome GROUP BY 1 ORDER BY 1;
SELECT ijtest.outcome('SELECT use_fleet(''devices'')') AS use_fleet, ijtest.outcome('SELECT wake_job_worker()') AS wake,
       ijtest.outcome('SELECT run_job_sweep()') AS sweep,
       ijtest.outcome($$SELECT schedule_job('x', '* * * * *', 'rls-a', 't', target_all => true)$$) AS schedule,
       ijtest.outcome('SELECT * FROM iot_jobs_worker') AS worker_view, ijtest.outcome('SELECT * FROM iot_jobs_counters') AS counters_view, ijtest.outcome('SELECT job_state_steps()') AS machines,
       ijtest.outcome('INSERT INTO iot_jobs_fleet (devices) VALUES (''devices'')') AS fleet_insert,
       ijtest.outcome('UPDATE iot_jobs_fleet SET devices = ''pg_class''') AS fleet_update;
RESET ROLE;

-- The guards act where the writer has no rights: INSERT alone, and UPDATE of jobs alone, are enough.
CREATE ROLE regress_ij_writer;
GRANT INSERT ON job_executions TO regress_ij_writer;
GRANT SELECT, UPDATE ON jobs TO regress_ij_writer;
SET ROLE regress_ij_writer;
SET app.tenant_id = 'rls-a';
INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('rls-a', 'shared', 'd9');
SELECT ijtest.outcome($$INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('rls-a', 'canceled', 'd9')$$);
SELECT ijtest.outcome($$UPDATE jobs SET status = 'COMPLETED' WHERE job_id = 'shared'$$);
UPDATE jobs SET status = 'CANCELED' WHERE job_id = 'shared';
RESET ROLE;
SELECT device_id, status, status_details FROM ijtest.executions WHERE tenant_id = 'rls-a' AND job_id = 'shared' ORDER BY 1;

-- row_security = off is an error where rows would be hidden, never a way around.
SET ROLE regress_ij_app;
SET app.tenant_id = 'rls-a';
SET row_security = off;
SELECT ijtest.outcome($$SELECT describe_job('rls-a', 'shared')$$) AS describe, ijtest.outcome($$SELECT list_jobs('rls-b')$$) AS list,
       ijtest.outcome($$SELECT start_next_pending_job_execution('rls-b', 'd1')$$) AS claim,
       ijtest.outcome($$SELECT update_job_execution('rls-b', 'shared', 'd1', 'SUCCEEDED')$$) AS report;
RESET row_security;
RESET ROLE;

-- A cached plan follows the role and the tenant, both ways, ten times.
CREATE FUNCTION ijtest.as_tenant(tenant text) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant_id', tenant, false);
    RETURN (SELECT count(*) FROM list_job_executions_for_device('rls-b', 'd1')) + (SELECT count(*) FROM get_pending_job_executions('rls-b', 'd1'))
           + (SELECT count(*) FROM list_jobs('rls-b'));
END $$;
SELECT ijtest.as_tenant('rls-b') > 0 AS superuser_sees;
SET ROLE regress_ij_app;
SELECT tenant, ijtest.as_tenant(tenant) > 0 AS sees, count(*) FROM generate_series(1, 10) i, unnest(array['rls-a', 'rls-b', '']) tenant GROUP BY 1, 2 ORDER BY 1;
RESET ROLE;
RESET app.tenant_id;

-- A policy of the operator's own is obeyed by every function.
CREATE POLICY no_d1 ON job_executions AS RESTRICTIVE FOR ALL TO regress_ij_app USING (device_id <> 'd1') WITH CHECK (device_id <> 'd2');
SELECT FROM create_job('rls-a', 't', target_all => true, job_id => 'policy');
SET ROLE regress_ij_app;
SET app.tenant_id = 'rls-a';
SELECT total_executions FROM describe_job('rls-a', 'policy');
SELECT count(*) FROM start_next_pending_job_execution('rls-a', 'd1');
SELECT count(*) FROM claim_job_executions('rls-a', 100, array['d1']);
SELECT ijtest.outcome($$SELECT update_job_execution('rls-a', 'policy', 'd1', 'SUCCEEDED')$$) AS hidden,
       ijtest.outcome($$SELECT update_job_execution('rls-a', 'policy', 'd2', 'SUCCEEDED')$$) AS not_writable,
       ijtest.outcome($$SELECT start_next_pending_job_execution('rls-a', 'd2')$$) AS not_claimable,
       ijtest.outcome($$SELECT update_job_execution('rls-a', 'policy', 'd3', 'SUCCEEDED')$$) AS fine,
       ijtest.outcome($$SELECT create_job('rls-a', 't', target_device_id => 'd2')$$) AS not_insertable,
       ijtest.outcome($$SELECT create_job('rls-a', 't', target_device_id => 'd3')$$) AS insertable;
RESET ROLE;
SELECT device_id, status FROM ijtest.executions WHERE tenant_id = 'rls-a' AND job_id = 'policy' ORDER BY 1;
-- What a caller cannot see is there all the same: his sweep does not complete a job over a hidden open execution,
-- and his cancel leaves none queued.
UPDATE job_executions SET status = 'SUCCEEDED' WHERE tenant_id = 'rls-a' AND job_id = 'policy' AND device_id IN ('d2', 'd4');
SELECT FROM create_job('rls-a', 't', target_group_id => 'g', job_id => 'hidden');
SET ROLE regress_ij_app;
SELECT completed FROM run_job_sweep();
SELECT ijtest.outcome($$UPDATE jobs SET status = 'COMPLETED' WHERE tenant_id = 'rls-a' AND job_id = 'policy'$$) AS by_hand;
SELECT status FROM cancel_job('rls-a', 'policy');
UPDATE jobs SET status = 'CANCELED' WHERE tenant_id = 'rls-a' AND job_id = 'hidden';
RESET ROLE;
SELECT job_id, device_id, status, status_details FROM ijtest.executions WHERE tenant_id = 'rls-a' AND job_id IN ('policy', 'hidden') ORDER BY 1, 2;
SELECT job_id, status FROM jobs WHERE tenant_id = 'rls-a' AND job_id IN ('policy', 'hidden') ORDER BY 1;
DROP POLICY no_d1 ON job_executions;

-- Nor is what the guards do past row security, as the owner, a way around it for an owner on whom it is forced,
-- nor the other way round: he completes no job over an open execution that he does not see.
CREATE ROLE regress_ij_owner;
GRANT regress_ij_app TO regress_ij_owner;
CREATE FUNCTION ijtest.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE POLICY no_d1 ON job_executions AS RESTRICTIVE FOR ALL TO regress_ij_owner USING (device_id <> 'd1');
SELECT FROM create_job('rls-a', 't', target_device_id => 'd3', job_id => 'force-1');
SELECT FROM create_job('rls-a', 't', target_device_id => 'd1', job_id => 'force-2');
SELECT FROM create_job('rls-b', 't', target_device_id => 'd2', job_id => 'force-3');
BEGIN;
-- this closes the short cut to the rows
CREATE TRIGGER zz AFTER UPDATE ON job_executions EXECUTE FUNCTION ijtest.nothing();
ALTER TABLE jobs FORCE ROW LEVEL SECURITY;
ALTER TABLE job_executions FORCE ROW LEVEL SECURITY;
ALTER TABLE jobs OWNER TO regress_ij_owner;
ALTER TABLE job_executions OWNER TO regress_ij_owner;
SET LOCAL ROLE regress_ij_owner;
SET LOCAL app.tenant_id = 'rls-a';
UPDATE jobs SET status = 'CANCELED' WHERE job_id = 'force-1';
SELECT ijtest.outcome($$SELECT update_job_execution('rls-b', 'force-3', 'd2', 'SUCCEEDED')$$) AS not_mine;
SELECT completed FROM run_job_sweep();
SELECT ijtest.outcome($$UPDATE jobs SET status = 'COMPLETED' WHERE job_id = 'force-2'$$) AS not_seen;
RESET ROLE;
SELECT job_id, device_id, status FROM ijtest.executions WHERE job_id LIKE 'force-%' ORDER BY 1;
SELECT job_id, status FROM jobs WHERE job_id LIKE 'force-%' ORDER BY 1;
ROLLBACK;
DROP POLICY no_d1 ON job_executions;
DROP FUNCTION ijtest.nothing;
DROP OWNED BY regress_ij_owner;
DROP ROLE regress_ij_owner;

DROP FUNCTION ijtest.as_tenant, ijtest.seen, ijtest.calls, ijtest.some;
DELETE FROM tenants WHERE tenant_id LIKE 'rls-%';
DROP OWNED BY regress_ij_app, regress_ij_gateway, regress_ij_operator, regress_ij_nobody, regress_ij_writer;
DROP ROLE regress_ij_app, regress_ij_gateway, regress_ij_operator, regress_ij_nobody, regress_ij_writer;
