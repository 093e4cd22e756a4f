-- Row triggers of the operator's own that suppress, change or undo what a function
-- does: the function answers what is stored, or refuses, and never anything else.
SELECT ijtest.add_tenant('trig', 8, 3);
SELECT ijtest.add_tenant('trig-b', 2, 1);
CREATE FUNCTION ijtest.no_row() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;

-- A trigger that thinks otherwise about a new job: no executions for a job that takes none, and nothing left of it.
CREATE FUNCTION ijtest.disapprove() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE TG_ARGV[0] USING NEW.tenant_id, NEW.job_id;
    RETURN NULL;
END $$;
CREATE FUNCTION ijtest.create_under(trigger_name text, body text) RETURNS TABLE (code text, message text, detail text, jobs_left bigint, executions_left bigint) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format($t$CREATE TRIGGER %I AFTER INSERT ON jobs FOR EACH ROW WHEN (new.tenant_id = 'trig') EXECUTE FUNCTION ijtest.disapprove(%L)$t$, trigger_name, body);
    RETURN QUERY SELECT c.code, c.message, c.detail, (SELECT count(*) FROM jobs WHERE tenant_id = 'trig'), (SELECT count(*) FROM job_executions WHERE tenant_id = 'trig')
                 FROM ijtest.complaint($c$SELECT create_job('trig', 't', target_all => true, job_id => 'new')$c$) c;
    EXECUTE format('DROP TRIGGER %I ON jobs', trigger_name);
END $$;
SELECT * FROM ijtest.create_under('zz', 'UPDATE jobs SET status = ''CANCELED'' WHERE tenant_id = $1 AND job_id = $2');
SELECT * FROM ijtest.create_under('aa', 'UPDATE jobs SET status = ''CANCELED'' WHERE tenant_id = $1 AND job_id = $2');
SELECT * FROM ijtest.create_under('zz', 'UPDATE jobs SET status = ''COMPLETED'' WHERE tenant_id = $1 AND job_id = $2');
SELECT * FROM ijtest.create_under('zz', 'SELECT delete_job($1, $2, force => true)');
SELECT * FROM ijtest.create_under('zz', 'DELETE FROM jobs WHERE tenant_id = $1 AND job_id = $2');
-- the same for a group and for one device
CREATE TRIGGER zz AFTER INSERT ON jobs FOR EACH ROW WHEN (new.tenant_id = 'trig') EXECUTE FUNCTION ijtest.disapprove('SELECT cancel_job($1, $2)');
SELECT ijtest.outcome($$SELECT create_job('trig', 't', target_group_id => 'g')$$) AS grp, ijtest.outcome($$SELECT create_job('trig', 't', target_device_id => 'd1')$$) AS device;
DROP TRIGGER zz ON jobs;
SELECT (SELECT count(*) FROM jobs WHERE tenant_id = 'trig') AS jobs, (SELECT count(*) FROM job_executions WHERE tenant_id = 'trig') AS executions;
-- one that lets the row in changed: what is stored counts
CREATE FUNCTION ijtest.change_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_ARGV[0] = 'cancel' THEN NEW.status := 'CANCELED'; END IF;
    IF TG_ARGV[0] = 'narrow' THEN NEW.target_all := false; NEW.target_device_id := 'd2'; NEW.job_id := 'narrowed'; NEW.document_params := '{"by": "trigger"}'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER zz BEFORE INSERT ON jobs FOR EACH ROW WHEN (new.tenant_id = 'trig') EXECUTE FUNCTION ijtest.change_job('cancel');
