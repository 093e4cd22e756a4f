# What goes wrong around the worker, and that it recovers; and that it rests.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use IPC::Run;
use Test::More;
use Time::HiRes qw(usleep);

use PostgreSQL::Test::Utils;
use IotJobsWorker;

my $node = new_server('trouble', preload => 1);
my $transactions = q(
SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'jobs');

$node->safe_psql('postgres', 'CREATE DATABASE jobs');
$node->safe_psql('jobs', 'CREATE EXTENSION iot_jobs');
add_fleet($node, 'jobs', 5);

sub finish_jobs
{
	my (@jobs) = @_;

	$node->safe_psql('jobs', join("\n",
			(map { "SELECT create_job('acme', 'reboot', target_device_id => 'd1', job_id => '$_');" } @jobs),
			'BEGIN;',
			(map { "SELECT update_job_execution('acme', '$_', 'd1', 'SUCCEEDED');" } @jobs),
			'COMMIT;'));
	return;
}

# --- one bad job among good ones ---
$node->safe_psql('jobs', q(
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN
  IF NEW.job_id LIKE 'bad%' AND NEW.status = 'COMPLETED' THEN
    RAISE EXCEPTION 'a trigger of the host refuses';
  END IF;
  RETURN NEW;
END$$;
CREATE TRIGGER refuse BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION refuse();));
my $offset = -s $node->logfile;
finish_jobs('good-1', 'bad-1', 'good-2', 'bad-2', 'good-3');
job_becomes($node, 10, 'jobs', $_, 'COMPLETED', "$_ goes on beside the bad ones") for qw(good-1 good-2 good-3);
within($node, 10, 'jobs', q(
SELECT last_error = 'a trigger of the host refuses' AND last_error_at > now() - interval '1 minute'
  FROM iot_jobs_worker WHERE database = 'jobs'), 'the view has the error');
$node->safe_psql('jobs', q(CREATE ROLE stranger));
is($node->safe_psql('jobs', q(SET ROLE stranger; SELECT count(*), count(last_error), count(last_error_at) FROM iot_jobs_worker)),
	'1|0|1', 'but not its text for a stranger');
finish_jobs('good-4');
job_becomes($node, 10, 'jobs', 'good-4', 'COMPLETED', 'later jobs are not held up');

# all that is left is bad
within($node, 10, 'jobs', q(SELECT state = 'backing off' FROM iot_jobs_worker WHERE database = 'jobs'),
	'the state says that what is left fails');
$node->safe_psql('jobs', q(SELECT create_job('acme', 'reboot', target_device_id => 'd2', job_id => 'late', expires_in => '0.2 s')));
job_becomes($node, 10, 'jobs', 'late', 'COMPLETED', 'a job expires beside the bad ones');
within($node, 10, 'jobs', q(SELECT oldest_overdue IS NULL FROM iot_jobs_worker WHERE database = 'jobs'),
	'and its deadline is dealt with, whatever else fails');

# several attempts, one line
within($node, 20, 'jobs', q(
SELECT last_error_at > (SELECT max(updated_at) FROM jobs) + interval '2 seconds' FROM iot_jobs_worker WHERE database = 'jobs'),
	'the bad ones are tried again');
my $log = slurp_file($node->logfile, $offset);
my $complaints = () = $log =~ /ERROR:  a trigger of the host refuses/g;
is($complaints, 1, 'the same error is logged once');
like($log, qr/iot_jobs worker visiting job "(good|bad)-\d" of tenant "acme"/, 'with the job in its context');
$node->safe_psql('jobs', 'DROP TRIGGER refuse ON jobs');
job_becomes($node, 90, 'jobs', $_, 'COMPLETED', "$_ is done once it can be") for qw(bad-1 bad-2);

