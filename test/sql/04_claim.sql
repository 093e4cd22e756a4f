-- start_next_pending_job_execution, get_pending_job_executions, describe_job_execution.
SELECT ijtest.add_tenant('claim', 6, 3);

-- Three jobs; the age of an execution decides, not the age of its job nor its id.
SELECT FROM create_job('claim', 'a', '{"n": 1}', target_all => true, job_id => 'j1', expires_in => '1 hour');
SELECT FROM create_job('claim', 'b', '{"n": 2}', target_all => true, job_id => 'j2');
SELECT FROM create_job('claim', 'c', '{"n": 3}', target_all => true, job_id => 'j3');
UPDATE job_executions SET queued_at = '2026-01-01 00:00:00+00'::timestamptz + CASE job_id
       WHEN 'j3' THEN interval '1 min' WHEN 'j1' THEN interval '2 min' ELSE interval '3 min' END
WHERE tenant_id = 'claim';
-- Changing queued_at is no step.
SELECT DISTINCT status, number FROM ijtest.executions WHERE tenant_id = 'claim';

-- What is to do, before and after: reading changes nothing.
SELECT job_id, status, execution_number, document_type, document_params, expires_at IS NOT NULL AS expires
FROM get_pending_job_executions('claim', 'd1');
BEGIN READ ONLY;
SELECT job_id, status FROM get_pending_job_executions('claim', 'd1');
COMMIT;

-- The claim: everything that a device needs, in one row.
BEGIN;
SELECT tenant_id, job_id, device_id, status, status_details, execution_number, queued_at AT TIME ZONE 'UTC' AS queued_at,
       started_at = now() AS started_now, last_updated_at = now() AS updated_now,
       document_type, document_params, expires_at
FROM start_next_pending_job_execution('claim', 'd1') \gx
COMMIT;
SELECT * FROM ijtest.executions WHERE tenant_id = 'claim' AND device_id = 'd1' ORDER BY job_id;

-- Asked again, before it has reported: the same execution, unchanged, whatever details it brings.
SELECT job_id, status, execution_number, status_details FROM start_next_pending_job_execution('claim', 'd1');
SELECT job_id, status, execution_number, status_details FROM start_next_pending_job_execution('claim', 'd1', '{"boot": 2}');
SELECT a.last_updated_at = e.last_updated_at AND a.started_at = e.started_at AS unchanged
FROM start_next_pending_job_execution('claim', 'd1') a
JOIN job_executions e ON (e.tenant_id, e.job_id, e.device_id) = (a.tenant_id, a.job_id, a.device_id);
SELECT job_id, status FROM get_pending_job_executions('claim', 'd1');

-- Then the next oldest, with the details it brings; then the last; then nothing.
SELECT status FROM update_job_execution('claim', 'j3', 'd1', 'SUCCEEDED');
SELECT job_id, execution_number, status_details, expires_at IS NOT NULL AS expires
FROM start_next_pending_job_execution('claim', 'd1', '{"step": "download"}');
SELECT status, status_details FROM update_job_execution('claim', 'j1', 'd1', 'FAILED', '{"why": "disk"}');
UPDATE job_executions SET status_details = '{"kept": true}' WHERE tenant_id = 'claim' AND job_id = 'j2' AND device_id = 'd1';
SELECT job_id, execution_number, status_details FROM start_next_pending_job_execution('claim', 'd1');
SELECT status FROM update_job_execution('claim', 'j2', 'd1', 'REJECTED');
SELECT count(*) FROM start_next_pending_job_execution('claim', 'd1');
SELECT count(*) FROM get_pending_job_executions('claim', 'd1');
SELECT count(*) FROM start_next_pending_job_execution('claim', 'no such device');
SELECT count(*) FROM start_next_pending_job_execution('no such tenant', 'd1');
SELECT count(*) FROM get_pending_job_executions('claim', 'no such device');

-- The same age: the id decides.
UPDATE job_executions SET queued_at = '2026-01-01 00:00:00+00' WHERE tenant_id = 'claim' AND device_id = 'd2';
SELECT job_id FROM get_pending_job_executions('claim', 'd2');
SELECT job_id FROM start_next_pending_job_execution('claim', 'd2');

-- Two in progress: the oldest is resumed, and they come first in the list.
UPDATE job_executions SET status = 'IN_PROGRESS' WHERE tenant_id = 'claim' AND device_id = 'd3' AND job_id IN ('j2', 'j1');
SELECT job_id, status FROM get_pending_job_executions('claim', 'd3');
SELECT job_id, execution_number FROM start_next_pending_job_execution('claim', 'd3');

