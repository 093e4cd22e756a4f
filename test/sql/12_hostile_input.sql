-- Hostile input is refused at the door.
SELECT ijtest.add_tenant('hostile', 3, 2);
SELECT FROM create_job('hostile', 't', target_all => true, job_id => 'j');

-- Ids and types.  %s stands for the value; NUL cannot be in a text at all.
CREATE TEMP TABLE place (n int, name text, call text, max_length int);
INSERT INTO place VALUES
    (1, 'job_id', 'create_job(''hostile'', ''t'', target_device_id => ''d1'', job_id => %s)', 255),
    (2, 'document_type', 'create_job(''hostile'', %s, target_device_id => ''d1'')', 100);
CREATE TEMP TABLE sample (n int, name text, value text, fine boolean);
INSERT INTO sample VALUES
    (1, 'one letter', $$'x'$$, true), (2, 'blank inside', $$'a b'$$, true), (3, 'punctuation', $$'!"#$%%&''()*+,-./:;<=>?@[\]^_`{|}~'$$, true),
    (4, 'Cyrillic', $$'задание'$$, true), (5, 'emoji', $$'🚀'$$, true), (6, 'combining', $$U&'e\0301'$$, true),
    (7, 'empty', $$''$$, false), (8, 'newline', $$E'a\nb'$$, false), (9, 'tab', $$E'a\tb'$$, false), (10, 'carriage return', $$E'a\r'$$, false),
    (11, 'bell', $$E'\x07'$$, false), (12, 'escape', $$E'a\x1b[31mb'$$, false), (13, 'delete', $$E'a\x7f'$$, false), (14, 'U+0001', $$U&'\0001'$$, false),
    (15, 'C1 control U+0085', $$U&'a\0085'$$, false), (16, 'C1 control U+009B', $$U&'a\009B'$$, false);
SELECT p.name AS argument, s.name AS value, CASE WHEN s.fine THEN 'ok' ELSE '22023' END AS expected, got
FROM place p, sample s, ijtest.outcome('SELECT ' || replace(p.call, '%s', replace(s.value, '%%', '%'))) got
WHERE got <> CASE WHEN s.fine THEN 'ok' ELSE '22023' END
ORDER BY p.n, s.n;
-- The length counts in characters.
SELECT p.name, c.letter, p.max_length AS allowed,
       ijtest.outcome('SELECT ' || replace(p.call, '%s', quote_literal(repeat(c.letter, p.max_length)))) AS longest,
       ijtest.outcome('SELECT ' || replace(p.call, '%s', quote_literal(repeat(c.letter, p.max_length + 1)))) AS one_more,
       ijtest.outcome('SELECT ' || replace(p.call, '%s', quote_literal(repeat(c.letter, 1000000)))) AS a_million
FROM place p, (VALUES ('x'), ('🚀')) c (letter) ORDER BY p.n, c.letter COLLATE "C";

-- Ids that are looked for and cannot be: an error or nothing found, never a crash, never a row.
CREATE TEMP TABLE probe (call text);
INSERT INTO probe VALUES
    ('describe_job(''hostile'', %s)'), ('describe_job(%s, ''j'')'), ('list_jobs(%s)'), ('list_job_executions_for_job(''hostile'', %s)'),
    ('list_job_executions_for_device(''hostile'', %s)'), ('cancel_job(''hostile'', %s)'), ('delete_job(''hostile'', %s)'),
    ('update_job(''hostile'', %s, NULL)'), ('update_job_execution(''hostile'', ''j'', %s, ''SUCCEEDED'')'),
    ('update_job_execution(''hostile'', %s, ''d1'', ''SUCCEEDED'')'), ('update_job_execution(%s, ''j'', ''d1'', ''SUCCEEDED'')'),
    ('update_job_execution(''hostile'', ''j'', ''d1'', %s)'),
    ('start_next_pending_job_execution(''hostile'', %s)'), ('start_next_pending_job_execution(%s, ''d1'')'),
    ('get_pending_job_executions(''hostile'', %s)'), ('claim_job_executions(%s, 10)'), ('claim_job_executions(''hostile'', 10, array[%s])'),
    ('cancel_job_execution(''hostile'', %s, ''d1'')'), ('cancel_job_execution(''hostile'', ''j'', %s)'), ('delete_job_execution(''hostile'', ''j'', %s)'),
    ('create_job(%s, ''t'', target_all => true)'), ('create_job(''hostile'', ''t'', target_device_id => %s)'), ('create_job(''hostile'', ''t'', target_group_id => %s)'),
    ('list_jobs(''hostile'', status => %s)'), ('list_jobs(''hostile'', page_token => %s)'), ('purge_jobs(%s, ''1 day'')');
