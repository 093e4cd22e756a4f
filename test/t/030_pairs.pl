# Every two calls that can meet at the same rows, at every isolation level: what comes
# of it is what comes of them one after the other, and nobody dies of a deadlock.
#
# A table of calls and a table of situations; everything else is made of them.  In each
# situation each ordered pair of calls that have to do with each other meets in these
# ways:
#
#   overlapping    the first begins and is done; the second comes, waits or not; the
#                  first commits
#   rolled back    the same, and the first rolls back
#   with an old snapshot
#                  the second has one when the first comes and goes
#   entangled      somebody holds a row that the first needs in the middle of its work;
#                  the second comes meanwhile; the row is let go, and both run into each
#                  other
#
# The oracle is what the same two calls do alone, in either order: the rows that they
# leave, what each returned, the SQLSTATE of each.  First, two things are done that their
# callers would do: whatever failed with 40001, which the two stricter levels may, is
# called again, and so is whatever passes over locked rows, as a device, a gateway and
# the worker do anyway.
#
# With IOT_JOBS_LONG set it does each way at each level, and all of it twice: on the
# direct way and by SQL.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

use IotJobsData;
use IotJobsSession;

my $long = $ENV{IOT_JOBS_LONG};

# ----------------------------------------------------------------
# The tables
# ----------------------------------------------------------------

# What a tenant t with the devices d1, d2 and d3 has.
my %situations = (
	'no job' => '',
	'queued' => q{PERFORM create_job('t', 'x', target_all => true, job_id => 'j');},
	# d1 has the newest version of its row behind those of the others, too
	'started' => q{
		PERFORM create_job('t', 'x', target_all => true, job_id => 'j');
		PERFORM update_job_execution('t', 'j', 'd1', 'IN_PROGRESS');},
	'last' => q{
		PERFORM create_job('t', 'x', target_all => true, job_id => 'j');
		PERFORM update_job_execution('t', 'j', 'd1', 'IN_PROGRESS');
		UPDATE job_executions SET status = 'FAILED' WHERE status = 'QUEUED';},
	'ended' => q{
		PERFORM create_job('t', 'x', target_all => true, job_id => 'j');
		UPDATE job_executions SET status = 'SUCCEEDED';},
	'expired' => q{
		PERFORM create_job('t', 'x', target_all => true, job_id => 'j');
		PERFORM update_job_execution('t', 'j', 'd1', 'IN_PROGRESS');
		UPDATE jobs SET expires_at = now();},
	'completed' => q{
		PERFORM create_job('t', 'x', target_all => true, job_id => 'j');
		UPDATE job_executions SET status = 'SUCCEEDED';
		UPDATE jobs SET status = 'COMPLETED';},
	'canceled' => q{
		PERFORM create_job('t', 'x', target_all => true, job_id => 'j');
		PERFORM update_job_execution('t', 'j', 'd1', 'IN_PROGRESS');
		PERFORM cancel_job('t', 'j');},
	'deleted' => q{
		PERFORM create_job('t', 'x', target_all => true, job_id => 'j');
		PERFORM update_job_execution('t', 'j', 'd1', 'IN_PROGRESS');
		PERFORM delete_job('t', 'j', force => true);},
	'two jobs' => q{
		PERFORM create_job('t', 'x', target_all => true, job_id => 'j');
		PERFORM create_job('t', 'x', target_all => true, job_id => 'k');
		-- whoever reads the table as it lies comes to k first
		UPDATE jobs SET document_params = '1' WHERE job_id = 'j';},
);

