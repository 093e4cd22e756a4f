-- create_job: targets, the snapshot of the fleet, atomicity, errors.
SELECT ijtest.add_tenant('create', 5, 3);
SELECT ijtest.add_tenant('create-b', 2, 1);
SELECT ijtest.add_tenant('create-empty', 0);

-- All devices.  The whole composite comes back, and is the row.
SELECT tenant_id, job_id, document_type, document_params, target_device_id, target_group_id, target_all, status,
       expires_at, created_by, created_at = now() AS created_now, updated_at = created_at AS not_updated,
       total_executions, queued, in_progress, succeeded, failed, timed_out, rejected
FROM create_job('create', 'reboot', '{"delay_s": 5}', target_all => true, job_id => 'all') \gx
SELECT job_id, tenant_id, document_type, document_params, target_device_id, target_group_id, target_all, status,
       expires_at, created_by, updated_at = created_at AS not_updated
FROM jobs WHERE tenant_id = 'create' AND job_id = 'all' \gx
SELECT device_id, e.status, status_details, execution_number, started_at,
       queued_at = j.created_at AS queued_with_job, last_updated_at = queued_at AS untouched
FROM job_executions e JOIN jobs j USING (tenant_id, job_id)
WHERE tenant_id = 'create' AND job_id = 'all' ORDER BY device_id;

-- One device; a group.
SELECT target_device_id, target_group_id, target_all, total_executions, queued
FROM create_job('create', 'reboot', target_device_id => 'd2', job_id => 'one');
SELECT target_device_id, target_group_id, target_all, total_executions, queued
FROM create_job('create', 'reboot', target_group_id => 'g', job_id => 'group', created_by => 'alice');
SELECT job_id, device_id FROM ijtest.executions WHERE tenant_id = 'create' AND job_id IN ('one', 'group')
ORDER BY 1, 2;
SELECT document_params, created_by FROM jobs WHERE tenant_id = 'create' AND job_id = 'group';

-- The target is a snapshot: who comes later is not in it.
INSERT INTO devices (tenant_id, device_id) VALUES ('create', 'd6');
INSERT INTO device_group_members (tenant_id, group_id, device_id) VALUES ('create', 'g', 'd6');
SELECT job_id, count(*) FROM job_executions WHERE tenant_id = 'create' GROUP BY job_id ORDER BY job_id;
SELECT total_executions FROM create_job('create', 'reboot', target_group_id => 'g', job_id => 'group later');

-- An id of our own: 1 to 64 characters of [A-Za-z0-9_-], never the same twice.
SELECT job_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' AS uuid, job_id ~ '^[A-Za-z0-9_-]{1,64}$' AS fits
FROM create_job('create', 't', target_device_id => 'd1');
SELECT a.job_id <> b.job_id AS differ
FROM create_job('create', 't', target_device_id => 'd1') a, create_job('create', 't', target_device_id => 'd1') b;

-- Expiry: a moment, or a time to live from now on.
SELECT expires_at FROM create_job('create', 't', target_device_id => 'd1', job_id => 'never');
BEGIN;
SELECT expires_at = now() + interval '1 hour' AS right
FROM create_job('create', 't', target_device_id => 'd1', job_id => 'at', expires_at => now() + interval '1 hour');
SELECT expires_at = now() + interval '24 hours' AS right
FROM create_job('create', 't', target_device_id => 'd1', job_id => 'in', expires_in => '24 hours');
SELECT expires_at = now() + interval '1 month' AS right
FROM create_job('create', 't', target_device_id => 'd1', job_id => 'in a month', expires_in => '1 month');
COMMIT;
SELECT job_id, expires_at IS NOT NULL AS expires FROM jobs
WHERE tenant_id = 'create' AND job_id IN ('at', 'in', 'in a month', 'never') ORDER BY job_id;

-- The document is any JSON.
SELECT d.document, (create_job('create', 't', d.document::jsonb, target_device_id => 'd1')).document_params
FROM (VALUES ('{}'), ('[]'), ('[1, {"a": null}]'), ('"text"'), ('5'), ('true'), ('null'),
             ('{"ключ": "значение", "e": "😀"}')) AS d (document)
ORDER BY d.document COLLATE "C";

-- The same id for another tenant is another job.
SELECT tenant_id, job_id, total_executions FROM create_job('create-b', 't', target_all => true, job_id => 'all');
SELECT tenant_id, total_executions FROM describe_job('create', 'all');

