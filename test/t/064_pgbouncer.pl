# Connections that PgBouncer hands from transaction to transaction: each reply is
# looked at by the one who got it, and belongs to the tenant of that transaction.
# Then with a login for each tenant, in the hardened mode.
#
# A few thousand transactions; IOT_JOBS_LONG=seconds for that long.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

use IotJobsData;

my ($pgbouncer) = grep { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin', '/usr/local/sbin';
plan skip_all => '***** PgBouncer is not installed: NOTHING OF THIS WAS TESTED *****' unless $pgbouncer;

my $node = data_server('pooled', conf => "shared_preload_libraries = 'iot_jobs'\nmax_connections = 60\n");
my $tenants = 5;

$node->start;
$node->safe_psql('postgres', qq{
	CREATE EXTENSION iot_jobs;
	CREATE ROLE app LOGIN;
	DO \$\$BEGIN FOR i IN 1..$tenants LOOP EXECUTE format('CREATE ROLE login_%s LOGIN IN ROLE app', i); END LOOP; END\$\$;
	GRANT SELECT, INSERT, UPDATE, DELETE ON jobs, job_executions TO app;
	GRANT SELECT ON tenants, devices, device_groups, device_group_members TO app;
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO app;
	INSERT INTO tenants (tenant_id) SELECT 't' || i FROM generate_series(1, $tenants) i;
	INSERT INTO devices (tenant_id, device_id) SELECT 't' || i, 'd' || n FROM generate_series(1, $tenants) i, generate_series(1, 20) n;
	SELECT create_job('t' || i, 't', to_jsonb('t' || i), target_all => true, job_id => 'j' || n) FROM generate_series(1, $tenants) i, generate_series(1, 20) n;
});
$node->safe_psql('postgres', q{
	-- everything that comes back is the tenant's whose it should be; nothing at all if that is nobody
	CREATE FUNCTION must(condition boolean, what text) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		IF condition IS NOT TRUE THEN RAISE EXCEPTION 'LEAK: % while app.tenant_id is %, login %', what, current_setting('app.tenant_id', true), session_user; END IF;
	END $$;
	CREATE FUNCTION look(tenant text, mine boolean) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		n bigint;
	BEGIN
		SELECT count(*) INTO n FROM jobs j WHERE j.tenant_id = tenant;
		PERFORM must((n > 0) = mine, 'jobs by hand');
		PERFORM must(NOT EXISTS (SELECT FROM jobs j WHERE j.tenant_id IS DISTINCT FROM current_setting('app.tenant_id', true)), 'foreign jobs');
		SELECT count(*) INTO n FROM list_jobs(tenant);
		PERFORM must((n > 0) = mine, 'list_jobs');
		PERFORM must(NOT EXISTS (SELECT FROM list_jobs(tenant) l WHERE l.tenant_id <> tenant OR l.document_params IS DISTINCT FROM to_jsonb(tenant)), 'rows of list_jobs');
		SELECT count(*) INTO n FROM list_job_executions_for_device(tenant, 'd1');
		PERFORM must((n > 0) = mine, 'list_job_executions_for_device');
		BEGIN
			PERFORM describe_job(tenant, 'j1');
			PERFORM must(mine, 'describe_job');
		EXCEPTION WHEN SQLSTATE 'IJ001' THEN PERFORM must(NOT mine, 'describe_job');
		END;
	END $$;
	CREATE FUNCTION work(tenant text, device text, mine boolean) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		e record;
	BEGIN
		FOR e IN SELECT * FROM start_next_pending_job_execution(tenant, device) UNION ALL SELECT * FROM claim_job_executions(tenant, 1, array[device]) LOOP
			PERFORM must(mine AND e.tenant_id = tenant AND e.device_id = device AND e.document_params = to_jsonb(tenant), 'a claim');
			BEGIN
				PERFORM must((update_job_execution(tenant, e.job_id, device, CASE WHEN random() < 0.9 THEN 'IN_PROGRESS' ELSE 'SUCCEEDED' END, to_jsonb(e))).tenant_id = tenant, 'a report');
			-- somebody resumed it, too, and was first to end it
			EXCEPTION WHEN SQLSTATE 'IJ002' THEN NULL;
			END;
		END LOOP;
		IF random() < 0.1 AND mine THEN
			PERFORM must((create_job(tenant, 't', to_jsonb(tenant), target_all => true)).total_executions = 20, 'a fan-out');
		END IF;
	END $$;
});

my $dir = $node->basedir . '/pgbouncer';
mkdir $dir or die "could not create $dir: $!";
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $logins = join "\n", map { "login_$_ = host=@{[$node->host]} port=@{[$node->port]} dbname=postgres user=login_$_" } 1 .. $tenants;
append_to_file("$dir/pgbouncer.ini", <<"INI");
[databases]
pooled = host=@{[$node->host]} port=@{[$node->port]} dbname=postgres user=app
$logins
[pgbouncer]
listen_addr =
listen_port = $port
unix_socket_dir = @{[$node->host]}
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 100
logfile = $dir/log
pidfile = $dir/pid
INI
system_or_bail($pgbouncer, '-q', '-d', "$dir/pgbouncer.ini");

sub stop_pgbouncer
{
	my $pid = -e "$dir/pid" ? slurp_file("$dir/pid") : '';

	kill 'INT', $pid if $pid =~ s/\s+//r =~ /^\d+$/;
	return;
}
END { stop_pgbouncer() if $dir; }

sub bench
{
	my ($name, $database, $clients, @scripts) = @_;
	my @files;

	foreach my $i (0 .. $#scripts)
	{
		append_to_file("$dir/$name.$i.sql", $scripts[$i]);
		push @files, '-f', "$dir/$name.$i.sql";
	}
	my ($out, $err);
	IPC::Run::run([ $node->installed_command('pgbench'), '-n', '-h', $node->host, '-p', $port, '-c', $clients, '-j', 2,
			$ENV{IOT_JOBS_LONG} ? ('-T', $ENV{IOT_JOBS_LONG}) : ('-t', 60), @files, $database ], '>', \$out, '2>', \$err);
	my ($done) = $out =~ /transactions actually processed: (\d+)/;
	is(join("\n", grep { /LEAK|ERROR|abort/ } split /\n/, $err), '', "$name: every reply belongs to its transaction (" . ($done // 'no') . ' transactions)');
	cmp_ok($done // 0, '>=', $clients * 60 / ($ENV{IOT_JOBS_LONG} ? 60 : 1), "$name: all of them");
	return;
}

is(eval { $node->safe_psql('postgres', 'SELECT 1') }, '1', 'the server is there');
bench('shared login', 'pooled', 20,
	qq{\\set t random(1, $tenants)\n\\set d random(1, 20)\nBEGIN;\nSELECT set_config('app.tenant_id', 't' || :t, true);\nSELECT look('t' || :t, true);\nSELECT work('t' || :t, 'd' || :d, true);\nCOMMIT;\n},
	qq{\\set t random(1, $tenants - 1)\n\\set d random(1, 20)\nBEGIN;\nSELECT set_config('app.tenant_id', 't' || :t, true);\nSELECT look('t' || :t + 1, false);\nSELECT work('t' || :t + 1, 'd' || :d, false);\nROLLBACK;\n},
	# whoever sets nothing has nothing, whoever had the connection before
	qq{\\set t random(1, $tenants)\nSELECT look('t' || :t, false);\nSELECT must(count(*) = 0, 'left over') FROM job_executions;\n});

$node->safe_psql('postgres', qq{SELECT use_hardened_tenants(true); INSERT INTO iot_jobs_tenant_roles SELECT 'login_' || i, 't' || i FROM generate_series(1, $tenants) i});
foreach my $i (1, $tenants)
{
	# all of them set whatever they like
	bench("login of t$i", "login_$i", 8,
		qq{\\set t random(1, $tenants)\n\\set d random(1, 20)\nBEGIN;\nSELECT set_config('app.tenant_id', 't' || :t, :t % 2 = 0);\nSELECT look('t' || :t, :t = $i);\nSELECT work('t' || :t, 'd' || :d, :t = $i);\nCOMMIT;\n});
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM job_executions WHERE status_details IS NOT NULL AND status_details ->> 'tenant_id' <> tenant_id}), '0', 'and every report is where it belongs');
cmp_ok($node->safe_psql('postgres', q{SELECT count(*) FROM job_executions WHERE status_details IS NOT NULL}), '>', 50, 'and there are many');
is(complaints_in_log($node), '', 'the server has nothing to complain about');

stop_pgbouncer();
$node->stop;
done_testing();
