-- iot_jobs 1.0: the code, and migration 077 as far as the database lacks it.
--
-- The tables are created here and then released from the extension: they are the
-- database's own, DROP EXTENSION leaves them alone, and CREATE EXTENSION adopts
-- them again.  See doc/architecture.md.

\echo Use "CREATE EXTENSION iot_jobs" to load this file. \quit

-- What is there is compared as the server writes it: until the end of this script.
SET LOCAL quote_all_identifiers = off;

-- ----------------------------------------------------------------
-- Types
-- ----------------------------------------------------------------

CREATE TYPE job_description AS (
    job_id            text,
    tenant_id         text,
    document_type     text,
    document_params   jsonb,
    target_device_id  text,
    target_group_id   text,
    target_all        boolean,
    status            text,
    expires_at        timestamptz,
    created_by        text,
    created_at        timestamptz,
    updated_at        timestamptz,
    total_executions  bigint,
    queued            bigint,
    in_progress       bigint,
    succeeded         bigint,
    failed            bigint,
    timed_out         bigint,
    rejected          bigint
);
COMMENT ON TYPE job_description IS 'a job and how many of its executions are in which status';

CREATE TYPE listed_job AS (
    job_id            text,
    tenant_id         text,
    document_type     text,
    document_params   jsonb,
    target_device_id  text,
    target_group_id   text,
    target_all        boolean,
    status            text,
    expires_at        timestamptz,
    created_by        text,
    created_at        timestamptz,
    updated_at        timestamptz,
    total_executions  bigint,
    queued            bigint,
    in_progress       bigint,
    succeeded         bigint,
    failed            bigint,
    timed_out         bigint,
    rejected          bigint,
    page_token        text
);
COMMENT ON TYPE listed_job IS 'a job_description with the token that continues the list after it';

CREATE TYPE job_execution_summary AS (
    job_id            text,
    tenant_id         text,
    device_id         text,
    status            text,
    status_details    jsonb,
    execution_number  bigint,
    queued_at         timestamptz,
    started_at        timestamptz,
    last_updated_at   timestamptz
);
COMMENT ON TYPE job_execution_summary IS 'an execution; execution_number is its optimistic lock (AWS: versionNumber)';

CREATE TYPE listed_job_execution AS (
    job_id            text,
    tenant_id         text,
    device_id         text,
    status            text,
    status_details    jsonb,
    execution_number  bigint,
    queued_at         timestamptz,
    started_at        timestamptz,
    last_updated_at   timestamptz,
    page_token        text
);
COMMENT ON TYPE listed_job_execution IS 'a job_execution_summary with the token that continues the list after it';

CREATE TYPE job_execution AS (
    job_id            text,
    tenant_id         text,
    device_id         text,
    status            text,
    status_details    jsonb,
    execution_number  bigint,
    queued_at         timestamptz,
    started_at        timestamptz,
    last_updated_at   timestamptz,
    document_type     text,
    document_params   jsonb,
    expires_at        timestamptz
);
COMMENT ON TYPE job_execution IS 'an execution with the document of its job, as a device gets it';

CREATE TYPE job_execution_report_outcome AS (
    report_number     integer,
    job_id            text,
    device_id         text,
    accepted          boolean,
    sqlstate          text,
    message           text,
    status            text,
    execution_number  bigint
);
COMMENT ON TYPE job_execution_report_outcome IS 'what became of one report of a batch';

CREATE TYPE job_sweep_result AS (
    expired           bigint,
    completed         bigint,
    deleted           bigint,
    unfinished        boolean
);
COMMENT ON TYPE job_sweep_result IS 'what a sweep changed, and whether it stopped at its row limit';

CREATE TYPE broken_invariant AS (
    invariant         text,
    tenant_id         text,
    job_id            text,
    device_id         text,
    detail            text,
    remedy            text
);
COMMENT ON TYPE broken_invariant IS 'something that is not as it must be, and the statement that mends it';

-- ----------------------------------------------------------------
-- Operator
-- ----------------------------------------------------------------

CREATE FUNCTION create_job(
    tenant_id text,
    document_type text,
    document_params jsonb DEFAULT '{}',
    target_device_id text DEFAULT NULL,
    target_group_id text DEFAULT NULL,
    target_all boolean DEFAULT false,
    job_id text DEFAULT NULL,
    expires_at timestamptz DEFAULT NULL,
    created_by text DEFAULT NULL,
    expires_in interval DEFAULT NULL)
RETURNS job_description
AS 'MODULE_PATHNAME', 'iot_jobs_create_job' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10000;
COMMENT ON FUNCTION create_job IS 'create a job and one QUEUED execution for each device of its target';

CREATE FUNCTION describe_job(tenant_id text, job_id text)
RETURNS job_description
AS 'MODULE_PATHNAME', 'iot_jobs_describe_job' LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000;
COMMENT ON FUNCTION describe_job IS 'a job with its counts';

CREATE FUNCTION list_jobs(
    tenant_id text,
    status text DEFAULT NULL,
    document_type text DEFAULT NULL,
    target_device_id text DEFAULT NULL,
    target_group_id text DEFAULT NULL,
    page_size integer DEFAULT 50,
    page_token text DEFAULT NULL)
RETURNS SETOF listed_job
AS 'MODULE_PATHNAME', 'iot_jobs_list_jobs' LANGUAGE C STABLE PARALLEL RESTRICTED COST 10000 ROWS 50;
COMMENT ON FUNCTION list_jobs IS 'a page of the jobs of a tenant, newest first, with their counts';

CREATE FUNCTION update_job(tenant_id text, job_id text, expires_at timestamptz)
RETURNS job_description
AS 'MODULE_PATHNAME', 'iot_jobs_update_job' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION update_job IS 'move the expiry of a job in progress; NULL: never expires';

CREATE FUNCTION cancel_job(
    tenant_id text,
    job_id text,
    reason text DEFAULT NULL,
    force boolean DEFAULT false)
RETURNS job_description
AS 'MODULE_PATHNAME', 'iot_jobs_cancel_job' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10000;
COMMENT ON FUNCTION cancel_job IS 'cancel a job: its QUEUED executions are REJECTED, with force those IN_PROGRESS too';

CREATE FUNCTION delete_job(
    tenant_id text,
    job_id text,
    force boolean DEFAULT false)
RETURNS job_description
AS 'MODULE_PATHNAME', 'iot_jobs_delete_job' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION delete_job IS 'have a job and its executions removed by the worker; with force also one in progress';

