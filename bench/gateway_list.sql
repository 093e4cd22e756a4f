-- A gateway claims for the devices connected to it, and reports the whole batch.
\set n :n + 1
\set gateway permute(:first + (:n - 1) * :clients + :client_id, :gateways, :seed)
SELECT coalesce(jsonb_agg(jsonb_build_object('job_id', job_id, 'device_id', device_id, 'status', 'SUCCEEDED')), '[]') AS reports FROM claim_job_executions('tenant-0001', :batch, (SELECT device_ids FROM gateways WHERE gateway = :gateway)) \gset
SELECT count(*) FROM update_job_executions('tenant-0001', :reports);
