-- update_job_execution.
SELECT ijtest.add_tenant('report', 12);
SELECT FROM create_job('report', 't', target_all => true, job_id => 'j');

-- Claimed, progress, done.  Details replace, NULL keeps; each report raises the number.
SELECT execution_number FROM start_next_pending_job_execution('report', 'd1', '{"step": 0}');
SELECT tenant_id, job_id, device_id, status, status_details, execution_number, started_at IS NOT NULL AS started,
       last_updated_at >= started_at AND started_at >= queued_at AS in_order
FROM update_job_execution('report', 'j', 'd1', 'IN_PROGRESS', '{"progress": 50}') \gx
SELECT status_details, execution_number FROM update_job_execution('report', 'j', 'd1', 'IN_PROGRESS');
SELECT status, status_details, execution_number FROM update_job_execution('report', 'j', 'd1', 'SUCCEEDED');
SELECT * FROM ijtest.executions WHERE tenant_id = 'report' AND device_id = 'd1';

-- Every way from QUEUED: a device may report without a claim.
SELECT s.status AS reported, r.status, r.execution_number, r.started_at IS NOT NULL AS started
FROM (VALUES ('d2', 'IN_PROGRESS'), ('d3', 'SUCCEEDED'), ('d4', 'FAILED'), ('d5', 'REJECTED')) s (device, status),
     update_job_execution('report', 'j', s.device, s.status, '{"from": "QUEUED"}') r
ORDER BY s.device;

-- started_at is the first start.
SELECT r.started_at = e.started_at AS same
FROM (SELECT started_at FROM job_executions WHERE tenant_id = 'report' AND device_id = 'd2') e,
     update_job_execution('report', 'j', 'd2', 'SUCCEEDED') r;
-- One that lies before the execution was queued, of whatever life that was, is none.
UPDATE job_executions SET started_at = queued_at - interval '1 h' WHERE tenant_id = 'report' AND device_id = 'd12';
BEGIN;
SELECT started_at >= queued_at AS in_order FROM update_job_execution('report', 'j', 'd12', 'SUCCEEDED');
ROLLBACK;
UPDATE job_executions SET started_at = NULL WHERE tenant_id = 'report' AND device_id = 'd12';

-- The same terminal report again: success, and not a bit changes, whatever number it expects.
CREATE TEMP TABLE once AS SELECT xmin::text AS x, ctid::text AS c, * FROM job_executions WHERE tenant_id = 'report' AND job_id = 'j';
SELECT status, execution_number, status_details FROM update_job_execution('report', 'j', 'd1', 'SUCCEEDED');
SELECT status, execution_number, status_details FROM update_job_execution('report', 'j', 'd1', 'SUCCEEDED', '{"progress": 50}');
SELECT status, execution_number, status_details FROM update_job_execution('report', 'j', 'd1', 'SUCCEEDED', NULL, 2);
SELECT status, execution_number, status_details FROM update_job_execution('report', 'j', 'd1', 'SUCCEEDED', '{ "progress" : 50 }', 1);
SELECT status, execution_number, status_details FROM update_job_execution('report', 'j', 'd4', 'FAILED', '{"from": "QUEUED"}');
SELECT status, execution_number, status_details FROM update_job_execution('report', 'j', 'd5', 'REJECTED');
SELECT count(*) AS changed FROM (TABLE once EXCEPT SELECT xmin::text, ctid::text, * FROM job_executions WHERE tenant_id = 'report' AND job_id = 'j') x;
-- Equal numbers are equal details, however they are written.
SELECT status, execution_number, status_details FROM update_job_execution('report', 'j', 'd6', 'FAILED', '{"t": 1.0}');
SELECT status, execution_number, status_details FROM update_job_execution('report', 'j', 'd6', 'FAILED', '{"t": 1.00}');

