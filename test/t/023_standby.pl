# On a streaming standby the extension looks and does not touch; promoted, it works.
# Once with the library preloaded and once without.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

use IotJobsData;

# every function that writes, with arguments that a primary would take
my %writers = (
	create_job => q{create_job('acme', 'x', target_all => true)},
	update_job => q{update_job('acme', 'open', now() + interval '1 hour')},
	cancel_job => q{cancel_job('acme', 'open')},
	delete_job => q{delete_job('acme', 'open', force => true)},
	purge_jobs => q{purge_jobs('acme', '0 s')},
	cancel_job_execution => q{cancel_job_execution('acme', 'open', 'd1')},
	delete_job_execution => q{delete_job_execution('acme', 'open', 'd1')},
	start_next_pending_job_execution => q{start_next_pending_job_execution('acme', 'd1')},
	update_job_execution => q{update_job_execution('acme', 'open', 'd1', 'SUCCEEDED')},
	claim_job_executions => q{claim_job_executions('acme', 10)},
	'claim_job_executions of devices' => q{claim_job_executions('acme', 10, '{d1,d2}')},
	update_job_executions => q{update_job_executions('acme', '[{"job_id": "open", "device_id": "d1", "status": "SUCCEEDED"}]')},
	run_job_sweep => q{run_job_sweep()},
	'to claim nothing' => q{start_next_pending_job_execution('acme', 'd99')},
	'to report nothing' => q{update_job_executions('acme', '[]')},
	use_fleet => q{use_fleet('devices', 'device_group_members')});

# what only looks, each with its answer
my %readers = (
	describe_job => [ q{SELECT status, queued, in_progress FROM describe_job('acme', 'open')}, 'IN_PROGRESS|2|1' ],
	list_jobs => [ q{SELECT job_id, total_executions FROM list_jobs('acme', page_size => 2)}, "late|3\nopen|3" ],
	'list_jobs, next page' => [ q{SELECT job_id FROM list_jobs('acme', page_token => (SELECT min(page_token) FROM list_jobs('acme', page_size => 1)))}, "open\ndone" ],
	list_job_executions_for_job => [ q{SELECT device_id, status FROM list_job_executions_for_job('acme', 'open')}, "d1|IN_PROGRESS\nd2|QUEUED\nd3|QUEUED" ],
	list_job_executions_for_device => [ q{SELECT job_id, status FROM list_job_executions_for_device('acme', 'd3')}, "late|QUEUED\nopen|QUEUED\ndone|SUCCEEDED" ],
	get_pending_job_executions => [ q{SELECT job_id, status FROM get_pending_job_executions('acme', 'd1')}, "open|IN_PROGRESS\nlate|QUEUED" ],
	describe_job_execution => [ q{SELECT status, document_params FROM describe_job_execution('acme', 'open', 'd2')}, 'QUEUED|{"v": 1}' ],
	job_state_steps => [ q{SELECT count(*) > 10 FROM job_state_steps()}, 't' ],
	iot_jobs_worker => [ q{SELECT database, pid, state FROM iot_jobs_worker}, 'postgres||standby' ]);

