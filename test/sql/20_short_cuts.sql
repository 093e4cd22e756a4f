-- Short cuts past the SQL engine are allowed only where nobody can tell: whatever
-- an administrator adds to the tables is obeyed, from the next call on, in a
-- session that has used the short cut before.
SELECT ijtest.add_tenant('cut', 8, 3);
SELECT ijtest.add_tenant('cut-b', 3, 3);
SET client_min_messages = warning;
CREATE ROLE regress_ij_cut;
RESET client_min_messages;
GRANT SELECT, INSERT, UPDATE, DELETE ON jobs, job_executions TO regress_ij_cut;
GRANT SELECT ON tenants, devices, device_groups, device_group_members TO regress_ij_cut;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO regress_ij_cut;
-- one step of each kind, whose outcomes tell what was obeyed
CREATE FUNCTION ijtest.steps() RETURNS TABLE (n int, step text, outcome text) LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT s.n, s.step, ijtest.outcome('SELECT ' || s.call) FROM (VALUES
        (1, 'create', 'create_job(''cut'', ''t'', target_all => true, job_id => ''probe'')'),
        (2, 'claim', 'start_next_pending_job_execution(''cut'', ''d1'')'),
        (3, 'claim batch', 'claim_job_executions(''cut'', 3, array[''d2'', ''d3''])'),
        (4, 'report', 'update_job_execution(''cut'', ''probe'', ''d1'', ''SUCCEEDED'', ''{"done": true}'')'),
        (5, 'report batch', '1 / count(*) FROM update_job_executions(''cut'', ''[{"job_id": "probe", "device_id": "d2", "status": "FAILED"}]'') WHERE accepted'),
        (6, 'cancel one', 'cancel_job_execution(''cut'', ''probe'', ''d4'')'),
        (7, 'delete one', 'delete_job_execution(''cut'', ''probe'', ''d5'')'),
        (8, 'cancel', 'cancel_job(''cut'', ''probe'', force => true)')) s (n, step, call) ORDER BY s.n;
