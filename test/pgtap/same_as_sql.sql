-- What bars the direct way bars nothing else: under everything that an administrator can do to the tables, each call
-- refuses, returns and leaves behind the very same directly, where that way is open, and by SQL.
BEGIN;
SET LOCAL client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS iot_jobs;
SELECT plan(11);

CREATE SCHEMA ijtest;
GRANT USAGE ON SCHEMA ijtest TO PUBLIC;
CREATE FUNCTION ijtest.by_sql() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
INSERT INTO tenants (tenant_id) VALUES ('same'), ('same-b');
INSERT INTO devices (tenant_id, device_id) SELECT 'same', 'd' || i FROM generate_series(1, 8) i UNION ALL SELECT 'same-b', 'd' || i FROM generate_series(1, 2) i;
INSERT INTO device_groups (tenant_id, group_id) VALUES ('same', 'g');
INSERT INTO device_group_members (tenant_id, group_id, device_id) SELECT 'same', 'g', 'd' || i FROM generate_series(1, 3) i;
CREATE ROLE regress_ij_same;
CREATE ROLE regress_ij_same_owner;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO regress_ij_same, regress_ij_same_owner;
GRANT SELECT, INSERT, UPDATE, DELETE ON jobs, job_executions TO regress_ij_same, regress_ij_same_owner;
GRANT SELECT ON tenants, devices, device_groups, device_group_members TO regress_ij_same, regress_ij_same_owner;

-- Everything that writes or reads job_executions.
CREATE TABLE ijtest.step (n int, step text, call text);
INSERT INTO ijtest.step VALUES
    (1, 'create', 'create_job(''same'', ''t'', target_all => true, job_id => ''new'')'),
    (2, 'create for a group', 'create_job(''same'', ''t'', target_group_id => ''g'', job_id => ''group'')'),
    (3, 'create elsewhere', 'create_job(''same-b'', ''t'', target_all => true, job_id => ''new'')'),
    (4, 'claim', 'start_next_pending_job_execution(''same'', ''d1'')'),
    (5, 'resume', 'start_next_pending_job_execution(''same'', ''d1'', ''{"again": true}'')'),
    (6, 'claim batch', 'claim_job_executions(''same'', 9, array[''d2'', ''d3'', ''d8''])'),
    (7, 'claim elsewhere', 'claim_job_executions(''same-b'', 9, array[''d1''])'),
    (8, 'report', 'update_job_execution(''same'', ''old'', ''d1'', ''SUCCEEDED'', ''{"done": true}'')'),
    (9, 'report elsewhere', 'update_job_execution(''same-b'', ''old'', ''d1'', ''SUCCEEDED'')'),
    (10, 'report batch', 'update_job_executions(''same'', ''[{"job_id": "old", "device_id": "d2", "status": "FAILED"}, {"job_id": "old", "device_id": "d8", "status": "IN_PROGRESS", "status_details": {"i": 1}}]'')'),
    (11, 'cancel one', 'cancel_job_execution(''same'', ''old'', ''d4'')'),
    (12, 'delete one', 'delete_job_execution(''same'', ''old'', ''d5'')'),
    (13, 'cancel', 'cancel_job(''same'', ''open'', force => true)'),
    (14, 'expire, complete, delete', 'run_job_sweep()'),
    (15, 'complete', 'run_job_sweep()'),
    (16, 'look', 'describe_job_execution(''same'', ''old'', ''d8'')');
GRANT SELECT ON ijtest.step TO PUBLIC;

-- What one call answers, or how it fails, without what differs from call to call.
CREATE FUNCTION ijtest.answer(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text; code text; message text; detail text; hint text; schema_ text; table_ text; column_ text; constraint_ text; type_ text;
BEGIN
    EXECUTE format('SELECT string_agg((to_jsonb(r) - ''{created_at,updated_at,queued_at,started_at,last_updated_at,expires_at}''::text[])::text, '' '' ORDER BY r::text COLLATE "C") FROM %s r', call) INTO answer;
    RETURN 'ok ' || coalesce(answer, 'no row');
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT,
        schema_ = SCHEMA_NAME, table_ = TABLE_NAME, column_ = COLUMN_NAME, constraint_ = CONSTRAINT_NAME, type_ = PG_DATATYPE_NAME;
    -- the moment in a failing row is not of interest
    RETURN regexp_replace(concat_ws('|', code, message, detail, hint, schema_, table_, column_, constraint_, type_), '\d\d\d\d-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?[+-]\d\d', 'TIME', 'g');
END $$;

-- All of them in one world, which is gone afterwards; what they left behind is the last answer.
CREATE FUNCTION ijtest.answers(ddl text, role text, by_sql boolean) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    s record; result text[] := '{}';
BEGIN
    BEGIN
        PERFORM create_job('same', 't', target_all => true, job_id => 'old'), create_job('same-b', 't', target_all => true, job_id => 'old'),
                create_job('same', 't', target_group_id => 'g', job_id => 'late', expires_in => '1 h'), create_job('same', 't', target_group_id => 'g', job_id => 'open'),
                create_job('same', 't', target_group_id => 'g', job_id => 'deleted'), create_job('same', 't', target_device_id => 'd7', job_id => 'done');
        UPDATE job_executions SET queued_at = now() - interval '1 day' WHERE job_id = 'old';
        PERFORM start_next_pending_job_execution('same', 'd8');
        PERFORM update_job_execution('same', 'done', 'd7', 'FAILED'), delete_job('same', 'deleted', force => true);
        UPDATE jobs SET expires_at = now() - interval '1 min' WHERE job_id = 'late';
        IF by_sql THEN
            CREATE TRIGGER ijtest_same AFTER INSERT OR UPDATE OR DELETE ON job_executions FOR EACH STATEMENT EXECUTE FUNCTION ijtest.by_sql();
        END IF;
        EXECUTE ddl;
        -- and on the table that took its place
        IF by_sql AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'job_executions'::regclass AND tgname = 'ijtest_same') THEN
            CREATE TRIGGER ijtest_same AFTER INSERT OR UPDATE OR DELETE ON job_executions FOR EACH STATEMENT EXECUTE FUNCTION ijtest.by_sql();
        END IF;
        PERFORM set_config('app.tenant_id', 'same', true), set_config('role', role, true);
        FOR s IN SELECT * FROM ijtest.step ORDER BY n LOOP
            result := result || ijtest.answer(s.call);
        END LOOP;
        -- what a commit would say
        BEGIN
            FOR s IN SELECT conname FROM pg_constraint WHERE conrelid = 'job_executions'::regclass AND condeferred LOOP
                EXECUTE format('SET CONSTRAINTS %I IMMEDIATE', s.conname);
            END LOOP;
            result := result || 'ok'::text;
        EXCEPTION WHEN OTHERS THEN
            result := result || concat_ws('|', SQLSTATE, SQLERRM);
        END;
        PERFORM set_config('role', 'none', true), set_config('row_security', 'on', true);
        result := result || (SELECT string_agg(concat_ws(' ', tenant_id, job_id, device_id, status, execution_number, status_details, started_at IS NOT NULL), ', ' ORDER BY tenant_id, job_id, device_id) FROM job_executions WHERE tenant_id LIKE 'same%')
                         || (SELECT string_agg(concat_ws(' ', tenant_id, job_id, status), ', ' ORDER BY tenant_id, job_id) FROM jobs WHERE tenant_id LIKE 'same%')
                         || coalesce((SELECT string_agg(what, ', ' ORDER BY what COLLATE "C") FROM ijtest.seen), 'no trigger');
        RAISE EXCEPTION 'back' USING ERRCODE = 'IJT01';
    EXCEPTION WHEN SQLSTATE 'IJT01' THEN
        RETURN result;
    END;