# --- nothing works ---
$node->safe_psql('jobs', q(
CREATE ROLE fleet_owner;
ALTER TABLE jobs OWNER TO fleet_owner;
ALTER TABLE job_executions OWNER TO fleet_owner;
CREATE TABLE acted_as (who name);
GRANT INSERT ON acted_as TO PUBLIC;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN INSERT INTO public.acted_as VALUES (current_user); RETURN NULL; END$$;
CREATE TRIGGER note AFTER UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION note();
SELECT create_job('acme', 'reboot', target_device_id => 'd1', job_id => 'no-rights');
BEGIN;
SELECT update_job_execution('acme', 'no-rights', 'd1', 'SUCCEEDED');
REVOKE ALL ON jobs FROM fleet_owner;
COMMIT;));
within($node, 10, 'jobs', q(SELECT last_error LIKE 'permission denied%' FROM iot_jobs_worker WHERE database = 'jobs'),
	'the owner of the tables lost its rights, and the worker with it');
ok(worker_pid($node, 'jobs') ne '', 'it stays and tries again');
$node->safe_psql('jobs', 'GRANT ALL ON jobs TO fleet_owner');
job_becomes($node, 70, 'jobs', 'no-rights', 'COMPLETED', 'it recovers by itself');
is($node->safe_psql('jobs', q(SELECT DISTINCT who FROM acted_as)), 'fleet_owner',
	'the worker acts as the owner of the tables');

