-- A hostile search_path: whatever the caller can put before pg_catalog, the
-- functions and the guards mean what they meant when they were written.
SELECT ijtest.add_tenant('path', 4, 2);
CREATE SCHEMA hostile;

-- Lookalikes of every operator, function, aggregate and type that SQL text about
-- jobs could name without a schema.  Each raises when it is run.
CREATE FUNCTION hostile.sprung() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a lookalike was run' USING ERRCODE = 'HV000';
END $$;
DO $do$
DECLARE
    known constant regtype[] := array['text', 'varchar', 'int4', 'int8', 'bool', 'jsonb', 'timestamptz', 'interval', 'text[]', 'name', 'oid', 'numeric', 'float8'];
    o record;
    n int := 0;
BEGIN
    FOR o IN SELECT oprname, oprleft::regtype AS l, oprright::regtype AS r, oprresult::regtype AS result
             FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprkind = 'b' AND oprcode <> 0
               AND oprleft = ANY (known::oid[]) AND oprright = ANY (known::oid[])
               AND oprname IN ('=', '<>', '<', '>', '<=', '>=', '+', '-', '*', '/', '||', '->', '->>', '#>', '@>', '?', '~', '&&')
    LOOP
        n := n + 1;
        EXECUTE format('CREATE FUNCTION hostile.op_%s(l %s, r %s) RETURNS %s LANGUAGE plpgsql AS $f$BEGIN PERFORM hostile.sprung(); END$f$', n, o.l, o.r, o.result);
        EXECUTE format('CREATE OPERATOR hostile.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = hostile.op_%s)', o.oprname, o.l, o.r, n);
    END LOOP;
    IF n < 100 THEN RAISE EXCEPTION 'only % operators', n; END IF;
    n := 0;
    FOR o IN SELECT DISTINCT proname, pg_get_function_identity_arguments(oid) AS args, pg_get_function_result(oid) AS result
             FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f' AND NOT proretset AND NOT ('"any"'::regtype = ANY (proargtypes))
               AND proname IN ('now', 'clock_timestamp', 'statement_timestamp', 'transaction_timestamp', 'current_setting', 'set_config', 'length', 'octet_length',
                               'lower', 'upper', 'format', 'quote_ident', 'quote_literal', 'jsonb_typeof', 'to_jsonb', 'gen_random_uuid', 'isfinite',
                               'array_length', 'cardinality', 'concat', 'md5', 'hashtext', 'hashtextextended', 'pg_column_size', 'date_trunc',
                               'date_part', 'random', 'array_position', 'array_append', 'pg_advisory_xact_lock', 'to_regclass', 'format_type',
                               'text', 'int8', 'int4', 'jsonb_build_object', 'jsonb_build_array', 'nextval', 'greatest', 'least', 'version', 'char_length')
    LOOP
        n := n + 1;
        EXECUTE format('CREATE FUNCTION hostile.%I(%s) RETURNS %s LANGUAGE plpgsql AS $f$BEGIN PERFORM hostile.sprung(); END$f$', o.proname, o.args, o.result);
    END LOOP;
    IF n < 40 THEN RAISE EXCEPTION 'only % functions', n; END IF;
