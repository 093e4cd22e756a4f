-- describe_job, list_jobs, the two lists of executions: content, filters, paging.
SELECT ijtest.add_tenant('look', 7, 4);
SELECT ijtest.add_tenant('look-b', 2, 0);

-- Thirteen jobs, made at five different moments: the ties are told apart by the id.
SELECT FROM generate_series(1, 13) i,
    create_job('look', CASE WHEN i % 3 = 0 THEN 'reboot' ELSE 'update' END, jsonb_build_object('n', i), job_id => 'j' || lpad(i::text, 2, '0'),
               target_device_id => CASE i % 4 WHEN 0 THEN 'd' || 1 + i % 3 END,
               target_group_id => CASE i % 4 WHEN 1 THEN 'g' END, target_all => i % 4 > 1, created_by => 'alice');
UPDATE jobs SET created_at = '2026-01-01 00:00:00+00'::timestamptz + interval '1 min' * (substr(job_id, 2)::int % 5) WHERE tenant_id = 'look';
UPDATE job_executions e SET queued_at = j.created_at FROM jobs j WHERE (j.tenant_id, j.job_id) = (e.tenant_id, e.job_id) AND e.tenant_id = 'look';
SELECT FROM create_job('look-b', 'other', target_all => true, job_id => 'j01');
SELECT FROM (VALUES ('d1', 'IN_PROGRESS'), ('d2', 'SUCCEEDED'), ('d3', 'SUCCEEDED'), ('d4', 'FAILED'), ('d5', 'REJECTED')) s (device, status),
    update_job_execution('look', 'j02', s.device, s.status);
UPDATE job_executions SET status = 'TIMED_OUT' WHERE tenant_id = 'look' AND job_id = 'j02' AND device_id = 'd6';
SELECT FROM cancel_job('look', 'j03');
SELECT FROM delete_job('look', 'j06', force => true);

-- One job: all columns, all counts.
SELECT * FROM (SELECT (describe_job('look', 'j02')).*) x
WHERE created_at = '2026-01-01 00:02:00+00' AND updated_at > created_at AND expires_at IS NULL
  AND (job_id, tenant_id, document_type, document_params, target_device_id IS NULL, target_group_id IS NULL, target_all, status, created_by)
    = ('j02', 'look', 'update', '{"n": 2}'::jsonb, true, true, true, 'IN_PROGRESS', 'alice')
  AND (total_executions, queued, in_progress, succeeded, failed, timed_out, rejected) = (7, 1, 1, 2, 1, 1, 1)
\gset found_
SELECT :'found_job_id' AS found;
SELECT * FROM describe_job('look', 'j04') \gset one_
SELECT :'one_target_device_id' AS target_device_id, :'one_total_executions' AS total;

-- The newest first.
SELECT job_id, document_type, status, total_executions, queued, in_progress, succeeded, failed, timed_out, rejected FROM list_jobs('look');
-- A row of the list is the row that describe_job gives.
SELECT count(*) AS same
FROM list_jobs('look') l
WHERE (l.job_id, l.tenant_id, l.document_type, l.document_params, l.target_device_id, l.target_group_id, l.target_all, l.status, l.expires_at,
       l.created_by, l.created_at, l.updated_at, l.total_executions, l.queued, l.in_progress, l.succeeded, l.failed, l.timed_out, l.rejected)
      IS NOT DISTINCT FROM (SELECT d FROM describe_job('look', l.job_id) d);

-- Filters, alone and together.
SELECT f.filter, array_agg(l.job_id ORDER BY l.created_at DESC, l.job_id DESC) AS jobs
FROM (VALUES (1, 'status canceled', 'CANCELED', NULL, NULL, NULL), (2, 'status in progress', 'IN_PROGRESS', NULL, NULL, NULL),
             (3, 'status completed', 'COMPLETED', NULL, NULL, NULL), (4, 'status deleted', 'DELETION_IN_PROGRESS', NULL, NULL, NULL),
             (5, 'type', NULL, 'reboot', NULL, NULL), (6, 'device', NULL, NULL, 'd1', NULL), (7, 'group', NULL, NULL, NULL, 'g'),
             (8, 'status and type', 'IN_PROGRESS', 'reboot', NULL, NULL), (9, 'device and group', NULL, NULL, 'd1', 'g'),
             (10, 'no such type', NULL, 'x', NULL, NULL))
     f (n, filter, status, type, device, grp)