SELECT code, detail FROM ijtest.complaint($$SELECT create_job('trig', 't', target_all => true, job_id => 'new')$$);
DROP TRIGGER zz ON jobs;
BEGIN;
CREATE TRIGGER zz BEFORE INSERT ON jobs FOR EACH ROW WHEN (new.tenant_id = 'trig') EXECUTE FUNCTION ijtest.change_job('narrow');
SELECT job_id, target_all, target_device_id, document_params, total_executions FROM create_job('trig', 't', target_all => true, job_id => 'new');
SELECT job_id, target_all, target_device_id, document_params FROM jobs WHERE tenant_id = 'trig';
SELECT job_id, device_id, status, number FROM ijtest.executions WHERE tenant_id = 'trig' ORDER BY 2;
ROLLBACK;
-- one that lets no row in: not an id that is used
CREATE TRIGGER zz BEFORE INSERT ON jobs FOR EACH ROW WHEN (new.tenant_id = 'trig') EXECUTE FUNCTION ijtest.no_row();
SELECT * FROM ijtest.complaint($$SELECT create_job('trig', 't', target_all => true, job_id => 'new')$$);
SELECT code FROM ijtest.complaint($$SELECT create_job('trig', 't', target_device_id => 'd1')$$);
DROP TRIGGER zz ON jobs;
SELECT (SELECT count(*) FROM jobs WHERE tenant_id = 'trig') AS jobs, (SELECT count(*) FROM job_executions WHERE tenant_id = 'trig') AS executions;
SELECT FROM create_job('trig', 't', target_device_id => 'd1', job_id => 'used');
CREATE TRIGGER zz BEFORE INSERT ON jobs FOR EACH ROW WHEN (new.job_id <> 'used') EXECUTE FUNCTION ijtest.no_row();
SELECT ijtest.outcome($$SELECT create_job('trig', 't', target_device_id => 'd1', job_id => 'used')$$) AS used, ijtest.outcome($$SELECT create_job('trig', 't', target_device_id => 'd1', job_id => 'new')$$) AS new;
DROP TRIGGER zz ON jobs;
DELETE FROM jobs WHERE tenant_id = 'trig';
DROP FUNCTION ijtest.create_under, ijtest.disapprove, ijtest.change_job;

-- Every step: what it told beside what is stored of the same executions.
CREATE FUNCTION ijtest.told_and_stored() RETURNS TABLE (n int, step text, outcome text, told text, stored text) LANGUAGE plpgsql AS $$
DECLARE
    s record;
BEGIN
    PERFORM create_job('trig', 't', target_all => true, job_id => 'j');
    FOR s IN SELECT * FROM (VALUES
            (1, 'claim', '{d1}'::text[], 'start_next_pending_job_execution(''trig'', ''d1'')'),
            (2, 'claim batch', '{d2,d3}', 'claim_job_executions(''trig'', 3, array[''d2'', ''d3''])'),
            (3, 'claim again', '{d1}', 'start_next_pending_job_execution(''trig'', ''d1'', ''{"again": true}'')'),
            (4, 'report', '{d1}', 'update_job_execution(''trig'', ''j'', ''d1'', ''SUCCEEDED'', ''{"done": true}'')'),
            (5, 'report queued', '{d4}', 'update_job_execution(''trig'', ''j'', ''d4'', ''IN_PROGRESS'', ''{"i": 1}'')'),
            (6, 'cancel one', '{d5}', 'cancel_job_execution(''trig'', ''j'', ''d5'')'),
            (7, 'delete one', '{d6}', 'delete_job_execution(''trig'', ''j'', ''d6'')')) v (n, step, devices, call) ORDER BY v.n
    LOOP
        n := s.n; step := s.step; told := NULL;
        BEGIN
            EXECUTE format('SELECT string_agg(concat_ws('' '', device_id, status, execution_number, status_details), '', '' ORDER BY device_id) FROM %s WHERE device_id IS NOT NULL', s.call) INTO told;
            outcome := 'ok';
        EXCEPTION WHEN OTHERS THEN outcome := SQLSTATE;
        END;
        SELECT string_agg(concat_ws(' ', e.device_id, e.status, e.number, e.status_details), ', ' ORDER BY e.device_id) INTO stored
        FROM ijtest.executions e WHERE e.tenant_id = 'trig' AND e.job_id = 'j' AND e.device_id = ANY (s.devices);
        RETURN NEXT;
    END LOOP;
    n := 8; step := 'report batch'; told := NULL;
    BEGIN
        SELECT string_agg(concat_ws(' ', u.device_id, u.accepted, u.sqlstate, u.status, u.execution_number), ', ' ORDER BY u.report_number) INTO told
        FROM update_job_executions('trig', '[{"job_id": "j", "device_id": "d2", "status": "FAILED"}, {"job_id": "j", "device_id": "d7", "status": "SUCCEEDED"}]') u;
        outcome := 'ok';
    EXCEPTION WHEN OTHERS THEN outcome := SQLSTATE;
    END;
    SELECT string_agg(concat_ws(' ', e.device_id, e.status, e.number), ', ' ORDER BY e.device_id) INTO stored FROM ijtest.executions e WHERE e.tenant_id = 'trig' AND e.job_id = 'j' AND e.device_id IN ('d2', 'd7');
    RETURN NEXT;
    n := 9; step := 'cancel job'; told := NULL;
    BEGIN
        SELECT concat_ws(' ', c.status, 'queued', c.queued, 'in progress', c.in_progress, 'rejected', c.rejected) INTO told FROM cancel_job('trig', 'j', force => true) c;
        outcome := 'ok';
    EXCEPTION WHEN OTHERS THEN outcome := SQLSTATE;
    END;
    SELECT concat_ws(' ', (SELECT j.status FROM jobs j WHERE j.tenant_id = 'trig' AND j.job_id = 'j'), 'queued', count(*) FILTER (WHERE e.status = 'QUEUED'),
                     'in progress', count(*) FILTER (WHERE e.status = 'IN_PROGRESS'), 'rejected', count(*) FILTER (WHERE e.status = 'REJECTED')) INTO stored
    FROM ijtest.executions e WHERE e.tenant_id = 'trig' AND e.job_id = 'j';
    RETURN NEXT;
