# Fail at every step between two effects, in every way: an error, the end of the
# session, a timeout, kill -9 of the process.  Whatever was not acknowledged has happened as a
# whole or not at all, and then happens when it is asked for again; what was
# acknowledged is there; the worker does by itself what it did not come to.
#
# Needs a build with -DIOT_JOBS_FAULTS (see src/fault.h), as ./check makes one.  With
# IOT_JOBS_LONG=1 every step meets every fault in every call that comes to it, on
# tables that are reached directly and on tables that are reached through SQL.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;
use Time::HiRes qw(time usleep);

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

use IotJobsData;
use IotJobsSession;

my $long = $ENV{IOT_JOBS_LONG};
my $node = data_server('faults', conf => q{
shared_preload_libraries = 'iot_jobs'
restart_after_crash = on
shared_buffers = 16MB
max_connections = 20
max_prepared_transactions = 5
fsync = off
autovacuum = off
iot_jobs.worker_enabled = off
iot_jobs.heal_interval = 0
});
$node->start;

my ($missing, $points) = $node->psql('postgres', 'SHOW iot_jobs.fault_points');
if ($missing)
{
	$node->stop;
	plan skip_all => 'the library was built without -DIOT_JOBS_FAULTS';
}

$node->safe_psql('postgres', 'CREATE EXTENSION iot_jobs');

# ----------------------------------------------------------------
# Faults
# ----------------------------------------------------------------

my $serial = 0;
my $armed = $node->data_dir . '/iot_jobs.fault';
my %met;      # point => { action => times }
my $faults = 0;

sub arm
{
	my ($point, $action, $skip) = @_;

	append_to_file("$armed.new", ++$serial . " $point $action $skip\n");
	rename("$armed.new", $armed) or die "could not arm: $!";
	return;
}

# Wait until somebody met the fault, for as long as that may take him.
sub was_met
{
	my ($point, $action, $limit) = @_;
	my $start = time;

	usleep(5_000) while -e $armed && time - $start < seconds($limit);
	return 0 if unlink $armed;
	$met{$point}{$action}++;
	$faults++;
	return 1;
}

# What the database says, however often it has to be asked while the server recovers.
sub steady
{
	my ($sql) = @_;
	my $start = time;
	my ($status, $stdout, $stderr);

	do
	{
		($status, $stdout, $stderr) = $node->psql('postgres', $sql);
		return $stdout if $status == 0;
		usleep(10_000);
	} while (time - $start < seconds(60));
	die "the server does not answer: $stderr";
}

sub wait_for_recovery
{
	my ($log) = @_;

	$node->wait_for_log(qr/database system is ready to accept connections/, $log);
	return;
}

# ----------------------------------------------------------------
# Calls
# ----------------------------------------------------------------

# Each turn has a tenant of its own, :t, with that many devices and a job "j" unless it
# is the call that makes it.  Status and expiry of jobs, executions by status and number:
my $state = q{
	SELECT COALESCE((SELECT string_agg(format('%s%s', status, CASE WHEN expires_at IS NOT NULL THEN ' expires' END), ' ' ORDER BY job_id)
			FROM jobs WHERE tenant_id = ':t'), 'no job')
		|| COALESCE((SELECT string_agg(format(', %s %s #%s', n, status, execution_number), '' ORDER BY status, execution_number)
			FROM (SELECT status, execution_number, count(*) AS n FROM job_executions WHERE tenant_id = ':t' GROUP BY 1, 2) e), '')};
my @ends = qw(before_commit committed told);

