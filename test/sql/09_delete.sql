-- delete_job, delete_job_execution, purge_jobs, update_job.
SELECT ijtest.add_tenant('delete', 5, 3);
SELECT ijtest.add_tenant('delete-b', 1);
SELECT FROM (VALUES ('live'), ('canceled'), ('completed'), ('stays'), ('e')) j (id), create_job('delete', 't', target_group_id => 'g', job_id => j.id);
SELECT FROM cancel_job('delete', 'canceled');
SELECT bool_and(accepted) FROM update_job_executions('delete', (SELECT jsonb_agg(jsonb_build_object('job_id', 'completed', 'device_id', 'd' || i, 'status', 'SUCCEEDED')) FROM generate_series(1, 3) i));
SELECT completed FROM run_job_sweep();

-- A finished job; a job in progress only with force; a second time is no step.
BEGIN;
SELECT job_id, status, updated_at = now() AS updated_now, total_executions, succeeded FROM delete_job('delete', 'completed');
COMMIT;
SELECT status FROM delete_job('delete', 'canceled');
SELECT ijtest.state_told($$SELECT delete_job('delete', 'live')$$);
SELECT status FROM describe_job('delete', 'live');
SELECT status, queued FROM delete_job('delete', 'live', force => true);
SELECT ijtest.state_told($$SELECT delete_job('delete', 'live')$$);
SELECT ijtest.state_told($$SELECT delete_job('delete', 'live', force => true)$$);
SELECT ijtest.outcome($$SELECT delete_job('delete', 'no such job')$$) AS job,
       ijtest.outcome($$SELECT delete_job('no such tenant', 'stays')$$) AS tenant,
       ijtest.outcome($$SELECT delete_job(NULL, 'stays')$$) AS null_tenant,
       ijtest.outcome($$SELECT delete_job('delete', NULL)$$) AS null_job,
       ijtest.outcome($$SELECT delete_job('delete', 'stays', NULL)$$) AS null_force;

-- The rows are there until the sweep: executions in batches, then the job.
SELECT job_id, status FROM jobs WHERE tenant_id = 'delete' ORDER BY 1;
SELECT job_id, count(*) FROM job_executions WHERE tenant_id = 'delete' GROUP BY 1 ORDER BY 1;
SELECT expired, completed, deleted <= 2 AS bounded, unfinished FROM run_job_sweep(2);
SELECT count(*) < 15 AS some_gone, count(*) >= 13 AS no_more_than_asked FROM job_executions WHERE tenant_id = 'delete';
DO $$
DECLARE r job_sweep_result; rounds int := 0;
BEGIN
    LOOP
        r := run_job_sweep(2); rounds := rounds + 1;
        EXIT WHEN NOT r.unfinished OR rounds > 50;
        IF r.deleted > 2 THEN RAISE EXCEPTION 'more than asked: %', r; END IF;
    END LOOP;
    IF rounds > 50 THEN RAISE EXCEPTION 'no end'; END IF;
END $$;
SELECT job_id, status FROM jobs WHERE tenant_id = 'delete' ORDER BY 1;
SELECT job_id, count(*) FROM job_executions WHERE tenant_id = 'delete' GROUP BY 1 ORDER BY 1;
SELECT * FROM run_job_sweep();
-- The id is free again.
SELECT status, total_executions FROM create_job('delete', 't', target_group_id => 'g', job_id => 'live');

-- One execution: removed at once, and given back as it was.
SELECT FROM update_job_execution('delete', 'e', 'd1', 'SUCCEEDED', '{"a": 1}');
SELECT FROM update_job_execution('delete', 'e', 'd2', 'IN_PROGRESS', '{"a": 2}');
SELECT job_id, device_id, status, status_details, execution_number FROM delete_job_execution('delete', 'e', 'd1');
SELECT ijtest.state_told($$SELECT delete_job_execution('delete', 'e', 'd2')$$);
SELECT device_id, status, status_details, execution_number FROM delete_job_execution('delete', 'e', 'd2', force => true);
SELECT * FROM ijtest.executions WHERE tenant_id = 'delete' AND job_id = 'e';
SELECT ijtest.outcome($$SELECT delete_job_execution('delete', 'e', 'd1')$$) AS gone,
       ijtest.outcome($$SELECT delete_job_execution('delete', 'no such job', 'd1')$$) AS job,
       ijtest.outcome($$SELECT delete_job_execution(NULL, 'e', 'd3')$$) AS null_tenant,
       ijtest.outcome($$SELECT delete_job_execution('delete', NULL, 'd3')$$) AS null_job,
       ijtest.outcome($$SELECT delete_job_execution('delete', 'e', NULL)$$) AS null_device,
       ijtest.outcome($$SELECT delete_job_execution('delete', 'e', 'd3', NULL)$$) AS null_force;
SELECT status, total_executions FROM describe_job('delete', 'e');
-- A QUEUED one needs no force.
SELECT status, execution_number FROM delete_job_execution('delete', 'e', 'd3');
SELECT total_executions FROM describe_job('delete', 'e');

