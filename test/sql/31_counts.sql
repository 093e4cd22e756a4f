-- What describe_job and list_jobs say is what counting the rows says: after each kind
-- of change, in the transaction that makes it and after, however it ends.  Where the
-- counts come from is not to be seen.
SELECT ijtest.add_tenant('cnt', 40, 3);

-- counted by rows, with the snapshot of the call; on a difference both are shown
CREATE FUNCTION ijtest.counts(job text) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    said text;
    listed text;
    counted text;
BEGIN
    SELECT concat_ws(' ', total_executions, queued, in_progress, succeeded, failed, timed_out, rejected)
      INTO said FROM describe_job('cnt', job);
    SELECT concat_ws(' ', total_executions, queued, in_progress, succeeded, failed, timed_out, rejected)
      INTO listed FROM list_jobs('cnt') WHERE job_id = job;
    SELECT concat_ws(' ', count(*), count(*) FILTER (WHERE status = 'QUEUED'), count(*) FILTER (WHERE status = 'IN_PROGRESS'),
               count(*) FILTER (WHERE status = 'SUCCEEDED'), count(*) FILTER (WHERE status = 'FAILED'),
               count(*) FILTER (WHERE status = 'TIMED_OUT'), count(*) FILTER (WHERE status = 'REJECTED'))
      INTO counted FROM job_executions WHERE tenant_id = 'cnt' AND job_id = job;
    RETURN CASE WHEN said = counted AND listed = counted THEN counted
                ELSE format('described %s, listed %s, counted %s', said, listed, counted) END;
END $$;

-- total, queued, in progress, succeeded, failed, timed out, rejected
SELECT total_executions, queued FROM create_job('cnt', 't', target_all => true, job_id => 'j');
SELECT ijtest.counts('j');
SELECT count(*) FROM claim_job_executions('cnt', 10);
SELECT ijtest.counts('j');
SELECT count(*) FROM claim_job_executions('cnt', 5, '{d1,d2,d3}');
SELECT count(*) FROM update_job_executions('cnt', (
    SELECT jsonb_agg(jsonb_build_object('job_id', job_id, 'device_id', device_id,
        'status', (ARRAY['SUCCEEDED', 'FAILED', 'REJECTED', 'IN_PROGRESS'])[1 + rank % 4]))
    FROM (SELECT job_id, device_id, row_number() OVER (ORDER BY device_id COLLATE "C") AS rank
          FROM job_executions WHERE tenant_id = 'cnt' AND status = 'IN_PROGRESS') e));
SELECT ijtest.counts('j');
SELECT status FROM cancel_job_execution('cnt', 'j', 'd40');
SELECT status FROM delete_job_execution('cnt', 'j', 'd40');
SELECT ijtest.counts('j');

-- a transaction sees what it did itself, and what it took back
BEGIN;
SELECT count(*) FROM claim_job_executions('cnt', 2);
SELECT ijtest.counts('j');
SAVEPOINT a;
SELECT count(*) FROM claim_job_executions('cnt', 3);
SELECT ijtest.counts('j');
SAVEPOINT b;
SELECT count(*) FROM claim_job_executions('cnt', 4);
RELEASE b;
SELECT ijtest.counts('j');
ROLLBACK TO a;
SELECT ijtest.counts('j');
SELECT count(*) FROM claim_job_executions('cnt', 1);
RELEASE a;
SELECT ijtest.counts('j');
COMMIT;
SELECT ijtest.counts('j');
BEGIN;
SELECT count(*) FROM claim_job_executions('cnt', 2);
ROLLBACK;
SELECT ijtest.counts('j');

-- one statement that changes and asks sees what its snapshot saw
WITH c AS MATERIALIZED (SELECT count(*) AS claimed FROM claim_job_executions('cnt', 2))
SELECT claimed, (SELECT ijtest.counts('j') WHERE claimed = 2) AS before_it FROM c;
SELECT ijtest.counts('j');

-- a cursor goes on seeing what it saw
BEGIN;
DECLARE asks CURSOR FOR SELECT ijtest.counts('j') FROM generate_series(1, 2);
FETCH 1 FROM asks;
SELECT count(*) FROM claim_job_executions('cnt', 2);
FETCH 1 FROM asks;
SELECT ijtest.counts('j');
COMMIT;
-- also past what a subtransaction did to a job that its transaction had changed before
BEGIN;
SELECT count(*) FROM claim_job_executions('cnt', 1, (SELECT array_agg(device_id) FROM job_executions WHERE tenant_id = 'cnt' AND status = 'QUEUED'));
DECLARE asks CURSOR FOR SELECT ijtest.counts('j') FROM generate_series(1, 2);
FETCH 1 FROM asks;
SAVEPOINT a;
SELECT count(*) FROM claim_job_executions('cnt', 2, (SELECT array_agg(device_id) FROM job_executions WHERE tenant_id = 'cnt' AND status = 'QUEUED'));
RELEASE a;
FETCH 1 FROM asks;
SELECT ijtest.counts('j');
ROLLBACK;