END $$;
SELECT * FROM ijtest.told_and_stored();
DELETE FROM jobs WHERE tenant_id = 'trig';
-- It suppresses the change, for all devices or for some.
CREATE TRIGGER zz BEFORE UPDATE OR DELETE ON job_executions FOR EACH ROW EXECUTE FUNCTION ijtest.no_row();
SELECT * FROM ijtest.told_and_stored();
DROP TRIGGER zz ON job_executions;
DELETE FROM jobs WHERE tenant_id = 'trig';
CREATE TRIGGER aa BEFORE UPDATE OR DELETE ON job_executions FOR EACH ROW WHEN (old.device_id IN ('d2', 'd7', 'd8')) EXECUTE FUNCTION ijtest.no_row();
SELECT * FROM ijtest.told_and_stored();
-- a sweep comes to an end all the same, however small its batches
SELECT FROM create_job('trig', 't', target_all => true, job_id => 'late', expires_in => '1 h');
UPDATE jobs SET expires_at = now() - interval '1 s' WHERE tenant_id = 'trig' AND job_id = 'late';
BEGIN;
SET LOCAL statement_timeout = '60 s';
SELECT expired, completed FROM run_job_sweep();
SELECT expired, completed FROM run_job_sweep(1);
SELECT status, timed_out, queued FROM describe_job('trig', 'late');
ROLLBACK;
DROP TRIGGER aa ON job_executions;
-- also where it keeps the status, and nothing else
CREATE FUNCTION ijtest.keep_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.status := OLD.status;
    RETURN NEW;
END $$;
CREATE TRIGGER aa BEFORE UPDATE ON job_executions FOR EACH ROW WHEN (new.job_id = 'late' AND new.status = 'TIMED_OUT') EXECUTE FUNCTION ijtest.keep_status();
SELECT FROM create_job('trig', 't', target_all => true, job_id => 'later');
UPDATE jobs SET expires_at = now() - interval '1 s' WHERE tenant_id = 'trig' AND job_id = 'later';
BEGIN;
SELECT unfinished FROM run_job_sweep(100);
SELECT job_id, status, timed_out, queued FROM list_jobs('trig') ORDER BY 1;
ROLLBACK;
DROP TRIGGER aa ON job_executions;
DELETE FROM jobs WHERE tenant_id = 'trig';
-- It changes the row, before the guard sees it or after.
CREATE FUNCTION ijtest.change_execution() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.execution_number := NEW.execution_number + 10;
    NEW.status_details := coalesce(NEW.status_details, '{}') || '{"by": "trigger"}';
    RETURN NEW;