-- Retention: finished jobs, not touched for that long, of one tenant or of all that are visible.
-- Who asks for all says so: a tenant that is NULL by mistake is an error.
SELECT FROM (VALUES ('old completed'), ('old canceled'), ('old live'), ('young completed')) j (id), create_job('delete', 't', target_device_id => 'd5', job_id => j.id);
SELECT FROM create_job('delete-b', 't', target_all => true, job_id => 'old canceled');
SELECT FROM (VALUES ('old completed'), ('young completed')) j (id), update_job_execution('delete', j.id, 'd5', 'SUCCEEDED');
SELECT completed FROM run_job_sweep();
SELECT FROM cancel_job('delete', 'old canceled') a, cancel_job('delete-b', 'old canceled') b;
-- updated_at never goes back by itself: make these old behind the guards' back
SET session_replication_role = replica;
UPDATE jobs SET updated_at = now() - interval '31 days' WHERE tenant_id IN ('delete', 'delete-b') AND job_id LIKE 'old%';
RESET session_replication_role;
SELECT purge_jobs('delete', interval '32 days');
SELECT purge_jobs('delete', interval '30 days');
SELECT job_id, status FROM jobs WHERE tenant_id = 'delete' ORDER BY 1;
SELECT purge_jobs('delete', interval '30 days');
SELECT status FROM describe_job('delete-b', 'old canceled');
SELECT ijtest.outcome($$SELECT purge_jobs(NULL, interval '30 days')$$) AS null_tenant;
SELECT purge_all_jobs(interval '30 days');
SELECT status FROM describe_job('delete-b', 'old canceled');
SELECT purge_jobs('delete', interval '0') AS all_finished;
SELECT purge_jobs('no such tenant', interval '0');
SELECT ijtest.outcome($$SELECT purge_jobs('delete', NULL)$$) AS null_age,
       ijtest.outcome($$SELECT purge_jobs('delete', interval '-1 s')$$) AS negative,
       ijtest.outcome($$SELECT purge_jobs('', interval '1 s')$$) AS empty_tenant,
       ijtest.outcome($$SELECT purge_all_jobs(NULL)$$) AS all_null_age,
       ijtest.outcome($$SELECT purge_all_jobs(interval '-1 s')$$) AS all_negative;
SELECT ijtest.outcome($$SELECT purge_jobs('delete', interval '170000000 years')$$) AS longer_than_time_itself;
SELECT unfinished FROM run_job_sweep();
SELECT job_id, status FROM jobs WHERE tenant_id IN ('delete', 'delete-b') ORDER BY 1;

-- update_job moves the expiry of a job in progress.
BEGIN;
SELECT expires_at = now() + interval '2 hours' AS moved, updated_at = now() AS updated_now, status FROM update_job('delete', 'stays', now() + interval '2 hours');
SELECT expires_at FROM update_job('delete', 'stays', NULL);
COMMIT;
SELECT FROM create_job('delete', 't', target_device_id => 'd5', job_id => 'done');
SELECT FROM cancel_job('delete', 'done');
SELECT ijtest.state_told($$SELECT update_job('delete', 'done', now() + interval '1 hour')$$);
SELECT ijtest.state_told($$SELECT update_job('delete', 'done', NULL)$$);
SELECT ijtest.outcome($$SELECT update_job('delete', 'stays', now())$$) AS now,
       ijtest.outcome($$SELECT update_job('delete', 'stays', 'infinity')$$) AS infinity,
       ijtest.outcome($$SELECT update_job('delete', 'stays', '-infinity')$$) AS minus_infinity,
       ijtest.outcome($$SELECT update_job('delete', 'stays', now() + interval '11 years')$$) AS far_out,
       ijtest.outcome($$SELECT update_job('delete', 'no such job', NULL)$$) AS job,
       ijtest.outcome($$SELECT update_job(NULL, 'stays', NULL)$$) AS null_tenant,
       ijtest.outcome($$SELECT update_job('delete', NULL, NULL)$$) AS null_job;
SELECT expires_at, status FROM describe_job('delete', 'stays');

SELECT delete_job('delete', 'stays');
SELECT delete_job('delete', 'no such job');
SELECT FROM start_next_pending_job_execution('delete', 'd1');
SELECT delete_job_execution('delete', 'stays', 'd1');
SELECT purge_jobs('delete', interval '-1 s');

-- A job that a foreign key of the operator's deletes: no more of the tenant is locked than its own executions.
BEGIN;
CREATE TABLE ijtest.campaigns (name text PRIMARY KEY);
INSERT INTO ijtest.campaigns VALUES ('c');
ALTER TABLE jobs ADD campaign text REFERENCES ijtest.campaigns ON DELETE CASCADE;
SELECT FROM create_job('delete', 't', target_all => true, job_id => 'part');
SELECT FROM create_job('delete', 't', target_all => true, job_id => 'other');
UPDATE jobs SET campaign = 'c' WHERE job_id = 'part';
DELETE FROM ijtest.campaigns;
SELECT job_id, count(*), count(*) FILTER (WHERE xmax::text <> '0') AS locked FROM job_executions WHERE job_id IN ('part', 'other') GROUP BY 1;
ROLLBACK;

DELETE FROM tenants WHERE tenant_id LIKE 'delete%';