-- Errors.  Nothing is left behind by any of them.
CREATE TEMP TABLE before AS
    SELECT (SELECT count(*) FROM jobs) AS jobs, (SELECT count(*) FROM job_executions) AS executions;
CREATE TEMP TABLE refused (label text, call text, expected text);
INSERT INTO refused VALUES
    ('no target', $$create_job('create', 't')$$, '22023'),
    ('no target, said so', $$create_job('create', 't', target_all => false)$$, '22023'),
    ('device and group', $$create_job('create', 't', target_device_id => 'd1', target_group_id => 'g')$$, '22023'),
    ('device and all', $$create_job('create', 't', target_device_id => 'd1', target_all => true)$$, '22023'),
    ('group and all', $$create_job('create', 't', target_group_id => 'g', target_all => true)$$, '22023'),
    ('all three', $$create_job('create', 't', target_device_id => 'd1', target_group_id => 'g', target_all => true)$$, '22023'),
    ('no such device', $$create_job('create', 't', target_device_id => 'd99')$$, 'IJ004'),
    ('another tenant''s device', $$create_job('create-b', 't', target_device_id => 'd5')$$, 'IJ004'),
    ('no such group', $$create_job('create', 't', target_group_id => 'h')$$, 'IJ004'),
    ('empty group', $$create_job('create', 't', target_group_id => 'nobody')$$, 'IJ004'),
    ('tenant without devices', $$create_job('create-empty', 't', target_all => true)$$, 'IJ004'),
    ('no such tenant, all', $$create_job('create-none', 't', target_all => true)$$, 'IJ004'),
    ('no such tenant, device', $$create_job('create-none', 't', target_device_id => 'd1')$$, 'IJ004'),
    ('no such tenant, group', $$create_job('create-none', 't', target_group_id => 'g')$$, 'IJ004'),
    ('id used', $$create_job('create', 't', target_all => true, job_id => 'all')$$, '23505'),
    ('id used by a finished job', $$create_job('create', 't', target_device_id => 'd1', job_id => 'one')$$, '23505'),
    ('both expiries', $$create_job('create', 't', target_all => true, expires_at => now() + interval '1 h', expires_in => '1 h')$$, '22023'),
    ('expiry now', $$create_job('create', 't', target_all => true, expires_at => now())$$, '22023'),
    ('expiry past', $$create_job('create', 't', target_all => true, expires_at => now() - interval '1 s')$$, '22023'),
    ('expiry infinity', $$create_job('create', 't', target_all => true, expires_at => 'infinity')$$, '22023'),
    ('expiry -infinity', $$create_job('create', 't', target_all => true, expires_at => '-infinity')$$, '22023'),
    ('expiry beyond 10 years', $$create_job('create', 't', target_all => true, expires_at => now() + interval '10 years 2 days')$$, '22023'),
    ('no time to live', $$create_job('create', 't', target_all => true, expires_in => '0')$$, '22023'),
    ('negative time to live', $$create_job('create', 't', target_all => true, expires_in => '-1 s')$$, '22023'),
    ('time to live beyond 10 years', $$create_job('create', 't', target_all => true, expires_in => '11 years')$$, '22023'),
    ('time to live that comes to nothing', $$create_job('create', 't', target_all => true, expires_in => '-12 mons 360 days 1 s')$$, '22023'),
    ('expiry that passes meanwhile', $$create_job('create', 't', target_all => true, expires_at => clock_timestamp())$$, '22023'),
    ('absurd time to live', $$create_job('create', 't', target_all => true, expires_in => '170000000 years')$$, '22023'),
    ('null tenant', $$create_job(NULL, 't', target_all => true)$$, '22004'),
    ('null type', $$create_job('create', NULL, target_all => true)$$, '22004'),
    ('null document', $$create_job('create', 't', NULL, target_all => true)$$, '22004'),
    ('empty job_id', $$create_job('create', 't', target_all => true, job_id => '')$$, '22023');
UPDATE job_executions SET status = 'SUCCEEDED' WHERE tenant_id = 'create' AND job_id = 'one';
UPDATE jobs SET status = 'COMPLETED' WHERE tenant_id = 'create' AND job_id = 'one';

SELECT label, expected, got
FROM (SELECT label, expected, ijtest.outcome('SELECT ' || call) AS got FROM refused) r
WHERE got IS DISTINCT FROM expected ORDER BY label;
SELECT count(*) AS refusals_tried FROM refused;
SELECT (SELECT count(*) FROM jobs) - b.jobs AS jobs_left, (SELECT count(*) FROM job_executions) - b.executions AS executions_left
FROM before b;

