# describe_job and list_jobs know their counts without counting, and are right: after
# calls, after writes by hand, across restarts and prepared transactions, and while
# many sessions do all of that at once.
#
# The view iot_jobs_counters tells whether anything was counted.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

use IotJobsData;
use IotJobsSession;

# a longer run finds rarer things
my $seconds = $ENV{IOT_JOBS_LOAD_SECONDS} // 8;

my $node = data_server('counters', conf => q{
shared_preload_libraries = 'iot_jobs'
max_connections = 50
max_prepared_transactions = 10
iot_jobs.worker_enabled = off
autovacuum = off
});
$node->start;

$node->safe_psql('postgres', q{
	CREATE EXTENSION iot_jobs;
	INSERT INTO tenants (tenant_id) VALUES ('t');
	INSERT INTO devices (tenant_id, device_id) SELECT 't', 'd' || i FROM generate_series(1, 1000) i;

	-- with one snapshot: what is said, and what is there
	CREATE FUNCTION described(job text) RETURNS text LANGUAGE sql STABLE AS $$
		SELECT concat_ws(' ', total_executions, queued, in_progress, succeeded, failed, timed_out, rejected)
		FROM describe_job('t', job)
	$$;
	CREATE FUNCTION counted(job text) RETURNS text LANGUAGE sql STABLE AS $$
		SELECT concat_ws(' ', count(*), count(*) FILTER (WHERE status = 'QUEUED'), count(*) FILTER (WHERE status = 'IN_PROGRESS'),
			count(*) FILTER (WHERE status = 'SUCCEEDED'), count(*) FILTER (WHERE status = 'FAILED'),
			count(*) FILTER (WHERE status = 'TIMED_OUT'), count(*) FILTER (WHERE status = 'REJECTED'))
		FROM job_executions WHERE tenant_id = 't' AND job_id = job
	$$;
	CREATE FUNCTION compare(job text) RETURNS void LANGUAGE plpgsql STABLE AS $$
	DECLARE
		said text;
	BEGIN
		said := described(job);
		IF said <> counted(job) THEN
			RAISE EXCEPTION 'job % is described as %, and is %', job, said, counted(job);
		END IF;
	EXCEPTION WHEN SQLSTATE 'IJ001' THEN
	END $$;
});

# asks(job, how often it has to be counted, name): asked twice
sub asks
{
	my ($job, $expected, $name) = @_;
	my ($before, $said, $again, $after) = split /\n/, $node->safe_psql('postgres', qq{
		SELECT counted FROM iot_jobs_counters;
		SELECT described('$job'); SELECT described('$job');
		SELECT counted FROM iot_jobs_counters});
	my $right = $node->safe_psql('postgres', qq{SELECT counted('$job')});

	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is("$said, $again", "$right, $right", "$name: right");
	is($after - $before, $expected, "$name: counted $expected times of 2");
	return;
}

# --- what is noted ---
$node->safe_psql('postgres', q{SELECT create_job('t', 'x', target_all => true, job_id => 'j')});
asks('j', 0, 'a new job');
$node->safe_psql('postgres', q{SELECT claim_job_executions('t', 100)});
asks('j', 0, 'claimed');
$node->safe_psql('postgres', q{
	SELECT update_job_execution('t', 'j', device_id, 'SUCCEEDED') FROM job_executions
	WHERE tenant_id = 't' AND job_id = 'j' AND status = 'IN_PROGRESS' LIMIT 50});
asks('j', 0, 'reported');
$node->safe_psql('postgres', q{
	BEGIN;
	SELECT claim_job_executions('t', 10);
	SAVEPOINT a;
	SELECT claim_job_executions('t', 10);
	ROLLBACK TO a;
	COMMIT;
	BEGIN;
	SELECT claim_job_executions('t', 10);
	ROLLBACK});
