-- Devices that have nothing to do with the job that is expired or canceled meanwhile.
\set n :n + 1
\set device 100000000000 + :base + 1 + permute((:n - 1) * :clients + :client_id, :devices, :seed)
SELECT * FROM start_next_pending_job_execution('tenant-0001', :device);
