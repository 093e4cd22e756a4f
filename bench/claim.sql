-- A device takes its next execution; the devices take turns.
\set n :n + 1
\set turn :first + (:n - 1) * :clients + :client_id
\set device 100000000000 + 1 + permute(:turn % :devices, :devices, 42)
SELECT * FROM start_next_pending_job_execution('tenant-0001', :device);
