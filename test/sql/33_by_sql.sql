-- By SQL a call reads what it changes, and not all of its job or of its tenant: the statements can be planned in the
-- order of the primary key only, whatever statistics and settings of the session say.
SELECT ijtest.add_tenant('plan', 60);
SET session_replication_role = replica;
INSERT INTO jobs (tenant_id, job_id, document_type, target_all) SELECT 'plan', 'j' || md5(j::text), 't', true FROM generate_series(1, 1000) j;
INSERT INTO job_executions (tenant_id, job_id, device_id) SELECT 'plan', 'j' || md5(j::text), 'd' || d FROM generate_series(1, 1000) j, generate_series(1, 20) d;
RESET session_replication_role;
VACUUM ANALYZE job_executions;

-- a trigger of the operator bars every short cut
CREATE FUNCTION ijtest.as_it_is() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN new; END$$;
CREATE TRIGGER zz_plan BEFORE UPDATE ON job_executions FOR EACH ROW EXECUTE FUNCTION ijtest.as_it_is();
SELECT total_executions FROM create_job('plan', 't', target_all => true, job_id => 'walk');

-- how many entries of which index a call reads
CREATE FUNCTION ijtest.entries_read() RETURNS bigint LANGUAGE sql AS $$
    SELECT sum(pg_stat_get_xact_tuples_returned(indexrelid))::bigint FROM pg_index WHERE indrelid = 'job_executions'::regclass
$$;
CREATE FUNCTION ijtest.reads(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    before bigint := ijtest.entries_read();
BEGIN
    EXECUTE call;
    RETURN CASE WHEN ijtest.entries_read() - before <= 10 THEN 'little' ELSE 'too much: ' || ijtest.entries_read() - before END;
END $$;
CREATE FUNCTION ijtest.calls_read() RETURNS TABLE (call text, reads text) LANGUAGE plpgsql AS $$
BEGIN
    FOREACH call IN ARRAY array[
        $c$SELECT cancel_job_execution('plan', 'walk', 'd31')$c$,
        $c$SELECT update_job_execution('plan', 'walk', 'd32', 'SUCCEEDED')$c$,
        $c$SELECT describe_job_execution('plan', 'walk', 'd33')$c$,
        $c$SELECT delete_job_execution('plan', 'walk', 'd34')$c$] LOOP
        reads := ijtest.reads(call);
        RETURN NEXT;
    END LOOP;
END $$;
BEGIN;
SELECT * FROM ijtest.calls_read();
ROLLBACK;
SET plan_cache_mode = force_custom_plan;
BEGIN;
SELECT * FROM ijtest.calls_read();
ROLLBACK;
RESET plan_cache_mode;

DROP TRIGGER zz_plan ON job_executions;
DROP FUNCTION ijtest.as_it_is, ijtest.calls_read, ijtest.reads, ijtest.entries_read;
DELETE FROM tenants WHERE tenant_id = 'plan';
