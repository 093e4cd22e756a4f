-- run_job_sweep: expiry, completion, deletion, bounded.
SELECT unfinished FROM run_job_sweep();
SELECT ijtest.add_tenant('sweep', 6, 3);
SELECT ijtest.add_tenant('sweep-b', 2);
SELECT FROM create_job('sweep', 't', target_all => true, job_id => 'expires', expires_in => '1 hour');
SELECT FROM create_job('sweep', 't', target_all => true, job_id => 'later', expires_in => '1 hour');
SELECT FROM create_job('sweep', 't', target_group_id => 'g', job_id => 'never');
SELECT FROM create_job('sweep-b', 't', target_all => true, job_id => 'expires', expires_in => '1 hour');
SELECT FROM (VALUES ('d1', 'IN_PROGRESS'), ('d2', 'SUCCEEDED'), ('d3', 'FAILED'), ('d4', 'REJECTED')) s (device, status),
    update_job_execution('sweep', 'expires', s.device, s.status, jsonb_build_object('was', s.status));
UPDATE job_executions SET status_details = '{"was": "QUEUED"}' WHERE tenant_id = 'sweep' AND job_id = 'expires' AND device_id = 'd5';

-- Nothing to do.
SELECT * FROM run_job_sweep();

-- Past the expiry: what nobody started is TIMED_OUT, what was started goes on.
UPDATE jobs SET expires_at = now() - interval '1 us' WHERE tenant_id LIKE 'sweep%' AND job_id = 'expires';
CREATE TEMP TABLE before AS SELECT * FROM job_executions WHERE tenant_id LIKE 'sweep%';
BEGIN;
SELECT * FROM run_job_sweep();
SELECT e.device_id, e.status, e.status_details, e.execution_number - b.execution_number AS raised, e.started_at IS NOT NULL AS started, e.last_updated_at = now() AS updated_now
FROM job_executions e JOIN before b USING (tenant_id, job_id, device_id) WHERE e.tenant_id = 'sweep' AND job_id = 'expires' ORDER BY 1;
COMMIT;
SELECT tenant_id, job_id, status FROM jobs WHERE tenant_id LIKE 'sweep%' ORDER BY 1, 2;
SELECT count(*) AS changed FROM (SELECT * FROM job_executions WHERE tenant_id = 'sweep' AND job_id <> 'expires' EXCEPT TABLE before) x;
SELECT * FROM run_job_sweep();
SELECT status FROM update_job_execution('sweep', 'expires', 'd1', 'SUCCEEDED');
SELECT * FROM run_job_sweep();
SELECT status, succeeded, failed, timed_out, rejected FROM describe_job('sweep', 'expires');
-- A finished job no longer expires, nor does a canceled one.
SELECT FROM create_job('sweep', 't', target_device_id => 'd1', job_id => 'canceled');
SELECT FROM start_next_pending_job_execution('sweep', 'd1');
SELECT FROM cancel_job('sweep', 'canceled');
UPDATE jobs SET expires_at = '2001-01-01' WHERE tenant_id = 'sweep' AND job_id IN ('canceled', 'expires');
SELECT * FROM run_job_sweep();
SELECT job_id, status FROM jobs WHERE tenant_id = 'sweep' AND job_id IN ('canceled', 'expires') ORDER BY 1;

-- Completion that was lost, by whoever wrote behind everybody's back, is healed.
SET session_replication_role = replica;
UPDATE job_executions SET status = 'SUCCEEDED', started_at = now() WHERE tenant_id = 'sweep' AND job_id = 'never';
RESET session_replication_role;
SELECT * FROM run_job_sweep();
SELECT status, succeeded FROM describe_job('sweep', 'never');

-- A job without any execution.  It is not complete for that alone: its fan-out may be on the way.
INSERT INTO jobs (tenant_id, job_id, document_type, target_all) VALUES ('sweep', 'empty young', 't', true), ('sweep', 'empty old', 't', true), ('sweep', 'empty expired', 't', true);
SELECT * FROM run_job_sweep();
SET session_replication_role = replica;
UPDATE jobs SET updated_at = now() - interval '61 min' WHERE tenant_id = 'sweep' AND job_id = 'empty old';
UPDATE jobs SET updated_at = now() - interval '59 min' WHERE tenant_id = 'sweep' AND job_id = 'empty young';
RESET session_replication_role;
UPDATE jobs SET expires_at = now() - interval '1 s' WHERE tenant_id = 'sweep' AND job_id = 'empty expired';
SELECT * FROM run_job_sweep();
SELECT job_id, status FROM jobs WHERE tenant_id = 'sweep' AND job_id LIKE 'empty%' ORDER BY 1;
DELETE FROM jobs WHERE tenant_id = 'sweep' AND job_id LIKE 'empty%';