-- A job that has expired, is canceled or is to be deleted gives nothing to start ...
SELECT FROM create_job('claim', 't', target_group_id => 'g', job_id => 'expired');
SELECT FROM create_job('claim', 't', target_group_id => 'g', job_id => 'canceled');
SELECT FROM create_job('claim', 't', target_group_id => 'g', job_id => 'deleted');
SELECT FROM create_job('claim', 't', target_group_id => 'g', job_id => 'live');
DELETE FROM jobs WHERE tenant_id = 'claim' AND job_id IN ('j1', 'j2', 'j3');
UPDATE job_executions SET queued_at = '2026-01-01 00:00:00+00'::timestamptz
       + interval '1 min' * array_position(array['expired', 'canceled', 'deleted', 'live'], job_id)
WHERE tenant_id = 'claim';
-- (d2 had started these three; d1 and d3 had not)
UPDATE job_executions SET status = 'IN_PROGRESS' WHERE tenant_id = 'claim' AND device_id = 'd2' AND job_id <> 'live';
UPDATE jobs SET expires_at = now() - interval '1 min' WHERE tenant_id = 'claim' AND job_id = 'expired';
UPDATE jobs SET status = 'DELETION_IN_PROGRESS' WHERE tenant_id = 'claim' AND job_id = 'deleted';
SELECT status FROM cancel_job('claim', 'canceled');
SELECT job_id, status FROM get_pending_job_executions('claim', 'd1');
SELECT job_id, status FROM start_next_pending_job_execution('claim', 'd1');
SELECT job_id, status FROM start_next_pending_job_execution('claim', 'd1');
-- ... but what was started there may be finished, unless the job is to be deleted.
SELECT job_id, status FROM start_next_pending_job_execution('claim', 'd2');
SELECT status FROM update_job_execution('claim', 'expired', 'd2', 'SUCCEEDED');
SELECT job_id, status FROM start_next_pending_job_execution('claim', 'd2');
SELECT status FROM update_job_execution('claim', 'canceled', 'd2', 'SUCCEEDED');
SELECT job_id, status FROM start_next_pending_job_execution('claim', 'd2');

-- The expiry is a moment: at it, the job is past it.
SELECT FROM create_job('claim', 't', target_device_id => 'd4', job_id => 'moment');
BEGIN;
UPDATE jobs SET expires_at = now() WHERE tenant_id = 'claim' AND job_id = 'moment';
SELECT count(*) FROM start_next_pending_job_execution('claim', 'd4');
UPDATE jobs SET expires_at = now() + interval '1 hour' WHERE tenant_id = 'claim' AND job_id = 'moment';
SELECT count(*) FROM start_next_pending_job_execution('claim', 'd4');
ROLLBACK;

-- How many to list.
SELECT FROM generate_series(1, 15) i, create_job('claim', 't', target_device_id => 'd5', job_id => 'many' || lpad(i::text, 2, '0'));
SELECT count(*) FROM get_pending_job_executions('claim', 'd5');
SELECT job_id FROM get_pending_job_executions('claim', 'd5', 2);
SELECT count(*) FROM get_pending_job_executions('claim', 'd5', 250);

-- Look at one.
SELECT job_id, device_id, status, status_details, execution_number, started_at, document_type, document_params
FROM describe_job_execution('claim', 'many01', 'd5');

-- Errors.
\set VERBOSITY sqlstate
SELECT * FROM describe_job_execution('claim', 'many01', 'd6');
SELECT * FROM describe_job_execution('claim', 'no such job', 'd5');
SELECT * FROM describe_job_execution('no such tenant', 'many01', 'd5');
SELECT * FROM describe_job_execution('claim', NULL, 'd5');
SELECT * FROM get_pending_job_executions('claim', 'd5', 0);
SELECT * FROM get_pending_job_executions('claim', 'd5', 251);
SELECT * FROM get_pending_job_executions('claim', 'd5', NULL);
SELECT * FROM get_pending_job_executions(NULL, 'd5');
SELECT * FROM get_pending_job_executions('claim', NULL);
SELECT * FROM start_next_pending_job_execution(NULL, 'd5');
SELECT * FROM start_next_pending_job_execution('claim', NULL);
SELECT * FROM start_next_pending_job_execution('claim', '');
SELECT * FROM start_next_pending_job_execution('claim', 'd5', '[]');
SELECT * FROM start_next_pending_job_execution('claim', 'd5', '"text"');
SELECT * FROM start_next_pending_job_execution('claim', 'd5', 'null');
\set VERBOSITY default
SELECT count(*) FROM ijtest.executions WHERE tenant_id = 'claim' AND device_id = 'd5' AND status <> 'QUEUED';
SELECT * FROM describe_job_execution('claim', 'no such job', 'd5');
SELECT * FROM start_next_pending_job_execution('claim', 'd5', '[]');

-- In a read-only transaction nothing is claimed.
BEGIN READ ONLY;
SELECT ijtest.outcome($$SELECT start_next_pending_job_execution('claim', 'd5')$$);
ROLLBACK;

DELETE FROM tenants WHERE tenant_id LIKE 'claim%';