END $do$;
CREATE FUNCTION hostile.format(pg_catalog.text, pg_catalog.text) RETURNS pg_catalog.text LANGUAGE plpgsql AS $$BEGIN PERFORM hostile.sprung(); END$$;
CREATE FUNCTION hostile.concat(pg_catalog.text, pg_catalog.text) RETURNS pg_catalog.text LANGUAGE plpgsql AS $$BEGIN PERFORM hostile.sprung(); END$$;
CREATE FUNCTION hostile.jsonb_build_object(pg_catalog.text, pg_catalog.text) RETURNS pg_catalog.jsonb LANGUAGE plpgsql AS $$BEGIN PERFORM hostile.sprung(); END$$;
CREATE FUNCTION hostile.unnest(anyarray) RETURNS SETOF anyelement LANGUAGE plpgsql AS $$BEGIN PERFORM hostile.sprung(); END$$;
CREATE FUNCTION hostile.jsonb_array_elements(jsonb) RETURNS SETOF jsonb LANGUAGE plpgsql AS $$BEGIN PERFORM hostile.sprung(); END$$;
CREATE FUNCTION hostile.generate_series(int, int) RETURNS SETOF int LANGUAGE plpgsql AS $$BEGIN PERFORM hostile.sprung(); END$$;
CREATE FUNCTION hostile.step(bigint) RETURNS bigint LANGUAGE plpgsql AS $$BEGIN PERFORM hostile.sprung(); END$$;
CREATE AGGREGATE hostile.count(*) (SFUNC = hostile.step, STYPE = bigint, INITCOND = '0');
CREATE FUNCTION hostile.step2(bigint, anyelement) RETURNS bigint LANGUAGE plpgsql AS $$BEGIN PERFORM hostile.sprung(); END$$;
CREATE AGGREGATE hostile.count(anyelement) (SFUNC = hostile.step2, STYPE = bigint, INITCOND = '0');
CREATE AGGREGATE hostile.sum(int8) (SFUNC = hostile.step2, STYPE = bigint, INITCOND = '0');
CREATE AGGREGATE hostile.max(text) (SFUNC = hostile.step2, STYPE = bigint, INITCOND = '0');
CREATE AGGREGATE hostile.min(text) (SFUNC = hostile.step2, STYPE = bigint, INITCOND = '0');
CREATE AGGREGATE hostile.array_agg(text) (SFUNC = hostile.step2, STYPE = bigint, INITCOND = '0');
CREATE DOMAIN hostile.text AS pg_catalog.text CHECK (hostile.sprung());
CREATE DOMAIN hostile.jsonb AS pg_catalog.jsonb CHECK (hostile.sprung());
CREATE DOMAIN hostile.timestamptz AS pg_catalog.timestamptz CHECK (hostile.sprung());
CREATE DOMAIN hostile.int8 AS pg_catalog.int8 CHECK (hostile.sprung());
CREATE DOMAIN hostile.regclass AS pg_catalog.regclass CHECK (hostile.sprung());
-- Lookalikes of the tables, types and functions of the extension, and of what they read; a temporary table comes before everything.
CREATE TABLE hostile.devices (tenant_id pg_catalog.text, device_id pg_catalog.text);
INSERT INTO hostile.devices VALUES ('path', 'planted');
CREATE TABLE hostile.jobs (LIKE public.jobs);
CREATE TABLE hostile.job_executions (LIKE public.job_executions);
CREATE TABLE hostile.iot_jobs_fleet (LIKE public.iot_jobs_fleet);
CREATE TABLE hostile.pg_settings (name pg_catalog.text);
CREATE TYPE hostile.job_description AS (x int);
CREATE TYPE hostile.job_execution AS (x int);
CREATE FUNCTION hostile.describe_job(pg_catalog.text, pg_catalog.text) RETURNS pg_catalog.text LANGUAGE plpgsql AS $$BEGIN PERFORM hostile.sprung(); END$$;

CREATE ROLE regress_ij_path;
GRANT SELECT, INSERT, UPDATE, DELETE ON jobs, job_executions TO regress_ij_path;
GRANT SELECT ON tenants, devices, device_groups, device_group_members TO regress_ij_path;
GRANT ALL ON ALL FUNCTIONS IN SCHEMA public TO regress_ij_path;
GRANT USAGE ON SCHEMA hostile TO regress_ij_path;
GRANT ALL ON ALL TABLES IN SCHEMA hostile TO regress_ij_path;

