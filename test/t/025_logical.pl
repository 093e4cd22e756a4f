# Logical replication of the tables: a subscriber with the extension and without a
# worker has the same rows, and its guards let them pass.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

use IotJobsData;

my $publisher = data_server('publisher', init => { allows_streaming => 'logical' },
	conf => "shared_preload_libraries = 'iot_jobs'\n");
my $subscriber = data_server('subscriber', init => { allows_streaming => 'logical' },
	conf => "shared_preload_libraries = 'iot_jobs'\niot_jobs.worker_enabled = off\n");
$publisher->start;
$subscriber->start;

# the choice of the registry is each server's own
my @published = grep { $_ ne 'iot_jobs_fleet' } @IotJobsData::TABLES;

# a policy of the operator's own, which apply has to get past
my $own_policy = q{CREATE POLICY not_secret ON jobs AS RESTRICTIVE USING (document_type <> 'secret')};

$publisher->safe_psql('postgres', "CREATE EXTENSION iot_jobs; $own_policy");
$publisher->safe_psql('postgres', q{
	INSERT INTO tenants (tenant_id) VALUES ('acme'), ('globex');
	INSERT INTO devices (tenant_id, device_id) SELECT t, 'd' || i FROM unnest('{acme,globex}'::text[]) t, generate_series(1, 50) i;
	INSERT INTO device_groups (tenant_id, group_id) VALUES ('acme', 'g');
	INSERT INTO device_group_members (tenant_id, group_id, device_id) VALUES ('acme', 'g', 'd1'), ('acme', 'g', 'd2');
	SELECT create_job('acme', 'x', target_group_id => 'g', job_id => 'completed');
	SELECT update_job_execution('acme', 'completed', device_id, 'SUCCEEDED') FROM job_executions WHERE job_id = 'completed';
	SELECT create_job('acme', 'x', target_group_id => 'g', job_id => 'canceled');
	SELECT cancel_job('acme', 'canceled');
	SELECT create_job('acme', 'x', target_all => true, job_id => 'open');
	SELECT start_next_pending_job_execution('acme', 'd1');
});
eventually($publisher, 10, 'postgres', q{SELECT status = 'COMPLETED' FROM jobs WHERE job_id = 'completed'}, 'the publisher works');
$publisher->safe_psql('postgres', 'CREATE PUBLICATION everything FOR TABLE ' . join(', ', @published));

$subscriber->safe_psql('postgres', "CREATE EXTENSION iot_jobs; $own_policy");
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION everything CONNECTION '" . $publisher->connstr . " dbname=postgres' PUBLICATION everything");
$subscriber->wait_for_subscription_sync($publisher, 'everything');
same_lines(rows($subscriber, 'postgres', @published), rows($publisher, 'postgres', @published),
	'the first copy is equal, finished jobs and all');

# everything that changes rows, on the publisher
$publisher->safe_psql('postgres', q{
	SELECT create_job('globex', 'x', target_all => true, job_id => 'short', expires_in => '1 second');
	SELECT create_job('globex', 'x', target_all => true, job_id => 'deleted');
	SELECT count(*) FROM claim_job_executions('acme', 20);
	SELECT count(*) FROM update_job_executions('acme', (
		SELECT jsonb_agg(jsonb_build_object('job_id', job_id, 'device_id', device_id, 'status', 'FAILED', 'status_details', '{"why": "x"}'::jsonb))
		FROM job_executions WHERE tenant_id = 'acme' AND status = 'IN_PROGRESS'));
	SELECT cancel_job_execution('acme', 'open', 'd50');
	SELECT delete_job_execution('acme', 'open', 'd49');
	SELECT delete_job('globex', 'deleted', force => true);
	SELECT update_job('acme', 'open', now() + interval '1 hour');
	UPDATE job_executions SET status_details = '{"by": "hand"}' WHERE job_id = 'open' AND device_id = 'd48';
	SELECT create_job('acme', 'x', target_group_id => 'g', job_id => 'canceled too');
	UPDATE jobs SET status = 'CANCELED' WHERE job_id = 'canceled too';
});
eventually($publisher, 20, 'postgres', q{
		SELECT NOT EXISTS (SELECT FROM jobs WHERE job_id = 'deleted') AND (SELECT status = 'COMPLETED' FROM jobs WHERE job_id = 'short')},
	'the publisher expires, completes and deletes');
$publisher->wait_for_catchup('everything');
same_lines(rows($subscriber, 'postgres', @published), rows($publisher, 'postgres', @published), 'every change arrives as it was');
is( $subscriber->safe_psql('postgres', q{SELECT count(*) FROM job_executions WHERE status = 'TIMED_OUT'}),
	'50', 'those of the worker among them');
my $answers = q{SELECT d.status, d.queued, d.failed, d.rejected, (SELECT count(*) FROM list_jobs('acme')) FROM describe_job('acme', 'open') d};
is($subscriber->safe_psql('postgres', $answers), $publisher->safe_psql('postgres', $answers), 'the subscriber answers like the publisher');
is( $subscriber->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'iot_jobs worker'}),
	'0', 'no worker runs on the subscriber');
nothing_lost($subscriber, 'postgres', 'subscriber', late => 1);
is( $subscriber->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_subscription_stats WHERE apply_error_count > 0 OR sync_error_count > 0}),
	'0', 'no change was refused');
guards_hold($subscriber, 'postgres', 'subscriber');
same_lines(portrait($subscriber, 'postgres'), portrait($publisher, 'postgres'),
	'its definitions, policies, triggers and grants are those of the publisher');

# the subscriber takes over
$publisher->safe_psql('postgres', q{SELECT create_job('globex', 'x', target_all => true, job_id => 'inherited', expires_in => '1 hour')});
$publisher->wait_for_catchup('everything');
$publisher->stop('immediate');
$subscriber->safe_psql('postgres', q{
	ALTER SUBSCRIPTION everything DISABLE;
	ALTER SUBSCRIPTION everything SET (slot_name = NONE);
	DROP SUBSCRIPTION everything;
});
$subscriber->append_conf('postgresql.conf', 'iot_jobs.worker_enabled = on');
$subscriber->reload;
$subscriber->safe_psql('postgres', q{
	SELECT count(*) FROM claim_job_executions('globex', 100);
	SELECT count(*) FROM update_job_executions('globex', (
		SELECT jsonb_agg(jsonb_build_object('job_id', job_id, 'device_id', device_id, 'status', 'SUCCEEDED'))
		FROM job_executions WHERE tenant_id = 'globex' AND status = 'IN_PROGRESS'));
});
eventually($subscriber, 10, 'postgres', q{SELECT status = 'COMPLETED' FROM jobs WHERE job_id = 'inherited'},
	'taking over, it works on what it was sent');
is(complaints_in_log($subscriber), '', 'and never complained');
nothing_lost($subscriber, 'postgres', 'a subscriber that took over');
$subscriber->stop;

done_testing();
