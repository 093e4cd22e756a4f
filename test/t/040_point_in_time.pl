# Point-in-time recovery to moments under load: whatever the moment, what had been
# acknowledged before it is there, and what is there is whole.
#
# Three moments; a hundred if IOT_JOBS_LONG is set.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;
use Time::HiRes qw(time usleep);

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

use IotJobsData;

my $moments = $ENV{IOT_JOBS_LONG} ? 100 : 3;
# more than the moments need: the load is ended when they have been taken
my $calls = $ENV{IOT_JOBS_LONG} ? 20_000 : 600;
my $fleet = 500;

my $node = data_server('origin', init => { has_archiving => 1, allows_streaming => 1 },
	conf => "shared_preload_libraries = 'iot_jobs'\n");
$node->start;
$node->safe_psql('postgres', qq{
	CREATE EXTENSION iot_jobs;
	CREATE EXTENSION amcheck;
	CREATE POLICY not_secret ON jobs AS RESTRICTIVE USING (document_type <> 'secret');
	-- what one client cancels, no other may finish before: it has a tenant of its own
	INSERT INTO tenants (tenant_id) VALUES ('acme'), ('quiet');
	INSERT INTO devices (tenant_id, device_id) SELECT t, 'd' || i FROM unnest('{acme,quiet}'::text[]) t, generate_series(1, $fleet) i;
	SELECT create_job('acme', 'x', target_all => true, job_id => 'all');
});
my $portrait = portrait($node, 'postgres');
$node->backup('base');

# ----------------------------------------------------------------
# The load
# ----------------------------------------------------------------

# Each client writes down what it was told, as it is told: the call, and the row it
# is about, in the state it then had at least.
my $files = PostgreSQL::Test::Utils::tempdir;
my %script = map { $_ => '' } qw(claim report create cancel);

for my $i (1 .. $calls)
{
	my $device = 'd' . (1 + $i % $fleet);

	$script{claim} .= "SELECT 'claim', job_id, device_id, execution_number FROM claim_job_executions('acme', 2);\n";
	$script{report} .= "SELECT 'end', job_id, device_id, execution_number FROM start_next_pending_job_execution('acme', '$device') s,"
	  . " LATERAL (SELECT u.execution_number AS ended FROM update_job_execution('acme', s.job_id, '$device', 'SUCCEEDED') u) u;\n";
	$script{create} .= "SELECT 'new', job_id, '$device', 1 FROM create_job('acme', 'x', target_device_id => '$device', job_id => 'new-$i', expires_in => "
	  . ($i % 3 ? 'NULL' : "'1 second'") . ");\n";
	$script{cancel} .= "SELECT create_job('quiet', 'x', target_device_id => '$device', job_id => 'cancel-$i') \\g $files/ignored\n"
	  . "SELECT 'cancel', job_id, '$device', 1 FROM cancel_job('quiet', 'cancel-$i');\n"
	  . "SELECT 'delete', job_id, '$device', 1 FROM delete_job('quiet', 'cancel-$i');\n";
}

my @clients;
foreach my $name (sort keys %script)
{
	append_to_file("$files/$name.sql", $script{$name});
	push @clients, start_client($node, [ 'psql', '-XAtq', '-d', 'postgres', '-f', "$files/$name.sql" ],
		out => "$files/$name.out", err => "$files/$name.err");
}

# What the clients have been told by now; a line that is still being written has not
# been read by anybody.
sub told
{
	return join('', map { slurp_file("$files/$_.out") =~ /\A((?:.*\n)*)/ ? $1 : '' } sort keys %script);
}

