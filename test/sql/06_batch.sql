-- claim_job_executions and update_job_executions.
SELECT ijtest.add_tenant('batch', 6, 3);
SELECT FROM create_job('batch', 'a', '{"n": 1}', target_all => true, job_id => 'j1', expires_in => '1 hour');
SELECT FROM create_job('batch', 'b', '{"n": 2}', target_all => true, job_id => 'j2');
UPDATE job_executions SET queued_at = '2026-01-01 00:00:00+00'::timestamptz
       + interval '1 min' * array_position(array['j2', 'j1'], job_id)
WHERE tenant_id = 'batch';

-- By default one; the row is what start_next_pending_job_execution gives.
BEGIN;
SELECT count(*) FROM claim_job_executions('batch');
SELECT count(*) FROM ijtest.executions WHERE tenant_id = 'batch' AND status = 'IN_PROGRESS';
ROLLBACK;
BEGIN;
SELECT tenant_id, job_id, device_id, status, status_details, execution_number, queued_at AT TIME ZONE 'UTC' AS queued_at,
       started_at = now() AS started_now, last_updated_at = now() AS updated_now, document_type, document_params, expires_at
FROM claim_job_executions('batch', 1, array['d3']) \gx
ROLLBACK;

-- A list of devices: one a device a round, oldest first for each, then another round while there is room.
BEGIN;
SELECT job_id, device_id, status, execution_number FROM claim_job_executions('batch', 3, array['d1', 'd2', 'd3']) ORDER BY device_id, queued_at;
SELECT job_id, device_id, status, execution_number FROM claim_job_executions('batch', 3, array['d1', 'd2', 'd3']) ORDER BY device_id, queued_at;
SELECT count(*) FROM claim_job_executions('batch', 3, array['d1', 'd2', 'd3']);
SELECT device_id, job_id, status FROM ijtest.executions WHERE tenant_id = 'batch' ORDER BY 1, 2;
ROLLBACK;
BEGIN;
-- room for four, three devices: every device has one before any has two
SELECT count(DISTINCT device_id) AS devices, count(*) AS executions, count(*) FILTER (WHERE job_id = 'j2') AS oldest
FROM claim_job_executions('batch', 4, array['d1', 'd2', 'd3']);
ROLLBACK;
BEGIN;
SELECT job_id, device_id FROM claim_job_executions('batch', 100, array['d1', 'd2']) ORDER BY device_id, queued_at;
ROLLBACK;

-- What is in progress is not claimed again, and does not keep the device's next from being claimed.
BEGIN;
SELECT job_id FROM start_next_pending_job_execution('batch', 'd1');
SELECT job_id FROM claim_job_executions('batch', 10, array['d1']);
SELECT job_id FROM claim_job_executions('batch', 10, array['d1']);
ROLLBACK;

-- Lists that are odd but harmless.
BEGIN;
SELECT count(*) FROM claim_job_executions('batch', 10, '{}');
SELECT count(*) FROM claim_job_executions('batch', 10, array['no such device']);
SELECT job_id, device_id FROM claim_job_executions('batch', 10, array['d1', 'd1', 'no such device', 'd1']) ORDER BY queued_at;
SELECT job_id, device_id FROM claim_job_executions('batch', 1, array['d2', 'd2']) ORDER BY queued_at;
SELECT job_id, device_id FROM claim_job_executions('batch', 10, array[['d3', 'd4'], ['d5', 'd3']]) ORDER BY device_id, queued_at;
ROLLBACK;

-- Tenant-wide: never more than asked, oldest first for each device, all of them in the end.
BEGIN;
SELECT count(*), count(DISTINCT device_id) AS devices FROM claim_job_executions('batch', 6);
SELECT DISTINCT job_id FROM ijtest.executions WHERE tenant_id = 'batch' AND status = 'IN_PROGRESS';
SELECT count(*), count(DISTINCT device_id) AS devices FROM claim_job_executions('batch', 4);
SELECT count(*) FROM claim_job_executions('batch', 10);
SELECT count(*) FROM claim_job_executions('batch', 10);
SELECT status, execution_number, count(*) FROM job_executions WHERE tenant_id = 'batch' GROUP BY 1, 2 ORDER BY 1, 2;
ROLLBACK;
-- No device is starved: with one claimed at a time each device has had its turn before any has its second.
BEGIN;
CREATE TEMP TABLE turn (n int GENERATED ALWAYS AS IDENTITY, device_id text, job_id text) ON COMMIT DROP;
DO $$
BEGIN
    FOR i IN 1..12 LOOP
        INSERT INTO turn (device_id, job_id) SELECT device_id, job_id FROM claim_job_executions('batch', 1);
    END LOOP;
END $$;
SELECT (n - 1) / 6 AS round, count(DISTINCT device_id) AS devices, min(job_id), max(job_id) FROM turn GROUP BY 1 ORDER BY 1;
ROLLBACK;

