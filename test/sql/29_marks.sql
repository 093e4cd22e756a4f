-- In the lean profile claims remember where the live part of a device's executions begins, and in both that a tenant has
-- nothing left.  Whatever adds an execution before such a mark, the next claim finds it.  The results are those of the
-- contract profile, and of a session without marks.
SET client_min_messages = warning;
CREATE DATABASE regress_ij_marks TEMPLATE template0;
\c regress_ij_marks
SET client_min_messages = warning;
CREATE EXTENSION iot_jobs;
CREATE PROCEDURE go_lean() LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('ijtest.contract', true) IS DISTINCT FROM 'on' THEN
        PERFORM use_job_indexes('lean');
    END IF;
END $$;
CALL go_lean();
INSERT INTO tenants (tenant_id) VALUES ('t'), ('u');
INSERT INTO devices (tenant_id, device_id) SELECT t, 'd' || i FROM unnest('{t,u}'::text[]) t, generate_series(1, 3) i;
INSERT INTO jobs (tenant_id, job_id, document_type, target_all)
    SELECT 't', 'j' || lpad(i::text, 3, '0'), 'x', true FROM generate_series(1, 40) i;
-- ten hours ago, an hour between any two
CREATE FUNCTION add(device text, first int, last int, ago interval DEFAULT '10 hours') RETURNS void LANGUAGE sql AS $$
    INSERT INTO job_executions (tenant_id, job_id, device_id, queued_at)
    SELECT 't', 'j' || lpad(i::text, 3, '0'), device, now() - ago + i * interval '1 second' FROM generate_series(first, last) i
$$;
-- what the device gets, and ends
CREATE FUNCTION next(device text) RETURNS TABLE (job_id text, was text) LANGUAGE plpgsql AS $$
BEGIN
    FOR job_id, was IN SELECT s.job_id, s.status FROM start_next_pending_job_execution('t', device) s LOOP
        PERFORM update_job_execution('t', job_id, device, 'SUCCEEDED');
        RETURN NEXT;
    END LOOP;
