-- The same for any devices of the tenant.
SELECT coalesce(jsonb_agg(jsonb_build_object('job_id', job_id, 'device_id', device_id, 'status', 'SUCCEEDED')), '[]') AS reports FROM claim_job_executions('tenant-0001', :batch) \gset
SELECT count(*) FROM update_job_executions('tenant-0001', :reports);
