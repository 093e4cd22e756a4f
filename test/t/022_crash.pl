# kill -9 in the middle of everything: a call that was not acknowledged is not there at
# all, one that was is there for good.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;
use Time::HiRes qw(time usleep);

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

use IotJobsData;

my $node = data_server('crash', conf => q{
shared_preload_libraries = 'iot_jobs'
restart_after_crash = on
max_connections = 40
});
$node->start;

my $fleet = 200_000;
$node->safe_psql('postgres', qq{
	CREATE EXTENSION iot_jobs;
	INSERT INTO tenants (tenant_id) VALUES ('acme'), ('small');
	INSERT INTO devices (tenant_id, device_id) SELECT 'acme', 'd' || i FROM generate_series(1, $fleet) i;
	INSERT INTO devices (tenant_id, device_id) SELECT 'small', 'd' || i FROM generate_series(1, 2000) i;
	SELECT create_job('small', 'x', target_device_id => 'd1', job_id => 'bystander');
	ANALYZE;
});

# ----------------------------------------------------------------
# A backend in the middle of a fan-out
# ----------------------------------------------------------------

my $create = qq{SELECT total_executions FROM create_job('acme', 'reboot', target_all => true, job_id => 'big')};
my $caller = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $caller->query_safe('SELECT pg_backend_pid()');
my $size = $node->safe_psql('postgres', q{SELECT pg_relation_size('job_executions')});

$caller->{stdin} .= "$create;\n";
$caller->{run}->pump_nb;

# rows of the call are in the table already, and it has not returned
my $grown = 0;
my $deadline = time + seconds(30);
until ($grown || time > $deadline)
{
	$caller->{run}->pump_nb;
	$grown = $node->safe_psql('postgres', qq{
		SELECT pg_relation_size('job_executions') > $size + 1000000
		   AND EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid AND state = 'active')}) eq 't';
}
ok($grown, 'a fan-out is in the middle of its work');
is( $node->safe_psql('postgres', qq{
		SELECT relid::regclass, command, tuples_processed >= 1000 FROM pg_stat_progress_copy WHERE pid = $pid}),
	'job_executions|COPY FROM|t', 'and its progress shows');
is($caller->{stdout}, '', 'and has not been acknowledged');
my $log = -s $node->logfile;
kill 'KILL', $pid;
$node->wait_for_log(qr/database system is ready to accept connections/, $log);
$caller->{run}->kill_kill;

is($node->safe_psql('postgres', q{SELECT count(*) FROM jobs WHERE job_id = 'big'}), '0', 'after recovery the job is not there');
is($node->safe_psql('postgres', q{SELECT count(*) FROM job_executions WHERE job_id = 'big'}), '0', 'nor any of its executions');
is($node->safe_psql('postgres', q{SELECT count(*) FROM job_executions WHERE job_id = 'bystander'}), '1', 'what was there before is');
is($node->safe_psql('postgres', $create), $fleet, 'the same call with the same job_id works');
is($node->safe_psql('postgres', q{SELECT count(*), count(DISTINCT device_id) FROM job_executions WHERE job_id = 'big'}),
	"$fleet|$fleet", 'and is whole');
nothing_lost($node, 'postgres', 'after a fan-out that was killed');

# a cancel of it all, killed half way
$caller = $node->background_psql('postgres', on_error_stop => 0);
$pid = $caller->query_safe('SELECT pg_backend_pid()');
my $wal = $node->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
$caller->{stdin} .= "SELECT status FROM cancel_job('acme', 'big');\n";
$grown = 0;
$deadline = time + seconds(30);
until ($grown || time > $deadline)
{
	$caller->{run}->pump_nb;
	$grown = $node->safe_psql('postgres', qq{
		SELECT pg_current_wal_insert_lsn() - '$wal' > 1000000
		   AND EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid AND state = 'active')}) eq 't';
}
ok($grown, 'a cancel is in the middle of its work');
is($caller->{stdout}, '', 'and has not been acknowledged');
$log = -s $node->logfile;
kill 'KILL', $pid;
$node->wait_for_log(qr/database system is ready to accept connections/, $log);
$caller->{run}->kill_kill;
is($node->safe_psql('postgres', q{SELECT status, queued, rejected FROM describe_job('acme', 'big')}),
	"IN_PROGRESS|$fleet|0", 'after recovery nothing of it has happened');
is($node->safe_psql('postgres', q{SELECT status, queued, rejected FROM cancel_job('acme', 'big')}),
	"CANCELED|0|$fleet", 'and again, it all happens');

# ----------------------------------------------------------------
# The postmaster under load
# ----------------------------------------------------------------

# Each client writes down what it was told, as it is told.
my $files = PostgreSQL::Test::Utils::tempdir;
my $round = 0;
my $watched = 0;

