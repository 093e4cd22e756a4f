# Many devices report at once, and no completion is lost: with the healing off, it
# is the hints alone that tell the worker.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use PostgreSQL::Test::Utils;
use IotJobsData qw(nothing_lost);
use IotJobsSession;
use IotJobsWorker;

my $jobs = 150;
my $devices = 20;
my $node = new_server('race', preload => 1, conf => "iot_jobs.heal_interval = 0\n");

$node->safe_psql('postgres', 'CREATE EXTENSION iot_jobs');
add_fleet($node, 'postgres', $devices);
$node->safe_psql('postgres', 'CREATE SEQUENCE turn');

# neighbours in time report on the same job
my $functions = $node->basedir . '/functions.sql';
append_to_file($functions, qq(
SELECT (nextval('turn') - 1) AS n \\gset
SELECT update_job_execution('acme', 'job-' || (:n / $devices + 1), 'd' || (:n % $devices + 1), 'SUCCEEDED');
));

# a worker that stays, and one that leaves whenever it has nothing to do
for my $idle_timeout ('1h', '0')
{
	$node->append_conf('postgresql.conf', "iot_jobs.worker_idle_timeout = $idle_timeout");
	$node->reload;
	$node->safe_psql('postgres', qq(
DELETE FROM jobs;
ALTER SEQUENCE turn RESTART;
SELECT create_job('acme', 'reboot', target_all => true, job_id => 'job-' || g) FROM generate_series(1, $jobs) g;
ANALYZE;));
	$node->command_ok(
		[ 'pgbench', '-n', '-h', $node->host, '-p', $node->port, '-c', '5', '-t', $jobs * $devices / 5,
			'-f', $functions, 'postgres' ], "every device reports to a worker with a timeout of $idle_timeout");
	within($node, 10, 'postgres', "SELECT count(*) = $jobs FROM jobs WHERE status = 'COMPLETED'",
		'every job is completed');
}
$node->append_conf('postgresql.conf', "iot_jobs.worker_idle_timeout = 1h");
$node->reload;

# one long job, where almost no report has to wake the worker
$node->safe_psql('postgres', q(
INSERT INTO devices (tenant_id, device_id) SELECT 'acme', 'e' || g FROM generate_series(1, 3000) g;
ALTER SEQUENCE turn RESTART;
SELECT create_job('acme', 'reboot', target_all => true, job_id => 'long');
DELETE FROM job_executions WHERE job_id = 'long' AND device_id LIKE 'd%';
ANALYZE;));
within($node, 10, 'postgres', q(SELECT state IN ('idle', 'asleep') FROM iot_jobs_worker), 'the worker has seen the long job');
my $passes = $node->safe_psql('postgres', 'SELECT passes FROM iot_jobs_worker');
append_to_file($node->basedir . '/long.sql', q(
SELECT nextval('turn') AS n \gset
UPDATE job_executions SET status = 'SUCCEEDED', execution_number = 2
 WHERE tenant_id = 'acme' AND job_id = 'long' AND device_id = 'e' || (3001 - :n);
));
$node->command_ok(
	[ 'pgbench', '-n', '-h', $node->host, '-p', $node->port, '-c', '5', '-t', '600',
		'-f', $node->basedir . '/long.sql', 'postgres' ], 'every device of a long job reports');
job_becomes($node, 10, 'postgres', 'long', 'COMPLETED');
cmp_ok($node->safe_psql('postgres', 'SELECT passes FROM iot_jobs_worker') - $passes, '<', 600,
	'and only few reports woke the worker');
nothing_lost($node, 'postgres', 'in the end');
# what a sweep took for a witness was added by its own transaction, which is taken back
{
	my $sweeper = IotJobsSession->new($node, 'postgres');

	$node->safe_psql('postgres', q(SELECT create_job('acme', 'reboot', target_device_id => 'd2', job_id => 'taken-back')));
	$sweeper->run(q(
BEGIN;
INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('acme', 'taken-back', 'd1');
SELECT run_job_sweep();));
	$node->safe_psql('postgres', q(SELECT update_job_execution('acme', 'taken-back', 'd2', 'SUCCEEDED')));
	$sweeper->run('ROLLBACK;');
	$sweeper->quit;
	job_becomes($node, 10, 'postgres', 'taken-back', 'COMPLETED', 'a job is completed though its witness never was');
}

# do something that the worker is told of, and wait until it has done what there is to do
sub heard
{
	my ($sql, $name) = @_;
	my $seen = $node->safe_psql('postgres', 'SELECT passes FROM iot_jobs_worker');

	$node->safe_psql('postgres', $sql);
	return within($node, 10, 'postgres', "SELECT passes > $seen AND state IN ('idle', 'asleep') FROM iot_jobs_worker", $name);
}

# a sweep by hand leaves no witness that only an old snapshot shows as open
{
	my $sweeper = IotJobsSession->new($node, 'postgres');

	$node->safe_psql('postgres', q(
SELECT create_job('acme', 'reboot', target_device_id => 'd1', job_id => 'seen-long-ago');
INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('acme', 'seen-long-ago', 'd2');));
	$sweeper->run('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM jobs;');
	heard(q(SELECT update_job_execution('acme', 'seen-long-ago', 'd1', 'SUCCEEDED')), 'the worker watches d2');
	# the witness that it chose is forgotten
	$node->safe_psql('postgres', q(
BEGIN;
INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('acme', 'seen-long-ago', 'd3');
SELECT run_job_sweep();
ROLLBACK;));
	$sweeper->run('SELECT run_job_sweep(); COMMIT;');
	$sweeper->quit;
	$node->safe_psql('postgres', q(SELECT update_job_execution('acme', 'seen-long-ago', 'd2', 'SUCCEEDED')));
	job_becomes($node, 10, 'postgres', 'seen-long-ago', 'COMPLETED', 'a job is completed whatever an old snapshot saw');
}
# the next witness is too long to be remembered: nor is the one before it
{
	heard(q(
SELECT create_job('acme', 'reboot', target_device_id => 'd1', job_id => 'long-device');
INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('acme', 'long-device', 'd' || repeat('x', 200));
SELECT wake_job_worker();), 'the worker watches d1');
	heard(q(SELECT update_job_execution('acme', 'long-device', 'd1', 'SUCCEEDED')), 'then another device');
	$node->safe_psql('postgres', q(SELECT update_job_execution('acme', 'long-device', 'd' || repeat('x', 200), 'SUCCEEDED')));
	job_becomes($node, 10, 'postgres', 'long-device', 'COMPLETED', 'a job is completed whose last device has a long name');
}
# the witness of a former job says nothing about the next one of its name
{
	heard(q(SELECT create_job('acme', 'reboot', target_device_id => 'd1', job_id => 'again'); SELECT wake_job_worker();), 'the worker watches d1');
	$node->safe_psql('postgres', q(
DELETE FROM jobs WHERE job_id = 'again';
SELECT create_job('acme', 'reboot', target_device_id => 'd2', job_id => 'again');
SELECT update_job_execution('acme', 'again', 'd2', 'SUCCEEDED');));
	job_becomes($node, 10, 'postgres', 'again', 'COMPLETED', 'a job is completed whose name another had');
}

$node->stop;

done_testing();