-- functions that change the job say what it is then
SELECT total_executions, queued, in_progress FROM update_job('cnt', 'j', now() + interval '1 day');

-- written by hand
UPDATE job_executions SET status = 'TIMED_OUT' WHERE tenant_id = 'cnt' AND job_id = 'j' AND device_id = (
    SELECT max(device_id COLLATE "C") FROM job_executions WHERE tenant_id = 'cnt' AND job_id = 'j' AND status = 'QUEUED');
SELECT ijtest.counts('j');
SELECT ijtest.counts('j');
BEGIN;
DELETE FROM job_executions WHERE tenant_id = 'cnt' AND job_id = 'j' AND device_id = 'd2';
SELECT count(*) FROM claim_job_executions('cnt', 1);
SELECT ijtest.counts('j');
COMMIT;
SELECT ijtest.counts('j');
INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('cnt', 'j', 'd2'), ('cnt', 'j', 'd4') ON CONFLICT DO NOTHING;
SELECT ijtest.counts('j');
COPY job_executions (tenant_id, job_id, device_id) FROM STDIN;
cnt	j	copied
\.
SELECT ijtest.counts('j');
UPDATE job_executions SET status_details = '{"progress": 1}' WHERE tenant_id = 'cnt' AND job_id = 'j';
SELECT ijtest.counts('j');
SELECT count(*) FROM create_job('cnt', 't', target_group_id => 'g', job_id => 'k');
UPDATE job_executions SET job_id = 'k' WHERE tenant_id = 'cnt' AND job_id = 'j' AND device_id = 'copied';
SELECT ijtest.counts('j'), ijtest.counts('k');

-- more jobs in one transaction than it can note
BEGIN;
INSERT INTO jobs (tenant_id, job_id, document_type, target_all, created_at) SELECT 'cnt', 'many' || i, 't', true, '2020-01-01' FROM generate_series(1, 1100) i;
INSERT INTO job_executions (tenant_id, job_id, device_id) SELECT 'cnt', 'many' || i, 'd1' FROM generate_series(1, 1100) i;
INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('cnt', 'j', 'late');
SELECT ijtest.counts('j'), (SELECT total_executions FROM describe_job('cnt', 'many1100')) AS many;
COMMIT;
SELECT ijtest.counts('j');
SELECT DISTINCT total_executions, queued FROM list_jobs('cnt', page_size => 250) WHERE job_id LIKE 'many%';
DELETE FROM jobs WHERE tenant_id = 'cnt' AND job_id LIKE 'many%';

-- while the guard is off, nobody notes anything
BEGIN;
ALTER TABLE job_executions DISABLE TRIGGER iot_jobs_guard;
DELETE FROM job_executions WHERE tenant_id = 'cnt' AND job_id = 'j' AND device_id = 'late';
SELECT ijtest.counts('j');
ALTER TABLE job_executions ENABLE TRIGGER iot_jobs_guard;
COMMIT;
SELECT ijtest.counts('j');
SELECT ijtest.counts('j');
SET session_replication_role = replica;
DELETE FROM job_executions WHERE tenant_id = 'cnt' AND job_id = 'j' AND device_id = 'd4';
RESET session_replication_role;
SELECT ijtest.counts('j');
SELECT ijtest.counts('j');
BEGIN;
SET LOCAL session_replication_role = replica;
DELETE FROM job_executions WHERE tenant_id = 'cnt' AND job_id = 'j' AND status = 'QUEUED';
SELECT ijtest.counts('j');
ROLLBACK;
SELECT ijtest.counts('j');
UPDATE job_executions SET status_details = '{}', status = 'IN_PROGRESS' WHERE tenant_id = 'cnt' AND job_id = 'j' AND device_id = 'd5';
BEGIN;
SET LOCAL session_replication_role = replica;
DELETE FROM job_executions WHERE tenant_id = 'cnt' AND job_id = 'j' AND status = 'QUEUED';
SELECT ijtest.counts('j');
ROLLBACK;
SELECT ijtest.counts('j');
BEGIN;
ALTER TABLE job_executions DISABLE TRIGGER iot_jobs_guard;
ALTER TABLE job_executions ENABLE TRIGGER iot_jobs_guard;
SELECT ijtest.counts('j');
ALTER TABLE job_executions DISABLE TRIGGER iot_jobs_guard;
DELETE FROM job_executions WHERE tenant_id = 'cnt' AND job_id = 'j' AND device_id = 'd6';
ALTER TABLE job_executions ENABLE TRIGGER iot_jobs_guard;
SELECT ijtest.counts('j');
COMMIT;
SELECT ijtest.counts('j');

-- the guard cannot tell what becomes of such a row
SELECT ijtest.counts('j');
CREATE FUNCTION ijtest.fill() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.job_id := ''j''; RETURN NEW; END';
CREATE TRIGGER z_fill BEFORE INSERT ON job_executions FOR EACH ROW EXECUTE FUNCTION ijtest.fill();
INSERT INTO job_executions (tenant_id, device_id) VALUES ('cnt', 'd6');
SELECT ijtest.counts('j');
DROP TRIGGER z_fill ON job_executions;
SELECT ijtest.counts('j');
DROP FUNCTION ijtest.fill;