-- The whole life of jobs, as the superuser and under row security.  The statements
-- name everything of their own with its schema.
CREATE TEMP TABLE trail (n int GENERATED ALWAYS AS IDENTITY, run text, step text, got text);
GRANT ALL ON trail TO PUBLIC;
CREATE TEMP TABLE script (n numeric, step text);
INSERT INTO script VALUES
    (1, $$SELECT total_executions::pg_catalog.text FROM public.create_job('path', 't', '{"a": 1}', target_all => true, job_id => '%1$s all', expires_in => '1 hour')$$),
    (2, $$SELECT total_executions::pg_catalog.text FROM public.create_job('path', 't', target_group_id => 'g', job_id => '%1$s group')$$),
    (3, $$SELECT total_executions::pg_catalog.text FROM public.create_job('path', 't', target_device_id => 'd1', job_id => '%1$s device', expires_at => '2030-01-01')$$),
    (4, $$SELECT status FROM public.describe_job('path', '%1$s all')$$),
    (5, $$SELECT document_type FROM public.list_jobs('path', status => 'IN_PROGRESS', document_type => 't', target_group_id => 'g', page_size => 1)$$),
    (6, $$SELECT l2.device_id FROM public.list_job_executions_for_job('path', '%1$s all', 'QUEUED', 1) l1, public.list_job_executions_for_job('path', '%1$s all', 'QUEUED', 1, l1.page_token) l2$$),
    (7, $$SELECT device_id FROM public.list_job_executions_for_device('path', 'd1', 'QUEUED', 1)$$),
    (8, $$SELECT device_id FROM public.get_pending_job_executions('path', 'd1', 1)$$),
    (9, $$SELECT status FROM public.start_next_pending_job_execution('path', 'd1', '{"a": 1}')$$),
    (10, $$SELECT status FROM public.start_next_pending_job_execution('path', 'd1')$$),
    (11, $$SELECT device_id FROM public.claim_job_executions('path', 1, '{d2}')$$),
    (13, $$SELECT status FROM public.update_job_execution('path', '%1$s all', 'd1', 'SUCCEEDED', '{"b": 1}')$$),
    (14, $$SELECT status FROM public.update_job_execution('path', '%1$s all', 'd1', 'SUCCEEDED', '{"b": 1}')$$),
    (15, $$SELECT sqlstate FROM public.update_job_executions('path', '[{"job_id": "%1$s all", "device_id": "d2", "status": "FAILED", "expected_execution_number": 2}]')$$),
    (16, $$SELECT sqlstate FROM public.update_job_executions('path', '[{"job_id": "%1$s all", "device_id": "d2", "status": "SUCCEEDED"}]')$$),
    (17, $$SELECT document_type FROM public.describe_job_execution('path', '%1$s all', 'd1')$$),
    (18, $$SELECT status FROM public.update_job('path', '%1$s all', '2030-01-01')$$),
    (19, $$SELECT status FROM public.cancel_job_execution('path', '%1$s all', 'd4', 'because', true)$$),
    (20, $$SELECT status FROM public.cancel_job('path', '%1$s group', 'because', true)$$),
    (21, $$SELECT status FROM public.delete_job_execution('path', '%1$s device', 'd1', true)$$),
    (21.1, $$SELECT device_id FROM public.claim_job_executions('path', 1)$$),
    (21.2, $$INSERT INTO public.job_executions (tenant_id, job_id, device_id) VALUES ('path', '%1$s all', 'd8') RETURNING status$$),
    (22, $$UPDATE public.job_executions SET status = 'IN_PROGRESS' WHERE job_id OPERATOR(pg_catalog.=) '%1$s all' AND status OPERATOR(pg_catalog.=) 'QUEUED' RETURNING device_id$$),
    (23, $$UPDATE public.job_executions SET status = 'QUEUED' WHERE job_id OPERATOR(pg_catalog.=) '%1$s all' RETURNING status$$),
    (24, $$UPDATE public.jobs SET status = 'COMPLETED' WHERE job_id OPERATOR(pg_catalog.=) '%1$s all' RETURNING status$$),
    (25, $$UPDATE public.job_executions SET status = 'SUCCEEDED' WHERE job_id OPERATOR(pg_catalog.=) '%1$s all' AND status OPERATOR(pg_catalog.=) 'IN_PROGRESS' RETURNING status$$),
    (26, $$INSERT INTO public.job_executions (tenant_id, job_id, device_id) VALUES ('path', '%1$s all', 'd9') RETURNING status$$),
    (27, $$UPDATE public.jobs SET status = 'CANCELED' WHERE job_id OPERATOR(pg_catalog.=) '%1$s all' RETURNING status$$),
    (28, $$INSERT INTO public.job_executions (tenant_id, job_id, device_id) VALUES ('path', '%1$s all', 'd10') RETURNING status$$),
    (29, $$SELECT completed::pg_catalog.text FROM public.run_job_sweep()$$),
    (30, $$SELECT status FROM public.describe_job('path', '%1$s device')$$),
    (31, $$SELECT status FROM public.delete_job('path', '%1$s all')$$),
    (32, $$SELECT (public.purge_jobs('path', '0') OPERATOR(pg_catalog.>=) 0::pg_catalog.int8)::pg_catalog.text$$),
    (33, $$SELECT unfinished::pg_catalog.text FROM public.run_job_sweep()$$),
    (34, $$SELECT status FROM public.describe_job('path', '%1$s all')$$);
