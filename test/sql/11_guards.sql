-- The guards: both state machines hold for statements written by hand.
SELECT ijtest.add_tenant('guard', 6);

-- The machines, as the extension tells them ...
SELECT machine, from_status, to_status, taken_by FROM job_state_steps() ORDER BY machine COLLATE "C", from_status COLLATE "C", to_status COLLATE "C";
-- ... and as they were agreed on, written down a second time.
CREATE TEMP TABLE agreed (machine text, from_status text, to_status text);
INSERT INTO agreed VALUES
    ('job', 'IN_PROGRESS', 'COMPLETED'), ('job', 'IN_PROGRESS', 'CANCELED'), ('job', 'IN_PROGRESS', 'DELETION_IN_PROGRESS'),
    ('job', 'COMPLETED', 'DELETION_IN_PROGRESS'), ('job', 'CANCELED', 'DELETION_IN_PROGRESS'),
    ('execution', 'QUEUED', 'IN_PROGRESS'), ('execution', 'QUEUED', 'SUCCEEDED'), ('execution', 'QUEUED', 'FAILED'),
    ('execution', 'QUEUED', 'REJECTED'), ('execution', 'QUEUED', 'TIMED_OUT'),
    ('execution', 'IN_PROGRESS', 'SUCCEEDED'), ('execution', 'IN_PROGRESS', 'FAILED'),
    ('execution', 'IN_PROGRESS', 'REJECTED'), ('execution', 'IN_PROGRESS', 'TIMED_OUT');
-- They agree (that an execution in progress stays in progress is a report of progress, not a change).
(SELECT machine, from_status, to_status FROM job_state_steps() WHERE from_status <> to_status EXCEPT TABLE agreed)
UNION ALL
(TABLE agreed EXCEPT SELECT machine, from_status, to_status FROM job_state_steps());

