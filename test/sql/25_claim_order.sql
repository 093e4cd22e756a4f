-- Which execution is claimed, and whose turn it is.
SELECT ijtest.add_tenant('turn', 4, 2);
SELECT ijtest.add_tenant('turn-b', 1, 1);
SET client_min_messages = warning;
CREATE ROLE regress_ij_turn;
RESET client_min_messages;
GRANT SELECT, INSERT, UPDATE, DELETE ON jobs, job_executions TO regress_ij_turn;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO regress_ij_turn;

-- Many rounds: more than one of each device, the oldest first.
SELECT count(create_job('turn', 't', target_group_id => 'g', job_id => 'r' || lpad(i::text, 2, '0'))) FROM generate_series(1, 50) i;
-- older ones have the later names, and d2's were queued in another order than d1's
UPDATE job_executions SET queued_at = '2026-01-01 00:00:00+00'::timestamptz + interval '1 min' *
    CASE device_id WHEN 'd1' THEN 60 - substr(job_id, 2)::int ELSE substr(job_id, 2)::int * 7 % 53 END WHERE tenant_id = 'turn';
CREATE TEMPORARY TABLE wanted AS SELECT device_id, job_id, row_number() OVER (PARTITION BY device_id ORDER BY queued_at, job_id) AS n FROM job_executions WHERE tenant_id = 'turn';
CREATE TEMPORARY TABLE claimed AS SELECT c.device_id, c.job_id, c.status, c.execution_number, c.n FROM claim_job_executions('turn', 60, array['d1', 'd2', 'd1', 'd3']) WITH ORDINALITY
    c (job_id, tenant_id, device_id, status, status_details, execution_number, queued_at, started_at, last_updated_at, document_type, document_params, expires_at, n);
SELECT count(*), count(DISTINCT (job_id, device_id)) AS different, min(status) AS status, min(execution_number), max(execution_number) FROM claimed;
SELECT device_id, count(*) FROM claimed GROUP BY 1 ORDER BY 1;
-- each is the oldest that was left
SELECT c.device_id, c.job_id FROM (SELECT device_id, job_id, row_number() OVER (PARTITION BY device_id ORDER BY n) AS n FROM claimed) c
    LEFT JOIN wanted w USING (device_id, job_id) WHERE w.n IS DISTINCT FROM c.n;
-- and what is stored is what was told
SELECT device_id, status, number, count(*), count(*) FILTER (WHERE (device_id, job_id) IN (SELECT device_id, job_id FROM claimed)) AS told FROM ijtest.executions WHERE tenant_id = 'turn' GROUP BY 1, 2, 3 ORDER BY 1, 2;
-- the rest, and then nothing
SELECT device_id, count(*) FROM claim_job_executions('turn', 10000, array['d2', 'd1']) GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM claim_job_executions('turn', 10000, array['d1', 'd2']);
-- the same for the whole tenant, and for one device
UPDATE jobs SET status = 'CANCELED' WHERE tenant_id = 'turn';
DELETE FROM jobs WHERE tenant_id = 'turn';
SELECT count(create_job('turn', 't', target_group_id => 'g', job_id => 'r' || lpad(i::text, 2, '0'))) FROM generate_series(1, 50) i;
TRUNCATE claimed;
INSERT INTO claimed SELECT c.device_id, c.job_id, c.status, c.execution_number, c.n FROM claim_job_executions('turn', 60) WITH ORDINALITY
    c (job_id, tenant_id, device_id, status, status_details, execution_number, queued_at, started_at, last_updated_at, document_type, document_params, expires_at, n);
SELECT device_id, count(*), count(DISTINCT job_id) AS different FROM claimed GROUP BY 1 ORDER BY 1;
SELECT device_id, string_agg(job_id, ' ' ORDER BY n) = string_agg(job_id, ' ' ORDER BY job_id) AS oldest_first FROM claimed GROUP BY 1 ORDER BY 1;
SELECT count(*), min(job_id), max(job_id) FROM claim_job_executions('turn', 5, array['d1']);
DELETE FROM jobs WHERE tenant_id = 'turn';

-- Whose turn it is is not moved by who gets nothing: a role of another tenant, an empty hand, a call that failed.
SELECT FROM create_job('turn', 't', target_all => true, job_id => 'a');
SELECT FROM create_job('turn', 't', target_all => true, job_id => 'b');
CREATE FUNCTION ijtest.foreign_claim() RETURNS bigint LANGUAGE plpgsql SET app.tenant_id = 'turn-b' SET role = 'regress_ij_turn' AS $$
BEGIN
    RETURN (SELECT count(*) FROM public.claim_job_executions('turn', 1)) + (SELECT count(*) FROM public.claim_job_executions('turn', 10));
END $$;
SELECT device_id FROM claim_job_executions('turn', 1) \gset first_
SELECT ijtest.foreign_claim();
SELECT device_id <> :'first_device_id' AS another FROM claim_job_executions('turn', 1);
SELECT ijtest.foreign_claim();
SELECT count(DISTINCT device_id) AS devices FROM claim_job_executions('turn', 2);
-- each device has had its first by now, and the foreign calls have cost nobody a turn
SELECT device_id, count(*) FILTER (WHERE status = 'IN_PROGRESS') AS in_progress FROM ijtest.executions WHERE tenant_id = 'turn' GROUP BY 1 ORDER BY 1;
SELECT device_id FROM claim_job_executions('turn', 1) \gset second_
BEGIN;
SELECT ijtest.foreign_claim();
ROLLBACK;
SELECT ijtest.outcome($$SELECT claim_job_executions('turn', 0)$$);
SELECT ijtest.foreign_claim();
SELECT device_id <> :'second_device_id' AS another FROM claim_job_executions('turn', 1);
DROP FUNCTION ijtest.foreign_claim;
DELETE FROM jobs WHERE tenant_id IN ('turn', 'turn-b');