END $$;
-- that often, in one transaction
CREATE FUNCTION next(device text, times int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    jobs text;
BEGIN
    FOR i IN 1 .. times LOOP
        jobs := concat_ws(' ', jobs, (SELECT n.job_id FROM next(device) n));
    END LOOP;
    RETURN jobs;
END $$;

SELECT add('d1', 11, 30);
SELECT next('d1', 15);
SELECT * FROM next('d1');
-- The history is not read again: there are 16 finished ones by now, and a claim looks at the open ones twice.
SELECT pg_stat_force_next_flush();
BEGIN;
SELECT * FROM next('d1');
SELECT pg_stat_get_xact_tuples_fetched(i.indexrelid) AS fetched FROM pg_index i
WHERE i.indexrelid = to_regclass('idx_job_executions_device_order') AND pg_stat_get_xact_tuples_fetched(i.indexrelid) > 6;
ROLLBACK;
-- An older one, committed later, comes next.
SELECT add('d1', 1, 1);
SELECT * FROM next('d1');
SELECT * FROM next('d1');
-- So does one that is moved in time, or comes from another device.
UPDATE job_executions SET queued_at = now() - interval '20 hours' WHERE job_id = 'j030' AND device_id = 'd1';
SELECT * FROM next('d1');
SELECT * FROM next('d1');
SELECT add('d2', 31, 31, '30 hours');
UPDATE job_executions SET device_id = 'd1' WHERE job_id = 'j031';
SELECT * FROM next('d1');
SELECT * FROM next('d1');
-- One that is IN_PROGRESS is never passed over: what begins, begins before it.
SELECT add('d1', 32, 40);
SELECT job_id, status FROM claim_job_executions('t', 1, '{d1}');
SELECT string_agg(r.job_id || ' ' || r.accepted, ', ') FROM update_job_executions('t', (
    SELECT jsonb_agg(jsonb_build_object('job_id', e.job_id, 'device_id', 'd1', 'status', 'SUCCEEDED') ORDER BY job_id)
    FROM job_executions e WHERE e.device_id = 'd1' AND e.status = 'QUEUED' AND e.job_id BETWEEN 'j033' AND 'j039')) r;
SELECT job_id, status FROM claim_job_executions('t', 10, '{d1}');
SELECT job_id, status FROM start_next_pending_job_execution('t', 'd1');

-- What a transaction did and takes back moves no mark.
SELECT add('d3', 1, 20);
BEGIN;
SELECT next('d3', 12);
ROLLBACK;
SELECT * FROM next('d3');
BEGIN;
SAVEPOINT a;
SELECT next('d3', 12);
ROLLBACK TO a;
SELECT * FROM next('d3');
COMMIT;
SELECT next('d3', 3);
SELECT * FROM next('d3');
-- nor what it removes, or makes younger, before that is taken back
SELECT add('d2', 1, 7);
SELECT count(update_job_execution('t', 'j' || lpad(i::text, 3, '0'), 'd2', 'SUCCEEDED')) FROM generate_series(2, 6) i;
BEGIN;
SELECT status FROM delete_job_execution('t', 'j001', 'd2');
SELECT job_id FROM start_next_pending_job_execution('t', 'd2');
ROLLBACK;
BEGIN;
UPDATE job_executions SET queued_at = queued_at + interval '1 hour' WHERE job_id = 'j001' AND device_id = 'd2';
SELECT job_id FROM start_next_pending_job_execution('t', 'd2');
ROLLBACK;
BEGIN;
SELECT status FROM delete_job('t', 'j001', force => true);
SELECT deleted > 0 AS swept FROM run_job_sweep();
SELECT job_id FROM start_next_pending_job_execution('t', 'd2');
ROLLBACK;
BEGIN;
UPDATE job_executions SET status = 'REJECTED', device_id = 'd9' WHERE job_id = 'j001' AND device_id = 'd2';
SELECT job_id FROM start_next_pending_job_execution('t', 'd2');
ROLLBACK;
SELECT * FROM next('d2');
SELECT * FROM next('d2');
SELECT * FROM next('d2');
-- One of the operator's triggers makes it older than the guard has seen it.
CREATE FUNCTION earlier() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.queued_at := NEW.queued_at - interval '1 day'; RETURN NEW; END $$;
CREATE TRIGGER priority BEFORE INSERT ON job_executions FOR EACH ROW EXECUTE FUNCTION earlier();
SELECT total_executions FROM create_job('t', 'x', target_device_id => 'd2', job_id => 'urgent');
DROP TRIGGER priority ON job_executions;
SELECT * FROM next('d2');
-- One's own addition is seen before anybody is told of it.
BEGIN;
SELECT add('d3', 21, 21, '100 hours');
SELECT * FROM next('d3');
ROLLBACK;
SELECT * FROM next('d3');
BEGIN;
SELECT add('d3', 21, 21, '100 hours');
SAVEPOINT a;
SELECT add('d3', 22, 22, '100 hours');
ROLLBACK TO a;
COMMIT;
SELECT * FROM next('d3');
SELECT * FROM next('d3');
-- Nor is a snapshot misled that is older than a mark.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM job_executions WHERE device_id = 'd3' AND status = 'QUEUED';
SELECT * FROM next('d3');
COMMIT;
SELECT next('d3', 3);
SELECT * FROM next('d3');
-- Past the triggers: the worker has to be told, and the marks with it.
BEGIN;
SET LOCAL session_replication_role = replica;
SELECT add('d3', 31, 31, '50 hours');
COMMIT;
SELECT wake_job_worker();
SELECT * FROM next('d3');
SELECT * FROM next('d3');
-- Of one age, the first by job comes first, however many there are.
BEGIN;
INSERT INTO job_executions (tenant_id, job_id, device_id, queued_at)
    SELECT 't', 'j' || lpad(i::text, 3, '0'), 'd8', now() - interval '5 hours' FROM generate_series(9, 1, -1) i;
SELECT job_id FROM claim_job_executions('t', 1, '{d8}');
ROLLBACK;
-- What is IN_PROGRESS is resumed, however many are older.
BEGIN;
SELECT add('d8', 1, 9);
UPDATE job_executions SET status = 'IN_PROGRESS' WHERE device_id = 'd8' AND job_id = 'j009';
SELECT job_id, status FROM start_next_pending_job_execution('t', 'd8');
ROLLBACK;

-- A tenant with nothing QUEUED.
SELECT job_id, device_id FROM claim_job_executions('t', 100);
SELECT job_id, device_id FROM claim_job_executions('t', 100);
SELECT job_id, device_id FROM claim_job_executions('u', 100);
SELECT total_executions FROM create_job('u', 'x', target_device_id => 'd1', job_id => 'a');
SELECT job_id, device_id FROM claim_job_executions('t', 100);
BEGIN;
SELECT job_id, device_id FROM claim_job_executions('u', 100);
SELECT job_id, device_id FROM claim_job_executions('u', 100);
ROLLBACK;
SELECT job_id, device_id FROM claim_job_executions('u', 100);
SELECT job_id, device_id FROM claim_job_executions('u', 100);
INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('u', 'a', 'd2');
SELECT job_id, device_id FROM claim_job_executions('u', 100);
BEGIN;
SELECT total_executions FROM create_job('u', 'x', target_device_id => 'd1', job_id => 'b');
SELECT job_id, device_id FROM claim_job_executions('u', 100);
ROLLBACK;
SELECT job_id, device_id FROM claim_job_executions('u', 100);
-- Whoever does not see the rows must not hide them from others.
CREATE ROLE regress_ij_gateway;
GRANT SELECT, UPDATE ON jobs, job_executions TO regress_ij_gateway;
GRANT EXECUTE ON FUNCTION claim_job_executions TO regress_ij_gateway;
SELECT job_id, device_id FROM claim_job_executions('u', 100);
SELECT total_executions FROM create_job('u', 'x', target_device_id => 'd3', job_id => 'c');
SET ROLE regress_ij_gateway;
SET app.tenant_id = 't';
SELECT job_id, device_id FROM claim_job_executions('u', 100);
SET app.tenant_id = 'u';
SELECT job_id, device_id FROM claim_job_executions('u', 100);
RESET ROLE;

-- Where the index has no history that is remembered, too, for a second: nothing is read.  An index just built is not
-- used for as long as older transactions of anybody last, so it may not be at once.
CREATE FUNCTION read() RETURNS numeric LANGUAGE sql AS $$
    SELECT sum(pg_stat_get_xact_tuples_fetched(indexrelid)) FROM pg_index WHERE indrelid = to_regclass('job_executions')
$$;
CREATE PROCEDURE read_nothing(tenant text) LANGUAGE plpgsql AS $$
DECLARE
    before numeric;
    deadline timestamptz := clock_timestamp() + interval '60 s';
BEGIN
    WHILE clock_timestamp() < deadline LOOP
        before := read();
        IF EXISTS (SELECT FROM claim_job_executions(tenant, 100)) THEN
            RAISE 'there was something left';
        ELSIF read() = before THEN
            RETURN;
        END IF;
        COMMIT;
    END LOOP;
    RAISE 'each claim reads what is at work';
END $$;
DO $$ BEGIN PERFORM use_job_indexes('contract'); END $$;
CALL read_nothing('u');
SELECT count(*) AS at_work FROM job_executions WHERE tenant_id = 'u' AND status = 'IN_PROGRESS';
INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('u', 'c', 'd2');
SELECT job_id, device_id FROM claim_job_executions('u', 100);
SELECT job_id, device_id FROM claim_job_executions('u', 100);
CALL go_lean();

-- An addition that is prepared is found once it is committed, whoever looked meanwhile.
SELECT next('d3', 3);
BEGIN;
SELECT add('d3', 40, 40, '60 hours');
PREPARE TRANSACTION 'regress_ij_marks';
SELECT * FROM next('d3');
SELECT job_id, device_id FROM claim_job_executions('t', 100);
SELECT job_id, device_id FROM claim_job_executions('t', 100);
COMMIT PREPARED 'regress_ij_marks';
SELECT * FROM next('d3');
SELECT job_id, device_id FROM claim_job_executions('t', 100);
-- Nor does it matter that only the worker was told of it.
BEGIN;
SET LOCAL session_replication_role = replica;
SELECT add('d3', 39, 39, '70 hours');
SELECT wake_job_worker();
PREPARE TRANSACTION 'regress_ij_marks';
SELECT job_id, device_id FROM claim_job_executions('t', 100);
SELECT job_id, device_id FROM claim_job_executions('t', 100);
COMMIT PREPARED 'regress_ij_marks';
SELECT job_id, device_id FROM claim_job_executions('t', 100);
-- From then on marks are of use again.
CALL read_nothing('t');

\c contrib_regression
DROP DATABASE regress_ij_marks;
DROP ROLE regress_ij_gateway;