# point@skip: the fault is met the time after that
my %calls = (
	create => {
		devices => 2500, bare => 1, done => 'IN_PROGRESS expires, 2500 QUEUED #1',
		call => q{SELECT create_job(':t', 'x', target_all => true, job_id => 'j', expires_in => '1 hour')},
		points => [ 'job_inserted', 'rows_inserted@1', 'batch_added@0', 'batch_added@1', 'batch_added@2', 'all_added', @ends ] },
	start => {
		devices => 2, done => 'IN_PROGRESS, 1 IN_PROGRESS #2, 1 QUEUED #1',
		call => q{SELECT start_next_pending_job_execution(':t', 'd2')},
		points => [ 'row_found', 'row_changed', 'execution_claimed' ] },
	claim_devices => {
		devices => 4, done => 'IN_PROGRESS, 3 IN_PROGRESS #2, 1 QUEUED #1',
		call => q{SELECT claim_job_executions(':t', 10, '{d1,d2,d3}')},
		points => [ 'row_found@0', 'row_changed@2', 'execution_claimed' ] },
	claim_tenant => {
		devices => 4, done => 'IN_PROGRESS, 3 IN_PROGRESS #2, 1 QUEUED #1',
		call => q{SELECT claim_job_executions(':t', 3)},
		points => [ 'row_changed@1', 'execution_claimed' ] },
	report => {
		devices => 2, done => 'IN_PROGRESS, 1 QUEUED #1, 1 SUCCEEDED #2',
		call => q{SELECT update_job_execution(':t', 'j', 'd1', 'SUCCEEDED')},
		points => [ 'row_found', 'row_changed', 'execution_changed', @ends ] },
	report_batch => {
		devices => 4, done => 'IN_PROGRESS, 1 QUEUED #1, 3 SUCCEEDED #2',
		call => q{SELECT update_job_executions(':t', '[{"job_id": "j", "device_id": "d1", "status": "SUCCEEDED"},
			{"job_id": "j", "device_id": "d3", "status": "SUCCEEDED"}, {"job_id": "j", "device_id": "d2", "status": "SUCCEEDED"}]')},
		points => [ 'row_changed@1', 'execution_changed@0', 'execution_changed@2', @ends ] },
	cancel => {
		devices => 2500, done => 'CANCELED, 2500 REJECTED #2',
		call => q{SELECT cancel_job(':t', 'j')},
		points => [ 'job_locked', 'row_changed@1500', 'batch_rejected@0', 'batch_rejected@1', 'batch_rejected@2', 'job_canceled', @ends ] },
	cancel_execution => {
		devices => 2, done => 'IN_PROGRESS, 1 QUEUED #1, 1 REJECTED #2',
		call => q{SELECT cancel_job_execution(':t', 'j', 'd1')},
		points => [ 'row_found', 'row_changed', 'execution_changed', @ends ] },
	delete_execution => {
		devices => 2, done => 'IN_PROGRESS, 1 QUEUED #1',
		call => q{SELECT delete_job_execution(':t', 'j', 'd1')},
		points => [ 'execution_deleted', @ends ] },
	update => {
		devices => 2, done => 'IN_PROGRESS expires, 2 QUEUED #1',
		call => q{SELECT update_job(':t', 'j', now() + interval '1 day')},
		points => [ 'job_locked', 'expiry_moved', @ends ] },
	delete => {
		devices => 2, done => 'DELETION_IN_PROGRESS, 2 QUEUED #1',
		call => q{SELECT delete_job(':t', 'j', force => true)},
		points => [ 'job_locked', 'job_marked', @ends ] },
	purge => {
		devices => 2, done => 'DELETION_IN_PROGRESS, 2 REJECTED #2', setup => q{SELECT cancel_job(':t', 'j')},
		call => q{SELECT purge_jobs(':t', '0')},
		points => [ 'jobs_marked', @ends ] },
	use_fleet => {
		devices => 1, state => q{SELECT devices, group_members FROM iot_jobs_fleet}, done => 'devices|',
		setup => q{SELECT use_fleet('devices', 'device_group_members')},
		call => q{SELECT use_fleet('devices')},
		points => ['fleet_chosen'] },
	add_by_hand => {
		devices => 2, done => 'IN_PROGRESS, 4 QUEUED #1',
		call => q{INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES (':t', 'j', 'x1'), (':t', 'j', 'x2')},
		points => ['guard_holds_job'] },
	cancel_by_hand => {
		devices => 1200, done => 'CANCELED, 1200 REJECTED #2',
		call => q{UPDATE jobs SET status = 'CANCELED' WHERE tenant_id = ':t'},
		points => [ 'batch_rejected', 'row_changed@1100', 'guard_rejected', @ends ] },
	# one bad job does not end a sweep, so that this call returns is no promise for the job
	sweep_expired => {
		devices => 20, done => 'COMPLETED expires, 20 TIMED_OUT #2', no_promise => 1,
		setup => q{UPDATE jobs SET expires_at = now() WHERE tenant_id = ':t'},
		call => q{SELECT run_job_sweep()},
		points => [ 'expiry_begun', 'row_changed@7', 'batch_expired', 'job_held', 'completion_begun', 'job_completed', @ends ] },
	sweep_deleted => {
		devices => 20, done => 'no job', no_promise => 1,
		setup => q{SELECT delete_job(':t', 'j', force => true)},
		call => q{SELECT run_job_sweep()},
		points => [ 'row_found@7', 'batch_deleted', 'job_deleted', @ends ] },
);

my $turn = 0;

sub begin_turn
{
	my ($call) = @_;
	my $tenant = 't' . ++$turn;
	my $setup = qq{
		INSERT INTO tenants (tenant_id) VALUES ('$tenant');
		INSERT INTO devices (tenant_id, device_id) SELECT '$tenant', 'd' || i FROM generate_series(1, $call->{devices}) i;};

	$setup .= "SELECT create_job('$tenant', 'x', target_all => true, job_id => 'j');" unless $call->{bare};
	$setup .= ($call->{setup} // '') =~ s/:t/$tenant/gr;
	$node->safe_psql('postgres', $setup);
	return $tenant;
}

# One call that meets one fault.
sub fail_once
{
	my ($name, $point, $skip, $action) = @_;
	my $call = $calls{$name};
	my $what = "$name, $action at $point" . ($skip ? " after $skip" : '');
	my $tenant = begin_turn($call);
	my $look = ($call->{state} // $state) =~ s/:t/$tenant/gr;
	my $do = $call->{call} =~ s/:t/$tenant/gr;
	my $before = steady($look);
	my $log = -s $node->logfile;
	my ($status, $after);
	my @problems;

	arm($point, $action, $skip);
	($status) = $node->psql('postgres', ($action eq 'wait' ? q{SET statement_timeout = '1s'; } : '') . $do);
	unlink "$armed.waiting";
	return fail("$what: not met") if !was_met($point, $action, 0);
	# what fails after the commit takes the server with it, however it fails
	wait_for_recovery($log) if $action eq 'kill' || $point =~ /^(?:committed|told)$/;

	$after = steady($look);
	push @problems, "half done: $after, from $before" if $after ne $before && $after ne $call->{done};
	push @problems, "acknowledged, and not done: $after" if $status == 0 && $after ne $call->{done} && !$call->{no_promise};
	if ($after eq $before)
	{
		steady($do);
		$after = steady($look);
		push @problems, "not done at the second time: $after" if $after ne $call->{done};
	}
	return is(join("\n", @problems), '', $what);
}

# Every call, every step.  In the short run each step meets an error or the end of its
# session, and each point is killed once: a crash takes a second.
sub fail_everywhere
{
	my $turns = 0;

	foreach my $name (sort keys %calls)
	{
		foreach my $step (@{ $calls{$name}{points} })
		{
			my ($point, $skip) = split /\@/, $step;
			# a timeout is no more when all is done but the commit, and nothing interrupts what is committed
			my @actions = $point =~ /^(?:before_commit|committed|told)$/ ? qw(error fatal kill) : qw(error fatal wait kill);

			@actions = ($met{$point}{kill} ? () : 'kill', $turns++ % 2 ? 'error' : 'fatal') if !$long;
			# what fails after the commit is a crash, however it fails
			@actions = 'kill' if !$long && $point =~ /^(?:committed|told)$/;
			next if !$long && $point =~ /^(?:before_commit|committed|told)$/ && $met{$point}{kill};
			fail_once($name, $point, $skip // 0, $_) foreach @actions;
		}
	}
	return;
}

fail_everywhere();
nothing_lost($node, 'postgres', 'calls that failed', late => 1);

if ($long)
{
	# somebody else's trigger closes the short cut to the rows
	$node->safe_psql('postgres', q{
		CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
		CREATE TRIGGER somebodys AFTER INSERT OR UPDATE OR DELETE ON job_executions EXECUTE FUNCTION nothing();
	});
	@{ $_->{points} } = grep { !/^rows?_/ } @{ $_->{points} } foreach values %calls;
	fail_everywhere();
	nothing_lost($node, 'postgres', 'calls through SQL that failed', late => 1);
	$node->safe_psql('postgres', 'DROP FUNCTION nothing() CASCADE');
}

# ----------------------------------------------------------------
# The slow
# ----------------------------------------------------------------

# Wait until somebody waits there.
sub waits_at
{
	my ($point) = @_;
	my $met = was_met($point, 'wait', 30);
	my $deadline = time + seconds(30);

	usleep(5_000) until -e "$armed.waiting" || time > $deadline;
	return $met;
}

# One claim stops when it has its execution, others go on: their devices do not come
# again before all the others have had their turn.
{
	my $tenant = begin_turn({ devices => 9, setup => q{SELECT create_job(':t', 'x', target_all => true)} });
	my $claim = "SELECT device_id FROM claim_job_executions('$tenant', 1)";
	my $slow = $node->background_psql('postgres');

	arm('execution_claimed', 'wait', 0);
	$slow->{stdin} .= "$claim;\n";
	$slow->{run}->pump_nb;
	ok(waits_at('execution_claimed'), 'a claim is slow');
	my @others = map { $node->safe_psql('postgres', $claim) } 1 .. 3;
	unlink "$armed.waiting";
	$slow->query_safe('SELECT 1');
	my @later = map { $node->safe_psql('postgres', $claim) } 1 .. 5;
	is("@others @later", 'd1 d2 d3 d4 d5 d6 d7 d8', 'and takes nobody back');
	$slow->quit;
}

# ----------------------------------------------------------------
# Marks
# ----------------------------------------------------------------

# In the lean profile a claim that finds nothing leaves a mark for minutes.
$node->safe_psql('postgres', q{SELECT use_job_indexes('lean')});

# Somebody prepares an addition while another is the first who comes to the tenant's
# room, whatever the room was asked for before.
{
	my $tenant = begin_turn({ devices => 2, bare => 1, setup => q{SELECT create_job(':t', 'x', target_device_id => 'd1', job_id => 'j')} });
	my $claim = "SELECT string_agg(device_id, ' ') FROM claim_job_executions('$tenant', 10)";
	my $first;

	$node->restart;
	$first = IotJobsSession->new($node, 'postgres');
	arm('room_entered', 'wait', 0);
	$first->say_to("$claim;");
	ok(waits_at('room_entered'), 'a claim comes to a room first');
	$node->safe_psql('postgres', qq{
		BEGIN;
		INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('$tenant', 'j', 'd2');
		PREPARE TRANSACTION 'added';});
	unlink "$armed.waiting";
	is($first->answer, 'd1', 'and claims what is there');
	is($node->safe_psql('postgres', $claim), '', 'then nothing is left') for 1 .. 2;
	$node->safe_psql('postgres', q{COMMIT PREPARED 'added'});
	is($node->safe_psql('postgres', $claim), 'd2', 'what was prepared meanwhile is found');
	$first->quit;
}

# Somebody adds an execution who could not attach to the memory that all share.
{
	my $tenant = begin_turn({ devices => 2, bare => 1 });
	my $claim = "SELECT string_agg(device_id, ' ') FROM claim_job_executions('$tenant', 10)";

	is($node->safe_psql('postgres', $claim), '', 'nothing is there') for 1 .. 2;
	arm('attaching', 'error', 0);
	$node->safe_psql('postgres', "SELECT create_job('$tenant', 'x', target_device_id => 'd2')");
	ok(was_met('attaching', 'error', 0), 'a session that cannot attach creates a job');
	is($node->safe_psql('postgres', $claim), 'd2', 'which is found at once');
}

foreach my $point (qw(attaching room_entered))
{
	my $tenant = begin_turn({ devices => 1 });
	my $log;

	# so that it is the first again
	$node->restart;
	$log = -s $node->logfile;
	arm($point, 'kill', 0);
	$node->psql('postgres', "SELECT claim_job_executions('$tenant', 1)");
	ok(was_met($point, 'kill', 0), "a claim is killed, $point");
	wait_for_recovery($log);
	is(steady("SELECT device_id FROM claim_job_executions('$tenant', 1)"), 'd1', 'and served when it comes again');
}
$node->safe_psql('postgres', q{SELECT use_job_indexes('contract')});

# ----------------------------------------------------------------
# The worker
# ----------------------------------------------------------------

$node->safe_psql('postgres', q{SELECT run_job_sweep(1000000); DELETE FROM tenants});
$node->append_conf('postgresql.conf', 'iot_jobs.worker_enabled = on');
$node->reload;

my $gone = q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'iot_jobs %s'};
my %work = (
	expire => [ q{UPDATE jobs SET expires_at = now() WHERE tenant_id = ':t'}, 'COMPLETED expires, 3 TIMED_OUT #2' ],
	complete => [ q{UPDATE job_executions SET status = 'SUCCEEDED' WHERE tenant_id = ':t'}, 'COMPLETED, 3 SUCCEEDED #2' ],
	delete => [ q{SELECT delete_job(':t', 'j', force => true)}, 'no job' ]);
# point => what makes the worker come there
my @worker = (
	[ expiry_begun => 'expire' ], [ batch_expired => 'expire' ], [ row_changed => 'expire', skip => 1 ],
	[ job_held => 'complete' ], [ completion_begun => 'complete' ], [ job_completed => 'complete' ],
	[ batch_deleted => 'delete' ], [ job_deleted => 'delete' ],
	[ before_commit => 'expire', held => 1 ], [ committed => 'expire', held => 1 ], [ told => 'expire', held => 1 ],
	[ worker_visited => 'delete' ], [ worker_committed => 'complete' ], [ worker_listed => 'expire' ],
	[ worker_began => 'complete', restarted => 'worker' ], [ worker_connected => 'expire', restarted => 'worker' ],
	[ launcher_entered => 'delete', restarted => 'launcher' ]);

sub work_in_spite
{
	my ($action, $point, $work, %option) = @_;
	my $what = "the worker, $action at $point";
	my $tenant = begin_turn({ devices => 3 });
	my ($do, $done) = map { s/:t/$tenant/gr } @{ $work{$work} };
	my $look = $state =~ s/:t/$tenant/gr;
	my $log = -s $node->logfile;
	my $holder;

	# a session comes to these points, too: the worker can only after it, when it is let
	if ($option{held})
	{
		$holder = $node->background_psql('postgres');
		$holder->query_safe("BEGIN; SELECT FROM job_executions WHERE tenant_id = '$tenant' FOR UPDATE");
		$node->safe_psql('postgres', $do);
	}
	arm($point, $action, $option{skip} // 0);
	$holder->query_safe('COMMIT') if $option{held};
	$node->psql('postgres', $do) if !$option{held};
	$node->psql('postgres', sprintf($gone, $option{restarted})) if $option{restarted};
	return fail("$what: not met") if !was_met($point, $action, 30);
	wait_for_recovery($log) if $action eq 'kill' || $point =~ /^(?:committed|told)$/;
	$holder->{run}->kill_kill if $option{held};
	# the session that asked for it may have been killed with all the others
	steady($do) if steady($look) =~ /^IN_PROGRESS, 3 QUEUED #1/;
	return eventually($node, 60, 'postgres', "SELECT ($look) = '$done'", "$what: does its work");
}

my $steps = 0;
foreach my $step (@worker)
{
	my @actions = qw(error fatal kill);

	@actions = ($step->[0] =~ /^(?:worker|launcher)/ ? 'kill' : (), $steps++ % 2 ? 'fatal' : 'error') if !$long;
	work_in_spite($_, @$step) foreach @actions;
}

# A row was free when it was looked at, and is held when it is to be changed: who waits
# for nobody does not wait for that either, nor fails.  The worker comes again.
#
# On a server with assertions an update locks the row before, see direct_rows.c.
my $locks_before = $node->safe_psql('postgres', 'SHOW debug_assertions') eq 'on';

foreach my $work ($locks_before ? 'delete' : qw(expire delete))
{
	my $tenant = begin_turn({ devices => 3 });
	my ($do, $done) = map { s/:t/$tenant/gr } @{ $work{$work} };
	my $look = $state =~ s/:t/$tenant/gr;
	my $began = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
	my $worker = 'FROM iot_jobs_worker WHERE database = current_database()';
	my $holder = $node->background_psql('postgres');

	arm('row_found', 'wait', 0);
	$node->safe_psql('postgres', $do);
	ok(waits_at('row_found'), "$work: the worker is about to change a row");
	$holder->query_safe("BEGIN; SELECT FROM job_executions WHERE tenant_id = '$tenant' FOR UPDATE");
	unlink "$armed.waiting";
	eventually($node, 60, 'postgres', "SELECT state = 'backing off' $worker", "$work: which somebody else has now: it goes on");
	is($node->safe_psql('postgres', "SELECT last_error $worker AND last_error_at > '$began'"), '', "$work: without an error");
	$holder->query_safe('COMMIT');
	eventually($node, 60, 'postgres', "SELECT ($look) = '$done'", "$work: and comes again");
	$holder->quit;
}

# a claim passes over it, but for a lock that bars no change
foreach my $case ([ 'FOR NO KEY UPDATE', 'start_next_pending_job_execution(:t, :d1)', '' ],
	[ 'FOR NO KEY UPDATE', q{claim_job_executions(:t, 10, '{d1,d2}')}, 'd2' ],
	[ 'FOR SHARE', 'claim_job_executions(:t, 1)', 'd2' ],
	[ 'FOR KEY SHARE', 'start_next_pending_job_execution(:t, :d1)', 'd1' ])
{
	next if $locks_before;

	my ($strength, $call, $claimed) = @$case;
	my $tenant = begin_turn({ devices => 2 });
	my $claimer = IotJobsSession->new($node, 'postgres');
	my $holder = $node->background_psql('postgres');

	$call =~ s/:t/'$tenant'/;
	$call =~ s/:d1/'d1'/;
	arm('row_found', 'wait', 0);
	$claimer->say_to("SELECT device_id FROM $call;");
	ok(waits_at('row_found'), "$call is about to change a row");
	$holder->query_safe("BEGIN; SELECT FROM job_executions WHERE tenant_id = '$tenant' AND device_id = 'd1' $strength");
	unlink "$armed.waiting";
	is($claimer->answer, $claimed, "which is held $strength now");
	$holder->quit;
	$claimer->quit;
}

# The worker looks at all executions of a job whose row it holds, and somebody waits for
# that row: he has it before the worker is through.
foreach my $point (qw(job_held expiry_begun))
{
	my $tenant = begin_turn({ devices => 30000 });
	my $job = "jobs WHERE tenant_id = '$tenant'";
	my $other = IotJobsSession->new($node, 'postgres');
	my $rest = $point eq 'expiry_begun' ? q{AND device_id <> 'd1'} : '';

	arm($point, 'wait', 0);
	$node->safe_psql('postgres', "UPDATE job_executions SET status = 'SUCCEEDED' WHERE tenant_id = '$tenant' $rest");
	$node->safe_psql('postgres', "UPDATE jobs SET expires_at = now() WHERE tenant_id = '$tenant'") if $rest;
	ok(waits_at($point), 'the worker holds a large job');
	$other->say_to("SELECT status FROM $job FOR NO KEY UPDATE;");
	eventually($node, 60, 'postgres', q{SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted)},
		'somebody waits for the job');
	unlink "$armed.waiting";
	is($other->answer, 'IN_PROGRESS', 'and is given it');
	eventually($node, 60, 'postgres', "SELECT status = 'COMPLETED' FROM $job", 'then the worker looks again');
	$other->quit;
}

# Keep whoever waits at a point there for so long, and let him go.
sub let_go_after
{
	my ($seconds) = @_;
	my $began = $node->safe_psql('postgres', 'SELECT clock_timestamp()');

	$node->poll_query_until('postgres', "SELECT clock_timestamp() >= '$began'::timestamptz + interval '$seconds s'");
	unlink "$armed.waiting";
	return;
}

# An execution is held for long, and a look that finds it so takes long, as in a large
# job: the worker rests ten times as long before it looks again.
{
	my $tenant = begin_turn({ devices => 3 });
	my $holder = IotJobsSession->new($node, 'postgres');
	my $seen;

	$holder->run("BEGIN; SELECT FROM job_executions WHERE tenant_id = '$tenant' AND device_id = 'd1' FOR UPDATE;");
	# the first look times out the other two, and after two more somebody may be gone
	arm('expiry_begun', 'wait', 3);
	$node->safe_psql('postgres', "UPDATE jobs SET expires_at = now() WHERE tenant_id = '$tenant'");
	ok(waits_at('expiry_begun'), 'the worker looks at a job of which an execution is held');
	arm('expiry_begun', 'wait', 0);
	$seen = time;
	let_go_after(0.2);
	ok(waits_at('expiry_begun'), 'it looks again');
	cmp_ok(time - $seen, '>=', 0.2 + 1.9, 'but not before ten times what the look took');
	$holder->run('COMMIT;');
	$holder->quit;
	unlink "$armed.waiting";
	eventually($node, 60, 'postgres', "SELECT status = 'COMPLETED' FROM jobs WHERE tenant_id = '$tenant'", 'and ends the job once it can');
}

# A look at everything takes long: this database is healed again only after a hundred
# times that, and others go on as before.
{
	my $passes = q{SELECT passes FROM iot_jobs_worker WHERE database = current_database()};
	my ($mine, $others);

	$mine = $node->safe_psql('postgres', $passes);
	arm('worker_listed', 'wait', 0);
	$node->safe_psql('postgres', 'SELECT wake_job_worker()');
	ok(waits_at('worker_listed'), 'the worker looks at everything');
	let_go_after(0.5);
	eventually($node, 60, 'postgres', "SELECT ($passes) > $mine", 'and is done');
	$node->safe_psql('postgres', 'CREATE DATABASE other');
	$node->safe_psql('other', 'CREATE EXTENSION iot_jobs');
	$node->append_conf('postgresql.conf', 'iot_jobs.heal_interval = 1');
	$node->reload;
	$mine = $node->safe_psql('postgres', $passes);
	foreach my $time (1 .. 3)
	{
		$others = $node->safe_psql('other', $passes);
		# only what was written to is healed
		$node->safe_psql('other', 'SELECT pg_current_xact_id()');
		eventually($node, 60, 'other', "SELECT ($passes) > $others", 'another database is healed');
	}
	is($node->safe_psql('postgres', $passes), $mine, 'this one rests');
	$node->safe_psql('postgres', 'SELECT wake_job_worker()');
	eventually($node, 60, 'postgres', "SELECT ($passes) > $mine", 'unless it is asked for');
	$node->append_conf('postgresql.conf', 'iot_jobs.heal_interval = 0');
	$node->reload;
}
nothing_lost($node, 'postgres', 'a worker that failed');

is(join(' ', grep { !$met{$_} } split(' ', $points)), '', 'every point was come to');
is(join(' ', grep { !$met{$_}{kill} } split(' ', $points)), '', 'and killed there');
note(scalar(split(' ', $points)) . " points, $faults faults met");
unlike(slurp_file($node->logfile), qr/TRAP:|stuck spinlock|invalid memory/, 'and nothing worse is in the log');

$node->stop;
done_testing();
