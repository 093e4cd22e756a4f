# The hardened mode, from the side of an application that runs whatever SQL it likes:
# with a login of its own it gets its own tenant and nothing else.  And the mode lasts:
# through a dump and restore, and without the extension.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

use IotJobsData;

my $node = data_server('hardened', conf => "shared_preload_libraries = 'iot_jobs'\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE ROLE host;
	CREATE ROLE acme LOGIN;
	CREATE ROLE evil LOGIN;
	CREATE ROLE pair LOGIN;
	CREATE ROLE service LOGIN;
	CREATE ROLE newcomer LOGIN;
	CREATE ROLE pool LOGIN;
	GRANT acme, evil TO pool;
	CREATE DATABASE fleet OWNER host;
});
$node->safe_psql('fleet', q{
	CREATE EXTENSION iot_jobs;
	DO $$
	DECLARE
		t text;
	BEGIN
		FOREACH t IN ARRAY '{tenants,devices,device_groups,device_group_members,jobs,job_executions,iot_jobs_fleet}'::text[] LOOP
			EXECUTE format('ALTER TABLE %I OWNER TO host', t);
		END LOOP;
	END $$;
	GRANT ALL ON ALL TABLES IN SCHEMA public TO acme, evil, pair, service, newcomer;
	REVOKE TRIGGER, REFERENCES, TRUNCATE ON ALL TABLES IN SCHEMA public FROM acme, evil, pair, service, newcomer;
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO acme, evil, pair, service, newcomer;
	CREATE SCHEMA evil AUTHORIZATION evil;
	INSERT INTO tenants (tenant_id) SELECT unnest('{acme,evil,other}'::text[]);
	INSERT INTO devices (tenant_id, device_id) SELECT t, 'd' || i FROM unnest('{acme,evil,other}'::text[]) t, generate_series(1, 5) i;
	INSERT INTO device_groups (tenant_id, group_id) SELECT unnest('{acme,evil,other}'::text[]), 'g';
	INSERT INTO device_group_members (tenant_id, group_id, device_id) SELECT unnest('{acme,evil,other}'::text[]), 'g', 'd1';
	SELECT create_job(t, 't', jsonb_build_object('secret', t), target_all => true, job_id => 'j') FROM unnest('{acme,evil,other}'::text[]) t;
});

# ----------------------------------------------------------------
# Without it, whoever may run SQL may be anybody
# ----------------------------------------------------------------

