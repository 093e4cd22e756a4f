# No tenant sees another: every function, table and view of the extension, called by
# every kind of role with every kind of app.tenant_id, answers the same whether the
# rows of a tenant that the role may not see are there, are not there, or are locked
# by somebody else.  "The same" is the whole of it: rows, counts, each field of an
# error, and that nothing waits.
#
# Three ways: directly, by SQL (a trigger bars the direct way), and in the hardened
# mode.  The list of functions is the catalog's: one that has no calls here is an error.
# IOT_JOBS_LONG=1 tries every combination of ids.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

use IotJobsData;

my $long = $ENV{IOT_JOBS_LONG};

# Calls: each of T, J, D and G is tried as ours, as theirs and as what both have.
my %values = (
	T => [qw(own other)],
	J => $long ? [qw(shared own-job other-job none)] : [qw(shared other-job)],
	D => $long ? [qw(d1 own-d other-d none)] : [qw(d1 other-d)],
	G => [qw(g other-g)]);

my %calls = (
	create_job => [
		q{create_job('@T', 't', '{"x": 1}', target_all => true, job_id => '@J')},
		q{create_job('@T', 't', target_device_id => '@D', job_id => 'new')},
		q{create_job('@T', 't', target_group_id => '@G', job_id => 'new', expires_in => '1 h')} ],
	describe_job => [q{describe_job('@T', '@J')}],
	list_jobs => [
		q{list_jobs('@T')}, q{list_jobs('@T', status => 'IN_PROGRESS', page_size => 1)}, q{list_jobs('@T', target_device_id => '@D')},
		# a token of somebody else's list
		q{list_jobs('@T', page_token => (SELECT token FROM matrix.token WHERE list = 'jobs'))} ],
	update_job => [q{update_job('@T', '@J', NULL)}],
	cancel_job => [ q{cancel_job('@T', '@J')}, q{cancel_job('@T', '@J', 'why', true)} ],
	delete_job => [ q{delete_job('@T', '@J')}, q{delete_job('@T', '@J', true)} ],
	purge_jobs => [q{purge_jobs('@T', '0')}],
	purge_all_jobs => [q{purge_all_jobs('0')}],
	list_job_executions_for_job => [
		q{list_job_executions_for_job('@T', '@J')},
		q{list_job_executions_for_job('@T', '@J', page_token => (SELECT token FROM matrix.token WHERE list = 'job'))} ],
	list_job_executions_for_device => [
		q{list_job_executions_for_device('@T', '@D')},
		q{list_job_executions_for_device('@T', '@D', page_token => (SELECT token FROM matrix.token WHERE list = 'device'))} ],
	cancel_job_execution => [ q{cancel_job_execution('@T', '@J', '@D', force => true)}, q{cancel_job_execution('@T', '@J', '@D', expected_execution_number => 77)} ],
	delete_job_execution => [ q{delete_job_execution('@T', '@J', '@D')}, q{delete_job_execution('@T', '@J', '@D', true)} ],
	get_pending_job_executions => [q{get_pending_job_executions('@T', '@D')}],
	start_next_pending_job_execution => [q{start_next_pending_job_execution('@T', '@D', '{"x": 1}')}],
	describe_job_execution => [q{describe_job_execution('@T', '@J', '@D')}],
	update_job_execution => [
		q{update_job_execution('@T', '@J', '@D', 'SUCCEEDED', '{"x": 1}')},
		q{update_job_execution('@T', '@J', '@D', 'IN_PROGRESS', expected_execution_number => 77)} ],
	claim_job_executions => [ q{claim_job_executions('@T', 100)}, q{claim_job_executions('@T', 9, array['@D', 'd1', 'd2', 'd3'])} ],
	update_job_executions => [q{update_job_executions('@T', '[{"job_id": "@J", "device_id": "@D", "status": "FAILED"}, {"job_id": "shared", "device_id": "d2", "status": "IN_PROGRESS", "expected_execution_number": 77}]')}],
	run_job_sweep => [ q{run_job_sweep()}, q{run_job_sweep(1)} ],
	verify_jobs => [ q{verify_jobs()}, q{verify_jobs('@T')} ],
	wake_job_worker => [q{wake_job_worker()}],
	iot_jobs_worker_state => [q{iot_jobs_worker_state()}],
	iot_jobs_counter_state => [q{iot_jobs_counter_state()}],
	job_state_steps => [q{job_state_steps()}],
	use_fleet => [q{use_fleet('devices', 'device_group_members')}],
	use_job_indexes => [q{use_job_indexes('lean')}],
	job_index_profile => [q{job_index_profile()}],
	job_index_statements => [ q{job_index_statements('lean')}, q{job_index_statements('contract', false)} ],
	iot_jobs_indexes => [q{iot_jobs_indexes()}],
	use_hardened_tenants => [ q{use_hardened_tenants(true)}, q{use_hardened_tenants(false)} ],
	schedule_job => [q{schedule_job('n', '* * * * *', '@T', 't', target_all => true)}],
	unschedule_job => [q{unschedule_job('n')}],
	schedule_job_retention => [ q{schedule_job_retention('1 day')}, q{schedule_job_retention('1 day', tenant_id => '@T')} ],
	unschedule_job_retention => [ q{unschedule_job_retention()}, q{unschedule_job_retention('@T')} ],
	schedule_job_sweep => [q{schedule_job_sweep()}],
	unschedule_job_sweep => [q{unschedule_job_sweep()}],
	iot_jobs_guard_job => [q{iot_jobs_guard_job()}],
	iot_jobs_guard_execution => [q{iot_jobs_guard_execution()}],
	iot_jobs_cascade_cancel => [q{iot_jobs_cascade_cancel()}]);