-- What a client reads.
\set VERBOSITY default
SELECT create_job('create', 't');
SELECT create_job('create', 't', target_device_id => 'd99');
SELECT create_job('create', 't', target_group_id => 'nobody');
SELECT create_job('create-none', 't', target_all => true);
SELECT create_job('create', 't', target_all => true, job_id => 'all');
SELECT create_job('create', NULL, target_all => true);
SELECT create_job('create', 't', target_all => true, expires_at => '2001-01-01 00:00:00+00');
SELECT create_job('create', 't', target_all => true, expires_in => '-1 s');

-- One call, one transaction: a rollback, whole or to a savepoint, leaves nothing.
BEGIN;
SELECT total_executions FROM create_job('create', 't', target_all => true, job_id => 'rolled back');
SAVEPOINT s;
SELECT total_executions FROM create_job('create', 't', target_all => true, job_id => 'to savepoint');
ROLLBACK TO s;
SELECT count(*) FROM job_executions WHERE tenant_id = 'create' AND job_id = 'to savepoint';
ROLLBACK;
SELECT count(*) FROM jobs WHERE tenant_id = 'create' AND job_id IN ('rolled back', 'to savepoint');
-- An error in the middle of the fan-out takes the job with it.
CREATE FUNCTION ijtest.stumble() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.device_id = 'd3' AND NEW.job_id = 'stumbles' THEN
        RAISE EXCEPTION 'stumbled' USING ERRCODE = 'P0001';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER stumble BEFORE INSERT ON job_executions FOR EACH ROW EXECUTE FUNCTION ijtest.stumble();
SELECT ijtest.outcome($$SELECT create_job('create', 't', target_all => true, job_id => 'stumbles')$$);
SELECT count(*) FROM jobs WHERE tenant_id = 'create' AND job_id = 'stumbles';
SELECT count(*) FROM job_executions WHERE tenant_id = 'create' AND job_id = 'stumbles';
-- A user's own trigger is obeyed, not skipped; so is a generated or extra column.
DROP TRIGGER stumble ON job_executions;
CREATE FUNCTION ijtest.skip_d3() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RETURN CASE WHEN NEW.device_id = 'd3' THEN NULL ELSE NEW END;
END $$;
CREATE TRIGGER skip BEFORE INSERT ON job_executions FOR EACH ROW EXECUTE FUNCTION ijtest.skip_d3();
SELECT total_executions, queued FROM create_job('create', 't', target_all => true, job_id => 'skips');
SELECT device_id FROM job_executions WHERE tenant_id = 'create' AND job_id = 'skips' ORDER BY 1;
DROP TRIGGER skip ON job_executions;
DROP FUNCTION ijtest.stumble, ijtest.skip_d3;
BEGIN;
ALTER TABLE job_executions ADD COLUMN note text DEFAULT 'noted', ADD COLUMN twice bigint GENERATED ALWAYS AS (execution_number * 2) STORED;
SELECT total_executions FROM create_job('create', 't', target_group_id => 'g', job_id => 'noted');
SELECT device_id, note, twice FROM job_executions WHERE tenant_id = 'create' AND job_id = 'noted' ORDER BY 1;
SELECT device_id, status FROM start_next_pending_job_execution('create', 'd6');
ROLLBACK;

-- A fleet that fills many pages.
SELECT ijtest.add_tenant('create-many', 20000);
SELECT total_executions, queued FROM create_job('create-many', 't', target_all => true, job_id => 'many');
SELECT count(*), count(DISTINCT device_id), min(execution_number), max(execution_number), min(status), max(status)
FROM job_executions WHERE tenant_id = 'create-many';
SELECT count(*) FROM (SELECT device_id FROM devices WHERE tenant_id = 'create-many'
                      EXCEPT SELECT device_id FROM job_executions WHERE tenant_id = 'create-many' AND job_id = 'many') missing;
-- The foreign key and the indexes are whole afterwards.
SELECT count(*) FROM (SELECT tenant_id, job_id FROM job_executions EXCEPT SELECT tenant_id, job_id FROM jobs) orphan;
BEGIN;
SET LOCAL enable_seqscan = off;
SELECT count(*) FROM job_executions WHERE tenant_id = 'create-many' AND device_id = 'd19999' AND status IN ('QUEUED', 'IN_PROGRESS');
COMMIT;


DELETE FROM tenants WHERE tenant_id LIKE 'create%';
