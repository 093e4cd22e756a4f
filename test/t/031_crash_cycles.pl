# Kill what there is, again and again, while clients do everything: one of their
# processes, the worker, the launcher, the postmaster.  Each client writes down what it
# was told; in the end, and now and then, all of it has to be there.
#
# IOT_JOBS_KILLS is how many times; a few without it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use List::Util qw(sum);
use Test::More;
use Time::HiRes qw(time usleep);

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

use IotJobsCallers;
use IotJobsData;

my $cycles = $ENV{IOT_JOBS_KILLS} || 16;
my $check_every = 25;
my $clients = 4;

# what a process leaves in the memory of the kernel survives it, so nothing need reach the disk
my $node = data_server('cycles', conf => q{
shared_preload_libraries = 'iot_jobs'
restart_after_crash = on
shared_buffers = 16MB
max_connections = 30
fsync = off
iot_jobs.sweep_batch_rows = 5
});
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION iot_jobs;
	INSERT INTO tenants (tenant_id) VALUES ('acme');
	INSERT INTO devices (tenant_id, device_id) SELECT 'acme', 'd' || i FROM generate_series(1, 40) i;
	INSERT INTO device_groups (tenant_id, group_id) VALUES ('acme', 'g');
	INSERT INTO device_group_members (tenant_id, group_id, device_id) SELECT 'acme', 'g', 'd' || i FROM generate_series(1, 12) i;
});

# ----------------------------------------------------------------
# Clients
# ----------------------------------------------------------------

# What a client does in turn.  It says beforehand that it deletes a job: it may never
# hear that it did.
my $callers = IotJobsCallers->new($node, q{
SELECT 'new', tenant_id, job_id, NULL, total_executions FROM create_job('acme', 'x', target_group_id => 'g');
SELECT 'claim', tenant_id, job_id, device_id, execution_number FROM claim_job_executions('acme', 5);
SELECT 'new', tenant_id, job_id, NULL, total_executions FROM create_job('acme', 'x', target_all => true, expires_in => '100 ms');
SELECT 'claim', tenant_id, job_id, device_id, execution_number FROM start_next_pending_job_execution('acme', 'd' || (1 + random() * 11)::int);
SELECT status, 'acme', job_id, device_id, execution_number FROM update_job_executions('acme', (
	SELECT COALESCE(jsonb_agg(jsonb_build_object('job_id', job_id, 'device_id', device_id, 'status', 'SUCCEEDED')), '[]')
	FROM (SELECT * FROM job_executions WHERE tenant_id = 'acme' AND status = 'IN_PROGRESS' LIMIT 6) e)) WHERE accepted;
SELECT r.status, r.tenant_id, r.job_id, r.device_id, r.execution_number
	FROM (SELECT * FROM job_executions WHERE tenant_id = 'acme' AND status IN ('QUEUED', 'IN_PROGRESS') ORDER BY random() LIMIT 1) e,
	update_job_execution('acme', e.job_id, e.device_id, 'FAILED') r;
SELECT 'canceled', c.tenant_id, c.job_id, NULL, NULL
	FROM (SELECT * FROM jobs WHERE status = 'IN_PROGRESS' ORDER BY random() LIMIT 1) j, cancel_job('acme', j.job_id) c;
SELECT COALESCE((SELECT job_id FROM jobs WHERE status IN ('COMPLETED', 'CANCELED') ORDER BY random() LIMIT 1), 'none') AS job \gset
\echo deleting|acme|:job||
SELECT 'deleted', tenant_id, job_id, NULL, NULL FROM delete_job('acme', :'job');
});

# ----------------------------------------------------------------
# Kills
# ----------------------------------------------------------------

my %victims = (
	client => q{backend_type = 'client backend' AND pid <> pg_backend_pid()},
	worker => q{backend_type = 'iot_jobs worker'},
	launcher => q{backend_type = 'iot_jobs launcher'});
my %killed;

sub wait_for_start
{
	my ($log) = @_;

	$node->wait_for_log(qr/database system is ready to accept connections/, $log);
	return;
}

sub kill_postmaster
{
	my $postmaster = $node->{_pid};
	my $deadline = time + seconds(60);

	$node->kill9;
	# its children go, too, and the server starts when they have
	usleep(10_000) while kill(0, $postmaster) && time < $deadline;
	until (defined $node->{_pid} || time > $deadline)
	{
		usleep(50_000) if !$node->start(fail_ok => 1);
	}
	$killed{postmaster}++;
	return;
}

# False if there is nobody of that kind just now.
sub kill_one
{
	my ($kind) = @_;
	my $log = -s $node->logfile;
	my $pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE $victims{$kind} ORDER BY random() LIMIT 1");

	return 0 if $pid eq '' || !kill('KILL', $pid);
	wait_for_start($log);
	$killed{$kind}++;
	return 1;
}

sub nothing_lost_so_far
{
	my ($name) = @_;

	$callers->stop or fail("$name: the clients come to an end");
	nothing_lost($node, 'postgres', $name, ledger => $callers->ledger);
	$callers->start($clients);
	return;
}

$callers->start($clients);
my @kinds = (qw(client worker postmaster client worker launcher client), 'postmaster');
for my $cycle (1 .. $cycles)
{
	my $deadline = time + seconds(60);
	my $kind = $kinds[$cycle % @kinds];

	# somewhere in the middle of what they do
	$callers->go_on(2000);
	usleep(int(rand(50_000)));
	if ($kind eq 'postmaster')
	{
		kill_postmaster();
	}
	else
	{
		usleep(10_000) until kill_one($kind) || time > $deadline;
	}
	nothing_lost_so_far("$cycle times killed") if $cycle % $check_every == 0 || $cycle == $cycles;
}
$callers->stop;

my $lines = () = slurp_file($callers->ledger) =~ /^(?!deleting)./mg;
note(join(', ', map { "$_ killed $killed{$_} times" } sort keys %killed) . "; $lines rows acknowledged");
is(sum(values %killed), $cycles, 'it was killed as often as that');
cmp_ok($lines, '>', 20 * $cycles, 'and they were told things');
my %errors = $callers->errors;
is(join(' ', grep { !/^IJ00[12]$/ } sort keys %errors), '', 'no error but that others were first');
unlike(slurp_file($node->logfile), qr/TRAP:|PANIC:|stuck spinlock|invalid memory/, 'and nothing worse is in the log');
$node->stop;
done_testing();
