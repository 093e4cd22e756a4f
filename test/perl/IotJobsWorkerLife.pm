# The life of launcher and worker, which is the same with and without
# shared_preload_libraries but for how it begins.

package IotJobsWorkerLife;

use strict;
use warnings;

use Exporter qw(import);
use Test::More;

use IotJobsData qw(nothing_lost);
use IotJobsWorker;

our @EXPORT = qw(live_a_life);

sub live_a_life
{
	my ($node, $preload) = @_;
	my $mode = $preload ? 'preload' : 'session';
	my ($worker, $launcher, $out);

	# --- birth ---
	$node->safe_psql('postgres', 'CREATE DATABASE jobs');
	is(launcher_pid($node), '', 'no launcher before the first session calls the extension')
	  unless $preload;
	$node->safe_psql('jobs', 'CREATE EXTENSION iot_jobs');
	add_fleet($node, 'jobs', 20);

	within($node, 10, 'jobs', 'SELECT count(*) = 1 FROM iot_jobs_worker WHERE database = \'jobs\' AND state = \'idle\'',
		'the worker comes, looks, and idles');
	is($node->safe_psql('jobs', q(SELECT started_by FROM iot_jobs_worker WHERE database = 'jobs')),
		$mode, 'the view tells how the launcher came to be');
	is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'iot_jobs launcher'"),
		'1', 'there is one launcher');
	is($node->safe_psql('jobs', q(SELECT pid FROM iot_jobs_worker WHERE database = 'jobs')),
		worker_pid($node, 'jobs'), 'the view has the right process');
	is($node->safe_psql('postgres', q(
SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
 WHERE a.backend_type LIKE 'iot_jobs%' AND (l.locktype <> 'virtualxid' OR a.xact_start IS NOT NULL))),
		'0', 'while idle it holds no lock and is in no transaction');

	# --- work ---
	$node->safe_psql('jobs', q(
SELECT create_job('acme', 'reboot', target_device_id => 'd1', job_id => 'reported');
SELECT update_job_execution('acme', 'reported', 'd1', 'SUCCEEDED');));
	job_becomes($node, 10, 'jobs', 'reported', 'COMPLETED', 'completion without a sweep');

	$node->safe_psql('jobs', q(
INSERT INTO jobs (job_id, tenant_id, document_type, target_device_id) VALUES ('by-hand', 'acme', 'reboot', 'd1');
INSERT INTO job_executions (job_id, tenant_id, device_id) VALUES ('by-hand', 'acme', 'd1');
UPDATE job_executions SET status = 'FAILED' WHERE job_id = 'by-hand';));
	job_becomes($node, 10, 'jobs', 'by-hand', 'COMPLETED', 'completion after plain statements');

	$node->safe_psql('jobs', q(
SELECT create_job('acme', 'reboot', target_all => true, job_id => 'many');
UPDATE job_executions SET status = 'SUCCEEDED' WHERE job_id = 'many' AND device_id <> 'd7';));
	$node->safe_psql('jobs', q(UPDATE job_executions SET status = 'SUCCEEDED' WHERE job_id = 'many'));
	job_becomes($node, 10, 'jobs', 'many', 'COMPLETED', 'completion in two steps');

	$node->safe_psql('jobs', q(
SELECT create_job('acme', 'reboot', target_all => true, job_id => 'late', expires_in => '1 hour');
SELECT create_job('acme', 'reboot', target_all => true, job_id => 'soon', expires_in => '1 second');));
	within($node, 5, 'jobs', q(
SELECT next_deadline > now() + interval '50 minutes' FROM iot_jobs_worker WHERE database = 'jobs'),
		'the next deadline is the later one, once the earlier has passed');
	job_becomes($node, 10, 'jobs', 'soon', 'COMPLETED', 'expiry without a sweep');
	is($node->safe_psql('jobs', q(SELECT status, count(*) FROM job_executions WHERE job_id = 'soon' GROUP BY 1)),
		'TIMED_OUT|20', 'what was queued timed out');
	is($node->safe_psql('jobs', q(SELECT status FROM jobs WHERE job_id = 'late')), 'IN_PROGRESS',
		'a later deadline is waited for');
	$node->safe_psql('jobs', q(UPDATE jobs SET expires_at = now() + interval '100 ms' WHERE job_id = 'late'));
	job_becomes($node, 10, 'jobs', 'late', 'COMPLETED', 'a deadline moved by hand is kept');

	$node->safe_psql('jobs', q(SELECT delete_job('acme', 'many')));
	within($node, 10, 'jobs', q(
SELECT NOT EXISTS (SELECT FROM jobs WHERE job_id = 'many') AND
       NOT EXISTS (SELECT FROM job_executions WHERE job_id = 'many')), 'deletion without a sweep');
	is($node->safe_psql('jobs', q(
SELECT expired, completed, deleted, last_error IS NULL, last_pass > now() - interval '1 hour'
  FROM iot_jobs_worker WHERE database = 'jobs')),
		'40|5|21|t|t', 'the view counts all that');

	# a rollback tells nothing, a savepoint that was rolled back does no harm
	$node->safe_psql('jobs', q(
SELECT create_job('acme', 'reboot', target_device_id => 'd1', job_id => 'undone');
BEGIN;
SELECT update_job_execution('acme', 'undone', 'd1', 'SUCCEEDED');
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT update_job_execution('acme', 'undone', 'd1', 'FAILED');
ROLLBACK TO s;
SELECT update_job_execution('acme', 'undone', 'd1', 'SUCCEEDED');
COMMIT;));
	job_becomes($node, 10, 'jobs', 'undone', 'COMPLETED', 'completion after rollbacks');

	# --- who may see what ---
	$node->safe_psql('jobs', q(CREATE ROLE stranger));
	is($node->safe_psql('jobs', q(SET ROLE stranger; SELECT count(*), count(last_error) FROM iot_jobs_worker)),
		'1|0', 'a stranger sees the worker of its own database');

	# --- on and off ---
	$node->append_conf('postgresql.conf', 'iot_jobs.worker_enabled = off');
	$node->reload;
	within($node, 10, 'postgres', q(
SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'iot_jobs worker')),
		'switched off, the worker leaves');
	is($node->safe_psql('jobs', q(SELECT state FROM iot_jobs_worker WHERE database = 'jobs')),
		'disabled', 'and the view says why');
	$node->safe_psql('jobs', q(
SELECT create_job('acme', 'reboot', target_device_id => 'd1', job_id => 'while-off');
SELECT update_job_execution('acme', 'while-off', 'd1', 'SUCCEEDED');));
	$node->append_conf('postgresql.conf', 'iot_jobs.worker_enabled = on');
	$node->reload;
	job_becomes($node, 10, 'jobs', 'while-off', 'COMPLETED', 'switched on, it does what was left');

	# --- deaths ---
	$worker = worker_pid($node, 'jobs');
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
	worker_returns($node, 2, 'jobs', $worker, 'a terminated worker is back');

	$worker = worker_pid($node, 'jobs');
	$launcher = launcher_pid($node);
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($launcher)");
	launcher_returns($node, 2, $launcher, 'a terminated launcher is back');
	is(worker_pid($node, 'jobs'), $worker, 'and the worker did not care');
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
	worker_returns($node, 2, 'jobs', $worker, 'the new launcher looks after the old worker');

	for my $victim ('worker', 'launcher')
	{
		my $pid = $victim eq 'worker' ? worker_pid($node, 'jobs') : launcher_pid($node);

		$worker = worker_pid($node, 'jobs');
		$node->safe_psql('jobs', qq(
SELECT create_job('acme', 'reboot', target_all => true, job_id => 'expires-over-$victim-crash', expires_in => '1 second')));
		kill 'KILL', $pid;
		within($node, 30, 'postgres', "SELECT pg_postmaster_start_time() IS NOT NULL AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)",
			"the server recovers from kill -9 of the $victim");
		worker_returns($node, 2, 'jobs', $worker, "the worker is back");
		job_becomes($node, 10, 'jobs', "expires-over-$victim-crash", 'COMPLETED',
			'what was due meanwhile is done');
	}

	# --- restart ---
	$node->safe_psql('jobs', q(
SELECT create_job('acme', 'reboot', target_all => true, job_id => 'expires-while-down', expires_in => '1 second');
SELECT create_job('acme', 'reboot', target_device_id => 'd2', job_id => 'prepared');
SELECT create_job('acme', 'reboot', target_device_id => 'd2', job_id => 'prepared-over-restart');
BEGIN;
SELECT update_job_execution('acme', 'prepared', 'd2', 'SUCCEEDED');
PREPARE TRANSACTION 'one';
BEGIN;
SELECT update_job_execution('acme', 'prepared-over-restart', 'd2', 'SUCCEEDED');
PREPARE TRANSACTION 'two';));
	$node->safe_psql('jobs', q(COMMIT PREPARED 'one'));
	job_becomes($node, 10, 'jobs', 'prepared', 'COMPLETED', 'completion after COMMIT PREPARED');
	$node->restart;
	unless ($preload)
	{
		is($node->safe_psql('jobs', q(SELECT database, state, started_by FROM iot_jobs_worker)),
			'jobs|no launcher|', 'after a restart the view says that nobody works');
		$node->safe_psql('jobs', q(SELECT count(*) FROM list_jobs('acme')));
	}
	job_becomes($node, 10, 'jobs', 'expires-while-down', 'COMPLETED', 'a restart loses no deadline');
	$node->safe_psql('jobs', q(COMMIT PREPARED 'two'));
	job_becomes($node, 10, 'jobs', 'prepared-over-restart', 'COMPLETED',
		'completion after COMMIT PREPARED of an earlier server');

	# --- end, in the middle of work ---
	$node->safe_psql('jobs', q(
INSERT INTO devices (tenant_id, device_id) SELECT 'acme', 'e' || g FROM generate_series(1, 20000) g;
SELECT create_job('acme', 'reboot', target_all => true, job_id => 'long', expires_in => '1 hour');
ANALYZE;));
	$node->append_conf('postgresql.conf', 'iot_jobs.sweep_batch_rows = 1');
	$node->reload;
	$node->safe_psql('jobs', q(UPDATE jobs SET expires_at = now() WHERE job_id = 'long'));
	within($node, 10, 'jobs', q(SELECT EXISTS (SELECT FROM job_executions WHERE job_id = 'long' AND status = 'TIMED_OUT')),
		'a long expiry has begun');
	$node->stop('fast');

	$node->append_conf('postgresql.conf', 'iot_jobs.sweep_batch_rows = 1000');
	$node->start;
	unless ($preload)
	{
		is($node->safe_psql('jobs', q(SELECT status FROM jobs WHERE job_id = 'long')),
			'IN_PROGRESS', 'it came in the middle of work');
		$node->safe_psql('jobs', q(SELECT count(*) FROM list_jobs('acme')));
	}
	job_becomes($node, 60, 'jobs', 'long', 'COMPLETED', 'which goes on after the start');
	nothing_lost($node, 'jobs', 'in the end');
	$node->stop('fast');
	return;
}

1;
