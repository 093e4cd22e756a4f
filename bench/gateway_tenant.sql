-- The same for any devices of the tenant.
\if :n = 0
    SELECT count(status_details) AS warm_up FROM job_executions;
\endif
\set n :n + 1
SELECT coalesce(jsonb_agg(jsonb_build_object('job_id', job_id, 'device_id', device_id, 'status', 'SUCCEEDED')), '[]') AS reports FROM claim_job_executions('tenant-0001', :batch) \gset
SELECT count(*) FROM update_job_executions('tenant-0001', :reports);