-- Bounded: never more rows than asked, and it says that there is more.
SELECT ijtest.add_tenant('sweep-many', 25);
SELECT FROM generate_series(1, 3) i, create_job('sweep-many', 't', target_all => true, job_id => 'j' || i);
UPDATE jobs SET expires_at = now() - interval '1 s' WHERE tenant_id = 'sweep-many';
SELECT expired, unfinished FROM run_job_sweep(10);
SELECT count(*) FROM job_executions WHERE tenant_id = 'sweep-many' AND status = 'TIMED_OUT';
DO $$
DECLARE r job_sweep_result; rounds int := 0; expired bigint := 10; completed bigint := 0;
BEGIN
    LOOP
        r := run_job_sweep(10); rounds := rounds + 1; expired := expired + r.expired; completed := completed + r.completed;
        IF r.expired + r.completed + r.deleted > 10 THEN RAISE EXCEPTION 'more than asked: %', r; END IF;
        EXIT WHEN NOT r.unfinished OR rounds > 50;
    END LOOP;
    RAISE INFO 'expired %, completed %, ended %', expired, completed, rounds < 50;
END $$;
SELECT job_id, status, timed_out FROM list_jobs('sweep-many');

-- Where a sweep stopped that was rolled back there is nothing behind it: the next one begins anew and comes to the end.
SELECT FROM create_job('sweep-many', 't', target_all => true, job_id => 'expires');
SELECT FROM create_job('sweep-many', 't', target_all => true, job_id => 'goes');
UPDATE jobs SET expires_at = now() - interval '1 s' WHERE tenant_id = 'sweep-many' AND job_id = 'expires';
BEGIN;
SELECT * FROM run_job_sweep(25);
ROLLBACK;
SELECT * FROM run_job_sweep();
SELECT FROM delete_job('sweep-many', 'goes', force => true);
BEGIN;
SELECT * FROM run_job_sweep(25);
ROLLBACK;
SELECT * FROM run_job_sweep();

-- What ends the statement ends the sweep: it is not taken for the failure of one job.
CREATE FUNCTION ijtest.fail_as() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = current_setting('ijtest.code');
END $$;
SELECT FROM create_job('sweep-many', 't', target_device_id => 'd1', job_id => 'fails');
UPDATE jobs SET expires_at = now() - interval '1 s' WHERE tenant_id = 'sweep-many' AND job_id = 'fails';
CREATE TRIGGER fail_as BEFORE UPDATE ON job_executions FOR EACH ROW WHEN (OLD.job_id = 'fails') EXECUTE FUNCTION ijtest.fail_as();
SET client_min_messages = error;
SELECT c.code, ijtest.outcome(format($$SELECT set_config('ijtest.code', %L, true), run_job_sweep()$$, c.code))
FROM unnest('{40001,40P01,53100,58030,42501,P0001}'::text[]) c (code);
RESET client_min_messages;
SET ijtest.code = '57014';
\set VERBOSITY sqlstate
SELECT run_job_sweep();
\set VERBOSITY default
DROP TRIGGER fail_as ON job_executions;
DROP FUNCTION ijtest.fail_as;
DELETE FROM jobs WHERE tenant_id = 'sweep-many' AND job_id = 'fails';

-- Arguments.
SELECT a.max_rows, ijtest.outcome('SELECT run_job_sweep(' || a.max_rows || ')')
FROM (VALUES ('NULL'), ('0'), ('-1')) a (max_rows) ORDER BY 1;
SELECT * FROM run_job_sweep(1);
SELECT * FROM run_job_sweep(9223372036854775807);
UPDATE jobs SET expires_at = now() - interval '1 s' WHERE tenant_id = 'sweep' AND job_id = 'later';
BEGIN READ ONLY;
SELECT ijtest.outcome('SELECT run_job_sweep()');
ROLLBACK;
SELECT * FROM run_job_sweep();

-- Waking the worker is no error when there is none, nor in a transaction that rolls back.
SELECT wake_job_worker();
BEGIN;
SELECT wake_job_worker();
ROLLBACK;
SELECT count(*) <= 1 AS at_most_one FROM iot_jobs_worker WHERE database = current_database();

DELETE FROM tenants WHERE tenant_id LIKE 'sweep%';