# --- what is deferred by default, and cannot be deferred as the owner ---
$node->safe_psql('jobs', q(
CREATE CONSTRAINT TRIGGER later AFTER UPDATE ON jobs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note();
CREATE CONSTRAINT TRIGGER later AFTER UPDATE ON job_executions DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note();
CREATE TABLE remarks (tenant_id text, job_id text, FOREIGN KEY (tenant_id, job_id) REFERENCES jobs DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE remarks OWNER TO fleet_owner;
SELECT create_job('acme', 'reboot', target_device_id => 'd1', job_id => 'deferred-1');
SELECT update_job_execution('acme', 'deferred-1', 'd1', 'SUCCEEDED');
SELECT create_job('acme', 'reboot', target_device_id => 'd1', job_id => 'deferred-2');
UPDATE jobs SET expires_at = now() WHERE job_id = 'deferred-2';
SELECT create_job('acme', 'reboot', target_device_id => 'd1', job_id => 'deferred-3');
SELECT delete_job('acme', 'deferred-3', force => true);));
job_becomes($node, 10, 'jobs', 'deferred-1', 'COMPLETED', 'a job is completed under deferred triggers');
job_becomes($node, 10, 'jobs', 'deferred-2', 'COMPLETED', 'one expires');
within($node, 10, 'jobs', q(SELECT NOT EXISTS (SELECT FROM jobs WHERE job_id = 'deferred-3')), 'and one is deleted under a deferred foreign key');
$node->safe_psql('jobs', q(DROP TABLE remarks; DROP TRIGGER later ON jobs; DROP TRIGGER later ON job_executions));

# --- settings that were not made for it ---
$node->safe_psql('jobs', q(
CREATE SCHEMA evil;
CREATE FUNCTION evil.lies(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.lies);
CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS $$SELECT '2000-01-01'::timestamptz$$;
CREATE ROLE nobody;
GRANT nobody TO postgres;
CREATE TABLE found (tenant text, application text);
GRANT INSERT ON found TO PUBLIC;
CREATE FUNCTION leaves_settings() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN
  INSERT INTO public.found VALUES (current_setting('app.tenant_id', true), current_setting('application_name'));
  PERFORM set_config('app.tenant_id', NEW.tenant_id, false), set_config('application_name', 'left behind', false),
          set_config('default_transaction_read_only', 'on', false);
  RETURN NULL;
END$$;
CREATE TRIGGER leaves_settings AFTER UPDATE ON jobs FOR EACH ROW WHEN (NEW.status = 'COMPLETED')
  EXECUTE FUNCTION leaves_settings();
ALTER DATABASE jobs SET app.tenant_id = 'another';
ALTER DATABASE jobs SET search_path = evil, pg_catalog;
ALTER DATABASE jobs SET role = nobody;
ALTER DATABASE jobs SET session_replication_role = replica;
ALTER DATABASE jobs SET row_security = off;
ALTER DATABASE jobs SET statement_timeout = 1;
ALTER DATABASE jobs SET lock_timeout = 1;
ALTER DATABASE jobs SET idle_in_transaction_session_timeout = 1;
ALTER DATABASE jobs SET default_transaction_read_only = on;
ALTER DATABASE jobs SET default_transaction_isolation = serializable;
ALTER DATABASE jobs SET default_transaction_deferrable = on;
ALTER DATABASE jobs SET exit_on_error = on;
ALTER DATABASE jobs SET transform_null_equals = on;
ALTER DATABASE jobs SET standard_conforming_strings = off;
ALTER DATABASE jobs SET enable_indexscan = off;
ALTER DATABASE jobs SET enable_nestloop = off;
ALTER DATABASE jobs SET idle_session_timeout = 1;
ALTER DATABASE jobs SET plan_cache_mode = force_generic_plan;
ALTER DATABASE jobs SET jit = on;
ALTER DATABASE jobs SET jit_above_cost = 0;));
my @newer = $node->pg_version >= 17 ? ('transaction_timeout') : ();
# from elsewhere: the settings above hold for whoever connects here from now on
$node->safe_psql('postgres', "ALTER DATABASE jobs SET $_ = 1") foreach @newer;
$node->safe_psql('postgres', 'SELECT pg_terminate_backend(' . worker_pid($node, 'jobs') . ')');

# ... nor for us
$ENV{PGOPTIONS} = join(' ', map { "-c $_" }
	  qw(search_path=public role=none session_replication_role=origin row_security=on
	  statement_timeout=0 lock_timeout=0 idle_in_transaction_session_timeout=0
	  default_transaction_read_only=off default_transaction_deferrable=off exit_on_error=off
	  transform_null_equals=off standard_conforming_strings=on enable_indexscan=on
	  enable_nestloop=on idle_session_timeout=0 jit=off), map({ "$_=0" } @newer),
	'default_transaction_isolation=read\\ committed');
finish_jobs('hostile');
job_becomes($node, 10, 'jobs', 'hostile', 'COMPLETED', 'completion under hostile settings');
$node->safe_psql('jobs', q(
SELECT create_job('acme', 'reboot', target_all => true, job_id => 'hostile-expiry', expires_in => '1 second')));
job_becomes($node, 10, 'jobs', 'hostile-expiry', 'COMPLETED', 'expiry under hostile settings');
is($node->safe_psql('jobs', q(SELECT count(*) FROM job_executions WHERE job_id = 'hostile-expiry' AND execution_number = 2)),
	'5', 'the guards were at work');
$node->safe_psql('jobs', q(SELECT delete_job('acme', 'hostile-expiry')));
within($node, 10, 'jobs', q(SELECT NOT EXISTS (SELECT FROM jobs WHERE job_id = 'hostile-expiry')),
	'deletion under hostile settings');
is($node->safe_psql('jobs', q(SELECT DISTINCT format('tenant "%s", application "%s"', tenant, application) FROM found)),
	'tenant "", application ""', 'what a trigger sets does not outlive its transaction');
delete $ENV{PGOPTIONS};
$node->safe_psql('postgres', 'ALTER DATABASE jobs RESET ALL');
$node->safe_psql('jobs', 'DROP TRIGGER leaves_settings ON jobs');

# --- a job whose row is locked ---
my $locker = $node->background_psql('jobs');
$node->safe_psql('jobs', q(SELECT create_job('acme', 'reboot', target_device_id => 'd1', job_id => 'locked')));
$locker->query_safe(q(BEGIN; SELECT FROM jobs WHERE job_id = 'locked' FOR UPDATE;));
$node->safe_psql('jobs', q(
ALTER TABLE job_executions DISABLE TRIGGER ALL;
UPDATE job_executions SET status = 'SUCCEEDED' WHERE job_id = 'locked';
ALTER TABLE job_executions ENABLE TRIGGER ALL;
SELECT wake_job_worker();));
finish_jobs('beside');
job_becomes($node, 10, 'jobs', 'beside', 'COMPLETED', 'a locked job holds up no other');
is($node->safe_psql('jobs', q(SELECT status FROM jobs WHERE job_id = 'locked')), 'IN_PROGRESS', 'it waits');
$locker->query_safe('COMMIT');
job_becomes($node, 5, 'jobs', 'locked', 'COMPLETED', 'and is done when it is free');
$locker->quit;

# --- the extension comes and goes under load ---
$node->safe_psql('jobs', q(
CREATE SEQUENCE turn;
INSERT INTO jobs (job_id, tenant_id, document_type, target_device_id)
  SELECT 'load-' || g, 'acme', 'reboot', 'd1' FROM generate_series(1, 3000) g;
INSERT INTO job_executions (job_id, tenant_id, device_id)
  SELECT 'load-' || g, 'acme', 'd1' FROM generate_series(1, 3000) g;
ANALYZE;));
my $script = $node->basedir . '/load.sql';
append_to_file($script, q(
SELECT nextval('turn') AS n \gset
UPDATE job_executions SET status = 'SUCCEEDED', execution_number = 2
 WHERE tenant_id = 'acme' AND job_id = 'load-' || :n AND device_id = 'd1';
));
my ($out, $err) = ('', '');
my $load = IPC::Run::start(
	[ 'pgbench', '-n', '-h', $node->host, '-p', $node->port, '-c', '2', '-t', '1500', '-f', $script, 'jobs' ],
	'>', \$out, '2>', \$err);
for my $round (1 .. 3)
{
	within($node, 60, 'jobs', "SELECT last_value >= 500 * $round FROM turn", "round $round: the load goes on");
	$node->safe_psql('jobs', 'DROP EXTENSION iot_jobs');
	$node->safe_psql('jobs', 'CREATE EXTENSION iot_jobs');
}
ok($load->finish, 'the load ran through') or diag($err);
unlike($err, qr/aborted|deadlock/, 'without an error');
within($node, 30, 'jobs', q(SELECT count(*) = 3000 FROM jobs WHERE job_id LIKE 'load-%' AND status = 'COMPLETED'),
	'what ended while the extension was away is completed, too');

$node->safe_psql('jobs', 'DROP EXTENSION iot_jobs; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = \'iot_jobs worker\'');
within($node, 10, 'postgres', q(SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'iot_jobs worker')),
	'without the extension there is no worker');
