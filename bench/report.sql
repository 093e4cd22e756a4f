-- A device reports; every execution once a run.
\set n :n + 1
\set execution permute(:first + (:n - 1) * :clients + :client_id, :jobs * :devices, 42)
\set job 2026110000000000000 + 1 + :execution / :devices
\set device 100000000000 + 1 + :execution % :devices
SELECT * FROM update_job_execution('tenant-0001', :job, :device, 'SUCCEEDED');