SELECT call, value, got
FROM probe,
     (VALUES ($$''$$), ($$'nobody'$$), ($$''' OR true --'$$), ($$'"; DROP TABLE jobs; --'$$), ($$E'\n'$$), ($$'$1'$$), ($$'%s%n'$$), ($$'\\x00'$$),
             ($$repeat('x', 300)$$), ($$repeat('🚀', 100000)$$)) v (value),
     ijtest.outcome('SELECT ' || replace(call, '%s', v.value)) got
WHERE got NOT IN ('ok', '22023', 'IJ001', 'IJ004') ORDER BY 1, 2;
SELECT DISTINCT status, number FROM ijtest.executions WHERE tenant_id = 'hostile' AND job_id = 'j';

-- Documents: the limit is one of the text form, in bytes, to the byte.
SELECT name, setting, unit, context FROM pg_settings WHERE name IN ('iot_jobs.max_document_bytes', 'iot_jobs.max_status_details_bytes') ORDER BY 1;
CREATE TEMP TABLE document (n int, name text, value jsonb);
INSERT INTO document VALUES
    (1, 'string', to_jsonb(repeat('a', 3000))),
    (2, 'string to be escaped', to_jsonb(repeat(E'"\\/\b\f\n\r\t\x01\x1f\x7f', 300))),
    (3, 'string of four-byte characters', to_jsonb(repeat('🚀', 700))),
    (4, 'integers', (SELECT jsonb_agg(i) FROM generate_series(1, 800) i)),
    (5, 'numbers with a scale', (SELECT jsonb_agg((i::text || '.' || repeat('0', i % 7) || '5')::numeric) FROM generate_series(1, 400) i)),
    (6, 'small and large numbers', '[1e-300, 1e300, -1e2000, 1E-2000, 0, -0, 0.0, 1.50e1, 12345678901234567890123456789]'),
    (7, 'nested objects', (SELECT jsonb_object_agg('key ' || i, jsonb_build_object('a', i, 'b', '[]'::jsonb, 'c', '{}'::jsonb, 'd', null)) FROM generate_series(1, 90) i)),
    (8, 'nested arrays', (repeat('[', 1500) || repeat(']', 1500))::jsonb),
    (9, 'keys to be escaped', (SELECT jsonb_object_agg(E'"\t' || i, true) FROM generate_series(1, 300) i)),
    (10, 'words', (SELECT jsonb_agg(CASE i % 3 WHEN 0 THEN 'true' WHEN 1 THEN 'false' ELSE 'null' END::jsonb) FROM generate_series(1, 500) i)),
    (11, 'mixed', (SELECT jsonb_agg(jsonb_build_array(i, i::text, jsonb_build_object(i::text, -i), null, i % 2 = 0, i / 7.0)) FROM generate_series(1, 100) i));
-- every one of them is large enough for the setting's smallest values, and small enough for the default
SELECT bool_and(octet_length(value::text) BETWEEN 1024 AND 32768) AS usable FROM document;
CREATE FUNCTION ijtest.within(bytes int, doc jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('iot_jobs.max_document_bytes', bytes::text, true);
    RETURN ijtest.outcome(format('SELECT create_job(%L, %L, %L, target_device_id => %L)', 'hostile', 't', doc, 'd1'));
END $$;
SELECT name, ijtest.within(octet_length(value::text), value) AS at_limit, ijtest.within(octet_length(value::text) - 1, value) AS one_less
FROM document ORDER BY n;
DROP FUNCTION ijtest.within;
SELECT ijtest.outcome(format('SELECT create_job(%L, %L, to_jsonb(repeat(''a'', %s)), target_device_id => %L)', 'hostile', 't', 32766, 'd1')) AS at_default,
       ijtest.outcome(format('SELECT create_job(%L, %L, to_jsonb(repeat(''a'', %s)), target_device_id => %L)', 'hostile', 't', 32767, 'd1')) AS one_more;
-- 9 kB of numbers that would print as 90 MB; a number of its own that is too long; a document of a megabyte; a deep one.
SELECT ijtest.outcome($$SELECT create_job('hostile', 't', ('[' || repeat('1e100000,', 1000) || '1]')::jsonb, target_all => true)$$) AS numbers,
       ijtest.outcome($$SELECT create_job('hostile', 't', '1e131071', target_all => true)$$) AS one_number,
       ijtest.outcome($$SELECT create_job('hostile', 't', '1e-16383', target_device_id => 'd1')$$) AS one_small_number,
       ijtest.outcome($$SELECT create_job('hostile', 't', to_jsonb(repeat('a', 1000000)), target_all => true)$$) AS megabyte,
       ijtest.outcome($$SELECT create_job('hostile', 't', (repeat('[', 5000) || repeat(']', 5000))::jsonb, target_device_id => 'd1')$$) AS deep;
SELECT ijtest.outcome($$SELECT update_job_execution('hostile', 'j', 'd1', 'IN_PROGRESS', ('{"n": [' || repeat('1e100000,', 1000) || '1]}')::jsonb)$$) AS numbers,
       ijtest.outcome($$SELECT update_job_execution('hostile', 'j', 'd1', 'IN_PROGRESS', jsonb_build_object('t', repeat('a', 32760)))$$) AS one_more,
       ijtest.outcome($$SELECT start_next_pending_job_execution('hostile', 'd1', ('{"n": [' || repeat('1e100000,', 1000) || '1]}')::jsonb)$$) AS claim;
SELECT DISTINCT status, number FROM ijtest.executions WHERE tenant_id = 'hostile' AND job_id = 'j';
SELECT ijtest.outcome($$SELECT update_job_execution('hostile', 'j', 'd1', 'IN_PROGRESS', jsonb_build_object('t', repeat('a', 32759)))$$) AS at_default;
SELECT accepted, sqlstate FROM update_job_executions('hostile',
    jsonb_build_array(jsonb_build_object('job_id', 'j', 'device_id', 'd2', 'status', 'SUCCEEDED', 'status_details', ('{"n": [' || repeat('1e100000,', 1000) || '1]}')::jsonb),
                      jsonb_build_object('job_id', 'j', 'device_id', 'd3', 'status', 'SUCCEEDED')));
-- A reason becomes details, so it has their limit.
SELECT ijtest.outcome($$SELECT cancel_job_execution('hostile', 'j', 'd1', repeat('a', 40000), force => true)$$) AS execution,
       ijtest.outcome($$SELECT cancel_job('hostile', 'j', repeat('a', 40000), force => true)$$) AS job;
SELECT status FROM describe_job('hostile', 'j');
-- A small user cannot move the limit.
CREATE ROLE regress_ij_small;
SET ROLE regress_ij_small;
SELECT ijtest.outcome('SET iot_jobs.max_document_bytes = 1000000') AS document, ijtest.outcome('SET iot_jobs.max_status_details_bytes = 1000000') AS details;
RESET ROLE;
DROP ROLE regress_ij_small;

-- A batch of deep nonsense is refused one by one.
SELECT count(*), bool_or(accepted), min(sqlstate), max(sqlstate) FROM update_job_executions('hostile', (SELECT jsonb_agg(value) FROM document));
SELECT sqlstate, count(*) FROM update_job_executions('hostile', (SELECT jsonb_agg(jsonb_build_object('job_id', v, 'device_id', v, 'status', v, 'expected_execution_number', v)) FROM (SELECT value AS v FROM document) x)) GROUP BY 1;
SELECT sqlstate, count(*) FROM update_job_executions('hostile', jsonb_build_array(jsonb_build_object('job_id', repeat('x', 256), 'device_id', 'd1', 'status', 'SUCCEEDED'),
    jsonb_build_object('job_id', 'j', 'device_id', E'd1\n', 'status', 'SUCCEEDED'))) GROUP BY 1;
-- Keys that mean nothing are not an error; a key given twice counts as jsonb counts it.
SELECT accepted, sqlstate, status FROM update_job_executions('hostile', '[{"job_id": "j", "device_id": "d2", "status": "FAILED", "status": "IN_PROGRESS", "extra": [1e100000]}]');

-- Moments.
SELECT v.moment, ijtest.outcome(format('SELECT create_job(%L, %L, target_device_id => %L, expires_at => %s)', 'hostile', 't', 'd1', v.moment)) AS created,
       ijtest.outcome(format('SELECT update_job(%L, %L, %s)', 'hostile', 'j', v.moment)) AS updated
FROM (VALUES ($$'infinity'$$), ($$'-infinity'$$), ($$'4713-01-01 BC'$$), ($$'294276-12-31'$$), ($$'epoch'$$), ($$now()$$),
             ($$now() + interval '10 years' + interval '1 day'$$), ($$now() + interval '10 years' - interval '1 day'$$), ($$now() + interval '1 min'$$)) v (moment)
ORDER BY v.moment COLLATE "C";

-- What a client reads.
SELECT create_job('hostile', 't', target_all => true, job_id => '');
SELECT create_job('hostile', 't', target_all => true, job_id => repeat('x', 256));
SELECT create_job('hostile', 't', target_all => true, job_id => E'a\nb');
SELECT create_job('hostile', '', target_all => true);
SELECT create_job('hostile', 't', ('[' || repeat('1e100000,', 1000) || '1]')::jsonb, target_all => true);
SELECT create_job('hostile', 't', target_all => true, expires_at => 'infinity');
SELECT update_job_execution('hostile', 'j', 'd1', 'IN_PROGRESS', '5');

-- What only the owner of a table can do to it: columns of other types, rows that no constraint would let in.
BEGIN;
DROP VIEW ijtest.executions;
ALTER TABLE jobs ALTER created_by TYPE bigint USING 4096;
ALTER TABLE job_executions ALTER execution_number DROP DEFAULT, ALTER execution_number TYPE text;
SELECT ijtest.outcome($$SELECT list_jobs('hostile')$$) AS jobs, ijtest.outcome($$SELECT describe_job('hostile', 'j')$$) AS job,
       ijtest.outcome($$SELECT list_job_executions_for_job('hostile', 'j')$$) AS executions,
       ijtest.outcome($$SELECT start_next_pending_job_execution('hostile', 'd1')$$) AS claim,
       ijtest.outcome($$UPDATE job_executions SET status = 'REJECTED' WHERE tenant_id = 'hostile'$$) AS by_hand;
SELECT describe_job('hostile', 'j');
ROLLBACK;
BEGIN;
ALTER TABLE job_executions ALTER status DROP NOT NULL;
SELECT FROM create_job('hostile', 't', target_device_id => 'd1', job_id => 'none');
INSERT INTO job_executions (tenant_id, job_id, device_id, status) VALUES ('hostile', 'none', '0', NULL);
SELECT ijtest.outcome($$SELECT list_job_executions_for_job('hostile', 'none')$$) AS executions, ijtest.outcome($$SELECT describe_job_execution('hostile', 'none', '0')$$) AS execution,
       ijtest.outcome($$SELECT update_job_execution('hostile', 'none', '0', 'SUCCEEDED')$$) AS report, ijtest.outcome($$SELECT cancel_job('hostile', 'none')$$) AS cancel,
       ijtest.outcome($$SELECT run_job_sweep()$$) AS sweep;
SELECT invariant, job_id, device_id FROM verify_jobs('hostile') WHERE job_id = 'none';
ROLLBACK;
BEGIN;
ALTER TABLE jobs DROP CONSTRAINT jobs_pkey CASCADE, ALTER job_id DROP NOT NULL;
ALTER TABLE job_executions DROP CONSTRAINT job_executions_pkey, ALTER device_id DROP NOT NULL;
INSERT INTO jobs (tenant_id, job_id, document_type, target_all) VALUES ('hostile', NULL, 't', true);
INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('hostile', 'j', NULL);
SELECT ijtest.outcome($$SELECT list_jobs('hostile')$$) AS jobs, ijtest.outcome($$SELECT list_job_executions_for_job('hostile', 'j')$$) AS executions,
       ijtest.outcome($$SELECT run_job_sweep()$$) AS sweep,
       ijtest.outcome($$DELETE FROM job_executions WHERE device_id IS NULL$$) AS repaired, ijtest.outcome($$DELETE FROM jobs WHERE job_id IS NULL$$) AS repaired;
ROLLBACK;
BEGIN;
ALTER TABLE job_executions DROP CONSTRAINT job_executions_status_check;
ALTER TABLE job_executions DISABLE TRIGGER iot_jobs_guard;
UPDATE job_executions SET status = 'LOST' WHERE tenant_id = 'hostile' AND job_id = 'j' AND device_id = 'd1';
SELECT * FROM list_job_executions_for_job('hostile', 'j');
ROLLBACK;

DELETE FROM tenants WHERE tenant_id = 'hostile';
