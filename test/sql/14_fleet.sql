-- use_fleet: which relations are the registry.
-- The installation found the registry that it had made itself.
SELECT devices, group_members FROM iot_jobs_fleet;

-- A host's own tables, by other names, with other columns around and other types of text.
CREATE SCHEMA fleet;
CREATE TABLE fleet.machine (site int, device_id varchar(80) NOT NULL, model text, tenant_id varchar(40) NOT NULL, PRIMARY KEY (tenant_id, device_id));
CREATE TABLE fleet.membership (device_id text, group_id text, tenant_id text, PRIMARY KEY (tenant_id, group_id, device_id));
INSERT INTO tenants (tenant_id) VALUES ('fleet'), ('fleet-b');
INSERT INTO fleet.machine SELECT i, 'm' || i, 'x', 'fleet' FROM generate_series(1, 5) i;
INSERT INTO fleet.machine VALUES (1, 'other', 'x', 'fleet-b');
INSERT INTO fleet.membership SELECT 'm' || i, 'even', 'fleet' FROM generate_series(2, 5, 2) i;
SELECT ijtest.outcome($$SELECT create_job('fleet', 't', target_all => true)$$) AS not_here_yet;
SELECT use_fleet('fleet.machine', 'fleet.membership');
SELECT devices, group_members FROM iot_jobs_fleet;
SELECT total_executions FROM create_job('fleet', 't', target_all => true, job_id => 'all');
SELECT total_executions FROM create_job('fleet', 't', target_group_id => 'even', job_id => 'group');
SELECT total_executions FROM create_job('fleet', 't', target_device_id => 'm3', job_id => 'device');
SELECT job_id, device_id FROM ijtest.executions WHERE tenant_id = 'fleet' ORDER BY 1, 2;
SELECT ijtest.outcome($$SELECT create_job('fleet', 't', target_device_id => 'other')$$) AS device,
       ijtest.outcome($$SELECT create_job('fleet', 't', target_group_id => 'odd')$$) AS grp;

-- A rename is followed.
ALTER TABLE fleet.machine RENAME TO device;
ALTER SCHEMA fleet RENAME TO "the ""fleet""";
SELECT devices, group_members FROM iot_jobs_fleet;
SELECT total_executions FROM create_job('fleet', 't', target_all => true, job_id => 'renamed');
ALTER SCHEMA "the ""fleet""" RENAME TO fleet;

-- Views, also one that says a device twice: a device has one execution.
CREATE VIEW fleet.online AS
    SELECT tenant_id::text, device_id::text FROM fleet.device WHERE site <> 3
    UNION ALL SELECT tenant_id, device_id FROM fleet.device WHERE site = 1;
CREATE MATERIALIZED VIEW fleet.members AS SELECT * FROM fleet.membership;
SELECT use_fleet('fleet.online', 'fleet.members');
SELECT total_executions FROM create_job('fleet', 't', target_all => true, job_id => 'view');
SELECT total_executions FROM create_job('fleet', 't', target_group_id => 'even', job_id => 'view of group');
SELECT total_executions FROM create_job('fleet', 't', target_device_id => 'm1', job_id => 'view of device');
SELECT job_id, device_id FROM ijtest.executions WHERE tenant_id = 'fleet' AND job_id LIKE 'view%' ORDER BY 1, 2;
SELECT ijtest.outcome($$SELECT create_job('fleet', 't', target_device_id => 'm3')$$) AS not_in_view;
-- also where a batch ends between the two
BEGIN;
CREATE VIEW fleet.thrice AS SELECT 'fleet' AS tenant_id, 'v' || i AS device_id FROM generate_series(1, 400) i, generate_series(1, 3);
SELECT use_fleet('fleet.thrice');
SELECT total_executions FROM create_job('fleet', 't', target_all => true, job_id => 'thrice');
ROLLBACK;