# What people write by hand.
my @statements = (
	q{INSERT INTO jobs (tenant_id, job_id, document_type, target_all) VALUES ('@T', '@J', 't', true) RETURNING *},
	q{INSERT INTO jobs (tenant_id, job_id, document_type, target_all) VALUES ('@T', '@J', 't', true) ON CONFLICT DO NOTHING RETURNING *},
	q{INSERT INTO jobs (tenant_id, job_id, document_type, target_all) VALUES ('@T', '@J', 't', true) ON CONFLICT (tenant_id, job_id) DO UPDATE SET document_type = 'u' RETURNING *},
	q{INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('@T', '@J', '@D') RETURNING *},
	q{INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('@T', '@J', '@D') ON CONFLICT DO NOTHING RETURNING *},
	q{UPDATE jobs SET status = 'CANCELED' WHERE job_id = '@J' RETURNING *},
	q{UPDATE jobs SET tenant_id = '@T', job_id = 'moved' WHERE job_id = '@J' RETURNING *},
	q{UPDATE job_executions SET tenant_id = '@T' WHERE device_id = '@D' RETURNING *},
	q{UPDATE job_executions SET status = 'SUCCEEDED' WHERE tenant_id = '@T' RETURNING *},
	q{DELETE FROM tenants WHERE tenant_id = '@T' RETURNING *},
	q{MERGE INTO jobs j USING (VALUES ('@T', '@J')) v (t, i) ON j.tenant_id = v.t AND j.job_id = v.i WHEN MATCHED THEN UPDATE SET document_type = 'u' WHEN NOT MATCHED THEN INSERT (tenant_id, job_id, document_type, target_all) VALUES (v.t, v.i, 't', true)},
	q{SELECT * FROM jobs j JOIN job_executions e USING (tenant_id, job_id) WHERE matrix.leak(j.job_id) AND matrix.leak(e.status_details::text)},
	q{SELECT count(*), count(DISTINCT tenant_id), max(job_id), min(document_params::text) FROM jobs WHERE matrix.leak(document_params::text)},
	q{SELECT (xpath('/table/row', query_to_xml('TABLE jobs', false, false, '')))::text},
	q{SELECT tablename, attname, most_common_vals, histogram_bounds FROM pg_stats WHERE schemaname = 'public' AND tablename ~ '^(jobs|job_executions|tenants|device)'});

# A cell is (role, app.tenant_id); what it may see is a set of tenants.
my %settings = (unset => undef, empty => '', own => 'own', other => 'other', long => 'x' x 1048576);
my @roles = qw(m_owner m_app m_gateway m_operator m_nobody m_mapped);

