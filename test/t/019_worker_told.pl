# What the worker is to do is never lost on the way to it: more jobs, longer names and more
# devices than anything has room for; a deadline that a trigger sets, or that nobody told of;
# a worker that leaves with work put off; prepared transactions.  Healing is off: whoever has
# work for the worker tells it, or it is not done.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use IotJobsSession;
use IotJobsWorker;

my $node = new_server('told', preload => 1, conf => "iot_jobs.heal_interval = 0\n");
$node->safe_psql('postgres', 'CREATE EXTENSION iot_jobs');
add_fleet($node, 'postgres', 10);

my $idle = q{EXISTS (SELECT FROM iot_jobs_worker WHERE database = 'postgres' AND state = 'idle')};

sub passes
{
	return $node->safe_psql('postgres', q{SELECT passes FROM iot_jobs_worker WHERE database = 'postgres'});
}

# --- told by a report, and due at once ---
sub switch_worker
{
	my ($to) = @_;

	$node->append_conf('postgresql.conf', "iot_jobs.worker_enabled = $to");
	$node->reload;
	within($node, 60, 'postgres', sprintf(q{SELECT %s EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'iot_jobs worker')}, $to eq 'on' ? '' : 'NOT'),
		"the worker is $to");
	return;
}

# create and end, by hand, so many jobs of d1
sub end_jobs
{
	my ($name, $jobs) = @_;

	$node->safe_psql('postgres', qq{
BEGIN;
INSERT INTO jobs (tenant_id, job_id, document_type, target_device_id) SELECT 'acme', '$name-' || g, 'x', 'd1' FROM generate_series(1, $jobs) g;
INSERT INTO job_executions (tenant_id, job_id, device_id) SELECT 'acme', '$name-' || g, 'd1' FROM generate_series(1, $jobs) g;
UPDATE job_executions SET status = 'SUCCEEDED' WHERE job_id LIKE '$name-%';
COMMIT;});
	return;
}

# in the queue, and listed; in the queue, and told once more
$node->safe_psql('postgres', q{
SELECT create_job('acme', 'x', target_device_id => 'd1', job_id => 'both-' || g) FROM generate_series(1, 2) g;
INSERT INTO job_executions (tenant_id, job_id, device_id) SELECT 'acme', 'both-' || g, 'd2' FROM generate_series(1, 2) g;
UPDATE job_executions SET status = 'IN_PROGRESS' WHERE job_id = 'both-2' AND device_id = 'd1';
UPDATE jobs SET expires_at = now() WHERE job_id = 'both-2';});
within($node, 60, 'postgres', q{SELECT timed_out = 1 FROM describe_job('acme', 'both-2')}, 'what is QUEUED times out');
switch_worker('off');
$node->safe_psql('postgres', q{
SELECT update_job_execution('acme', 'both-' || g, 'd1', 'SUCCEEDED') FROM generate_series(1, 2) g;
UPDATE jobs SET expires_at = now() WHERE job_id = 'both-1';
INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('acme', 'both-2', 'd3');});
switch_worker('on');
job_becomes($node, 60, 'postgres', "both-$_", 'COMPLETED') foreach 1, 2;

# --- more devices of one job than a transaction remembers, and the witness is the last of them ---
$node->safe_psql('postgres', q{
SELECT create_job('acme', 'x', target_device_id => 'd1', job_id => 'most');
INSERT INTO job_executions (tenant_id, job_id, device_id) SELECT 'acme', 'most', 'e' || g FROM generate_series(1, 400) g;
INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('acme', 'most', 'd2');
});
my $before = passes();
$node->safe_psql('postgres', q{SELECT update_job_execution('acme', 'most', 'd1', 'SUCCEEDED')});
within($node, 60, 'postgres', "SELECT passes > $before AND $idle FROM iot_jobs_worker WHERE database = 'postgres'", 'the worker watches d2');
$node->safe_psql('postgres', q{UPDATE job_executions SET status = 'SUCCEEDED' WHERE job_id = 'most' AND status = 'QUEUED'});
job_becomes($node, 60, 'postgres', 'most', 'COMPLETED');