LEFT JOIN LATERAL list_jobs('look', f.status, f.type, f.device, f.grp) l ON true
GROUP BY f.n, f.filter ORDER BY f.n;

-- Pages.  Every page size visits every row once, in the same order, and ends with no row.
CREATE FUNCTION ijtest.walk_jobs(tenant text, size int, OUT jobs text[], OUT pages int) LANGUAGE plpgsql AS $$
DECLARE
    token text;
    page text[];
    next_token text;
BEGIN
    jobs := '{}'; pages := 0;
    LOOP
        SELECT array_agg(l.job_id ORDER BY l.n), (array_agg(l.page_token ORDER BY l.n DESC))[1] INTO page, next_token
        FROM list_jobs(tenant, page_size => size, page_token => token) WITH ORDINALITY
             AS l (job_id, tenant_id, document_type, document_params, target_device_id, target_group_id, target_all, status, expires_at,
                   created_by, created_at, updated_at, total_executions, queued, in_progress, succeeded, failed, timed_out, rejected, page_token, n);
        EXIT WHEN page IS NULL OR pages > 100;
        IF cardinality(page) > size THEN RAISE EXCEPTION 'page too long'; END IF;
        jobs := jobs || page; pages := pages + 1; token := next_token;
    END LOOP;
END $$;
SELECT size, jobs = (SELECT array_agg(job_id ORDER BY created_at DESC, job_id COLLATE "C" DESC) FROM jobs WHERE tenant_id = 'look') AS all_once_in_order, pages
FROM generate_series(1, 14) size, ijtest.walk_jobs('look', size) ORDER BY size;
SELECT pages FROM ijtest.walk_jobs('look', 250);

-- A page continues where it stopped whatever came and went meanwhile.
SELECT page_token AS token FROM list_jobs('look', page_size => 3) ORDER BY created_at, job_id LIMIT 1 \gset
SELECT job_id FROM list_jobs('look', page_size => 2, page_token => :'token');
BEGIN;
SELECT FROM create_job('look', 't', target_device_id => 'd1', job_id => 'newer');
SELECT job_id FROM list_jobs('look', page_size => 2, page_token => :'token');
DELETE FROM jobs WHERE tenant_id = 'look' AND job_id = (SELECT job_id FROM list_jobs('look', page_size => 1, page_token => :'token'));
SELECT job_id FROM list_jobs('look', page_size => 2, page_token => :'token');
DELETE FROM jobs WHERE tenant_id = 'look' AND job_id IN (SELECT job_id FROM list_jobs('look', page_size => 4));
SELECT job_id FROM list_jobs('look', page_size => 2, page_token => :'token');
ROLLBACK;
-- With a filter.
SELECT page_token AS filtered FROM list_jobs('look', status => 'IN_PROGRESS', page_size => 2) ORDER BY created_at, job_id LIMIT 1 \gset
SELECT job_id FROM list_jobs('look', status => 'IN_PROGRESS', page_size => 3, page_token => :'filtered');

-- The executions of a job, by device.
SELECT tenant_id, job_id, device_id, status, status_details, execution_number, started_at IS NOT NULL AS started, page_token IS NOT NULL AS token
FROM list_job_executions_for_job('look', 'j02');
SELECT device_id FROM list_job_executions_for_job('look', 'j02', 'SUCCEEDED');
SELECT count(*) FROM list_job_executions_for_job('look', 'j01', 'FAILED');
SELECT count(*) AS same FROM list_job_executions_for_job('look', 'j02') l JOIN job_executions e USING (tenant_id, job_id, device_id)
WHERE (l.status, l.status_details, l.execution_number, l.queued_at, l.started_at, l.last_updated_at)
      IS NOT DISTINCT FROM (e.status, e.status_details, e.execution_number, e.queued_at, e.started_at, e.last_updated_at);
