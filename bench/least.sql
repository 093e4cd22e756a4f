-- The least that can hold executions: found by a number in the only index, as wide as
-- those of migration 077, and with room for the next version in the same page.
CREATE TABLE job_executions (
    number          bigint      PRIMARY KEY,
    ids             text        NOT NULL DEFAULT 'tenant-0001 2026110000000000001 100000000001',
    status          text        NOT NULL DEFAULT 'QUEUED',
    queued_at       timestamptz NOT NULL DEFAULT now(),
    started_at      timestamptz,
    last_updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