-- Every pair of states, tried by hand.
CREATE TEMP TABLE tried (machine text, from_status text, to_status text, outcome text, raised bigint, started boolean);
CREATE FUNCTION ijtest.try_execution(from_status text, to_status text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    before job_executions; after job_executions;
BEGIN
    INSERT INTO jobs (tenant_id, job_id, document_type, target_all) VALUES ('guard', 'pair', 't', true);
    INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('guard', 'pair', 'd1');
    IF from_status <> 'QUEUED' THEN
        UPDATE job_executions SET status = from_status WHERE tenant_id = 'guard' AND job_id = 'pair';
    END IF;
    SELECT * INTO STRICT before FROM job_executions WHERE tenant_id = 'guard' AND job_id = 'pair';
    IF before.status <> from_status THEN RAISE EXCEPTION 'could not prepare %', from_status; END IF;
    INSERT INTO tried VALUES ('execution', from_status, to_status, ijtest.outcome(
        format('UPDATE job_executions SET status = %L WHERE tenant_id = ''guard'' AND job_id = ''pair''', to_status)));
    SELECT * INTO STRICT after FROM job_executions WHERE tenant_id = 'guard' AND job_id = 'pair';
    UPDATE tried t SET raised = after.execution_number - before.execution_number, started = after.started_at IS NOT NULL
    WHERE t.machine = 'execution' AND t.from_status = try_execution.from_status AND t.to_status = try_execution.to_status;
    IF after.status <> (CASE (SELECT t.outcome FROM tried t WHERE (t.machine, t.from_status, t.to_status) = ('execution', try_execution.from_status, try_execution.to_status))
                        WHEN 'ok' THEN to_status ELSE from_status END) THEN
        RAISE EXCEPTION 'the row is %', after;
    END IF;
    DELETE FROM jobs WHERE tenant_id = 'guard' AND job_id = 'pair';
END $$;
CREATE FUNCTION ijtest.try_job(from_status text, to_status text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO jobs (tenant_id, job_id, document_type, target_all) VALUES ('guard', 'pair', 't', true);
    IF from_status <> 'IN_PROGRESS' THEN
        UPDATE jobs SET status = from_status WHERE tenant_id = 'guard' AND job_id = 'pair';
    END IF;
    INSERT INTO tried VALUES ('job', from_status, to_status, ijtest.outcome(
        format('UPDATE jobs SET status = %L WHERE tenant_id = ''guard'' AND job_id = ''pair''', to_status)));
    IF (SELECT status FROM jobs WHERE tenant_id = 'guard' AND job_id = 'pair')
       <> (CASE (SELECT t.outcome FROM tried t WHERE (t.machine, t.from_status, t.to_status) = ('job', try_job.from_status, try_job.to_status))
           WHEN 'ok' THEN to_status ELSE from_status END) THEN
        RAISE EXCEPTION 'the row is not right';
    END IF;
    DELETE FROM jobs WHERE tenant_id = 'guard' AND job_id = 'pair';
END $$;
SELECT count(ijtest.try_execution(f, t)::text)
FROM unnest(array['QUEUED', 'IN_PROGRESS', 'SUCCEEDED', 'FAILED', 'TIMED_OUT', 'REJECTED']) f, unnest(array['QUEUED', 'IN_PROGRESS', 'SUCCEEDED', 'FAILED', 'TIMED_OUT', 'REJECTED']) t;
SELECT count(ijtest.try_job(f, t)::text)
FROM unnest(array['IN_PROGRESS', 'COMPLETED', 'CANCELED', 'DELETION_IN_PROGRESS']) f, unnest(array['IN_PROGRESS', 'COMPLETED', 'CANCELED', 'DELETION_IN_PROGRESS']) t;
-- Legal passes, the same status passes, everything else is IJ002: nothing to see here.
SELECT t.* FROM tried t
WHERE t.outcome <> CASE WHEN t.from_status = t.to_status OR EXISTS (SELECT FROM agreed a WHERE (a.machine, a.from_status, a.to_status) = (t.machine, t.from_status, t.to_status))
                   THEN 'ok' ELSE 'IJ002' END
ORDER BY 1, 2, 3;
SELECT t.* FROM tried t
WHERE t.outcome <> CASE WHEN t.from_status = t.to_status OR EXISTS (SELECT FROM job_state_steps() a WHERE (a.machine, a.from_status, a.to_status) = (t.machine, t.from_status, t.to_status))
                   THEN 'ok' ELSE 'IJ002' END
ORDER BY 1, 2, 3;
-- The table of all pairs.
SELECT from_status, string_agg(to_status || ' ' || outcome, ', ' ORDER BY to_status COLLATE "C") AS outcomes FROM tried WHERE machine = 'job' GROUP BY from_status ORDER BY from_status COLLATE "C";
SELECT from_status, to_status, outcome, raised, started FROM tried WHERE machine = 'execution' AND outcome = 'ok' ORDER BY from_status COLLATE "C", to_status COLLATE "C";
SELECT outcome, count(*), min(raised), max(raised) FROM tried WHERE machine = 'execution' GROUP BY 1 ORDER BY 1;

-- The first status.
SELECT s.status, ijtest.outcome(format('INSERT INTO jobs (tenant_id, job_id, document_type, target_all, status) VALUES (%L, %L, %L, true, %L)', 'guard', 'first ' || s.status, 't', s.status))
FROM (VALUES ('IN_PROGRESS'), ('COMPLETED'), ('CANCELED'), ('DELETION_IN_PROGRESS'), ('NONSENSE'), (NULL)) s (status) ORDER BY s.status COLLATE "C" NULLS LAST;
INSERT INTO jobs (tenant_id, job_id, document_type, target_all) VALUES ('guard', 'j', 't', true);
SELECT s.status, ijtest.outcome(format('INSERT INTO job_executions (tenant_id, job_id, device_id, status) VALUES (%L, %L, %L, %L)', 'guard', 'j', 'first ' || s.status, s.status))
FROM (VALUES ('QUEUED'), ('IN_PROGRESS'), ('SUCCEEDED'), ('FAILED'), ('TIMED_OUT'), ('REJECTED'), ('NONSENSE'), (NULL)) s (status) ORDER BY s.status COLLATE "C" NULLS LAST;
DELETE FROM jobs WHERE tenant_id = 'guard';
\set VERBOSITY sqlstate
COPY jobs (tenant_id, job_id, document_type, target_all, status) FROM stdin;
guard	copied	t	t	COMPLETED
\.
COPY jobs (tenant_id, job_id, document_type, target_all) FROM stdin;
guard	copied	t	t
\.
COPY job_executions (tenant_id, job_id, device_id, status) FROM stdin;
guard	copied	d1	SUCCEEDED
\.
COPY job_executions (tenant_id, job_id, device_id) FROM stdin;
guard	copied	d1
guard	copied	d2
\.
-- A status that is none is the business of the table's own check.
UPDATE jobs SET status = 'NONSENSE' WHERE tenant_id = 'guard';
UPDATE job_executions SET status = 'NONSENSE' WHERE tenant_id = 'guard';
UPDATE job_executions SET status = NULL WHERE tenant_id = 'guard';
\set VERBOSITY default

-- Only under a job that is in progress, and each tells what the job is; no job at all is the foreign key's business.
INSERT INTO jobs (tenant_id, job_id, document_type, target_all) SELECT 'guard', 'is ' || s, 't', true FROM unnest(array['IN_PROGRESS', 'COMPLETED', 'CANCELED', 'DELETION_IN_PROGRESS']) s;
UPDATE jobs SET status = substr(job_id, 4) WHERE tenant_id = 'guard' AND job_id LIKE 'is %' AND job_id <> 'is IN_PROGRESS';
SELECT job_id, ijtest.state_told(format('INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES (%L, %L, %L)', 'guard', job_id, 'd1'))
FROM jobs WHERE tenant_id = 'guard' AND job_id LIKE 'is %' ORDER BY job_id COLLATE "C";
SELECT ijtest.outcome($$INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('guard', 'no such job', 'd1')$$) AS job,
       ijtest.outcome($$INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('no such tenant', 'j', 'd1')$$) AS tenant;
-- ON CONFLICT, both ways, as hosts write it.
INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('guard', 'is IN_PROGRESS', 'd1'), ('guard', 'is IN_PROGRESS', 'd2') ON CONFLICT DO NOTHING;
INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('guard', 'is IN_PROGRESS', 'd1')
    ON CONFLICT (tenant_id, job_id, device_id) DO UPDATE SET status = 'IN_PROGRESS';
SELECT * FROM ijtest.executions WHERE tenant_id = 'guard' AND job_id = 'is IN_PROGRESS' ORDER BY device_id;
SELECT ijtest.outcome($$INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('guard', 'is IN_PROGRESS', 'd1')
    ON CONFLICT (tenant_id, job_id, device_id) DO UPDATE SET status = 'QUEUED'$$);

-- The number: a step raises it by one, unless the writer has raised it; it never goes down with a step.
CREATE FUNCTION ijtest.after(statement text, OUT status text, OUT number bigint, OUT details jsonb, OUT started boolean) LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM jobs WHERE tenant_id = 'guard' AND job_id = 'n';
    INSERT INTO jobs (tenant_id, job_id, document_type, target_all) VALUES ('guard', 'n', 't', true);
    INSERT INTO job_executions (tenant_id, job_id, device_id, execution_number) VALUES ('guard', 'n', 'd1', 10);
    EXECUTE 'UPDATE job_executions SET ' || statement || ' WHERE tenant_id = ''guard'' AND job_id = ''n''';
    SELECT e.status, e.execution_number, e.status_details, e.started_at IS NOT NULL INTO status, number, details, started
    FROM job_executions e WHERE e.tenant_id = 'guard' AND e.job_id = 'n';
END $$;
SELECT s.n, s.statement, a.*
FROM (VALUES (1, $$status = 'IN_PROGRESS'$$),
             (2, $$status = 'IN_PROGRESS', execution_number = execution_number + 1$$),
             (3, $$status = 'IN_PROGRESS', execution_number = execution_number + 5$$),
             (4, $$status = 'IN_PROGRESS', execution_number = 3$$),
             (5, $$status = 'IN_PROGRESS', status_details = '{"a": 1}'$$),
             (6, $$status_details = '{"a": 1}'$$),
             (7, $$status_details = '{"a": 1}', execution_number = execution_number + 1$$),
             (8, $$status_details = NULL$$),
             (9, $$status = status$$),
             (10, $$queued_at = queued_at - interval '1 h'$$),
             (11, $$status = 'REJECTED'$$),
             (12, $$status = 'TIMED_OUT', status_details = '{"reason": "job_expired"}'$$),
             (13, $$status = 'SUCCEEDED'$$),
             (14, $$status = 'FAILED', execution_number = execution_number + 1$$)) s (n, statement),
     ijtest.after(s.statement) a ORDER BY s.n;

-- The times: started_at by the first start, last_updated_at and updated_at by every change, never back.
SELECT FROM ijtest.after('queued_at = queued_at');
BEGIN;
UPDATE job_executions SET queued_at = now() - interval '3 d', last_updated_at = now() - interval '1 d' WHERE tenant_id = 'guard' AND job_id = 'n';
UPDATE job_executions SET status = 'IN_PROGRESS', started_at = now() - interval '2 d' WHERE tenant_id = 'guard' AND job_id = 'n'
RETURNING started_at = now() - interval '2 d' AS own_start_kept, last_updated_at >= now() AS moved;
UPDATE job_executions SET status = 'SUCCEEDED', last_updated_at = '2000-01-01' WHERE tenant_id = 'guard' AND job_id = 'n'
RETURNING started_at = now() - interval '2 d' AS kept, last_updated_at >= now() AS not_back;
UPDATE job_executions SET last_updated_at = '2000-01-01' WHERE tenant_id = 'guard' AND job_id = 'n'
RETURNING last_updated_at >= now() AS not_back_alone;
UPDATE jobs SET updated_at = '2000-01-01' WHERE tenant_id = 'guard' AND job_id = 'n' RETURNING updated_at >= created_at AS not_back_alone;
UPDATE job_executions SET status_details = '{"later": true}', last_updated_at = '-infinity' WHERE tenant_id = 'guard' AND job_id = 'n'
RETURNING last_updated_at >= now() AS not_back;
UPDATE jobs SET expires_at = now() + interval '1 d', updated_at = '2000-01-01' WHERE tenant_id = 'guard' AND job_id = 'n' RETURNING updated_at >= now() AS not_back;
UPDATE jobs SET document_params = '{"v": 2}' WHERE tenant_id = 'guard' AND job_id = 'n' RETURNING updated_at >= now() AS moved;
UPDATE jobs SET status = 'COMPLETED', updated_at = '2000-01-01' WHERE tenant_id = 'guard' AND job_id = 'n' RETURNING status, updated_at >= now() AS not_back;
ROLLBACK;

-- The details of an execution that has ended may be changed by hand: its status stays, which is always legal.
SELECT FROM ijtest.after($$status = 'SUCCEEDED'$$);
UPDATE job_executions SET status_details = '{"note": "checked"}' WHERE tenant_id = 'guard' AND job_id = 'n' RETURNING status, execution_number;

-- COMPLETED by hand: not while an execution is open.
SELECT FROM create_job('guard', 't', target_all => true, job_id => 'open');
UPDATE job_executions SET status = 'SUCCEEDED' WHERE tenant_id = 'guard' AND job_id = 'open' AND device_id <> 'd6';
SELECT ijtest.outcome($$UPDATE jobs SET status = 'COMPLETED' WHERE tenant_id = 'guard' AND job_id = 'open'$$) AS queued_left;
UPDATE job_executions SET status = 'IN_PROGRESS' WHERE tenant_id = 'guard' AND job_id = 'open' AND device_id = 'd6';
SELECT ijtest.outcome($$UPDATE jobs SET status = 'COMPLETED' WHERE tenant_id = 'guard' AND job_id = 'open'$$) AS in_progress_left;
UPDATE job_executions SET status = 'FAILED' WHERE tenant_id = 'guard' AND job_id = 'open' AND device_id = 'd6';
SELECT ijtest.outcome($$UPDATE jobs SET status = 'COMPLETED' WHERE tenant_id = 'guard' AND job_id = 'open'$$) AS none_left;
-- What ended in the same statement is not rejected on top.
SELECT FROM create_job('guard', 't', target_device_id => 'd1', job_id => 'both');
SELECT ijtest.outcome($$WITH x AS (UPDATE job_executions SET status = 'SUCCEEDED' WHERE tenant_id = 'guard' AND job_id = 'both' RETURNING 1)
    UPDATE jobs SET status = 'CANCELED' WHERE tenant_id = 'guard' AND job_id = 'both' AND (SELECT count(*) FROM x) = 1$$);
SELECT * FROM ijtest.executions WHERE tenant_id = 'guard' AND job_id = 'both';

-- CANCELED by hand: the QUEUED are rejected in the same transaction; those in progress go on.
SELECT FROM create_job('guard', 't', target_all => true, job_id => 'cancel');
UPDATE job_executions SET status = 'IN_PROGRESS' WHERE tenant_id = 'guard' AND job_id = 'cancel' AND device_id = 'd1';
UPDATE job_executions SET status = 'SUCCEEDED', status_details = '{"mine": 1}' WHERE tenant_id = 'guard' AND job_id = 'cancel' AND device_id = 'd2';
BEGIN;
UPDATE jobs SET status = 'CANCELED' WHERE tenant_id = 'guard' AND job_id = 'cancel';
SELECT * FROM ijtest.executions WHERE tenant_id = 'guard' AND job_id = 'cancel' ORDER BY device_id;
ROLLBACK;
SELECT status, count(*) FROM ijtest.executions WHERE tenant_id = 'guard' AND job_id = 'cancel' GROUP BY 1 ORDER BY 1;
-- Many jobs by one statement.
SELECT FROM create_job('guard', 't', target_all => true, job_id => 'cancel too');
UPDATE jobs SET status = 'CANCELED' WHERE tenant_id = 'guard' AND job_id LIKE 'cancel%';
SELECT job_id, status, status_details, number, count(*) FROM ijtest.executions WHERE tenant_id = 'guard' AND job_id LIKE 'cancel%' GROUP BY 1, 2, 3, 4 ORDER BY 1, 2;
-- A reason that was given before it is kept.
SELECT FROM create_job('guard', 't', target_all => true, job_id => 'reasoned');
BEGIN;
UPDATE job_executions SET status = 'REJECTED', status_details = '{"reason": "recalled"}' WHERE tenant_id = 'guard' AND job_id = 'reasoned' AND status = 'QUEUED';
UPDATE jobs SET status = 'CANCELED' WHERE tenant_id = 'guard' AND job_id = 'reasoned';
COMMIT;
SELECT DISTINCT status, status_details, number FROM ijtest.executions WHERE tenant_id = 'guard' AND job_id = 'reasoned';

-- An UPDATE of many rows with one illegal step among them changes none.
SELECT FROM create_job('guard', 't', target_all => true, job_id => 'mixed');
UPDATE job_executions SET status = 'SUCCEEDED' WHERE tenant_id = 'guard' AND job_id = 'mixed' AND device_id = 'd4';
SELECT ijtest.outcome($$UPDATE job_executions SET status = 'IN_PROGRESS' WHERE tenant_id = 'guard' AND job_id = 'mixed'$$);
SELECT status, count(*) FROM ijtest.executions WHERE tenant_id = 'guard' AND job_id = 'mixed' GROUP BY 1 ORDER BY 1;

-- The tenant '' would be everybody's who has not set app.tenant_id.
SELECT ijtest.outcome($$INSERT INTO tenants (tenant_id) VALUES ('')$$) AS tenants,
       ijtest.outcome($$INSERT INTO jobs (tenant_id, job_id, document_type, target_all) VALUES ('', 'j', 't', true)$$) AS jobs,
       ijtest.outcome($$INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('', 'j', 'd')$$) AS executions;

-- DELETE is never hindered, TRUNCATE neither.
DELETE FROM job_executions WHERE tenant_id = 'guard' AND job_id = 'mixed' AND device_id IN ('d1', 'd4');
DELETE FROM jobs WHERE tenant_id = 'guard' AND job_id = 'mixed';
SELECT count(*) FROM job_executions WHERE tenant_id = 'guard' AND job_id = 'mixed';
BEGIN;
TRUNCATE jobs CASCADE;
SELECT count(*) FROM job_executions;
ROLLBACK;

-- MERGE and writable CTEs are statements like others.
SELECT FROM create_job('guard', 't', target_all => true, job_id => 'merge');
MERGE INTO job_executions e USING (VALUES ('d1', 'IN_PROGRESS'), ('d2', 'SUCCEEDED')) s (device_id, status)
    ON e.tenant_id = 'guard' AND e.job_id = 'merge' AND e.device_id = s.device_id
WHEN MATCHED THEN UPDATE SET status = s.status;
SELECT ijtest.outcome($$MERGE INTO job_executions e USING (VALUES ('d2', 'QUEUED')) s (device_id, status)
    ON e.tenant_id = 'guard' AND e.job_id = 'merge' AND e.device_id = s.device_id
WHEN MATCHED THEN UPDATE SET status = s.status$$);
SELECT device_id, status, number FROM ijtest.executions WHERE tenant_id = 'guard' AND job_id = 'merge' ORDER BY 1;

-- What the guards know of a job they know anew when this very transaction has changed it.
SELECT status FROM create_job('guard', 't', target_device_id => 'd1', job_id => 'known');
BEGIN;
INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('guard', 'known', 'd2');
UPDATE jobs SET status = 'CANCELED' WHERE tenant_id = 'guard' AND job_id = 'known';
SELECT ijtest.outcome($$INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('guard', 'known', 'd3')$$);
-- not in a subtransaction, which would look anew in any case
INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('guard', 'known', 'd3');
ROLLBACK;
BEGIN;
INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('guard', 'known', 'd2');
SELECT status FROM cancel_job('guard', 'known');
SELECT ijtest.outcome($$INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('guard', 'known', 'd3')$$);
INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('guard', 'known', 'd3');
ROLLBACK;
BEGIN;
INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('guard', 'known', 'd2');
SAVEPOINT s;
UPDATE jobs SET status = 'DELETION_IN_PROGRESS' WHERE tenant_id = 'guard' AND job_id = 'known';
ROLLBACK TO s;
INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('guard', 'known', 'd3');
DELETE FROM jobs WHERE tenant_id = 'guard' AND job_id = 'known';
SELECT ijtest.outcome($$INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('guard', 'known', 'd4'); SET CONSTRAINTS ALL IMMEDIATE$$);
ROLLBACK;
-- An open execution cannot be moved to where it could not be added.
SELECT status FROM cancel_job('guard', 'known');
SELECT status FROM create_job('guard', 't', target_device_id => 'd3', job_id => 'from');
SELECT ijtest.outcome($$UPDATE job_executions SET job_id = 'known' WHERE tenant_id = 'guard' AND job_id = 'from'$$) AS queued,
       ijtest.outcome($$UPDATE job_executions SET tenant_id = '' WHERE tenant_id = 'guard' AND job_id = 'from'$$) AS no_tenant,
       ijtest.outcome($$UPDATE job_executions SET job_id = '' WHERE tenant_id = 'guard' AND job_id = 'from'$$) AS no_job,
       ijtest.outcome($$UPDATE job_executions SET device_id = '' WHERE tenant_id = 'guard' AND job_id = 'from'$$) AS no_device,
       ijtest.outcome($$UPDATE jobs SET job_id = '' WHERE tenant_id = 'guard' AND job_id = 'from'$$) AS job_without_id;

-- A function that fails does not leave the guards asleep, nor does one that runs open a door to what a trigger of somebody else's does inside it.
SELECT status FROM create_job('guard', 't', target_device_id => 'd1', job_id => 'awake');
BEGIN;
ALTER TABLE jobs ADD CONSTRAINT never CHECK (status NOT IN ('CANCELED', 'COMPLETED') OR job_id <> 'awake');
SELECT ijtest.outcome($$SELECT cancel_job('guard', 'awake', force => true)$$) AS cancel,
       ijtest.outcome($$UPDATE jobs SET status = 'COMPLETED' WHERE tenant_id = 'guard' AND job_id = 'awake'$$) AS by_hand,
       ijtest.outcome($$UPDATE job_executions SET status = 'QUEUED' WHERE tenant_id = 'guard' AND job_id = 'both'$$) AS execution;
UPDATE job_executions SET status = 'SUCCEEDED' WHERE tenant_id = 'guard' AND job_id = 'awake';
SELECT ijtest.outcome($$SELECT run_job_sweep()$$) AS sweep,
       ijtest.outcome($$UPDATE jobs SET status = 'IN_PROGRESS' WHERE tenant_id = 'guard' AND job_id = 'both'$$) AS by_hand,
       ijtest.outcome($$UPDATE job_executions SET status = 'QUEUED' WHERE tenant_id = 'guard' AND job_id = 'both'$$) AS execution;
ROLLBACK;
CREATE FUNCTION ijtest.meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE job_executions SET status = 'QUEUED' WHERE tenant_id = 'guard' AND job_id = 'both';
    RETURN NEW;
END $$;
BEGIN;
CREATE TRIGGER meddle AFTER UPDATE OF status ON jobs FOR EACH ROW EXECUTE FUNCTION ijtest.meddle();
SELECT ijtest.outcome($$SELECT cancel_job('guard', 'awake', force => true)$$) AS cancel,
       ijtest.outcome($$SELECT delete_job('guard', 'awake', force => true)$$) AS delete;
ROLLBACK;
BEGIN;
CREATE TRIGGER meddle BEFORE UPDATE ON job_executions FOR EACH ROW WHEN (old.job_id = 'awake') EXECUTE FUNCTION ijtest.meddle();
SELECT ijtest.outcome($$SELECT start_next_pending_job_execution('guard', 'd1')$$) AS claim_of_another,
       ijtest.outcome($$SELECT update_job_execution('guard', 'awake', 'd1', 'SUCCEEDED')$$) AS report,
       ijtest.outcome($$SELECT cancel_job('guard', 'awake', force => true)$$) AS cancel;
UPDATE jobs SET expires_at = now() - interval '1 s' WHERE tenant_id = 'guard' AND job_id = 'awake';
SELECT ijtest.outcome($$SELECT run_job_sweep()$$) AS sweep;
ROLLBACK;
CREATE FUNCTION ijtest.meddle_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE jobs SET status = 'COMPLETED' WHERE tenant_id = 'guard' AND job_id = 'from';
    RETURN NEW;
END $$;
BEGIN;
CREATE TRIGGER meddle AFTER UPDATE OF status ON jobs FOR EACH ROW WHEN (new.job_id = 'awake') EXECUTE FUNCTION ijtest.meddle_job();
SELECT ijtest.outcome($$SELECT cancel_job('guard', 'awake', force => true)$$) AS cancel;
UPDATE job_executions SET status = 'SUCCEEDED' WHERE tenant_id = 'guard' AND job_id = 'awake';
SELECT ijtest.outcome($$SELECT run_job_sweep()$$) AS sweep;
SELECT job_id, status FROM jobs WHERE tenant_id = 'guard' AND job_id IN ('awake', 'from') ORDER BY 1;
ROLLBACK;
DROP FUNCTION ijtest.meddle, ijtest.meddle_job;
SELECT status, number FROM ijtest.executions WHERE tenant_id = 'guard' AND job_id IN ('both', 'awake') ORDER BY job_id;

-- What a client reads.
UPDATE job_executions SET status = 'QUEUED' WHERE tenant_id = 'guard' AND job_id = 'merge' AND device_id = 'd2';
UPDATE jobs SET status = 'IN_PROGRESS' WHERE tenant_id = 'guard' AND job_id = 'cancel';
UPDATE jobs SET status = 'COMPLETED' WHERE tenant_id = 'guard' AND job_id = 'merge';
INSERT INTO jobs (tenant_id, job_id, document_type, target_all, status) VALUES ('guard', 'x', 't', true, 'COMPLETED');
INSERT INTO job_executions (tenant_id, job_id, device_id, status) VALUES ('guard', 'merge', 'd7', 'SUCCEEDED');
INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('guard', 'cancel', 'd7');

DROP FUNCTION ijtest.try_execution, ijtest.try_job, ijtest.after;
DELETE FROM tenants WHERE tenant_id = 'guard';

-- Whatever clock a writer has, nothing was updated before it was made or started.
SELECT ijtest.add_tenant('guards-clock', 2);
INSERT INTO jobs (tenant_id, job_id, document_type, target_all, created_at) VALUES ('guards-clock', 'ahead', 't', true, now() + interval '1 min');
INSERT INTO job_executions (tenant_id, job_id, device_id, queued_at) VALUES ('guards-clock', 'ahead', 'd1', now() + interval '1 min');
INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('guards-clock', 'ahead', 'd2');
UPDATE job_executions SET status = 'IN_PROGRESS', started_at = now() + interval '1 min' WHERE tenant_id = 'guards-clock';
SELECT updated_at = created_at AS in_order FROM jobs WHERE tenant_id = 'guards-clock';
SELECT device_id, last_updated_at >= started_at AND last_updated_at >= queued_at AS in_order FROM job_executions WHERE tenant_id = 'guards-clock' ORDER BY 1;
-- Infinity is no time to keep up with.
UPDATE job_executions SET last_updated_at = 'infinity' WHERE tenant_id = 'guards-clock';
UPDATE jobs SET updated_at = 'infinity' WHERE tenant_id = 'guards-clock';
UPDATE job_executions SET last_updated_at = started_at WHERE tenant_id = 'guards-clock';
UPDATE jobs SET updated_at = created_at WHERE tenant_id = 'guards-clock';
SELECT count(*) AS infinite FROM job_executions WHERE tenant_id = 'guards-clock' AND NOT isfinite(last_updated_at);
SELECT count(*) AS infinite FROM jobs WHERE tenant_id = 'guards-clock' AND NOT isfinite(updated_at);
DELETE FROM tenants WHERE tenant_id = 'guards-clock';

-- A null id is what the constraints of the tables refuse, whatever else the statement does.
SELECT ijtest.add_tenant('guards-null', 1);
SELECT status FROM create_job('guards-null', 't', target_all => true, job_id => 'j');
CREATE TEMP TABLE nulls (statement text, outcome text);
DO $$
DECLARE
    statement text;
BEGIN
    FOR statement IN
        SELECT format(s, c) FROM unnest('{tenant_id,job_id,device_id}'::text[]) c, unnest(ARRAY[
            'UPDATE job_executions SET %I = NULL', 'UPDATE job_executions SET status = ''SUCCEEDED'', %I = NULL',
            'UPDATE jobs SET %I = NULL', 'UPDATE jobs SET status = ''CANCELED'', %I = NULL',
            'UPDATE jobs SET status = ''DELETION_IN_PROGRESS'', %I = NULL', 'UPDATE jobs SET expires_at = now(), %I = NULL']) s
        WHERE c <> 'device_id' OR s LIKE '%job_executions%'
        UNION ALL VALUES ('INSERT INTO job_executions (tenant_id, job_id) VALUES (''guards-null'', ''j'')'),
            ('INSERT INTO jobs (tenant_id, document_type, target_all) VALUES (''guards-null'', ''t'', true)')
    LOOP
        BEGIN
            EXECUTE statement || CASE WHEN statement LIKE 'UPDATE%' THEN ' WHERE tenant_id = ''guards-null''' ELSE '' END;
            INSERT INTO nulls VALUES (statement, 'done');
        EXCEPTION WHEN OTHERS THEN
            INSERT INTO nulls VALUES (statement, SQLSTATE);
        END;
    END LOOP;
END $$;
SELECT outcome, count(*) FROM nulls GROUP BY 1;
DROP TABLE nulls;
DELETE FROM tenants WHERE tenant_id = 'guards-null';

-- A job that is not there is left to the foreign key, which asks for the row as it is at the end of the statement:
-- whatever else is done to it until then.
SELECT ijtest.add_tenant('guards-ghost', 1);
SELECT ijtest.outcome($$INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('guards-ghost', 'ghost', 'd1')
    RETURNING (update_job_execution(tenant_id, job_id, device_id, 'SUCCEEDED')).status$$) AS reported,
       ijtest.outcome($$INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('guards-ghost', 'ghost', 'd1')
    RETURNING (cancel_job_execution(tenant_id, job_id, device_id)).status$$) AS canceled;
SELECT count(*) FROM job_executions WHERE tenant_id = 'guards-ghost';
DELETE FROM tenants WHERE tenant_id = 'guards-ghost';
