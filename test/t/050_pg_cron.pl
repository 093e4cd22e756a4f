# Recurring jobs, retention and sweeps on a running pg_cron.
#
# Two servers, because pg_cron has two ways to run a command: through a connection,
# and in a background worker.  Both are given everything at once and then waited
# for, so the file takes two of pg_cron's minutes whatever is in it.  The worker of
# iot_jobs is off: what expires, completes and goes away here does so by pg_cron.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($sharedir) = run_command([ 'pg_config', '--sharedir' ]);
plan skip_all => 'pg_cron is not installed' unless -e "$sharedir/extension/pg_cron.control";

# what psql says of a statement that is expected to fail
sub complaint
{
	my ($node, $database, $sql, @options) = @_;
	my ($status, $stdout, $stderr) =
	  $node->psql($database, "\\set VERBOSITY verbose\n$sql", extra_params => [@options]);

	return $stderr;
}

sub new_server
{
	my ($name, @settings) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
	$node->append_conf('postgresql.conf', join("\n", 'iot_jobs.worker_enabled = off', @settings, ''));
	$node->start;
	return $node;
}

# Two tenants; acme is served by role app under row security.
my $fleet = q{
	CREATE EXTENSION iot_jobs;
	INSERT INTO tenants (tenant_id) VALUES ('acme'), ('umbrella');
	INSERT INTO devices (tenant_id, device_id)
		VALUES ('acme', 'd1'), ('acme', 'd2'), ('acme', 'd3'), ('umbrella', 'u1');
	CREATE ROLE app LOGIN;
	GRANT SELECT ON ALL TABLES IN SCHEMA public TO app;
	GRANT INSERT, UPDATE ON jobs, job_executions TO app;
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO app;
};

my @preload = ("shared_preload_libraries = 'pg_cron'", "cron.database_name = 'postgres'", 'max_worker_processes = 20');
my $connecting = new_server('connecting', @preload);
my $forking = new_server('forking', @preload, 'cron.use_background_workers = on');

# pg_cron connects to "localhost" unless told otherwise, and the servers of a test
# listen on a socket only
$connecting->append_conf('postgresql.conf', "cron.host = '" . $connecting->host . "'");
$connecting->restart;

# ----------------------------------------------------------------
# Schedule everything at once
# ----------------------------------------------------------------

foreach my $node ($connecting, $forking)
{
	my $name = $node->name;

	$node->safe_psql('postgres', "CREATE EXTENSION pg_cron; $fleet GRANT USAGE ON SCHEMA cron TO app;");

	# a finished job of each tenant; retention is for acme's alone
	foreach my $job ([ 'acme', 'd1' ], [ 'umbrella', 'u1' ])
	{
		my ($tenant, $device) = @$job;

		$node->safe_psql('postgres', qq{
			SELECT create_job('$tenant', 'old', target_device_id => '$device', job_id => 'old-$tenant');
			SELECT update_job_execution('$tenant', 'old-$tenant', '$device', 'SUCCEEDED');
			SELECT run_job_sweep();
		});
	}
	is( $node->safe_psql('postgres', "SELECT string_agg(DISTINCT status, ',') FROM jobs"),
		'COMPLETED', "$name: two jobs are finished");

	# one that will be late before pg_cron comes by
	$node->safe_psql('postgres', q{
		SELECT create_job('umbrella', 'late', target_all => true, job_id => 'late',
			expires_at => clock_timestamp() + interval '1 second')});

	like($node->safe_psql('postgres', q{
			SELECT schedule_job('reboots', '* * * * *', 'acme', 'reboot', '{"it''s": "\\\\ok"}',
				target_all => true, expires_in => '1 day 02:00', created_by => 'the operator')}),
		qr/^\d+$/, "$name: a superuser schedules a job");
	like($node->safe_psql('postgres',
			q{SELECT schedule_job('pings', '* * * * *', 'acme', 'ping', target_device_id => 'd2')},
			extra_params => [ '-U', 'app' ]),
		qr/^\d+$/, "$name: an app role schedules a job");
	$node->safe_psql('postgres', q{
		SELECT schedule_job_retention('0 seconds', '* * * * *', 'acme');
		SELECT schedule_job_sweep();
	});

	# the same name again replaces; the names of two roles are two
	$node->safe_psql('postgres', q{SELECT schedule_job_retention('0 seconds', '* * * * *', 'acme')});
	is( $node->safe_psql('postgres', q{
			SELECT jobname, username, schedule FROM cron.job ORDER BY jobname COLLATE "C"}),
		join("\n",
			'iot_jobs job pings|app|* * * * *',
			'iot_jobs job reboots|postgres|* * * * *',
			'iot_jobs retention acme|postgres|* * * * *',
			'iot_jobs sweep|postgres|* * * * *')
		  =~ s/postgres/$node->safe_psql('postgres', 'SELECT current_user')/gre,
		"$name: cron.job has one row for each schedule");
}