# The calls.  skips: passes over what others have locked, and is made again, as a
# device, a gateway or the worker does.  locks: more than one row, so that it can hold
# one while it waits for another.
my @calls = (
	{ name => 'create', sql => q{SELECT status, queued FROM create_job('t', 'x', target_all => true, job_id => 'j');} },
	{ name => 'claim', skips => 1, sql => q{SELECT job_id, device_id FROM start_next_pending_job_execution('t', 'd1');} },
	{ name => 'batch claim', skips => 1, sql => q{SELECT job_id, device_id FROM claim_job_executions('t', 10);} },
	{ name => 'claim by hand', sql => q{
		UPDATE job_executions SET status = 'IN_PROGRESS', execution_number = execution_number + 1
			WHERE tenant_id = 't' AND job_id = 'j' AND device_id = 'd1' AND status = 'QUEUED' RETURNING execution_number;} },
	{ name => 'progress', sql => q{SELECT status, execution_number FROM update_job_execution('t', 'j', 'd1', 'IN_PROGRESS', '{"at": 1}');} },
	{ name => 'report', sql => q{SELECT status, execution_number FROM update_job_execution('t', 'j', 'd1', 'SUCCEEDED');} },
	{ name => 'versioned report', sql => q{
		SELECT status FROM update_job_execution('t', 'j', 'd1', 'FAILED', expected_execution_number => 2);} },
	{ name => 'batch report', locks => 1, sql => q{
		SELECT job_id, device_id, sqlstate, status, execution_number FROM update_job_executions('t', '[
			{"job_id": "k", "device_id": "d1", "status": "SUCCEEDED"}, {"job_id": "j", "device_id": "d3", "status": "SUCCEEDED"}, {"job_id": "j", "device_id": "d2", "status": "FAILED"},
			{"job_id": "j", "device_id": "d1", "status": "SUCCEEDED"}]');} },
	{ name => 'report by hand', sql => q{
		UPDATE job_executions SET status = 'FAILED'
			WHERE tenant_id = 't' AND job_id = 'j' AND device_id = 'd1' AND status IN ('QUEUED', 'IN_PROGRESS') RETURNING execution_number;} },
	{ name => 'cancel', locks => 1, sql => q{SELECT status, queued, in_progress, rejected FROM cancel_job('t', 'j');} },
	{ name => 'force cancel', locks => 1, sql => q{SELECT status, queued, in_progress, rejected FROM cancel_job('t', 'j', force => true);} },
	{ name => 'cancel by hand', locks => 1, sql => q{
		UPDATE jobs SET status = 'CANCELED' WHERE tenant_id = 't' AND job_id = 'j' AND status = 'IN_PROGRESS' RETURNING status;} },
	{ name => 'cancel execution', sql => q{SELECT status, execution_number FROM cancel_job_execution('t', 'j', 'd1', force => true);} },
	{ name => 'delete execution', sql => q{SELECT status, execution_number FROM delete_job_execution('t', 'j', 'd1', force => true);} },
	{ name => 'add by hand', sql => q{INSERT INTO job_executions (tenant_id, job_id, device_id) VALUES ('t', 'j', 'd0') RETURNING status;} },
	{ name => 'move deadline', sql => q{SELECT status FROM update_job('t', 'j', now() + interval '1 hour');} },
	# expires, completes or deletes, as the situation wants it
	{ name => 'sweep', skips => 1, sql => q{SELECT FROM run_job_sweep();} },
	{ name => 'complete by hand', sql => q{
		UPDATE jobs SET status = 'COMPLETED' WHERE tenant_id = 't' AND job_id = 'j' AND status = 'IN_PROGRESS' RETURNING status;} },
	{ name => 'delete', sql => q{SELECT status FROM delete_job('t', 'j');} },
	{ name => 'force delete', sql => q{SELECT status FROM delete_job('t', 'j', force => true);} },
	{ name => 'purge', skips => 1, sql => q{SELECT FROM purge_jobs('t', '0');} },
	{ name => 'delete by hand', locks => 1, sql => q{DELETE FROM jobs WHERE tenant_id = 't' AND job_id = 'j' RETURNING status;} },
	{ name => 'delete tenant', locks => 1, sql => q{DELETE FROM tenants WHERE tenant_id = 't' RETURNING tenant_id;} },
);

# ----------------------------------------------------------------
# One turn
# ----------------------------------------------------------------

my %call = map { ($_->{name} => $_) } @calls;

# What no serial order gives, and is right all the same, by what the first and the second
# call said.
my @legal = (
	# The execution of the older job is locked, so the device gets that of the other; and
	# has both if whoever locked it claimed it, too.
	{ situation => qr/^two jobs$/, second => 'claim', said => qr{/ k\|d1$} },
	# The same in a batch, whose second attempt comes after that of the claim that failed.
	{ situation => qr/^two jobs$/, second => 'batch claim', said => qr{^j\|d1 ERROR: 40001 / k\|d1 } },
	# The tenant had devices when the call began and is gone when it ends; a tenant
	# without devices is IJ004.
	{ situation => qr/./, first => 'delete tenant', second => 'create', said => qr{/ ERROR: 23503$} },
);

my $node = data_server('pairs', conf => q{
shared_preload_libraries = 'iot_jobs'
deadlock_timeout = 100ms
iot_jobs.worker_enabled = off
});
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION iot_jobs;
	-- what is compared: all but the times
	CREATE VIEW rows_left AS
		SELECT 'tenant' AS line FROM tenants
		UNION ALL SELECT format('job %s %s %s', job_id, status,
			CASE WHEN expires_at > now() THEN 'expires' WHEN expires_at <= now() THEN 'expired' END) FROM jobs
		UNION ALL SELECT format('execution %s %s %s %s %s %s', job_id, device_id, status, execution_number, status_details,
			CASE WHEN started_at IS NOT NULL THEN 'started' END) FROM job_executions
		-- what is known of them without counting
		UNION ALL SELECT format('job %s counts %s', job_id,
			ARRAY[total_executions, queued, in_progress, succeeded, failed, timed_out, rejected]) FROM list_jobs('t');
});
# a function each, for kept plans
my %arrange;
foreach my $situation (sort keys %situations)
{
	$arrange{$situation} = 'arrange_' . keys %arrange;
	$node->safe_psql('postgres', qq{
		CREATE FUNCTION $arrange{$situation}() RETURNS void LANGUAGE plpgsql AS \$\$
		BEGIN
			DELETE FROM tenants;
			INSERT INTO tenants (tenant_id) VALUES ('t');
			INSERT INTO devices (tenant_id, device_id) SELECT 't', 'd' || i FROM generate_series(1, 3) i;
			$situations{$situation}
		END \$\$;
	});
}