sub visible
{
	my ($way, $role, $setting) = @_;

	return qw(own other) if $role eq 'm_owner' || $role eq 'm_operator';
	return () if $role eq 'm_nobody' || $setting !~ /^o/;
	return ($setting) if $way ne 'hardened';
	return $role eq 'm_mapped' && $setting eq 'own' ? 'own' : ();
}

# a megabyte in a policy is slow, and the same to each way
sub settings_of
{
	my ($way) = @_;

	return (qw(unset empty own other), $way eq 'direct' || $long ? 'long' : ());
}

sub combinations
{
	my ($text) = @_;

	return ($text) unless $text =~ /\@([TJDG])/;
	my $what = $1;
	return map { combinations($text =~ s/\@$what/$_/gr) } @{ $values{$what} };
}

my $node = data_server('matrix', conf => "iot_jobs.worker_enabled = off\nautovacuum = off\nmax_prepared_transactions = 2\nshared_preload_libraries = 'iot_jobs'\n");
$node->start;

$node->safe_psql('postgres', q{
	CREATE ROLE m_owner LOGIN;
	CREATE ROLE m_app LOGIN;
	CREATE ROLE m_gateway LOGIN;
	CREATE ROLE m_operator LOGIN BYPASSRLS;
	CREATE ROLE m_nobody LOGIN;
	CREATE ROLE m_mapped LOGIN;
	CREATE DATABASE base;
});
$node->safe_psql('base', q{
	CREATE EXTENSION iot_jobs;
	GRANT ALL ON ALL FUNCTIONS IN SCHEMA public TO m_owner, m_app, m_operator, m_mapped;
	GRANT EXECUTE ON FUNCTION start_next_pending_job_execution, update_job_execution, claim_job_executions, update_job_executions TO m_gateway;
	GRANT SELECT, INSERT, UPDATE, DELETE ON jobs, job_executions TO m_app, m_operator, m_mapped;
	GRANT SELECT ON tenants, devices, device_groups, device_group_members TO m_app, m_operator, m_mapped;
	GRANT DELETE ON tenants TO m_app, m_operator, m_mapped;
	GRANT SELECT ON jobs TO m_gateway;
	GRANT SELECT, UPDATE ON job_executions TO m_gateway;
	DO $$
	DECLARE
		t text;
	BEGIN
		FOR t IN SELECT unnest('{tenants,devices,device_groups,device_group_members,jobs,job_executions,iot_jobs_fleet}'::text[]) LOOP
			EXECUTE format('ALTER TABLE %I OWNER TO m_owner', t);
		END LOOP;
		-- everything in a row of a tenant names it, but for the ids that both have
		FOREACH t IN ARRAY '{own,other}'::text[] LOOP
			INSERT INTO tenants (tenant_id, name) VALUES (t, 'secret of ' || t);
			INSERT INTO devices (tenant_id, device_id) SELECT t, d FROM unnest(array['d1', 'd2', 'd3', t || '-d']) d;
			INSERT INTO device_groups (tenant_id, group_id, description) VALUES (t, 'g', 'secret of ' || t), (t, t || '-g', NULL);
			INSERT INTO device_group_members (tenant_id, group_id, device_id) VALUES (t, 'g', 'd1'), (t, 'g', t || '-d'), (t, t || '-g', 'd2');
			PERFORM create_job(t, 't', jsonb_build_object('secret', t), target_all => true, job_id => 'shared', created_by => 'secret of ' || t);
			PERFORM create_job(t, 't', jsonb_build_object('secret', t), target_group_id => 'g', job_id => t || '-job');
			PERFORM create_job(t, 'done', jsonb_build_object('secret', t), target_device_id => 'd3', job_id => t || '-done');
			PERFORM create_job(t, 'late', jsonb_build_object('secret', t), target_all => true, job_id => t || '-late', expires_in => '1 h');
			UPDATE jobs SET expires_at = now() - interval '1 min' WHERE job_id = t || '-late';
			PERFORM update_job_execution(t, t || '-done', 'd3', 'SUCCEEDED', jsonb_build_object('secret', t));
			PERFORM update_job_execution(t, 'shared', 'd2', 'IN_PROGRESS', jsonb_build_object('secret', t));
			PERFORM cancel_job(t, t || '-done');
		END LOOP;
	END $$;
	ANALYZE;
	CREATE SCHEMA matrix;
	GRANT USAGE ON SCHEMA matrix TO PUBLIC;
	CREATE TABLE matrix.call (n int GENERATED ALWAYS AS IDENTITY, name text, statement text);
	CREATE TABLE matrix.answer (role name DEFAULT session_user, setting text, n int, answer text);
	CREATE TABLE matrix.token AS
		SELECT 'jobs' AS list, min(page_token) AS token FROM list_jobs('other') UNION ALL
		SELECT 'job', min(page_token) FROM list_job_executions_for_job('other', 'shared') UNION ALL
		SELECT 'device', min(page_token) FROM list_job_executions_for_device('other', 'd1');
	GRANT SELECT ON matrix.call, matrix.token TO PUBLIC;
	GRANT INSERT ON matrix.answer TO PUBLIC;
	-- tells of every value it is shown, for almost nothing
	CREATE FUNCTION matrix.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$BEGIN RAISE NOTICE 'leaked %', $1; RETURN true; END$$;
	-- all that a client can learn from one statement, which is undone
	CREATE FUNCTION matrix.ask(statement text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		r record; result text := ''; d1 text; d2 text; d3 text; d4 text; d5 text; d6 text; d7 text; d8 text; d9 text; d10 text;
	BEGIN
		IF statement ~ '^MERGE' THEN
			EXECUTE statement;
		ELSE
			FOR r IN EXECUTE statement LOOP
				result := result || r::text || E'\n';
			END LOOP;
		END IF;
		RAISE EXCEPTION USING ERRCODE = 'MX001';
	EXCEPTION
		WHEN SQLSTATE 'MX001' THEN
			RETURN regexp_replace(result, '\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?[+-]\d\d', 'TIME', 'g');
		WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS d1 = RETURNED_SQLSTATE, d2 = MESSAGE_TEXT, d3 = PG_EXCEPTION_DETAIL, d4 = PG_EXCEPTION_HINT,
				d5 = PG_EXCEPTION_CONTEXT, d6 = SCHEMA_NAME, d7 = TABLE_NAME, d8 = COLUMN_NAME, d9 = CONSTRAINT_NAME, d10 = PG_DATATYPE_NAME;
			RETURN regexp_replace(concat_ws('|', d1, d2, d3, d4, d5, d6, d7, d8, d9, d10), '\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?[+-]\d\d', 'TIME', 'g');
	END $$;
	CREATE PROCEDURE matrix.go_through(setting text) LANGUAGE plpgsql AS $$
	DECLARE
		c record;
	BEGIN
		FOR c IN SELECT * FROM matrix.call ORDER BY n LOOP
			INSERT INTO matrix.answer (setting, n, answer) VALUES (setting, c.n, matrix.ask(c.statement));
		END LOOP;
	END $$;
	CREATE FUNCTION matrix.nothing() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
});

# A new function has to be tried here.
is( $node->safe_psql('base', q{
		SELECT p.proname FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
		WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'iot_jobs') ORDER BY 1}),
	join("\n", sort keys %calls), 'every function of the extension is in the matrix, and no other');

