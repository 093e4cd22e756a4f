SELECT * FROM claim_job_executions('tenant-0001', 1);
