# Everybody does everything at once, and nobody dies of it: no deadlock, no internal
# error, every execution claimed once, every invariant held; then the work ends, and
# every job completes by itself.
#
# Twice: on plain tables, where the calls take short cuts to the rows, and on tables
# with a trigger of somebody else's, where they must not.
#
# IOT_JOBS_LONG: seconds of each of the two; ten unless told.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;
use Time::HiRes qw(time);

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

use IotJobsData;
use IotJobsSession;

my $seconds = $ENV{IOT_JOBS_LONG} // 10;
my $clients = 8;

my $node = data_server('load', conf => q{
shared_preload_libraries = 'iot_jobs'
max_connections = 50
deadlock_timeout = 100ms
iot_jobs.sweep_batch_rows = 50
iot_jobs.heal_interval = 1
});
$node->start;

$node->safe_psql('postgres', q{
	CREATE EXTENSION iot_jobs;
	CREATE SEQUENCE job_number;
	CREATE SEQUENCE extra_device;
	CREATE TABLE claimed (tenant_id text, job_id text, device_id text);
	CREATE FUNCTION add_tenant(tenant text) RETURNS void LANGUAGE sql VOLATILE AS $$
		WITH t AS (INSERT INTO tenants (tenant_id) VALUES (tenant) ON CONFLICT DO NOTHING RETURNING tenant_id),
			d AS (INSERT INTO devices (tenant_id, device_id) SELECT tenant_id, 'd' || i FROM t, generate_series(1, 30) i),
			g AS (INSERT INTO device_groups (tenant_id, group_id) SELECT tenant_id, 'g' FROM t)
		INSERT INTO device_group_members (tenant_id, group_id, device_id) SELECT tenant_id, 'g', 'd' || i FROM t, generate_series(1, 9) i
	$$;
	-- two that stay, and one that comes and goes
	SELECT add_tenant(t) FROM unnest('{t1,t2,t3}'::text[]) t;

	-- what a caller may be told; anything else ends the client, and fails the test
	CREATE FUNCTION attempt(call text) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		EXECUTE call;
	EXCEPTION WHEN SQLSTATE 'IJ001' OR SQLSTATE 'IJ002' OR SQLSTATE 'IJ003' OR SQLSTATE 'IJ004' OR foreign_key_violation THEN
	END $$;
	CREATE FUNCTION next_job() RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT 'j' || lpad(nextval('job_number')::text, 8, '0') $$;
	CREATE FUNCTION any_job(tenant text, wanted text DEFAULT '%') RETURNS text LANGUAGE sql VOLATILE AS $$
		SELECT COALESCE((
			SELECT job_id FROM jobs WHERE tenant_id = tenant AND status LIKE wanted
			ORDER BY job_id DESC OFFSET (random() * 6)::int LIMIT 1), 'there is none')
	$$;
});