sub as
{
	my ($role, $sql, $database) = @_;
	my ($out, $err);

	$node->psql($database // 'fleet', $sql, extra_params => [ '-U', $role ], stdout => \$out, stderr => \$err, on_error_stop => 0);
	return ($out, $err);
}

sub tenants_seen
{
	my ($role, $database) = @_;

	return join(' ', map { (as($role, qq{SET app.tenant_id = '$_'; SELECT max(tenant_id) FROM jobs;}, $database))[0] || () } qw(acme evil other));
}

is(tenants_seen('evil'), 'acme evil other', 'app.tenant_id alone trusts who sets it');
is($node->safe_psql('fleet', q{SELECT string_agg(t::text, ' ') FROM use_hardened_tenants(true) t}),
	'jobs job_executions tenants devices device_groups device_group_members', 'hardened');
is($node->safe_psql('fleet', q{SELECT tableowner FROM pg_tables WHERE tablename = 'iot_jobs_tenant_roles'}), 'host', 'the map belongs to the owner of the jobs');
is(tenants_seen('evil'), '', 'nobody who is not in the map sees anything');
$node->safe_psql('fleet', q{
	INSERT INTO iot_jobs_tenant_roles VALUES ('acme', 'acme'), ('evil', 'evil'), ('pair', 'acme'), ('pair', 'evil'), ('service', NULL)});
is(tenants_seen('acme'), 'acme', 'a login has its tenant');
is(tenants_seen('evil'), 'evil', 'another login has another one');
is(tenants_seen('pair'), 'acme evil', 'some have two');
is(tenants_seen('service'), 'acme evil other', 'and some any, one at a time');
is(tenants_seen('newcomer'), '', 'the rest none');
is(tenants_seen('pool'), '', 'and roles that a login may take give it nothing');
is((as('pool', q{SET ROLE acme; SET app.tenant_id = 'acme'; SELECT count(*) FROM jobs}))[0], '0', 'not even when it takes them');

# the same by the short cut of a claim, in a session that has used it before
sub claims
{
	my ($change) = @_;
	my ($out, $err) = as('postgres', qq{
		BEGIN;
		SET LOCAL SESSION AUTHORIZATION acme;
		SET LOCAL app.tenant_id = 'acme';
		SELECT count(*) FROM start_next_pending_job_execution('acme', 'd1');
		RESET SESSION AUTHORIZATION;
		$change;
		SET LOCAL SESSION AUTHORIZATION acme;
		SELECT count(*) FROM start_next_pending_job_execution('acme', 'd1');
		ROLLBACK;});

	return $out . ($err =~ /ERROR:  (.*)/ ? "\n$1" : '');
}

is((as('pool', q{SET ROLE acme; SET app.tenant_id = 'acme'; SELECT count(*) FROM start_next_pending_job_execution('acme', 'd1')}))[0], '0', 'nor when it claims');
is(claims('SELECT 1'), "1\n1\n1", 'a login claims what is its own');
is(claims(q{DELETE FROM iot_jobs_tenant_roles WHERE role_name = 'acme'}), "1\n0", 'until it is taken out of the map');
is(claims(q{ALTER POLICY iot_jobs_own_login ON iot_jobs_tenant_roles TO service}), "1\n0", 'or does not see the map any more');
is(claims(q{ALTER POLICY iot_jobs_own_login ON iot_jobs_tenant_roles USING (false)}), "1\n0", 'or nothing in it');
is(claims(q{REVOKE SELECT ON iot_jobs_tenant_roles FROM PUBLIC, acme}), "1\npermission denied for table iot_jobs_tenant_roles", 'or may not read it');

# ----------------------------------------------------------------
# Whatever evil tries, it is as if there were no others
# ----------------------------------------------------------------

my $attack = q{
	\set VERBOSITY verbose
	\set SHOW_CONTEXT never
	SET app.tenant_id = 'acme';
	TABLE jobs; TABLE job_executions; TABLE tenants; TABLE devices; TABLE device_groups; TABLE device_group_members;
	SELECT role_name, tenant_id FROM iot_jobs_tenant_roles;
	SELECT set_config('app.tenant_id', 'acme', false), j.* FROM jobs j;
	SELECT j.* FROM (SELECT set_config('app.tenant_id', t, true) AS t FROM unnest('{acme,evil,other}'::text[]) t OFFSET 0) s, LATERAL (SELECT job_id, tenant_id FROM jobs WHERE tenant_id = s.t) j;
	SELECT job_id FROM describe_job('acme', 'j');
	SELECT count(*) FROM list_jobs('acme');
	SELECT count(*) FROM list_job_executions_for_job('acme', 'j');
	SELECT count(*) FROM start_next_pending_job_execution('acme', 'd1');
	SELECT count(*) FROM claim_job_executions('acme', 10);
	SELECT status FROM update_job_execution('acme', 'j', 'd2', 'SUCCEEDED');
	SELECT accepted, message FROM update_job_executions('acme', '[{"job_id": "j", "device_id": "d2", "status": "SUCCEEDED"}]');
	SELECT status FROM cancel_job('acme', 'j');
	SELECT status FROM delete_job('acme', 'j', true);
	SELECT purge_all_jobs('0'), purge_jobs('acme', '0');
	SELECT job_id FROM create_job('acme', 't', target_all => true, job_id => 'mine');
	SELECT * FROM run_job_sweep();
	SELECT invariant, tenant_id, job_id FROM verify_jobs(grace => '0');
	INSERT INTO jobs (tenant_id, job_id, document_type, target_all) VALUES ('acme', 'j', 't', true);
	INSERT INTO jobs (tenant_id, job_id, document_type, target_all) VALUES ('acme', 'k', 't', true) ON CONFLICT DO NOTHING;
	INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('acme', 'j', 'd1'), ('acme', 'j', 'd9');
	INSERT INTO devices (tenant_id, device_id) VALUES ('acme', 'd1');
	UPDATE jobs SET status = 'CANCELED';
	UPDATE jobs SET tenant_id = 'acme';
	DELETE FROM job_executions;
	COPY jobs TO STDOUT;
	COPY jobs (tenant_id, job_id, document_type, target_all) FROM STDIN;
acme	copied	t	true
\.
	-- the map
	INSERT INTO iot_jobs_tenant_roles VALUES ('evil', 'acme');
	UPDATE iot_jobs_tenant_roles SET tenant_id = NULL;
	DELETE FROM iot_jobs_tenant_roles;
	CREATE TEMP TABLE iot_jobs_tenant_roles AS SELECT 'evil'::name AS role_name, NULL::text AS tenant_id;
	CREATE TABLE evil.iot_jobs_tenant_roles AS SELECT 'evil'::name AS role_name, 'acme' AS tenant_id;
	SET search_path = pg_temp, evil, public;
	SELECT count(*) FROM public.jobs;
	SELECT count(*) FROM public.start_next_pending_job_execution('acme', 'd1');
	-- who am I, and what does a name mean
	CREATE FUNCTION evil.current_setting(text, boolean) RETURNS text LANGUAGE sql AS $$SELECT 'acme'::text$$;
	CREATE FUNCTION evil.texteq(text, text) RETURNS boolean LANGUAGE sql AS $$SELECT true$$;
	CREATE OPERATOR evil.= (FUNCTION = evil.texteq, LEFTARG = text, RIGHTARG = text);
	SET search_path = evil, pg_catalog, public;
	SELECT count(*) FROM public.jobs;
	SELECT count(*) FROM public.claim_job_executions('acme', 10, '{d1}');
	RESET search_path;
	SET ROLE acme; SET SESSION AUTHORIZATION acme; SET ROLE host; SET ROLE postgres; RESET ROLE; RESET SESSION AUTHORIZATION;
	SELECT count(*) FROM jobs;
	-- the policies
	SET row_security = off; SELECT count(*) FROM jobs; SELECT count(*) FROM list_jobs('acme'); RESET row_security;
	SELECT use_hardened_tenants(false);
	DROP POLICY iot_jobs_login ON jobs; ALTER POLICY iot_jobs_login ON jobs USING (true); CREATE POLICY p ON jobs USING (true);
	ALTER TABLE jobs DISABLE ROW LEVEL SECURITY; ALTER TABLE jobs OWNER TO evil; GRANT acme TO evil; ALTER ROLE evil BYPASSRLS;
	CREATE TRIGGER t BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION evil.texteq();
	CREATE RULE r AS ON SELECT TO jobs DO INSTEAD SELECT 1;
	SET session_replication_role = replica; LOAD 'iot_jobs'; SET iot_jobs.max_document_bytes = 1000;
	-- functions that tell what they are shown, and others' rights
	CREATE FUNCTION evil.leak(text) RETURNS boolean COST 0.0000001 LANGUAGE plpgsql AS $$BEGIN RAISE NOTICE 'leaked %', $1; RETURN true; END$$;
	SELECT count(*) FROM jobs WHERE evil.leak(job_id || document_params::text);
	SELECT count(*) FROM job_executions e JOIN jobs j USING (tenant_id, job_id) WHERE evil.leak(e.device_id) OR 1 / length(e.job_id) > 5;
	CREATE FUNCTION evil.as_me() RETURNS bigint SECURITY DEFINER SET app.tenant_id = 'acme' LANGUAGE sql AS $$SELECT count(*) FROM public.jobs$$;
	SELECT evil.as_me();
	CREATE VIEW evil.view AS SELECT * FROM jobs; SELECT count(*) FROM evil.view;
	CREATE MATERIALIZED VIEW evil.copy AS SELECT * FROM jobs; SELECT count(*) FROM evil.copy;
	-- plans that were made for somebody else
	SET plan_cache_mode = force_generic_plan;
	SET app.tenant_id = 'evil'; PREPARE p AS SELECT tenant_id, count(*) FROM jobs GROUP BY 1; EXECUTE p; EXECUTE p;
	SET app.tenant_id = 'acme'; EXECUTE p; EXECUTE p;
	BEGIN; SET LOCAL app.tenant_id = 'evil'; DECLARE c CURSOR FOR SELECT tenant_id FROM jobs; SET LOCAL app.tenant_id = 'acme'; FETCH ALL FROM c; COMMIT;
	SELECT tablename, most_common_vals FROM pg_stats WHERE schemaname = 'public' AND tablename IN ('jobs', 'job_executions', 'devices', 'tenants');
	SELECT database, expired, completed, deleted, next_deadline, oldest_overdue, last_error FROM iot_jobs_worker;
	-- and one's own still works
	SET app.tenant_id = 'evil';
	BEGIN;
	SELECT status, job_id FROM start_next_pending_job_execution('evil', 'd1');
	SELECT status FROM update_job_execution('evil', 'j', 'd1', 'SUCCEEDED');
	SELECT count(*) FROM claim_job_executions('evil', 10);
	SELECT total_executions FROM create_job('evil', 't', target_all => true, job_id => 'same name as theirs');
	SELECT status FROM cancel_job('evil', 'j', force => true);
	ROLLBACK;
};

sub what_it_learns
{
	my ($database) = @_;
	my $file = $node->basedir . "/$database.attack";

	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE fleet");
	$node->safe_psql($database, $_[1]) if $_[1];
	append_to_file($file, $attack);
	my ($out, $err);
	IPC::Run::run([ $node->installed_command('psql'), '-XAt', '-v', 'ON_ERROR_STOP=0', '-U', 'evil', '-h', $node->host, '-p', $node->port, '-d', $database, '-f', $file ],
		'>', \$out, '2>', \$err);
	# each error has its place in the file and in the server, and names the database
	return "$out\n$err" =~ s/^psql:\S+?:(?=\d+:)//gmr =~ s/\b\Q$database\E\b/DATABASE/gr;
}

# the name, not the object: a server with shared_preload_libraries has a worker per database
my $with = what_it_learns('with_others', q{ANALYZE; SELECT create_job('acme', 't', target_all => true, job_id => 'same name as theirs')});
my $without = what_it_learns('without_others', q{DELETE FROM tenants WHERE tenant_id <> 'evil'; ANALYZE});
is($with, $without, 'evil learns nothing, not even that there are others');
cmp_ok(scalar(() = $with =~ /ERROR/g), '>', 25, 'much of it was refused');
like($with, qr/^IN_PROGRESS\|j\nSUCCEEDED\n4\n5\nCANCELED$/m, 'while its own work went on');
unlike($with, qr/"secret": "(?:acme|other)"/, 'no secret among it');
unlike($with, qr/ERROR:  XX/, 'and nothing broke');
is($node->safe_psql('with_others', q{SELECT string_agg(DISTINCT concat_ws(' ', tenant_id, status, execution_number), ', ') FROM job_executions WHERE tenant_id <> 'evil'}),
	'acme QUEUED 1, other QUEUED 1', 'and nothing of the others was touched');

# ----------------------------------------------------------------
# It lasts
# ----------------------------------------------------------------

my $policies = q{SELECT string_agg(concat_ws(' ', tablename, policyname, permissive, roles, cmd, qual, with_check), E'\n' ORDER BY tablename, policyname) FROM pg_policies};
my $before = $node->safe_psql('fleet', $policies);
like($before, qr/^jobs jobs_tenant_isolation PERMISSIVE \{public\} ALL \(tenant_id = current_setting\('app\.tenant_id'::text, true\)\) \(tenant_id = current_setting\('app\.tenant_id'::text, true\)\)$/m,
	'the policies of the migration are as they were');
$node->safe_psql('fleet', 'SELECT use_hardened_tenants(true)');
is($node->safe_psql('fleet', $policies), $before, 'a second time changes nothing');

$node->safe_psql('fleet', 'DROP EXTENSION iot_jobs');
is($node->safe_psql('fleet', $policies), $before, 'the policies outlive the extension');
is(tenants_seen('evil'), 'evil', 'and hold');
$node->safe_psql('fleet', q{DROP TABLE job_executions; CREATE EXTENSION iot_jobs; GRANT ALL ON job_executions TO evil; GRANT EXECUTE ON FUNCTION use_hardened_tenants TO evil});
is($node->safe_psql('fleet', $policies), $before, 'a table that comes back with it is hardened, too');

$node->command_ok([ 'pg_dump', '-Fc', '-f', $node->basedir . '/fleet.dump', '-d', $node->connstr('fleet') ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $node->basedir . '/fleet.dump' ], 'restored');
is($node->safe_psql('restored', $policies), $before, 'a restore brings the policies');
is($node->safe_psql('restored', q{SELECT string_agg(concat_ws(' ', role_name, tenant_id), ', ' ORDER BY role_name, tenant_id) FROM iot_jobs_tenant_roles}),
	'acme acme, evil evil, pair acme, pair evil, service', 'and the map');
is(tenants_seen('evil', 'restored'), 'evil', 'and they hold');

# The host's own registry, and what cannot be secured.
my ($out, $err);
$node->safe_psql('fleet', q{
	CREATE TABLE device_state (tenant_id text, device_id text);
	CREATE TABLE host_groups (tenant_id text, group_id text, device_id text);
	ALTER TABLE device_state ENABLE ROW LEVEL SECURITY;
	CREATE POLICY p ON device_state USING (tenant_id = current_setting('app.tenant_id', true));
	SELECT use_fleet('device_state', 'host_groups')});
$node->psql('fleet', q{SELECT string_agg(t::text, ' ') FROM use_hardened_tenants(true) t}, stdout => \$out, stderr => \$err);
like($out, qr/device_state/, 'a registry of the host is hardened');
like($err, qr/WARNING:  public\.host_groups has no row security and stays open to every tenant/, 'or named if it cannot be');
like((as('evil', 'SELECT use_hardened_tenants(false)'))[1], qr/must be owner/, 'who owns nothing switches nothing');

is($node->safe_psql('fleet', q{SELECT count(*) FROM use_hardened_tenants(false)}), '0', 'switched off');
is(tenants_seen('evil'), 'acme evil other', 'it is as it was');
is($node->safe_psql('fleet', q{SELECT count(*) FROM iot_jobs_tenant_roles}), '5', 'and the map is kept for the next time');
is($node->safe_psql('fleet', q{DELETE FROM tenants WHERE tenant_id = 'evil'; SELECT string_agg(role_name, ' ' ORDER BY role_name) FROM iot_jobs_tenant_roles}),
	'acme pair service', 'a tenant that goes takes its logins out of the map');
is(complaints_in_log($node), '', 'the server has nothing to complain about');

$node->stop;
done_testing();
