# A standby has no worker; promotion starts it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use PostgreSQL::Test::Cluster;
use IotJobsData qw(nothing_lost);
use IotJobsWorker;

for my $preload (1, 0)
{
	my $mode = $preload ? 'preload' : 'session';
	my $primary = new_server("primary_$mode", preload => $preload, init => { allows_streaming => 1 });

	$primary->safe_psql('postgres', 'CREATE EXTENSION iot_jobs');
	add_fleet($primary, 'postgres', 3);
	$primary->backup('backup');

	my $standby = PostgreSQL::Test::Cluster->new("standby_$mode");
	$standby->init_from_backup($primary, 'backup', has_streaming => 1);
	$standby->start;

	$primary->safe_psql('postgres', q(
SELECT create_job('acme', 'reboot', target_all => true, job_id => 'before', expires_in => '2 seconds')));
	$primary->wait_for_catchup($standby);

	is($standby->safe_psql('postgres', q(SELECT total_executions FROM describe_job('acme', 'before'))),
		'3', "$mode: a standby answers");
	is($standby->safe_psql('postgres', q(SELECT database, pid, state FROM iot_jobs_worker)),
		'postgres||standby', "$mode: and says what it is");
	job_becomes($primary, 10, 'postgres', 'before', 'COMPLETED', "$mode: the primary works");
	$primary->wait_for_catchup($standby);
	is($standby->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'iot_jobs%')),
		'0', "$mode: neither launcher nor worker on the standby");

	$primary->safe_psql('postgres', q(
SELECT create_job('acme', 'reboot', target_all => true, job_id => 'across', expires_in => '1 hour');
UPDATE jobs SET expires_at = now() + interval '100 ms' WHERE job_id = 'across';));
	$primary->wait_for_catchup($standby);
	$primary->stop('immediate');
	$standby->promote;
	$standby->safe_psql('postgres', q(SELECT count(*) FROM list_jobs('acme'))) unless $preload;
	job_becomes($standby, 20, 'postgres', 'across', 'COMPLETED', "$mode: after promotion the standby works");
	is($standby->safe_psql('postgres', q(SELECT started_by FROM iot_jobs_worker WHERE database = 'postgres')),
		$mode, "$mode: as its predecessor did");
	nothing_lost($standby, 'postgres', "$mode: promoted");
	$standby->stop;
}

done_testing();
