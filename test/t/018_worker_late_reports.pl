# A job has expired, and the devices that were at work report late, one after another:
# the worker does not look through the job for each of them.  What was not done when it
# expired is done nevertheless, by this worker or the next.  Healing is off: whoever has
# work for the worker tells it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use IotJobsSession;
use IotJobsWorker;

use constant { DEVICES => 5000, LATE => 20 };

my $node = new_server('late', preload => 1, conf => "iot_jobs.heal_interval = 0\n");
$node->safe_psql('postgres', 'CREATE EXTENSION iot_jobs');
add_fleet($node, 'postgres', DEVICES);

my $idle = q{EXISTS (SELECT FROM iot_jobs_worker WHERE database = 'postgres' AND state = 'idle')};
my $open = q{SELECT device_id FROM job_executions WHERE job_id = 'j' AND status = 'IN_PROGRESS' ORDER BY 1};

# rows of executions that anybody came to by an index
sub rows_read
{
	within($node, 60, 'postgres', "SELECT $idle", 'the worker has done what there is');
	return $node->safe_psql('postgres', q{SELECT idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'job_executions'});
}

sub passes
{
	return $node->safe_psql('postgres', q{SELECT passes FROM iot_jobs_worker WHERE database = 'postgres'});
}

$node->safe_psql('postgres', q{SELECT create_job('acme', 'x', target_all => true, job_id => 'j')});
$node->safe_psql('postgres', "SELECT start_next_pending_job_execution('acme', 'd' || g) FROM generate_series(1, @{[LATE]}) g");

# --- one that is held when the job expires, by somebody who lets it go ---
my $holder = IotJobsSession->new($node, 'postgres');
$holder->run("BEGIN; SELECT FROM job_executions WHERE device_id = 'd4000' FOR UPDATE;");
$node->safe_psql('postgres', q{UPDATE jobs SET expires_at = now() WHERE job_id = 'j'});
within($node, 60, 'postgres', q{SELECT queued = 1 FROM describe_job('acme', 'j')}, 'all QUEUED executions time out but the one that is held');
$node->append_conf('postgresql.conf', 'iot_jobs.worker_enabled = off');
$node->reload;
within($node, 60, 'postgres', q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'iot_jobs worker')}, 'the worker leaves');
$holder->run('COMMIT;');
$holder->quit;
$node->append_conf('postgresql.conf', 'iot_jobs.worker_enabled = on');
$node->reload;
within($node, 60, 'postgres', q{SELECT queued = 0 FROM describe_job('acme', 'j')}, 'and the next one knows what is left');

# --- one that is added afterwards ---
$node->safe_psql('postgres', q{INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('acme', 'j', 'added')});
within($node, 60, 'postgres', q{SELECT queued = 0 FROM describe_job('acme', 'j')}, 'an execution that is added to the expired job times out');

# --- the devices report ---
my $before = rows_read();
my @late = split /\n/, $node->safe_psql('postgres', $open);

is(scalar(@late), LATE, 'so many devices are at work still');
foreach my $device (@late)
{
	my $passes = passes();

	$node->safe_psql('postgres', "SELECT update_job_execution('acme', 'j', '$device', 'SUCCEEDED')");
	# the first that is open is the witness: so each of them is heard
	within($node, 60, 'postgres', "SELECT passes > $passes AND $idle FROM iot_jobs_worker WHERE database = 'postgres'", "$device is heard");
}
job_becomes($node, 60, 'postgres', 'j', 'COMPLETED');
cmp_ok(rows_read() - $before, '<', 4 * DEVICES, 'each execution was passed over a few times, however many devices were late');

# --- by hand: the execution that the worker watches goes to another device ---
$node->safe_psql('postgres', q{
SELECT create_job('acme', 'x', target_device_id => 'd1', job_id => 'renamed');
INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('acme', 'renamed', 'd2');
SELECT update_job_execution('acme', 'renamed', 'd1', 'SUCCEEDED');});
within($node, 60, 'postgres', "SELECT $idle", 'the worker watches d2');
$node->safe_psql('postgres', q{
UPDATE job_executions SET device_id = 'd3' WHERE job_id = 'renamed' AND device_id = 'd2';
SELECT update_job_execution('acme', 'renamed', 'd3', 'SUCCEEDED');});
job_becomes($node, 60, 'postgres', 'renamed', 'COMPLETED');

# --- two deadlines, each of more jobs than are listed at once, and all stay open ---
$node->safe_psql('postgres', q{
SELECT create_job('acme', 'x', target_device_id => 'd' || g, job_id => 'same-' || g) FROM generate_series(1, 600) g;
UPDATE job_executions SET status = 'IN_PROGRESS' WHERE job_id LIKE 'same-%';
INSERT INTO job_executions (tenant_id, job_id, device_id) SELECT 'acme', 'same-' || g, 'other' FROM generate_series(1, 600) g;
UPDATE jobs SET expires_at = now() - substr(job_id, 6)::int % 2 * interval '1 s' WHERE job_id LIKE 'same-%';});
within($node, 60, 'postgres', q{
SELECT array_agg(DISTINCT status ORDER BY status) = '{IN_PROGRESS,TIMED_OUT}' FROM job_executions WHERE job_id LIKE 'same-%'},
	'jobs that share a deadline expire, all of them');
$node->safe_psql('postgres', q{UPDATE job_executions SET status = 'SUCCEEDED' WHERE job_id LIKE 'same-%' AND status = 'IN_PROGRESS'});
within($node, 60, 'postgres', q{SELECT bool_and(status = 'COMPLETED') FROM jobs WHERE job_id LIKE 'same-%'}, 'and are completed');

$node->stop;
done_testing();
