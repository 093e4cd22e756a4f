-- The life of a job from end to end, as the documentation tells it.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS iot_jobs;
SELECT plan(65);

INSERT INTO tenants (tenant_id) VALUES ('acme'), ('globex');
INSERT INTO devices (tenant_id, device_id) SELECT 'acme', 'device-' || i FROM generate_series(1, 9) i;
INSERT INTO devices (tenant_id, device_id) VALUES ('globex', 'device-7');
INSERT INTO device_groups (tenant_id, group_id) VALUES ('acme', 'floor-2');
INSERT INTO device_group_members (tenant_id, group_id, device_id) SELECT 'acme', 'floor-2', 'device-' || i FROM generate_series(1, 3) i;

-- The surface is there.
SELECT has_table('public', t, t || ' is a table') FROM unnest(array['jobs', 'job_executions', 'tenants', 'devices', 'device_groups', 'device_group_members']) t;
SELECT has_view('public', 'iot_jobs_worker', 'the view of the worker');
SELECT has_function('public', f, f || ' is a function')
FROM unnest(array['create_job', 'describe_job', 'list_jobs', 'update_job', 'cancel_job', 'delete_job', 'purge_jobs', 'purge_all_jobs', 'list_job_executions_for_job',
                  'list_job_executions_for_device', 'cancel_job_execution', 'delete_job_execution', 'get_pending_job_executions', 'start_next_pending_job_execution',
                  'describe_job_execution', 'update_job_execution', 'claim_job_executions', 'update_job_executions', 'run_job_sweep']) f;
SELECT has_trigger('public', 'jobs', 'iot_jobs_guard', 'jobs are guarded');
SELECT has_trigger('public', 'jobs', 'iot_jobs_cascade_cancel', 'a canceled job cancels what is queued');
SELECT has_trigger('public', 'job_executions', 'iot_jobs_guard', 'executions are guarded');

-- The operator creates a job for every device.
SELECT is((SELECT total_executions FROM create_job('acme', 'reboot', '{"delay_s": 5}', target_all => true, job_id => 'j1', expires_at => now() + interval '1 hour')), 9::bigint, 'one execution a device');
SELECT results_eq($$SELECT status, queued, in_progress FROM describe_job('acme', 'j1')$$, $$VALUES ('IN_PROGRESS', 9::bigint, 0::bigint)$$, 'all of them queued');

-- A device asks, works, reports.
SELECT results_eq($$SELECT job_id, document_type, document_params, execution_number FROM start_next_pending_job_execution('acme', 'device-7')$$,
                  $$VALUES ('j1', 'reboot', '{"delay_s": 5}'::jsonb, 2::bigint)$$, 'the device gets its work');
SELECT results_eq($$SELECT job_id, execution_number FROM start_next_pending_job_execution('acme', 'device-7')$$, $$VALUES ('j1', 2::bigint)$$, 'and gets it again after a restart');
SELECT is((SELECT status_details FROM update_job_execution('acme', 'j1', 'device-7', 'IN_PROGRESS', '{"progress": 50}')), '{"progress": 50}', 'it reports progress');
SELECT throws_ok($$SELECT update_job_execution('acme', 'j1', 'device-7', 'SUCCEEDED', NULL, 2)$$, 'IJ003', NULL, 'a report that expects an old number is refused');
SELECT is((SELECT status FROM update_job_execution('acme', 'j1', 'device-7', 'SUCCEEDED', '{"message": "done"}', 3)), 'SUCCEEDED', 'and its end');
SELECT is((SELECT execution_number FROM update_job_execution('acme', 'j1', 'device-7', 'SUCCEEDED', '{"message": "done"}', 3)), 4::bigint, 'twice, on a bad link, is once');
SELECT throws_ok($$SELECT update_job_execution('acme', 'j1', 'device-7', 'FAILED')$$, 'IJ002', NULL, 'it cannot think otherwise afterwards');
SELECT is_empty($$SELECT * FROM start_next_pending_job_execution('acme', 'device-7')$$, 'nothing more to do');
SELECT is_empty($$SELECT * FROM start_next_pending_job_execution('globex', 'device-7')$$, 'the same name at another tenant is another device');

-- A gateway does so for many.
SELECT is((SELECT count(*) FROM claim_job_executions('acme', 10, array['device-1', 'device-2', 'device-3'])), 3::bigint, 'a gateway claims for its devices');
SELECT results_eq($$SELECT device_id, accepted, sqlstate FROM update_job_executions('acme', '[
    {"job_id": "j1", "device_id": "device-1", "status": "SUCCEEDED"}, {"job_id": "j1", "device_id": "device-x", "status": "SUCCEEDED"},
    {"job_id": "j1", "device_id": "device-2", "status": "FAILED", "status_details": {"why": "disk"}}, {"job_id": "j1", "device_id": "device-3", "status": "REJECTED"}]')$$,
    $$VALUES ('device-1', true, '00000'), ('device-x', false, 'IJ001'), ('device-2', true, '00000'), ('device-3', true, '00000')$$, 'and reports for them, each with its own outcome');