-- Nothing of a job that has expired, is canceled, deleted, or of another tenant.
SELECT ijtest.add_tenant('batch-b', 2);
SELECT FROM create_job('batch-b', 't', target_all => true, job_id => 'other');
BEGIN;
UPDATE jobs SET expires_at = now() - interval '1 s' WHERE tenant_id = 'batch' AND job_id = 'j2';
SELECT job_id, count(*) FROM claim_job_executions('batch', 100) GROUP BY 1;
SELECT status FROM cancel_job('batch', 'j1', force => true);
SELECT count(*) FROM claim_job_executions('batch', 100);
SELECT count(*) FROM claim_job_executions('batch', 100, array['d1', 'd2', 'd3', 'd4', 'd5', 'd6']);
ROLLBACK;
BEGIN;
SELECT status FROM delete_job('batch', 'j1', force => true);
SELECT job_id, count(*) FROM claim_job_executions('batch', 100) GROUP BY 1;
ROLLBACK;
SELECT DISTINCT tenant_id, job_id FROM claim_job_executions('batch-b', 100);

-- Arguments.
SELECT c.args, ijtest.outcome('SELECT claim_job_executions(' || c.args || ')') AS outcome
FROM (VALUES ($$NULL$$), ($$'batch', NULL$$), ($$'batch', 0$$), ($$'batch', -1$$), ($$'batch', 10001$$), ($$''$$),
             ($$'batch', 1, array['d1', NULL]$$), ($$'batch', 1, array[NULL]::text[]$$), ($$'batch', 1, array['d1', '']$$)) c (args)
ORDER BY c.args COLLATE "C";
SELECT count(*) FROM ijtest.executions WHERE tenant_id = 'batch' AND status <> 'QUEUED';
SELECT count(*) FROM claim_job_executions('no such tenant', 10000);

-- Reports: one outcome each, in the order of the input; a bad one does not spoil the rest.
SELECT count(*) FROM claim_job_executions('batch', 10, array['d1', 'd2', 'd3']);
SELECT report_number, job_id, device_id, accepted, sqlstate, message IS NOT NULL AS explained, status, execution_number
FROM update_job_executions('batch', '[
    {"job_id": "j2", "device_id": "d3", "status": "SUCCEEDED", "status_details": {"n": 1}},
    {"job_id": "j1", "device_id": "d1", "status": "FAILED", "expected_execution_number": 2},
    {"job_id": "j1", "device_id": "d2", "status": "FAILED", "expected_execution_number": "2"},
    {"job_id": "j1", "device_id": "d3", "status": "FAILED", "expected_execution_number": 7},
    {"job_id": "j9", "device_id": "d1", "status": "SUCCEEDED"},
    {"job_id": "j2", "device_id": "d9", "status": "SUCCEEDED"},
    {"job_id": "j2", "device_id": "d3", "status": "SUCCEEDED"},
    {"job_id": "j2", "device_id": "d3", "status": "FAILED"},
    {"job_id": "j2", "device_id": "d1", "status": "IN_PROGRESS", "status_details": {"p": 50}},
    {"job_id": "j2", "device_id": "d1", "status": "SUCCEEDED"},
    {"job_id": "j2", "device_id": "d6", "status": "REJECTED"},
    {"job_id": "j2", "device_id": "d2", "status": "TIMED_OUT"},
    {"job_id": "j2", "device_id": "d2", "status": "IN_PROGRESS", "status_details": null, "expected_execution_number": null}
]');
SELECT * FROM ijtest.executions WHERE tenant_id = 'batch' ORDER BY job_id, device_id;
-- An accepted report has no message; a refused one has.
SELECT accepted, bool_or(message IS NULL) AS without, bool_or(message IS NOT NULL) AS with
FROM update_job_executions('batch', '[
    {"job_id": "j2", "device_id": "d3", "status": "SUCCEEDED"},
    {"job_id": "j2", "device_id": "d3", "status": "FAILED"}]') GROUP BY 1 ORDER BY 1;

