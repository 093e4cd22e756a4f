-- What is timed inside the server: from a commit, or a deadline, until the effect is
-- visible to another transaction.  The procedures commit as they go, so that each
-- look takes a new snapshot; between two looks they sleep 0.1 ms, to leave the cores
-- to those who work.

CREATE TABLE latencies (kind text, measured_at timestamptz DEFAULT clock_timestamp(), seconds float8);

-- the last report of each of these jobs, one after the other
CREATE PROCEDURE measure_completion(kind text, first_job bigint, jobs int, device text)
LANGUAGE plpgsql AS $$
DECLARE
    job     text;
    began   timestamptz;
    late    float8[] := '{}';
BEGIN
    FOR n IN 0 .. jobs - 1 LOOP
        job := (first_job + n)::text;
        PERFORM update_job_execution('tenant-0001', job, device, 'SUCCEEDED');
        COMMIT;
        began := clock_timestamp();
        LOOP
            EXIT WHEN (SELECT status = 'COMPLETED' FROM jobs WHERE tenant_id = 'tenant-0001' AND job_id = job);
            COMMIT;
            PERFORM pg_sleep(0.0001);
            IF clock_timestamp() > began + interval '30 s' THEN
                RAISE 'job % is not completed', job;
            END IF;
        END LOOP;
        late := late || extract(epoch FROM clock_timestamp() - began)::float8;
        COMMIT;
        PERFORM pg_sleep(0.005);
    END LOOP;
    INSERT INTO latencies (kind, seconds) SELECT kind, unnest(late);
END $$;

-- jobs that expire ahead of now, one after the other
CREATE PROCEDURE measure_expiry(kind text, jobs int, device text, ahead interval)
LANGUAGE plpgsql AS $$
DECLARE
    job     text;
    due     timestamptz;
    late    float8[] := '{}';
BEGIN
    FOR n IN 1 .. jobs LOOP
        due := clock_timestamp() + ahead;
        SELECT job_id INTO job
            FROM create_job('tenant-0001', 'ota', target_device_id => device, expires_at => due);
        COMMIT;
        LOOP
            EXIT WHEN (SELECT status = 'TIMED_OUT' FROM job_executions
                       WHERE tenant_id = 'tenant-0001' AND job_id = job AND device_id = device);
            COMMIT;
            PERFORM pg_sleep(0.0001);
            IF clock_timestamp() > due + interval '30 s' THEN
                RAISE 'job % did not expire', job;
            END IF;
        END LOOP;
        late := late || extract(epoch FROM clock_timestamp() - due)::float8;
        COMMIT;
    END LOOP;
    INSERT INTO latencies (kind, seconds) SELECT kind, unnest(late);
END $$;

-- wait for the end of a job, and see how long the worker's transactions are meanwhile;
-- returns the longest seen, in seconds
CREATE FUNCTION longest_transaction_of_worker() RETURNS float8
LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8
    FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type LIKE 'iot_jobs%' AND state = 'active'
$$;

CREATE PROCEDURE wait_for_completion(job text, INOUT longest float8 DEFAULT 0)
LANGUAGE plpgsql AS $$
DECLARE
    deadline timestamptz := clock_timestamp() + interval '10 min';
BEGIN
    LOOP
        EXIT WHEN (SELECT status = 'COMPLETED' FROM jobs WHERE tenant_id = 'tenant-0001' AND job_id = job);
        longest := greatest(longest, longest_transaction_of_worker());
        COMMIT;
        PERFORM pg_sleep(0.005);
        IF clock_timestamp() > deadline THEN
            RAISE 'job % is not completed', job;
        END IF;
    END LOOP;
END $$;

-- wait for the end of a job, and ask for its row again and again meanwhile; returns the
-- longest that this took, in seconds
CREATE PROCEDURE ask_until_completion(job text, INOUT longest float8 DEFAULT 0)
LANGUAGE plpgsql AS $$
DECLARE
    deadline timestamptz := clock_timestamp() + interval '10 min';
    began timestamptz;
    state text;
BEGIN
    LOOP
        began := clock_timestamp();
        SELECT status INTO state FROM jobs WHERE tenant_id = 'tenant-0001' AND job_id = job FOR NO KEY UPDATE;
        longest := greatest(longest, extract(epoch FROM clock_timestamp() - began));
        COMMIT;
        EXIT WHEN state = 'COMPLETED';
        PERFORM pg_sleep(1);
        IF clock_timestamp() > deadline THEN
            RAISE 'job % is not completed', job;
        END IF;
    END LOOP;
END $$;