-- The operator looks, and cancels one.
SELECT results_eq($$SELECT queued, in_progress, succeeded, failed, rejected FROM describe_job('acme', 'j1')$$, $$VALUES (5::bigint, 0::bigint, 2::bigint, 1::bigint, 1::bigint)$$, 'the counts');
SELECT results_eq($$SELECT device_id FROM list_job_executions_for_job('acme', 'j1', 'QUEUED', 2)$$, $$VALUES ('device-4'), ('device-5')$$, 'who is still to come');
SELECT is((SELECT status_details FROM cancel_job_execution('acme', 'j1', 'device-4', 'out of order')), '{"reason": "out of order"}', 'one device is left out');

-- Two start, then it expires.
SELECT is((SELECT count(*) FROM claim_job_executions('acme', 2)), 2::bigint, 'two more start');
UPDATE jobs SET expires_at = now() - interval '1 s' WHERE tenant_id = 'acme' AND job_id = 'j1';
SELECT is_empty($$SELECT * FROM claim_job_executions('acme', 10)$$, 'past its expiry nothing starts');
SELECT results_eq($$SELECT expired, completed FROM run_job_sweep()$$, $$VALUES (2::bigint, 0::bigint)$$, 'the sweep ends what had not started');
SELECT is((SELECT status FROM describe_job('acme', 'j1')), 'IN_PROGRESS', 'what has started is waited for');
SELECT is((SELECT count(*) FROM job_executions e, update_job_execution('acme', 'j1', e.device_id, 'SUCCEEDED') WHERE e.status = 'IN_PROGRESS'), 2::bigint, 'they end');
SELECT results_eq($$SELECT expired, completed FROM run_job_sweep()$$, $$VALUES (0::bigint, 1::bigint)$$, 'and with them the job');
SELECT results_eq($$SELECT status, total_executions, queued, in_progress, succeeded, failed, timed_out, rejected FROM describe_job('acme', 'j1')$$,
    $$VALUES ('COMPLETED', 9::bigint, 0::bigint, 0::bigint, 4::bigint, 1::bigint, 2::bigint, 2::bigint)$$, 'COMPLETED, every device accounted for');
SELECT throws_ok($$SELECT cancel_job('acme', 'j1')$$, 'IJ002', NULL, 'too late to cancel');

-- A second one, for a group, is canceled.
SELECT is((SELECT total_executions FROM create_job('acme', 'update', target_group_id => 'floor-2', job_id => 'j2')), 3::bigint, 'a group');
SELECT is((SELECT count(*) FROM start_next_pending_job_execution('acme', 'device-1')), 1::bigint, 'one starts');
SELECT results_eq($$SELECT status, in_progress, rejected FROM cancel_job('acme', 'j2', 'wrong version')$$, $$VALUES ('CANCELED', 1::bigint, 2::bigint)$$, 'canceled: the queued are rejected');
SELECT results_eq($$SELECT status, in_progress, rejected FROM cancel_job('acme', 'j2', 'wrong version', force => true)$$, $$VALUES ('CANCELED', 0::bigint, 3::bigint)$$, 'with force the one in progress, too');
SELECT throws_ok($$INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('acme', 'j2', 'device-9')$$, 'IJ002', NULL, 'nobody joins a canceled job');
SELECT throws_ok($$UPDATE job_executions SET status = 'QUEUED' WHERE job_id = 'j2'$$, 'IJ002', NULL, 'nobody comes back');

-- A third one, for a device, is deleted.
SELECT is((SELECT total_executions FROM create_job('acme', 'update', target_device_id => 'device-9', job_id => 'j3')), 1::bigint, 'a device');
SELECT throws_ok($$SELECT delete_job('acme', 'j3')$$, 'IJ002', NULL, 'not deleted while in progress');
SELECT is((SELECT status FROM delete_job('acme', 'j3', force => true)), 'DELETION_IN_PROGRESS', 'unless forced');
SELECT is((SELECT deleted FROM run_job_sweep()), 2::bigint, 'the sweep removes the execution and the job');
SELECT throws_ok($$SELECT describe_job('acme', 'j3')$$, 'IJ001', NULL, 'and it is gone');
SELECT results_eq($$SELECT job_id FROM list_jobs('acme') ORDER BY job_id$$, $$VALUES ('j1'), ('j2')$$, 'the others are not');

SELECT * FROM finish();
ROLLBACK;