END $$;
CREATE FUNCTION ijtest.refused_steps(ddl text) RETURNS TABLE (refused text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE ddl;
    RETURN QUERY SELECT s.step || ' ' || s.outcome FROM ijtest.steps() s WHERE s.outcome <> 'ok' ORDER BY s.n;
END $$;

-- Nothing is in the way.
BEGIN;
SELECT * FROM ijtest.steps();
SELECT device_id, status, number, status_details FROM ijtest.executions WHERE tenant_id = 'cut' ORDER BY 1;
ROLLBACK;

-- And no statement that changes executions was planned for it, in a session that knows of none before.
\c -
BEGIN;
SELECT FROM create_job('cut', 't', target_all => true, job_id => 'probe');
SELECT FROM start_next_pending_job_execution('cut', 'd1');
SELECT count(*) FROM claim_job_executions('cut', 2);
SELECT FROM update_job_execution('cut', 'probe', 'd1', 'FAILED');
SELECT accepted FROM update_job_executions('cut', '[{"job_id": "probe", "device_id": "d2", "status": "SUCCEEDED"}]');
SELECT FROM cancel_job_execution('cut', 'probe', 'd8');
SELECT FROM cancel_job('cut', 'probe', force => true);
SELECT FROM delete_job('cut', 'probe');
SELECT deleted FROM run_job_sweep();
SELECT count(*) AS planned FROM pg_backend_memory_contexts
WHERE name = 'CachedPlanSource' AND ident ~ '(UPDATE|DELETE FROM|INSERT INTO) public\.job_executions' AND current_setting('ijtest.by_sql', true) IS DISTINCT FROM 'on';
ROLLBACK;

-- Constraints.
BEGIN;
SELECT * FROM ijtest.refused_steps($$ALTER TABLE job_executions ADD CHECK (execution_number < 3)$$);
ROLLBACK;
BEGIN;
SELECT * FROM ijtest.refused_steps($$ALTER TABLE job_executions ADD CHECK (device_id <> 'd7')$$);
ROLLBACK;
BEGIN;
SELECT * FROM ijtest.refused_steps($$ALTER TABLE job_executions ADD CHECK (NOT (device_id = 'd1' AND status = 'IN_PROGRESS'))$$);
ROLLBACK;
BEGIN;
SELECT * FROM ijtest.refused_steps($$ALTER TABLE jobs ADD CHECK (status <> 'CANCELED')$$);
ROLLBACK;
BEGIN;
SELECT * FROM ijtest.refused_steps($$CREATE UNIQUE INDEX ON job_executions (tenant_id, job_id) WHERE status = 'IN_PROGRESS'$$);
ROLLBACK;
BEGIN;
SELECT * FROM ijtest.refused_steps($$CREATE UNIQUE INDEX ON job_executions (tenant_id, job_id, execution_number) WHERE execution_number > 1$$);
ROLLBACK;
BEGIN;
-- one that is being built, as CONCURRENTLY leaves it for a while: who changes a row finds its twin
SELECT FROM create_job('cut', 't', target_all => true, job_id => 'twins');
CREATE INDEX ijtest_twins ON job_executions (tenant_id, job_id);
UPDATE pg_index SET indisunique = true, indisvalid = false WHERE indexrelid = 'ijtest_twins'::regclass;
CREATE INDEX ON job_executions (execution_number);
SELECT ijtest.outcome($$SELECT start_next_pending_job_execution('cut', 'd1')$$);
ROLLBACK;
BEGIN;
-- one start at a time
SELECT * FROM ijtest.refused_steps($$CREATE UNIQUE INDEX ON job_executions (started_at)$$);
ROLLBACK;
BEGIN;
SELECT * FROM ijtest.refused_steps($$ALTER TABLE job_executions ADD EXCLUDE USING btree (started_at WITH =)$$);
ROLLBACK;
BEGIN;
SELECT * FROM ijtest.refused_steps($$ALTER TABLE job_executions ADD EXCLUDE USING hash (status WITH =) WHERE (status = 'IN_PROGRESS')$$);
ROLLBACK;
BEGIN;
SELECT * FROM ijtest.refused_steps($$CREATE INDEX ON job_executions ((1 / (CASE WHEN status = 'SUCCEEDED' THEN 0 ELSE 1 END)))$$);
ROLLBACK;
BEGIN;
-- a foreign key of the host's own, and a registry that knows a device too many
SELECT * FROM ijtest.refused_steps($$
    CREATE VIEW ijtest.devices AS SELECT tenant_id, device_id FROM devices UNION ALL SELECT 'cut', 'ghost';
    SELECT use_fleet('ijtest.devices');
    ALTER TABLE job_executions ADD FOREIGN KEY (tenant_id, device_id) REFERENCES devices$$);
ROLLBACK;
BEGIN;
-- a domain is a type with a constraint
SELECT * FROM ijtest.refused_steps($$
    CREATE DOMAIN ijtest.small AS bigint CHECK (value < 3);
    ALTER TABLE job_executions ADD COLUMN copy ijtest.small GENERATED ALWAYS AS (execution_number) STORED$$);
ROLLBACK;

-- So it is with the row of a job that a sweep completes.
CREATE FUNCTION ijtest.completed(ddl text) RETURNS TABLE (job_id text, status text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE ddl;
    PERFORM create_job('cut', 't', target_device_id => 'd1', job_id => 'one', expires_in => '1 hour');
    PERFORM create_job('cut', 't', target_device_id => 'd2', job_id => 'two');
    PERFORM update_job_execution('cut', 'one', 'd1', 'SUCCEEDED');
    PERFORM update_job_execution('cut', 'two', 'd2', 'FAILED');
    PERFORM run_job_sweep();
    RETURN QUERY SELECT j.job_id, j.status FROM jobs j WHERE j.tenant_id = 'cut' ORDER BY 1;
END $$;
\c -
BEGIN;
SELECT * FROM ijtest.completed('');
SELECT count(*) AS planned FROM pg_backend_memory_contexts
WHERE name = 'CachedPlanSource' AND ident ~ 'UPDATE public\.jobs' AND current_setting('ijtest.by_sql', true) IS DISTINCT FROM 'on';
-- each index has what it should
SET LOCAL enable_seqscan = off;
SELECT count(*) AS completed FROM jobs WHERE tenant_id = 'cut' AND status = 'COMPLETED';
SELECT count(*) AS in_progress FROM jobs WHERE tenant_id = 'cut' AND status = 'IN_PROGRESS';
SELECT count(*) AS due FROM jobs WHERE expires_at > now() AND status = 'IN_PROGRESS' AND tenant_id = 'cut';
SELECT job_id, status, updated_at = now() AS updated, expires_at > now() AS expires FROM jobs WHERE tenant_id = 'cut' AND job_id IN ('one', 'two');
ROLLBACK;
BEGIN;
SELECT * FROM ijtest.completed($$ALTER TABLE jobs ADD CHECK (status <> 'COMPLETED')$$);
ROLLBACK;
BEGIN;
SELECT * FROM ijtest.completed($$ALTER TABLE jobs ADD CHECK (NOT (job_id = 'one' AND status = 'COMPLETED'))$$);
ROLLBACK;
BEGIN;
SELECT * FROM ijtest.completed($$ALTER TABLE jobs ADD CHECK (jobs IS NOT DISTINCT FROM jobs AND (jobs).status <> 'COMPLETED')$$);
ROLLBACK;
BEGIN;
SELECT * FROM ijtest.completed($$CREATE UNIQUE INDEX ON jobs (tenant_id) WHERE status = 'COMPLETED'$$);
ROLLBACK;
BEGIN;
SELECT * FROM ijtest.completed($$CREATE INDEX by_end ON jobs (job_id) WHERE status = 'COMPLETED'$$);
SET LOCAL enable_seqscan = off;
SET LOCAL enable_bitmapscan = off;
SELECT job_id FROM jobs WHERE status = 'COMPLETED' AND job_id IN ('one', 'two') ORDER BY job_id;
ROLLBACK;
BEGIN;
SELECT * FROM ijtest.completed($$
    CREATE TABLE ijtest.statuses AS SELECT 'IN_PROGRESS' AS status;
    ALTER TABLE ijtest.statuses ADD PRIMARY KEY (status);
    ALTER TABLE jobs ADD FOREIGN KEY (status) REFERENCES ijtest.statuses$$);
ROLLBACK;
BEGIN;
SELECT * FROM ijtest.completed($$ALTER TABLE jobs ADD COLUMN loud text GENERATED ALWAYS AS (job_id || ' is ' || status) STORED, ADD COLUMN colour text DEFAULT 'green'$$);
SELECT loud, colour FROM jobs WHERE tenant_id = 'cut' ORDER BY 1;
ROLLBACK;
BEGIN;
SELECT * FROM ijtest.completed($$
    CREATE FUNCTION ijtest.keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN CASE WHEN old.job_id = ''two'' THEN new END; END';
    CREATE TRIGGER keep BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION ijtest.keep()$$);
ROLLBACK;
-- a constraint that the row broke before
BEGIN;
INSERT INTO jobs (tenant_id, job_id, document_type, target_device_id) VALUES ('cut', 'old', 't', 'd3');
INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('cut', 'old', 'd3');
SELECT FROM update_job_execution('cut', 'old', 'd3', 'SUCCEEDED');
SELECT * FROM ijtest.completed($$ALTER TABLE jobs ADD CHECK (job_id <> 'old') NOT VALID$$);
ROLLBACK;
-- one that is not true any more
BEGIN;
SELECT * FROM ijtest.completed($$
    CREATE FUNCTION ijtest.may(job text) RETURNS boolean STABLE LANGUAGE sql AS 'SELECT job <> ''one'' OR NOT EXISTS (SELECT FROM job_executions WHERE status = ''SUCCEEDED'')';
    ALTER TABLE jobs ADD CHECK (ijtest.may(job_id))$$);
ROLLBACK;
-- one whose function the claimer may not call, and need not
BEGIN;
CREATE FUNCTION ijtest.longest() RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN 10; END';
REVOKE EXECUTE ON FUNCTION ijtest.longest FROM PUBLIC;
SELECT FROM create_job('cut', 't', target_device_id => 'd1', job_id => 'one');
ALTER TABLE jobs ADD CHECK (length(job_id) < ijtest.longest());
SET LOCAL ROLE regress_ij_cut;
SET LOCAL app.tenant_id = 'cut';
SELECT job_id, status FROM start_next_pending_job_execution('cut', 'd1');
ROLLBACK;
-- a trigger of theirs on executions that cancels the job under the sweep
BEGIN;
CREATE FUNCTION ijtest.cancel() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE jobs SET status = 'CANCELED' WHERE tenant_id = new.tenant_id AND job_id = new.job_id;
    RETURN NULL;
END $$;
CREATE TRIGGER cancel AFTER UPDATE ON job_executions FOR EACH ROW WHEN (new.status = 'TIMED_OUT') EXECUTE FUNCTION ijtest.cancel();
SELECT FROM create_job('cut', 't', target_device_id => 'd1', job_id => 'one');
UPDATE jobs SET expires_at = '2001-01-01' WHERE tenant_id = 'cut';
SELECT expired, completed FROM run_job_sweep();
SELECT job_id, status FROM jobs WHERE tenant_id = 'cut';
ROLLBACK;
-- row security, and the lack of a privilege
BEGIN;
SELECT * FROM ijtest.completed($$
    CREATE POLICY locked ON jobs AS RESTRICTIVE FOR UPDATE USING (job_id <> 'one');
    SET LOCAL ROLE regress_ij_cut;
    SET LOCAL app.tenant_id = 'cut'$$);
ROLLBACK;
BEGIN;
SELECT * FROM ijtest.completed($$
    REVOKE UPDATE ON jobs FROM regress_ij_cut;
    GRANT UPDATE (expires_at) ON jobs TO regress_ij_cut;
    SET LOCAL ROLE regress_ij_cut;
    SET LOCAL app.tenant_id = 'cut'$$);
ROLLBACK;

-- Columns that compute, and columns that the extension does not know.
BEGIN;
ALTER TABLE job_executions ADD COLUMN twice bigint GENERATED ALWAYS AS (execution_number * 2) STORED,
    ADD COLUMN loud text GENERATED ALWAYS AS (device_id || ' is ' || status) STORED, ADD COLUMN colour text DEFAULT 'green', ADD COLUMN n int GENERATED ALWAYS AS IDENTITY;
SELECT * FROM ijtest.steps() WHERE outcome <> 'ok';
SELECT device_id, execution_number, twice, loud, colour, n IS NOT NULL AS numbered FROM job_executions WHERE tenant_id = 'cut' AND job_id = 'probe' ORDER BY 1;
ROLLBACK;
-- Defaults that differ from row to row.
BEGIN;
ALTER TABLE job_executions ADD COLUMN n serial, ADD COLUMN token uuid DEFAULT gen_random_uuid();
SELECT FROM create_job('cut', 't', target_all => true, job_id => 'numbered');
SELECT count(*), count(DISTINCT n) AS numbers, count(DISTINCT token) AS tokens FROM job_executions WHERE tenant_id = 'cut';
ROLLBACK;
-- What such a column held before the claim, it holds after it.
BEGIN;
SELECT FROM create_job('cut', 't', target_group_id => 'g', job_id => 'before');
ALTER TABLE job_executions ADD COLUMN colour text DEFAULT 'green', ADD COLUMN long text;
UPDATE job_executions SET colour = 'red', long = repeat('long ', 3000) WHERE device_id = 'd2';
SELECT device_id, colour FROM job_executions e, start_next_pending_job_execution('cut', e.device_id) c (job_id, tenant, device, status, details, number, queued, started, updated, type, params, expires)
WHERE e.tenant_id = 'cut' ORDER BY 1;
SELECT FROM update_job_execution('cut', 'before', 'd2', 'SUCCEEDED', '{"a": 1}');
SELECT device_id, status, colour, length(long) FROM job_executions WHERE tenant_id = 'cut' ORDER BY 1;
ROLLBACK;

-- Triggers: of every kind, from the next call on.
CREATE TABLE ijtest.seen (n int GENERATED ALWAYS AS IDENTITY, what text);
CREATE FUNCTION ijtest.saw() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ijtest.seen (what) VALUES (concat_ws(' ', lower(TG_WHEN), lower(TG_OP), lower(TG_LEVEL)));
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
SELECT outcome, count(*) FROM ijtest.steps() GROUP BY 1;
DELETE FROM jobs WHERE tenant_id = 'cut';
CREATE TRIGGER saw_before BEFORE INSERT OR UPDATE OR DELETE ON job_executions FOR EACH ROW EXECUTE FUNCTION ijtest.saw();
SELECT outcome, count(*) FROM ijtest.steps() GROUP BY 1;
SELECT what, count(*) FROM ijtest.seen GROUP BY 1 ORDER BY 1;
DROP TRIGGER saw_before ON job_executions;
DELETE FROM jobs WHERE tenant_id = 'cut';
TRUNCATE ijtest.seen;
CREATE TRIGGER saw_after AFTER INSERT OR UPDATE OR DELETE ON job_executions FOR EACH ROW WHEN (true) EXECUTE FUNCTION ijtest.saw();
ALTER TABLE job_executions ENABLE ALWAYS TRIGGER saw_after;
SELECT outcome, count(*) FROM ijtest.steps() GROUP BY 1;
SELECT what, count(*) FROM ijtest.seen GROUP BY 1 ORDER BY 1;
ALTER TABLE job_executions DISABLE TRIGGER saw_after;
TRUNCATE ijtest.seen;
DELETE FROM jobs WHERE tenant_id = 'cut';
SELECT outcome, count(*) FROM ijtest.steps() GROUP BY 1;
SELECT count(*) AS seen_while_disabled FROM ijtest.seen;
DROP TRIGGER saw_after ON job_executions;
DELETE FROM jobs WHERE tenant_id = 'cut';
CREATE FUNCTION ijtest.saw_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ijtest.seen (what) SELECT 'transition ' || status FROM changed;
    RETURN NULL;
END $$;
CREATE TRIGGER saw_rows AFTER UPDATE ON job_executions REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ijtest.saw_rows();
SELECT outcome, count(*) FROM ijtest.steps() GROUP BY 1;
SELECT what, count(*) FROM ijtest.seen GROUP BY 1 ORDER BY 1;
DROP TRIGGER saw_rows ON job_executions;
DELETE FROM jobs WHERE tenant_id = 'cut';
-- A rule is honoured or refused, not overlooked.
BEGIN;
CREATE RULE quiet AS ON INSERT TO job_executions WHERE new.device_id = 'd1' DO INSTEAD NOTHING;
SELECT FROM create_job('cut', 't', target_all => true, job_id => 'ruled');
SELECT count(*) FROM job_executions WHERE job_id = 'ruled';
ROLLBACK;

-- What hangs on an execution goes with it.
BEGIN;
CREATE TABLE ijtest.notes (tenant_id text, job_id text, device_id text, FOREIGN KEY (tenant_id, job_id, device_id) REFERENCES job_executions ON DELETE CASCADE);
SELECT FROM create_job('cut', 't', target_all => true, job_id => 'noted');
INSERT INTO ijtest.notes SELECT tenant_id, job_id, device_id FROM job_executions WHERE job_id = 'noted';
SELECT count(*) FROM claim_job_executions('cut', 3);
SELECT FROM delete_job('cut', 'noted', force => true);
SELECT deleted FROM run_job_sweep();
SELECT count(*) FROM ijtest.notes;
ROLLBACK;

-- Guards that were switched off by hand do not come back by a short cut, nor does a short cut need them.
BEGIN;
ALTER TABLE job_executions DISABLE TRIGGER USER;
SELECT outcome, count(*) FROM ijtest.steps() GROUP BY 1;
SELECT device_id, status, number FROM ijtest.executions WHERE tenant_id = 'cut' ORDER BY 1;
ROLLBACK;

-- Policies, under row security, in the session of a role that has used the short cut.
SET ROLE regress_ij_cut;
SET app.tenant_id = 'cut';
BEGIN;
SELECT outcome, count(*) FROM ijtest.steps() GROUP BY 1;
ROLLBACK;
RESET ROLE;
-- restrictive
BEGIN;
CREATE POLICY p ON job_executions AS RESTRICTIVE USING (device_id <> 'd1');
SET LOCAL ROLE regress_ij_cut;
SELECT n, step, outcome FROM ijtest.steps() WHERE outcome <> 'ok';
ROLLBACK;
BEGIN;
CREATE POLICY p ON job_executions AS RESTRICTIVE FOR UPDATE WITH CHECK (status <> 'IN_PROGRESS');
SET LOCAL ROLE regress_ij_cut;
SELECT n, step, outcome FROM ijtest.steps() WHERE outcome <> 'ok';
ROLLBACK;
BEGIN;
CREATE POLICY p ON jobs AS RESTRICTIVE FOR SELECT USING (job_id <> 'probe');
SET LOCAL ROLE regress_ij_cut;
SELECT n, step, outcome FROM ijtest.steps() WHERE outcome <> 'ok';
ROLLBACK;
-- permissive: another tenant's rows are seen, too
BEGIN;
CREATE POLICY p ON jobs TO regress_ij_cut USING (true);
CREATE POLICY p ON job_executions TO regress_ij_cut USING (true);
SELECT FROM create_job('cut-b', 't', target_all => true, job_id => 'b');
SET LOCAL ROLE regress_ij_cut;
SELECT status FROM start_next_pending_job_execution('cut-b', 'd1');
SELECT status FROM update_job_execution('cut-b', 'b', 'd1', 'SUCCEEDED');
SELECT count(*) FROM claim_job_executions('cut-b', 10);
ROLLBACK;
-- the migration's own policy, changed
BEGIN;
ALTER POLICY job_executions_tenant_isolation ON job_executions USING (tenant_id = current_setting('app.other_id', true)) WITH CHECK (tenant_id = current_setting('app.other_id', true));
SET LOCAL ROLE regress_ij_cut;
SELECT n, step, outcome FROM ijtest.steps() WHERE outcome <> 'ok';
SET LOCAL app.other_id = 'cut';
SELECT outcome, count(*) FROM ijtest.steps() GROUP BY 1 ORDER BY 1;
ROLLBACK;
BEGIN;
DROP POLICY job_executions_tenant_isolation ON job_executions;
SET LOCAL ROLE regress_ij_cut;
SELECT n, step, outcome FROM ijtest.steps() WHERE outcome <> 'ok';
ROLLBACK;
-- the same that lets nothing through
BEGIN;
DROP POLICY job_executions_tenant_isolation ON job_executions;
CREATE POLICY p ON job_executions AS RESTRICTIVE USING (tenant_id = current_setting('app.tenant_id', true));
SET LOCAL ROLE regress_ij_cut;
SELECT n, step, outcome FROM ijtest.steps() WHERE outcome <> 'ok';
ROLLBACK;
-- for one command only
BEGIN;
SELECT FROM create_job('cut', 't', target_all => true, job_id => 'probe');
DROP POLICY job_executions_tenant_isolation ON job_executions;
CREATE POLICY p ON job_executions FOR SELECT USING (tenant_id = current_setting('app.tenant_id', true));
SET LOCAL ROLE regress_ij_cut;
SELECT n, step, outcome FROM ijtest.steps() WHERE outcome <> 'ok';
ROLLBACK;
-- row security off, and forced on the owner
BEGIN;
ALTER TABLE job_executions DISABLE ROW LEVEL SECURITY;
ALTER TABLE jobs DISABLE ROW LEVEL SECURITY;
SELECT FROM create_job('cut-b', 't', target_all => true, job_id => 'b');
SET LOCAL ROLE regress_ij_cut;
SELECT status FROM start_next_pending_job_execution('cut-b', 'd1');
ROLLBACK;
BEGIN;
ALTER TABLE jobs OWNER TO regress_ij_cut;
ALTER TABLE job_executions OWNER TO regress_ij_cut;
SELECT FROM create_job('cut-b', 't', target_all => true, job_id => 'b');
SET LOCAL ROLE regress_ij_cut;
SELECT status FROM start_next_pending_job_execution('cut-b', 'd1');
ALTER TABLE jobs FORCE ROW LEVEL SECURITY;
ALTER TABLE job_executions FORCE ROW LEVEL SECURITY;
SELECT count(*) FROM start_next_pending_job_execution('cut-b', 'd2');
SELECT ijtest.outcome($$SELECT update_job_execution('cut-b', 'b', 'd1', 'SUCCEEDED')$$);
ROLLBACK;
-- the tenant changes between two calls
SET ROLE regress_ij_cut;
BEGIN;
SET LOCAL app.tenant_id = 'cut';
SELECT total_executions FROM create_job('cut', 't', target_group_id => 'g', job_id => 'a');
SET LOCAL app.tenant_id = 'cut-b';
SELECT total_executions FROM create_job('cut-b', 't', target_group_id => 'g', job_id => 'b');
SELECT count(*) FROM claim_job_executions('cut', 10);
SELECT count(*) FROM claim_job_executions('cut-b', 10, array['d1', 'd2']);
SET LOCAL app.tenant_id = 'cut';
SELECT count(*) FROM claim_job_executions('cut', 10, array['d1', 'd2']);
SELECT count(*) FROM claim_job_executions('cut-b', 10);
SELECT ijtest.outcome($$SELECT update_job_execution('cut-b', 'b', 'd1', 'SUCCEEDED')$$) AS foreign_,
       ijtest.outcome($$SELECT update_job_execution('cut', 'a', 'd1', 'SUCCEEDED')$$) AS own;
ROLLBACK;
RESET ROLE;

-- Rights: of the table, of its columns, revoked in the middle of a session.
BEGIN;
REVOKE UPDATE ON job_executions FROM regress_ij_cut;
SET LOCAL ROLE regress_ij_cut;
SELECT n, step, outcome FROM ijtest.steps() WHERE outcome <> 'ok';
ROLLBACK;
BEGIN;
REVOKE UPDATE ON job_executions FROM regress_ij_cut;
GRANT UPDATE (status, status_details, execution_number, started_at, last_updated_at) ON job_executions TO regress_ij_cut;
SET LOCAL ROLE regress_ij_cut;
SELECT n, step, outcome FROM ijtest.steps() WHERE outcome <> 'ok';
ROLLBACK;
BEGIN;
REVOKE UPDATE ON job_executions FROM regress_ij_cut;
GRANT UPDATE (status) ON job_executions TO regress_ij_cut;
SET LOCAL ROLE regress_ij_cut;
SELECT n, step, outcome FROM ijtest.steps() WHERE outcome <> 'ok';
ROLLBACK;
BEGIN;
REVOKE SELECT ON jobs FROM regress_ij_cut;
SET LOCAL ROLE regress_ij_cut;
SELECT n, step, outcome FROM ijtest.steps() WHERE outcome <> 'ok';
ROLLBACK;
BEGIN;
REVOKE SELECT ON job_executions FROM regress_ij_cut;
SET LOCAL ROLE regress_ij_cut;
SELECT n, step, outcome FROM ijtest.steps() WHERE outcome <> 'ok';
ROLLBACK;
BEGIN;
REVOKE INSERT ON job_executions FROM regress_ij_cut;
SET LOCAL ROLE regress_ij_cut;
SELECT n, step, outcome FROM ijtest.steps() WHERE n < 2;
ROLLBACK;
BEGIN;
REVOKE SELECT ON devices FROM regress_ij_cut;
SET LOCAL ROLE regress_ij_cut;
SELECT n, step, outcome FROM ijtest.steps() WHERE n < 2;
ROLLBACK;

-- Read-only means read-only.
SELECT FROM create_job('cut', 't', target_all => true, job_id => 'probe');
BEGIN READ ONLY;
SELECT n, step, outcome FROM ijtest.steps() WHERE n > 1 AND outcome <> '25006';
ROLLBACK;
SELECT DISTINCT status, number FROM ijtest.executions WHERE tenant_id = 'cut';

-- Visibility: a call sees what calls before it did, in the same statement, after savepoints, through cursors.
BEGIN;
SELECT a.device_id <> b.device_id OR a.job_id <> b.job_id AS different FROM claim_job_executions('cut', 1, array['d1', 'd2']) a, claim_job_executions('cut', 1, array['d1', 'd2']) b;
SELECT status FROM update_job_execution('cut', 'probe', 'd1', 'SUCCEEDED'), update_job_execution('cut', 'probe', 'd2', 'SUCCEEDED') x (a, b, c, d);
SELECT (update_job_execution('cut', 'probe', 'd3', 'IN_PROGRESS', jsonb_build_object('i', i))).execution_number FROM generate_series(1, 3) i;
SAVEPOINT a;
SELECT status, execution_number FROM update_job_execution('cut', 'probe', 'd3', 'SUCCEEDED');
ROLLBACK TO a;
SELECT status, execution_number, status_details FROM describe_job_execution('cut', 'probe', 'd3');
SAVEPOINT b;
SELECT status FROM start_next_pending_job_execution('cut', 'd4');
RELEASE b;
SELECT status FROM start_next_pending_job_execution('cut', 'd4');
SAVEPOINT c;
SELECT count(*) FROM claim_job_executions('cut', 100);
ROLLBACK TO c;
SELECT count(*) FROM claim_job_executions('cut', 100);
DECLARE slow CURSOR FOR SELECT device_id, status FROM job_executions WHERE tenant_id = 'cut' ORDER BY 1;
FETCH 1 FROM slow;
SELECT status FROM update_job_execution('cut', 'probe', 'd7', 'REJECTED');
FETCH 8 FROM slow;
COMMIT;
SELECT device_id, status, number FROM ijtest.executions WHERE tenant_id = 'cut' ORDER BY 1;

-- Every index tells the same story as the table after a long mixture of short cuts:
-- those of the migration, one more that a short cut serves, and some that it does not.
CREATE FUNCTION ijtest.mix(first int, last int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN first..last LOOP
        PERFORM create_job('cut', 't', target_all => true, job_id => 'mix' || i);
        PERFORM claim_job_executions('cut', i % 10 + 1);
        PERFORM start_next_pending_job_execution('cut', 'd' || i % 8 + 1, jsonb_build_object('i', i));
        PERFORM update_job_execution('cut', 'mix' || i, 'd' || i % 8 + 1, (array['IN_PROGRESS', 'SUCCEEDED', 'FAILED', 'REJECTED'])[i % 4 + 1], jsonb_build_object('i', i));
        PERFORM update_job_executions('cut', jsonb_build_array(jsonb_build_object('job_id', 'mix' || i, 'device_id', 'd' || i % 7 + 1, 'status', 'SUCCEEDED', 'status_details', jsonb_build_object('i', -i))));
        IF i % 9 = 0 THEN PERFORM cancel_job('cut', 'mix' || i, force => true); END IF;
        IF i % 10 = 1 THEN UPDATE jobs SET expires_at = now() - interval '1 s' WHERE tenant_id = 'cut' AND job_id = 'mix' || i; PERFORM run_job_sweep(); END IF;
        IF i % 13 = 0 THEN PERFORM delete_job('cut', 'mix' || i - 2, force => true); PERFORM run_job_sweep(); END IF;
    END LOOP;
END $$;
CREATE FUNCTION ijtest.told(by_index boolean) RETURNS TABLE (question text, answer text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('enable_seqscan', (NOT by_index)::text, true), set_config('enable_indexscan', by_index::text, true),
            set_config('enable_indexonlyscan', by_index::text, true), set_config('enable_bitmapscan', by_index::text, true);
    RETURN QUERY EXECUTE $q$
        SELECT 'details ' || k, (SELECT string_agg(job_id || device_id, ',' ORDER BY job_id, device_id) FROM job_executions WHERE status_details ->> 'i' = k) FROM (SELECT generate_series(-60, 60)::text) g (k)
        UNION ALL SELECT 'updated', (SELECT count(*) || ' ' || max(status) FROM job_executions WHERE last_updated_at > '2020-01-01')
        UNION ALL SELECT 'ended ' || d, (SELECT string_agg(job_id || status, ',' ORDER BY job_id) FROM job_executions WHERE device_id = d AND status NOT IN ('QUEUED', 'IN_PROGRESS')) FROM (SELECT 'd' || generate_series(1, 8)) g (d)
        UNION ALL SELECT s, (SELECT string_agg(job_id || device_id, ',' ORDER BY job_id, device_id) FROM job_executions WHERE status = s) FROM unnest(array['QUEUED', 'IN_PROGRESS', 'SUCCEEDED', 'FAILED', 'TIMED_OUT', 'REJECTED']) s
        UNION ALL SELECT 'open ' || d, (SELECT string_agg(job_id || status, ',' ORDER BY job_id) FROM job_executions WHERE tenant_id = 'cut' AND device_id = d AND status IN ('QUEUED', 'IN_PROGRESS')) FROM (SELECT 'd' || generate_series(1, 8)) g (d)
        UNION ALL SELECT 'job ' || j, (SELECT string_agg(device_id || status, ',' ORDER BY device_id) FROM job_executions WHERE tenant_id = 'cut' AND job_id = j) FROM (SELECT 'mix' || generate_series(1, 60)) g (j)
        UNION ALL SELECT 'jobs ' || s, (SELECT string_agg(job_id, ',' ORDER BY job_id) FROM jobs WHERE tenant_id = 'cut' AND status = s) FROM unnest(array['IN_PROGRESS', 'COMPLETED', 'CANCELED', 'DELETION_IN_PROGRESS']) s$q$;
END $$;
CREATE INDEX ijtest_updated ON job_executions (last_updated_at) INCLUDE (status);
SELECT FROM ijtest.mix(1, 40);
SELECT i.question, i.answer AS by_index, t.answer AS by_table FROM ijtest.told(true) i FULL JOIN ijtest.told(false) t USING (question) WHERE i.answer IS DISTINCT FROM t.answer;
CREATE INDEX ijtest_details ON job_executions ((status_details ->> 'i'));
CREATE INDEX ijtest_ended ON job_executions (device_id) WHERE status NOT IN ('QUEUED', 'IN_PROGRESS');
CREATE INDEX ijtest_hash ON job_executions USING hash (status);
SELECT FROM ijtest.mix(41, 60);
SELECT i.question, i.answer AS by_index, t.answer AS by_table FROM ijtest.told(true) i FULL JOIN ijtest.told(false) t USING (question) WHERE i.answer IS DISTINCT FROM t.answer;
SELECT status, count(*) > 0 AS some FROM job_executions WHERE tenant_id = 'cut' GROUP BY 1 ORDER BY 1;
DROP INDEX ijtest_details, ijtest_updated, ijtest_ended, ijtest_hash;

-- Times that somebody set ahead of the clock, and a constraint that looks at more than columns.
BEGIN;
ALTER TABLE job_executions ADD CHECK (tableoid <> 0);
ALTER TABLE job_executions ALTER queued_at SET DEFAULT now() + interval '1 hour';
SELECT total_executions FROM create_job('cut', 't', target_device_id => 'd1', job_id => 'ahead');
SELECT last_updated_at = queued_at AS in_order FROM job_executions WHERE job_id = 'ahead';
ROLLBACK;
BEGIN;
SELECT total_executions FROM create_job('cut', 't', target_device_id => 'd1', job_id => 'ahead');
UPDATE job_executions SET status = 'IN_PROGRESS' WHERE job_id = 'ahead';
UPDATE job_executions SET started_at = now() + interval '1 hour' WHERE job_id = 'ahead';
SELECT last_updated_at = started_at AS in_order FROM update_job_execution('cut', 'ahead', 'd1', 'SUCCEEDED');
ROLLBACK;

-- A partitioned table of the host's own.
DELETE FROM tenants WHERE tenant_id LIKE 'cut%';
DROP FUNCTION ijtest.steps, ijtest.refused_steps, ijtest.saw, ijtest.saw_rows, ijtest.mix, ijtest.told;
DROP TABLE ijtest.seen;
DROP OWNED BY regress_ij_cut;
DROP ROLE regress_ij_cut;
SET client_min_messages = warning;
CREATE DATABASE regress_ij_part TEMPLATE template0;
\c regress_ij_part
SET client_min_messages = warning;
CREATE TABLE tenants (tenant_id text PRIMARY KEY);
CREATE TABLE devices (tenant_id text, device_id text, PRIMARY KEY (tenant_id, device_id));
CREATE TABLE IF NOT EXISTS jobs (
    job_id          TEXT        NOT NULL,
    tenant_id       TEXT        NOT NULL REFERENCES tenants(tenant_id) ON DELETE CASCADE,

    -- Document
    document_type   TEXT        NOT NULL,           -- required "type" field
    document_params JSONB       NOT NULL DEFAULT '{}',  -- freeform params

    -- Target (one of these is set)
    target_device_id  TEXT,     -- single device
    target_group_id   TEXT,     -- device group (snapshot at creation)
    target_all        BOOLEAN   NOT NULL DEFAULT FALSE,  -- all devices in tenant

    -- Lifecycle
    status          TEXT        NOT NULL DEFAULT 'IN_PROGRESS'
                    CHECK (status IN ('IN_PROGRESS','COMPLETED','CANCELED','DELETION_IN_PROGRESS')),

    -- TTL
    expires_at      TIMESTAMPTZ,

    -- Audit
    created_by      TEXT,       -- operator user_id
    created_at      TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at      TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    PRIMARY KEY (tenant_id, job_id),

    -- Exactly one target must be set
    CONSTRAINT jobs_target_check CHECK (
        (target_device_id IS NOT NULL)::INT +
        (target_group_id  IS NOT NULL)::INT +
        (target_all = TRUE)::INT = 1
    )
);

CREATE INDEX IF NOT EXISTS idx_jobs_tenant_status
    ON jobs (tenant_id, status);

CREATE INDEX IF NOT EXISTS idx_jobs_expires_at
    ON jobs (expires_at)
    WHERE expires_at IS NOT NULL AND status = 'IN_PROGRESS';

ALTER TABLE jobs ENABLE ROW LEVEL SECURITY;
CREATE POLICY jobs_tenant_isolation ON jobs
    USING (tenant_id = current_setting('app.tenant_id', true))
    WITH CHECK (tenant_id = current_setting('app.tenant_id', true));

-- ----------------------------------------------------------------
-- 2. job_executions
-- ----------------------------------------------------------------
CREATE TABLE IF NOT EXISTS job_executions (
    job_id          TEXT        NOT NULL,
    tenant_id       TEXT        NOT NULL,
    device_id       TEXT        NOT NULL,

    -- Lifecycle
    status          TEXT        NOT NULL DEFAULT 'QUEUED'
                    CHECK (status IN (
                        'QUEUED','IN_PROGRESS','SUCCEEDED',
                        'FAILED','TIMED_OUT','REJECTED'
                    )),

    -- Device-reported outcome
    status_details  JSONB,      -- device can report error messages, progress, etc.

    -- Execution version (monotonically increasing per execution, for optimistic lock)
    execution_number BIGINT     NOT NULL DEFAULT 1,

    -- Timestamps
    queued_at       TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    started_at      TIMESTAMPTZ,
    last_updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    PRIMARY KEY (tenant_id, job_id, device_id),
    FOREIGN KEY (tenant_id, job_id) REFERENCES jobs (tenant_id, job_id) ON DELETE CASCADE
) PARTITION BY HASH (tenant_id);

CREATE INDEX IF NOT EXISTS idx_job_executions_device_queued
    ON job_executions (tenant_id, device_id, status)
    WHERE status IN ('QUEUED', 'IN_PROGRESS');

CREATE INDEX IF NOT EXISTS idx_job_executions_job_id
    ON job_executions (tenant_id, job_id);

ALTER TABLE job_executions ENABLE ROW LEVEL SECURITY;
CREATE POLICY job_executions_tenant_isolation ON job_executions
    USING (tenant_id = current_setting('app.tenant_id', true))
    WITH CHECK (tenant_id = current_setting('app.tenant_id', true));
CREATE TABLE job_executions_0 PARTITION OF job_executions FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE job_executions_1 PARTITION OF job_executions FOR VALUES WITH (MODULUS 2, REMAINDER 1);
-- rows of the two partitions have the same places there
INSERT INTO tenants VALUES ('a'), ('b'), ('e');
INSERT INTO devices SELECT t, 'd' || i FROM unnest(array['a', 'b', 'e']) t, generate_series(1, 4) i;
CREATE EXTENSION iot_jobs;
SELECT t, (create_job(t, 'x', target_all => true, job_id => 'j')).total_executions FROM unnest(array['a', 'b', 'e']) t ORDER BY 1;
SELECT job_index_profile();
SELECT min(tenant_id) AS tenant, count(DISTINCT tableoid) FROM job_executions WHERE ctid = '(0,1)';
SELECT t, (SELECT count(*) FROM claim_job_executions(t, 2, array['d1', 'd2'])) FROM unnest(array['a', 'b', 'e']) t ORDER BY 1;
SELECT t, (SELECT status FROM update_job_execution(t, 'j', 'd1', 'SUCCEEDED')) FROM unnest(array['a', 'b', 'e']) t ORDER BY 1;
SELECT t, (SELECT status FROM start_next_pending_job_execution(t, 'd4')) FROM unnest(array['a', 'b', 'e']) t ORDER BY 1;
SELECT accepted, status FROM update_job_executions('a', '[{"job_id": "j", "device_id": "d2", "status": "FAILED"}]');
UPDATE jobs SET expires_at = '2001-01-01' WHERE tenant_id = 'b';
SELECT status, in_progress, rejected FROM cancel_job('e', 'j', force => true);
SELECT run_job_sweep() IS NOT NULL AS swept;
SELECT tenant_id, job_id, status, in_progress, succeeded, failed, timed_out, rejected FROM unnest(array['a', 'b', 'e']) t, list_jobs(t) ORDER BY 1;
\set VERBOSITY sqlstate
UPDATE job_executions SET status = 'QUEUED' WHERE status = 'SUCCEEDED';
INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('e', 'j', 'd9');
DROP EXTENSION iot_jobs;
SELECT count(*) FROM job_executions;
\c contrib_regression
DROP DATABASE regress_ij_part;
