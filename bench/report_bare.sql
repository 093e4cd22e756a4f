-- The same rows in the same order; no check, no version, no completion of the job.
\set n :n + 1
\set execution permute(:first + (:n - 1) * :clients + :client_id, :jobs * :devices, 42)
\set job 2026110000000000000 + 1 + :execution / :devices
\set device 100000000000 + 1 + :execution % :devices
UPDATE job_executions SET status = 'SUCCEEDED', last_updated_at = now() WHERE tenant_id = 'tenant-0001' AND job_id = :job AND device_id = :device RETURNING execution_number;