CREATE FUNCTION ijtest.play(run pg_catalog.text, path pg_catalog.text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    s record;
    got text;
BEGIN
    FOR s IN SELECT * FROM pg_temp.script ORDER BY n LOOP
        BEGIN
            PERFORM set_config('search_path', path, true);
            EXECUTE pg_catalog.format(s.step, run) INTO got;
            PERFORM pg_catalog.set_config('search_path', 'pg_catalog', true);
        EXCEPTION WHEN OTHERS THEN
            got := pg_catalog.concat(SQLSTATE, CASE WHEN SQLSTATE OPERATOR(pg_catalog.=) 'HV000' THEN ' TRAP' END);
        END;
        INSERT INTO pg_temp.trail (run, step, got) VALUES (run, s.n, coalesce(got, '(no row)'));
        got := NULL;
    END LOOP;
END $$;
-- The traps are set: a plain statement runs into one.
SET search_path = hostile, pg_catalog, public;
SELECT ijtest.outcome('SELECT 1 = 1') AS operator, ijtest.outcome('SELECT now()') AS function, ijtest.outcome('SELECT count(*) FROM pg_class') AS aggregate;
RESET search_path;
GRANT EXECUTE ON FUNCTION ijtest.play TO PUBLIC;
GRANT SELECT ON script TO PUBLIC;

-- The plain path first, which also fills whatever is cached; then the hostile one in the same session, and in a fresh one.
SELECT ijtest.play('plain', 'public');
SELECT ijtest.play('hostile', 'hostile, pg_catalog, public');
CREATE TEMP TABLE jobs (LIKE public.jobs);
CREATE TEMP TABLE job_executions (LIKE public.job_executions);
CREATE TEMP TABLE devices (LIKE public.devices);
GRANT ALL ON jobs, job_executions, devices TO PUBLIC;
SELECT ijtest.play('temporary', 'pg_temp, hostile, pg_catalog, public');
SELECT ijtest.play('empty', '');
SET ROLE regress_ij_path;
SET app.tenant_id = 'path';
SELECT ijtest.play('role', 'hostile, pg_temp, pg_catalog, public');
RESET ROLE;
SELECT step, max(got) FILTER (WHERE run = 'plain') AS plain,
       bool_and(got = (SELECT p.got FROM trail p WHERE p.run = 'plain' AND p.step = t.step)) AS all_alike
FROM trail t GROUP BY step ORDER BY step::numeric;
SELECT run, step, got FROM trail t WHERE got IS DISTINCT FROM (SELECT p.got FROM trail p WHERE p.run = 'plain' AND p.step = t.step) ORDER BY t.n;
SELECT (SELECT count(*) FROM hostile.jobs) AS hostile_jobs, (SELECT count(*) FROM pg_temp.jobs) AS temporary_jobs;

-- A session whose first call is made there.
\c -
SET search_path = hostile, pg_catalog, public;
SELECT total_executions FROM public.create_job('path', 't', target_all => true, job_id => 'fresh');
SELECT status FROM public.start_next_pending_job_execution('path', 'd1');
SELECT status FROM public.update_job_execution('path', 'fresh', 'd1', 'SUCCEEDED');
SELECT device_id FROM public.claim_job_executions('path', 1, '{d2}');
UPDATE public.jobs SET status = 'CANCELED' WHERE job_id OPERATOR(pg_catalog.=) 'fresh';
SELECT in_progress, succeeded, rejected FROM public.describe_job('path', 'fresh');
RESET search_path;
DELETE FROM tenants WHERE tenant_id = 'path';
SET client_min_messages = warning;
DROP SCHEMA hostile CASCADE;
DROP FUNCTION ijtest.play;
DROP OWNED BY regress_ij_path;
DROP ROLE regress_ij_path;

-- Put into the schema of the extension before that is created: what would suit a call in it better than the server's own.
SET client_min_messages = warning;
CREATE DATABASE regress_ij_planted TEMPLATE template0;
\c regress_ij_planted
CREATE FUNCTION public.format(text, text, name, text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a lookalike was run';
END $$;
CREATE TABLE bait (x int);
CREATE INDEX idx_job_executions_device_order ON bait (x);
CREATE EXTENSION iot_jobs;
SELECT profile, index_name, state FROM iot_jobs_indexes();
\c contrib_regression
DROP DATABASE regress_ij_planted;
