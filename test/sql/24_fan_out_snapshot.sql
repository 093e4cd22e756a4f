-- A fan-out is one look at the registry, whatever the registry is made of, and one
-- row of each that SQL would have let in.
SELECT ijtest.add_tenant('snap', 2500, 3);
SELECT FROM create_job('snap', 't', target_device_id => 'd1', job_id => 'k0');
-- A view that counts the executions of the very job, which is larger than a batch of the
-- fan-out and read as it goes, not sorted first: nobody counts what the call itself has added.
SET enable_sort = off;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET enable_hashagg = off;
CREATE VIEW ijtest.few AS SELECT d.tenant_id, d.device_id FROM devices d
    WHERE (SELECT count(*) FROM job_executions e WHERE e.tenant_id = d.tenant_id AND e.job_id = 'k1') < 5;
SELECT use_fleet('ijtest.few');
SELECT total_executions FROM create_job('snap', 't', target_all => true, job_id => 'k1');
SELECT count(*) FROM job_executions WHERE tenant_id = 'snap' AND job_id = 'k1';
-- what was added before the call counts
SELECT ijtest.outcome($$SELECT create_job('snap', 't', target_all => true, job_id => 'k2')$$);
DROP VIEW ijtest.few;
-- Every device that has nothing to do, as a view with a join, and as one that asks a function.
CREATE VIEW ijtest.idle AS SELECT d.tenant_id, d.device_id FROM devices d LEFT JOIN job_executions e USING (tenant_id, device_id)
    WHERE e.status IS NULL OR e.status NOT IN ('QUEUED', 'IN_PROGRESS');
SELECT use_fleet('ijtest.idle');
SELECT ijtest.outcome($$SELECT create_job('snap', 't', target_all => true, job_id => 'k3')$$) AS nobody_is_idle;
DELETE FROM jobs WHERE tenant_id = 'snap' AND job_id = 'k1';
SELECT total_executions FROM create_job('snap', 't', target_all => true, job_id => 'k3');
DROP VIEW ijtest.idle;
DELETE FROM jobs WHERE tenant_id = 'snap';
CREATE FUNCTION ijtest.load(tenant text) RETURNS bigint STABLE LANGUAGE sql AS $$SELECT count(*) FROM job_executions WHERE tenant_id = tenant$$;
CREATE VIEW ijtest.unloaded AS SELECT tenant_id, device_id FROM devices WHERE ijtest.load(tenant_id) = 0;
SELECT use_fleet('ijtest.unloaded');
SELECT total_executions FROM create_job('snap', 't', target_all => true, job_id => 'k4');
DROP VIEW ijtest.unloaded;
DROP FUNCTION ijtest.load;
RESET enable_sort;
RESET enable_seqscan;
RESET enable_bitmapscan;
RESET enable_hashagg;
SELECT use_fleet('devices', 'device_group_members');
DELETE FROM jobs WHERE tenant_id = 'snap';

-- A column that the extension does not know and that takes no null, by its type.
CREATE DOMAIN ijtest.given AS text NOT NULL;
CREATE DOMAIN ijtest.given_again AS ijtest.given;
CREATE DOMAIN ijtest.defaulted AS text DEFAULT 'by type' CHECK (value <> 'never');
CREATE DOMAIN ijtest.checked AS text CHECK (value IS NOT NULL);
CREATE FUNCTION ijtest.create_with(column_definition text) RETURNS TABLE (code text, executions bigint, value text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE 'ALTER TABLE job_executions ADD COLUMN ijtest_more ' || column_definition;
    code := ijtest.outcome('SELECT create_job(''snap'', ''t'', target_group_id => ''g'', job_id => ''more'')');
    EXECUTE 'SELECT count(*), min(ijtest_more) FROM job_executions WHERE tenant_id = ''snap''' INTO executions, value;
    RETURN NEXT;
    DELETE FROM jobs WHERE tenant_id = 'snap';
    ALTER TABLE job_executions DROP COLUMN ijtest_more;
END $$;
-- a column whose domain takes no null can be added to an empty table only
BEGIN;
DELETE FROM jobs;
SELECT * FROM ijtest.create_with('ijtest.given');
SELECT * FROM ijtest.create_with('ijtest.given_again');
SELECT * FROM ijtest.create_with('ijtest.checked');
SELECT * FROM ijtest.create_with('ijtest.given DEFAULT ''by column''');
SELECT * FROM ijtest.create_with('ijtest.defaulted');
SELECT * FROM ijtest.create_with('text NOT NULL');
SELECT * FROM ijtest.create_with('text COLLATE "C" DEFAULT current_setting(''ijtest.none'', true) NOT NULL');
ROLLBACK;

-- The default of a column that is given is nobody's affair.
BEGIN;
ALTER TABLE job_executions ALTER tenant_id SET DEFAULT current_setting('ijtest.none');
SELECT queued FROM create_job('snap', 't', target_group_id => 'g', job_id => 'given');
ROLLBACK;

DELETE FROM tenants WHERE tenant_id = 'snap';
DROP FUNCTION ijtest.create_with;
DROP DOMAIN ijtest.given_again, ijtest.given, ijtest.defaulted, ijtest.checked;