asks('j', 0, 'claimed, and partly taken back');
my $old = IotJobsSession->new($node, 'postgres');
$old->run(q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT described('j');});
$node->safe_psql('postgres', q{SELECT count(*) FROM claim_job_executions('t', 1);} x 300);
is($old->run(q{SELECT described('j') = counted('j');}), 't', 'a snapshot from before so many transactions is told what it sees');
$old->run('COMMIT;');
$old->quit;
asks('j', 0, 'claimed by more transactions than there are places for');
$node->safe_psql('postgres', q{
	SELECT create_job('t', 'x', target_all => true, job_id => 'expired', expires_in => '1 ms');
	SELECT run_job_sweep()});
asks('expired', 0, 'expired');
is($node->safe_psql('postgres', q{
		SELECT (SELECT counted FROM iot_jobs_counters) - (CASE WHEN count(*) = 2 AND sum(total_executions) = 2000 THEN before.counted END)
		FROM (SELECT counted FROM iot_jobs_counters OFFSET 0) before, list_jobs('t') GROUP BY before.counted}), 0,
	'list_jobs counts nothing');

# --- what is not ---
$node->safe_psql('postgres', q{UPDATE job_executions SET status = 'REJECTED' WHERE tenant_id = 't' AND job_id = 'j' AND status = 'IN_PROGRESS'});
asks('j', 1, 'changed by hand');
$node->safe_psql('postgres', q{
	SET session_replication_role = replica;
	DELETE FROM job_executions WHERE tenant_id = 't' AND job_id = 'j' AND device_id = 'd1'});
asks('j', 1, 'changed while triggers do not fire');
$node->safe_psql('postgres', q{
	BEGIN;
	ALTER TABLE job_executions DISABLE TRIGGER iot_jobs_guard;
	DELETE FROM job_executions WHERE tenant_id = 't' AND job_id = 'j' AND device_id = 'd2';
	ALTER TABLE job_executions ENABLE TRIGGER iot_jobs_guard;
	COMMIT});
asks('j', 1, 'changed while the guard was disabled');
$node->safe_psql('postgres', q{VACUUM FULL job_executions});
asks('j', 1, 'after VACUUM FULL');
my ($before, $after) = split /\n/, $node->safe_psql('postgres', q{
	SELECT counted FROM iot_jobs_counters;
	SET default_transaction_isolation = serializable;
	DO 'BEGIN PERFORM described(''j''); END';
	SELECT counted FROM iot_jobs_counters});
is($after - $before, 1, 'a serializable transaction counts');
$node->restart;
asks('j', 1, 'after a restart');

# --- what commits without us ---
$node->safe_psql('postgres', q{
	BEGIN;
	SELECT claim_job_executions('t', 10);
	PREPARE TRANSACTION 'p'});
asks('j', 2, 'while a transaction is prepared');
$node->safe_psql('postgres', q{COMMIT PREPARED 'p'});
asks('j', 1, 'when it is committed');
$node->safe_psql('postgres', q{
	BEGIN;
	SELECT claim_job_executions('t', 10);
	PREPARE TRANSACTION 'p'});
$node->restart;
asks('j', 2, 'while a transaction was prepared before the server started');
$node->safe_psql('postgres', q{COMMIT PREPARED 'p'});
asks('j', 1, 'when that one is committed');

# --- what is wrong all the same is found ---
my $log = -s $node->logfile;
$node->safe_psql('postgres', q{
	BEGIN;
	SET LOCAL session_replication_role = replica;
	UPDATE job_executions SET status = 'SUCCEEDED' WHERE tenant_id = 't' AND job_id = 'j' AND status IN ('QUEUED', 'IN_PROGRESS');
	SET LOCAL session_replication_role = origin;
	COMMIT});
isnt($node->safe_psql('postgres', q{SELECT described('j')}), $node->safe_psql('postgres', q{SELECT counted('j')}),
	'a change that hides itself is not seen');
is($node->safe_psql('postgres', q{SELECT completed FROM run_job_sweep()}), 1, 'when the job completes');
like(slurp_file($node->logfile, $log), qr/counts of the executions of job "j" were wrong and are taken anew/, 'the log says so');
asks('j', 1, 'and it is counted anew');

