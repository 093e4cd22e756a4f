-- CREATE EXTENSION on an empty database, and the helpers that every later file uses.
CREATE EXTENSION iot_jobs;

-- Everything that is code belongs to the extension, nothing that holds data does.
SELECT c.relname, c.relkind
FROM pg_depend d
JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
WHERE d.refclassid = 'pg_extension'::regclass
  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'iot_jobs')
  AND d.deptype = 'e' AND c.relkind <> 'c'
ORDER BY c.relname COLLATE "C";

SELECT c.relname, c.relkind, c.relrowsecurity AS row_security
FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S', 'm')
ORDER BY c.relname COLLATE "C";

-- Each of them shows, and takes, the rows of one tenant.
SELECT tablename, policyname, permissive, roles, cmd, qual, with_check
FROM pg_policies WHERE schemaname = 'public' ORDER BY tablename COLLATE "C", policyname COLLATE "C";

-- The function signatures are an interface.
SELECT p.oid::regprocedure AS function, pg_get_function_result(p.oid) AS result
FROM pg_proc p
JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
WHERE d.refclassid = 'pg_extension'::regclass
  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'iot_jobs')
ORDER BY p.proname COLLATE "C", pg_get_function_identity_arguments(p.oid) COLLATE "C";

-- Nobody's rights are widened: no function runs as its owner, and whatever is
-- not C has its search_path pinned.
SELECT p.oid::regprocedure AS careless
FROM pg_proc p
JOIN pg_language l ON l.oid = p.prolang
JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
WHERE d.refclassid = 'pg_extension'::regclass
  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'iot_jobs')
  AND (p.prosecdef
       OR (l.lanname <> 'c' AND NOT coalesce(array_to_string(p.proconfig, ','), '') LIKE '%search_path=%'));

-- PUBLIC may read, within its rights on the tables, and may not write.
SELECT p.provolatile AS volatility, p.proparallel AS parallel,
       has_function_privilege('public', p.oid, 'EXECUTE') AS public_may, p.proname
FROM pg_proc p
JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
WHERE d.refclassid = 'pg_extension'::regclass
  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'iot_jobs')
ORDER BY p.proname COLLATE "C";

-- A second time is an error, IF NOT EXISTS is none.
\set VERBOSITY sqlstate
CREATE EXTENSION iot_jobs;
CREATE EXTENSION IF NOT EXISTS iot_jobs;
ALTER EXTENSION iot_jobs SET SCHEMA pg_catalog;
\set VERBOSITY default

-- Helpers.
CREATE SCHEMA ijtest;
GRANT USAGE ON SCHEMA ijtest TO PUBLIC;

-- 'ok', or the SQLSTATE with which the statement failed
CREATE FUNCTION ijtest.outcome(statement text) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;

-- what the client is told when the statement fails
CREATE FUNCTION ijtest.complaint(statement text, OUT code text, OUT message text, OUT detail text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    code := 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
        detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
END
$$;

-- the current state that IJ002 and IJ003 carry, as a value; the SQLSTATE before it
CREATE FUNCTION ijtest.state_told(statement text) RETURNS text
LANGUAGE sql AS $$
    SELECT c.code || coalesce(' ' || (nullif(c.detail, '')::jsonb)::text, '') FROM ijtest.complaint(statement) c
$$;

-- one line an execution, without what changes from run to run
CREATE VIEW ijtest.executions AS
    SELECT tenant_id, job_id, device_id, status, execution_number AS number, status_details,
           started_at IS NOT NULL AS started
    FROM job_executions;
GRANT SELECT ON ijtest.executions TO PUBLIC;

-- a tenant with devices d1, d2 ... and a group g with the first of them
CREATE FUNCTION ijtest.add_tenant(tenant text, device_count int, group_size int DEFAULT 0) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO tenants (tenant_id) VALUES (tenant);
    INSERT INTO devices (tenant_id, device_id)
        SELECT tenant, 'd' || i FROM generate_series(1, device_count) i;
    INSERT INTO device_groups (tenant_id, group_id) VALUES (tenant, 'g'), (tenant, 'nobody');
    INSERT INTO device_group_members (tenant_id, group_id, device_id)
        SELECT tenant, 'g', 'd' || i FROM generate_series(1, group_size) i;
$$;
-- The whole suite can be run a second time with PGOPTIONS='-c ijtest.by_sql=on': triggers of somebody else's on
-- jobs and job_executions bar every short cut, and the results must be the same.
CREATE FUNCTION ijtest.by_sql() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
DO $$
BEGIN
    IF current_setting('ijtest.by_sql', true) = 'on' THEN
        CREATE TRIGGER ijtest_by_sql AFTER INSERT OR UPDATE OR DELETE ON job_executions FOR EACH STATEMENT EXECUTE FUNCTION ijtest.by_sql();
        CREATE TRIGGER ijtest_by_sql AFTER UPDATE ON jobs FOR EACH STATEMENT EXECUTE FUNCTION ijtest.by_sql();
    END IF;
END $$;
SELECT ijtest.add_tenant('install', 2, 1);
SELECT status, total_executions FROM create_job('install', 'reboot', target_all => true, job_id => 'first');