-- Anything else after the end is refused, and says what the end was.
SELECT r.status AS reported, r.details, ijtest.state_told(format('SELECT update_job_execution(%L, %L, %L, %L, %L)', 'report', 'j', 'd1', r.status, r.details))
FROM (VALUES ('IN_PROGRESS', NULL), ('FAILED', NULL), ('REJECTED', NULL), ('SUCCEEDED', '{"progress": 51}'), ('SUCCEEDED', '{}')) r (status, details)
ORDER BY 1, 2;
SELECT d.device, r.status AS reported, ijtest.state_told(format('SELECT update_job_execution(%L, %L, %L, %L)', 'report', 'j', d.device, r.status))
FROM (VALUES ('d3'), ('d4'), ('d5')) d (device), (VALUES ('IN_PROGRESS'), ('SUCCEEDED'), ('FAILED'), ('REJECTED')) r (status)
ORDER BY 1, 2;

-- TIMED_OUT is an end like the others, and no device can report it.
SELECT FROM create_job('report', 't', target_device_id => 'd12', job_id => 'late');
UPDATE jobs SET expires_at = now() - interval '1 s' WHERE tenant_id = 'report' AND job_id = 'late';
SELECT expired FROM run_job_sweep();
SELECT ijtest.state_told($$SELECT update_job_execution('report', 'late', 'd12', 'SUCCEEDED')$$);
SELECT ijtest.outcome($$SELECT update_job_execution('report', 'late', 'd12', 'TIMED_OUT')$$);

-- The optimistic lock.
SELECT execution_number FROM start_next_pending_job_execution('report', 'd7');
SELECT ijtest.state_told($$SELECT update_job_execution('report', 'j', 'd7', 'SUCCEEDED', NULL, 1)$$);
SELECT ijtest.state_told($$SELECT update_job_execution('report', 'j', 'd7', 'SUCCEEDED', '{"a": 1}', 3)$$);
SELECT ijtest.state_told($$SELECT update_job_execution('report', 'j', 'd7', 'SUCCEEDED', NULL, -9223372036854775808)$$);
SELECT * FROM ijtest.executions WHERE tenant_id = 'report' AND device_id = 'd7' AND job_id = 'j';
SELECT status, execution_number FROM update_job_execution('report', 'j', 'd7', 'IN_PROGRESS', '{"a": 1}', 2);
SELECT status, execution_number FROM update_job_execution('report', 'j', 'd7', 'SUCCEEDED', NULL, 3);

-- The order of the checks: not found, repeated, ended, number.
SELECT ijtest.outcome($$SELECT update_job_execution('report', 'j', 'd99', 'SUCCEEDED', NULL, 77)$$) AS not_found,
       ijtest.outcome($$SELECT update_job_execution('report', 'j', 'd7', 'SUCCEEDED', NULL, 77)$$) AS repeated,
       ijtest.outcome($$SELECT update_job_execution('report', 'j', 'd7', 'FAILED', NULL, 77)$$) AS ended,
       ijtest.outcome($$SELECT update_job_execution('report', 'j', 'd8', 'FAILED', NULL, 77)$$) AS number;
SELECT code, message, hint FROM ijtest.complaint($$SELECT update_job_execution('report', 'j', 'd7', 'SUCCEEDED', '{"other": "details"}')$$);

-- Not found.
SELECT ijtest.outcome($$SELECT update_job_execution('report', 'no such job', 'd1', 'SUCCEEDED')$$) AS job,
       ijtest.outcome($$SELECT update_job_execution('report', 'late', 'd1', 'SUCCEEDED')$$) AS device,
       ijtest.outcome($$SELECT update_job_execution('no such tenant', 'j', 'd1', 'SUCCEEDED')$$) AS tenant;

-- Words that no device may say, and arguments that are none.
SELECT w.word, ijtest.outcome(format('SELECT update_job_execution(%L, %L, %L, %L)', 'report', 'j', 'd8', w.word))
FROM (VALUES ('QUEUED'), ('TIMED_OUT'), ('CANCELED'), ('COMPLETED'), ('REMOVED'), ('succeeded'), ('SUCCEEDED '), (' SUCCEEDED'),
             (''), ('SUCCEEDE'), ('SUCCEEDEDX'), (NULL)) w (word)
