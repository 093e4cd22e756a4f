# No space left: for the tables, and for the write-ahead log.  Calls fail as a whole with
# 53100, or the server goes down; with space again everything goes on, and all that was
# acknowledged is there.
#
# The small disks are tmpfs, mounted in a namespace of this test, which runs itself there
# again: that needs no privilege where users may make namespaces.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

# before anything else is loaded, which would take our output for its own
my $disks;
BEGIN
{
	$disks = $ENV{IOT_JOBS_SMALL_DISKS};
	if (!defined $disks)
	{
		require File::Temp;
		my $folder = File::Temp->newdir(CLEANUP => 1);
		my $mount = "mkdir '$folder/data' '$folder/wal' && mount -t tmpfs -o size=40m,mode=777 none '$folder/data'"
		  . " && mount -t tmpfs -o size=24m,mode=777 none '$folder/wal'";
		# root in the outer namespace to mount, and ourselves again in the inner one: a server refuses root
		my @outside = ('unshare', '--user', '--map-root-user', '--mount', 'sh', '-c');
		my $inside = "exec unshare --user --map-user=$< --map-group=" . ($( + 0) . ' --';

		if (system(@outside, "($mount && $inside true) >/dev/null 2>&1") != 0)
		{
			print "1..0 # SKIP no tmpfs can be mounted here by unshare --user --map-root-user --mount\n";
			exit 0;
		}
		rmdir "$folder/$_" foreach qw(data wal);
		$ENV{IOT_JOBS_SMALL_DISKS} = "$folder";
		exit(system(@outside, "$mount && $inside \"\$\@\"", 'sh', $^X, (map { "-I$_" } @INC), $0) >> 8);
	}
}

use Test::More;
use Time::HiRes qw(time usleep);

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

use IotJobsData;

my $node = data_server('full', init => { extra => [ "--waldir=$disks/wal/pg_wal", '--wal-segsize=1' ] }, conf => q{
shared_preload_libraries = 'iot_jobs'
restart_after_crash = off
shared_buffers = 16MB
fsync = off
autovacuum = off
min_wal_size = 2MB
max_wal_size = 4MB
wal_recycle = off
iot_jobs.worker_enabled = off
});
$node->start;
mkdir "$disks/data/space" or die "could not make a folder: $!";
$node->safe_psql('postgres', "CREATE TABLESPACE small LOCATION '$disks/data/space'");
$node->safe_psql('postgres', 'CREATE DATABASE jobs TABLESPACE small');
$node->safe_psql('jobs', q{
	CREATE EXTENSION iot_jobs;
	INSERT INTO tenants (tenant_id) VALUES ('acme');
	INSERT INTO devices (tenant_id, device_id) SELECT 'acme', 'd' || i FROM generate_series(1, 20000) i;
	INSERT INTO device_groups (tenant_id, group_id) VALUES ('acme', 'g');
	INSERT INTO device_group_members (tenant_id, group_id, device_id) SELECT 'acme', 'g', 'd' || i FROM generate_series(1, 100) i;
});

# Take what is left of a disk, but for so many bytes.
sub fill
{
	my ($disk, $leave) = @_;
	my $block = "\0" x 65536;

	open(my $ballast, '>', "$disks/$disk/ballast") or die "could not open: $!";
	1 while syswrite($ballast, $block);
	truncate($ballast, -s $ballast > $leave ? (-s $ballast) - $leave : 0) or die "could not truncate: $!";
	close($ballast);
	return;
}

sub make_room
{
	my ($disk) = @_;

	unlink("$disks/$disk/ballast") or die "could not remove: $!";
	return;
}

my $ledger = PostgreSQL::Test::Utils::tempdir . '/ledger';

# Call until somebody says no; what was acknowledged goes to the ledger.  Gives the SQLSTATE.
sub call_until_refused
{
	my ($sql, $limit) = @_;

	foreach (1 .. $limit)
	{
		my ($status, $stdout, $stderr) = $node->psql('jobs', $sql, extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);

		append_to_file($ledger, "$stdout\n") if $status == 0 && $stdout ne '';
		next if $status == 0;
		return $stderr =~ /(?:ERROR|FATAL|PANIC):  (\w{5})/ ? $1 : 'connection lost';
	}
	return 'never';
}

my $create = q{SELECT 'new', tenant_id, job_id, NULL, total_executions FROM create_job('acme', 'x', %s)};
my $state = q{SELECT count(*), (SELECT count(*) FROM job_executions) FROM jobs};

# ----------------------------------------------------------------
# The tables
# ----------------------------------------------------------------

append_to_file($ledger, $node->safe_psql('jobs', sprintf($create, q{target_group_id => 'g', job_id => 'before'})) . "\n");
fill('data', 1_000_000);
my $before = $node->safe_psql('jobs', $state);
is(call_until_refused(sprintf($create, 'target_all => true'), 1), '53100', 'no space for a large job: 53100');
is($node->safe_psql('jobs', $state), $before, 'and nothing of it is there');
is(call_until_refused(sprintf($create, q{target_group_id => 'g'}), 500), '53100', 'small jobs go on until the space is used up');
is( call_until_refused(q{
		SELECT u.status, 'acme', u.job_id, u.device_id, u.execution_number FROM claim_job_executions('acme', 100) c,
		update_job_executions('acme', jsonb_build_array(jsonb_build_object('job_id', c.job_id, 'device_id', c.device_id, 'status', 'SUCCEEDED',
			'status_details', jsonb_build_object('log', (SELECT string_agg(md5(i::text || c.device_id || clock_timestamp()), '') FROM generate_series(1, 500) i))))) u}, 500),
	'53100', 'so do reports');
$node->append_conf('postgresql.conf', 'iot_jobs.worker_enabled = on');
$node->reload;
my $log = -s $node->logfile;
$node->safe_psql('jobs', q{SELECT delete_job('acme', job_id, force => true) FROM jobs WHERE job_id = 'before'});
append_to_file($ledger, "deleting|acme|before||\ndeleted|acme|before||\n");
make_room('data');
eventually($node, 60, 'jobs', q{SELECT NOT EXISTS (SELECT FROM jobs WHERE job_id = 'before')}, 'with space again, the worker goes on by itself');
is(call_until_refused(sprintf($create, 'target_all => true'), 1), 'never', 'and so do all');
nothing_lost($node, 'jobs', 'a full disk', ledger => $ledger);

# ----------------------------------------------------------------
# The log
# ----------------------------------------------------------------

# no checkpoint makes room meanwhile
$node->append_conf('postgresql.conf', "max_wal_size = 1GB\ncheckpoint_timeout = 1d\n");
$node->reload;
$node->safe_psql('postgres', 'CHECKPOINT');
my $pid = $node->{_pid};
fill('wal', 0);
my $refused = call_until_refused(sprintf($create, 'target_all => true'), 20);
isnt($refused, 'never', "no space for the log: $refused");
my $deadline = time + seconds(60);
usleep(20_000) while kill(0, $pid) && time < $deadline;
ok(!kill(0, $pid), 'the server goes down');
like(slurp_file($node->logfile, $log), qr/PANIC: .*No space left on device/, 'and says why');
make_room('wal');
$node->_update_pid(-1);
unlink($node->data_dir . '/postmaster.pid');
$node->start;
nothing_lost($node, 'jobs', 'a full log', ledger => $ledger);
is(call_until_refused(sprintf($create, q{target_group_id => 'g'}), 3), 'never', 'and everything goes on');
$node->stop;
done_testing();
