# Several databases: what the worker must not hinder, and taking turns.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use IotJobsWorker;

my $node = new_server('databases', preload => 1);

sub make_database
{
	my ($name, $devices) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $name");
	$node->safe_psql($name, 'CREATE EXTENSION iot_jobs');
	add_fleet($node, $name, $devices);
	return;
}

sub finish_a_job
{
	my ($database, $job) = @_;

	$node->safe_psql($database, qq(
SELECT create_job('acme', 'reboot', target_device_id => 'd1', job_id => '$job');
SELECT update_job_execution('acme', '$job', 'd1', 'SUCCEEDED');));
	return;
}

sub idles
{
	my ($database) = @_;

	return within($node, 20, 'postgres', qq(
SELECT EXISTS (SELECT FROM pg_stat_activity
                WHERE backend_type = 'iot_jobs worker' AND datname = '$database' AND state = 'idle')),
		"the worker of $database is connected and idle");
}

# A statement that needs a database for itself, while a worker is connected to it.
my $calls = 0;

sub not_hindered
{
	my ($database, $statement) = @_;
	my ($code, $out, $err);

	finish_a_job($database, 'occasion-' . ++$calls);
	idles($database);
	($code, $out, $err) = $node->psql('postgres', $statement);
	is($code, 0, "not hindered: $statement") or diag($err);
	return;
}

# --- databases come, move and go ---
make_database('one', 3);
finish_a_job('one', 'first');
job_becomes($node, 10, 'one', 'first', 'COMPLETED');

not_hindered('one', 'CREATE DATABASE two TEMPLATE one');
finish_a_job('two', 'copied');
job_becomes($node, 10, 'two', 'copied', 'COMPLETED', 'a copied database has its worker from the first call on');

not_hindered('one', 'ALTER DATABASE one RENAME TO uno');
finish_a_job('uno', 'renamed');
job_becomes($node, 20, 'uno', 'renamed', 'COMPLETED', 'a renamed database keeps its worker');
is($node->safe_psql('two', q(SELECT string_agg(database::text, ',' ORDER BY database COLLATE "C") FROM iot_jobs_worker)),
	'two,uno', 'the view knows the new name, and no database without the extension');

$node->safe_psql('postgres', q(SET allow_in_place_tablespaces = on; CREATE TABLESPACE elsewhere LOCATION ''));
not_hindered('uno', 'ALTER DATABASE uno SET TABLESPACE elsewhere');
finish_a_job('uno', 'moved');
job_becomes($node, 20, 'uno', 'moved', 'COMPLETED', 'a moved database keeps its worker');

not_hindered('uno', 'DROP DATABASE uno');

# in the middle of work
$node->append_conf('postgresql.conf', 'iot_jobs.sweep_batch_rows = 1');
$node->reload;
$node->safe_psql('two', q(
INSERT INTO devices (tenant_id, device_id) SELECT 'acme', 'e' || g FROM generate_series(1, 20000) g;
SELECT create_job('acme', 'reboot', target_all => true, job_id => 'long');
ANALYZE;
SELECT cancel_job('acme', 'long');
SELECT delete_job('acme', 'long');));
within($node, 10, 'two', q(SELECT deleted > 0 FROM iot_jobs_worker WHERE database = 'two'), 'a long deletion has begun');
my ($code, $out, $err) = $node->psql('postgres', 'ALTER DATABASE two RENAME TO due');
is($code, 0, 'not hindered by a busy worker: ALTER DATABASE RENAME') or diag($err);
is($node->safe_psql('due', q(SELECT count(*) FROM jobs WHERE job_id = 'long')), '1', 'it came in the middle of work');
$node->append_conf('postgresql.conf', 'iot_jobs.sweep_batch_rows = 1000');
$node->reload;
within($node, 30, 'due', q(SELECT NOT EXISTS (SELECT FROM jobs WHERE job_id = 'long')), 'which goes on afterwards');
not_hindered('due', 'DROP DATABASE due');
within($node, 10, 'postgres', q(SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'iot_jobs worker')),
	'no database, no worker');

# in the middle of very many small jobs, too
make_database('many', 3);
$node->append_conf('postgresql.conf', 'iot_jobs.sweep_batch_rows = 1');
$node->reload;
$node->safe_psql('many', q(
SELECT count(create_job('acme', 'reboot', target_device_id => 'd1', job_id => 'j' || g)) FROM generate_series(1, 40000) g;
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM count(*) FROM generate_series(1, 100000); RETURN NULL; END';
CREATE TRIGGER slow AFTER UPDATE ON job_executions FOR EACH ROW EXECUTE FUNCTION slow();
UPDATE jobs SET expires_at = now();));
within($node, 10, 'many', q(SELECT expired > 0 FROM iot_jobs_worker WHERE database = 'many'), 'many jobs expire');
$node->append_conf('postgresql.conf', 'iot_jobs.worker_enabled = off');
$node->reload;
within($node, 10, 'many', q(SELECT state = 'disabled' FROM iot_jobs_worker WHERE database = 'many'), 'a busy worker is switched off');
is($node->safe_psql('many', q(SELECT count(*) < 500 FROM jobs WHERE status <> 'IN_PROGRESS')), 't', 'and does not go on with what it has before it');
$node->safe_psql('many', 'DROP TRIGGER slow ON job_executions');
$node->append_conf('postgresql.conf', 'iot_jobs.worker_enabled = on');
$node->reload;
my $left = $node->safe_psql('many', q(SELECT count(*) FROM jobs WHERE status = 'IN_PROGRESS'));
within($node, 20, 'many', qq(SELECT count(*) < $left FROM jobs WHERE status = 'IN_PROGRESS'), 'on again, it goes on');
($code, $out, $err) = $node->psql('postgres', 'DROP DATABASE many');
is($code, 0, 'not hindered by a worker with many jobs: DROP DATABASE') or diag($err);
$node->append_conf('postgresql.conf', 'iot_jobs.sweep_batch_rows = 1000');
$node->reload;

