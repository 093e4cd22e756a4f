-- Switching the hardened mode on and off, whatever others have put in its way.  What it
-- keeps a login from is in 061_hardened_tenants.pl.
SET client_min_messages = warning;
CREATE ROLE regress_ij_owner;
CREATE ROLE regress_ij_evil;
CREATE DATABASE regress_ij_hard TEMPLATE template0;
\c regress_ij_hard
SET client_min_messages = warning;

-- In a schema that needs quotes; with a registry of the host's own; and again after all but that was dropped.
CREATE SCHEMA "IoT";
CREATE TABLE "IoT".tenants (tenant_id text PRIMARY KEY);
CREATE TABLE "IoT".device_state (tenant_id text, device_id text, PRIMARY KEY (tenant_id, device_id));
ALTER TABLE "IoT".tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE "IoT".device_state ENABLE ROW LEVEL SECURITY;
CREATE EXTENSION iot_jobs SCHEMA "IoT";
CREATE VIEW hardened AS SELECT polrelid::regclass FROM pg_policy WHERE polname = 'iot_jobs_login';
GRANT SELECT ON hardened TO PUBLIC;
SELECT "IoT".use_hardened_tenants(true);
DROP EXTENSION iot_jobs;
DROP TABLE "IoT".job_executions, "IoT".jobs, "IoT".iot_jobs_fleet;
SELECT * FROM hardened ORDER BY polrelid::text;
CREATE EXTENSION iot_jobs SCHEMA "IoT";
SELECT * FROM hardened ORDER BY polrelid::text;

-- What was the registry when it was switched on is opened again, too.
CREATE VIEW "IoT".machines AS SELECT tenant_id, device_id FROM "IoT".device_state;
SELECT "IoT".use_fleet('"IoT".machines');
BEGIN;
SELECT "IoT".use_hardened_tenants(false);
SELECT * FROM hardened;
ROLLBACK;
SELECT "IoT".use_fleet('"IoT".device_state');

-- An owner who is no superuser, and a table of somebody else's with a policy of that name.
GRANT USAGE, CREATE ON SCHEMA "IoT" TO regress_ij_owner, regress_ij_evil;
ALTER TABLE "IoT".tenants OWNER TO regress_ij_owner;
ALTER TABLE "IoT".device_state OWNER TO regress_ij_owner;
ALTER TABLE "IoT".jobs OWNER TO regress_ij_owner;
ALTER TABLE "IoT".job_executions OWNER TO regress_ij_owner;
GRANT EXECUTE ON FUNCTION "IoT".use_hardened_tenants TO regress_ij_owner;
SET ROLE regress_ij_evil;
CREATE TABLE "IoT".bait (tenant_id text);
ALTER TABLE "IoT".bait ENABLE ROW LEVEL SECURITY;
CREATE POLICY iot_jobs_login ON "IoT".bait;
SET ROLE regress_ij_owner;
SELECT * FROM "IoT".use_hardened_tenants(false);
SELECT * FROM hardened ORDER BY polrelid::text;
RESET ROLE;
DROP TABLE "IoT".bait, "IoT".iot_jobs_tenant_roles;

-- Somebody made the map first, and gave himself every tenant.
SET ROLE regress_ij_evil;
CREATE TABLE "IoT".iot_jobs_tenant_roles (role_name name, tenant_id text);
INSERT INTO "IoT".iot_jobs_tenant_roles VALUES ('regress_ij_evil', NULL);
GRANT SELECT ON "IoT".iot_jobs_tenant_roles TO PUBLIC;
RESET ROLE;
SELECT "IoT".use_hardened_tenants(true);
ALTER TABLE "IoT".iot_jobs_tenant_roles ENABLE ROW LEVEL SECURITY;
\set VERBOSITY sqlstate
SELECT "IoT".use_hardened_tenants(true);
DROP TABLE "IoT".iot_jobs_tenant_roles;
SET ROLE regress_ij_evil;
CREATE VIEW "IoT".iot_jobs_tenant_roles AS SELECT 'regress_ij_evil'::name AS role_name, NULL::text AS tenant_id;
RESET ROLE;
SELECT "IoT".use_hardened_tenants(true);
DROP VIEW "IoT".iot_jobs_tenant_roles;
SET ROLE regress_ij_owner;
SELECT "IoT".use_hardened_tenants(true);
SELECT "IoT".use_hardened_tenants(true);
SELECT "IoT".use_hardened_tenants(NULL);
-- It must not show everybody who has which tenant; that it is a superuser's does no harm.
ALTER TABLE "IoT".iot_jobs_tenant_roles DISABLE ROW LEVEL SECURITY;
SELECT "IoT".use_hardened_tenants(true);
ALTER TABLE "IoT".iot_jobs_tenant_roles ENABLE ROW LEVEL SECURITY;
RESET ROLE;
ALTER TABLE "IoT".iot_jobs_tenant_roles OWNER TO CURRENT_USER;
SELECT "IoT".use_hardened_tenants(true);

-- Whoever writes by a view need not have the right to use the schema.
INSERT INTO "IoT".tenants VALUES ('t');
INSERT INTO "IoT".device_state VALUES ('t', 'd1'), ('t', 'd2');
INSERT INTO "IoT".iot_jobs_tenant_roles VALUES (session_user, NULL);
SELECT total_executions FROM "IoT".create_job('t', 'x', target_all => true, job_id => 'j');
CREATE VIEW seen AS SELECT * FROM "IoT".job_executions;
GRANT SELECT, UPDATE ON seen TO regress_ij_evil;
REVOKE ALL ON SCHEMA "IoT" FROM regress_ij_evil;
\c
SET ROLE regress_ij_evil;
SET app.tenant_id = 't';
UPDATE seen SET status = 'SUCCEEDED' WHERE device_id = 'd1';
RESET ROLE;
SELECT device_id, status FROM "IoT".job_executions ORDER BY 1;

\c contrib_regression
DROP DATABASE regress_ij_hard;
DROP ROLE regress_ij_owner, regress_ij_evil;