END $$;
-- the first step of which the two tell or leave different things; and what the steps came to
CREATE FUNCTION ijtest.compare(ddl text, role text, OUT difference text, OUT refused text, OUT broken text) LANGUAGE plpgsql AS $$
DECLARE
    direct text[] := ijtest.answers(ddl, role, false);
    by_sql text[] := ijtest.answers(ddl, role, true);
BEGIN
    SELECT format('%s: %s BUT BY SQL %s', coalesce(s.step, CASE n WHEN 17 THEN 'commit' ELSE 'left behind' END), d.answer, q.answer) INTO difference
    FROM unnest(direct) WITH ORDINALITY d (answer, n) FULL JOIN unnest(by_sql) WITH ORDINALITY q (answer, n) USING (n) LEFT JOIN ijtest.step s USING (n)
    WHERE d.answer IS DISTINCT FROM q.answer ORDER BY n LIMIT 1;
    SELECT string_agg(d.n || ' ' || left(d.answer, 5), ', ' ORDER BY d.n), string_agg(d.answer, ', ') FILTER (WHERE d.answer LIKE 'XX%')
    INTO refused, broken FROM unnest(direct) WITH ORDINALITY d (answer, n) WHERE d.answer !~ '^ok' AND d.n <= 17;
END $$;

CREATE TABLE ijtest.seen (what text);
GRANT SELECT, INSERT ON ijtest.seen TO PUBLIC;
CREATE FUNCTION ijtest.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_LEVEL = 'ROW' AND TG_OP <> 'DELETE' THEN
        INSERT INTO ijtest.seen VALUES (concat_ws(' ', TG_NAME, TG_OP, NEW.job_id, NEW.device_id, NEW.status, NEW.execution_number));
    ELSE
        INSERT INTO ijtest.seen VALUES (concat_ws(' ', TG_NAME, TG_OP, CASE WHEN TG_LEVEL = 'ROW' THEN OLD.device_id END));
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE FUNCTION ijtest.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'not on my watch' USING ERRCODE = 'P0077', DETAIL = concat_ws(' ', TG_NAME, TG_OP);
END $$;
CREATE FUNCTION ijtest.no_row() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;