my ($control, $one, $two, $holder) = map { IotJobsSession->new($node, 'postgres') } 1 .. 4;

# Statements as one message, which saves most of the time this takes.
sub at_once
{
	return join(' \; ', grep { /\S/ } map { split(/;\s*(?:\n|\z)/, $_) } @_) . ';';
}

sub arrange
{
	my ($situation) = @_;

	$control->run("SELECT FROM $arrange{$situation}();");
	return;
}

# Wait until this session has answered, or waits for somebody's lock: then it is true.
sub waits
{
	my ($session) = @_;

	until ($session->answered(0.002))
	{
		return 1 if $control->run("SELECT cardinality(pg_blocking_pids($session->{backend})) > 0;") eq 't';
	}
	return 0;
}

# What each call returned, and the rows that are left, after what the callers do next.
# A call that was made again returned all that it returned; which of two equal calls
# was told what does not matter.
sub outcome
{
	my ($names, $answers) = @_;
	my @returned;

	foreach my $i (grep { $answers->[$_] =~ /^ERROR:  40001$/m } 0 .. $#$names)
	{
		$answers->[$i] = $control->run($call{ $names->[$i] }{sql});
	}
	foreach my $i (grep { $call{ $names->[$_] }{skips} } 0 .. $#$names)
	{
		$answers->[$i] .= "\n" . $control->run($call{ $names->[$i] }{sql});
	}
	foreach my $i (0 .. $#$names)
	{
		my %line = map { ($_ => 1) } grep { $_ ne '' } split(/\n/, $answers->[$i]);

		push @returned, map { "$names->[$i] returned $_" } sort keys %line;
	}
	return {
		returned => join("\n", sort @returned),
		rows => $control->run(q{SELECT line FROM rows_left ORDER BY line COLLATE "C";})
	};
}

my %alone;

# The outcome of these calls, one after the other.
sub serial
{
	my ($situation, @names) = @_;

	return $alone{ join('|', $situation, @names) } //= do
	{
		arrange($situation);
		outcome(\@names, [ map { $control->run($call{$_}{sql}) } @names ]);
	};
}

sub as_text
{
	my ($outcome) = @_;

	return "$outcome->{returned}\n$outcome->{rows}";
}

# ----------------------------------------------------------------
# Ways to meet
# ----------------------------------------------------------------

# Each returns what the first and the second call answered, and whether the second one
# waited; nothing if they do not meet that way.

sub overlapping
{
	my ($first, $second, $level, $end) = @_;
	my @answers;

	$answers[0] = $one->run(at_once("BEGIN ISOLATION LEVEL $level", $call{$first}{sql}));
	$two->say_to(at_once("BEGIN ISOLATION LEVEL $level", $call{$second}{sql}) . "\nCOMMIT;");
	$answers[2] = waits($two);
	$answers[0] .= "\n" . $one->run($end // 'COMMIT;');
	$answers[1] = $two->answer;
	return @answers;
}

sub rolled_back
{
	my ($first, $second, $level) = @_;

	return overlapping($first, $second, $level, 'ROLLBACK;');
}

sub with_an_old_snapshot
{
	my ($first, $second, $level) = @_;
	my @answers;

	$two->run(at_once("BEGIN ISOLATION LEVEL $level", 'SELECT 1'));
	$answers[0] = $one->run(at_once("BEGIN ISOLATION LEVEL $level", $call{$first}{sql}) . "\nCOMMIT;");
	$answers[1] = $two->run("$call{$second}{sql}\nCOMMIT;");
	return @answers;
}

# Both have to lock more than one row, and the first one that is held.
sub entangled_at
{
	my ($row) = @_;

	return sub
	{
		my ($first, $second, $level) = @_;
		my @answers;

		return unless $call{$first}{locks} && $call{$second}{locks};
		$holder->run(at_once('BEGIN', "SELECT FROM $row FOR UPDATE"));
		$one->say_to(at_once("BEGIN ISOLATION LEVEL $level", $call{$first}{sql}) . "\nCOMMIT;");
		if (waits($one))
		{
			$two->say_to(at_once("BEGIN ISOLATION LEVEL $level", $call{$second}{sql}) . "\nCOMMIT;");
			$answers[2] = waits($two);
			$holder->run('ROLLBACK;');
			$answers[0] = $one->answer;
			$answers[1] = $two->answer;
		}
		else
		{
			$holder->run('ROLLBACK;');
			$one->answer;
		}
		return @answers;
	};
}

# where a third session stands in the way: the middle of the way and its end
my %places = (
	'the job' => 'jobs',
	(map { ($_ => "job_executions WHERE device_id = '$_'") } qw(d2 d3)));

# Where, in ./check, each way tells most; with IOT_JOBS_LONG it is everywhere.
my @every = ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE');
my @ways = (
	{ name => 'overlapping', meet => \&overlapping, levels => [ $every[0] ] },
	{ name => 'rolled back', meet => \&rolled_back, levels => [ $every[0] ], only => \&in_the_way },
	{ name => 'with an old snapshot', meet => \&with_an_old_snapshot, levels => [ $every[1] ], only => \&order_matters },
	{ name => 'with an old snapshot', meet => \&with_an_old_snapshot, levels => [ $every[2] ], only => \&not_met_yet },
	map { { name => "entangled at $_", meet => entangled_at($places{$_}), levels => [ $every[0] ] } } sort keys %places,
);
if ($long)
{
	@ways = map { { %$_, levels => \@every, only => undef } } grep { !$_->{only} || $_->{only} != \&not_met_yet } @ways;
}

# ----------------------------------------------------------------
# Every pair
# ----------------------------------------------------------------

my %pairs;
my %meetings;
my %waited;
my %faults;

# What is wrong with this meeting?
sub judge
{
	my ($way, $level, $situation, $first, $second, @answers) = @_;
	my $waited = splice(@answers, 2);
	my @orders = ([ $first, $second ], [ $second, $first ]);
	my $said = join(' / ', map { s/\s+/ /gr } @answers);

	return "said $said" if $said =~ /WARNING|FATAL|PANIC|ERROR: (?:40P01|XX|P0)/;
	return "said $said" if $level eq 'READ COMMITTED' && $said =~ /ERROR: 40001/;
	return "$second waited" if $waited && $call{$second}{skips};

	return if grep {
			 $situation =~ $_->{situation} && (!$_->{first} || $_->{first} eq $first)
		  && $_->{second} eq $second && $said =~ $_->{said}
	} @legal;

	if ($way eq 'rolled back')
	{
		@orders = ([$second]);
		shift @answers;
	}
	my $got = as_text(outcome($orders[0], \@answers));
	my @expected = map { as_text(serial($situation, @$_)) } @orders;
	return if grep { $_ eq $got } @expected;
	return join("\n", "said $said, and then:", $got, map { ('instead of:', $_) } @expected);
}

# Pairs that have to do with each other: the first changes something, and the second
# does, too, or is answered otherwise than without the first.
sub related
{
	my ($situation, $first, $second) = @_;
	my $before = serial($situation)->{rows};
	my ($one, $other) = (serial($situation, $first), serial($situation, $second));

	return 0 if $one->{rows} eq $before;
	return 1 if $other->{rows} ne $before;
	return serial($situation, $first, $second)->{returned} ne join("\n", sort grep { $_ ne '' } map { $_->{returned} } $one, $other);
}

# Those of which one can tell who was first.
sub order_matters
{
	my ($situation, $first, $second) = @_;

	return as_text(serial($situation, $first, $second)) ne as_text(serial($situation, $second, $first));
}

# Those where the first one is in the way of the second.
sub in_the_way
{
	my ($situation, $first, $second) = @_;

	return $call{$second}{skips} || $waited{"$situation: $first, $second"};
}

sub not_met_yet
{
	my ($situation, $first, $second) = @_;

	return order_matters($situation, $first, $second) && !$pairs{"$first, $second"}++;
}

sub meet
{
	my ($situation, $first, $second) = @_;

	$pairs{"$first, $second"} //= 0;
	foreach my $way (@ways)
	{
		next if $way->{only} && !$way->{only}->($situation, $first, $second);
		foreach my $level (@{ $way->{levels} })
		{
			arrange($situation);
			my @answers = $way->{meet}->($first, $second, $level) or last;
			$waited{"$situation: $first, $second"} ||= $answers[2];
			my $fault = judge($way->{name}, $level, $situation, $first, $second, @answers);

			$meetings{"$way->{name}, $level"}++;
			push @{ $faults{"$way->{name}, $level"} }, "$situation: $first, $second: $fault" if $fault;
		}
	}
	return;
}

sub everybody_meets
{
	my @names = map { $_->{name} } @calls;

	foreach my $situation (sort keys %situations)
	{
		foreach my $first (@names)
		{
			meet($situation, $first, $_) foreach grep { related($situation, $first, $_) } @names;
		}
	}
	return;
}

sub total
{
	my $total = 0;

	$total += $_ foreach @_;
	return $total;
}

foreach my $by_sql (0, $long ? 1 : ())
{
	my $how = $by_sql ? 'by SQL' : 'directly';

	# a trigger that closes the direct way
	$node->safe_psql('postgres', q{
		CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
		CREATE TRIGGER by_sql AFTER UPDATE OR INSERT OR DELETE ON job_executions FOR EACH STATEMENT EXECUTE FUNCTION nothing();
	}) if $by_sql;
	%meetings = ();
	everybody_meets();
	foreach my $meeting (sort keys %meetings)
	{
		is(join("\n", splice(@{ $faults{$meeting} // [] }, 0, 10)), '', "$how, $meeting: $meetings{$meeting} meetings");
	}
	note(scalar(keys %pairs) . " ordered pairs of calls in " . keys(%situations) . " situations: " . total(values %meetings) . " meetings");
}
$_->quit foreach $control, $one, $two, $holder;
$node->stop;
done_testing();
