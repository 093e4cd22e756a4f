-- The least that a claim can be: the row is known already, by its full key.
\set n :n + 1
\set turn :first + (:n - 1) * :clients + :client_id
\set job 2026110000000000000 + 1 + :turn / :devices
\set device 100000000000 + 1 + permute(:turn % :devices, :devices, 42)
UPDATE job_executions SET status = 'IN_PROGRESS', started_at = now(), last_updated_at = now() WHERE tenant_id = 'tenant-0001' AND job_id = :job AND device_id = :device RETURNING job_id, device_id, execution_number;