# --- a job whose name is too long for the queue ---
$node->safe_psql('postgres', q{
SELECT create_job('acme', 'x', target_device_id => 'd1', job_id => repeat('x', 250));
SELECT update_job_execution('acme', repeat('x', 250), 'd1', 'SUCCEEDED');});
within($node, 60, 'postgres', q{SELECT status = 'COMPLETED' FROM jobs WHERE job_id = repeat('x', 250)}, 'a job with a long name is completed');

# --- more jobs than a transaction remembers, and than the queue holds ---
end_jobs('many', 17000);
within($node, 60, 'postgres', q{SELECT bool_and(status = 'COMPLETED') FROM jobs WHERE job_id LIKE 'many-%'}, 'many jobs that end in one transaction are completed');
switch_worker('off');
end_jobs('first', 9000);
end_jobs('second', 9000);
switch_worker('on');
within($node, 60, 'postgres', q{SELECT bool_and(status = 'COMPLETED') FROM jobs WHERE job_id ~ '^(first|second)-'}, 'and so are more than the queue holds');

# --- more jobs are held than are put off, and the worker leaves ---
$node->safe_psql('postgres', q{
INSERT INTO jobs (tenant_id, job_id, document_type, target_device_id) SELECT 'acme', 'held-' || g, 'x', 'd1' FROM generate_series(1, 1500) g;
INSERT INTO job_executions (tenant_id, job_id, device_id) SELECT 'acme', 'held-' || g, 'd1' FROM generate_series(1, 1500) g;});
my $holder = IotJobsSession->new($node, 'postgres');
$holder->run(q{BEGIN; SELECT FROM jobs WHERE job_id LIKE 'held-%' FOR UPDATE;});
$before = passes();
$node->safe_psql('postgres', q{UPDATE job_executions SET status = 'SUCCEEDED' WHERE job_id LIKE 'held-%'});
within($node, 60, 'postgres', "SELECT passes > $before AND state = 'backing off' FROM iot_jobs_worker WHERE database = 'postgres'", 'the worker has come to all that are held');
switch_worker('off');
$holder->run('COMMIT;');
$holder->quit;
switch_worker('on');
within($node, 60, 'postgres', q{SELECT bool_and(status = 'COMPLETED') FROM jobs WHERE job_id LIKE 'held-%'}, 'the next one completes them all');

# --- a trigger of the operator sets the deadline, after the guard ---
$node->safe_psql('postgres', q{
CREATE FUNCTION soon() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.expires_at := now() + interval '1 s'; RETURN NEW; END $$;
CREATE TRIGGER soon BEFORE INSERT OR UPDATE OF expires_at ON jobs FOR EACH ROW WHEN (new.job_id LIKE 'soon%') EXECUTE FUNCTION soon();
SELECT create_job('acme', 'x', target_device_id => 'd1', job_id => 'soon-1');});
job_becomes($node, 60, 'postgres', 'soon-1', 'COMPLETED');
$node->safe_psql('postgres', q{
ALTER TABLE jobs DISABLE TRIGGER soon;
SELECT create_job('acme', 'x', target_device_id => 'd1', job_id => 'soon-2');
ALTER TABLE jobs ENABLE TRIGGER soon;
SELECT update_job('acme', 'soon-2', now() + interval '1 day');});
job_becomes($node, 60, 'postgres', 'soon-2', 'COMPLETED');
$node->safe_psql('postgres', 'DROP TRIGGER soon ON jobs');