$node->safe_psql('jobs', 'CREATE EXTENSION iot_jobs');
within($node, 10, 'postgres', q(SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'iot_jobs worker')),
	'with it there is');

# --- rest ---
$node->safe_psql('jobs', q(
SELECT create_job('acme', 'reboot', target_all => true, job_id => 'waits', expires_in => '1 hour');
SELECT create_job('acme', 'reboot', target_all => true, job_id => 'waits-for-ever');));
$node->append_conf('postgresql.conf', q(
iot_jobs.worker_idle_timeout = 1s
iot_jobs.heal_interval = 1s
));
$node->reload;

# no transaction of the worker in a while, though there are jobs and a deadline
sub rests
{
	my ($name) = @_;
	my $before = -1;
	my $now;

	for (1 .. 20)
	{
		$now = $node->safe_psql('postgres', $transactions);
		last if $now == $before;
		$before = $now;
		$node->poll_query_until('postgres',
			"SELECT clock_timestamp() > '" . $node->safe_psql('postgres', 'SELECT now()') . "'::timestamptz + interval '3 s'");
	}
	is($now, $before, $name);
	return $now;
}

rests('an idle database sees no transaction');
is(worker_count($node), '0', 'and its worker has left');
is($node->safe_psql('jobs', q(
SELECT state, pid IS NULL, next_deadline > now() + interval '50 minutes' FROM iot_jobs_worker WHERE database = 'jobs')),
	'asleep|t|t', 'the launcher keeps the deadline');

# a completion lost by somebody who went around all triggers is found within heal_interval
$node->safe_psql('jobs', q(
SET session_replication_role = replica;
UPDATE job_executions SET status = 'SUCCEEDED' WHERE job_id = 'waits-for-ever';));
job_becomes($node, 10, 'jobs', 'waits-for-ever', 'COMPLETED', 'a lost completion is healed');
my $rest = rests('and then there is rest again');
$node->safe_psql('postgres', 'SELECT pg_current_xact_id()');
within($node, 10, 'postgres', "SELECT ($transactions) > $rest", 'the count does see a worker that looks around');
rests('which rests when it is done');
$node->safe_psql('jobs', q(UPDATE jobs SET expires_at = now() + interval '2 seconds' WHERE job_id = 'waits'));
job_becomes($node, 10, 'jobs', 'waits', 'COMPLETED', 'the deadline wakes a worker');
$node->stop;

done_testing();