# Tables and views are the catalog's, too: read, counted, locked and written as a whole.
sub relation_statements
{
	my ($database) = @_;
	my @result;

	foreach my $line (split /\n/, $node->safe_psql($database, q{
		SELECT c.relname, c.relkind, EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped)
		FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind NOT IN ('i', 'I', 'c', 'S', 't') ORDER BY 1}))
	{
		my ($relation, $kind, $of_tenant) = split /\|/, $line;

		push @result, "SELECT * FROM $relation ORDER BY $relation", "SELECT count(*) FROM $relation",
		  "EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM $relation";
		push @result, "SELECT * FROM $relation ORDER BY $relation FOR UPDATE", "DELETE FROM $relation RETURNING *" if $kind =~ /[rp]/;
		push @result, "UPDATE $relation SET tenant_id = tenant_id RETURNING *", "SELECT * FROM $relation WHERE tenant_id = 'other' AND matrix.leak($relation\::text)",
		  "UPDATE $relation SET tenant_id = 'other' RETURNING *"
		  if $of_tenant eq 't' && $kind =~ /[rp]/;
	}
	return @result;
}

# ----------------------------------------------------------------
# One world after the other
# ----------------------------------------------------------------

my %answers;       # way, world, role, setting, n
my %statements;    # way, n
my $asked = 0;