SELECT page_token AS token FROM list_job_executions_for_job('look', 'j02', page_size => 3) ORDER BY device_id DESC LIMIT 1 \gset job_
SELECT device_id FROM list_job_executions_for_job('look', 'j02', page_size => 3, page_token => :'job_token');
SELECT page_token AS token FROM list_job_executions_for_job('look', 'j02', page_size => 3, page_token => :'job_token') ORDER BY device_id DESC LIMIT 1 \gset job_
SELECT device_id FROM list_job_executions_for_job('look', 'j02', page_size => 3, page_token => :'job_token');

-- The executions of a device, newest job first.
SELECT job_id, status FROM list_job_executions_for_device('look', 'd1');
SELECT job_id FROM list_job_executions_for_device('look', 'd2', 'SUCCEEDED');
SELECT count(*) FROM list_job_executions_for_device('look', 'no such device');
SELECT count(*) FROM list_job_executions_for_device('no such tenant', 'd1');
SELECT page_token AS token FROM list_job_executions_for_device('look', 'd1', page_size => 4) WITH ORDINALITY
    AS l (job_id, tenant_id, device_id, status, status_details, execution_number, queued_at, started_at, last_updated_at, page_token, n)
ORDER BY n DESC LIMIT 1 \gset device_
SELECT job_id FROM list_job_executions_for_device('look', 'd1', page_size => 4, page_token => :'device_token');