# --- everybody at once ---
$node->safe_psql('postgres', q{
	DELETE FROM jobs;
	SELECT create_job('t', 'x', target_all => true, job_id => 'j' || i) FROM generate_series(1, 3) i});
my $any = "\\set d random(1, 1000)\n\\set j random(1, 3)\n\\set k random(0, 3)\n";
$node->pgbench("--no-vacuum --client=8 --jobs=2 --time=$seconds", 0,
	[qr/number of failed transactions: 0 /], [qr/\A(?:pgbench[^\n]*(?:progress|starting)[^\n]*\n)*\z/],
	'whoever asks is told what his snapshot sees',
	{
		'counters-work@20' => $any . q{
			BEGIN;
			SELECT count(*) FROM start_next_pending_job_execution('t', 'd' || :d);
			SAVEPOINT a;
			SELECT count(*) FROM claim_job_executions('t', 2, ARRAY['d' || (:d + 1), 'd' || (:d + 2)]);
			\if :k = 0
			ROLLBACK TO a;
			\endif
			SELECT compare('j' || :j);
			\if :k = 1
			ROLLBACK;
			\else
			COMMIT;
			\endif
			},
		'counters-report@20' => $any . q{
			SELECT count(*) FROM update_job_executions('t', (
				SELECT COALESCE(jsonb_agg(jsonb_build_object('job_id', job_id, 'device_id', device_id,
					'status', (ARRAY['SUCCEEDED', 'FAILED', 'REJECTED', 'IN_PROGRESS'])[1 + :k])), '[]')
				FROM get_pending_job_executions('t', 'd' || :d, 1)));
			},
		'counters-ask@20' => $any . q{
			SELECT compare('j' || :j), compare('life' || :k);
			},
		'counters-ask-again@5' => $any . q{
			BEGIN ISOLATION LEVEL REPEATABLE READ;
			SELECT compare('j1');
			\sleep 2 ms
			SELECT compare('j' || :j);
			\sleep 5 ms
			SELECT compare('j' || :j);
			COMMIT;
			},
		'counters-hand@1' => $any . q{
			INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('t', 'j' || :j, 'x' || :d) ON CONFLICT DO NOTHING;
			SELECT compare('j' || :j);
			DELETE FROM job_executions WHERE tenant_id = 't' AND job_id = 'j' || :j AND device_id = 'x' || :d;
			},
		'counters-prepare@1' => $any . q{
			BEGIN;
			SELECT count(*) FROM claim_job_executions('t', 2, ARRAY['d' || :d]);
			PREPARE TRANSACTION 'p:client_id';
			SELECT compare('j' || :j);
			COMMIT PREPARED 'p:client_id';
			},
		'counters-life@2' => $any . q{
			SELECT count(*) FROM create_job('t', 'x', target_all => true, job_id => 'life' || :client_id);
			SELECT compare('life' || :client_id);
			SELECT count(*) FROM cancel_job('t', 'life' || :client_id, force => true);
			SELECT compare('life' || :client_id);
			DELETE FROM jobs WHERE tenant_id = 't' AND job_id = 'life' || :client_id;
			},
	});
my ($answered, $counted) = split /\|/, $node->safe_psql('postgres', q{SELECT answered, counted FROM iot_jobs_counters});
cmp_ok($answered, '>', 0, 'some were told without counting');
note("$answered answered, $counted counted");
$node->safe_psql('postgres', q{SELECT count(*) FROM list_jobs('t')});
asks("j$_", 0, "job j$_ in the end") foreach 1 .. 3;

# --- without preloading ---
$node->append_conf('postgresql.conf', q{shared_preload_libraries = ''});
$node->restart;
is($node->safe_psql('postgres', q{SELECT described('j1') = counted('j1'), count(*) FROM iot_jobs_counters}), 't|0',
	'without preloading there are no counters, and the counts are right');

done_testing();