-- A partitioned table.
CREATE TABLE fleet.part (tenant_id text, device_id text) PARTITION BY HASH (tenant_id);
CREATE TABLE fleet.part0 PARTITION OF fleet.part FOR VALUES WITH (MODULUS 1, REMAINDER 0);
INSERT INTO fleet.part VALUES ('fleet', 'p1'), ('fleet', 'p2');
SELECT use_fleet('fleet.part');
SELECT devices, group_members FROM iot_jobs_fleet;
SELECT total_executions FROM create_job('fleet', 't', target_all => true, job_id => 'partitioned');
-- Without a relation for groups there are none to aim at, and the hint says what to do.
SELECT code, hint FROM ijtest.complaint($$SELECT create_job('fleet', 't', target_group_id => 'even')$$);

-- Relations that cannot answer are refused, and the choice stays.
CREATE TABLE fleet.no_tenant (device_id text);
CREATE TABLE fleet.no_device (tenant_id text, device text);
CREATE TABLE fleet.wrong_type (tenant_id int, device_id text);
CREATE TABLE fleet.wrong_device_type (tenant_id text, device_id jsonb);
CREATE SEQUENCE fleet.seq;
CREATE TYPE fleet.composite AS (tenant_id text, device_id text);
CREATE TABLE fleet.dropped_column (tenant_id text, device_id text);
ALTER TABLE fleet.dropped_column DROP COLUMN device_id;
SELECT c.call, ijtest.outcome('SELECT use_fleet(' || c.call || ')')
FROM (VALUES (1, $$NULL$$), (2, $$'fleet.no_tenant'$$), (3, $$'fleet.no_device'$$), (4, $$'fleet.wrong_type'$$), (5, $$'fleet.wrong_device_type'$$), (6, $$'fleet.seq'$$),
             (7, $$'fleet.machine_pkey'$$), (8, $$'fleet.composite'$$), (9, $$'fleet.dropped_column'$$), (10, $$0$$), (11, $$4294967295::oid::regclass$$),
             (12, $$'fleet.no_such_relation'$$), (13, $$'fleet.device', 'fleet.device'$$), (14, $$'fleet.device', 'fleet.no_tenant'$$)) c (n, call)
ORDER BY c.n;
SELECT devices, group_members FROM iot_jobs_fleet;
SELECT use_fleet('fleet.no_device');
SELECT use_fleet('fleet.device', 'fleet.device');
SELECT use_fleet('fleet.seq');

-- One choice only.
SELECT ijtest.outcome($$INSERT INTO iot_jobs_fleet (devices) VALUES ('fleet.device')$$) AS second,
       ijtest.outcome($$INSERT INTO iot_jobs_fleet (id, devices) VALUES (false, 'fleet.device')$$) AS another;

-- A choice that is gone, or none at all: said plainly, with the way out.
CREATE TABLE fleet.dropped (tenant_id text, device_id text);
SELECT use_fleet('fleet.dropped');
DROP TABLE fleet.dropped;
SELECT code, hint FROM ijtest.complaint($$SELECT create_job('fleet', 't', target_all => true)$$);
DELETE FROM iot_jobs_fleet;
SELECT code, message, hint FROM ijtest.complaint($$SELECT create_job('fleet', 't', target_all => true)$$);
SELECT code FROM ijtest.complaint($$SELECT create_job('fleet', 't', target_device_id => 'm1')$$);
SELECT code FROM ijtest.complaint($$SELECT create_job('fleet', 't', target_group_id => 'g')$$);
-- Everything that needs no registry goes on.
SELECT status FROM cancel_job('fleet', 'all');

SELECT use_fleet('devices', 'device_group_members');
SELECT devices, group_members FROM iot_jobs_fleet;
-- What nobody else could read.
CREATE TEMP TABLE mine AS SELECT * FROM devices;
SELECT code, message, detail FROM ijtest.complaint($$SELECT use_fleet('mine')$$);
DROP TABLE mine;
-- A device of which nobody could report.
INSERT INTO devices (tenant_id, device_id) VALUES ('fleet', E'tab\t1');
SELECT code, message, hint FROM ijtest.complaint($$SELECT create_job('fleet', 't', target_all => true)$$);
DELETE FROM tenants WHERE tenant_id LIKE 'fleet%';
SET client_min_messages = warning;
DROP SCHEMA fleet CASCADE;
