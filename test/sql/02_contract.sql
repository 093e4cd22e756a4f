-- The tables are migration 077: build the contract's text in a schema of its
-- own and compare the catalogs.
\getenv srcdir PG_ABS_SRCDIR
\set migration :srcdir /migration_077.sql

-- The migration's own verification, before there is anything else by these names.
SELECT table_name FROM information_schema.tables
WHERE table_name IN ('jobs', 'job_executions')
ORDER BY table_name;

CREATE SCHEMA contract;
SET search_path = contract;
CREATE TABLE tenants (tenant_id TEXT PRIMARY KEY);

\i :migration

RESET search_path;

-- Everything the catalogs know of the two tables of a schema, as lines of text.
-- Names are printed without the schema because the schema is on the search_path.
CREATE FUNCTION ijtest.shape(schema_name text) RETURNS TABLE (line text)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('search_path', quote_ident(schema_name) || ', pg_catalog', true);
    RETURN QUERY
    WITH t AS (
        SELECT c.* FROM pg_class c
        WHERE c.relnamespace = schema_name::regnamespace AND c.relname IN ('jobs', 'job_executions')
    )
    SELECT format('%s: kind %s, persistence %s, row security %s, forced %s, replica identity %s, options %s, acl %s, method %s',
                  relname, relkind, relpersistence, relrowsecurity, relforcerowsecurity, relreplident,
                  reloptions, relacl, (SELECT amname FROM pg_am WHERE oid = relam))
    FROM t
    UNION ALL
    SELECT format('%s.%s: position %s, type %s, not null %s, default %s, collation %s, storage %s, identity %L, generated %L',
                  relname, attname, attnum, format_type(atttypid, atttypmod), attnotnull,
                  pg_get_expr(adbin, adrelid), attcollation::regcollation, attstorage, attidentity, attgenerated)
    FROM t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef f ON f.adrelid = t.oid AND f.adnum = a.attnum
    UNION ALL
    -- NOT NULL is a constraint of its own from PostgreSQL 18 on; the columns have said it already
    SELECT format('%s constraint %s: %s, deferrable %s, validated %s',
                  relname, conname, pg_get_constraintdef(k.oid), condeferrable, convalidated)
    FROM t JOIN pg_constraint k ON k.conrelid = t.oid AND k.contype <> 'n'
    UNION ALL
    SELECT format('%s index %s: %s, valid %s, unique %s, primary %s', t.relname, i.indexrelid::regclass,
                  replace(pg_get_indexdef(i.indexrelid), quote_ident(schema_name) || '.', ''),
                  indisvalid, indisunique, indisprimary)
    FROM t JOIN pg_index i ON i.indrelid = t.oid
    UNION ALL
    SELECT format('%s policy %s: command %s, permissive %s, roles %s, using %s, check %s',
                  t.relname, polname, polcmd, polpermissive, polroles,
                  pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
    FROM t JOIN pg_policy p ON p.polrelid = t.oid
    UNION ALL
    SELECT format('%s inheritance or rule', relname)
    FROM t WHERE relhassubclass OR relhasrules OR relispartition;
END
$$;

-- The comparison sees every kind of thing ...
SELECT split_part(line, ':', 1) AS seen FROM ijtest.shape('contract') ORDER BY line COLLATE "C";

-- ... and finds no difference.
SELECT 'only in the contract' AS missing, line
FROM (SELECT line FROM ijtest.shape('contract') EXCEPT SELECT line FROM ijtest.shape('public')) x
UNION ALL
SELECT 'only in the extension', line
FROM (SELECT line FROM ijtest.shape('public') EXCEPT SELECT line FROM ijtest.shape('contract')) x
ORDER BY 1, 2;

-- It would find one: this is what a forgotten NOT NULL, a widened policy and a missing index look like.
BEGIN;
ALTER TABLE contract.jobs ALTER COLUMN updated_at DROP NOT NULL;
ALTER POLICY jobs_tenant_isolation ON contract.jobs USING (true);
DROP INDEX contract.idx_job_executions_job_id;
SELECT split_part(line, ':', 1) AS differs
FROM ((SELECT line FROM ijtest.shape('contract') EXCEPT SELECT line FROM ijtest.shape('public'))
      UNION ALL
      (SELECT line FROM ijtest.shape('public') EXCEPT SELECT line FROM ijtest.shape('contract'))) x
ORDER BY line COLLATE "C";
ROLLBACK;

-- What the extension adds to the two tables: its guards, and nothing else.
SELECT tgrelid::regclass, tgname, tgenabled, pg_get_triggerdef(oid)
FROM pg_trigger
WHERE tgrelid IN ('public.jobs'::regclass, 'public.job_executions'::regclass) AND NOT tgisinternal AND tgname <> 'ijtest_by_sql'
ORDER BY 1, 2;

-- They go with the extension; nothing else of the tables does.
SELECT t.tgrelid::regclass, t.tgname, d.deptype
FROM pg_depend d
JOIN pg_trigger t ON d.classid = 'pg_trigger'::regclass AND t.oid = d.objid
WHERE d.refclassid = 'pg_extension'::regclass
  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'iot_jobs')
ORDER BY 1, 2;

-- The rows of the contract behave: cascade from the tenant, exactly one target.
\set VERBOSITY sqlstate
SELECT ijtest.add_tenant('contract', 1);
INSERT INTO jobs (job_id, tenant_id, document_type) VALUES ('j', 'contract', 't');
INSERT INTO jobs (job_id, tenant_id, document_type, target_all, target_device_id) VALUES ('j', 'contract', 't', true, 'd1');
INSERT INTO jobs (job_id, tenant_id, document_type, target_all) VALUES ('j', 'no such tenant', 't', true);
INSERT INTO jobs (job_id, tenant_id, document_type, target_all) VALUES ('j', 'contract', 't', true);
INSERT INTO job_executions (job_id, tenant_id, device_id) VALUES ('no such job', 'contract', 'd1');
INSERT INTO job_executions (job_id, tenant_id, device_id) VALUES ('j', 'contract', 'd1');
INSERT INTO job_executions (job_id, tenant_id, device_id) VALUES ('j', 'contract', 'd1');
DELETE FROM tenants WHERE tenant_id = 'contract';
SELECT (SELECT count(*) FROM jobs WHERE tenant_id = 'contract') AS jobs,
       (SELECT count(*) FROM job_executions WHERE tenant_id = 'contract') AS executions;

DROP FUNCTION ijtest.shape;
SET client_min_messages = warning;
DROP SCHEMA contract CASCADE;
-- From here on the suite can be run with PGOPTIONS='-c ijtest.lean=on' on the indexes of the other profile, with the same
-- results.
DO $$
BEGIN
    IF current_setting('ijtest.lean', true) = 'on' THEN
        PERFORM use_job_indexes('lean');
    END IF;
END $$;