-- A claim passes over what nobody may start: jobs that are being deleted, that are past their time, that wait for a sweep.
INSERT INTO devices (tenant_id, device_id) SELECT 'turn', 'e' || lpad(i::text, 4, '0') FROM generate_series(1, 1100) i;
SELECT total_executions FROM create_job('turn', 't', target_all => true, job_id => 'deleted');
SELECT total_executions FROM create_job('turn', 't', target_all => true, job_id => 'late', expires_in => '1 h');
SELECT FROM delete_job('turn', 'deleted', force => true);
UPDATE jobs SET expires_at = now() - interval '1 s' WHERE tenant_id = 'turn' AND job_id = 'late';
SELECT count(*) FROM claim_job_executions('turn', 1);
SELECT count(*) FROM claim_job_executions('turn', 10000);
SELECT total_executions FROM create_job('turn', 't', target_device_id => 'e1099', job_id => 'last');
SELECT total_executions FROM create_job('turn', 't', target_device_id => 'd2', job_id => 'first');
SELECT job_id, device_id FROM claim_job_executions('turn', 1) UNION ALL SELECT job_id, device_id FROM claim_job_executions('turn', 1) ORDER BY 1;
SELECT count(*) FROM claim_job_executions('turn', 1);
SELECT FROM create_job('turn', 't', target_group_id => 'g', job_id => 'again');
SELECT FROM create_job('turn', 't', target_device_id => 'e0700', job_id => 'middle');
SELECT job_id, device_id FROM claim_job_executions('turn', 10) ORDER BY 1, 2;
SELECT count(*) FROM claim_job_executions('turn', 10);
SELECT job_id, status, number, count(*) FROM ijtest.executions WHERE tenant_id = 'turn' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
DELETE FROM tenants WHERE tenant_id LIKE 'turn%';
DROP TABLE wanted, claimed;
DROP OWNED BY regress_ij_turn;
DROP ROLE regress_ij_turn;

-- Of two that were queued together the one goes first that SQL sorts first, in a
-- database whose order is not that of the bytes, where the server can have one.
SET client_min_messages = warning;
SELECT CASE WHEN EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i' AND collname = 'en-x-icu') AND getdatabaseencoding() = 'UTF8'
            THEN 'LOCALE_PROVIDER icu ICU_LOCALE ''en-US''' ELSE '' END AS how \gset
CREATE DATABASE regress_ij_order TEMPLATE template0 :how;
\c regress_ij_order
SET client_min_messages = warning;
CREATE EXTENSION iot_jobs;
CREATE FUNCTION by_sql() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
DO $$
BEGIN
    IF current_setting('ijtest.by_sql', true) = 'on' THEN
        CREATE TRIGGER by_sql AFTER INSERT OR UPDATE OR DELETE ON job_executions FOR EACH STATEMENT EXECUTE FUNCTION by_sql();
    END IF;
END $$;
INSERT INTO tenants (tenant_id) VALUES ('t');
INSERT INTO devices (tenant_id, device_id) SELECT 't', 'd' || i FROM generate_series(1, 2) i;
BEGIN;
SELECT count(create_job('t', 'x', target_all => true, job_id => j)) FROM unnest(array['b', 'C', 'a', 'B', 'ä', 'Z', 'aa', 'a-b', 'ab', '10', '9', '_']) j;
COMMIT;
SELECT count(DISTINCT queued_at) AS times FROM job_executions;
CREATE TABLE sorted AS SELECT job_id, row_number() OVER (ORDER BY queued_at, job_id) AS n FROM job_executions WHERE device_id = 'd1';
SELECT p.job_id AS differs FROM get_pending_job_executions('t', 'd1', 100) WITH ORDINALITY
    p (job_id, tenant_id, device_id, status, status_details, execution_number, queued_at, started_at, last_updated_at, document_type, document_params, expires_at, n)
    JOIN sorted s USING (job_id) WHERE p.n <> s.n;
CREATE TABLE started (n int GENERATED ALWAYS AS IDENTITY, job_id text, device_id text);
DO $$
BEGIN
    FOR i IN 1..6 LOOP
        INSERT INTO started (job_id, device_id) SELECT job_id, device_id FROM start_next_pending_job_execution('t', 'd1');
        PERFORM update_job_execution('t', job_id, 'd1', 'SUCCEEDED') FROM started WHERE n = i;
    END LOOP;
END $$;
INSERT INTO started (job_id, device_id) SELECT job_id, device_id FROM claim_job_executions('t', 4, array['d1']);
INSERT INTO started (job_id, device_id) SELECT job_id, device_id FROM claim_job_executions('t', 2);
INSERT INTO started (job_id, device_id) SELECT job_id, device_id FROM claim_job_executions('t', 100);
SELECT device_id, count(*) FROM started GROUP BY 1 ORDER BY 1;
SELECT s.device_id, s.job_id AS differs FROM (SELECT device_id, job_id, row_number() OVER (PARTITION BY device_id ORDER BY n) AS n FROM started) s
    JOIN sorted o USING (job_id) WHERE s.n <> o.n;
\c contrib_regression
DROP DATABASE regress_ij_order;