END $$;
CREATE TRIGGER aa BEFORE UPDATE ON job_executions FOR EACH ROW EXECUTE FUNCTION ijtest.change_execution();
SELECT * FROM ijtest.told_and_stored();
DROP TRIGGER aa ON job_executions;
DELETE FROM jobs WHERE tenant_id = 'trig';
CREATE TRIGGER zz BEFORE UPDATE ON job_executions FOR EACH ROW EXECUTE FUNCTION ijtest.change_execution();
SELECT * FROM ijtest.told_and_stored();
DROP TRIGGER zz ON job_executions;
DELETE FROM jobs WHERE tenant_id = 'trig';
-- It updates the row itself, which SQL has always refused.
CREATE FUNCTION ijtest.update_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() = 1 THEN
        UPDATE job_executions SET status_details = '{"by": "trigger"}' WHERE (tenant_id, job_id, device_id) = (OLD.tenant_id, OLD.job_id, OLD.device_id);
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER aa BEFORE UPDATE OR DELETE ON job_executions FOR EACH ROW EXECUTE FUNCTION ijtest.update_again();
SELECT * FROM ijtest.told_and_stored();
DROP TRIGGER aa ON job_executions;
DELETE FROM jobs WHERE tenant_id = 'trig';
-- After the change it may do so.
CREATE TRIGGER zz AFTER UPDATE ON job_executions FOR EACH ROW WHEN (new.status = 'SUCCEEDED') EXECUTE FUNCTION ijtest.update_again();
SELECT n, step, outcome, stored FROM ijtest.told_and_stored() WHERE n IN (4, 8);
DROP TRIGGER zz ON job_executions;
DELETE FROM jobs WHERE tenant_id = 'trig';

-- While one job is cancelled, a trigger reaches for another one: no door is open, not even for the same id elsewhere.
CREATE FUNCTION ijtest.reach() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE jobs SET status = TG_ARGV[2] WHERE tenant_id = TG_ARGV[0] AND job_id = TG_ARGV[1];
    RETURN NULL;
END $$;
SELECT FROM create_job('trig', 't', target_all => true, job_id => 'ta');
SELECT FROM create_job('trig', 't', target_all => true, job_id => 'tb');
SELECT FROM create_job('trig-b', 't', target_all => true, job_id => 'ta');
CREATE TRIGGER zz AFTER UPDATE ON jobs FOR EACH ROW WHEN (old.tenant_id = 'trig' AND old.job_id = 'ta') EXECUTE FUNCTION ijtest.reach('trig', 'tb', 'COMPLETED');
SELECT ijtest.outcome($$SELECT cancel_job('trig', 'ta')$$), ijtest.outcome($$SELECT cancel_job('trig', 'ta', force => true)$$),
       ijtest.outcome($$UPDATE jobs SET status = 'CANCELED' WHERE tenant_id = 'trig' AND job_id = 'ta'$$), ijtest.outcome($$SELECT delete_job('trig', 'ta', force => true)$$);
DROP TRIGGER zz ON jobs;
CREATE TRIGGER zz AFTER UPDATE ON jobs FOR EACH ROW WHEN (old.tenant_id = 'trig' AND old.job_id = 'ta') EXECUTE FUNCTION ijtest.reach('trig-b', 'ta', 'COMPLETED');
SELECT ijtest.outcome($$SELECT cancel_job('trig', 'ta')$$);
DROP TRIGGER zz ON jobs;
SELECT tenant_id, job_id, status, queued FROM list_jobs('trig') UNION ALL SELECT tenant_id, job_id, status, queued FROM list_jobs('trig-b') ORDER BY 1, 2;
-- what it may do it does whole: the other job's executions go with it
BEGIN;
CREATE TRIGGER zz AFTER UPDATE ON jobs FOR EACH ROW WHEN (old.tenant_id = 'trig' AND old.job_id = 'ta') EXECUTE FUNCTION ijtest.reach('trig', 'tb', 'CANCELED');
SELECT status, queued, rejected FROM cancel_job('trig', 'ta');
SELECT status, queued, rejected FROM describe_job('trig', 'tb');
ROLLBACK;
-- the trust ends with the call that failed
SELECT ijtest.outcome($$UPDATE jobs SET status = 'COMPLETED' WHERE tenant_id = 'trig' AND job_id = 'ta'$$);

