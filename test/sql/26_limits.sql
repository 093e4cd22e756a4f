-- The optimistic lock never goes back, not even at the end of bigint: then no step is
-- taken any more, and the row stays as it was.
SELECT ijtest.add_tenant('limit', 6, 3);
SELECT FROM create_job('limit', 't', target_all => true, job_id => 'full');
SELECT FROM start_next_pending_job_execution('limit', 'd1');
SELECT FROM start_next_pending_job_execution('limit', 'd2');
UPDATE job_executions SET execution_number = 9223372036854775807, status_details = '{"i": 1}' WHERE tenant_id = 'limit' AND device_id <> 'd6';
UPDATE job_executions SET execution_number = 9223372036854775806 WHERE tenant_id = 'limit' AND device_id = 'd6';
CREATE VIEW ijtest.limits AS SELECT device_id, status, number, status_details FROM ijtest.executions WHERE tenant_id = 'limit';
CREATE TEMPORARY TABLE before AS SELECT * FROM ijtest.limits;
SELECT device_id, status, number FROM before ORDER BY 1;
SELECT c.step, ijtest.outcome(c.call) FROM (VALUES
    (1, 'claim', $$SELECT start_next_pending_job_execution('limit', 'd3')$$),
    (2, 'claim batch', $$SELECT claim_job_executions('limit', 1, array['d3', 'd4'])$$),
    (3, 'report', $$SELECT update_job_execution('limit', 'full', 'd1', 'SUCCEEDED')$$),
    (4, 'report with number', $$SELECT update_job_execution('limit', 'full', 'd1', 'SUCCEEDED', NULL, 9223372036854775807)$$),
    (5, 'report with wrong number', $$SELECT update_job_execution('limit', 'full', 'd1', 'SUCCEEDED', NULL, -9223372036854775808)$$),
    (6, 'progress', $$SELECT update_job_execution('limit', 'full', 'd2', 'IN_PROGRESS', '{"i": 2}')$$),
    (7, 'cancel one', $$SELECT cancel_job_execution('limit', 'full', 'd4')$$),
    (8, 'cancel one by force', $$SELECT cancel_job_execution('limit', 'full', 'd1', force => true)$$),
    (9, 'cancel', $$SELECT cancel_job('limit', 'full')$$),
    (10, 'cancel by force', $$SELECT cancel_job('limit', 'full', force => true)$$),
    (11, 'cancel by hand', $$UPDATE jobs SET status = 'CANCELED' WHERE tenant_id = 'limit'$$),
    (12, 'step by hand', $$UPDATE job_executions SET status = 'FAILED' WHERE tenant_id = 'limit' AND device_id = 'd5'$$),
    (13, 'details by hand', $$UPDATE job_executions SET status_details = '{"i": 3}' WHERE tenant_id = 'limit' AND device_id = 'd5'$$)) c (n, step, call) ORDER BY c.n;
SELECT * FROM ijtest.limits EXCEPT SELECT * FROM before;
SELECT status FROM jobs WHERE tenant_id = 'limit';
-- a step that raises nothing is none
SELECT ijtest.outcome($$UPDATE job_executions SET queued_at = queued_at WHERE tenant_id = 'limit' AND device_id = 'd5'$$);
-- the last number can be reached
SELECT status, execution_number FROM start_next_pending_job_execution('limit', 'd6');
SELECT ijtest.outcome($$SELECT update_job_execution('limit', 'full', 'd6', 'SUCCEEDED')$$);
SELECT status, execution_number FROM start_next_pending_job_execution('limit', 'd6');
-- and what is full can still be read and removed
SELECT device_id, status, execution_number FROM list_job_executions_for_job('limit', 'full');
SELECT count(*) FROM get_pending_job_executions('limit', 'd3');
SELECT status, execution_number FROM delete_job_execution('limit', 'full', 'd3');
-- a sweep does not wrap it, either; it says so, and goes on with the next tenant
BEGIN;
SELECT ijtest.add_tenant('limit-2', 2, 1);
SELECT FROM create_job('limit-2', 't', target_all => true, job_id => 'fine');
UPDATE jobs SET expires_at = now() - interval '1 s' WHERE tenant_id IN ('limit', 'limit-2');
SELECT expired, completed, unfinished FROM run_job_sweep();
SELECT job_id, status FROM jobs WHERE tenant_id IN ('limit', 'limit-2') ORDER BY 1;
SELECT device_id, status, number FROM ijtest.limits ORDER BY 1;
ROLLBACK;
SELECT FROM delete_job('limit', 'full', force => true);
SELECT deleted FROM run_job_sweep();
DROP VIEW ijtest.limits;
DROP TABLE before;
DELETE FROM tenants WHERE tenant_id = 'limit';