sub go_through
{
	my ($mode, $conf) = @_;
	my $primary = data_server("primary_$mode", init => { allows_streaming => 1 }, conf => $conf);

	$primary->start;
	$primary->safe_psql('postgres', q{
		CREATE EXTENSION iot_jobs;
		CREATE ROLE app LOGIN;
		GRANT SELECT ON ALL TABLES IN SCHEMA public TO app;
		INSERT INTO tenants (tenant_id) VALUES ('acme');
		INSERT INTO devices (tenant_id, device_id) SELECT 'acme', 'd' || i FROM generate_series(1, 3) i;
		SELECT create_job('acme', 'x', target_device_id => 'd3', job_id => 'done');
		SELECT update_job_execution('acme', 'done', 'd3', 'SUCCEEDED');
		SELECT create_job('acme', 'x', '{"v": 1}', target_all => true, job_id => 'open');
		SELECT start_next_pending_job_execution('acme', 'd1');
		SELECT create_job('acme', 'x', target_all => true, job_id => 'late', expires_in => '1 hour');
	});
	eventually($primary, 10, 'postgres', q{SELECT status = 'COMPLETED' FROM jobs WHERE job_id = 'done'}, "$mode: the primary works");
	$primary->backup('backup');

	my $standby = PostgreSQL::Test::Cluster->new("standby_$mode");
	$standby->init_from_backup($primary, 'backup', has_streaming => 1);
	$standby->start;
	$primary->safe_psql('postgres', q{UPDATE jobs SET expires_at = now() + interval '1 day' WHERE job_id = 'late'});
	$primary->wait_for_catchup($standby);

	# --- looking ---
	foreach my $name (sort keys %readers)
	{
		my ($query, $answer) = @{ $readers{$name} };

		is($standby->safe_psql('postgres', $query), $answer, "$mode standby: $name answers");
	}
	is( $standby->safe_psql('postgres', q{SET app.tenant_id = 'acme'; SELECT count(*) FROM list_jobs('acme')}, extra_params => [ '-U', 'app' ]),
		'3', "$mode standby: so it does for a role under row security");
	is( $standby->safe_psql('postgres', q{SET app.tenant_id = 'globex'; SELECT count(*) FROM list_jobs('acme')}, extra_params => [ '-U', 'app' ]),
		'0', "$mode standby: which sees its own tenant only");

	# --- touching ---
	foreach my $name (sort keys %writers)
	{
		is(sqlstate_of($standby, 'postgres', "SELECT * FROM $writers{$name}"), '25006', "$mode standby: $name is refused");
	}
	is(sqlstate_of($standby, 'postgres', q{UPDATE job_executions SET status = 'FAILED'}), '25006', "$mode standby: so is a plain statement");
	is( sqlstate_of($standby, 'postgres', 'SELECT wake_job_worker()'),
		'00000', "$mode standby: to wake a worker that is not there does no harm");
	is( $standby->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'iot_jobs%'}),
		'0', "$mode standby: there is no worker and no launcher");

	# --- the same data ---
	my @dumps;
	foreach my $server ($primary, $standby)
	{
		my ($stdout, $stderr) = run_command([ 'pg_dump', '-h', $server->host, '-p', $server->port, 'postgres' ]);

		# the word of newer versions against a crafted dump is another each time
		$stdout =~ s/^\\(?:un)?restrict \w+$//mg;
		is($stderr, '', "$mode: dump of " . $server->name);
		push @dumps, $stdout;
	}
	same_lines($dumps[1], $dumps[0], "$mode: primary and standby have the same dump");

	# --- promotion ---
	# a deadline that the primary does not live to see, and a completion that is due
	$primary->append_conf('postgresql.conf', 'iot_jobs.worker_enabled = off');
	$primary->reload;
	eventually($primary, 10, 'postgres', q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'iot_jobs worker')},
		"$mode: the primary is about to fail");
	$primary->safe_psql('postgres', q{
		UPDATE jobs SET expires_at = now() WHERE job_id = 'late';
		SELECT update_job_execution('acme', 'open', device_id, 'SUCCEEDED') FROM job_executions WHERE job_id = 'open';
	});
	$primary->wait_for_catchup($standby);
	$primary->stop('immediate');
	my $log = -s $standby->logfile;
	$standby->promote;

	if ($mode eq 'session')
	{
		is($standby->safe_psql('postgres', q{SELECT state FROM iot_jobs_worker}), 'no launcher',
			'session: not preloaded, the view says that nobody works yet');
		$standby->safe_psql('postgres', q{SELECT describe_job('acme', 'late')});
	}
	eventually($standby, 5, 'postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'iot_jobs launcher')},
		"$mode promoted: the launcher comes");
	eventually($standby, 5, 'postgres', q{SELECT status = 'COMPLETED' FROM jobs WHERE job_id = 'late'},
		"$mode promoted: the expired job is completed");
	is( $standby->safe_psql('postgres', q{SELECT DISTINCT status, status_details FROM job_executions WHERE job_id = 'late'}),
		'TIMED_OUT|{"reason": "job_expired"}', "$mode promoted: its executions timed out");
	eventually($standby, 5, 'postgres', q{SELECT status = 'COMPLETED' FROM jobs WHERE job_id = 'open'},
		"$mode promoted: the finished job is completed");
	is( $standby->safe_psql('postgres', q{
			SELECT total_executions FROM create_job('acme', 'x', target_all => true, job_id => 'after');
			SELECT status FROM update_job_execution('acme', 'after', 'd1', 'SUCCEEDED');
			SELECT count(*) FROM update_job_executions('acme', '[{"job_id": "after", "device_id": "d2", "status": "FAILED"},
				{"job_id": "after", "device_id": "d3", "status": "SUCCEEDED"}]') WHERE accepted}),
		"3\nSUCCEEDED\n2", "$mode promoted: every call works");
	eventually($standby, 5, 'postgres', q{SELECT status = 'COMPLETED' FROM jobs WHERE job_id = 'after'},
		"$mode promoted: and the worker with it");
	guards_hold($standby, 'postgres', "$mode promoted");
	nothing_lost($standby, 'postgres', "$mode promoted");
	is(complaints_in_log($standby, $log), '', "$mode promoted: no complaint");
	$standby->stop;
	return;
}

go_through('preload', "shared_preload_libraries = 'iot_jobs'\n");
go_through('session', '');

done_testing();
