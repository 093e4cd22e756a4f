-- What must hold whatever happens: thousands of random calls, legal and
-- illegal, by function and by hand, over two tenants; every outcome is compared
-- with what a small model of the rules predicts, every change is recorded, and
-- the invariants are checked at the end.
--
-- It is done twice: with an AFTER trigger that records each single change (a
-- trigger of the user's own also keeps the functions from any short cut), and
-- without one, the changes found by comparing before and after each call.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS iot_jobs;
SELECT plan(2 * 17 + 1);

CREATE TABLE change (n bigint GENERATED ALWAYS AS IDENTITY, op text, tenant_id text, job_id text, device_id text,
                     old_status text, new_status text, old_number bigint, new_number bigint, old_row jsonb, new_row jsonb);
CREATE TABLE outcome (n bigint GENERATED ALWAYS AS IDENTITY, call text, detail text, predicted text, got text);
CREATE TABLE fanout (tenant_id text, job_id text, targets bigint, touched boolean DEFAULT false);
CREATE FUNCTION record_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO change (op, tenant_id, job_id, device_id, old_status, new_status, old_number, new_number, old_row, new_row)
    VALUES (TG_OP, coalesce(NEW.tenant_id, OLD.tenant_id), coalesce(NEW.job_id, OLD.job_id), coalesce(NEW.device_id, OLD.device_id),
            OLD.status, NEW.status, OLD.execution_number, NEW.execution_number, to_jsonb(OLD), to_jsonb(NEW));
    RETURN NULL;
END $$;

-- The rules, written down once more.
CREATE FUNCTION legal(f text, t text) RETURNS boolean IMMUTABLE LANGUAGE sql AS $$
    SELECT f = t OR f = 'QUEUED' AND t <> 'QUEUED' OR f = 'IN_PROGRESS' AND t IN ('SUCCEEDED', 'FAILED', 'REJECTED', 'TIMED_OUT')
$$;
CREATE FUNCTION legal_job(f text, t text) RETURNS boolean IMMUTABLE LANGUAGE sql AS $$
    SELECT f = t OR f = 'IN_PROGRESS' OR f IN ('COMPLETED', 'CANCELED') AND t = 'DELETION_IN_PROGRESS'
$$;
CREATE FUNCTION predict_report(e job_executions, word text, details jsonb, number bigint) RETURNS text IMMUTABLE LANGUAGE sql AS $$
    SELECT CASE WHEN word NOT IN ('IN_PROGRESS', 'SUCCEEDED', 'FAILED', 'REJECTED') THEN '22023'
                WHEN jsonb_typeof(details) <> 'object' THEN '22023'
                WHEN e.job_id IS NULL THEN 'IJ001'
                WHEN e.status NOT IN ('QUEUED', 'IN_PROGRESS') THEN
                    CASE WHEN e.status = word AND (details IS NULL OR details = e.status_details) THEN 'ok' ELSE 'IJ002' END
                WHEN number <> e.execution_number THEN 'IJ003' ELSE 'ok' END
$$;

CREATE FUNCTION any_of(list text[]) RETURNS text VOLATILE LANGUAGE sql AS $$ SELECT list[1 + floor(random() * cardinality(list))::int] $$;

-- Every call and every end of it that a run has to have seen.
CREATE TABLE must AS SELECT call, got FROM (VALUES
    ('create_job', '{ok}'), ('start_next_pending_job_execution', '{ok,22023}'), ('claim_job_executions', '{ok,22023}'),
    ('update_job_execution', '{ok,22023,IJ001,IJ002,IJ003}'), ('update_job_executions', '{ok}'), ('cancel_job_execution', '{ok,IJ002,IJ003}'),
    ('cancel_job', '{ok,IJ002}'), ('delete_job', '{ok,IJ002}'), ('delete_job_execution', '{ok,IJ002}'), ('UPDATE job_executions', '{ok,IJ002}'),
    ('UPDATE jobs', '{ok,IJ002}'), ('INSERT job_executions', '{ok,IJ002}'), ('expire', '{ok}'), ('update_job', '{ok,IJ002}'), ('run_job_sweep', '{ok}'),
    ('purge_jobs', '{ok}'), ('look', '{ok}')) list (call, outcomes), unnest(outcomes::text[]) got;
CREATE FUNCTION untried() RETURNS TABLE (call text, got text) LANGUAGE sql AS $$
    SELECT call, got FROM must EXCEPT SELECT call, got FROM outcome
$$;

CREATE FUNCTION mix(rounds int, observe boolean) RETURNS void LANGUAGE plpgsql AS $mix$
DECLARE
    tenant text; device text; dice int; word text; details jsonb; number bigint; forced boolean; call text; predicted text; got text; how_many int;
    e job_executions; j jobs; open_left boolean; queued_left bigint; claimable bigint; n bigint; wanted int; answer record; list text[]; live boolean; seen bigint;
BEGIN
    -- job ids are random, so chance is not the same twice: go on until each end was met
    FOR i IN 1..20 * rounds LOOP
        EXIT WHEN i > rounds AND NOT EXISTS (SELECT FROM untried());
        tenant := any_of('{a,b}'); device := 'd' || 1 + floor(random() * 6)::int; dice := floor(random() * 100)::int; forced := random() < 0.5; live := random() < 0.6;
        predicted := NULL; got := 'ok'; how_many := NULL;
        -- an execution to aim at, and its job, now and then one that is not there
        e := NULL; j := NULL;
        IF random() < 0.95 THEN
            SELECT x.* INTO e FROM job_executions x JOIN jobs y USING (tenant_id, job_id) WHERE x.tenant_id = tenant
            ORDER BY (y.status = 'IN_PROGRESS') = live DESC, random() LIMIT 1;
        END IF;
        IF e.job_id IS NOT NULL THEN
            SELECT * INTO j FROM jobs WHERE (tenant_id, job_id) = (e.tenant_id, e.job_id);
        END IF;
        details := CASE floor(random() * 6)::int WHEN 0 THEN '{"a": 1}' WHEN 1 THEN jsonb_build_object('i', i) WHEN 2 THEN e.status_details WHEN 3 THEN '[]' END;
        number := CASE floor(random() * 4)::int WHEN 0 THEN e.execution_number WHEN 1 THEN e.execution_number - 1 END;
        BEGIN
            IF dice < 7 THEN
                call := 'create_job';
                list := array(SELECT device_id FROM devices WHERE tenant_id = tenant);
                SELECT * INTO answer FROM create_job(tenant, 't', target_all => dice < 4, target_device_id => CASE WHEN dice IN (4, 5) THEN device END,
                    target_group_id => CASE WHEN dice = 6 THEN 'g' END, expires_in => CASE WHEN forced THEN interval '1 h' END);
                wanted := CASE WHEN dice < 4 THEN 6 WHEN dice = 6 THEN 3 ELSE 1 END;
                predicted := 'ok';
                IF answer.total_executions <> wanted OR answer.queued <> wanted THEN got := 'wrong count'; END IF;
                INSERT INTO fanout VALUES (tenant, answer.job_id, wanted);
            ELSIF dice < 20 THEN
                call := 'start_next_pending_job_execution';
                predicted := CASE WHEN jsonb_typeof(details) <> 'object' THEN '22023' ELSE 'ok' END;
                SELECT count(*) FILTER (WHERE x.status = 'IN_PROGRESS'), count(*) FILTER (WHERE x.status = 'QUEUED' AND y.status = 'IN_PROGRESS' AND (y.expires_at IS NULL OR y.expires_at > now()))
                INTO n, claimable FROM job_executions x JOIN jobs y USING (tenant_id, job_id) WHERE x.tenant_id = tenant AND x.device_id = device AND y.status <> 'DELETION_IN_PROGRESS';
                SELECT count(*) AS rows, min(x.status) AS status, min(x.device_id) AS device_id INTO answer FROM start_next_pending_job_execution(tenant, device, details) x;
                IF answer.rows <> (n + claimable > 0)::int OR answer.status <> 'IN_PROGRESS' OR answer.device_id <> device THEN got := 'wrong row'; END IF;
                IF n = 0 AND claimable > 0
                   AND 1 <> (SELECT count(*) FROM job_executions x JOIN jobs y USING (tenant_id, job_id)
                             WHERE x.tenant_id = tenant AND x.device_id = device AND x.status = 'IN_PROGRESS' AND y.status <> 'DELETION_IN_PROGRESS') THEN got := 'not one claimed'; END IF;
            ELSIF dice < 30 THEN
                call := 'claim_job_executions';
                wanted := floor(random() * 6)::int;
                predicted := CASE WHEN wanted = 0 THEN '22023' ELSE 'ok' END;
                list := CASE WHEN forced THEN array[device, 'd1', device, 'd9'] END;
                SELECT count(*) INTO claimable FROM job_executions x JOIN jobs y USING (tenant_id, job_id)
                WHERE x.tenant_id = tenant AND (list IS NULL OR x.device_id = ANY (list)) AND x.status = 'QUEUED' AND y.status = 'IN_PROGRESS' AND (y.expires_at IS NULL OR y.expires_at > now());
                SELECT count(*), count(DISTINCT (x.job_id, x.device_id)), bool_and(x.status = 'IN_PROGRESS' AND x.tenant_id = tenant) AS fine INTO answer
                FROM claim_job_executions(tenant, wanted, list) AS x;
                IF answer.count <> least(wanted, claimable) OR NOT coalesce(answer.fine, true) THEN got := format('claimed %s of %s, wanted %s', answer.count, claimable, wanted); END IF;
            ELSIF dice < 55 THEN
                call := 'update_job_execution';
                word := any_of('{IN_PROGRESS,IN_PROGRESS,SUCCEEDED,SUCCEEDED,FAILED,REJECTED,TIMED_OUT,QUEUED,NONSENSE}');
                predicted := predict_report(e, word, details, number);
                SELECT x.status AS status, x.execution_number AS number INTO answer FROM update_job_execution(tenant, coalesce(e.job_id, 'none'), coalesce(e.device_id, 'd1'), word, details, number) x;
                IF answer.status <> word THEN got := 'wrong status'; END IF;
            ELSIF dice < 63 THEN
                call := 'update_job_executions';
                predicted := 'ok';
                word := any_of('{IN_PROGRESS,SUCCEEDED,FAILED,REJECTED,TIMED_OUT}');
                SELECT bool_and(CASE WHEN x.accepted THEN x.sqlstate = '00000' ELSE x.sqlstate <> '00000' END) AS fine, count(*),
                       (array_agg(x.sqlstate ORDER BY x.report_number))[1] AS first
                INTO answer
                FROM update_job_executions(tenant, jsonb_build_array(
                    jsonb_build_object('job_id', coalesce(e.job_id, 'none'), 'device_id', coalesce(e.device_id, 'd1'), 'status', word, 'status_details', details, 'expected_execution_number', number),
                    jsonb_build_object('job_id', coalesce(e.job_id, 'none'), 'device_id', device, 'status', 'NONSENSE'),
                    jsonb_build_object('job_id', 'none', 'device_id', device, 'status', 'SUCCEEDED'), i)) x;
                IF NOT answer.fine OR answer.count <> 4 OR answer.first <> replace(predict_report(e, word, details, number), 'ok', '00000') THEN
                    got := format('wrong outcomes, %s for the first', answer.first);
                END IF;
            ELSIF dice < 68 THEN
                call := 'cancel_job_execution';
                predicted := CASE WHEN e.job_id IS NULL THEN 'IJ001' WHEN e.status NOT IN ('QUEUED', 'IN_PROGRESS') THEN 'IJ002'
                                  WHEN number <> e.execution_number THEN 'IJ003' WHEN e.status = 'IN_PROGRESS' AND NOT forced THEN 'IJ002' ELSE 'ok' END;
                -- both are wrong: either may be said
                IF e.status = 'IN_PROGRESS' AND NOT forced AND number <> e.execution_number THEN predicted := NULL; END IF;
                PERFORM cancel_job_execution(tenant, coalesce(e.job_id, 'none'), coalesce(e.device_id, 'd1'), NULL, forced, number);
            ELSIF dice < 70 THEN
                call := 'cancel_job';
                predicted := CASE WHEN j.job_id IS NULL THEN 'IJ001' WHEN j.status = 'IN_PROGRESS' OR j.status = 'CANCELED' AND forced THEN 'ok' ELSE 'IJ002' END;
                SELECT * INTO answer FROM cancel_job(tenant, coalesce(j.job_id, 'none'), NULL, forced);
                IF answer.status <> 'CANCELED' OR answer.queued > 0 OR forced AND answer.in_progress > 0 THEN got := 'not canceled'; END IF;
            ELSIF dice < 71 THEN
                call := 'delete_job';
                predicted := CASE WHEN j.job_id IS NULL THEN 'IJ001' WHEN j.status = 'IN_PROGRESS' AND forced OR j.status IN ('COMPLETED', 'CANCELED') THEN 'ok' ELSE 'IJ002' END;
                PERFORM delete_job(tenant, coalesce(j.job_id, 'none'), forced);
            ELSIF dice < 73 THEN
                call := 'delete_job_execution';
                predicted := CASE WHEN e.job_id IS NULL THEN 'IJ001' WHEN e.status = 'IN_PROGRESS' AND NOT forced THEN 'IJ002' ELSE 'ok' END;
                SELECT x.status AS status, x.execution_number AS number INTO answer FROM delete_job_execution(tenant, coalesce(e.job_id, 'none'), coalesce(e.device_id, 'd1'), forced) x;
                IF answer.status <> e.status OR answer.number <> e.execution_number THEN got := 'not as it was'; END IF;
                UPDATE fanout f SET touched = true WHERE (f.tenant_id, f.job_id) = (e.tenant_id, e.job_id);
            ELSIF dice < 84 THEN
                call := 'UPDATE job_executions';
                word := any_of('{QUEUED,IN_PROGRESS,SUCCEEDED,FAILED,REJECTED,TIMED_OUT}');
                CONTINUE WHEN e.job_id IS NULL;
                predicted := CASE WHEN legal(e.status, word) THEN 'ok' ELSE 'IJ002' END;
                UPDATE job_executions x SET status = word, status_details = CASE WHEN forced THEN details ELSE x.status_details END, execution_number = x.execution_number + (i % 2)
                WHERE (x.tenant_id, x.job_id, x.device_id) = (e.tenant_id, e.job_id, e.device_id);
            ELSIF dice < 87 THEN
                call := 'UPDATE jobs';
                word := any_of('{IN_PROGRESS,COMPLETED,COMPLETED,CANCELED,DELETION_IN_PROGRESS}');
                CONTINUE WHEN j.job_id IS NULL;
                predicted := CASE WHEN NOT legal_job(j.status, word) THEN 'IJ002'
                                  WHEN j.status = 'IN_PROGRESS' AND word = 'COMPLETED' AND EXISTS (SELECT FROM job_executions x WHERE (x.tenant_id, x.job_id) = (j.tenant_id, j.job_id) AND x.status IN ('QUEUED', 'IN_PROGRESS')) THEN 'IJ002'
                                  ELSE 'ok' END;
                UPDATE jobs x SET status = word WHERE (x.tenant_id, x.job_id) = (j.tenant_id, j.job_id);
            ELSIF dice < 90 THEN
                call := 'INSERT job_executions';
                CONTINUE WHEN j.job_id IS NULL;
                -- a device nobody else has, so that no execution ever comes back under a number it had before
                predicted := CASE WHEN j.status <> 'IN_PROGRESS' THEN 'IJ002' ELSE 'ok' END;
                INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES (tenant, j.job_id, 'extra ' || i);
                UPDATE fanout f SET touched = true WHERE (f.tenant_id, f.job_id) = (e.tenant_id, e.job_id);
            ELSIF dice < 91 THEN
                call := 'expire';
                CONTINUE WHEN j.job_id IS NULL;
                predicted := 'ok';
                UPDATE jobs x SET expires_at = now() - interval '1 s' WHERE (x.tenant_id, x.job_id) = (j.tenant_id, j.job_id);
            ELSIF dice < 93 THEN
                call := 'update_job';
                predicted := CASE WHEN j.job_id IS NULL THEN 'IJ001' WHEN j.status <> 'IN_PROGRESS' THEN 'IJ002' ELSE 'ok' END;
                PERFORM update_job(tenant, coalesce(j.job_id, 'none'), CASE WHEN forced THEN now() + interval '1 h' END);
            ELSIF dice < 98 THEN
                call := 'run_job_sweep';
                predicted := 'ok';
                wanted := 1 + floor(random() * 10)::int;
                SELECT * INTO answer FROM run_job_sweep(wanted);
                IF answer.expired + answer.completed + answer.deleted > wanted THEN got := 'more than asked'; END IF;
            ELSIF dice < 99 THEN
                call := 'purge_jobs';
                predicted := 'ok';
                IF forced THEN PERFORM purge_jobs(tenant, '0'); ELSE PERFORM purge_all_jobs('0'); END IF;
            ELSE
                call := 'look';
                predicted := CASE WHEN j.job_id IS NULL THEN 'IJ001' ELSE 'ok' END;
                SELECT (d.total_executions, d.queued, d.in_progress, d.succeeded, d.failed, d.timed_out, d.rejected)
                       = (SELECT count(*), count(*) FILTER (WHERE x.status = 'QUEUED'), count(*) FILTER (WHERE x.status = 'IN_PROGRESS'), count(*) FILTER (WHERE x.status = 'SUCCEEDED'),
                                  count(*) FILTER (WHERE x.status = 'FAILED'), count(*) FILTER (WHERE x.status = 'TIMED_OUT'), count(*) FILTER (WHERE x.status = 'REJECTED')
                          FROM job_executions x WHERE (x.tenant_id, x.job_id) = (j.tenant_id, j.job_id)) AS fine
                INTO answer FROM describe_job(tenant, coalesce(j.job_id, 'none')) d;
                IF NOT answer.fine THEN got := 'wrong counts'; END IF;
            END IF;
        EXCEPTION WHEN OTHERS THEN
            got := SQLSTATE;
        END;
        INSERT INTO outcome (call, detail, predicted, got)
        VALUES (call, format('round %s: %s, %s, job %s, word %s, details %s, number %s, force %s', i, tenant, e, j.status, word, details, number, forced), predicted, got);
        IF observe THEN
            seen := coalesce((SELECT max(c.n) FROM change c), 0);
            INSERT INTO change (op, tenant_id, job_id, device_id, old_status, new_status, old_number, new_number, old_row, new_row)
            SELECT CASE WHEN s.job_id IS NULL THEN 'INSERT' WHEN x.job_id IS NULL THEN 'DELETE' ELSE 'UPDATE' END,
                   tenant_id, job_id, device_id, s.status, x.status, s.execution_number, x.execution_number, to_jsonb(s), to_jsonb(x)
            FROM shadow s FULL JOIN job_executions x USING (tenant_id, job_id, device_id) WHERE s IS DISTINCT FROM x;
            IF FOUND THEN
                DELETE FROM shadow s USING change c WHERE c.n > seen AND (c.tenant_id, c.job_id, c.device_id) = (s.tenant_id, s.job_id, s.device_id);
                INSERT INTO shadow SELECT x.* FROM job_executions x JOIN change c USING (tenant_id, job_id, device_id) WHERE c.n > seen;
            END IF;
        END IF;
    END LOOP;
END $mix$;

CREATE FUNCTION settle() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    r job_sweep_result;
BEGIN
    FOR i IN 1..1000 LOOP
        r := run_job_sweep();
        EXIT WHEN NOT r.unfinished AND r.expired + r.completed + r.deleted = 0;
    END LOOP;
END $$;

CREATE FUNCTION check_all(run text) RETURNS SETOF text LANGUAGE plpgsql AS $check$
BEGIN
    RETURN NEXT is_empty($$SELECT call, detail, predicted, got FROM outcome WHERE got <> coalesce(predicted, got) OR got NOT IN ('ok', '22023', 'IJ001', 'IJ002', 'IJ003', 'IJ004', '23505')$$,
                         run || ': every call had the outcome that the rules predict');
    RETURN NEXT is_empty('SELECT * FROM untried()', run || ': every call was tried, with good and bad ends');
    RETURN NEXT is_empty($$SELECT tenant_id, job_id, device_id FROM job_executions GROUP BY 1, 2, 3 HAVING count(*) > 1$$, run || ': D1 one row a target');
    RETURN NEXT is_empty($$SELECT e.* FROM job_executions e LEFT JOIN jobs j USING (tenant_id, job_id) WHERE j.job_id IS NULL$$, run || ': D2 no orphan');
    RETURN NEXT is_empty($$SELECT e.* FROM job_executions e JOIN jobs j USING (job_id) WHERE e.tenant_id <> j.tenant_id
        AND NOT EXISTS (SELECT FROM jobs k WHERE (k.tenant_id, k.job_id) = (e.tenant_id, e.job_id))$$, run || ': D3 no link across tenants');
    RETURN NEXT is_empty($$SELECT job_id FROM jobs WHERE tenant_id = '' OR NOT isfinite(created_at) OR NOT isfinite(updated_at) OR updated_at < created_at OR NOT isfinite(expires_at)$$, run || ': D4 legal values');
    RETURN NEXT is_empty($$SELECT * FROM job_executions WHERE status = 'QUEUED' AND started_at IS NOT NULL OR status IN ('IN_PROGRESS', 'SUCCEEDED', 'FAILED') AND started_at IS NULL$$, run || ': D5 started_at');
    RETURN NEXT is_empty($$SELECT * FROM job_executions WHERE started_at < queued_at OR last_updated_at < queued_at OR last_updated_at < started_at$$, run || ': D6 order of times');
    RETURN NEXT is_empty($$SELECT j.job_id, j.status, e.device_id, e.status FROM jobs j JOIN job_executions e USING (tenant_id, job_id)
        WHERE e.status = 'QUEUED' AND j.status IN ('COMPLETED', 'CANCELED') OR e.status = 'IN_PROGRESS' AND j.status = 'COMPLETED'$$, run || ': D7 no open execution in a finished job');
    RETURN NEXT is_empty($$SELECT j.* FROM jobs j WHERE j.status = 'IN_PROGRESS' AND EXISTS (SELECT FROM job_executions e WHERE (e.tenant_id, e.job_id) = (j.tenant_id, j.job_id))
        AND NOT EXISTS (SELECT FROM job_executions e WHERE (e.tenant_id, e.job_id) = (j.tenant_id, j.job_id) AND e.status IN ('QUEUED', 'IN_PROGRESS'))$$, run || ': D8 nothing left to complete');
    RETURN NEXT is_empty($$SELECT e.* FROM job_executions e JOIN jobs j USING (tenant_id, job_id) WHERE j.expires_at < now() AND j.status = 'IN_PROGRESS' AND e.status = 'QUEUED'$$, run || ': D9 nothing queued past the expiry');
    RETURN NEXT is_empty($$SELECT * FROM change WHERE op = 'UPDATE' AND NOT legal(old_status, new_status) OR op = 'INSERT' AND new_status <> 'QUEUED' AND NOT legal('QUEUED', new_status)$$, run || ': D10 only legal steps');
    RETURN NEXT is_empty($$SELECT * FROM change WHERE op = 'UPDATE' AND (old_status <> new_status OR old_row -> 'status_details' IS DISTINCT FROM new_row -> 'status_details') AND new_number <= old_number
        OR op = 'UPDATE' AND new_number < old_number$$, run || ': D11 every change raises the number');
    RETURN NEXT is_empty($$SELECT tenant_id, job_id, device_id, new_number FROM change WHERE op <> 'DELETE' AND new_number IS DISTINCT FROM old_number GROUP BY 1, 2, 3, 4 HAVING count(*) > 1$$, run || ': D11 no number is used twice');
    RETURN NEXT is_empty($$SELECT * FROM change WHERE op = 'UPDATE' AND old_status NOT IN ('QUEUED', 'IN_PROGRESS') AND new_status <> old_status$$, run || ': D12 an end is an end');
    RETURN NEXT is_empty($$SELECT * FROM change WHERE op = 'UPDATE' AND old_status <> new_status AND new_status IN ('TIMED_OUT', 'REJECTED') AND old_row ->> 'started_at' IS DISTINCT FROM new_row ->> 'started_at'
        OR op = 'UPDATE' AND old_row ->> 'queued_at' <> new_row ->> 'queued_at'$$, run || ': times that no step may move');
    RETURN NEXT is_empty($$SELECT f.* FROM fanout f JOIN jobs j USING (tenant_id, job_id) WHERE NOT f.touched AND j.status <> 'DELETION_IN_PROGRESS'
        AND f.targets <> (SELECT count(*) FROM job_executions e WHERE (e.tenant_id, e.job_id) = (f.tenant_id, f.job_id))$$, run || ': D17 a fan-out is whole');
END $check$;

INSERT INTO tenants (tenant_id) VALUES ('a'), ('b');
INSERT INTO devices (tenant_id, device_id) SELECT t, 'd' || i FROM unnest(array['a', 'b']) t, generate_series(1, 6) i;
INSERT INTO device_groups (tenant_id, group_id) VALUES ('a', 'g'), ('b', 'g');
INSERT INTO device_group_members (tenant_id, group_id, device_id) SELECT t, 'g', 'd' || i FROM unnest(array['a', 'b']) t, generate_series(1, 3) i;

CREATE TRIGGER record AFTER INSERT OR UPDATE OR DELETE ON job_executions FOR EACH ROW EXECUTE FUNCTION record_change();
SELECT setseed(0.2026);
SELECT mix(2500, false);
SELECT settle();
SELECT check_all('each change recorded');

DROP TRIGGER record ON job_executions;
TRUNCATE change, outcome, fanout;
DELETE FROM jobs;
CREATE TABLE shadow (LIKE job_executions);
SELECT setseed(0.1177);
SELECT mix(1500, true);
SELECT settle();
SELECT check_all('nothing in the way');

SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
    JOIN pg_extension x ON x.oid = d.refobjid WHERE x.extname = 'iot_jobs'
    AND (p.prosecdef OR p.prolang <> (SELECT oid FROM pg_language WHERE lanname = 'c') AND NOT coalesce(array_to_string(p.proconfig, ','), '') LIKE '%search_path=%')$$,
    'D20 no function runs as its owner');
SELECT * FROM finish();
ROLLBACK;
