-- The load beside a measurement: devices that have nothing to do with it claim and report.
\set n :n + 1
\set device 100000000000 + :base + 1 + permute((:n - 1) * :clients + :client_id, :devices, :seed)
SELECT job_id AS job FROM start_next_pending_job_execution('tenant-0001', :device) \gset
SELECT execution_number FROM update_job_execution('tenant-0001', :job, :device, 'SUCCEEDED');