# ----------------------------------------------------------------
# What is refused, while pg_cron waits for its minute
# ----------------------------------------------------------------

{
	my $node = $connecting;
	my $long = 'x' x 51;
	my @refused = (
		[ q{schedule_job('n', 'sometimes', 'acme', 'reboot', target_all => true)}, '22023', 'a schedule that is none' ],
		[ q{schedule_job('n', '99 * * * *', 'acme', 'reboot', target_all => true)}, '22023', 'a minute that is none' ],
		[ q{schedule_job('n', '* * * * *', 'acme', 'reboot')}, '22023', 'a job without a target' ],
		[ q{schedule_job('n', '* * * * *', 'acme', 'reboot', target_all => true, target_group_id => 'g')}, '22023', 'a job with two targets' ],
		[ q{schedule_job('n', '* * * * *', '', 'reboot', target_all => true)}, '22023', 'an empty tenant' ],
		[ q{schedule_job('n', '* * * * *', 'acme', '', target_all => true)}, '22023', 'an empty document type' ],
		[ q{schedule_job('n', '* * * * *', 'acme', 'reboot', jsonb_build_object('x', repeat('x', 40000)), target_all => true)}, '22023', 'a document that is too large' ],
		[ q{schedule_job('n', '* * * * *', 'acme', 'reboot', target_all => true, expires_in => '0 seconds')}, '22023', 'jobs born expired' ],
		[ q{schedule_job('n', '* * * * *', 'acme', 'reboot', target_all => true, expires_in => '100 years')}, '22023', 'jobs that outlive the limit' ],
		[ q{schedule_job('n', '* * * * *', 'acme', 'reboot', target_all => true, expires_in => '178000000 years')}, '22023', 'jobs that outlive the calendar' ],
		[ qq{schedule_job('$long', '* * * * *', 'acme', 'reboot', target_all => true)}, '22023', 'a name that pg_cron would cut' ],
		[ q{schedule_job(NULL, '* * * * *', 'acme', 'reboot', target_all => true)}, '22004', 'no name' ],
		[ q{schedule_job('n', NULL, 'acme', 'reboot', target_all => true)}, '22004', 'no schedule' ],
		[ q{schedule_job_retention(NULL)}, '22004', 'retention of no time' ],
		[ q{schedule_job_retention('-1 day')}, '22023', 'retention of less than no time' ],
		[ q{schedule_job_sweep('hourly, please')}, '22023', 'a sweep on a schedule that is none' ],
		[ q{unschedule_job('n')}, '42704', 'to end what there is not' ],
		[ q{unschedule_job('pings')}, '42704', q{to end another role's schedule} ],
		[ q{unschedule_job_retention()}, '42704', 'to end a retention there is not' ]);

	foreach my $case (@refused)
	{
		my ($call, $sqlstate, $what) = @$case;

		like(complaint($node, 'postgres', "SELECT $call"), qr/ERROR:  \Q$sqlstate\E:/, "refused: $what");
	}
	is($node->safe_psql('postgres', 'SELECT count(*) FROM cron.job'), '4', 'nothing refused left a row');

	# tenants whose names pg_cron would cut to the same one
	my @tenants = map { 'x' x 80 . $_ } 1, 2;
	$node->safe_psql('postgres', join(';', map { "SELECT schedule_job_retention('30 days', tenant_id => '$_')" } @tenants));
	is($node->safe_psql('postgres', q{SELECT count(*) FROM cron.job WHERE jobname LIKE 'iot_jobs retention/%'}), '2', 'long tenants have a retention each');
	is($node->safe_psql('postgres', join(';', map { "SELECT unschedule_job_retention('$_')" } @tenants)), "t\nt", 'and each is ended by its tenant');

	$node->safe_psql('postgres', 'CREATE ROLE nologin; GRANT USAGE ON SCHEMA cron TO nologin;'
		  . 'GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO nologin; CREATE ROLE stranger LOGIN;'
		  . 'GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO stranger');
	like(complaint($node, 'postgres', 'SET ROLE nologin; SELECT schedule_job_sweep()'),
		qr/ERROR:  55000:.*HINT:  .*LOGIN/s, 'refused: a role that pg_cron cannot connect as');
	like(complaint($node, 'postgres', 'SELECT schedule_job_sweep()', '-U', 'stranger'),
		qr/ERROR:  42501:.*HINT:  .*GRANT USAGE ON SCHEMA cron TO stranger/s,
		'refused, with the remedy: a role without a right on pg_cron');

	# another database of the same server
	$node->safe_psql('postgres', 'CREATE DATABASE other TEMPLATE template0');
	$node->safe_psql('other', 'CREATE EXTENSION iot_jobs');
	my $elsewhere = complaint($node, 'other', q{SELECT schedule_job('n', '* * * * *', 'acme', 'reboot', target_all => true)});
	like($elsewhere, qr/ERROR:  55000:.*database "postgres"/s, 'refused in another database than that of pg_cron');

	# and the hint is a statement that works there
	my ($remedy) = $elsewhere =~ /HINT:  Connect to database "postgres" as a superuser and run: (.*)$/m;
	$node->safe_psql('postgres', $remedy);
	is( $node->safe_psql('postgres', "SELECT database, username = current_user FROM cron.job WHERE jobname = 'iot_jobs job n of other'"),
		'other|t', 'the statement in the hint schedules it');
	my ($undo) = complaint($node, 'other', q{SELECT unschedule_job('n')}) =~ /HINT:  .* and run: (.*)$/m;
	is($node->safe_psql('postgres', $undo), 't', 'and that of unschedule_job ends it');

	# a superuser who runs it does not lend his rights
	$node->safe_psql('other', 'GRANT EXECUTE ON FUNCTION schedule_job, unschedule_job TO app');
	($remedy) = complaint($node, 'other', q{SELECT schedule_job('n', '* * * * *', 'acme', 'reboot', target_all => true)}, '-U', 'app') =~
	  / as a superuser and run: (.*)$/m;
	$node->safe_psql('postgres', $remedy);
	is($node->safe_psql('postgres', "SELECT username FROM cron.job WHERE jobname = 'iot_jobs job n of other'"),
		'app', 'that for an app role schedules it as that role');
	($undo) = complaint($node, 'other', q{SELECT unschedule_job('n')}, '-U', 'app') =~ / as role app and run: (.*)$/m;
	is($node->safe_psql('postgres', $undo, extra_params => [ '-U', 'app' ]), 't', 'who ends it');

	# pg_cron knows a schedule by name and role: each database has its own all the same
	($remedy) = complaint($node, 'other', 'SELECT schedule_job_sweep()') =~ / as a superuser and run: (.*)$/m;
	$node->safe_psql('postgres', $remedy);
	is($node->safe_psql('postgres', q{SELECT string_agg(database || ':' || jobname, ', ' ORDER BY database) FROM cron.job WHERE command ~ 'run_job_sweep'}),
		'other:iot_jobs sweep of other, postgres:iot_jobs sweep', 'two databases are swept');
	($undo) = complaint($node, 'other', 'SELECT unschedule_job_sweep()') =~ / and run: (.*)$/m;
	is($node->safe_psql('postgres', $undo), 't', 'the hint ends that of the other database');
	is($node->safe_psql('postgres', q{SELECT database FROM cron.job WHERE command ~ 'run_job_sweep'}), 'postgres', 'and leaves that of this one');
	my $longest = 'x' x 50;
	$node->safe_psql('postgres', $_) foreach map { complaint($node, 'other', qq{SELECT schedule_job('$longest', '* * * * *', '$_', 'reboot', target_all => true)}) =~ / as a superuser and run: (.*)$/m } 'acme', 'beta';
	is($node->safe_psql('postgres', q{SELECT string_agg(substring(command from 'beta'), ',') FROM cron.job WHERE jobname ~ '^iot_jobs/sha256 [0-9a-f]{32}$'}),
		'beta', 'a name that pg_cron would cut is a digest, the same each time');
	($undo) = complaint($node, 'other', qq{SELECT unschedule_job('$longest')}) =~ / and run: (.*)$/m;
	is($node->safe_psql('postgres', $undo), 't', 'which unschedule_job knows');

	# a row that says another database is neither changed nor ended for this one
	$node->safe_psql('postgres', q{SELECT cron.schedule_in_database('iot_jobs retention', '* * * * *', 'SELECT 1', 'other')});
	like(complaint($node, 'postgres', q{SELECT schedule_job_retention('30 days')}), qr/ERROR:  42710:.*another database.*HINT:  .*SELECT cron.unschedule\('iot_jobs retention'\)/s,
		'refused: the name is taken by another database');
	like(complaint($node, 'postgres', 'SELECT unschedule_job_retention()'), qr/ERROR:  42704:/, 'and not ended from here');
	$node->safe_psql('postgres', q{SELECT cron.unschedule('iot_jobs retention')});

	# for all tenants, by a role that would see none
	foreach my $kind ('retention', 'sweep')
	{
		my $arguments = $kind eq 'retention' ? q{'30 days'} : '';

		like(complaint($node, 'postgres', "SELECT schedule_job_$kind($arguments); SELECT unschedule_job_$kind()", '-U', 'app'),
			qr/WARNING:  01000: row security applies to role "app"/, "a warning: $kind for all tenants under row security");
	}
}

{
	my $node = new_server('plain');

	$node->safe_psql('postgres', 'CREATE EXTENSION iot_jobs');
	foreach my $call (
		q{schedule_job('n', '* * * * *', 'acme', 'reboot', target_all => true)},
		q{schedule_job_retention('30 days')}, q{schedule_job_sweep()}, q{unschedule_job_sweep()})
	{
		like(complaint($node, 'postgres', "SELECT $call"),
			qr/ERROR:  55000:.*HINT:  .*postgresql-\d+-cron.*shared_preload_libraries.*cron\.database_name/s,
			"without pg_cron: $call");
	}
	$node->stop;
}

# ----------------------------------------------------------------
# And it comes to pass
# ----------------------------------------------------------------

foreach my $node ($connecting, $forking)
{
	my $name = $node->name;

	ok( $node->poll_query_until('postgres', q{
			SELECT EXISTS (
				SELECT FROM jobs j WHERE j.tenant_id = 'acme' AND j.document_type = 'reboot'
				AND j.document_params = '{"it''s": "\\\\ok"}' AND j.target_all AND j.created_by = 'the operator'
				AND j.expires_at = j.created_at + interval '1 day 02:00'
				AND (SELECT array_agg(e.device_id ORDER BY e.device_id) FROM job_executions e
					 WHERE e.tenant_id = 'acme' AND e.job_id = j.job_id) = '{d1,d2,d3}')}),
		"$name: pg_cron creates the superuser's job, whole");
	ok( $node->poll_query_until('postgres', q{
			SELECT EXISTS (
				SELECT FROM jobs j JOIN job_executions e USING (tenant_id, job_id)
				WHERE j.tenant_id = 'acme' AND j.document_type = 'ping' AND e.device_id = 'd2')}),
		"$name: pg_cron creates the app role's job, under row security");
	ok( $node->poll_query_until('postgres', q{
			SELECT EXISTS (
				SELECT FROM jobs j JOIN job_executions e USING (tenant_id, job_id)
				WHERE j.job_id = 'late' AND j.status = 'COMPLETED' AND e.status = 'TIMED_OUT')}),
		"$name: the scheduled sweep expires and completes");

	# marked by the retention, removed by the sweep after it
	ok( $node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM jobs WHERE job_id = 'old-acme')}),
		"$name: retention and sweep remove a finished job");
	is( $node->safe_psql('postgres', q{SELECT status FROM jobs WHERE job_id = 'old-umbrella'}),
		'COMPLETED', "$name: and not that of another tenant");
	is( $node->safe_psql('postgres', q{
			SELECT DISTINCT command, return_message FROM cron.job_run_details WHERE status = 'failed'}),
		'', "$name: no run failed");

	is( $node->safe_psql('postgres', q{
			SELECT unschedule_job('reboots'), unschedule_job_retention('acme'), unschedule_job_sweep()}),
		't|t|t', "$name: a superuser ends his schedules");
	is( $node->safe_psql('postgres', q{SELECT unschedule_job('pings')}, extra_params => [ '-U', 'app' ]),
		't', "$name: an app role ends its own");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM cron.job'), '0', "$name: no schedule is left");

	$node->stop;
}

done_testing();
