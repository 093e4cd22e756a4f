\if :n = 0
    SELECT count(status_details) AS warm_up FROM job_executions;
\endif
\set n :n + 1
SELECT * FROM claim_job_executions('tenant-0001', 1);
