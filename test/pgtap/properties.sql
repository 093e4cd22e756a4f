-- Properties that hold for any input: repetition, batches against single calls,
-- fairness of claims, paging.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS iot_jobs;
SELECT plan(20);
SELECT setseed(0.077);

CREATE FUNCTION any_of(list text[]) RETURNS text VOLATILE LANGUAGE sql AS $$ SELECT list[1 + floor(random() * cardinality(list))::int] $$;

-- A report that is repeated, however often and in whatever order, succeeds and leaves not a trace.
INSERT INTO tenants (tenant_id) VALUES ('repeat');
INSERT INTO devices (tenant_id, device_id) SELECT 'repeat', 'd' || i FROM generate_series(1, 300) i;
SELECT is((SELECT total_executions FROM create_job('repeat', 't', target_all => true, job_id => 'j')), 300::bigint, 'three hundred devices');
CREATE TABLE report AS
    SELECT 'd' || i AS device_id, any_of('{SUCCEEDED,FAILED,REJECTED}') AS status,
           CASE WHEN random() < 0.7 THEN jsonb_build_object('i', i, 'list', array_fill(i, array[1 + i % 20]), 'pad', repeat('x', (random() * 3000)::int)) END AS details
    FROM generate_series(1, 300) i;
SELECT is((SELECT count(*) FROM report r, update_job_execution('repeat', 'j', r.device_id, r.status, r.details) u WHERE u.status = r.status), 300::bigint, 'each reports its end');
CREATE TABLE once AS SELECT xmin::text AS x, ctid::text AS c, e.* FROM job_executions e WHERE tenant_id = 'repeat';
SELECT is((SELECT count(*) FROM (SELECT r.* FROM report r, generate_series(1, 5) ORDER BY random()) r,
                  update_job_execution('repeat', 'j', r.device_id, r.status, CASE WHEN random() < 0.5 THEN r.details END, CASE WHEN random() < 0.5 THEN 1 END) u
           WHERE u.status = r.status), 1500::bigint, 'each says so five times more');
SELECT is((SELECT count(*) FROM update_job_executions('repeat', (SELECT jsonb_agg(jsonb_build_object('job_id', 'j', 'device_id', device_id, 'status', status, 'status_details', details)) FROM report)) WHERE accepted),
          300::bigint, 'and once in a batch');
SELECT is_empty($$TABLE once EXCEPT SELECT xmin::text, ctid::text, e.* FROM job_executions e WHERE tenant_id = 'repeat'$$, 'no row was written by that');

-- A batch of reports does what the same reports do one by one, in the order of (job_id, device_id), and says the same of each.
INSERT INTO tenants (tenant_id) VALUES ('batch'), ('single');
INSERT INTO devices (tenant_id, device_id) SELECT t, 'd' || i FROM unnest(array['batch', 'single']) t, generate_series(1, 8) i;
CREATE TABLE difference (round int, n int, batch text, single text, report jsonb);
CREATE TABLE tally (sqlstate text);
DO $$
DECLARE
    reports jsonb; r record; single text; single_status text; single_number bigint;
BEGIN
    FOR i IN 1..60 LOOP
        PERFORM create_job(t, 't', target_all => true, job_id => 'j' || i) FROM unnest(array['batch', 'single']) t;
        UPDATE job_executions SET status = 'IN_PROGRESS' WHERE job_id = 'j' || i AND device_id < 'd5' AND tenant_id IN ('batch', 'single');
        -- reports on this job and older ones, some of them twice, some nonsense
        SELECT jsonb_agg(CASE floor(random() * 25)::int WHEN 0 THEN '5'::jsonb WHEN 1 THEN '{}'::jsonb WHEN 2 THEN jsonb_build_object('job_id', 'j1', 'device_id', 'd1') ELSE
            jsonb_strip_nulls(jsonb_build_object('job_id', 'j' || (CASE WHEN random() < 0.7 THEN i ELSE 1 + floor(random() * (i + 1))::int END), 'device_id', 'd' || 1 + floor(random() * 9)::int,
                'status', any_of('{IN_PROGRESS,IN_PROGRESS,SUCCEEDED,FAILED,REJECTED,TIMED_OUT}'),
                'status_details', CASE floor(random() * 5)::int WHEN 0 THEN '{"a": 1}' WHEN 1 THEN jsonb_build_object('k', k) WHEN 2 THEN '[]' END::jsonb,
                'expected_execution_number', CASE WHEN random() < 0.4 THEN 1 + floor(random() * 3)::int END)) END)
        INTO reports FROM generate_series(1, 1 + floor(random() * 30)::int) k;
        CREATE TEMP TABLE outcome ON COMMIT DROP AS SELECT * FROM update_job_executions('batch', reports);
        FOR r IN SELECT o.*, x.value, x.n FROM jsonb_array_elements(reports) WITH ORDINALITY AS x (value, n) JOIN outcome o ON o.report_number = x.n
                 ORDER BY x.value ->> 'job_id' COLLATE "C", x.value ->> 'device_id' COLLATE "C", x.n LOOP
            single := '00000';
            IF jsonb_typeof(r.value) <> 'object' OR NOT r.value ?& array['job_id', 'device_id', 'status'] THEN
                single := '22023';
            ELSE
                BEGIN
                    PERFORM update_job_execution('single', r.value ->> 'job_id', r.value ->> 'device_id', r.value ->> 'status', r.value -> 'status_details',
                                                 (r.value ->> 'expected_execution_number')::bigint);
                EXCEPTION WHEN OTHERS THEN
                    single := SQLSTATE;
                END;
            END IF;
            INSERT INTO tally VALUES (single);
            IF r.sqlstate <> single OR r.accepted <> (single = '00000') THEN
                INSERT INTO difference VALUES (i, r.n, r.sqlstate, single, r.value);
            END IF;
        END LOOP;
        DROP TABLE outcome;
    END LOOP;
