-- CREATE EXTENSION by a superuser over a schema that an ordinary role has prepared: no
-- trigger, constraint or index of that role runs with more than that role's own rights.
SET client_min_messages = warning;
CREATE ROLE regress_ij_planter;
CREATE DATABASE regress_ij_planted TEMPLATE template0;
\c regress_ij_planted
SET client_min_messages = warning;
CREATE SCHEMA planted AUTHORIZATION regress_ij_planter;
SET SESSION AUTHORIZATION regress_ij_planter;
SET search_path = planted;
CREATE TABLE tenants (tenant_id text PRIMARY KEY);
CREATE TABLE devices (tenant_id text, device_id text, PRIMARY KEY (tenant_id, device_id));
CREATE TABLE jobs (
    job_id text NOT NULL, tenant_id text NOT NULL REFERENCES tenants (tenant_id) ON DELETE CASCADE, document_type text NOT NULL,
    document_params jsonb NOT NULL DEFAULT '{}', target_device_id text, target_group_id text, target_all boolean NOT NULL DEFAULT false,
    status text NOT NULL DEFAULT 'IN_PROGRESS' CHECK (status IN ('IN_PROGRESS', 'COMPLETED', 'CANCELED', 'DELETION_IN_PROGRESS')),
    expires_at timestamptz, created_by text, created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, job_id));
CREATE TABLE job_executions (
    job_id text NOT NULL, tenant_id text NOT NULL, device_id text NOT NULL,
    status text NOT NULL DEFAULT 'QUEUED' CHECK (status IN ('QUEUED', 'IN_PROGRESS', 'SUCCEEDED', 'FAILED', 'TIMED_OUT', 'REJECTED')),
    status_details jsonb, execution_number bigint NOT NULL DEFAULT 1,
    queued_at timestamptz NOT NULL DEFAULT now(), started_at timestamptz, last_updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, job_id, device_id),
    FOREIGN KEY (tenant_id, job_id) REFERENCES jobs (tenant_id, job_id) ON DELETE CASCADE);
CREATE TABLE iot_jobs_fleet (id boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (id), devices regclass NOT NULL, group_members regclass);
INSERT INTO tenants VALUES ('t');
INSERT INTO devices SELECT 't', 'd' || i FROM generate_series(1, 3) i;
-- what the old race of a fan-out with a cancellation leaves behind, beside what is in order
INSERT INTO jobs (tenant_id, job_id, document_type, target_all, status) VALUES
    ('t', 'canceled', 'x', true, 'CANCELED'), ('t', 'live', 'x', true, 'IN_PROGRESS'), ('t', 'done', 'x', true, 'COMPLETED');
INSERT INTO job_executions (tenant_id, job_id, device_id, status, execution_number) VALUES
    ('t', 'canceled', 'd1', 'QUEUED', 1), ('t', 'canceled', 'd2', 'IN_PROGRESS', 2), ('t', 'canceled', 'd3', 'SUCCEEDED', 3),
    ('t', 'live', 'd1', 'QUEUED', 1), ('t', 'live', 'd2', 'IN_PROGRESS', 2), ('t', 'done', 'd1', 'FAILED', 2);

