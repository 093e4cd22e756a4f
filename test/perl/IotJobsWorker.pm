# What the tests of the worker share: a server, a fleet, and patience with a limit.

package IotJobsWorker;

use strict;
use warnings;

use Exporter qw(import);
use Test::More;
use Time::HiRes qw(time usleep);

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(
  new_server seconds within add_fleet job_becomes
  worker_pid worker_returns launcher_pid launcher_returns worker_count
);

# A limit in seconds.  A test that passes does not wait for it, so it is a minute at
# least: nothing here is about speed.  Longer where the whole suite is given more time
# (valgrind, a slow machine).
sub seconds
{
	my ($seconds) = @_;
	my $factor = $PostgreSQL::Test::Utils::timeout_default / 180;

	$seconds = 60 if $seconds < 60;
	return $factor > 1 ? $seconds * $factor : $seconds;
}

sub new_server
{
	my ($name, %option) = @_;

	my $node = PostgreSQL::Test::Cluster->new($name);
	my %init = %{ $option{init} // {} };

	# whatever locale the tests run in
	$init{extra} = [ '--encoding=UTF8', '--no-locale', @{ $init{extra} // [] } ];
	$node->init(%init);
	# autovacuum would run transactions of its own
	$node->append_conf('postgresql.conf', qq(
autovacuum = off
restart_after_crash = on
max_prepared_transactions = 10
iot_jobs.worker_idle_timeout = 1h
));
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'iot_jobs'\n")
	  if $option{preload};
	$node->append_conf('postgresql.conf', $option{conf}) if $option{conf};
	$node->start if $option{start} // 1;
	return $node;
}

# Poll until the query says true, for at most so many seconds; the server may be
# restarting meanwhile.
sub within
{
	my ($node, $limit, $database, $query, $name) = @_;

	my $start = time;
	my ($code, $out, $err);
	do
	{
		($code, $out, $err) = $node->psql($database, $query);
		if ($code == 0 && $out eq 't')
		{
			pass($name);
			return 1;
		}
		usleep(20_000);
	} while (time - $start < seconds($limit));
	diag("after " . seconds($limit) . " s: $query\ngave: $out\n$err");
	diag($node->psql($database, 'SELECT * FROM iot_jobs_worker'));
	fail($name);
	return 0;
}

sub add_fleet
{
	my ($node, $database, $devices) = @_;

	$node->safe_psql($database, qq(
INSERT INTO tenants (tenant_id) VALUES ('acme');
INSERT INTO devices (tenant_id, device_id)
  SELECT 'acme', 'd' || g FROM generate_series(1, $devices) g;));
	return;
}

sub job_becomes
{
	my ($node, $limit, $database, $job, $status, $name) = @_;

	return within($node, $limit, $database,
		"SELECT status = '$status' FROM jobs WHERE job_id = '$job'",
		$name // "job $job becomes $status");
}

sub worker_pid
{
	my ($node, $database) = @_;

	return $node->safe_psql('postgres', qq(
SELECT pid FROM pg_stat_activity
 WHERE backend_type = 'iot_jobs worker' AND datname = '$database'));
}

sub worker_count
{
	my ($node) = @_;

	return $node->safe_psql('postgres',
		"SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'iot_jobs worker'");
}

sub worker_returns
{
	my ($node, $limit, $database, $old_pid, $name) = @_;

	return within($node, $limit, 'postgres', qq(
SELECT EXISTS (SELECT FROM pg_stat_activity
                WHERE backend_type = 'iot_jobs worker' AND datname = '$database' AND pid <> $old_pid)),
		$name);
}

sub launcher_pid
{
	my ($node) = @_;

	return $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'iot_jobs launcher'");
}

sub launcher_returns
{
	my ($node, $limit, $old_pid, $name) = @_;

	return within($node, $limit, 'postgres', qq(
SELECT EXISTS (SELECT FROM pg_stat_activity
                WHERE backend_type = 'iot_jobs launcher' AND pid <> $old_pid)), $name);
}

1;
