-- A device takes its next execution; every device once a run.
\if :n = 0
    SELECT count(status_details) FROM job_executions;
\endif
\set n :n + 1
\set device 100000000000 + 1 + permute((:n - 1) * :clients + :client_id, :devices, :seed)
SELECT * FROM start_next_pending_job_execution('tenant-0001', :device);