# a template
make_database('after', 3);
$node->safe_psql('template1', 'CREATE EXTENSION iot_jobs');
finish_a_job('after', 'template');
job_becomes($node, 10, 'after', 'template', 'COMPLETED');
is(worker_pid($node, 'template1'), '', 'a template has no worker, which would hold up whoever copies it');
$node->safe_psql('template1', 'DROP EXTENSION iot_jobs; DROP TABLE tenants, jobs, job_executions, devices, device_groups, device_group_members, iot_jobs_fleet');

# a database that closed its doors, with work inside
make_database('closed', 3);
finish_a_job('closed', 'open');
job_becomes($node, 10, 'closed', 'open', 'COMPLETED');
$node->safe_psql('postgres', 'DROP DATABASE closed WITH (FORCE)');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/iot_jobs worker.*does not exist/,
	'no worker ran against a wall');

# --- half a restore: rows without a guard may not be all that are coming ---
make_database('half', 3);
finish_a_job('half', 'before');
job_becomes($node, 10, 'half', 'before', 'COMPLETED');
# in a transaction of its own: a commit wakes the worker a moment before it tells others of its DDL
$node->safe_psql('half', 'ALTER TABLE job_executions DISABLE TRIGGER iot_jobs_guard');
$node->safe_psql('half', q(
BEGIN;
SELECT create_job('acme', 'reboot', target_device_id => 'd1', job_id => 'early');
SELECT update_job_execution('acme', 'early', 'd1', 'SUCCEEDED');
SELECT wake_job_worker();
COMMIT;));
within($node, 10, 'half', q(SELECT state = 'incomplete' AND pid IS NULL FROM iot_jobs_worker WHERE database = 'half'),
	'the worker leaves a database without a guard, and the view says why');
is($node->safe_psql('half', q(SELECT status FROM jobs WHERE job_id = 'early')), 'IN_PROGRESS',
	'it touched nothing');
$node->safe_psql('half', 'ALTER TABLE job_executions ENABLE TRIGGER iot_jobs_guard');
finish_a_job('half', 'late');
job_becomes($node, 10, 'half', $_, 'COMPLETED', "with the guard back, job $_ is done") for qw(late early);
not_hindered('half', 'DROP DATABASE half');

# --- one worker for many databases ---
$node->append_conf('postgresql.conf', q(
iot_jobs.max_workers = 1
iot_jobs.sweep_batch_rows = 1
));
$node->reload;
make_database('big', 100000);
$node->safe_psql('big', q(
SELECT create_job('acme', 'reboot', target_all => true, job_id => 'long', expires_in => '1 hour');
ANALYZE;));
make_database($_, 3) for qw(a b c);
$node->safe_psql('big', q(UPDATE jobs SET expires_at = now() WHERE job_id = 'long'));
within($node, 20, 'big', q(SELECT EXISTS (SELECT FROM job_executions WHERE status = 'TIMED_OUT')),
	'one database has work for long');
finish_a_job($_, 'short') for qw(a b c);
job_becomes($node, 20, $_, 'short', 'COMPLETED', "database $_ gets its turn") for qw(a b c);
my ($last_turn) = sort { $b <=> $a } map { $node->safe_psql($_, q(SELECT extract(epoch FROM updated_at) FROM jobs WHERE job_id = 'short')) } qw(a b c);
is(worker_count($node), '1', 'one worker at a time');
$node->append_conf('postgresql.conf', 'iot_jobs.sweep_batch_rows = 1000');
$node->reload;
job_becomes($node, 60, 'big', 'long', 'COMPLETED', 'the long work is done too');
is($node->safe_psql('big', qq(SELECT extract(epoch FROM updated_at) > $last_turn FROM jobs WHERE job_id = 'long')), 't',
	'and was not done before the others had their turn');

# idle workers give way at once, and turns go on
finish_a_job($_, 'again') for qw(a b c big);
job_becomes($node, 10, $_, 'again', 'COMPLETED', "database $_ gets its turn again") for qw(a b c big);

# --- no slot for any worker ---
$node->append_conf('postgresql.conf', q(
max_worker_processes = 2
max_parallel_workers = 0
max_logical_replication_workers = 0
));
$node->restart;
finish_a_job('a', 'alone');
job_becomes($node, 10, 'a', 'alone', 'COMPLETED', 'launcher and one worker are enough');
$node->append_conf('postgresql.conf', 'max_worker_processes = 1');
my $offset = -s $node->logfile;
$node->restart;
finish_a_job('a', 'starved');
within($node, 10, 'a', q(SELECT state = 'waiting' FROM iot_jobs_worker WHERE database = 'a'),
	'without a slot the view says that work waits');
my $log = PostgreSQL::Test::Utils::slurp_file($node->logfile, $offset);
my $complaints = () = $log =~ /could not start an iot_jobs worker/g;
is($complaints, 1, 'and the log says it once');
$node->stop;

done_testing();