CREATE FUNCTION purge_jobs(tenant_id text, older_than interval)
RETURNS bigint
AS 'MODULE_PATHNAME', 'iot_jobs_purge_jobs' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10000;
COMMENT ON FUNCTION purge_jobs IS 'delete_job for every finished job of a tenant not updated for that long';

CREATE FUNCTION purge_all_jobs(older_than interval)
RETURNS bigint
AS 'MODULE_PATHNAME', 'iot_jobs_purge_all_jobs' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10000;
COMMENT ON FUNCTION purge_all_jobs IS 'purge_jobs for every tenant whose jobs the caller may see';

CREATE FUNCTION list_job_executions_for_job(
    tenant_id text,
    job_id text,
    status text DEFAULT NULL,
    page_size integer DEFAULT 50,
    page_token text DEFAULT NULL)
RETURNS SETOF listed_job_execution
AS 'MODULE_PATHNAME', 'iot_jobs_list_job_executions_for_job' LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 50;
COMMENT ON FUNCTION list_job_executions_for_job IS 'a page of the executions of a job, by device';

CREATE FUNCTION list_job_executions_for_device(
    tenant_id text,
    device_id text,
    status text DEFAULT NULL,
    page_size integer DEFAULT 50,
    page_token text DEFAULT NULL)
RETURNS SETOF listed_job_execution
AS 'MODULE_PATHNAME', 'iot_jobs_list_job_executions_for_device' LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 50;
COMMENT ON FUNCTION list_job_executions_for_device IS 'a page of the executions of a device, newest job first';

CREATE FUNCTION cancel_job_execution(
    tenant_id text,
    job_id text,
    device_id text,
    reason text DEFAULT NULL,
    force boolean DEFAULT false,
    expected_execution_number bigint DEFAULT NULL)
RETURNS job_execution_summary
AS 'MODULE_PATHNAME', 'iot_jobs_cancel_job_execution' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION cancel_job_execution IS 'cancel one execution: QUEUED becomes REJECTED, with force IN_PROGRESS too';

CREATE FUNCTION delete_job_execution(
    tenant_id text,
    job_id text,
    device_id text,
    force boolean DEFAULT false)
RETURNS job_execution_summary
AS 'MODULE_PATHNAME', 'iot_jobs_delete_job_execution' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION delete_job_execution IS 'remove one execution, with force also one IN_PROGRESS; returns it as it was';

-- ----------------------------------------------------------------
-- Device
-- ----------------------------------------------------------------

CREATE FUNCTION get_pending_job_executions(
    tenant_id text,
    device_id text,
    max_executions integer DEFAULT 10)
RETURNS SETOF job_execution
AS 'MODULE_PATHNAME', 'iot_jobs_get_pending_job_executions' LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 10;
COMMENT ON FUNCTION get_pending_job_executions IS 'what a device has to do: IN_PROGRESS first, then QUEUED, oldest first';

CREATE FUNCTION start_next_pending_job_execution(
    tenant_id text,
    device_id text,
    status_details jsonb DEFAULT NULL)
RETURNS SETOF job_execution
AS 'MODULE_PATHNAME', 'iot_jobs_start_next_pending_job_execution' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000 ROWS 1;
COMMENT ON FUNCTION start_next_pending_job_execution IS 'resume the execution a device has IN_PROGRESS, else claim its oldest QUEUED one; no row: nothing to do';

CREATE FUNCTION describe_job_execution(tenant_id text, job_id text, device_id text)
RETURNS job_execution
AS 'MODULE_PATHNAME', 'iot_jobs_describe_job_execution' LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000;
COMMENT ON FUNCTION describe_job_execution IS 'an execution with the document of its job';

CREATE FUNCTION update_job_execution(
    tenant_id text,
    job_id text,
    device_id text,
    status text,
    status_details jsonb DEFAULT NULL,
    expected_execution_number bigint DEFAULT NULL)
RETURNS job_execution_summary
AS 'MODULE_PATHNAME', 'iot_jobs_update_job_execution' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION update_job_execution IS 'the report of a device: IN_PROGRESS, SUCCEEDED, FAILED or REJECTED';

-- ----------------------------------------------------------------
-- Gateway
-- ----------------------------------------------------------------

CREATE FUNCTION claim_job_executions(
    tenant_id text,
    max_executions integer DEFAULT 1,
    device_ids text[] DEFAULT NULL)
RETURNS SETOF job_execution
AS 'MODULE_PATHNAME', 'iot_jobs_claim_job_executions' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10000 ROWS 100;
COMMENT ON FUNCTION claim_job_executions IS 'claim QUEUED executions, oldest first for each device, for these devices or for any of the tenant';

CREATE FUNCTION update_job_executions(tenant_id text, reports jsonb)
RETURNS SETOF job_execution_report_outcome
AS 'MODULE_PATHNAME', 'iot_jobs_update_job_executions' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10000 ROWS 100;
COMMENT ON FUNCTION update_job_executions IS 'a batch of reports, each with its own outcome';

-- ----------------------------------------------------------------
-- Service
-- ----------------------------------------------------------------

CREATE FUNCTION run_job_sweep(max_rows bigint DEFAULT 10000)
RETURNS job_sweep_result
AS 'MODULE_PATHNAME', 'iot_jobs_run_job_sweep' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10000;
COMMENT ON FUNCTION run_job_sweep IS 'one pass of what the worker does, over the jobs the caller may see';

CREATE FUNCTION verify_jobs(
    tenant_id text DEFAULT NULL,
    max_rows integer DEFAULT 100,
    grace interval DEFAULT NULL)
RETURNS SETOF broken_invariant
AS 'MODULE_PATHNAME', 'iot_jobs_verify_jobs' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000000 ROWS 10;
COMMENT ON FUNCTION verify_jobs IS 'what is not as it must be, and how to mend it; no row: all is well';

CREATE FUNCTION wake_job_worker()
RETURNS void
AS 'MODULE_PATHNAME', 'iot_jobs_wake_job_worker' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION wake_job_worker IS 'at commit, have the worker look at every unfinished job';