ORDER BY w.word COLLATE "C" NULLS LAST;
SELECT d.details, ijtest.outcome(format('SELECT update_job_execution(%L, %L, %L, %L, %L)', 'report', 'j', 'd8', 'SUCCEEDED', d.details))
FROM (VALUES ('[]'), ('[{}]'), ('"text"'), ('5'), ('true'), ('null')) d (details) ORDER BY d.details COLLATE "C";
SELECT ijtest.outcome($$SELECT update_job_execution(NULL, 'j', 'd8', 'SUCCEEDED')$$) AS tenant,
       ijtest.outcome($$SELECT update_job_execution('report', NULL, 'd8', 'SUCCEEDED')$$) AS job,
       ijtest.outcome($$SELECT update_job_execution('report', 'j', NULL, 'SUCCEEDED')$$) AS device;
SELECT * FROM ijtest.executions WHERE tenant_id = 'report' AND device_id = 'd8' AND job_id = 'j';

-- Empty details are details.
SELECT status_details FROM update_job_execution('report', 'j', 'd9', 'IN_PROGRESS', '{"a": 1}');
SELECT status_details FROM update_job_execution('report', 'j', 'd9', 'IN_PROGRESS', '{}');
SELECT status_details, execution_number FROM update_job_execution('report', 'j', 'd9', 'IN_PROGRESS', '{}');

-- Large details live out of line: kept by NULL, replaced, found equal.
SELECT length(status_details ->> 't') FROM update_job_execution('report', 'j', 'd10', 'IN_PROGRESS',
    jsonb_build_object('t', (SELECT string_agg(md5(i::text), '' ORDER BY i) FROM generate_series(1, 900) i)));
SELECT length(status_details ->> 't'), execution_number FROM update_job_execution('report', 'j', 'd10', 'SUCCEEDED');
SELECT length(status_details ->> 't'), execution_number FROM update_job_execution('report', 'j', 'd10', 'SUCCEEDED',
    jsonb_build_object('t', (SELECT string_agg(md5(i::text), '' ORDER BY i) FROM generate_series(1, 900) i)));
SELECT ijtest.outcome(format('SELECT update_job_execution(%L, %L, %L, %L, %L)', 'report', 'j', 'd10', 'SUCCEEDED',
    jsonb_build_object('t', (SELECT string_agg(md5((i + 1)::text), '' ORDER BY i) FROM generate_series(1, 900) i))));

-- In a canceled job: what was in progress may still end; the number tells of it.
SELECT FROM create_job('report', 't', target_device_id => 'd11', job_id => 'canceled');
SELECT job_id FROM start_next_pending_job_execution('report', 'd11');
SELECT status FROM update_job_execution('report', 'j', 'd11', 'SUCCEEDED');
SELECT job_id FROM start_next_pending_job_execution('report', 'd11');
SELECT status, in_progress FROM cancel_job('report', 'canceled');
SELECT status, execution_number FROM update_job_execution('report', 'canceled', 'd11', 'SUCCEEDED');
SELECT status, succeeded FROM describe_job('report', 'canceled');

-- What a device reads.
\set VERBOSITY default
SELECT update_job_execution('report', 'j', 'd99', 'SUCCEEDED');
SELECT update_job_execution('report', 'j', 'd8', 'TIMED_OUT');
SELECT update_job_execution('report', 'j', 'd8', 'SUCCEEDED', NULL, 77);
SELECT update_job_execution('report', 'j', 'd1', 'FAILED');
SELECT update_job_execution('report', 'j', 'd8', 'SUCCEEDED', '[]');

-- The last report: the next sweep completes the job, and only then.
SELECT status FROM update_job_execution('report', 'j', 'd12', 'SUCCEEDED');
SELECT status FROM update_job_execution('report', 'j', 'd8', 'SUCCEEDED');
SELECT completed FROM run_job_sweep();
SELECT status FROM describe_job('report', 'j');
SELECT status FROM update_job_execution('report', 'j', 'd9', 'SUCCEEDED');
SELECT completed FROM run_job_sweep();
SELECT status, total_executions, queued, in_progress, succeeded, failed, timed_out, rejected FROM describe_job('report', 'j');
SELECT completed FROM run_job_sweep();

DELETE FROM tenants WHERE tenant_id LIKE 'report%';