# --- deadlines that could not be listed, and the worker leaves ---
$node->safe_psql('postgres', q{
CREATE ROLE fleet_owner;
ALTER TABLE jobs OWNER TO fleet_owner;
ALTER TABLE job_executions OWNER TO fleet_owner;
SELECT create_job('acme', 'x', target_device_id => 'd1', job_id => 'unlisted-1');});
foreach my $work (q{UPDATE jobs SET expires_at = now() WHERE job_id = 'unlisted-1'},
	# whom nobody told of
	q{SELECT create_job('acme', 'x', target_device_id => 'd1', job_id => 'unlisted-2');
SET LOCAL session_replication_role = replica;
UPDATE job_executions SET status = 'SUCCEEDED' WHERE job_id = 'unlisted-2';
SELECT wake_job_worker()})
{
	my $began = $node->safe_psql('postgres', 'SELECT clock_timestamp()');

	$node->safe_psql('postgres', "BEGIN; $work; REVOKE ALL ON jobs FROM fleet_owner; COMMIT;");
	within($node, 60, 'postgres', qq{SELECT last_error LIKE 'permission denied%' AND last_error_at > '$began' FROM iot_jobs_worker WHERE database = 'postgres'},
		'the worker cannot list jobs');
	switch_worker('off');
	$node->safe_psql('postgres', 'GRANT ALL ON jobs TO fleet_owner');
	switch_worker('on');
}
job_becomes($node, 60, 'postgres', "unlisted-$_", 'COMPLETED') foreach 1, 2;

# --- a deadline that lies before those that were looked at ---
$node->safe_psql('postgres', q{
SELECT create_job('acme', 'x', target_device_id => 'd1', job_id => 'yesterday');
UPDATE jobs SET expires_at = now() - interval '1 day' WHERE job_id = 'yesterday';});
job_becomes($node, 60, 'postgres', 'yesterday', 'COMPLETED');

# --- one that nobody told of is found, before it comes, by whoever looks at all jobs ---
$node->safe_psql('postgres', q{
SELECT create_job('acme', 'x', target_device_id => 'd1', job_id => 'untold');
BEGIN;
SET LOCAL session_replication_role = replica;
UPDATE jobs SET expires_at = now() + interval '2 s' WHERE job_id = 'untold';
COMMIT;
SELECT wake_job_worker();});
job_becomes($node, 60, 'postgres', 'untold', 'COMPLETED');

# --- while it is switched off nobody looks at anything ---
switch_worker('off');
$before = passes();
$node->safe_psql('postgres', q{
SELECT create_job('acme', 'x', target_device_id => 'd1', job_id => 'while-off');
SELECT update_job_execution('acme', 'while-off', 'd1', 'SUCCEEDED');
SELECT wake_job_worker();});
is($node->safe_psql('postgres', q{SELECT count(*) FROM verify_jobs(grace => '0') WHERE job_id = 'while-off'}), '1', 'for a second the work is left');
is(passes(), $before, 'and no worker was at work while it was switched off');
is($node->safe_psql('postgres', q{SELECT count(*) FROM verify_jobs() WHERE job_id = 'while-off'}), '0', 'nor is it late yet, without an interval of healing, too');
switch_worker('on');
job_becomes($node, 60, 'postgres', 'while-off', 'COMPLETED');

# --- a prepared transaction, whose end calls nobody: of this server, and of the one before ---
foreach my $server ('this', 'former')
{
	$node->safe_psql('postgres', qq{
SELECT create_job('acme', 'x', target_device_id => 'd1', job_id => 'prepared-$server');
BEGIN;
SELECT update_job_execution('acme', 'prepared-$server', 'd1', 'SUCCEEDED');
PREPARE TRANSACTION '$server';});
	$node->restart if $server eq 'former';
	within($node, 60, 'postgres', q{SELECT passes > 0 AND state IN ('idle', 'asleep') FROM iot_jobs_worker WHERE database = 'postgres'},
		"$server server: the worker has looked at everything");
	$node->safe_psql('postgres', "COMMIT PREPARED '$server'");
	job_becomes($node, 60, 'postgres', "prepared-$server", 'COMPLETED');
}

# --- a deadline before all others ---
$node->safe_psql('postgres', q{
SELECT create_job('acme', 'x', target_device_id => 'd1', job_id => 'long-ago');
UPDATE jobs SET expires_at = '-infinity' WHERE job_id = 'long-ago';});
job_becomes($node, 60, 'postgres', 'long-ago', 'COMPLETED');

$node->stop;
done_testing();