CREATE FUNCTION iot_jobs_worker_state(
    OUT database name,
    OUT pid integer,
    OUT state text,
    OUT started_by text,
    OUT last_pass timestamptz,
    OUT last_error text,
    OUT last_error_at timestamptz,
    OUT passes bigint,
    OUT expired bigint,
    OUT completed bigint,
    OUT deleted bigint,
    OUT next_deadline timestamptz,
    OUT oldest_overdue timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'iot_jobs_worker_state' LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION iot_jobs_worker_state IS 'the data behind the view iot_jobs_worker';

CREATE VIEW iot_jobs_worker AS
    SELECT * FROM @extschema@.iot_jobs_worker_state();
COMMENT ON VIEW iot_jobs_worker IS 'the worker of each database: what it does, what it did, how far it is behind';
GRANT SELECT ON iot_jobs_worker TO PUBLIC;

CREATE FUNCTION iot_jobs_counter_state(
    OUT jobs bigint,
    OUT answered bigint,
    OUT counted bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'iot_jobs_counter_state' LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 1;
COMMENT ON FUNCTION iot_jobs_counter_state IS 'the data behind the view iot_jobs_counters';

CREATE VIEW iot_jobs_counters AS
    SELECT * FROM @extschema@.iot_jobs_counter_state();
COMMENT ON VIEW iot_jobs_counters IS 'the jobs of this server whose executions need not be counted, and how often that was of use; no row: there is no memory for it, or no right to read all statistics';
GRANT SELECT ON iot_jobs_counters TO PUBLIC;

CREATE FUNCTION job_state_steps(
    OUT machine text,
    OUT from_status text,
    OUT to_status text,
    OUT taken_by text[])
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'iot_jobs_job_state_steps' LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 15;
COMMENT ON FUNCTION job_state_steps IS 'the two state machines, one row a legal step';

CREATE FUNCTION use_fleet(devices regclass, group_members regclass DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'iot_jobs_use_fleet' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION use_fleet IS 'which relations answer "all devices of a tenant" and "members of a group"';

-- Row security by app.tenant_id trusts whoever may set it, and every role may.  This
-- adds, beside the policies of migration 077, a restrictive one that asks a table which
-- tenants the login of the session is for.  Table and policies belong to the database,
-- use nothing of the extension, and so outlive it.  src/policy.c knows their text.
CREATE FUNCTION use_hardened_tenants(enabled boolean)
RETURNS SETOF regclass
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $hardened$
DECLARE
    -- the schema can be renamed
    home     constant oid := (SELECT e.extnamespace FROM pg_extension e WHERE e.extname = 'iot_jobs');
    here     constant name := (SELECT n.nspname FROM pg_namespace n WHERE n.oid = home);
    map      constant text := format('%I.iot_jobs_tenant_roles', here);
    registry oid[];
    rel      record;
BEGIN
    IF enabled IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = 'argument "enabled" must not be null';
    END IF;

    IF enabled AND to_regclass(map) IS NULL THEN
        EXECUTE format(
            'CREATE TABLE %s ('
            'role_name NAME NOT NULL, '
            'tenant_id TEXT REFERENCES %I.tenants(tenant_id) ON DELETE CASCADE, '
            'UNIQUE NULLS NOT DISTINCT (role_name, tenant_id))', map, here);
        EXECUTE format('COMMENT ON TABLE %s IS ''which tenants a login is for; null: any''', map);
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', map);
        EXECUTE format('CREATE POLICY iot_jobs_own_login ON %s USING (role_name = SESSION_USER)', map);
        EXECUTE format('GRANT SELECT ON %s TO PUBLIC', map);
        EXECUTE format('ALTER TABLE %s OWNER TO %I', map, (
            SELECT pg_get_userbyid(c.relowner) FROM pg_class c
            WHERE c.relnamespace = home AND c.relname = 'jobs'));
    ELSIF enabled AND NOT EXISTS (
        SELECT FROM pg_class m JOIN pg_class j ON j.relnamespace = home AND j.relname = 'jobs'
        WHERE m.oid = to_regclass(map) AND m.relkind = 'r' AND m.relrowsecurity
          AND (m.relowner = j.relowner OR (SELECT r.rolsuper FROM pg_roles r WHERE r.oid = m.relowner)))
    THEN
        -- somebody may have made it before us, and given himself every tenant
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('relation %s is there and cannot be trusted', map),
            DETAIL = 'It must be an ordinary table with row security that belongs to the owner of jobs, or to a superuser.',
            HINT = 'See who made it and what is in it; then drop it, or ALTER TABLE ... OWNER TO the owner of jobs and ENABLE ROW LEVEL SECURITY.';
    END IF;

    -- The tables of tenants, the host's registry among them; jobs before its executions,
    -- as everybody locks them.
    EXECUTE format('SELECT ARRAY[devices, group_members] FROM %I.iot_jobs_fleet', here) INTO registry;
    FOR rel IN
        SELECT c.oid::regclass AS name, c.relrowsecurity AS secured, p.polname IS NOT NULL AS hardened
          FROM pg_class c
          LEFT JOIN pg_policy p ON p.polrelid = c.oid AND p.polname = 'iot_jobs_login'
          LEFT JOIN unnest('{jobs,job_executions,tenants,devices,device_groups,device_group_members}'::text[]) WITH ORDINALITY n(name, rank)
            ON c.relnamespace = home AND c.relname::text = n.name
         WHERE (n.rank IS NOT NULL OR c.oid = ANY (registry)
                -- a registry of before; not what somebody else made and called so
                OR p.polname IS NOT NULL AND c.relpersistence <> 't' AND pg_has_role(c.relowner, 'USAGE'))
           AND EXISTS (SELECT FROM pg_attribute a
                       WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped)
         ORDER BY n.rank, c.relname
    LOOP
        IF enabled AND NOT rel.secured THEN
            RAISE WARNING USING
                MESSAGE = format('%s has no row security and stays open to every tenant', rel.name),
                HINT = 'If it is a table, enable row security on it, with a policy, and call use_hardened_tenants(true) again.';
            CONTINUE;
        END IF;
        IF rel.hardened THEN
            EXECUTE format('DROP POLICY iot_jobs_login ON %s', rel.name);
        END IF;
        CONTINUE WHEN NOT enabled;
        EXECUTE format(
            'CREATE POLICY iot_jobs_login ON %s AS RESTRICTIVE USING (tenant_id = ANY (ARRAY('
            'SELECT COALESCE(r.tenant_id, current_setting(''app.tenant_id'', true)) '
            'FROM %s r WHERE r.role_name = SESSION_USER)))', rel.name, map);
        RETURN NEXT rel.name;
    END LOOP;
END
$hardened$;
COMMENT ON FUNCTION use_hardened_tenants IS 'whether a login gets only the tenants that table iot_jobs_tenant_roles gives it, whatever it sets';

-- ----------------------------------------------------------------
-- Index profiles
-- ----------------------------------------------------------------

-- The definitions of the indexes on job_executions beside the primary key; the functions
-- below read them from here, and verify_jobs() compares with the migration's.  The names in a body that is parsed now are
-- looked up in the schema of the extension, too, where others may create a function that
-- suits the arguments better; so each says that it is the server's own.
CREATE FUNCTION iot_jobs_indexes(
    OUT profile text,
    OUT index_name text,
    OUT definition text,
    OUT state text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 3 SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
BEGIN ATOMIC
    SELECT w.profile, w.index_name, w.definition,
           CASE
             WHEN c.oid IS NULL THEN 'missing'
             WHEN i.indexrelid IS NULL
               OR pg_catalog.replace(pg_catalog.pg_get_indexdef(c.oid), ' ON ONLY ', ' ON ') <>
                  pg_catalog.format('CREATE INDEX %I ON %I.job_executions %s', w.index_name, n.nspname, w.definition) THEN 'other'
             WHEN i.indisvalid AND i.indisready AND i.indislive THEN 'valid'
             ELSE 'invalid'
           END
      FROM (VALUES
            ('contract', 'idx_job_executions_device_queued', 'USING btree (tenant_id, device_id, status) WHERE (status = ANY (ARRAY[''QUEUED''::text, ''IN_PROGRESS''::text]))'),
            ('contract', 'idx_job_executions_job_id', 'USING btree (tenant_id, job_id)'),
            ('lean', 'idx_job_executions_device_order', 'USING btree (tenant_id, device_id, queued_at)')
           ) AS w(profile, index_name, definition)
      JOIN pg_extension x ON x.extname = 'iot_jobs'
      JOIN pg_namespace n ON n.oid = x.extnamespace
      LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.index_name
      LEFT JOIN pg_index i ON i.indexrelid = c.oid
     ORDER BY w.index_name COLLATE "C";
END;
COMMENT ON FUNCTION iot_jobs_indexes IS 'the data behind job_index_profile and job_index_statements';

CREATE FUNCTION job_index_profile()
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT CASE
             WHEN pg_catalog.bool_and(CASE i.profile WHEN 'contract' THEN i.state = 'valid' ELSE i.state IN ('missing', 'other') END) THEN 'contract'
             WHEN pg_catalog.bool_and(CASE i.profile WHEN 'lean' THEN i.state = 'valid' ELSE i.state IN ('missing', 'other') END) THEN 'lean'
             ELSE 'mixed'
           END
      FROM iot_jobs_indexes() i;
END;
COMMENT ON FUNCTION job_index_profile IS 'which indexes job_executions has: contract, lean, or mixed';

CREATE FUNCTION job_index_statements(profile text, online boolean DEFAULT true)
RETURNS SETOF text
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 4 SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    -- Room for two more versions of each row of a page, those of a claim and of a
    -- report, which a batch makes before anybody can clean up between them.  They are
    -- larger: a time, a longer word, {"message": "done"}.  Of the updates of 5,000 such
    -- rows 60 of 100 found room at 42, 87 at 33, all at 30.
    room        constant text := 'fillfactor=30';
    here        text;
    executions  pg_class;
    build       text := CASE WHEN online THEN 'CREATE INDEX CONCURRENTLY' ELSE 'CREATE INDEX' END;
    remove      text := CASE WHEN online THEN 'DROP INDEX CONCURRENTLY' ELSE 'DROP INDEX' END;
    idx         record;
    steps       text[] := '{}';
    drops       text[] := '{}';
BEGIN
    IF profile IS NULL OR online IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = format('argument "%s" must not be null', CASE WHEN profile IS NULL THEN 'profile' ELSE 'online' END);
    END IF;
    IF profile <> ALL ('{contract,lean}') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('unknown index profile "%s"', profile),
            HINT = 'The profiles are contract and lean.';
    END IF;
    SELECT quote_ident(n.nspname) INTO here
      FROM pg_extension x JOIN pg_namespace n ON n.oid = x.extnamespace
     WHERE x.extname = 'iot_jobs';
    SELECT * INTO executions FROM pg_class
     WHERE oid = to_regclass(here || '.job_executions');
    IF executions.relkind IS DISTINCT FROM 'r' THEN
        RAISE EXCEPTION USING ERRCODE = 'wrong_object_type',
            MESSAGE = format('"%s.job_executions" is not an ordinary table', here),
            DETAIL = 'Index profiles are for a table that is neither partitioned nor missing.';
    END IF;

    FOR idx IN EXECUTE format('SELECT * FROM %s.iot_jobs_indexes()', here) LOOP
        IF idx.profile <> job_index_statements.profile THEN
            CONTINUE WHEN idx.state = ANY ('{missing,other}');
            drops := drops || format('%s %s.%I', remove, here, idx.index_name);
        ELSIF idx.state = 'other' THEN
            RAISE EXCEPTION USING ERRCODE = 'duplicate_table',
                MESSAGE = format('relation "%s" exists and is not the index of profile "%s"', idx.index_name, profile),
                DETAIL = format('That is on %s.job_executions %s.', here, idx.definition),
                HINT = 'Drop or rename the relation.';
        ELSIF idx.state <> 'valid' THEN
            -- what a build left behind that did not come to its end
            IF idx.state = 'invalid' THEN
                steps := steps || format('%s %s.%I', remove, here, idx.index_name);
            END IF;
            steps := steps || format('%s %I ON %s.job_executions %s', build, idx.index_name, here, idx.definition);
        END IF;
    END LOOP;

    -- a fillfactor that somebody else has chosen is left alone
    IF profile = 'lean' AND NOT EXISTS (
        SELECT FROM unnest(executions.reloptions) o WHERE o LIKE 'fillfactor=%')
    THEN
        steps := steps || format('ALTER TABLE %s.job_executions SET (%s)', here, room);
    ELSIF profile = 'contract' AND room = ANY (executions.reloptions) THEN
        steps := steps || format('ALTER TABLE %s.job_executions RESET (fillfactor)', here);
    END IF;

    RETURN QUERY SELECT unnest(steps || drops);
    IF online THEN
        RETURN NEXT format('SELECT %s.use_job_indexes(%L)', here, profile);
    END IF;
END
$function$;
COMMENT ON FUNCTION job_index_statements IS 'what there is to do to change to that profile, for \gexec: each statement in a transaction of its own';

CREATE FUNCTION use_job_indexes(profile text)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    here        text;
    todo        text;
    step        text;
BEGIN
    SELECT quote_ident(n.nspname) INTO here
      FROM pg_extension x JOIN pg_namespace n ON n.oid = x.extnamespace
     WHERE x.extname = 'iot_jobs';
    todo := format('SELECT s FROM %s.job_index_statements($1, false) s', here);
    IF current_setting('transaction_read_only')::boolean THEN
        RAISE EXCEPTION USING ERRCODE = 'read_only_sql_transaction',
            MESSAGE = 'cannot execute use_job_indexes() in a read-only transaction';
    END IF;
    IF NOT pg_has_role((SELECT relowner FROM pg_class WHERE oid = to_regclass(here || '.job_executions')), 'USAGE') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = 'must be owner of table job_executions';
    END IF;

    -- One at a time, and nobody changes the indexes while we look; others work on.
    IF to_regclass(here || '.job_executions') IS NOT NULL THEN
        EXECUTE format('LOCK TABLE %s.job_executions IN SHARE UPDATE EXCLUSIVE MODE', here);
    END IF;
    EXECUTE todo INTO step USING profile;
    IF step IS NULL THEN
        RETURN;
    END IF;

    -- The strongest lock that any step takes comes before all of them: after a build it
    -- would wait for a session that read the table and waits for the build to write.
    EXECUTE format('LOCK TABLE %s.job_executions IN ACCESS EXCLUSIVE MODE', here);
    FOR step IN EXECUTE todo USING profile LOOP
        EXECUTE step;
    END LOOP;
END
$function$;
COMMENT ON FUNCTION use_job_indexes IS 'give job_executions the indexes of profile contract (migration 077) or lean; builds what is missing';

-- ----------------------------------------------------------------
-- pg_cron
-- ----------------------------------------------------------------

CREATE FUNCTION schedule_job(
    name text,
    schedule text,
    tenant_id text,
    document_type text,
    document_params jsonb DEFAULT '{}',
    target_device_id text DEFAULT NULL,
    target_group_id text DEFAULT NULL,
    target_all boolean DEFAULT false,
    expires_in interval DEFAULT NULL,
    created_by text DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'iot_jobs_schedule_job' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION schedule_job IS 'create such a job again and again, on a cron schedule';

CREATE FUNCTION unschedule_job(name text)
RETURNS boolean
AS 'MODULE_PATHNAME', 'iot_jobs_unschedule_job' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION unschedule_job IS 'end a schedule_job; true';

CREATE FUNCTION schedule_job_retention(keep interval, schedule text DEFAULT '17 3 * * *', tenant_id text DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'iot_jobs_schedule_job_retention' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION schedule_job_retention IS 'purge_jobs on a cron schedule; one schedule for all tenants and one for each tenant named';

CREATE FUNCTION unschedule_job_retention(tenant_id text DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'iot_jobs_unschedule_job_retention' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION unschedule_job_retention IS 'end a schedule_job_retention; true';

CREATE FUNCTION schedule_job_sweep(schedule text DEFAULT '* * * * *')
RETURNS bigint
AS 'MODULE_PATHNAME', 'iot_jobs_schedule_job_sweep' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION schedule_job_sweep IS 'run_job_sweep on a cron schedule, for a server without a worker';

CREATE FUNCTION unschedule_job_sweep()
RETURNS boolean
AS 'MODULE_PATHNAME', 'iot_jobs_unschedule_job_sweep' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION unschedule_job_sweep IS 'end a schedule_job_sweep; true';

-- ----------------------------------------------------------------
-- Guards
-- ----------------------------------------------------------------

CREATE FUNCTION iot_jobs_guard_job() RETURNS trigger
AS 'MODULE_PATHNAME', 'iot_jobs_guard_job' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION iot_jobs_guard_job IS 'keeps every INSERT and UPDATE of jobs within the state machine';

CREATE FUNCTION iot_jobs_guard_execution() RETURNS trigger
AS 'MODULE_PATHNAME', 'iot_jobs_guard_execution' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION iot_jobs_guard_execution IS 'keeps every INSERT and UPDATE of job_executions within the state machine';

CREATE FUNCTION iot_jobs_cascade_cancel() RETURNS trigger
AS 'MODULE_PATHNAME', 'iot_jobs_cascade_cancel' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION iot_jobs_cascade_cancel IS 'rejects the QUEUED executions of a job that became CANCELED';

-- What writes is for roles that were given it; what reads obeys the caller's rights on the tables.
REVOKE EXECUTE ON FUNCTION
    create_job, update_job, cancel_job, delete_job, purge_jobs, purge_all_jobs,
    cancel_job_execution, delete_job_execution,
    start_next_pending_job_execution, update_job_execution,
    claim_job_executions, update_job_executions,
    run_job_sweep, wake_job_worker, use_fleet, use_hardened_tenants, use_job_indexes,
    schedule_job, unschedule_job, schedule_job_retention, unschedule_job_retention,
    schedule_job_sweep, unschedule_job_sweep,
    iot_jobs_guard_job, iot_jobs_guard_execution, iot_jobs_cascade_cancel
FROM PUBLIC;

-- ----------------------------------------------------------------
-- Tables: migration 077, the registry of devices, and the choice of the registry
-- ----------------------------------------------------------------

-- From here on nothing but the system catalog is looked up by a bare name.
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

-- The statements of migration 077 stand here as they stand there, so that the two
-- can be laid side by side.  CREATE ... IF NOT EXISTS would refuse, in a script of
-- an extension, a table that is not the extension's; so what is there already is
-- passed over, and compared with the migration afterwards.
DO $install$
DECLARE
    mode        constant text := lower(COALESCE(current_setting('iot_jobs.create_tables', true), 'auto'));
    here        constant text := '@extschema@'::regnamespace;   -- quoted where that is needed
    had         text[];
    rel         text;
    want        record;
    difference  text;
    lean        boolean;
BEGIN
    IF getdatabaseencoding() <> 'UTF8' THEN
        RAISE EXCEPTION USING ERRCODE = 'feature_not_supported',
            MESSAGE = 'iot_jobs needs a database with encoding UTF8',
            DETAIL = format('This one has %s.', getdatabaseencoding());
    END IF;

    -- A restore brings the tables itself.  It is known by three settings that every
    -- pg_dump and pg_restore sets before anything else.
    IF mode = 'off'
        OR mode = 'auto' AND (
            SELECT count(*) = 3 FROM pg_settings
            WHERE name = ANY ('{xmloption,lock_timeout,idle_in_transaction_session_timeout}')
            AND source = 'session')
    THEN
        RETURN;
    END IF;

    -- A worker node of a distributed engine gets its tables from the coordinator.
    IF to_regclass('pg_catalog.pg_dist_local_group') IS NOT NULL THEN
        EXECUTE 'SELECT groupid FROM pg_catalog.pg_dist_local_group' INTO rel;
        IF rel <> '0' THEN
            RETURN;
        END IF;
    END IF;

    -- what is there before we begin, of whatever kind
    had := ARRAY(SELECT relname::text FROM pg_class
                 WHERE relnamespace = '@extschema@'::regnamespace);
    FOR want IN
        SELECT relname, relkind FROM pg_class
        WHERE relnamespace = '@extschema@'::regnamespace
          AND relname = ANY ('{tenants,jobs,job_executions,iot_jobs_fleet}')
          AND relkind <> ALL ('{r,p}')
    LOOP
        RAISE EXCEPTION USING ERRCODE = 'wrong_object_type',
            MESSAGE = format('relation "%s" is not a table', want.relname),
            HINT = 'iot_jobs needs that name for a table of migration 077; create the extension in another schema.';
    END LOOP;

    -- The registry, where the database has none.
    IF 'tenants' <> ALL (had) THEN
        CREATE TABLE @extschema@.tenants (
            tenant_id   TEXT        NOT NULL PRIMARY KEY CHECK (tenant_id <> ''),
            name        TEXT,
            created_at  TIMESTAMPTZ NOT NULL DEFAULT now()
        );
        IF 'devices' <> ALL (had) THEN
            CREATE TABLE @extschema@.devices (
                tenant_id   TEXT        NOT NULL REFERENCES @extschema@.tenants(tenant_id) ON DELETE CASCADE,
                device_id   TEXT        NOT NULL CHECK (device_id <> ''),
                created_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
                PRIMARY KEY (tenant_id, device_id)
            );
        END IF;
        IF 'device_groups' <> ALL (had) THEN
            CREATE TABLE @extschema@.device_groups (
                tenant_id   TEXT        NOT NULL REFERENCES @extschema@.tenants(tenant_id) ON DELETE CASCADE,
                group_id    TEXT        NOT NULL CHECK (group_id <> ''),
                description TEXT,
                created_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
                PRIMARY KEY (tenant_id, group_id)
            );
        END IF;
        IF 'device_group_members' <> ALL (had) THEN
            CREATE TABLE @extschema@.device_group_members (
                tenant_id   TEXT        NOT NULL,
                group_id    TEXT        NOT NULL,
                device_id   TEXT        NOT NULL,
                added_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
                PRIMARY KEY (tenant_id, group_id, device_id),
                FOREIGN KEY (tenant_id, group_id) REFERENCES @extschema@.device_groups (tenant_id, group_id) ON DELETE CASCADE,
                FOREIGN KEY (tenant_id, device_id) REFERENCES @extschema@.devices (tenant_id, device_id) ON DELETE CASCADE
            );
            -- for the cascade from devices
            CREATE INDEX device_group_members_device ON @extschema@.device_group_members (tenant_id, device_id);
        END IF;
        FOREACH rel IN ARRAY '{tenants,devices,device_groups,device_group_members}'::text[] LOOP
            CONTINUE WHEN rel = ANY (had);
            EXECUTE format('ALTER TABLE %s.%I ENABLE ROW LEVEL SECURITY', here, rel);
            EXECUTE format(
                'CREATE POLICY %I ON %s.%I '
                'USING (tenant_id = current_setting(''app.tenant_id'', true)) '
                'WITH CHECK (tenant_id = current_setting(''app.tenant_id'', true))',
                rel || '_tenant_isolation', here, rel);
        END LOOP;
    END IF;

    -- ---- migration 077 -----------------------------------------
    -- The columns of what is there already: as the migration has them, and no other
    -- one that an INSERT has to give.
    SELECT CASE
             WHEN a.attname IS NULL THEN format('column "%s" of table "%s" is missing', w.col, w.tab)
             WHEN w.col IS NULL THEN format('column "%s" of table "%s" is not in the migration and must be given a value', a.attname, c.relname)
             WHEN format_type(a.atttypid, a.atttypmod) <> w.typ
               THEN format('column "%s" of table "%s" has type %s, not %s', w.col, w.tab, format_type(a.atttypid, a.atttypmod), w.typ)
             WHEN (a.attnotnull AND n.oid IS NULL) <> w.mandatory
               THEN format('column "%s" of table "%s" is %s', w.col, w.tab, CASE WHEN w.mandatory THEN 'nullable' ELSE 'not nullable' END)
             ELSE format('column "%s" of table "%s" has default %s, not %s', w.col, w.tab,
                    COALESCE(pg_get_expr(d.adbin, d.adrelid), 'none'), COALESCE(w.def, 'none'))
           END
      INTO difference
      FROM (VALUES
            ('jobs', 'job_id', 'text', true, NULL),
            ('jobs', 'tenant_id', 'text', true, NULL),
            ('jobs', 'document_type', 'text', true, NULL),
            ('jobs', 'document_params', 'jsonb', true, '''{}''::jsonb'),
            ('jobs', 'target_device_id', 'text', false, NULL),
            ('jobs', 'target_group_id', 'text', false, NULL),
            ('jobs', 'target_all', 'boolean', true, 'false'),
            ('jobs', 'status', 'text', true, '''IN_PROGRESS''::text'),
            ('jobs', 'expires_at', 'timestamp with time zone', false, NULL),
            ('jobs', 'created_by', 'text', false, NULL),
            ('jobs', 'created_at', 'timestamp with time zone', true, 'now()'),
            ('jobs', 'updated_at', 'timestamp with time zone', true, 'now()'),
            ('job_executions', 'job_id', 'text', true, NULL),
            ('job_executions', 'tenant_id', 'text', true, NULL),
            ('job_executions', 'device_id', 'text', true, NULL),
            ('job_executions', 'status', 'text', true, '''QUEUED''::text'),
            ('job_executions', 'status_details', 'jsonb', false, NULL),
            ('job_executions', 'execution_number', 'bigint', true, '1'),
            ('job_executions', 'queued_at', 'timestamp with time zone', true, 'now()'),
            ('job_executions', 'started_at', 'timestamp with time zone', false, NULL),
            ('job_executions', 'last_updated_at', 'timestamp with time zone', true, 'now()'),
            ('iot_jobs_fleet', 'id', 'boolean', true, 'true'),
            ('iot_jobs_fleet', 'devices', 'regclass', true, NULL),
            ('iot_jobs_fleet', 'group_members', 'regclass', false, NULL)
           ) AS w(tab, col, typ, mandatory, def)
      FULL JOIN (pg_attribute a
                 JOIN pg_class c ON c.oid = a.attrelid
                  AND c.relnamespace = '@extschema@'::regnamespace
                  AND c.relname = ANY ('{jobs,job_executions,iot_jobs_fleet}')
                  AND a.attnum > 0 AND NOT a.attisdropped)
        ON c.relname::text = w.tab AND a.attname::text = w.col
      LEFT JOIN pg_attrdef d
        ON d.adrelid = a.attrelid AND d.adnum = a.attnum
      -- 18: NOT NULL ... NOT VALID, which old rows may break
      LEFT JOIN pg_constraint n
        ON n.conrelid = a.attrelid AND n.contype = 'n' AND n.conkey = ARRAY[a.attnum] AND NOT n.convalidated
     WHERE (w.tab IS NULL OR w.tab = ANY (had)) AND (a.attname IS NULL
        OR w.col IS NULL AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
        OR format_type(a.atttypid, a.atttypmod) <> w.typ
        OR (a.attnotnull AND n.oid IS NULL) <> w.mandatory
        OR w.col IS NOT NULL AND COALESCE(pg_get_expr(d.adbin, d.adrelid), '')
           <> COALESCE(w.def, ''))
     ORDER BY COALESCE(w.tab, c.relname) DESC, a.attnum, w.col
     LIMIT 1;
    IF difference IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_table_definition',
            MESSAGE = 'a table that is already there contradicts migration 077',
            DETAIL = upper(left(difference, 1)) || substr(difference, 2) || '.',
            HINT = 'Alter the table to the definition of the migration, or create the extension in another schema.';
    END IF;

    IF 'jobs' <> ALL (had) THEN
        CREATE TABLE @extschema@.jobs (
            job_id          TEXT        NOT NULL,
            tenant_id       TEXT        NOT NULL REFERENCES @extschema@.tenants(tenant_id) ON DELETE CASCADE,

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
    END IF;

    IF 'job_executions' <> ALL (had) THEN
        CREATE TABLE @extschema@.job_executions (
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
            FOREIGN KEY (tenant_id, job_id) REFERENCES @extschema@.jobs (tenant_id, job_id) ON DELETE CASCADE
        );
    END IF;

    -- Constraints: what is missing is added; one of that name with another meaning, or
    -- a second primary key, is a contradiction.
    FOR want IN SELECT * FROM (VALUES
        ('jobs', 'jobs_pkey', 'p', 'PRIMARY KEY (tenant_id, job_id)'),
        ('jobs', 'jobs_tenant_id_fkey', 'f', format('FOREIGN KEY (tenant_id) REFERENCES %s.tenants(tenant_id) ON DELETE CASCADE', here)),
        ('jobs', 'jobs_status_check', 'c', 'CHECK ((status = ANY (ARRAY[''IN_PROGRESS''::text, ''COMPLETED''::text, ''CANCELED''::text, ''DELETION_IN_PROGRESS''::text])))'),
        ('jobs', 'jobs_target_check', 'c', 'CHECK ((((((target_device_id IS NOT NULL))::integer + ((target_group_id IS NOT NULL))::integer) + ((target_all = true))::integer) = 1))'),
        ('job_executions', 'job_executions_pkey', 'p', 'PRIMARY KEY (tenant_id, job_id, device_id)'),
        ('job_executions', 'job_executions_tenant_id_job_id_fkey', 'f', format('FOREIGN KEY (tenant_id, job_id) REFERENCES %s.jobs(tenant_id, job_id) ON DELETE CASCADE', here)),
        ('job_executions', 'job_executions_status_check', 'c', 'CHECK ((status = ANY (ARRAY[''QUEUED''::text, ''IN_PROGRESS''::text, ''SUCCEEDED''::text, ''FAILED''::text, ''TIMED_OUT''::text, ''REJECTED''::text])))')
        ) AS v(tab, con, typ, def)
    LOOP
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
            WHERE c.relnamespace = '@extschema@'::regnamespace
              AND c.relname::text = want.tab
              AND replace(pg_get_constraintdef(k.oid), format(' %s.', here), ' ')
                  = replace(want.def, format(' %s.', here), ' '));
        SELECT format('Constraint "%s" of table "%s" is %s, not %s.', k.conname, want.tab,
                   pg_get_constraintdef(k.oid), want.def)
          INTO difference
          FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
         WHERE c.relnamespace = '@extschema@'::regnamespace
           AND c.relname::text = want.tab
           AND (k.conname::text = want.con
                OR k.contype::text = want.typ AND want.typ = 'p')
         LIMIT 1;
        IF difference IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'invalid_table_definition',
                MESSAGE = 'a table that is already there contradicts migration 077',
                DETAIL = difference,
                HINT = 'Alter the table to the definition of the migration, or create the extension in another schema.';
        END IF;
        EXECUTE format('ALTER TABLE %s.%I ADD CONSTRAINT %I %s', here, want.tab, want.con, want.def);
    END LOOP;

    -- Indexes, by their own statements.  A table that is in the lean profile stays in it.
    lean := EXISTS (SELECT FROM @extschema@.iot_jobs_indexes() i WHERE i.profile = 'lean' AND i.state = 'valid');
    FOR want IN SELECT * FROM (VALUES
        ('idx_jobs_tenant_status', 'jobs', 'USING btree (tenant_id, status)'),
        ('idx_jobs_expires_at', 'jobs', 'USING btree (expires_at) WHERE ((expires_at IS NOT NULL) AND (status = ''IN_PROGRESS''::text))')
        ) AS v(idx, tab, def)
        UNION ALL
        SELECT i.index_name, 'job_executions', i.definition FROM @extschema@.iot_jobs_indexes() i WHERE i.profile = 'contract'
    LOOP
        SELECT format('Index "%s" is "%s".', c.relname, COALESCE(pg_get_indexdef(c.oid), 'no index'))
          INTO difference
          FROM pg_class c
         WHERE c.relnamespace = '@extschema@'::regnamespace
           AND c.relname::text = want.idx
           AND replace(COALESCE(pg_get_indexdef(c.oid), ''), ' ON ONLY ', ' ON ') <>
               format('CREATE INDEX %I ON %s.%I %s', want.idx, here, want.tab, want.def);
        IF difference IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'invalid_table_definition',
                MESSAGE = 'a table that is already there contradicts migration 077',
                DETAIL = difference,
                HINT = format('The migration has it %s; drop or rename it.', want.def);
        END IF;
        IF want.idx <> ALL (had) AND NOT (lean AND want.tab = 'job_executions') THEN
            EXECUTE format('CREATE INDEX %I ON %s.%I %s', want.idx, here, want.tab, want.def);
        END IF;
    END LOOP;

    -- Row security.  Other policies, permissive or restrictive, are the operator's affair.
    FOREACH rel IN ARRAY '{jobs,job_executions}'::text[] LOOP
        EXECUTE format('ALTER TABLE %s.%I ENABLE ROW LEVEL SECURITY', here, rel);
        SELECT format('Policy "%s" of table "%s" is AS %s FOR %s TO %s USING %s WITH CHECK %s.', p.polname, rel,
                   CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
                   CASE p.polcmd WHEN '*' THEN 'ALL' WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' ELSE 'DELETE' END,
                   CASE WHEN p.polroles = '{0}' THEN 'PUBLIC' ELSE array_to_string(p.polroles::regrole[], ', ') END,
                   COALESCE(pg_get_expr(p.polqual, p.polrelid), 'none'), COALESCE(pg_get_expr(p.polwithcheck, p.polrelid), 'none')),
               (p.polcmd, p.polpermissive, p.polroles, pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
               IS NOT DISTINCT FROM
               ('*'::"char", true, '{0}'::oid[], '(tenant_id = current_setting(''app.tenant_id''::text, true))',
                '(tenant_id = current_setting(''app.tenant_id''::text, true))') AS same
          INTO want
          FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
         WHERE c.relnamespace = '@extschema@'::regnamespace
           AND c.relname::text = rel AND p.polname::text = rel || '_tenant_isolation';
        IF FOUND AND NOT want.same THEN
            RAISE EXCEPTION USING ERRCODE = 'invalid_table_definition',
                MESSAGE = 'a table that is already there contradicts migration 077',
                DETAIL = want.format,
                HINT = 'Make it the policy of the migration: AS PERMISSIVE FOR ALL TO PUBLIC, with its expressions; to be stricter, add a restrictive policy beside it.';
        ELSIF NOT FOUND THEN
            EXECUTE format(
                'CREATE POLICY %I ON %s.%I '
                'USING (tenant_id = current_setting(''app.tenant_id'', true)) '
                'WITH CHECK (tenant_id = current_setting(''app.tenant_id'', true))',
                rel || '_tenant_isolation', here, rel);
        END IF;
    END LOOP;
    -- ---- end of migration 077 ----------------------------------

    -- The guards; they go with the extension, while the tables stay.
    DROP TRIGGER IF EXISTS iot_jobs_guard ON @extschema@.jobs;
    CREATE TRIGGER iot_jobs_guard BEFORE INSERT OR UPDATE OR DELETE ON @extschema@.jobs
        FOR EACH ROW EXECUTE FUNCTION @extschema@.iot_jobs_guard_job();
    ALTER TRIGGER iot_jobs_guard ON @extschema@.jobs DEPENDS ON EXTENSION iot_jobs;

    DROP TRIGGER IF EXISTS iot_jobs_cascade_cancel ON @extschema@.jobs;
    CREATE TRIGGER iot_jobs_cascade_cancel AFTER UPDATE ON @extschema@.jobs
        FOR EACH ROW WHEN (NEW.status = 'CANCELED' AND OLD.status <> 'CANCELED')
        EXECUTE FUNCTION @extschema@.iot_jobs_cascade_cancel();
    ALTER TRIGGER iot_jobs_cascade_cancel ON @extschema@.jobs DEPENDS ON EXTENSION iot_jobs;

    DROP TRIGGER IF EXISTS iot_jobs_guard ON @extschema@.job_executions;
    CREATE TRIGGER iot_jobs_guard BEFORE INSERT OR UPDATE OR DELETE ON @extschema@.job_executions
        FOR EACH ROW EXECUTE FUNCTION @extschema@.iot_jobs_guard_execution();
    ALTER TRIGGER iot_jobs_guard ON @extschema@.job_executions DEPENDS ON EXTENSION iot_jobs;

    -- Which relations list the devices: one row, chosen here if the choice is plain.  A
    -- table that is there already keeps its row.
    IF 'iot_jobs_fleet' <> ALL (had) THEN
        CREATE TABLE @extschema@.iot_jobs_fleet (
            id            BOOLEAN  NOT NULL PRIMARY KEY DEFAULT true CHECK (id),
            devices       REGCLASS NOT NULL,
            group_members REGCLASS
        );
        INSERT INTO @extschema@.iot_jobs_fleet (devices, group_members)
        SELECT d.oid, (
                   SELECT g.oid FROM pg_class g
                   WHERE g.relnamespace = '@extschema@'::regnamespace
                     AND g.relname::text = 'device_group_members'
                     AND 3 = (
                         SELECT count(*) FROM pg_attribute a
                         WHERE a.attrelid = g.oid AND NOT a.attisdropped
                           AND a.attname = ANY ('{tenant_id,group_id,device_id}')
                           AND a.atttypid = ANY ('{text,varchar}'::regtype[])))
          FROM unnest('{devices,device_registry,device_state}'::text[]) WITH ORDINALITY n(name, rank)
          JOIN pg_class d ON d.relname::text = n.name
           AND d.relnamespace = '@extschema@'::regnamespace
           AND 2 = (
                   SELECT count(*) FROM pg_attribute a
                   WHERE a.attrelid = d.oid AND NOT a.attisdropped
                     AND a.attname = ANY ('{tenant_id,device_id}')
                     AND a.atttypid = ANY ('{text,varchar}'::regtype[]))
         ORDER BY n.rank
         LIMIT 1;
        GRANT SELECT ON @extschema@.iot_jobs_fleet TO PUBLIC;
    END IF;

    -- A hardened database stays so, its new tables and the registry included.
    IF EXISTS (SELECT FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
               WHERE c.relnamespace = '@extschema@'::regnamespace AND p.polname = 'iot_jobs_login') THEN
        PERFORM @extschema@.use_hardened_tenants(true);
    END IF;

    -- Code belongs to the extension, data belongs to the database.
    FOREACH rel IN ARRAY '{tenants,devices,device_groups,device_group_members,jobs,job_executions,iot_jobs_fleet}'::text[] LOOP
        CONTINUE WHEN rel = ANY (had)
            OR to_regclass(format('%s.%I', here, rel)) IS NULL;
        EXECUTE format('ALTER EXTENSION iot_jobs DROP TABLE %s.%I', here, rel);
    END LOOP;
END
$install$;

-- Without the guards a fan-out could race a cancel and leave QUEUED executions in a
-- CANCELED job, which no device would ever see again: end them as the cancel meant
-- to.  A table that was there before may carry its owner's triggers, so no statement
-- of this script writes to one; the function does, as that owner and restricted.
CREATE FUNCTION @extschema@.iot_jobs_end_orphans() RETURNS void
AS 'MODULE_PATHNAME', 'iot_jobs_end_orphans' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.iot_jobs_end_orphans IS 'for the install script only';
SELECT @extschema@.iot_jobs_end_orphans()
WHERE pg_catalog.to_regclass('@extschema@.jobs') IS NOT NULL
  AND pg_catalog.to_regclass('@extschema@.job_executions') IS NOT NULL;
DROP FUNCTION @extschema@.iot_jobs_end_orphans();

-- An adopted table may hold jobs that are due or done.
SELECT @extschema@.wake_job_worker();