sub crash_under_load
{
	my ($how, $kill) = @_;
	my %script = (claim => '', report => '', batch => '', create => '');
	my $job = 'load-' . ++$round;
	my @clients;

	$node->safe_psql('postgres', "SELECT create_job('small', 'x', target_all => true, job_id => '$job')");
	# a claim of any device, a report without a claim, a batch of both, a whole job
	for my $i (1 .. 1500)
	{
		$script{claim} .= "SELECT 'claim', tenant_id, job_id, device_id, execution_number FROM claim_job_executions('small', 1, ARRAY['d$i']);\n";
		$script{report} .= "SELECT status, tenant_id, job_id, device_id, execution_number FROM update_job_execution('small', '$job', 'd@{[2001 - $i]}', 'SUCCEEDED');\n";
		$script{batch} .= "SELECT status, 'small', job_id, device_id, execution_number FROM update_job_executions('small', jsonb_build_array("
		  . join(', ', map { "jsonb_build_object('job_id', '$job', 'device_id', 'd@{[($i * 7 + $_ * 13) % 2000 + 1]}', 'status', 'SUCCEEDED')" } 1 .. 3)
		  . ")) WHERE accepted;\n";
		$script{create} .= "SELECT 'new', tenant_id, job_id, NULL, total_executions FROM create_job('small', 'x', target_device_id => 'd$i', job_id => '$job-$i');\n";
	}
	foreach my $name (sort keys %script)
	{
		append_to_file("$files/$job-$name.sql", $script{$name});
		# over and over: no client comes to its end before the server does
		push @clients, start_client($node,
			[ 'sh', '-c', 'while cat "$1"; do :; done | psql -XAtq -d postgres -f -', 'client', "$files/$job-$name.sql" ],
			out => "$files/$job-$name.out", err => "$files/$job-$name.err");
	}

	# in the middle of it: all of them have been told something, and none is through
	my $deadline = time + seconds(30);
	while (time < $deadline)
	{
		last if !grep { slurp_file("$files/$job-$_.out") !~ /(?:.*\n){20}/ } keys %script;
		usleep(5_000);
	}
	is(scalar(running(@clients)), 4, "$how: all clients are at work");
	my $log = -s $node->logfile;
	$kill->();
	ok(finished(30, @clients), "$how: the clients lose their connections");
	# the children of a postmaster that is gone go, too, and the server starts when they have
	my $deadline_start = time + seconds(30);
	until (defined $node->{_pid} || time > $deadline_start)
	{
		usleep(50_000) if !$node->start(fail_ok => 1);
	}
	$node->wait_for_log(qr/database system is ready to accept connections/, $log);

	# a line that was cut short was not read by anybody
	my $told = join('', map { slurp_file("$files/$job-$_.out") =~ /^.*\n/mg } keys %script);
	my %told;
	$told{$1}++ while $told =~ /^(\w+)\|/mg;
	note(join(', ', map { "$_: $told{$_}" } sort keys %told));
	cmp_ok($told{$_} // 0, '>=', 20, "$how: enough was acknowledged: $_") foreach qw(claim SUCCEEDED new);
	append_to_file("$files/$job.told", $told);
	if ($watched)
	{
		is( $node->safe_psql('postgres', qq{
				CREATE TEMP TABLE told (what text, tenant_id text, job_id text, device_id text, number bigint);
				\\copy told FROM '$files/$job.told' WITH (DELIMITER '|', NULL '')
				SELECT t::text FROM told t WHERE what <> 'new' AND NOT EXISTS (
					SELECT FROM execution_history h
					WHERE (h.tenant_id, h.job_id, h.device_id, h.new_number) = (t.tenant_id, t.job_id, t.device_id, t.number)) LIMIT 10}),
			'', "$how: as it was acknowledged");
		is(broken_history($node, 'postgres'), '', "$how: nothing happened twice or out of order");
	}

	# nobody calls: the worker is back, and does what its predecessor was told
	nothing_lost($node, 'postgres', $how, ledger => "$files/$job.told");
	return;
}

crash_under_load('immediate shutdown', sub { $node->stop('immediate') });
crash_under_load('kill -9 of the postmaster', sub {
	my $postmaster = $node->{_pid};
	my $deadline = time + seconds(30);

	$node->kill9;
	usleep(10_000) while kill(0, $postmaster) && time < $deadline;
});
# A history costs the short cuts that calls take to the table where nobody else's
# trigger is on it, so it comes last.
watch_executions($node, 'postgres');
$watched = 1;
crash_under_load('kill -9 of a client process', sub {
	my $victim = $node->safe_psql('postgres', q{
		SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND query LIKE '%update_job_executions%' AND pid <> pg_backend_pid()});
	kill 'KILL', $victim;
});

$node->stop;
done_testing();
