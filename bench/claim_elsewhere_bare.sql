-- A device's claim as one statement, as a service without the extension would send it.
\set n :n + 1
\set device 100000000000 + :base + 1 + permute((:n - 1) * :clients + :client_id, :devices, :seed)
UPDATE job_executions SET status = 'IN_PROGRESS', started_at = now(), last_updated_at = now() WHERE ctid = (SELECT ctid FROM job_executions WHERE tenant_id = 'tenant-0001' AND device_id = :device AND status = 'QUEUED' ORDER BY queued_at LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING job_id, device_id, execution_number;
