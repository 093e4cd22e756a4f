-- In a read-only transaction every function that writes says so, even if it would find nothing to write.
SELECT ijtest.add_tenant('read', 2, 1);
SELECT FROM create_job('read', 't', target_all => true, job_id => 'j');
SELECT FROM start_next_pending_job_execution('read', 'd1');
SELECT FROM update_job_execution('read', 'j', 'd1', 'SUCCEEDED');
CREATE TABLE ijtest.calls (n int GENERATED ALWAYS AS IDENTITY, call text);
INSERT INTO ijtest.calls (call) VALUES
    ('create_job(''read'', ''t'', target_all => true)'),
    ('create_job(''nobody'', ''t'', target_all => true)'),
    ('update_job(''read'', ''none'', NULL)'),
    ('cancel_job(''read'', ''none'')'),
    ('delete_job(''read'', ''none'')'),
    ('purge_jobs(''nobody'', ''1 day'')'),
    ('purge_all_jobs(''10 years'')'),
    ('cancel_job_execution(''read'', ''none'', ''d1'')'),
    ('delete_job_execution(''read'', ''none'', ''d1'')'),
    ('start_next_pending_job_execution(''read'', ''d1'')'),
    ('start_next_pending_job_execution(''nobody'', ''d1'')'),
    ('claim_job_executions(''nobody'', 10)'),
    ('claim_job_executions(''read'', 10, array[''d1''])'),
    ('claim_job_executions(''read'', 10, ''{}'')'),
    ('update_job_execution(''read'', ''j'', ''d1'', ''SUCCEEDED'')'),
    ('update_job_execution(''read'', ''none'', ''d1'', ''SUCCEEDED'')'),
    ('update_job_executions(''read'', ''[]'')'),
    ('update_job_executions(''read'', ''[{"job_id": "none", "device_id": "d1", "status": "SUCCEEDED"}]'')'),
    ('run_job_sweep()'),
    ('run_job_sweep(1)'),
    ('use_fleet(''devices'', ''device_group_members'')'),
    ('use_hardened_tenants(true)'),
    ('use_job_indexes(''contract'')'),
    ('use_job_indexes(''lean'')');
-- None is forgotten: what is left writes no row itself, or has pg_cron write it.
SELECT p.proname AS not_called FROM pg_proc p
JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'iot_jobs')
  AND p.provolatile = 'v' AND p.prorettype <> 'trigger'::regtype
  AND NOT EXISTS (SELECT FROM ijtest.calls c WHERE split_part(c.call, '(', 1) = p.proname)
ORDER BY 1;
CREATE FUNCTION ijtest.allowed() RETURNS TABLE (call text, outcome text) LANGUAGE sql AS $$
    SELECT c.call, o.outcome FROM ijtest.calls c, ijtest.outcome('SELECT * FROM ' || c.call) o (outcome) WHERE o.outcome <> '25006' ORDER BY c.n
$$;
BEGIN READ ONLY;
SELECT * FROM ijtest.allowed();
COMMIT;
SET default_transaction_read_only = on;
SELECT * FROM ijtest.allowed();
RESET default_transaction_read_only;
-- read-only from the middle of a transaction on
BEGIN;
SELECT FROM create_job('read', 't', target_all => true, job_id => 'k');
SAVEPOINT a;
SET TRANSACTION READ ONLY;
SELECT * FROM ijtest.allowed();
ROLLBACK TO a;
SELECT status FROM cancel_job('read', 'k');
ROLLBACK;
-- the message names the function
BEGIN READ ONLY;
SELECT message FROM ijtest.complaint($$SELECT run_job_sweep()$$);
SELECT message FROM ijtest.complaint($$SELECT claim_job_executions('nobody', 10)$$);
-- and reading goes on
SELECT count(*) FROM list_jobs('read');
SELECT status FROM describe_job('read', 'j');
SELECT device_id, status FROM list_job_executions_for_job('read', 'j');
SELECT job_id FROM list_job_executions_for_device('read', 'd1');
SELECT status FROM describe_job_execution('read', 'j', 'd1');
SELECT job_id FROM get_pending_job_executions('read', 'd2');
SELECT count(*) > 0 AS steps FROM job_state_steps();
SELECT count(*) <= 1 AS at_most_one FROM iot_jobs_worker WHERE database = current_database();
COMMIT;
-- nothing has happened
SELECT job_id, device_id, status, number FROM ijtest.executions WHERE tenant_id = 'read' ORDER BY 1, 2;
DELETE FROM tenants WHERE tenant_id = 'read';
DROP FUNCTION ijtest.allowed;
DROP TABLE ijtest.calls;