-- Malformed reports are refused one by one.
SELECT r.report_number, r.accepted, r.sqlstate, r.job_id, r.device_id, r.status, r.execution_number
FROM update_job_executions('batch', '[
    5, "text", null, true, [], {},
    {"job_id": "j2", "device_id": "d4"},
    {"job_id": "j2", "status": "SUCCEEDED"},
    {"device_id": "d4", "status": "SUCCEEDED"},
    {"job_id": 5, "device_id": "d4", "status": "SUCCEEDED"},
    {"job_id": "j2", "device_id": ["d4"], "status": "SUCCEEDED"},
    {"job_id": "j2", "device_id": null, "status": "SUCCEEDED"},
    {"job_id": "j2", "device_id": "", "status": "SUCCEEDED"},
    {"job_id": "j2", "device_id": "d4", "status": "DONE"},
    {"job_id": "j2", "device_id": "d4", "status": "QUEUED"},
    {"job_id": "j2", "device_id": "d4", "status": 7},
    {"job_id": "j2", "device_id": "d4", "status": "SUCCEEDED", "status_details": []},
    {"job_id": "j2", "device_id": "d4", "status": "SUCCEEDED", "status_details": "text"},
    {"job_id": "j2", "device_id": "d4", "status": "SUCCEEDED", "expected_execution_number": 1.5},
    {"job_id": "j2", "device_id": "d4", "status": "SUCCEEDED", "expected_execution_number": 1e30},
    {"job_id": "j2", "device_id": "d4", "status": "SUCCEEDED", "expected_execution_number": 1e100000},
    {"job_id": "j2", "device_id": "d4", "status": "SUCCEEDED", "expected_execution_number": "one"},
    {"job_id": "j2", "device_id": "d4", "status": "SUCCEEDED", "expected_execution_number": ""},
    {"job_id": "j2", "device_id": "d4", "status": "SUCCEEDED", "expected_execution_number": "9223372036854775808"},
    {"job_id": "j2", "device_id": "d4", "status": "SUCCEEDED", "expected_execution_number": " 1"},
    {"job_id": "j2", "device_id": "d4", "status": "SUCCEEDED", "expected_execution_number": {}},
    {"job_id": "j2", "device_id": "d4", "status": "SUCCEEDED", "expected_execution_number": true},
    {"job_id": "j2", "device_id": "d4", "status": "IN_PROGRESS"}
]') r;
SELECT * FROM ijtest.executions WHERE tenant_id = 'batch' AND device_id = 'd4' ORDER BY job_id;

-- The same execution twice: in the order of the input.
SELECT report_number, accepted, sqlstate, status, execution_number
FROM update_job_executions('batch', '[
    {"job_id": "j2", "device_id": "d4", "status": "IN_PROGRESS", "status_details": {"p": 1}},
    {"job_id": "j1", "device_id": "d4", "status": "SUCCEEDED"},
    {"job_id": "j2", "device_id": "d4", "status": "IN_PROGRESS", "status_details": {"p": 2}},
    {"job_id": "j2", "device_id": "d4", "status": "SUCCEEDED"},
    {"job_id": "j2", "device_id": "d4", "status": "SUCCEEDED"},
    {"job_id": "j2", "device_id": "d4", "status": "IN_PROGRESS"}]');
SELECT * FROM ijtest.executions WHERE tenant_id = 'batch' AND device_id = 'd4' ORDER BY job_id;

-- Nothing to report.
SELECT count(*) FROM update_job_executions('batch', '[]');

-- The call itself.
SELECT left(c.args, 40) AS args, ijtest.outcome('SELECT update_job_executions(' || c.args || ')') AS outcome
FROM (VALUES ($$NULL, '[]'$$), ($$'batch', NULL$$), ($$'batch', '{}'$$), ($$'batch', '5'$$), ($$'batch', 'null'$$), ($$'batch', '"text"'$$),
             ($$'batch', (SELECT jsonb_agg('{}'::jsonb) FROM generate_series(1, 10001))$$), ($$'', '[]'$$)) c (args)
ORDER BY c.args COLLATE "C";
SELECT count(*), bool_or(accepted) FROM update_job_executions('batch', (SELECT jsonb_agg('{}'::jsonb) FROM generate_series(1, 10000)));

-- Another tenant's executions are not found.
SELECT accepted, sqlstate, status, execution_number
FROM update_job_executions('batch', '[{"job_id": "other", "device_id": "d1", "status": "SUCCEEDED"}]');

-- The batch completes jobs like single reports do.
SELECT bool_and(accepted), count(*) FROM update_job_executions('batch-b', '[
    {"job_id": "other", "device_id": "d2", "status": "SUCCEEDED"}, {"job_id": "other", "device_id": "d1", "status": "FAILED"}]');
SELECT completed FROM run_job_sweep();
SELECT status, succeeded, failed FROM describe_job('batch-b', 'other');

-- What a gateway reads.
SELECT report_number, sqlstate, message
FROM update_job_executions('batch', '[
    {"job_id": "j2", "device_id": "d4", "status": "FAILED"},
    {"job_id": "j2", "device_id": "d5", "status": "SUCCEEDED", "expected_execution_number": 9},
    {"job_id": "j9", "device_id": "d5", "status": "SUCCEEDED"},
    {"job_id": "j2", "device_id": "d5", "status": "TIMED_OUT"},
    {"job_id": "j2", "device_id": "d5", "status": "SUCCEEDED", "status_details": []},
    {"job_id": "j2", "device_id": "d5"},
    5]');

DELETE FROM tenants WHERE tenant_id LIKE 'batch%';