CREATE TABLE ijtest.scene (n int GENERATED ALWAYS AS IDENTITY, scene text, ddl text, role text);
INSERT INTO ijtest.scene (scene, ddl, role) VALUES
    ('nothing', '', 'regress_ij_same'),
    ('nothing, as superuser', '', 'none'),
    ('hardened', 'SELECT use_hardened_tenants(true); INSERT INTO iot_jobs_tenant_roles VALUES (session_user, ''same'')', 'regress_ij_same'),
    ('hardened, any tenant', 'SELECT use_hardened_tenants(true); INSERT INTO iot_jobs_tenant_roles VALUES (session_user, NULL)', 'regress_ij_same'),
    ('hardened, another tenant', 'SELECT use_hardened_tenants(true); INSERT INTO iot_jobs_tenant_roles VALUES (session_user, ''same-b'')', 'regress_ij_same'),
    ('hardened, no tenant', 'SELECT use_hardened_tenants(true)', 'regress_ij_same'),
    ('hardened, one table not', 'SELECT use_hardened_tenants(true); INSERT INTO iot_jobs_tenant_roles VALUES (session_user, ''same-b''); DROP POLICY iot_jobs_login ON job_executions', 'regress_ij_same'),
    ('hardened, the map taken away', 'SELECT use_hardened_tenants(true); INSERT INTO iot_jobs_tenant_roles VALUES (session_user, ''same''); REVOKE SELECT ON iot_jobs_tenant_roles FROM PUBLIC', 'regress_ij_same'),
    ('hardened, a stricter map', 'SELECT use_hardened_tenants(true); INSERT INTO iot_jobs_tenant_roles VALUES (session_user, ''same''); CREATE POLICY p ON iot_jobs_tenant_roles AS RESTRICTIVE USING (false)', 'regress_ij_same'),
    ('hardened, a map of all', 'SELECT use_hardened_tenants(true); INSERT INTO iot_jobs_tenant_roles VALUES (session_user, ''same''), (''somebody'', NULL); ALTER TABLE iot_jobs_tenant_roles DISABLE ROW LEVEL SECURITY', 'regress_ij_same'),
    ('hardened, a renamed map', 'SELECT use_hardened_tenants(true); INSERT INTO iot_jobs_tenant_roles VALUES (session_user, ''same''); ALTER TABLE iot_jobs_tenant_roles RENAME TO roles; CREATE TABLE iot_jobs_tenant_roles AS SELECT session_user AS role_name, NULL::text AS tenant_id; GRANT SELECT ON iot_jobs_tenant_roles TO PUBLIC; DELETE FROM roles', 'regress_ij_same'),
    ('hardened by hand, with OR', 'SELECT use_hardened_tenants(true); ALTER POLICY iot_jobs_login ON job_executions USING (tenant_id = ANY (ARRAY(SELECT COALESCE(r.tenant_id, current_setting(''app.tenant_id'', true)) FROM iot_jobs_tenant_roles r WHERE r.role_name = SESSION_USER OR true))); INSERT INTO iot_jobs_tenant_roles VALUES (''somebody'', ''same'')', 'regress_ij_same'),
    ('hardened, and a stranger', 'SELECT use_hardened_tenants(true); INSERT INTO iot_jobs_tenant_roles VALUES (session_user, ''same''); CREATE POLICY p ON job_executions AS RESTRICTIVE USING (device_id <> ''d1'')', 'regress_ij_same'),
    ('the owner', 'ALTER TABLE jobs OWNER TO regress_ij_same_owner; ALTER TABLE job_executions OWNER TO regress_ij_same_owner', 'regress_ij_same_owner'),
    ('the owner, forced', 'ALTER TABLE jobs OWNER TO regress_ij_same_owner; ALTER TABLE job_executions OWNER TO regress_ij_same_owner; ALTER TABLE jobs FORCE ROW LEVEL SECURITY; ALTER TABLE job_executions FORCE ROW LEVEL SECURITY', 'regress_ij_same_owner'),
    ('not the owner, forced', 'ALTER TABLE jobs FORCE ROW LEVEL SECURITY; ALTER TABLE job_executions FORCE ROW LEVEL SECURITY', 'regress_ij_same'),
    ('one table forced', 'ALTER TABLE jobs OWNER TO regress_ij_same_owner; ALTER TABLE job_executions OWNER TO regress_ij_same_owner; ALTER TABLE jobs FORCE ROW LEVEL SECURITY', 'regress_ij_same_owner'),
    ('row security disabled', 'ALTER TABLE jobs DISABLE ROW LEVEL SECURITY; ALTER TABLE job_executions DISABLE ROW LEVEL SECURITY', 'regress_ij_same'),
    ('row security of one table disabled', 'ALTER TABLE job_executions DISABLE ROW LEVEL SECURITY', 'regress_ij_same'),
    ('row_security off', 'SET LOCAL row_security = off', 'regress_ij_same'),
    ('read only', 'SET LOCAL transaction_read_only = on', 'regress_ij_same'),
    ('session_replication_role', 'SET LOCAL session_replication_role = replica', 'none'),
    -- policies
    ('no policy', 'DROP POLICY job_executions_tenant_isolation ON job_executions', 'regress_ij_same'),
    ('no policy of jobs', 'DROP POLICY jobs_tenant_isolation ON jobs', 'regress_ij_same'),
    ('another setting', 'ALTER POLICY job_executions_tenant_isolation ON job_executions USING (tenant_id = current_setting(''app.other'', true))', 'regress_ij_same'),
    ('another check', 'ALTER POLICY job_executions_tenant_isolation ON job_executions WITH CHECK (tenant_id = current_setting(''app.tenant_id'', true) AND device_id <> ''d1'')', 'regress_ij_same'),
    ('only for others', 'ALTER POLICY job_executions_tenant_isolation ON job_executions TO regress_ij_same_owner', 'regress_ij_same'),
    ('a case of the setting', 'ALTER POLICY job_executions_tenant_isolation ON job_executions USING (tenant_id = lower(current_setting(''app.tenant_id'', true)))', 'regress_ij_same'),
    ('true for all', 'CREATE POLICY p ON job_executions USING (true); CREATE POLICY p ON jobs USING (true)', 'regress_ij_same'),
    ('restrictive', 'CREATE POLICY p ON job_executions AS RESTRICTIVE USING (device_id <> ''d1'')', 'regress_ij_same'),
    ('restrictive for others', 'CREATE POLICY p ON job_executions AS RESTRICTIVE TO regress_ij_same_owner USING (false)', 'regress_ij_same'),
    ('restrictive for all of jobs', 'CREATE POLICY p ON jobs AS RESTRICTIVE USING (job_id <> ''old'')', 'regress_ij_same'),
    ('restrictive for INSERT', 'CREATE POLICY p ON job_executions AS RESTRICTIVE FOR INSERT WITH CHECK (device_id <> ''d1'')', 'regress_ij_same'),
    ('restrictive for UPDATE, using', 'CREATE POLICY p ON job_executions AS RESTRICTIVE FOR UPDATE USING (device_id <> ''d1'') WITH CHECK (true)', 'regress_ij_same'),
    ('restrictive for UPDATE, check', 'CREATE POLICY p ON job_executions AS RESTRICTIVE FOR UPDATE USING (true) WITH CHECK (status <> ''IN_PROGRESS'')', 'regress_ij_same'),
    ('restrictive for DELETE', 'CREATE POLICY p ON job_executions AS RESTRICTIVE FOR DELETE USING (device_id <> ''d1'')', 'regress_ij_same'),
    ('restrictive for SELECT', 'CREATE POLICY p ON job_executions AS RESTRICTIVE FOR SELECT USING (device_id <> ''d1'')', 'regress_ij_same'),
    ('restrictive for SELECT of jobs', 'CREATE POLICY p ON jobs AS RESTRICTIVE FOR SELECT USING (job_id <> ''old'')', 'regress_ij_same'),
    ('restrictive on devices', 'CREATE POLICY p ON devices AS RESTRICTIVE USING (device_id <> ''d1'')', 'regress_ij_same'),
    ('policies only for INSERT and SELECT', 'DROP POLICY job_executions_tenant_isolation ON job_executions; CREATE POLICY p ON job_executions FOR SELECT USING (tenant_id = current_setting(''app.tenant_id'', true)); CREATE POLICY q ON job_executions FOR INSERT WITH CHECK (tenant_id = current_setting(''app.tenant_id'', true))', 'regress_ij_same'),
    -- rules, and other tables in place of the heap
    ('rule for INSERT', 'CREATE RULE r AS ON INSERT TO job_executions WHERE new.device_id = ''d1'' DO INSTEAD NOTHING', 'regress_ij_same'),
    ('rule also for INSERT', 'CREATE RULE r AS ON INSERT TO job_executions DO ALSO INSERT INTO ijtest.seen VALUES (new.device_id)', 'regress_ij_same'),
    ('rule for UPDATE', 'CREATE RULE r AS ON UPDATE TO job_executions DO INSTEAD NOTHING', 'regress_ij_same'),
    ('rule also for UPDATE', 'CREATE RULE r AS ON UPDATE TO job_executions WHERE new.status = ''SUCCEEDED'' DO ALSO INSERT INTO ijtest.seen VALUES (new.device_id)', 'regress_ij_same'),
    ('rule for DELETE', 'CREATE RULE r AS ON DELETE TO job_executions WHERE old.device_id = ''d1'' DO INSTEAD NOTHING', 'regress_ij_same'),
    ('a child table', 'CREATE TABLE ijtest.child () INHERITS (job_executions); INSERT INTO ijtest.child (tenant_id, job_id, device_id) VALUES (''same'', ''old'', ''child'')', 'regress_ij_same'),
    ('a partitioned table', 'ALTER TABLE job_executions RENAME TO heap; CREATE TABLE job_executions (LIKE heap INCLUDING ALL) PARTITION BY HASH (tenant_id);
        CREATE TABLE ijtest.part_0 PARTITION OF job_executions FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE ijtest.part_1 PARTITION OF job_executions FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        INSERT INTO job_executions SELECT * FROM heap; CREATE TRIGGER iot_jobs_guard BEFORE INSERT OR UPDATE OR DELETE ON job_executions FOR EACH ROW EXECUTE FUNCTION iot_jobs_guard_execution();
        ALTER TABLE job_executions ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON job_executions USING (tenant_id = current_setting(''app.tenant_id'', true)); GRANT ALL ON job_executions TO regress_ij_same', 'regress_ij_same'),
    ('a view', 'ALTER TABLE job_executions RENAME TO heap; CREATE VIEW job_executions AS SELECT * FROM heap; GRANT ALL ON job_executions TO regress_ij_same', 'regress_ij_same'),
    ('columns in another order', 'ALTER TABLE job_executions RENAME TO heap; CREATE TABLE job_executions (dropped int, last_updated_at timestamptz NOT NULL DEFAULT now(), status text NOT NULL DEFAULT ''QUEUED'', device_id text, job_id text, extra text DEFAULT ''x'', started_at timestamptz, tenant_id text, execution_number bigint NOT NULL DEFAULT 1, queued_at timestamptz NOT NULL DEFAULT now(), status_details jsonb, PRIMARY KEY (tenant_id, job_id, device_id));
        ALTER TABLE job_executions DROP COLUMN dropped; CREATE INDEX ON job_executions (tenant_id, device_id); INSERT INTO job_executions (tenant_id, job_id, device_id, status, queued_at, execution_number, started_at) SELECT tenant_id, job_id, device_id, status, queued_at, execution_number, started_at FROM heap; CREATE TRIGGER iot_jobs_guard BEFORE INSERT OR UPDATE OR DELETE ON job_executions FOR EACH ROW EXECUTE FUNCTION iot_jobs_guard_execution();
        ALTER TABLE job_executions ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON job_executions USING (tenant_id = current_setting(''app.tenant_id'', true)) WITH CHECK (tenant_id = current_setting(''app.tenant_id'', true)); GRANT ALL ON job_executions TO regress_ij_same', 'regress_ij_same'),
    ('another key', 'ALTER TABLE job_executions DROP CONSTRAINT job_executions_pkey; ALTER TABLE job_executions ADD PRIMARY KEY (device_id, tenant_id, job_id)', 'regress_ij_same'),
    ('no index by device', 'DROP INDEX idx_job_executions_device_queued', 'regress_ij_same'),
    ('a stranger of an index by device', 'DROP INDEX idx_job_executions_device_queued; CREATE INDEX ON job_executions (tenant_id, device_id) WHERE status = ''QUEUED''', 'regress_ij_same'),
    ('a narrower index by device', 'DROP INDEX idx_job_executions_device_queued; CREATE INDEX ON job_executions (tenant_id, device_id) WHERE status IN (''QUEUED'', ''IN_PROGRESS'') AND job_id <> ''old''', 'regress_ij_same'),
    -- constraints and columns
    ('check', 'ALTER TABLE job_executions ADD CONSTRAINT few CHECK (execution_number < 3)', 'regress_ij_same'),
    ('check of a new row', 'ALTER TABLE job_executions ADD CONSTRAINT not_d7 CHECK (device_id <> ''d7'') NOT VALID', 'regress_ij_same'),
    ('unique', 'CREATE UNIQUE INDEX one_at_a_time ON job_executions (tenant_id, job_id) WHERE status = ''SUCCEEDED''', 'regress_ij_same'),
    ('deferred unique', 'ALTER TABLE job_executions ADD COLUMN copy text GENERATED ALWAYS AS (CASE WHEN status = ''FAILED'' THEN ''x'' ELSE tenant_id || job_id || device_id END) STORED; ALTER TABLE job_executions ADD CONSTRAINT once UNIQUE (copy) DEFERRABLE INITIALLY DEFERRED', 'regress_ij_same'),
    ('deferred unique, at once', 'ALTER TABLE job_executions ADD CONSTRAINT once UNIQUE (tenant_id, job_id, device_id, status) DEFERRABLE', 'regress_ij_same'),
    ('exclusion', 'ALTER TABLE job_executions ADD CONSTRAINT alone EXCLUDE USING btree (device_id WITH =) WHERE (status = ''SUCCEEDED'')', 'regress_ij_same'),
    ('check of all new rows', 'ALTER TABLE job_executions ADD CONSTRAINT not_group CHECK (job_id <> ''group'') NOT VALID', 'regress_ij_same'),
    ('check that differs from call to call', 'CREATE SEQUENCE ijtest.calls; GRANT USAGE ON ijtest.calls TO PUBLIC; ALTER TABLE job_executions ADD CONSTRAINT ten CHECK (nextval(''ijtest.calls'') <= 10) NOT VALID', 'regress_ij_same'),
    ('check of the whole row', 'CREATE FUNCTION ijtest.fits(job_executions) RETURNS boolean IMMUTABLE LANGUAGE sql AS ''SELECT $1.device_id <> ''''d6''''''; ALTER TABLE job_executions ADD CONSTRAINT fits CHECK (ijtest.fits(job_executions)) NOT VALID', 'regress_ij_same'),
    ('unique among new rows', 'CREATE UNIQUE INDEX one ON job_executions (tenant_id, job_id) WHERE job_id = ''group''', 'regress_ij_same'),
    ('unique among some new rows', 'CREATE UNIQUE INDEX one ON job_executions (tenant_id, job_id) WHERE job_id = ''new'' AND device_id > ''d6''', 'regress_ij_same'),
    ('unique but for new rows', 'CREATE UNIQUE INDEX one ON job_executions (tenant_id, job_id) WHERE job_id = ''nobody''', 'regress_ij_same'),
    ('unique by one column twice', 'CREATE UNIQUE INDEX one ON job_executions (device_id, device_id) INCLUDE (status_details, device_id) WHERE job_id IN (''group'', ''new'')', 'regress_ij_same'),
    ('exclusion among new rows', 'ALTER TABLE job_executions ADD CONSTRAINT alone EXCLUDE USING btree (tenant_id WITH =, job_id WITH =) WHERE (job_id = ''group'')', 'regress_ij_same'),
    ('index of the device that fails', 'CREATE INDEX ON job_executions ((1 / CASE WHEN job_id = ''new'' AND device_id = ''d8'' THEN 0 ELSE 1 END))', 'regress_ij_same'),
    ('index on condition of the device that fails', 'CREATE INDEX ON job_executions (status) WHERE 1 / CASE WHEN job_id = ''new'' AND device_id = ''d8'' THEN 0 ELSE 1 END = 1', 'regress_ij_same'),
    ('index on condition that fails', 'CREATE INDEX ON job_executions (status) WHERE 1 / CASE WHEN job_id = ''group'' THEN 0 ELSE 1 END = 1', 'regress_ij_same'),
    ('index on condition that may not be called', 'CREATE FUNCTION ijtest.secret(text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS ''BEGIN RETURN true; END''; CREATE INDEX ON job_executions (status) WHERE ijtest.secret(job_id); REVOKE ALL ON FUNCTION ijtest.secret FROM PUBLIC', 'regress_ij_same'),
    ('index that fails', 'CREATE INDEX ON job_executions ((1 / CASE WHEN job_id = ''old'' AND status IN (''SUCCEEDED'', ''REJECTED'') THEN 0 ELSE 1 END))', 'regress_ij_same'),
    ('generated column', 'ALTER TABLE job_executions ADD COLUMN loud text GENERATED ALWAYS AS (upper(device_id) || status) STORED', 'regress_ij_same'),
    ('identity column', 'ALTER TABLE job_executions ADD COLUMN n int GENERATED ALWAYS AS IDENTITY', 'regress_ij_same'),
    ('column that must be given', 'ALTER TABLE job_executions ADD COLUMN needed text; ALTER TABLE job_executions ADD CONSTRAINT needed CHECK (needed IS NOT NULL) NOT VALID', 'regress_ij_same'),
    ('default that may not be called', 'CREATE FUNCTION ijtest.secret() RETURNS text STABLE LANGUAGE plpgsql AS ''BEGIN RETURN 1; END''; REVOKE ALL ON FUNCTION ijtest.secret FROM PUBLIC; ALTER TABLE job_executions ADD COLUMN secret text; ALTER TABLE job_executions ALTER COLUMN secret SET DEFAULT ijtest.secret()', 'regress_ij_same'),
    ('check that may not be called', 'CREATE FUNCTION ijtest.secret(text) RETURNS boolean STABLE LANGUAGE plpgsql AS ''BEGIN RETURN true; END''; REVOKE ALL ON FUNCTION ijtest.secret FROM PUBLIC; ALTER TABLE job_executions ADD CONSTRAINT secret CHECK (ijtest.secret(device_id))', 'regress_ij_same'),
    ('another default', 'ALTER TABLE job_executions ALTER COLUMN execution_number SET DEFAULT 41', 'regress_ij_same'),
    ('a default that is refused', 'ALTER TABLE job_executions ALTER COLUMN status SET DEFAULT ''SUCCEEDED''', 'regress_ij_same'),
    ('a foreign key', 'ALTER TABLE job_executions ADD FOREIGN KEY (tenant_id, device_id) REFERENCES devices', 'regress_ij_same'),
    ('published without identity', 'SET LOCAL client_min_messages = error; ALTER TABLE job_executions REPLICA IDENTITY NOTHING; CREATE PUBLICATION regress_ij_same FOR TABLE job_executions', 'regress_ij_same'),
    ('guard renamed', 'ALTER TRIGGER iot_jobs_guard ON job_executions RENAME TO somebody', 'regress_ij_same'),
    ('guard disabled', 'ALTER TABLE job_executions DISABLE TRIGGER iot_jobs_guard', 'regress_ij_same'),
    ('guard replaced', 'DROP TRIGGER iot_jobs_guard ON job_executions; CREATE TRIGGER iot_jobs_guard BEFORE INSERT OR UPDATE OR DELETE ON job_executions FOR EACH ROW EXECUTE FUNCTION ijtest.refuse()', 'regress_ij_same'),
    ('guard on condition', 'DROP TRIGGER iot_jobs_guard ON job_executions; CREATE TRIGGER iot_jobs_guard BEFORE INSERT OR UPDATE ON job_executions FOR EACH ROW WHEN (new.device_id <> ''d1'') EXECUTE FUNCTION iot_jobs_guard_execution()', 'regress_ij_same');
-- triggers: every kind
INSERT INTO ijtest.scene (scene, ddl, role)
SELECT format('%s %s %s %s', f, w, e, l), format('CREATE TRIGGER %s %s %s ON job_executions FOR EACH %s EXECUTE FUNCTION ijtest.%s()', o, w, e, l, f), 'regress_ij_same'
FROM unnest('{note,refuse,no_row}'::text[]) f, unnest('{BEFORE,AFTER}'::text[]) w, unnest('{INSERT,UPDATE,DELETE}'::text[]) e, unnest('{ROW,STATEMENT}'::text[]) l, unnest('{zz}'::text[]) o
WHERE f <> 'no_row' OR w = 'BEFORE' AND l = 'ROW'
ORDER BY 1;
INSERT INTO ijtest.scene (scene, ddl, role)
SELECT format('note %s UPDATE OF %s', w, c), format('CREATE TRIGGER zz %s UPDATE OF %s ON job_executions FOR EACH ROW EXECUTE FUNCTION ijtest.note()', w, c), 'regress_ij_same'
FROM unnest('{BEFORE,AFTER}'::text[]) w, unnest('{status,status_details,execution_number,started_at,last_updated_at,queued_at}'::text[]) c ORDER BY 1;
INSERT INTO ijtest.scene (scene, ddl, role) VALUES
    ('AFTER on condition', 'CREATE TRIGGER zz AFTER UPDATE ON job_executions FOR EACH ROW WHEN (old.status IS DISTINCT FROM new.status) EXECUTE FUNCTION ijtest.note()', 'regress_ij_same'),
    ('AFTER, refusing on condition', 'CREATE TRIGGER zz AFTER UPDATE ON job_executions FOR EACH ROW WHEN (new.device_id = ''d2'') EXECUTE FUNCTION ijtest.refuse()', 'regress_ij_same'),
    ('constraint trigger', 'CREATE CONSTRAINT TRIGGER zz AFTER INSERT OR UPDATE ON job_executions DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ijtest.refuse()', 'regress_ij_same'),
    ('constraint trigger, at once', 'CREATE CONSTRAINT TRIGGER zz AFTER INSERT OR UPDATE ON job_executions FOR EACH ROW EXECUTE FUNCTION ijtest.refuse()', 'regress_ij_same'),
    ('transition table', 'CREATE TRIGGER zz AFTER UPDATE ON job_executions REFERENCING NEW TABLE AS n OLD TABLE AS o FOR EACH STATEMENT EXECUTE FUNCTION ijtest.note()', 'regress_ij_same'),
    ('only on replicas', 'CREATE TRIGGER zz BEFORE UPDATE ON job_executions FOR EACH ROW EXECUTE FUNCTION ijtest.refuse(); ALTER TABLE job_executions ENABLE REPLICA TRIGGER zz', 'regress_ij_same'),
    ('always', 'CREATE TRIGGER zz AFTER UPDATE ON job_executions FOR EACH ROW EXECUTE FUNCTION ijtest.note(); ALTER TABLE job_executions ENABLE ALWAYS TRIGGER zz', 'regress_ij_same'),
    ('disabled', 'CREATE TRIGGER zz BEFORE UPDATE ON job_executions FOR EACH ROW EXECUTE FUNCTION ijtest.refuse(); ALTER TABLE job_executions DISABLE TRIGGER zz', 'regress_ij_same'),
    ('one that may not be called', 'CREATE FUNCTION ijtest.secret_note() RETURNS trigger LANGUAGE plpgsql AS ''BEGIN RETURN NEW; END''; REVOKE ALL ON FUNCTION ijtest.secret_note FROM PUBLIC; CREATE TRIGGER zz AFTER UPDATE ON job_executions FOR EACH ROW EXECUTE FUNCTION ijtest.secret_note()', 'regress_ij_same'),
    ('on jobs', 'CREATE TRIGGER zz BEFORE UPDATE ON jobs FOR EACH ROW WHEN (new.job_id = ''open'') EXECUTE FUNCTION ijtest.refuse()', 'regress_ij_same');
CREATE TABLE ijtest.compared AS
    SELECT s.n, s.scene, s.ddl, c.* FROM ijtest.scene s, ijtest.compare(s.ddl, s.role) c;
SELECT is_empty('SELECT scene, difference FROM ijtest.compared WHERE difference IS NOT NULL', 'directly and by SQL each scene comes to the same');
SELECT is_empty('SELECT scene, broken FROM ijtest.compared WHERE broken IS NOT NULL', 'and nothing breaks');
-- Which steps each scene refuses beyond those of other tenants, and how: a scene that bars nothing would compare nothing.
CREATE TABLE ijtest.expected (n int GENERATED ALWAYS AS IDENTITY, scene text, refused text);
INSERT INTO ijtest.expected (scene, refused) VALUES
    ('nothing, as superuser', ''),
    ('hardened, another tenant', '1 IJ004, 2 IJ004, 3 IJ004, 8 IJ001, 9 IJ001, 11 IJ001, 12 IJ001, 13 IJ001, 16 IJ001'),
    ('hardened, no tenant', '1 IJ004, 2 IJ004, 3 IJ004, 8 IJ001, 9 IJ001, 11 IJ001, 12 IJ001, 13 IJ001, 16 IJ001'),
    ('hardened, one table not', '1 IJ004, 2 IJ004, 3 IJ004, 9 IJ001, 13 IJ001, 16 IJ001'),
    ('hardened, the map taken away', '1 42501, 2 42501, 3 42501, 4 42501, 5 42501, 6 42501, 7 42501, 8 42501, 9 42501, 10 42501, 11 42501, 12 42501, 13 42501, 14 42501, 15 42501, 16 42501'),
    ('hardened, a stricter map', '1 IJ004, 2 IJ004, 3 IJ004, 8 IJ001, 9 IJ001, 11 IJ001, 12 IJ001, 13 IJ001, 16 IJ001'),
    ('hardened, a renamed map', '1 IJ004, 2 IJ004, 3 IJ004, 8 IJ001, 9 IJ001, 11 IJ001, 12 IJ001, 13 IJ001, 16 IJ001'),
    ('hardened by hand, with OR', '1 IJ004, 2 IJ004, 3 IJ004, 8 IJ001, 9 IJ001, 11 IJ001, 12 IJ001, 13 IJ001, 16 IJ001'),
    ('hardened, and a stranger', '1 42501, 2 42501, 3 IJ004, 8 IJ001, 9 IJ001'),
    ('the owner', '3 IJ004'),
    ('one table forced', '3 IJ004'),
    ('row security disabled', '3 IJ004'),
    ('row security of one table disabled', '3 IJ004'),
    ('row_security off', '1 42501, 2 42501, 3 42501, 4 42501, 5 42501, 6 42501, 7 42501, 8 42501, 9 42501, 10 42501, 11 42501, 12 42501, 13 42501, 14 42501, 15 42501, 16 42501'),
    ('read only', '1 25006, 2 25006, 3 25006, 4 25006, 5 25006, 6 25006, 7 25006, 8 25006, 9 25006, 10 25006, 11 25006, 12 25006, 13 25006, 14 25006, 15 25006'),
    ('session_replication_role', ''),
    ('no policy', '1 42501, 2 42501, 3 IJ004, 8 IJ001, 9 IJ001, 11 IJ001, 12 IJ001, 16 IJ001'),
    ('no policy of jobs', '1 42501, 2 42501, 3 IJ004, 9 IJ001, 13 IJ001, 16 IJ001'),
    ('another setting', '3 IJ004, 8 IJ001, 9 IJ001, 11 IJ001, 12 IJ001, 16 IJ001'),
    ('another check', '1 42501, 2 42501, 3 IJ004, 4 42501, 5 42501, 8 42501, 9 IJ001, 13 42501, 14 42501, 15 42501'),
    ('only for others', '1 42501, 2 42501, 3 IJ004, 8 IJ001, 9 IJ001, 11 IJ001, 12 IJ001, 16 IJ001'),
    ('true for all', '3 IJ004'),
    ('restrictive', '1 42501, 2 42501, 3 IJ004, 8 IJ001, 9 IJ001'),
    ('restrictive for all of jobs', '3 IJ004, 9 IJ001, 16 IJ001'),
    ('restrictive for INSERT', '1 42501, 2 42501, 3 IJ004, 9 IJ001'),
    ('restrictive for UPDATE, using', '3 IJ004, 8 42501, 9 IJ001'),
    ('restrictive for UPDATE, check', '3 IJ004, 4 42501, 5 42501, 6 42501, 9 IJ001, 10 42501'),
    ('restrictive for SELECT', '3 IJ004, 8 IJ001, 9 IJ001'),
    ('restrictive for SELECT of jobs', '3 IJ004, 9 IJ001, 16 IJ001'),
    ('policies only for INSERT and SELECT', '3 IJ004, 8 42501, 9 IJ001, 10 42501, 11 42501, 12 42501'),
    ('rule for UPDATE', '3 IJ004, 4 0A000, 5 0A000, 6 0A000, 7 0A000, 8 0A000, 9 0A000, 10 0A000, 11 0A000, 13 0A000'),
    ('rule also for UPDATE', '3 IJ004, 4 0A000, 5 0A000, 6 0A000, 7 0A000, 9 IJ001'),
    ('rule for DELETE', '3 IJ004, 9 IJ001, 12 0A000'),
    ('a view', '3 IJ004, 4 42703, 5 42703, 6 42703, 7 42703, 8 42703, 9 42703, 10 42703, 11 42703, 12 42703, 13 42703'),
    ('check', '3 IJ004, 8 23514, 9 IJ001, 10 23514, 13 23514'),
    ('check of a new row', '1 23514, 3 IJ004, 9 IJ001'),
    ('deferred unique', '3 IJ004, 9 IJ001, 17 23505'),
    ('check of all new rows', '2 23514, 3 IJ004, 9 IJ001'),
    ('check that differs from call to call', '2 23514, 3 IJ004, 4 23514, 5 23514, 6 23514, 8 23514, 9 IJ001, 10 23514, 11 23514, 13 23514'),
    ('check of the whole row', '1 23514, 3 IJ004, 9 IJ001'),
    ('unique among new rows', '2 23505, 3 IJ004, 9 IJ001'),
    ('unique among some new rows', '1 23505, 3 IJ004, 9 IJ001'),
    ('unique by one column twice', '2 23505, 3 IJ004, 9 IJ001'),
    ('exclusion among new rows', '2 23P01, 3 IJ004, 9 IJ001'),
    ('index of the device that fails', '1 22012, 3 IJ004, 9 IJ001'),
    ('index on condition of the device that fails', '1 22012, 3 IJ004, 9 IJ001'),
    ('index on condition that fails', '2 22012, 3 IJ004, 9 IJ001'),
    ('index on condition that may not be called', '1 42501, 2 42501, 3 IJ004, 4 42501, 5 42501, 6 42501, 8 42501, 9 IJ001, 10 42501, 11 42501, 13 42501, 14 42501, 15 42501'),
    ('index that fails', '3 IJ004, 8 22012, 9 IJ001, 11 22012'),
    ('column that must be given', '1 23514, 2 23514, 3 IJ004, 4 23514, 5 23514, 6 23514, 8 23514, 9 IJ001, 10 23514, 11 23514, 13 23514'),
    ('default that may not be called', '1 42501, 2 42501, 3 IJ004, 9 IJ001'),
    ('check that may not be called', '1 42501, 2 42501, 3 IJ004, 4 42501, 5 42501, 6 42501, 8 42501, 9 IJ001, 10 42501, 11 42501, 13 42501, 14 42501, 15 42501'),
    ('a default that is refused', '1 IJ002, 2 IJ002, 3 IJ004, 9 IJ001'),
    ('published without identity', '3 IJ004, 4 55000, 5 55000, 6 55000, 7 55000, 8 55000, 9 55000, 10 55000, 11 55000, 12 55000, 13 55000'),
    ('guard replaced', '1 P0077, 2 P0077, 3 IJ004, 4 P0077, 5 P0077, 6 P0077, 8 P0077, 9 IJ001, 10 P0077, 11 P0077, 12 P0077, 13 P0077'),
    ('no_row BEFORE DELETE ROW', '3 IJ004, 9 IJ001, 12 42501'),
    ('no_row BEFORE INSERT ROW', '1 IJ004, 2 IJ004, 3 IJ004, 9 IJ001'),
    ('no_row BEFORE UPDATE ROW', '3 IJ004, 8 42501, 9 IJ001, 10 42501, 11 42501'),
    ('refuse AFTER DELETE ROW', '3 IJ004, 9 IJ001, 12 P0077'),
    ('refuse AFTER DELETE STATEMENT', '3 IJ004, 9 IJ001, 12 P0077'),
    ('refuse AFTER INSERT ROW', '1 P0077, 2 P0077, 3 IJ004, 9 IJ001'),
    ('refuse AFTER INSERT STATEMENT', '1 P0077, 2 P0077, 3 IJ004, 9 IJ001'),
    ('refuse AFTER UPDATE ROW', '3 IJ004, 4 P0077, 5 P0077, 6 P0077, 8 P0077, 9 IJ001, 10 P0077, 11 P0077, 13 P0077'),
    ('refuse AFTER UPDATE STATEMENT', '3 IJ004, 4 P0077, 5 P0077, 6 P0077, 7 P0077, 8 P0077, 9 P0077, 10 P0077, 11 P0077, 13 P0077'),
    ('refuse BEFORE DELETE ROW', '3 IJ004, 9 IJ001, 12 P0077'),
    ('refuse BEFORE DELETE STATEMENT', '3 IJ004, 9 IJ001, 12 P0077'),
    ('refuse BEFORE INSERT ROW', '1 P0077, 2 P0077, 3 IJ004, 9 IJ001'),
    ('refuse BEFORE INSERT STATEMENT', '1 P0077, 2 P0077, 3 IJ004, 9 IJ001'),
    ('refuse BEFORE UPDATE ROW', '3 IJ004, 4 P0077, 5 P0077, 6 P0077, 8 P0077, 9 IJ001, 10 P0077, 11 P0077, 13 P0077'),
    ('refuse BEFORE UPDATE STATEMENT', '3 IJ004, 4 P0077, 5 P0077, 6 P0077, 7 P0077, 8 P0077, 9 P0077, 10 P0077, 11 P0077, 13 P0077'),
    ('AFTER, refusing on condition', '3 IJ004, 6 P0077, 9 IJ001, 10 P0077, 13 P0077'),
    ('constraint trigger', '3 IJ004, 9 IJ001, 17 P0077'),
    ('constraint trigger, at once', '1 P0077, 2 P0077, 3 IJ004, 4 P0077, 5 P0077, 6 P0077, 8 P0077, 9 IJ001, 10 P0077, 11 P0077, 13 P0077'),
    ('on jobs', '3 IJ004, 9 IJ001, 13 P0077');
SELECT results_eq($$SELECT scene, coalesce(refused, '') FROM ijtest.compared WHERE refused IS DISTINCT FROM '3 IJ004, 9 IJ001' ORDER BY n$$,
                  'SELECT scene, refused FROM ijtest.expected ORDER BY n', 'each scene refuses what it is there to refuse');
-- Rights: every set of them on job_executions, with and without those on jobs, whole and by column.
CREATE TABLE ijtest.rights AS
    SELECT r, j, c, concat_ws(' ', CASE WHEN r & 1 > 0 THEN 'SELECT' END, CASE WHEN r & 2 > 0 THEN 'INSERT' END, CASE WHEN r & 4 > 0 THEN 'UPDATE' END, CASE WHEN r & 8 > 0 THEN 'DELETE' END,
                     CASE j WHEN 0 THEN 'not jobs' WHEN 1 THEN 'read jobs' END, CASE c WHEN 1 THEN 'by column' END) AS scene,
           format('REVOKE ALL ON jobs, job_executions FROM regress_ij_same; GRANT %s ON jobs TO regress_ij_same; %s', CASE j WHEN 0 THEN 'INSERT' WHEN 1 THEN 'SELECT' ELSE 'SELECT, INSERT, UPDATE, DELETE' END,
               (SELECT string_agg(format('GRANT %s %s ON job_executions TO regress_ij_same', p, CASE WHEN c = 1 AND p <> 'DELETE' THEN
                    CASE p WHEN 'UPDATE' THEN '(status, status_details, execution_number, started_at, last_updated_at)' WHEN 'INSERT' THEN '(tenant_id, job_id, device_id)'
                    ELSE '(tenant_id, job_id, device_id, status, status_details, execution_number, queued_at, started_at, last_updated_at)' END ELSE '' END), '; ')
                FROM unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) WITH ORDINALITY x (p, n) WHERE r & (1 << (n::int - 1)) > 0)) AS ddl
    FROM generate_series(0, 15) r, generate_series(0, 2) j, generate_series(0, 1) c WHERE j = 2 OR c = 0;
CREATE TABLE ijtest.compared_rights AS
    SELECT s.r, s.j, s.c, s.scene, c.* FROM ijtest.rights s, ijtest.compare(s.ddl, 'regress_ij_same') c;
SELECT is((SELECT count(*) FROM ijtest.compared_rights), 64::bigint, 'sixty-four sets of rights');
SELECT is_empty('SELECT scene, difference FROM ijtest.compared_rights WHERE difference IS NOT NULL', 'directly and by SQL each set of rights comes to the same');
SELECT is_empty('SELECT scene, broken FROM ijtest.compared_rights WHERE broken IS NOT NULL', 'and nothing breaks');
SELECT results_eq('SELECT scene, refused FROM ijtest.compared_rights WHERE j = 2 AND c = 0 ORDER BY r', $$VALUES
    ('', '1 42501, 2 42501, 3 IJ004, 4 42501, 5 42501, 6 42501, 7 42501, 8 42501, 9 42501, 10 42501, 11 42501, 12 42501, 13 42501, 14 42501, 15 42501, 16 42501'),
    ('SELECT', '1 42501, 2 42501, 3 IJ004, 4 42501, 5 42501, 6 42501, 7 42501, 8 42501, 9 42501, 10 42501, 11 42501, 12 42501, 13 42501, 14 42501, 15 42501'),
    ('INSERT', '3 IJ004, 4 42501, 5 42501, 6 42501, 7 42501, 8 42501, 9 42501, 10 42501, 11 42501, 12 42501, 13 42501, 14 42501, 15 42501, 16 42501'),
    ('SELECT INSERT', '3 IJ004, 4 42501, 5 42501, 6 42501, 7 42501, 8 42501, 9 42501, 10 42501, 11 42501, 12 42501, 13 42501, 14 42501, 15 42501'),
    ('UPDATE', '1 42501, 2 42501, 3 IJ004, 4 42501, 5 42501, 6 42501, 7 42501, 8 42501, 9 42501, 10 42501, 11 42501, 12 42501, 13 42501, 14 42501, 15 42501, 16 42501'),
    ('SELECT UPDATE', '1 42501, 2 42501, 3 IJ004, 9 IJ001, 12 42501, 14 42501, 15 42501'),
    ('INSERT UPDATE', '3 IJ004, 4 42501, 5 42501, 6 42501, 7 42501, 8 42501, 9 42501, 10 42501, 11 42501, 12 42501, 13 42501, 14 42501, 15 42501, 16 42501'),
    ('SELECT INSERT UPDATE', '3 IJ004, 9 IJ001, 12 42501, 14 42501, 15 42501'),
    ('DELETE', '1 42501, 2 42501, 3 IJ004, 4 42501, 5 42501, 6 42501, 7 42501, 8 42501, 9 42501, 10 42501, 11 42501, 12 42501, 13 42501, 14 42501, 15 42501, 16 42501'),
    ('SELECT DELETE', '1 42501, 2 42501, 3 IJ004, 4 42501, 5 42501, 6 42501, 7 42501, 8 42501, 9 42501, 10 42501, 11 42501, 13 42501, 14 42501, 15 42501'),
    ('INSERT DELETE', '3 IJ004, 4 42501, 5 42501, 6 42501, 7 42501, 8 42501, 9 42501, 10 42501, 11 42501, 12 42501, 13 42501, 14 42501, 15 42501, 16 42501'),
    ('SELECT INSERT DELETE', '3 IJ004, 4 42501, 5 42501, 6 42501, 7 42501, 8 42501, 9 42501, 10 42501, 11 42501, 13 42501, 14 42501, 15 42501'),
    ('UPDATE DELETE', '1 42501, 2 42501, 3 IJ004, 4 42501, 5 42501, 6 42501, 7 42501, 8 42501, 9 42501, 10 42501, 11 42501, 12 42501, 13 42501, 14 42501, 15 42501, 16 42501'),
    ('SELECT UPDATE DELETE', '1 42501, 2 42501, 3 IJ004, 9 IJ001'),
    ('INSERT UPDATE DELETE', '3 IJ004, 4 42501, 5 42501, 6 42501, 7 42501, 8 42501, 9 42501, 10 42501, 11 42501, 12 42501, 13 42501, 14 42501, 15 42501, 16 42501'),
    ('SELECT INSERT UPDATE DELETE', '3 IJ004, 9 IJ001')$$, 'each set of rights allows what it should');
-- All this would prove nothing if the direct way were never taken: where nothing is in the way, the error of a row that
-- cannot be written comes out of no SQL statement.
CREATE FUNCTION ijtest.is_direct(call text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    context text;
BEGIN
    EXECUTE 'SELECT ' || call;
    RAISE EXCEPTION 'not refused';
EXCEPTION WHEN not_null_violation OR numeric_value_out_of_range THEN
    GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
    RETURN context !~ 'SQL statement "(UPDATE|INSERT|DELETE|WITH c)';
END $$;
SELECT FROM create_job('same', 't', target_all => true, job_id => 'old');
-- no new row, for want of a value, and no change of the old ones, which cannot be counted
ALTER TABLE job_executions ADD COLUMN wanting text NOT NULL DEFAULT 'x';
ALTER TABLE job_executions ALTER COLUMN wanting DROP DEFAULT;
UPDATE job_executions SET execution_number = 9223372036854775807 WHERE tenant_id = 'same' AND job_id = 'old';
CREATE FUNCTION ijtest.ways() RETURNS TABLE (call text, direct boolean) LANGUAGE sql AS $$
    SELECT call, ijtest.is_direct(call) FROM (VALUES ('create_job(''same'', ''t'', target_all => true)'), ('start_next_pending_job_execution(''same'', ''d1'')'),
        ('claim_job_executions(''same'', 1)'), ('update_job_execution(''same'', ''old'', ''d1'', ''SUCCEEDED'')'), ('cancel_job(''same'', ''old'')')) v (call)
$$;
SET LOCAL app.tenant_id = 'same';
SET LOCAL ROLE regress_ij_same;
SELECT is_empty('SELECT call FROM ijtest.ways() WHERE NOT direct', 'the direct way is taken where it is open');
RESET ROLE;
SELECT is((SELECT count(*) FROM use_hardened_tenants(true)), 6::bigint, 'hardened');
INSERT INTO iot_jobs_tenant_roles VALUES (session_user, 'same');
SET LOCAL ROLE regress_ij_same;
SELECT is_empty('SELECT call FROM ijtest.ways() WHERE NOT direct', 'in the hardened mode, too');
RESET ROLE;
CREATE TRIGGER ijtest_same AFTER INSERT OR UPDATE OR DELETE ON job_executions FOR EACH STATEMENT EXECUTE FUNCTION ijtest.by_sql();
SET LOCAL ROLE regress_ij_same;
SELECT is_empty('SELECT call FROM ijtest.ways() WHERE direct', 'and not where a trigger of somebody else bars it');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