# One file for each thing that people do, and how often.  Every statement is its own
# transaction but where several in one are the point.
my $any = '\set t random(1, 3)' . "\n" . '\set d random(1, 30)' . "\n";
my %does = (
	'create@5' => q{
		\set t random(1, 2)
		SELECT create_job('t:t', 'x', '{"n": 1}', target_group_id => 'g', job_id => next_job(), expires_in => '1 hour');},
	'create_short@1' => q{
		\set t random(1, 2)
		SELECT create_job('t:t', 'x', target_group_id => 'g', job_id => next_job(), expires_in => '1 ms');},
	'create_all@2' => q{
		SELECT attempt(format('SELECT create_job(%L, %L, target_all => true, job_id => %L)', 't:t', 'x', next_job()));},
	'claim@20' => q{
		INSERT INTO claimed SELECT tenant_id, job_id, device_id FROM start_next_pending_job_execution('t:t', 'd:d', '{"by": "claim"}')
		WHERE started_at = now();},
	'claim_batch@8' => q{INSERT INTO claimed SELECT tenant_id, job_id, device_id FROM claim_job_executions('t:t', 10);},
	'claim_devices@8' => q{INSERT INTO claimed SELECT tenant_id, job_id, device_id FROM claim_job_executions('t:t', 5, ARRAY['d:d', 'd1', 'd2', 'd3']);},
	'report@20' => q{
		SELECT attempt(format('SELECT update_job_execution(%L, %L, %L, %L, ''{"by": "report"}'')', 't:t', job_id, device_id,
			(ARRAY['SUCCEEDED', 'FAILED', 'REJECTED', 'IN_PROGRESS'])[1 + (random() * 3)::int]))
		FROM get_pending_job_executions('t:t', 'd:d', 1);},
	'report_batch@12' => q{
		SELECT count(*) FROM update_job_executions('t:t', (
			SELECT jsonb_agg(jsonb_build_object('job_id', job_id, 'device_id', device_id, 'status', 'SUCCEEDED') ORDER BY random())
			FROM (SELECT job_id, device_id FROM job_executions WHERE tenant_id = 't:t' AND status = 'IN_PROGRESS' LIMIT 20) e))
		WHERE EXISTS (SELECT FROM job_executions WHERE tenant_id = 't:t' AND status = 'IN_PROGRESS');},
	'cancel@2' => q{SELECT attempt(format('SELECT cancel_job(%L, %L, force => %L)', 't:t', any_job('t:t', 'IN_PROGRESS'), random() < 0.5));},
	'cancel_by_hand@1' => q{SELECT attempt(format('UPDATE jobs SET status = ''CANCELED'' WHERE tenant_id = %L AND job_id = %L', 't:t', any_job('t:t', 'IN_PROGRESS')));},
	'cancel_execution@3' => q{SELECT attempt(format('SELECT cancel_job_execution(%L, %L, %L, force => true)', 't:t', any_job('t:t'), 'd:d'));},
	'delete@2' => q{SELECT attempt(format('SELECT delete_job(%L, %L, force => %L)', 't:t', any_job('t:t'), random() < 0.3));},
	'delete_execution@2' => q{SELECT attempt(format('SELECT delete_job_execution(%L, %L, %L, force => true)', 't:t', any_job('t:t'), 'd:d'));},
	'purge@1' => q{SELECT purge_jobs('t:t', '1 second');},
	'update_job@2' => q{SELECT attempt(format('SELECT update_job(%L, %L, now() + interval ''1 hour'')', 't:t', any_job('t:t', 'IN_PROGRESS')));},
	'list@4' => q{SELECT count(*) FROM list_jobs('t:t', page_size => 20); SELECT count(*) FROM list_job_executions_for_device('t:t', 'd:d');},
	'describe@2' => q{
		SELECT attempt(format('SELECT describe_job(%L, %L)', 't:t', any_job('t:t')));
		SELECT attempt(format('SELECT describe_job_execution(%L, %L, %L)', 't:t', any_job('t:t'), 'd:d'));
		SELECT attempt(format('SELECT list_job_executions_for_job(%L, %L)', 't:t', any_job('t:t')));},
	'verify@1' => q{SELECT 1 / CASE WHEN EXISTS (SELECT FROM verify_jobs('t:t')) THEN 0 ELSE 1 END;},
	'tenant_goes@1' => q{DELETE FROM tenants WHERE tenant_id = 't3';},
	'tenant_comes@2' => q{SELECT add_tenant('t3');},
	'sweep@1' => q{SELECT run_job_sweep(100);},
	# the host's own way to take and to report, in one transaction and by hand.  Not where
	# the tenant goes: the second change of a row in a transaction has the server look at
	# its foreign key, so that it waits for the job while it holds the execution.
	'by_hand@6' => q{
		\set t random(1, 2)
		SELECT any_job('t:t', 'IN_PROGRESS') AS job \gset
		BEGIN;
		SELECT attempt(format('UPDATE job_executions SET status = ''IN_PROGRESS'', execution_number = execution_number + 1, started_at = now(), last_updated_at = now()
			WHERE tenant_id = %L AND job_id = %L AND device_id = %L AND status = ''QUEUED''', 't:t', CAST(:job AS text), 'd:d'));
		SELECT attempt(format('UPDATE job_executions SET status = ''FAILED'', execution_number = execution_number + 1
			WHERE tenant_id = %L AND job_id = %L AND device_id = %L AND status = ''IN_PROGRESS''', 't:t', CAST(:job AS text), 'd:d'));
		COMMIT;},
	# a job first, its executions afterwards: a cancel may come in between
	'create_by_hand@2' => q{
		SELECT next_job() AS job \gset
		SELECT attempt(format('INSERT INTO jobs (job_id, tenant_id, document_type, target_group_id, expires_at)
			VALUES (%L, %L, %L, %L, now() + interval ''1 hour'')', CAST(:job AS text), 't:t', 'x', 'g'));
		SELECT attempt(format('INSERT INTO job_executions (job_id, tenant_id, device_id)
			SELECT %L, tenant_id, device_id FROM device_group_members WHERE tenant_id = %L AND group_id = ''g''
			ORDER BY device_id ON CONFLICT DO NOTHING', CAST(:job AS text), 't:t'));},
	'add_by_hand@6' => q{
		SELECT attempt(format('INSERT INTO job_executions (job_id, tenant_id, device_id)
			SELECT %L, %L, ''x'' || nextval(''extra_device'') FROM generate_series(1, 3)', any_job('t:t', 'IN_PROGRESS'), 't:t'));});
my %files = map {
	my ($name, $weight) = split /\@/;

	# pgbench takes a statement to its semicolon, and leaves the colon of ':t' alone in quotes
	(my $text = $does{$_}) =~ s/'t:t'/('t' || :t)/g;
	$text =~ s/'d:d'/('d' || :d)/g;
	("$name\@$weight" => "$any$text\n");
} keys %does;

sub everybody
{
	my ($name, $watched, $enough) = @_;
	my $log = -s $node->logfile;
	my $deadlocks = $node->safe_psql('postgres', q{SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'});
	my $start = time;
	my $round = 0;

	# however slow the machine is, until there was some of everything
	do
	{
		$round++;
		$node->pgbench("--no-vacuum --client=$clients --jobs=2 --time=$seconds --protocol=prepared", 0,
			[qr/^number of failed transactions: 0 /m], [qr/\A(?:pgbench[^\n]*(?:progress|starting)[^\n]*\n)*\z/],
			"$name: $clients clients do everything for $seconds seconds",
			{ map { ("$name-$round-$_" => $files{$_}) } keys %files });
	} until ($node->safe_psql('postgres', $enough) eq 't' || time - $start > seconds(120));

	# --- what it left ---
	is($node->safe_psql('postgres', $enough), 't', "$name: jobs were made, executions claimed, and every end was come to");
	note($node->safe_psql('postgres', q{SELECT format('%s transactions, %s jobs, %s claims', xact_commit, (SELECT last_value FROM job_number), (SELECT count(*) FROM claimed))
		FROM pg_stat_database WHERE datname = current_database()}));
	is(broken_history($node, 'postgres'), '', "$name: no step that is none, no number used twice, nothing claimed twice") if $watched;
	is( $node->safe_psql('postgres', q{SELECT c::text FROM claimed c GROUP BY c HAVING count(*) > 1 LIMIT 10}),
		'', "$name: nobody was given what another had been given");
	is(complaints_in_log($node, $log), '', "$name: no deadlock, no internal error, no complaint of a worker in the log");
	is($node->safe_psql('postgres', q{SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'}), $deadlocks, "$name: no deadlock is counted");
	nothing_lost($node, 'postgres', $name);

	# --- the devices finish what there is, each job ends, and nobody says so ---
	$node->safe_psql('postgres', q{
		UPDATE job_executions SET status = 'IN_PROGRESS' WHERE status = 'QUEUED' AND (tenant_id, job_id) IN (SELECT tenant_id, job_id FROM jobs WHERE status = 'IN_PROGRESS');
		UPDATE job_executions SET status = 'SUCCEEDED' WHERE status = 'IN_PROGRESS';
	});
	eventually($node, 30, 'postgres', q{
			SELECT NOT EXISTS (SELECT FROM jobs j WHERE status = 'DELETION_IN_PROGRESS' OR status = 'IN_PROGRESS'
				AND EXISTS (SELECT FROM job_executions e WHERE e.tenant_id = j.tenant_id AND e.job_id = j.job_id))},
		"$name: every job with an execution completes, every deletion ends, by themselves");
	is($node->safe_psql('postgres', q{SELECT count(*) FROM job_executions WHERE status IN ('QUEUED', 'IN_PROGRESS')}), '0', "$name: nothing is open");
	nothing_lost($node, 'postgres', "$name, in the end");
	is(complaints_in_log($node, $log), '', "$name: and nobody complained to the end");
	return;
}

everybody('plain', 0, q{SELECT count(*) > 200 FROM claimed});
watch_executions($node, 'postgres');
everybody('watched', 1, q{
	SELECT bool_or(old_status = 'QUEUED' AND new_status = 'IN_PROGRESS') AND bool_or(new_status IN ('SUCCEEDED', 'FAILED'))
		AND bool_or(new_status = 'REJECTED') AND bool_or(new_status = 'TIMED_OUT') FROM execution_history});

# --- locks go by the collation, in which "a" comes before "B" and not after it ---

{
	$node->safe_psql('postgres', q{CREATE DATABASE words TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'en'});
	$node->safe_psql('words', q{
		CREATE EXTENSION iot_jobs;
		INSERT INTO tenants (tenant_id) VALUES ('t');
		INSERT INTO devices (tenant_id, device_id) VALUES ('t', 'a'), ('t', 'B');
		SELECT create_job('t', 'x', target_all => true, job_id => 'j')});
	my ($holder, $cancel, $batch) = map { IotJobsSession->new($node, 'words') } 1 .. 3;
	my $waiting = q{SELECT count(*) = %d FROM pg_stat_activity WHERE datname = 'words' AND wait_event_type = 'Lock'};

	$holder->run(q{BEGIN; SELECT FROM job_executions WHERE device_id = 'a' FOR UPDATE;});
	$cancel->say_to(q{SELECT status FROM cancel_job('t', 'j');});
	$node->poll_query_until('words', sprintf $waiting, 1);
	$batch->say_to(q{SELECT count(*) FROM update_job_executions('t',
		'[{"job_id": "j", "device_id": "a", "status": "SUCCEEDED"}, {"job_id": "j", "device_id": "B", "status": "SUCCEEDED"}]');});
	$node->poll_query_until('words', sprintf $waiting, 2);
	$holder->run('COMMIT;');
	is($cancel->answer, 'CANCELED', 'a job is canceled');
	is($batch->answer, '2', 'beside a batch of reports about it, in any order of ids');
	$_->quit foreach $holder, $cancel, $batch;
}

$node->stop;
done_testing();
