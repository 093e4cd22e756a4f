-- cancel_job and cancel_job_execution.
SELECT ijtest.add_tenant('cancel', 7, 3);
SELECT FROM create_job('cancel', 't', target_all => true, job_id => 'plain');
SELECT FROM create_job('cancel', 't', target_all => true, job_id => 'force');
SELECT FROM create_job('cancel', 't', target_group_id => 'g', job_id => 'bystander');

-- One execution in every state; QUEUED are d6 and d7.
SELECT FROM (VALUES ('plain'), ('force')) j (id), (VALUES ('d1', 'IN_PROGRESS'), ('d2', 'SUCCEEDED'), ('d3', 'FAILED'), ('d4', 'REJECTED')) s (device, status),
    update_job_execution('cancel', j.id, s.device, s.status, jsonb_build_object('was', s.status));
UPDATE job_executions SET status = 'TIMED_OUT' WHERE tenant_id = 'cancel' AND device_id = 'd5' AND job_id <> 'bystander';
UPDATE job_executions SET status_details = '{"was": "QUEUED"}' WHERE tenant_id = 'cancel' AND device_id = 'd6' AND job_id <> 'bystander';
CREATE TEMP TABLE before AS SELECT * FROM job_executions WHERE tenant_id = 'cancel';

-- Without force: the QUEUED are rejected, with the reason, and their number is raised.
BEGIN;
SELECT job_id, status, updated_at = now() AS updated_now, total_executions, queued, in_progress, succeeded, failed, timed_out, rejected
FROM cancel_job('cancel', 'plain');
SELECT e.device_id, e.status, e.status_details, e.execution_number - b.execution_number AS raised,
       e.started_at IS NOT NULL AS started, e.last_updated_at = now() AS updated_now
FROM job_executions e JOIN before b USING (tenant_id, job_id, device_id) WHERE e.tenant_id = 'cancel' AND job_id = 'plain' ORDER BY 1;
COMMIT;
-- With force: those in progress too.
SELECT job_id, status, total_executions, queued, in_progress, succeeded, failed, timed_out, rejected
FROM cancel_job('cancel', 'force', 'recalled by "QA"', true);
SELECT e.device_id, e.status, e.status_details, e.execution_number - b.execution_number AS raised
FROM job_executions e JOIN before b USING (tenant_id, job_id, device_id) WHERE e.tenant_id = 'cancel' AND job_id = 'force' ORDER BY 1;
-- Nobody else's.
SELECT count(*) AS changed FROM (SELECT * FROM job_executions WHERE tenant_id = 'cancel' AND job_id = 'bystander' EXCEPT TABLE before) x;

-- Again: not allowed, except to force what is still in progress; then it is allowed again and changes nothing.
SELECT ijtest.state_told($$SELECT cancel_job('cancel', 'plain')$$);
SELECT status, in_progress, rejected FROM cancel_job('cancel', 'plain', 'at last', force => true);
SELECT device_id, status, status_details FROM ijtest.executions WHERE tenant_id = 'cancel' AND job_id = 'plain' AND status_details ->> 'reason' IS NOT NULL ORDER BY 1;
SELECT status, in_progress, rejected FROM cancel_job('cancel', 'plain', 'once more', force => true);
SELECT device_id, status_details FROM ijtest.executions WHERE tenant_id = 'cancel' AND job_id = 'plain' AND status_details ->> 'reason' = 'once more';

-- From any other state: no.
SELECT FROM create_job('cancel', 't', target_device_id => 'd1', job_id => 'completed');
SELECT FROM update_job_execution('cancel', 'completed', 'd1', 'SUCCEEDED');
SELECT completed FROM run_job_sweep();
SELECT FROM create_job('cancel', 't', target_device_id => 'd1', job_id => 'deleted');
SELECT FROM delete_job('cancel', 'deleted', force => true);
SELECT j.id, f.force, ijtest.state_told(format('SELECT cancel_job(%L, %L, NULL, %L)', 'cancel', j.id, f.force))
FROM (VALUES ('completed'), ('deleted')) j (id), (VALUES (false), (true)) f (force) ORDER BY 1, 2;

-- A canceled job is not completed by a sweep, and gives nothing to claim.
SELECT FROM run_job_sweep();
SELECT status FROM describe_job('cancel', 'plain');
SELECT job_id, device_id FROM claim_job_executions('cancel', 100) ORDER BY 1, 2;

