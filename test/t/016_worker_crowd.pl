# More databases than workers, work that does not end, a standby that is gone: all are
# served, nothing grows, and the server can be stopped.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use IPC::Run;
use Test::More;

use PostgreSQL::Test::Utils;

use IotJobsWorker;

# room for the launcher and two workers; a lost wakeup stays lost
my $node = new_server('crowd', preload => 1, conf => q(
max_worker_processes = 3
max_parallel_workers = 0
max_logical_replication_workers = 0
iot_jobs.heal_interval = 0
));
my @databases = map { "d$_" } 1 .. 12;

$node->safe_psql('postgres', 'CREATE DATABASE d1');
$node->safe_psql('d1', 'CREATE EXTENSION iot_jobs; CREATE SEQUENCE turn');
add_fleet($node, 'd1', 5);
$node->safe_psql('postgres', join(';', map { "CREATE DATABASE $_ TEMPLATE d1" } @databases[ 1 .. 11 ]));

# --- all are served, though two never have enough ---
my $script = $node->basedir . '/without_end.sql';
append_to_file($script, q(
SELECT nextval('turn') AS n \gset
BEGIN;
SELECT create_job('acme', 'reboot', target_device_id => 'd1', job_id => 'n-' || :n);
SELECT update_job_execution('acme', 'n-' || :n, 'd1', 'SUCCEEDED');
COMMIT;
));

sub begin_load
{
	my ($database, @options) = @_;
	my $out = '';

	return IPC::Run::start([ 'pgbench', '-n', '-h', $node->host, '-p', $node->port, @options, '-f', $script, $database ],
		'>', \$out, '2>&1');
}

my @load = map { begin_load($_, '-T', 3600) } @databases[ 0, 1 ];
within($node, 20, $_, q(SELECT count(*) > 0 FROM jobs WHERE status = 'COMPLETED'), "$_ has work without end")
  foreach @databases[ 0, 1 ];
for my $turn (1, 2)
{
	$node->safe_psql($_, qq(
SELECT create_job('acme', 'reboot', target_all => true, job_id => 'told-$turn');
SELECT create_job('acme', 'reboot', target_all => true, job_id => 'due-$turn', expires_in => '1 s');
UPDATE job_executions SET status = 'SUCCEEDED' WHERE job_id = 'told-$turn';)) foreach @databases;
	foreach my $database (@databases)
	{
		job_becomes($node, 60, $database, "told-$turn", 'COMPLETED', "turn $turn: $database is served");
		job_becomes($node, 60, $database, "due-$turn", 'COMPLETED', "turn $turn: its deadline is kept");
	}
}
ok($_->pumpable, 'beside work without end') foreach @load;
$_->kill_kill foreach @load;
within($node, 60, $_, q(SELECT NOT EXISTS (SELECT FROM jobs WHERE status = 'IN_PROGRESS')), "$_ is done, too")
  foreach @databases[ 0, 1 ];

my $complaints = () = slurp_file($node->logfile) =~ /could not start an iot_jobs worker/g;
is($complaints, 1, 'that there are few places is said once');

# --- what is remembered of a job says nothing about one of its name elsewhere ---
$node->safe_psql('d6', q(SELECT create_job('acme', 'reboot', target_device_id => 'd2', job_id => 'namesake')));
my $passes = $node->safe_psql('d5', q(SELECT passes FROM iot_jobs_worker WHERE database = 'd5'));
$node->safe_psql('d5', q(SELECT create_job('acme', 'reboot', target_device_id => 'd1', job_id => 'namesake'); SELECT wake_job_worker();));
within($node, 60, 'd5', qq(SELECT passes > $passes AND state IN ('idle', 'asleep') FROM iot_jobs_worker WHERE database = 'd5'), 'the worker of d5 watches its d1');
$node->safe_psql('d6', q(SELECT update_job_execution('acme', 'namesake', 'd2', 'SUCCEEDED')));
job_becomes($node, 60, 'd6', 'namesake', 'COMPLETED', 'a job is completed whose namesake in another database is not');

# --- nothing grows with what was done ---
sub memory_of_worker
{
	my $pid = worker_pid($node, 'd3');
	my ($kb) = slurp_file("/proc/$pid/status") =~ /^RssAnon:\s*(\d+) kB/m;

	return ($pid, $kb);
}

sub jobs_done
{
	my ($transactions) = @_;

	begin_load('d3', '-c', 2, '-t', $transactions / 2)->finish;
	within($node, 60, 'd3', q(SELECT NOT EXISTS (SELECT FROM jobs WHERE status = 'IN_PROGRESS')), "$transactions jobs are completed");
	return;
}

SKIP:
{
	skip 'no /proc', 5 unless -r '/proc/self/status';

	# as many visits as a job that ends every second makes in an hour
	jobs_done(400);
	my ($pid, $before) = memory_of_worker();
	jobs_done(3600);
	my ($same_pid, $after) = memory_of_worker();
	is($same_pid, $pid, 'the worker stayed');
	note("memory of the worker: $before kB, and $after kB after an hour's work");
	cmp_ok($after - $before, '<', 1024, 'and did not grow');
}

# --- a synchronous standby that is gone ---
$node->append_conf('postgresql.conf', "synchronous_standby_names = 'gone'");
$node->reload;
$node->safe_psql('d3', q(
SET synchronous_commit = local;
SELECT create_job('acme', 'reboot', target_device_id => 'd1', job_id => 'alone');
SELECT update_job_execution('acme', 'alone', 'd1', 'SUCCEEDED');));
job_becomes($node, 10, 'd3', 'alone', 'COMPLETED', 'the worker does not wait for a standby that is gone');
$node->safe_psql('d3', q(
SET synchronous_commit = local;
INSERT INTO devices (tenant_id, device_id) SELECT 'acme', 'e' || g FROM generate_series(1, 20000) g;
SELECT create_job('acme', 'reboot', target_all => true, job_id => 'long', expires_in => '1 hour');
UPDATE jobs SET expires_at = now() WHERE job_id = 'long';));
within($node, 20, 'd3', q(SELECT EXISTS (SELECT FROM job_executions WHERE job_id = 'long' AND status = 'TIMED_OUT')),
	'it is in the middle of work');
$node->stop('fast');
pass('the server stops all the same');

done_testing();
