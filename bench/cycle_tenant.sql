-- The same for whatever device of the tenant comes next.
SELECT job_id AS job, device_id AS device FROM claim_job_executions('tenant-0001', 1) \gset
SELECT execution_number FROM update_job_execution('tenant-0001', :job, :device, 'SUCCEEDED');