-- The device may still say what the operator has said.
SELECT status, status_details FROM update_job_execution('cancel', 'plain', 'd7', 'REJECTED');
SELECT ijtest.state_told($$SELECT update_job_execution('cancel', 'plain', 'd7', 'SUCCEEDED')$$);

-- A reason is any text.
SELECT FROM create_job('cancel', 't', target_device_id => 'd1', job_id => 'reason');
SELECT status FROM cancel_job('cancel', 'reason', E'line one\nline "two" \\ ключ');
SELECT status_details FROM ijtest.executions WHERE tenant_id = 'cancel' AND job_id = 'reason';
SELECT cancel_job('cancel', 'reason', repeat('x', 32755));
SELECT status FROM cancel_job('cancel', 'reason', repeat('x', 32754));

-- Errors.
SELECT ijtest.outcome($$SELECT cancel_job('cancel', 'no such job')$$) AS job,
       ijtest.outcome($$SELECT cancel_job('no such tenant', 'plain')$$) AS tenant,
       ijtest.outcome($$SELECT cancel_job(NULL, 'plain')$$) AS null_tenant,
       ijtest.outcome($$SELECT cancel_job('cancel', NULL)$$) AS null_job,
       ijtest.outcome($$SELECT cancel_job('cancel', 'plain', NULL, NULL)$$) AS null_force;

-- One execution.
SELECT FROM create_job('cancel', 't', target_all => true, job_id => 'e');
SELECT FROM (VALUES ('d3', 'IN_PROGRESS'), ('d4', 'SUCCEEDED'), ('d5', 'FAILED'), ('d6', 'REJECTED')) s (device, status),
    update_job_execution('cancel', 'e', s.device, s.status, jsonb_build_object('was', s.status));
SELECT tenant_id, job_id, device_id, status, status_details, execution_number, started_at FROM cancel_job_execution('cancel', 'e', 'd1') \gx
SELECT status, status_details, execution_number FROM cancel_job_execution('cancel', 'e', 'd2', 'replaced', expected_execution_number => 1);
-- In progress: force.
SELECT ijtest.state_told($$SELECT cancel_job_execution('cancel', 'e', 'd3')$$);
SELECT ijtest.state_told($$SELECT cancel_job_execution('cancel', 'e', 'd3', force => true, expected_execution_number => 1)$$);
SELECT status, status_details, execution_number FROM cancel_job_execution('cancel', 'e', 'd3', force => true, expected_execution_number => 2);
-- Ended: never, force or not, and an end is never a success here.
SELECT d.device, f.force, ijtest.state_told(format('SELECT cancel_job_execution(%L, %L, %L, NULL, %L)', 'cancel', 'e', d.device, f.force))
FROM (VALUES ('d1'), ('d4'), ('d5'), ('d6')) d (device), (VALUES (false), (true)) f (force) ORDER BY 1, 2;
SELECT ijtest.state_told($$SELECT cancel_job_execution('cancel', 'e', 'd7', expected_execution_number => 9)$$);
SELECT * FROM ijtest.executions WHERE tenant_id = 'cancel' AND job_id = 'e' ORDER BY device_id;
SELECT ijtest.outcome($$SELECT cancel_job_execution('cancel', 'no such job', 'd1')$$) AS job,
       ijtest.outcome($$SELECT cancel_job_execution('cancel', 'bystander', 'd7')$$) AS device,
       ijtest.outcome($$SELECT cancel_job_execution(NULL, 'e', 'd7')$$) AS null_tenant,
       ijtest.outcome($$SELECT cancel_job_execution('cancel', NULL, 'd7')$$) AS null_job,
       ijtest.outcome($$SELECT cancel_job_execution('cancel', 'e', NULL)$$) AS null_device;
-- The last open execution canceled: the job is complete.
SELECT completed FROM run_job_sweep();
SELECT status FROM cancel_job_execution('cancel', 'e', 'd7');
SELECT completed FROM run_job_sweep();
SELECT status, total_executions, succeeded, failed, rejected FROM describe_job('cancel', 'e');

-- What an operator reads.
SELECT cancel_job('cancel', 'no such job');
SELECT cancel_job('cancel', 'completed');
SELECT cancel_job('cancel', 'plain');
SELECT FROM start_next_pending_job_execution('cancel', 'd2');
SELECT cancel_job_execution('cancel', 'bystander', 'd2');
SELECT cancel_job_execution('cancel', 'e', 'd1');
SELECT cancel_job_execution('cancel', 'bystander', 'd7');

DELETE FROM tenants WHERE tenant_id LIKE 'cancel%';