-- one that adds to the very job, before its guard and after it: nothing is left open in a finished job
CREATE FUNCTION ijtest.add_more() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES (new.tenant_id, new.job_id, 'more');
    RETURN new;
END $$;
BEGIN;
CREATE TRIGGER aa BEFORE UPDATE OF status ON jobs FOR EACH ROW WHEN (old.job_id = 'ta' AND old.tenant_id = 'trig') EXECUTE FUNCTION ijtest.add_more();
SELECT status FROM cancel_job('trig', 'ta');
SELECT queued FROM describe_job('trig', 'ta');
ROLLBACK;
BEGIN;
CREATE TRIGGER zz BEFORE UPDATE OF status ON jobs FOR EACH ROW WHEN (old.job_id = 'ta' AND old.tenant_id = 'trig') EXECUTE FUNCTION ijtest.add_more();
SELECT status FROM cancel_job('trig', 'ta');
SELECT queued FROM describe_job('trig', 'ta');
SELECT ijtest.outcome($$INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('trig', 'ta', 'later')$$);
ROLLBACK;

-- ... nor in one that is completed
BEGIN;
SELECT FROM create_job('trig', 't', target_device_id => 'd1', job_id => 'whole');
SELECT status FROM update_job_execution('trig', 'whole', 'd1', 'SUCCEEDED');
CREATE TRIGGER zz BEFORE UPDATE OF status ON jobs FOR EACH ROW WHEN (old.job_id = 'whole') EXECUTE FUNCTION ijtest.add_more();
SELECT completed FROM run_job_sweep();
SELECT status, total_executions, queued FROM describe_job('trig', 'whole');
ALTER TABLE jobs DISABLE TRIGGER zz;
SELECT completed FROM run_job_sweep();
SELECT status, total_executions, queued FROM describe_job('trig', 'whole');
ROLLBACK;
-- the same where a later trigger says to which job it is added
CREATE FUNCTION ijtest.fill_in() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN new.job_id := COALESCE(new.job_id, 'ta'); RETURN new; END$$;
CREATE FUNCTION ijtest.add_to_any() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES (new.tenant_id, NULL, 'more');
    RETURN new;
END $$;
BEGIN;
CREATE TRIGGER zz BEFORE INSERT ON job_executions FOR EACH ROW EXECUTE FUNCTION ijtest.fill_in();
CREATE TRIGGER aa BEFORE UPDATE OF status ON jobs FOR EACH ROW WHEN (old.job_id = 'ta' AND old.tenant_id = 'trig') EXECUTE FUNCTION ijtest.add_to_any();
SELECT status FROM cancel_job('trig', 'ta');
SELECT queued FROM describe_job('trig', 'ta');
ROLLBACK;
DROP FUNCTION ijtest.fill_in, ijtest.add_to_any;
-- one that cancels, by a statement that says nothing of the status: what is queued is rejected all the same
CREATE FUNCTION ijtest.cancel_it() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    new.status := 'CANCELED';
    RETURN new;
END $$;
BEGIN;
CREATE TRIGGER aa BEFORE UPDATE OF created_by ON jobs FOR EACH ROW WHEN (old.job_id = 'ta' AND old.tenant_id = 'trig') EXECUTE FUNCTION ijtest.cancel_it();
UPDATE jobs SET created_by = 'me' WHERE tenant_id = 'trig' AND job_id = 'ta';
SELECT status, queued, rejected FROM describe_job('trig', 'ta');
ROLLBACK;

-- one that asks how statements are planned: what we set for ours is not for those of others
CREATE FUNCTION ijtest.how_planned() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE 'seqscan %, sort %', current_setting('enable_seqscan'), current_setting('enable_sort');
    RETURN NULL;
END $$;
BEGIN;
CREATE TRIGGER zz AFTER UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION ijtest.how_planned();
SELECT status FROM update_job('trig', 'ta', now() + interval '1 hour');
ROLLBACK;