sub quote
{
	my ($text) = @_;

	return "'" . ($text =~ s/'/''/gr) . "'";
}

# prepare the template of a way: its calls are those of the relations that it has
sub prepare_way
{
	my ($way) = @_;
	my $database = "way_$way";

	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE base");
	$node->safe_psql($database, q{CREATE TRIGGER by_sql AFTER INSERT OR UPDATE OR DELETE ON job_executions FOR EACH STATEMENT EXECUTE FUNCTION matrix.nothing()})
	  if $way eq 'by_sql';
	$node->safe_psql($database, q{SELECT use_hardened_tenants(true); INSERT INTO iot_jobs_tenant_roles VALUES ('m_mapped', 'own'), ('somebody', 'other')})
	  if $way eq 'hardened';
	my @list = map { my $name = $_; map { [ $name, $name =~ /^iot_jobs_(?:guard|cascade)/ ? "SELECT $_" : "SELECT * FROM $_" ] } map { combinations($_) } @{ $calls{$name} } } sort keys %calls;
	push @list, map { [ 'EXPLAIN', "EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM $_" ] } map { (combinations($calls{$_}[0]))[0] } sort keys %calls;
	push @list, map { [ 'by hand', $_ ] } map { combinations($_) } @statements;
	push @list, map { [ 'relation', $_ ] } relation_statements($database);
	$node->safe_psql($database, 'INSERT INTO matrix.call (name, statement) VALUES ' . join(', ', map { '(' . quote($_->[0]) . ', ' . quote($_->[1]) . ')' } @list));
	$statements{$way} = [ undef, map { $_->[1] } @list ];
	return;
}

sub go_through
{
	my ($way, $world, $prepare) = @_;
	my $database = "${way}_$world";

	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE way_$way");
	$node->safe_psql($database, $prepare) if $prepare;
	if ($world eq 'locked')
	{
		$node->safe_psql($database, q{
			BEGIN;
			SELECT count(*) FROM (SELECT FROM tenants WHERE tenant_id = 'other' FOR UPDATE) x;
			SELECT count(*) FROM (SELECT FROM jobs WHERE tenant_id = 'other' FOR UPDATE) x;
			SELECT count(*) FROM (SELECT FROM job_executions WHERE tenant_id = 'other' FOR UPDATE) x;
			INSERT INTO jobs (tenant_id, job_id, document_type, target_all) VALUES ('other', 'new', 't', true), ('other', 'none', 't', true), ('other', 'moved', 't', true);
			INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('other', 'new', 'd1');
			PREPARE TRANSACTION 'holder';
		});
	}
	foreach my $role (@roles)
	{
		# whoever may see these rows waits for them, and rightly
		next if $world eq 'locked' && $role =~ /owner|operator/;
		my $script = "SET client_min_messages = error;\n" . ($world eq 'locked' ? "SET lock_timeout = '1s';\n" : '');
		foreach my $setting (settings_of($way))
		{
			next if $world eq 'locked' && grep { $_ eq 'other' } visible($way, $role, $setting);
			$script .= "SET app.tenant_id = '$settings{$setting}';\n" if defined $settings{$setting};
			$script .= "CALL matrix.go_through('$setting');\n";
		}
		$node->safe_psql($database, $script, extra_params => [ '-U', $role ]);
	}
	foreach my $line (split /\n/, $node->safe_psql($database, q{SELECT role, setting, n, encode(convert_to(answer, 'UTF8'), 'hex') FROM matrix.answer}))
	{
		my ($role, $setting, $n, $answer) = split /\|/, $line;

		$answers{$way}{$world}{$role}{$setting}[$n] = join("\n", sort split(/\n/, pack('H*', $answer // '') =~ s/\Q$database\E/DATABASE/gr));
		$asked++;
	}
	$node->safe_psql($database, q{ROLLBACK PREPARED 'holder'}) if $world eq 'locked';
	return;
}

# Enough of them to see what is wrong.
sub some
{
	return join("\n", splice(@_, 0, 10));
}

# What differs between two worlds for this cell.
sub differences
{
	my ($way, $world, $role, $setting) = @_;
	my ($one, $two) = map { $answers{$way}{$_}{$role}{$setting} } 'full', $world;
	my @result;

	return ('no answers') unless $one && $two && @$one == @$two && @$one == @{ $statements{$way} };
	foreach my $n (1 .. $#{$one})
	{
		# plans depend on how much there is; what they say is looked at below
		next if $statements{$way}[$n] =~ /^EXPLAIN/ || $one->[$n] eq $two->[$n];
		# a login may see which tenants are its own, whatever it sets
		next if $statements{$way}[$n] =~ /FROM iot_jobs_tenant_roles/ && $role eq 'm_mapped' && $world eq 'without_own';
		push @result, "$role, $setting: $statements{$way}[$n]\n  full: $one->[$n]\n  $world: $two->[$n]";
	}
	return @result;
}

foreach my $way (qw(direct by_sql hardened))
{
	prepare_way($way);
	# what holds for one of the two tenants directly, holds for it by SQL
	my @absent = $way eq 'direct' || $long ? qw(own other) : qw(other);
	go_through($way, 'full');
	go_through($way, "without_$_", "DELETE FROM tenants WHERE tenant_id = '$_'") foreach @absent;
	go_through($way, 'locked') if $way ne 'by_sql';

	my (@leaks, @blind, @told, @waits);
	foreach my $role (@roles)
	{
		foreach my $setting (settings_of($way))
		{
			my %may = map { $_ => 1 } visible($way, $role, $setting);

			foreach my $tenant (@absent)
			{
				my @differences = differences($way, "without_$tenant", $role, $setting);

				push @leaks, @differences unless $may{$tenant};
				# whoever may see it does, in many ways
				push @blind, "$role, $setting: $tenant" if $may{$tenant} && @differences < 15;
				next if $may{$tenant};
				foreach my $n (1 .. $#{ $statements{$way} })
				{
					my $answer = $answers{$way}{full}{$role}{$setting}[$n];
					push @told, "$role, $setting: $statements{$way}[$n]\n  $answer" if $answer =~ /secret of $tenant|"secret": "$tenant"/;
				}
			}
			push @waits, differences($way, 'locked', $role, $setting)
			  if $way ne 'by_sql' && $role !~ /owner|operator/ && !$may{other};
		}
	}
	is(some(@leaks), '', "$way: what a role may not see makes no difference");
	is(some(@blind), '', "$way: what it may see does");
	is(some(@told), '', "$way: and is told nowhere, plans included");
	is(some(@waits), '', "$way: nor does anybody wait for it") if $way ne 'by_sql';
}
note("$asked cross-tenant statements, " . scalar(keys %calls) . ' functions');

# The direct way and SQL are the same here, too, but for where an error came from.
{
	my @different;

	foreach my $role (@roles)
	{
		foreach my $setting (settings_of('by_sql'))
		{
			my ($one, $two) = map { $answers{$_}{full}{$role}{$setting} } qw(direct by_sql);

			foreach my $n (1 .. $#{$one})
			{
				my ($a, $b) = map { $_ =~ s/SQL statement "[^"]*"\n//r } $one->[$n], $two->[$n];
				next if $statements{direct}[$n] =~ /^EXPLAIN/ || $a eq $b;
				push @different, "$role, $setting: $statements{direct}[$n]\n  direct: $a\n  by SQL: $b";
			}
		}
	}
	is(some(@different), '', 'directly and by SQL every answer is the same');
}
is(complaints_in_log($node), '', 'the server has nothing to complain about');

$node->stop;
done_testing();