END $$;
SELECT is_empty('TABLE difference', 'a batch and single reports have the same outcomes');
SELECT is((SELECT array_agg(DISTINCT sqlstate ORDER BY sqlstate) FROM tally), '{00000,22023,IJ001,IJ002,IJ003}', 'all kinds of outcomes among them');
SELECT is_empty($$(SELECT job_id, device_id, status, status_details, execution_number, started_at IS NULL FROM job_executions WHERE tenant_id = 'batch')
    EXCEPT (SELECT job_id, device_id, status, status_details, execution_number, started_at IS NULL FROM job_executions WHERE tenant_id = 'single')$$, 'and leave the same rows');

-- Claims: each once, never more than asked, the oldest of each device first, no device ahead of another by more than one.
INSERT INTO tenants (tenant_id) VALUES ('claim');
INSERT INTO devices (tenant_id, device_id) SELECT 'claim', 'd' || lpad(i::text, 2, '0') FROM generate_series(1, 20) i;
DO $$
BEGIN
    FOR i IN 1..40 LOOP
        PERFORM create_job('claim', 't', target_all => true, job_id => 'j' || lpad(i::text, 2, '0'));
    END LOOP;
    DELETE FROM job_executions WHERE tenant_id = 'claim' AND random() < 0.4;
    UPDATE job_executions SET queued_at = '2026-01-01'::timestamptz + interval '1 min' * floor(random() * 15) WHERE tenant_id = 'claim';
END $$;
CREATE TABLE claim (n bigint GENERATED ALWAYS AS IDENTITY, call int, wanted int, listed boolean, job_id text, device_id text, queued_at timestamptz);
CREATE TABLE batch (call int, wanted int, given bigint, available bigint);
CREATE TABLE unfair (call int, detail text);
DO $$
DECLARE
    devices text[]; wanted int; available bigint;
BEGIN
    FOR i IN 1..100 LOOP
        wanted := 1 + floor(random() * 12)::int;
        devices := CASE WHEN i % 3 <> 0 THEN array(SELECT 'd' || lpad((1 + floor(random() * 22))::text, 2, '0') FROM generate_series(1, 1 + floor(random() * 12)::int)) END;
        CREATE TEMP TABLE queued ON COMMIT DROP AS
            SELECT device_id, job_id, row_number() OVER (PARTITION BY device_id ORDER BY queued_at, job_id COLLATE "C") AS place, count(*) OVER (PARTITION BY device_id) AS had
            FROM job_executions WHERE tenant_id = 'claim' AND status = 'QUEUED' AND (devices IS NULL OR device_id = ANY (devices));
        SELECT count(*) INTO available FROM queued;
        INSERT INTO claim (call, wanted, listed, job_id, device_id, queued_at)
            SELECT i, wanted, devices IS NOT NULL, c.job_id, c.device_id, c.queued_at FROM claim_job_executions('claim', wanted, devices) c;
        INSERT INTO batch VALUES (i, wanted, (SELECT count(*) FROM claim c WHERE c.call = i), available);
        -- of each device the oldest ones
        INSERT INTO unfair SELECT i, format('%s of %s is number %s of %s claimed', q.job_id, q.device_id, q.place, taken)
            FROM (SELECT q.*, count(*) OVER (PARTITION BY q.device_id) AS taken FROM queued q JOIN claim c ON c.call = i AND (c.device_id, c.job_id) = (q.device_id, q.job_id)) q
            WHERE q.place > q.taken;
        -- nobody two ahead of one who had more
        INSERT INTO unfair SELECT i, format('%s got %s, %s got %s of %s', a.device_id, a.taken, b.device_id, b.taken, b.had)
            FROM (SELECT q.device_id, q.had, count(c.n) AS taken FROM queued q LEFT JOIN claim c ON c.call = i AND (c.device_id, c.job_id) = (q.device_id, q.job_id) GROUP BY 1, 2) a,
                 (SELECT q.device_id, q.had, count(c.n) AS taken FROM queued q LEFT JOIN claim c ON c.call = i AND (c.device_id, c.job_id) = (q.device_id, q.job_id) GROUP BY 1, 2) b
            WHERE a.taken > b.taken + 1 AND b.taken < b.had;
        DROP TABLE queued;
    END LOOP;