-- prepared
BEGIN;
SELECT count(*) FROM claim_job_executions('cnt', 3);
PREPARE TRANSACTION 'counted';
SELECT ijtest.counts('j');
COMMIT PREPARED 'counted';
SELECT ijtest.counts('j');
BEGIN;
SELECT count(*) FROM claim_job_executions('cnt', 1);
PREPARE TRANSACTION 'counted';
SELECT ijtest.counts('j');
ROLLBACK PREPARED 'counted';
SELECT ijtest.counts('j');

-- old snapshots
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT ijtest.counts('j');
SELECT count(*) FROM claim_job_executions('cnt', 1);
SELECT ijtest.counts('j');
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT ijtest.counts('j');
COMMIT;

-- the end of a job, and another one of its name
SELECT queued, in_progress, rejected FROM cancel_job('cnt', 'j');
SELECT ijtest.counts('j');
SELECT queued, in_progress, rejected FROM cancel_job('cnt', 'j', force => true);
SELECT ijtest.counts('j');
SELECT status, total_executions FROM delete_job('cnt', 'j');
SELECT deleted > 0 AS swept FROM run_job_sweep(5);
SELECT ijtest.counts('j');
SELECT deleted > 0 AS swept FROM run_job_sweep();
SELECT ijtest.outcome($$SELECT ijtest.counts('j')$$);
SELECT total_executions FROM create_job('cnt', 't', target_group_id => 'g', job_id => 'j');
SELECT ijtest.counts('j');
DELETE FROM jobs WHERE tenant_id = 'cnt' AND job_id = 'j';
SELECT total_executions FROM create_job('cnt', 't', target_device_id => 'd1', job_id => 'j');
SELECT ijtest.counts('j');
BEGIN;
DELETE FROM jobs WHERE tenant_id = 'cnt' AND job_id = 'j';
SELECT total_executions FROM create_job('cnt', 't', target_group_id => 'g', job_id => 'j');
SELECT ijtest.counts('j');
COMMIT;
SELECT ijtest.counts('j');
SELECT ijtest.counts('j');

BEGIN;
SELECT status FROM delete_job('cnt', 'j', force => true);
SELECT deleted > 0 AS swept FROM run_job_sweep();
SAVEPOINT a;
SELECT total_executions FROM create_job('cnt', 't', target_device_id => 'd1', job_id => 'j');
SELECT ijtest.counts('j');
RELEASE a;
SELECT ijtest.counts('j');
COMMIT;
SELECT ijtest.counts('j');

-- a job that its transaction takes back
BEGIN;
SELECT total_executions FROM create_job('cnt', 't', target_all => true, job_id => 'gone');
SELECT ijtest.counts('gone');
ROLLBACK;
SELECT total_executions FROM create_job('cnt', 't', target_device_id => 'd1', job_id => 'gone');
SELECT ijtest.counts('gone');

-- TRUNCATE, twice in one transaction: the second empties the same storage
BEGIN;
SELECT ijtest.counts('j');
TRUNCATE job_executions;
SELECT ijtest.counts('j');
SELECT total_executions FROM create_job('cnt', 't', target_all => true, job_id => 'new');
SELECT ijtest.counts('new');
TRUNCATE job_executions;
SELECT ijtest.counts('new');
COMMIT;
SELECT ijtest.counts('j'), ijtest.counts('new');
SELECT ijtest.counts('j'), ijtest.counts('new');

-- who may see less than all rows counts what he sees
SELECT total_executions FROM create_job('cnt', 't', target_all => true, job_id => 'seen');
SELECT ijtest.counts('seen');
CREATE POLICY ijtest_few ON job_executions AS RESTRICTIVE FOR SELECT USING (device_id < 'd2');
CREATE ROLE ijtest_reader;
GRANT USAGE ON SCHEMA ijtest TO ijtest_reader;
GRANT SELECT ON jobs, job_executions TO ijtest_reader;
SET app.tenant_id = 'cnt';
SET ROLE ijtest_reader;
SELECT total_executions FROM describe_job('cnt', 'seen');
RESET ROLE;
SELECT total_executions FROM describe_job('cnt', 'seen');
DROP POLICY ijtest_few ON job_executions;
SET ROLE ijtest_reader;
SELECT total_executions FROM describe_job('cnt', 'seen');
RESET ROLE;
REVOKE SELECT ON job_executions FROM ijtest_reader;
SET ROLE ijtest_reader;
SELECT ijtest.outcome($$SELECT describe_job('cnt', 'seen')$$);
RESET ROLE;
RESET app.tenant_id;
REVOKE ALL ON jobs FROM ijtest_reader;
REVOKE USAGE ON SCHEMA ijtest FROM ijtest_reader;
DROP ROLE ijtest_reader;

DROP FUNCTION ijtest.counts;
DELETE FROM tenants WHERE tenant_id = 'cnt';
