-- The least that any UPDATE can be: a row by its number, no index to write.
\set n :n + 1
\set turn :first + (:n - 1) * :clients + :client_id
\set number 1 + :turn / :devices * :devices + permute(:turn % :devices, :devices, 42)
UPDATE job_executions SET status = 'IN_PROGRESS', started_at = now(), last_updated_at = now() WHERE number = :number RETURNING number;