END $$;
SELECT is_empty('SELECT job_id, device_id FROM claim GROUP BY 1, 2 HAVING count(*) > 1', 'each execution is claimed once');
SELECT is_empty('SELECT * FROM batch WHERE given <> least(wanted, available)', 'a claim gives what there is, and never more than asked');
SELECT is_empty('TABLE unfair', 'the oldest of each device first, no device far ahead of another');
SELECT results_eq($$SELECT job_id, device_id FROM claim ORDER BY 1, 2$$, $$SELECT job_id, device_id FROM job_executions WHERE tenant_id = 'claim' AND status = 'IN_PROGRESS' ORDER BY 1, 2$$,
                  'what was given is in progress, and nothing else');
SELECT ok((SELECT bool_or(available < wanted) AND bool_or(available > wanted) AND bool_or(available = 0) FROM batch), 'scarce, plenty and none were tried');

-- One device after the other, tenant-wide, one at a time: everybody has had a turn before anybody has a second one.
INSERT INTO tenants (tenant_id) VALUES ('turn');
INSERT INTO devices (tenant_id, device_id) SELECT 'turn', 'd' || lpad(i::text, 2, '0') FROM generate_series(1, 17) i;
SELECT is((SELECT sum(total_executions) FROM generate_series(1, 4) i, create_job('turn', 't', target_all => true, job_id => 'j' || i)), 68::numeric, 'four for each of seventeen');
CREATE TABLE turn (n int, device_id text);
DO $$
BEGIN
    FOR n IN 0..67 LOOP
        INSERT INTO turn SELECT n, device_id FROM claim_job_executions('turn', 1);
    END LOOP;
END $$;
SELECT is_empty('SELECT n / 17 AS round FROM turn GROUP BY 1 HAVING count(DISTINCT device_id) <> 17', 'round after round, nobody is left out');

-- Paging: whatever the page size, every row once, in order, no page too long, none empty but the end.
INSERT INTO tenants (tenant_id) VALUES ('page');
INSERT INTO devices (tenant_id, device_id) SELECT 'page', 'd' || i FROM generate_series(1, 260) i;
SELECT is((SELECT count(*) FROM generate_series(1, 260) i, create_job('page', 't', target_device_id => 'd1', job_id => md5(i::text))), 260::bigint, 'many jobs');
SELECT is((SELECT total_executions FROM create_job('page', 't', target_all => true, job_id => 'all')), 260::bigint, 'many executions');
UPDATE jobs SET created_at = '2026-01-01'::timestamptz + interval '1 s' * floor(random() * 60) WHERE tenant_id = 'page';
ANALYZE jobs, job_executions;
CREATE FUNCTION walk(what text, size int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    token text; page text[]; seen text[] := '{}'; last text; wanted text[];
BEGIN
    LOOP
        last := NULL;
        CASE what
            WHEN 'jobs' THEN SELECT array_agg(l.job_id), (array_agg(l.page_token))[count(*)] INTO page, last FROM list_jobs('page', page_size => size, page_token => token) l;
            WHEN 'job' THEN SELECT array_agg(l.device_id), (array_agg(l.page_token))[count(*)] INTO page, last FROM list_job_executions_for_job('page', 'all', page_size => size, page_token => token) l;
            WHEN 'device' THEN SELECT array_agg(l.job_id), (array_agg(l.page_token))[count(*)] INTO page, last FROM list_job_executions_for_device('page', 'd1', page_size => size, page_token => token) l;
        END CASE;
        EXIT WHEN page IS NULL;
        IF cardinality(page) > size THEN RETURN format('a page of %s', cardinality(page)); END IF;
        IF last IS NULL THEN RETURN 'no token'; END IF;
        seen := seen || page; token := last;
        IF cardinality(seen) > 1000 THEN RETURN 'no end'; END IF;
    END LOOP;
    wanted := CASE what
        WHEN 'jobs' THEN (SELECT array_agg(job_id ORDER BY created_at DESC, job_id DESC) FROM jobs WHERE tenant_id = 'page')
        WHEN 'job' THEN (SELECT array_agg(device_id ORDER BY device_id) FROM job_executions WHERE tenant_id = 'page' AND job_id = 'all')
        WHEN 'device' THEN (SELECT array_agg(job_id ORDER BY j.created_at DESC, job_id DESC) FROM job_executions e JOIN jobs j USING (tenant_id, job_id) WHERE tenant_id = 'page' AND device_id = 'd1') END;
    RETURN CASE WHEN seen <> wanted THEN format('saw %s of %s, or in another order', cardinality(seen), cardinality(wanted)) END;
END $$;
SELECT is_empty($$SELECT size, problem FROM generate_series(1, 250) size, walk('jobs', size) problem WHERE problem IS NOT NULL$$, 'list_jobs, pages of 1 to 250');
SELECT is_empty($$SELECT size, problem FROM generate_series(1, 250) size, walk('job', size) problem WHERE problem IS NOT NULL$$, 'list_job_executions_for_job, pages of 1 to 250');
SELECT is_empty($$SELECT size, problem FROM generate_series(1, 250) size, walk('device', size) problem WHERE problem IS NOT NULL$$, 'list_job_executions_for_device, pages of 1 to 250');

SELECT * FROM finish();
ROLLBACK;