-- Errors: a token is only good for the list it came from.
CREATE TEMP TABLE refused (label text, call text, expected text);
INSERT INTO refused VALUES
    ('describe: no such job', $$describe_job('look', 'x')$$, 'IJ001'),
    ('describe: no such tenant', $$describe_job('x', 'j01')$$, 'IJ001'),
    ('describe: null tenant', $$describe_job(NULL, 'j01')$$, '22004'),
    ('describe: null job', $$describe_job('look', NULL)$$, '22004'),
    ('jobs: null tenant', $$list_jobs(NULL)$$, '22004'),
    ('jobs: null page size', $$list_jobs('look', page_size => NULL)$$, '22004'),
    ('jobs: page size 0', $$list_jobs('look', page_size => 0)$$, '22023'),
    ('jobs: page size -1', $$list_jobs('look', page_size => -1)$$, '22023'),
    ('jobs: page size 251', $$list_jobs('look', page_size => 251)$$, '22023'),
    ('jobs: status of an execution', $$list_jobs('look', status => 'QUEUED')$$, '22023'),
    ('jobs: empty status', $$list_jobs('look', status => '')$$, '22023'),
    ('jobs: status in small letters', $$list_jobs('look', status => 'completed')$$, '22023'),
    ('jobs: empty token', $$list_jobs('look', page_token => '')$$, '22023'),
    ('jobs: token from nowhere', $$list_jobs('look', page_token => 'abc')$$, '22023'),
    ('jobs: token with a sting', $$list_jobs('look', page_token => '''; DROP TABLE jobs; --')$$, '22023'),
    ('jobs: token of executions', format('list_jobs(%L, page_token => %L)', 'look', :'job_token'), '22023'),
    ('jobs: token of a device', format('list_jobs(%L, page_token => %L)', 'look', :'device_token'), '22023'),
    ('jobs: token cut short', format('list_jobs(%L, page_token => %L)', 'look', left(:'token', -1)), '22023'),
    ('jobs: token with more', format('list_jobs(%L, page_token => %L)', 'look', :'token' || 'A'), '22023'),
    ('jobs: token that is no text', format('list_jobs(%L, page_token => %L)', 'look', :'token' || 'ff'), '22023'),
    ('jobs: long token', $$list_jobs('look', page_token => repeat('A', 100000))$$, '22023'),
    ('job: no such job', $$list_job_executions_for_job('look', 'x')$$, 'IJ001'),
    ('job: no such tenant', $$list_job_executions_for_job('x', 'j01')$$, 'IJ001'),
    ('job: null job', $$list_job_executions_for_job('look', NULL)$$, '22004'),
    ('job: null tenant', $$list_job_executions_for_job(NULL, 'j01')$$, '22004'),
    ('job: status of a job', $$list_job_executions_for_job('look', 'j01', 'COMPLETED')$$, '22023'),
    ('job: page size 251', $$list_job_executions_for_job('look', 'j01', page_size => 251)$$, '22023'),
    ('job: page size 0', $$list_job_executions_for_job('look', 'j01', page_size => 0)$$, '22023'),
    ('job: token of jobs', format('list_job_executions_for_job(%L, %L, page_token => %L)', 'look', 'j02', :'token'), '22023'),
    ('job: token of a device', format('list_job_executions_for_job(%L, %L, page_token => %L)', 'look', 'j02', :'device_token'), '22023'),
    ('device: null device', $$list_job_executions_for_device('look', NULL)$$, '22004'),
    ('device: null tenant', $$list_job_executions_for_device(NULL, 'd1')$$, '22004'),
    ('device: status of a job', $$list_job_executions_for_device('look', 'd1', 'COMPLETED')$$, '22023'),
    ('device: page size 251', $$list_job_executions_for_device('look', 'd1', page_size => 251)$$, '22023'),
    ('device: token of jobs', format('list_job_executions_for_device(%L, %L, page_token => %L)', 'look', 'd1', :'token'), '22023'),
    ('device: token of a job', format('list_job_executions_for_device(%L, %L, page_token => %L)', 'look', 'd1', :'job_token'), '22023');
SELECT label, expected, got
FROM (SELECT label, expected, ijtest.outcome('SELECT ' || call) AS got FROM refused) r
WHERE got IS DISTINCT FROM expected ORDER BY label;
SELECT count(*) AS refusals_tried FROM refused;
SELECT * FROM describe_job('look', 'x');
SELECT * FROM list_jobs('look', status => 'QUEUED');
SELECT * FROM list_jobs('look', page_size => 251);
SELECT * FROM list_jobs('look', page_token => 'abc');
SELECT * FROM list_jobs('look', document_type => '');
SELECT * FROM list_jobs('look', target_device_id => '');
SELECT * FROM list_jobs('look', target_group_id => repeat('x', 256));

-- Ids with any character page as well as others, in any collation.
SELECT ijtest.add_tenant('look-odd', 1);
SELECT FROM (VALUES ('a'), ('B'), ('ä'), ('Z'), ('😀'), ('a''b'), ('a"b'), ('a\b'), ('a b'), ('a,b'), ('{"a": 1}'), (repeat('x', 255)), (repeat('😀', 255))) j (id),
    create_job('look-odd', 't', target_device_id => 'd1', job_id => j.id);
UPDATE jobs SET created_at = '2026-01-01' WHERE tenant_id = 'look-odd';
SELECT size, cardinality(jobs), (SELECT count(DISTINCT x) FROM unnest(jobs) x) AS different, pages
FROM generate_series(1, 3) size, ijtest.walk_jobs('look-odd', size) ORDER BY size;

-- All of it reads only.
BEGIN READ ONLY;
SELECT count(*) FROM list_jobs('look');
SELECT count(*) FROM list_job_executions_for_job('look', 'j02');
SELECT count(*) FROM list_job_executions_for_device('look', 'd1');
SELECT total_executions FROM describe_job('look', 'j02');
SELECT device_id FROM describe_job_execution('look', 'j02', 'd1');
COMMIT;
DROP FUNCTION ijtest.walk_jobs;

DELETE FROM tenants WHERE tenant_id LIKE 'look%';