# Moments by how much had been told, since a pause would be a guess.  What is told by
# then was committed before the position that is asked for afterwards.
my @after = sort { $a <=> $b } map { 20 + int(rand(2 * $calls)) } 1 .. $moments;
my @points;
foreach my $after (@after)
{
	my $deadline = time + seconds(120);
	my $told;

	until ((($told = told()) =~ tr/\n//) >= $after || !running(@clients) || time > $deadline)
	{
		usleep(2_000);
	}
	push @points, { told => $told, lsn => $node->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()') };
}
kill 'TERM', @clients;
ok(finished(60, @clients), 'the load is over');
is(slurp_file("$files/$_.err"), '', "without an error: $_") foreach sort keys %script;
is(complaints_in_log($node), '', 'and without a complaint');
$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
$node->stop;

# ----------------------------------------------------------------
# The recoveries
# ----------------------------------------------------------------

sub recover_to
{
	my ($number, $point) = @_;
	my $name = "moment $number at $point->{lsn}, " . ($point->{told} =~ tr/\n//) . ' calls acknowledged';
	my $restored = PostgreSQL::Test::Cluster->new("restored_$number");

	$restored->init_from_backup($node, 'base', has_restoring => 1, standby => 0);
	$restored->append_conf('postgresql.conf', qq{
		recovery_target_lsn = '$point->{lsn}'
		recovery_target_action = promote
		archive_mode = off
		iot_jobs.worker_enabled = off
	});
	$restored->start;
	eventually($restored, 60, 'postgres', 'SELECT NOT pg_is_in_recovery()', "$name: recovered");

	append_to_file("$files/$number.told", $point->{told});
	$restored->safe_psql('postgres', qq{
		CREATE TEMP TABLE told (what text, job_id text, device_id text, execution_number bigint);
		\\copy told FROM '$files/$number.told' WITH (DELIMITER '|')
		CREATE TABLE lost AS
		SELECT t::text AS told, j.status AS job, e.status AS execution
		FROM told t LEFT JOIN jobs j ON j.job_id = t.job_id
		LEFT JOIN job_executions e ON (e.job_id, e.device_id) = (t.job_id, t.device_id)
		WHERE CASE what
			WHEN 'new' THEN e.job_id IS NULL
			WHEN 'claim' THEN e.job_id IS NULL OR e.status = 'QUEUED' OR e.execution_number < t.execution_number
			WHEN 'end' THEN e.job_id IS NULL OR e.status <> 'SUCCEEDED' OR e.execution_number <= t.execution_number
			-- and what is deleted may be gone
			WHEN 'cancel' THEN j.status NOT IN ('CANCELED', 'DELETION_IN_PROGRESS')
			WHEN 'delete' THEN j.status <> 'DELETION_IN_PROGRESS'
			ELSE true END;
	});
	is($restored->safe_psql('postgres', 'SELECT * FROM lost LIMIT 10'), '', "$name: nothing that was acknowledged is lost");
	$restored->safe_psql('postgres', 'DROP TABLE lost');
	is( $restored->safe_psql('postgres', q{
			SELECT job_id FROM jobs j WHERE status = 'IN_PROGRESS' AND NOT EXISTS (
				SELECT FROM job_executions e WHERE (e.tenant_id, e.job_id) = (j.tenant_id, j.job_id)) LIMIT 10}),
		'', "$name: no job is half there");
	is(broken_invariants($restored, 'postgres'), '', "$name: every invariant holds");
	$restored->command_ok([ 'pg_amcheck', '--heapallindexed', '--no-dependent-toast', '-t', 'jobs', '-t', 'job_executions', 'postgres' ],
		"$name: tables and indexes agree");
	same_lines(portrait($restored, 'postgres'), $portrait, "$name: definitions, policies, triggers and grants");

	# it goes on from there, the worker by itself
	$restored->append_conf('postgresql.conf', 'iot_jobs.worker_enabled = on');
	$restored->reload;
	$restored->safe_psql('postgres', q{
		SELECT count(*) FROM unnest('{acme,quiet}'::text[]) tenant, LATERAL update_job_executions(tenant, (
			SELECT coalesce(jsonb_agg(jsonb_build_object('job_id', job_id, 'device_id', device_id, 'status', 'SUCCEEDED')), '[]')
			FROM job_executions e JOIN jobs j USING (tenant_id, job_id)
			WHERE e.tenant_id = tenant AND e.status IN ('QUEUED', 'IN_PROGRESS') AND j.status <> 'DELETION_IN_PROGRESS'))
	});
	eventually($restored, 60, 'postgres', q{SELECT NOT EXISTS (SELECT FROM jobs WHERE status NOT IN ('COMPLETED', 'CANCELED'))},
		"$name: and all work comes to its end");
	is(complaints_in_log($restored), '', "$name: without a complaint");
	$restored->stop;
	$restored->clean_node;
	return;
}

recover_to($_ + 1, $points[$_]) foreach 0 .. $#points;

done_testing();