-- Everything that can be planted tells who runs it, and tries to get more.
CREATE TABLE seen (what text, who name, promoted text, reset text, temporary text);
CREATE FUNCTION attempt(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;
CREATE FUNCTION note(what text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    who constant name := current_user;
BEGIN
    INSERT INTO planted.seen VALUES (what, who, planted.attempt('ALTER ROLE regress_ij_planter SUPERUSER'), planted.attempt('RESET ROLE'),
                                     planted.attempt('CREATE TEMPORARY TABLE planted_' || replace(what, ' ', '_') || ' ()'));
    RETURN true;
END $$;
CREATE FUNCTION note_quietly(what text, value text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    PERFORM planted.note(what);
    RETURN value;
END $$;
CREATE FUNCTION note_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM planted.note(lower(concat_ws(' ', TG_ARGV[0], TG_WHEN, TG_OP, TG_LEVEL)));
    RETURN NEW;
END $$;
CREATE TRIGGER aa BEFORE INSERT OR UPDATE ON iot_jobs_fleet FOR EACH ROW EXECUTE FUNCTION note_row('fleet');
CREATE TRIGGER ab BEFORE INSERT OR UPDATE ON iot_jobs_fleet FOR EACH STATEMENT EXECUTE FUNCTION note_row('fleet');
CREATE TRIGGER aa BEFORE INSERT OR UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION note_row('job');
CREATE TRIGGER aa BEFORE INSERT OR UPDATE ON job_executions FOR EACH ROW EXECUTE FUNCTION note_row('execution');
CREATE TRIGGER zz AFTER INSERT OR UPDATE ON job_executions FOR EACH ROW EXECUTE FUNCTION note_row('execution');
CREATE TRIGGER zz_statement AFTER UPDATE ON job_executions FOR EACH STATEMENT EXECUTE FUNCTION note_row('execution');
CREATE INDEX planted_index ON job_executions (note_quietly('index', status));
ALTER TABLE job_executions ADD CONSTRAINT planted_check CHECK (note_quietly('check', status) IS NOT NULL);
ALTER TABLE iot_jobs_fleet ADD CONSTRAINT planted_check CHECK (note_quietly('check of fleet', id::text) IS NOT NULL);
ALTER TABLE jobs FORCE ROW LEVEL SECURITY;
ALTER TABLE job_executions FORCE ROW LEVEL SECURITY;
TRUNCATE seen;
RESET SESSION AUTHORIZATION;
RESET search_path;

-- A trigger that would wait for the commit, when the superuser is itself again, is not let in at all.
BEGIN;
CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON planted.job_executions DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION planted.note_row('late');
\set VERBOSITY sqlstate
CREATE EXTENSION iot_jobs SCHEMA planted;
\set VERBOSITY default
ROLLBACK;
SELECT count(*) FROM planted.seen;

CREATE EXTENSION iot_jobs SCHEMA planted;
SELECT what, who, promoted, reset, temporary FROM planted.seen GROUP BY 1, 2, 3, 4, 5 ORDER BY what COLLATE "C";
SELECT rolsuper FROM pg_roles WHERE rolname = 'regress_ij_planter';
SELECT count(*) FROM pg_class WHERE relname LIKE 'planted\_%' AND relpersistence = 't';
SELECT current_user = session_user AS myself_again;
-- The orphans are ended as the cancellation meant it, and nothing else was touched.
SELECT job_id, device_id, status, execution_number, status_details, started_at IS NOT NULL AS started FROM planted.job_executions ORDER BY 1, 2;
SELECT job_id, status FROM planted.jobs ORDER BY 1;
-- The function that did it is gone.
SELECT count(*) FROM pg_proc WHERE proname LIKE '%orphan%';

-- The table of the choice keeps its rows, here none: the owner chooses.
SELECT * FROM planted.iot_jobs_fleet;
DO $$
BEGIN
    PERFORM planted.create_job('t', 'x', target_all => true);
EXCEPTION WHEN OTHERS THEN
    RAISE INFO '%', SQLSTATE;
END $$;
TRUNCATE planted.seen;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA planted TO regress_ij_planter;
SET SESSION AUTHORIZATION regress_ij_planter;
SELECT planted.use_fleet('planted.devices');
RESET SESSION AUTHORIZATION;
SELECT what, who, promoted FROM planted.seen GROUP BY 1, 2, 3 ORDER BY what COLLATE "C";
SELECT * FROM planted.iot_jobs_fleet;

-- Dropped and created again over what it left: the choice that is there is kept.
TRUNCATE planted.seen;
DROP EXTENSION iot_jobs;
CREATE EXTENSION iot_jobs SCHEMA planted;
SELECT * FROM planted.iot_jobs_fleet;
SELECT count(*) FROM planted.seen;

-- A superuser's own hand at the tables later on: a cancellation by hand ends the
-- executions as the owner of the tables, too.
ALTER TABLE planted.jobs DISABLE TRIGGER aa;
UPDATE planted.jobs SET status = 'CANCELED' WHERE job_id = 'live';
SELECT what, who, promoted, reset, temporary FROM planted.seen GROUP BY 1, 2, 3, 4, 5 ORDER BY what COLLATE "C";
SELECT rolsuper FROM pg_roles WHERE rolname = 'regress_ij_planter';
SELECT device_id, status, execution_number, status_details FROM planted.job_executions WHERE job_id = 'live' ORDER BY 1;
DROP EXTENSION iot_jobs;

-- A table of that name that cannot hold the choice is refused, with its name.
SET SESSION AUTHORIZATION regress_ij_planter;
DROP TABLE planted.iot_jobs_fleet;
CREATE TABLE planted.iot_jobs_fleet (id boolean PRIMARY KEY, devices text);
RESET SESSION AUTHORIZATION;
\set VERBOSITY sqlstate
CREATE EXTENSION iot_jobs SCHEMA planted;
\set VERBOSITY default

\c contrib_regression
DROP DATABASE regress_ij_planted;
DROP ROLE regress_ij_planter;
