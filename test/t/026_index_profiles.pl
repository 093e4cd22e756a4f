# The index profile is changed to and fro while everybody works: others wait at most,
# nobody gets an error, every execution is claimed once, and what is left is whole.
# What interrupts a change leaves something that the next one puts right.  A dump
# brings the profile back.  And a claim writes what each profile says.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

use IotJobsData;

my $node = data_server('profiles', conf => q{
shared_preload_libraries = 'iot_jobs'
deadlock_timeout = 100ms
max_prepared_transactions = 5
});
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION iot_jobs;
	CREATE EXTENSION amcheck;
	CREATE TABLE claimed (tenant_id text, job_id text, device_id text);
	INSERT INTO tenants (tenant_id) VALUES ('acme');
	INSERT INTO devices (tenant_id, device_id) SELECT 'acme', 'd' || i FROM generate_series(1, 30) i;
	SELECT create_job('acme', 'x', target_all => true) FROM generate_series(1, 30);
});

sub profile
{
	my ($database) = @_;

	return $node->safe_psql($database // 'postgres', 'SELECT job_index_profile()');
}

# --- what a claim writes ---

# The new version of its row, and an entry in each index if there must be one; in a batch,
# the same for each.  A server with assertions has the row locked before.
$node->safe_psql('postgres', 'CREATE DATABASE written TEMPLATE template0');
$node->safe_psql('written', q{
	CREATE EXTENSION iot_jobs;
	INSERT INTO tenants (tenant_id) VALUES ('t');
	INSERT INTO devices (tenant_id, device_id) SELECT 't', 'd' || i FROM generate_series(1, 4) i;
	SELECT create_job('t', 'x', target_all => true);
});

my $lock = $node->safe_psql('written', 'SHOW debug_assertions') eq 'on' ? 1 : 0;

sub records
{
	my ($call) = @_;
	my $plan = $node->safe_psql('written', "EXPLAIN (ANALYZE, WAL) SELECT * FROM $call");

	return $plan =~ /WAL: records=(\d+)/ ? $1 : $plan;
}

is(records(q{start_next_pending_job_execution('t', 'd1')}), 4 + $lock, 'records of the write-ahead log of a claim, contract');
is(records(q{claim_job_executions('t', 3, '{d2,d3,d4}')}), 3 * (4 + $lock), '... of three in a batch');
# in a page of its own, where there is nothing to prune
$node->safe_psql('written', q{
	SELECT use_job_indexes('lean');
	TRUNCATE jobs, job_executions;
	SELECT create_job('t', 'x', target_all => true);
});
is(records(q{start_next_pending_job_execution('t', 'd1')}), 1 + $lock, '... of a claim, lean');

# --- under load ---

my %does = (
	create => q{SELECT create_job('acme', 'x', target_all => true, expires_in => '1 hour');},
	claim => q{
		INSERT INTO claimed SELECT tenant_id, job_id, device_id FROM start_next_pending_job_execution('acme', 'd' || :d) WHERE started_at = now();},
	claim_any => q{INSERT INTO claimed SELECT tenant_id, job_id, device_id FROM claim_job_executions('acme', 5);},
	report => q{
		SELECT update_job_execution('acme', job_id, 'd' || :d, 'SUCCEEDED')
		FROM get_pending_job_executions('acme', 'd' || :d, 1) WHERE status = 'IN_PROGRESS' AND :d % 4 = :client_id % 4;},
	# read first, then write, in one transaction: who holds one lock and wants a stronger one
	both => q{
		BEGIN;
		SELECT count(*) FROM job_executions WHERE device_id = 'd' || :d;
		INSERT INTO claimed SELECT tenant_id, job_id, device_id FROM claim_job_executions('acme', 1, ARRAY['d' || :d]);
		SELECT describe_job('acme', job_id) FROM jobs WHERE tenant_id = 'acme' LIMIT 1;
		COMMIT;});
my %weight = (create => 1, claim => 10, claim_any => 3, report => 20, both => 5);
my @scripts;
foreach my $name (sort keys %does)
{
	my $file = PostgreSQL::Test::Utils::tempdir() . "/$name.sql";

	# a device is one client's, so that nobody reports what another has
	append_to_file($file, '\set d 1 + 4 * random(0, 6) + :client_id' . "\n$does{$name}\n");
	push @scripts, '-f', "$file\@$weight{$name}";
}
my $clients_said = PostgreSQL::Test::Utils::tempdir() . '/clients';
my $log = -s $node->logfile;
my $load = start_client($node,
	[ 'pgbench', '--no-vacuum', '--client=4', '--jobs=2', '--time=3600', '--protocol=prepared', @scripts, 'postgres' ],
	out => $clients_said, err => $clients_said);
eventually($node, 60, 'postgres', q{SELECT count(*) > 20 FROM claimed}, 'the clients are at work');

# so that each profile has been worked in
sub work_goes_on
{
	my ($name) = @_;
	my $claimed = $node->safe_psql('postgres', 'SELECT count(*) FROM claimed');

	eventually($node, 60, 'postgres', "SELECT count(*) > $claimed + 20 FROM claimed", "$name: executions are claimed");
	return;
}

foreach my $round (1, 2)
{
	foreach my $profile (qw(lean contract))
	{
		my ($status, undef, $complaint) =
		  $node->psql('postgres', "SELECT job_index_statements('$profile') \\gexec");

		is("$status $complaint", '0 ', "round $round: to $profile, one by one");
		is(profile(), $profile, "round $round: and it is $profile");
		work_goes_on("round $round, $profile");
	}
	foreach my $profile (qw(lean contract))
	{
		$node->safe_psql('postgres', "SELECT use_job_indexes('$profile')");
		is(profile(), $profile, "round $round: to $profile, by the function");
		work_goes_on("round $round, $profile");
	}
}

# two sessions at once want different things: one after the other has its way
my @rivals = map { start_client($node, [ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', 'postgres', '-c', "SELECT use_job_indexes('$_')" ],
		err => $clients_said) } qw(lean contract lean contract);
ok(finished(60, @rivals), 'rivals come to an end');
like(profile(), qr/^(?:lean|contract)$/, 'and one of them has had the last word');
$node->safe_psql('postgres', q{SELECT use_job_indexes('lean')});
work_goes_on('at last');

is(scalar(running($load)), 1, 'no client has ended');
kill 'ALRM', $load;
ok(finished(60, $load), 'the clients end when told to');
like(slurp_file($clients_said), qr/number of failed transactions: 0 /, 'no transaction failed');
unlike(slurp_file($clients_said), qr/error|fatal|deadlock/i, 'nobody met an error');
is(complaints_in_log($node, $log), '', 'no deadlock, no internal error in the log');
is($node->safe_psql('postgres', q{SELECT c::text FROM claimed c GROUP BY c HAVING count(*) > 1 LIMIT 10}),
	'', 'nobody was given what another had been given');
is(broken_invariants($node, 'postgres'), '', 'every invariant holds');
$node->command_ok([ 'pg_amcheck', '--heapallindexed', '-t', 'jobs', '-t', 'job_executions', 'postgres' ], 'tables and indexes agree');

# --- interrupted ---

$node->safe_psql('postgres', q{SELECT use_job_indexes('contract')});
# a writer that does not end; of a prepared transaction there is no session to keep
$node->safe_psql('postgres', q{
	BEGIN;
	UPDATE job_executions SET status_details = '{}' WHERE ctid = (SELECT min(ctid) FROM job_executions);
	PREPARE TRANSACTION 'writer'});
is(sqlstate_of($node, 'postgres', q{SET lock_timeout = '50ms'; SELECT use_job_indexes('lean')}), '55P03', 'the function gives up when told to');
is(profile(), 'contract', 'and has done nothing');
my ($status, undef, $complaint) = $node->psql('postgres', q{
	SET lock_timeout = '50ms';
	SELECT job_index_statements('lean') \gexec
}, on_error_stop => 1);
like($complaint, qr/lock timeout/, 'a build that is interrupted');
is($node->safe_psql('postgres', q{SELECT state FROM iot_jobs_indexes() WHERE profile = 'lean'}), 'invalid', 'leaves an index that is no good');
is(profile(), 'mixed', 'which is seen');
$node->safe_psql('postgres', q{ROLLBACK PREPARED 'writer'});
$node->safe_psql('postgres', q{SELECT job_index_statements('lean') \gexec});
is(profile(), 'lean', 'and put right by the next');

# --- an addition that was prepared before the server stopped ---

# the marks know nothing of it
$node->safe_psql('postgres', q{
	INSERT INTO tenants (tenant_id) VALUES ('late');
	INSERT INTO devices (tenant_id, device_id) VALUES ('late', 'd1'), ('late', 'd2');
	SELECT create_job('late', 'x', target_device_id => 'd1', job_id => 'j');
	BEGIN;
	INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('late', 'j', 'd2');
	PREPARE TRANSACTION 'added';});
$node->restart;
eventually($node, 60, 'postgres', q{SELECT state IN ('idle', 'asleep') FROM iot_jobs_worker WHERE database = 'postgres'}, 'the launcher is there');
my $claim = q{SELECT string_agg(device_id, ' ') FROM claim_job_executions('late', 10)};
is($node->safe_psql('postgres', $claim), 'd1', 'what is there is claimed');
is($node->safe_psql('postgres', $claim), '', 'and nothing is left') for 1 .. 2;
$node->safe_psql('postgres', q{COMMIT PREPARED 'added'});
is($node->safe_psql('postgres', $claim), 'd2', 'what was prepared is found at once');

# --- dump and restore ---

my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'postgres' ], 'a dump');
$node->safe_psql('postgres', 'CREATE DATABASE again TEMPLATE template0');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'again', $dump ], 'is restored');
is(profile('again'), 'lean', 'the profile came with it');
is($node->safe_psql('again', q{SELECT reloptions FROM pg_class WHERE oid = 'job_executions'::regclass}), '{fillfactor=30}', 'and so did the fillfactor');
is($node->safe_psql('again', q{SELECT job_index_statements('lean', online => false)}), '', 'nothing is left to do');
guards_hold($node, 'again', 'there');

$node->stop;
done_testing();