-- one of a COPY that creates jobs: the progress shown stays that of the COPY
CREATE FUNCTION ijtest.shown() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM create_job('trig', 't', target_device_id => 'd1');
    PERFORM pg_stat_clear_snapshot();
    RAISE NOTICE 'COPY into %', (SELECT relid::regclass FROM pg_stat_progress_copy WHERE pid = pg_backend_pid());
    RETURN NEW;
END $$;
BEGIN;
CREATE TABLE ijtest.copied (n int);
CREATE TRIGGER zz BEFORE INSERT ON ijtest.copied FOR EACH ROW EXECUTE FUNCTION ijtest.shown();
COPY ijtest.copied FROM stdin;
1
2
\.
ROLLBACK;
DROP FUNCTION ijtest.how_planned, ijtest.shown, ijtest.add_more;

-- one that renames the schema, and creates a job in it while one is created
CREATE FUNCTION ijtest.rename_schema() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.job_id ~ '^nested' THEN
        RETURN NULL;
    END IF;
    EXECUTE format('ALTER SCHEMA %I RENAME TO ijtest_renamed', TG_TABLE_SCHEMA);
    FOR n IN 1..20 LOOP
        PERFORM ijtest_renamed.create_job(new.tenant_id, 't', target_all => true, job_id => 'nested-' || n);
        PERFORM ijtest_renamed.cancel_job(new.tenant_id, 'nested-' || n);
    END LOOP;
    RETURN NULL;
END $$;
SELECT FROM create_job('trig', 't', target_all => true, job_id => 'before');
BEGIN;
CREATE TRIGGER zz AFTER INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION ijtest.rename_schema();
SELECT queued > 0 AS created FROM create_job('trig', 't', target_all => true, job_id => 'outer');
SELECT count(*) FROM ijtest_renamed.jobs WHERE tenant_id = 'trig' AND job_id ~ '^nested';
ROLLBACK;
DROP FUNCTION ijtest.rename_schema;

-- one that keeps the first thousands of rows: the others are ended all the same
SELECT ijtest.add_tenant('trig-many', 2500);
SELECT total_executions FROM create_job('trig-many', 't', target_all => true, job_id => 'cancel');
SELECT total_executions FROM create_job('trig-many', 't', target_all => true, job_id => 'expire');
UPDATE jobs SET expires_at = now() - interval '1 s' WHERE job_id = 'expire';
CREATE TRIGGER zz BEFORE UPDATE ON job_executions FOR EACH ROW WHEN (old.tenant_id = 'trig-many' AND old.device_id < 'd9') EXECUTE FUNCTION ijtest.no_row();
SELECT status FROM cancel_job('trig-many', 'cancel');
SELECT expired FROM run_job_sweep(3);
SELECT expired > 0 AS some FROM run_job_sweep(100000);
SELECT expired FROM run_job_sweep(3);
DROP TRIGGER zz ON job_executions;
SELECT job_id, device_id < 'd9' AS kept, status, count(*) FROM job_executions WHERE tenant_id = 'trig-many' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;

-- One that is deferred: not where a guard acts as the owner, unless whoever cancels by hand defers nothing.
BEGIN;
CREATE CONSTRAINT TRIGGER zz AFTER UPDATE ON job_executions DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ijtest.no_row();
SELECT code, message FROM ijtest.complaint($$UPDATE jobs SET status = 'CANCELED' WHERE tenant_id = 'trig' AND job_id = 'ta'$$);
SELECT status, queued, rejected FROM cancel_job('trig', 'ta');
SET CONSTRAINTS ALL IMMEDIATE;
UPDATE jobs SET status = 'CANCELED' WHERE tenant_id = 'trig' AND job_id = 'tb';
SELECT status, queued, rejected FROM describe_job('trig', 'tb');
ROLLBACK;

DELETE FROM tenants WHERE tenant_id LIKE 'trig%';
DROP FUNCTION ijtest.no_row, ijtest.told_and_stored, ijtest.keep_status, ijtest.change_execution, ijtest.update_again, ijtest.reach;
