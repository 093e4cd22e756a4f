# What the tests of keeping data share: a server, the portrait of a database, the
# refusal a statement meets, and the invariants that hold whatever happened.

package IotJobsData;

use strict;
use warnings;

use Exporter qw(import);
use POSIX qw(:sys_wait_h);
use Test::More;
use Time::HiRes qw(time usleep);

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(
  data_server seconds start_client running finished eventually same_lines sqlstate_of rows portrait guards_hold
  nothing_lost broken_invariants watch_executions broken_history complaints_in_log
);

# The seven tables, parents first.
our @TABLES = qw(tenants devices device_groups device_group_members jobs job_executions iot_jobs_fleet);

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

# data_server(name, [init => {...}], [conf => "..."], [install_path => '...']):
# initialized, not started.
sub data_server
{
	my ($name, %option) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name, install_path => $option{install_path});
	my %init = %{ $option{init} // {} };

	# whatever locale the tests run in
	$init{extra} = [ '--encoding=UTF8', '--no-locale', @{ $init{extra} // [] } ];
	$node->init(%init);
	$node->append_conf('postgresql.conf', qq(
log_statement = none
log_error_verbosity = verbose
max_worker_processes = 16
jit = off
));
	$node->append_conf('postgresql.conf', $option{conf}) if $option{conf};
	return $node;
}

# start_client(node, command, out => file, err => file): a client that runs beside the
# test.  It ends when its server does, at the latest.
sub start_client
{
	my ($node, $command, %file) = @_;
	my $pid;

	# so that whoever reads them finds them
	append_to_file($_, '') foreach values %file;
	$pid = fork;

	die "could not fork: $!" unless defined $pid;
	return $pid if $pid;

	# never run what the test would run at its end
	eval {
		$ENV{PGHOST} = $node->host;
		$ENV{PGPORT} = $node->port;
		open(STDIN, '<', '/dev/null') or die;
		open(STDOUT, '>', $file{out} // '/dev/null') or die;
		open(STDERR, '>', $file{err} // '/dev/null') or die;
		exec { $command->[0] } @$command or die;
	};
	POSIX::_exit(127);
}

# Those of these processes that have not ended yet.
sub running
{
	return grep { waitpid($_, WNOHANG) == 0 } @_;
}

# Wait for the end of clients; true if they came to it.
sub finished
{
	my ($limit, @clients) = @_;
	my $start = time;

	while (@clients = running(@clients))
	{
		return 0 if time - $start > seconds($limit);
		usleep(20_000);
	}
	return 1;
}

# Poll until the query says true, for at most so many seconds, whatever the server
# goes through meanwhile.
sub eventually
{
	my ($node, $limit, $database, $query, $name) = @_;
	my $start = time;
	my ($status, $stdout, $stderr);

	local $Test::Builder::Level = $Test::Builder::Level + 1;

	do
	{
		($status, $stdout, $stderr) = $node->psql($database, $query);
		return pass($name) if $status == 0 && $stdout eq 't';
		usleep(20_000);
	} while (time - $start < seconds($limit));
	fail($name);
	diag("after " . seconds($limit) . " s: $query\ngave: $stdout\n$stderr");
	return 0;
}

# is() for long texts: says which lines differ.
sub same_lines
{
	my ($got, $expected, $name) = @_;
	my %count;

	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return pass($name) if $got eq $expected;
	$count{$_}++ foreach split(/\n/, $got);
	$count{$_}-- foreach split(/\n/, $expected);
	fail($name);
	diag(($count{$_} > 0 ? 'unexpected: ' : 'missing:    ') . $_) foreach grep { $count{$_} != 0 } sort keys %count;
	return 0;
}

# The SQLSTATE of the first error of these statements; 00000 if there is none.
sub sqlstate_of
{
	my ($node, $database, $sql, @options) = @_;
	my ($status, $stdout, $stderr) = $node->psql($database, $sql,
		extra_params => [ '-v', 'VERBOSITY=sqlstate', @options ]);

	return '00000' if $status == 0;
	return $stderr =~ /(?:ERROR|FATAL):  ([0-9A-Z]{5})/ ? $1 : "no SQLSTATE: $stderr";
}

# All rows of the seven tables, one a line.
sub rows
{
	my ($node, $database, @tables) = @_;

	return $node->safe_psql($database, join(' UNION ALL ',
			map { "SELECT '$_ ' || to_jsonb(r)::text COLLATE \"C\" AS line FROM $_ r" } @tables ? @tables : @TABLES)
		  . ' ORDER BY line');
}

# Everything about the tables and the extension that a dump has to bring back, one
# fact a line.  Names only, no OIDs.
sub portrait
{
	my ($node, $database) = @_;

	return $node->safe_psql($database, q{
		SET search_path = pg_catalog;
		WITH rel AS (
			SELECT c.* FROM pg_class c
			WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v')
		), fact(line) AS (
			SELECT format('table %s kind %s owner %s security %s force %s options %s comment %s', relname, relkind,
					relowner::regrole, relrowsecurity, relforcerowsecurity, reloptions, obj_description(oid, 'pg_class'))
				FROM rel
			UNION ALL
			SELECT format('table %s grants %s', relname,
					array(SELECT a::text FROM unnest(COALESCE(relacl, acldefault('r', relowner))) a ORDER BY a::text COLLATE "C"))
				FROM rel
			UNION ALL
			SELECT format('column %s.%s %s%s default %s grants %s', relname, attname, format_type(atttypid, atttypmod),
					CASE WHEN attnotnull THEN ' not null' END, pg_get_expr(adbin, adrelid), attacl)
				FROM rel JOIN pg_attribute a ON a.attrelid = rel.oid AND attnum > 0 AND NOT attisdropped
				LEFT JOIN pg_attrdef d ON adrelid = a.attrelid AND adnum = attnum
			UNION ALL
			SELECT format('constraint %s of %s: %s validated %s', conname, relname, pg_get_constraintdef(k.oid), convalidated)
				FROM rel JOIN pg_constraint k ON conrelid = rel.oid
			UNION ALL
			SELECT format('index %s valid %s', pg_get_indexdef(indexrelid), indisvalid)
				FROM rel JOIN pg_index ON indrelid = rel.oid
			UNION ALL
			SELECT format('policy %s on %s: %s %s %s using %s check %s', policyname, tablename, permissive,
					array(SELECT unnest(roles) ORDER BY 1), cmd, qual, with_check)
				FROM pg_policies
			UNION ALL
			SELECT format('trigger %s enabled %s of extension %s', pg_get_triggerdef(t.oid), tgenabled,
					(SELECT extname FROM pg_depend JOIN pg_extension x ON refobjid = x.oid
					 WHERE classid = 'pg_trigger'::regclass AND objid = t.oid
					   AND refclassid = 'pg_extension'::regclass AND deptype = 'x'))
				FROM rel JOIN pg_trigger t ON tgrelid = rel.oid AND NOT tgisinternal
			UNION ALL
			SELECT format('extension %s %s in %s, configuration %s', extname, extversion, extnamespace::regnamespace, extconfig)
				FROM pg_extension
			UNION ALL
			SELECT format('member of %s: %s', extname, pg_describe_object(classid, objid, objsubid))
				FROM pg_depend JOIN pg_extension x ON refobjid = x.oid
				WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e' AND extname <> 'plpgsql'
			UNION ALL
			SELECT format('function %s grants %s', p.oid::regprocedure,
					array(SELECT a::text FROM unnest(COALESCE(proacl, acldefault('f', proowner))) a ORDER BY a::text COLLATE "C"))
				FROM pg_proc p WHERE pronamespace = 'public'::regnamespace
		)
		SELECT line FROM fact ORDER BY line COLLATE "C"
	});
}

# Do the guards stand in this database?  Needs a tenant acme with a device d1; leaves
# no trace.
sub guards_hold
{
	my ($node, $database, $name) = @_;
	my $job = q{
		BEGIN;
		INSERT INTO jobs (job_id, tenant_id, document_type, target_all) VALUES ('guarded', 'acme', 'x', true);
		INSERT INTO job_executions (job_id, tenant_id, device_id) VALUES ('guarded', 'acme', 'd1');
	};
	my ($status, $stdout, $stderr) = $node->psql($database, qq{
		\\set VERBOSITY sqlstate
		$job UPDATE job_executions SET status = 'SUCCEEDED' WHERE job_id = 'guarded';
		UPDATE job_executions SET status = 'QUEUED' WHERE job_id = 'guarded'; ROLLBACK;
		$job UPDATE jobs SET status = 'COMPLETED' WHERE job_id = 'guarded'; ROLLBACK;
		$job UPDATE jobs SET status = 'CANCELED' WHERE job_id = 'guarded';
		SELECT status, execution_number FROM job_executions WHERE job_id = 'guarded'; ROLLBACK;
	}, on_error_stop => 0);
	my @refused = $stderr =~ /ERROR:  (\w+)/g;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is("@refused $stdout", 'IJ002 IJ002 REJECTED|2', "$name: the guards stand");
}

# ----------------------------------------------------------------
# Invariants
# ----------------------------------------------------------------

# What must never be, one line for each thing that is; the service may be late by so
# much, NULL: by two sweeps.
sub broken_invariants
{
	my ($node, $database, $grace) = @_;

	$grace //= 'NULL';
	return $node->safe_psql($database, qq{
		SELECT v::text FROM verify_jobs(grace => $grace) v;
		-- what no call leaves, and so only a test asks; scans only, so that what is
		-- compared is the tables and not their indexes
		SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off;
		SELECT 'twice: ' || (tenant_id, job_id, device_id)::text FROM job_executions GROUP BY tenant_id, job_id, device_id HAVING count(*) > 1
		UNION ALL
		SELECT 'job twice: ' || (tenant_id, job_id)::text FROM jobs GROUP BY tenant_id, job_id HAVING count(*) > 1
		UNION ALL
		SELECT 'advisory lock: ' || l::text FROM pg_locks l WHERE locktype = 'advisory'
	});
}

# The end of every test that lets something die or race: the invariants hold, tables
# and indexes agree, and what was acknowledged is there.
#
#   nothing_lost(node, database, name, [ledger => file], [late => 1])
#
# The service has done what is due, or does so within a moment; with "late" it does
# not run, or has been kept from it.  A ledger is what clients wrote down as they were
# told it, see broken_promises().
sub nothing_lost
{
	my ($node, $database, $name, %option) = @_;
	my $start = time;
	my $broken;

	local $Test::Builder::Level = $Test::Builder::Level + 1;

	do
	{
		$broken = broken_invariants($node, $database, $option{late} ? 'NULL' : q{'0'});
		usleep(20_000) if $broken ne '';
	} while ($broken ne '' && !$option{late} && time - $start < seconds(30));
	is($broken, '', "$name: every invariant holds");
	$node->command_ok([ 'pg_amcheck', '--install-missing', '--heapallindexed', '-t', 'jobs', '-t', 'job_executions', $database ],
		"$name: tables and indexes agree");
	$node->safe_psql($database, 'DROP EXTENSION amcheck');
	is(broken_promises($node, $database, $option{ledger}), '', "$name: what was acknowledged is there")
	  if $option{ledger};
	return;
}

# What a ledger says that the tables do not.  A line of it is what|tenant|job|device|number:
#
#   new       the job was created, with so many executions
#   claim     the execution was claimed, and has that number since
#   SUCCEEDED, FAILED, REJECTED, TIMED_OUT
#             the execution ended so, with that number
#   canceled  the job was
#   deleted   the job was marked for it
#   deleting  the job may have been: nothing is promised of it any more
#
# A line that was cut short was not read by anybody; one without a bar is not of the
# ledger (psql shows what it was to keep if it loses its connection just then).
sub broken_promises
{
	my ($node, $database, $file) = @_;
	my $whole = "$file-whole";

	unlink $whole;
	append_to_file($whole, join('', slurp_file($file) =~ /^.*\|.*\n/mg));
	return $node->safe_psql($database, qq{
		CREATE TEMP TABLE ledger (what text, tenant_id text, job_id text, device_id text, number bigint);
		\\copy ledger FROM '$whole' WITH (DELIMITER '|', NULL '')
		SELECT l::text, j.status, e.status, e.execution_number FROM ledger l
		LEFT JOIN jobs j ON (j.tenant_id, j.job_id) = (l.tenant_id, l.job_id)
		LEFT JOIN job_executions e ON (e.tenant_id, e.job_id, e.device_id) = (l.tenant_id, l.job_id, l.device_id)
		WHERE NOT COALESCE(CASE l.what
			WHEN 'new' THEN l.number = (SELECT count(*) FROM job_executions x WHERE (x.tenant_id, x.job_id) = (l.tenant_id, l.job_id))
			WHEN 'claim' THEN e.status <> 'QUEUED' AND e.execution_number >= l.number
			WHEN 'canceled' THEN j.status = 'CANCELED'
			WHEN 'deleted' THEN j.status = 'DELETION_IN_PROGRESS'
			WHEN 'deleting' THEN true
			ELSE e.status = l.what AND e.execution_number = l.number
			END, l.what = 'deleted')
		AND NOT (l.what <> 'deleted' AND EXISTS (
			SELECT FROM ledger d WHERE (d.what, d.tenant_id, d.job_id) = ('deleting', l.tenant_id, l.job_id)))
		LIMIT 10
	});
}

# Have every change of an execution recorded from now on.
sub watch_executions
{
	my ($node, $database) = @_;

	$node->safe_psql($database, q{
		CREATE TABLE execution_history (
			id bigserial PRIMARY KEY, tenant_id text, job_id text, device_id text,
			old_status text, new_status text, old_number bigint, new_number bigint);
		CREATE FUNCTION record_execution() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
		BEGIN
			INSERT INTO execution_history (tenant_id, job_id, device_id, old_status, new_status, old_number, new_number)
			VALUES (NEW.tenant_id, NEW.job_id, NEW.device_id,
				CASE TG_OP WHEN 'UPDATE' THEN OLD.status END, NEW.status,
				CASE TG_OP WHEN 'UPDATE' THEN OLD.execution_number END, NEW.execution_number);
			RETURN NULL;
		END $$;
		CREATE TRIGGER watched AFTER INSERT OR UPDATE ON job_executions FOR EACH ROW EXECUTE FUNCTION record_execution();
	});
	return;
}

# What the history must not contain.  Job ids are not reused by those who are watched.
sub broken_history
{
	my ($node, $database) = @_;

	return $node->safe_psql($database, q{
		SELECT 'born as: ' || h::text FROM execution_history h WHERE old_status IS NULL AND (new_status <> 'QUEUED' OR new_number <> 1)
		UNION ALL
		SELECT 'no such step: ' || h::text FROM execution_history h
			WHERE old_status <> new_status AND NOT EXISTS (
				SELECT FROM job_state_steps() s
				WHERE s.machine = 'execution' AND s.from_status = h.old_status AND s.to_status = h.new_status)
		UNION ALL
		SELECT 'number not raised by one: ' || h::text FROM execution_history h
			WHERE old_status <> new_status AND new_number <> old_number + 1
		UNION ALL
		SELECT 'number used twice: ' || (tenant_id, job_id, device_id, new_number)::text FROM execution_history
			GROUP BY tenant_id, job_id, device_id, new_number HAVING count(*) > 1
		UNION ALL
		SELECT 'claimed twice: ' || (tenant_id, job_id, device_id)::text FROM execution_history
			WHERE new_status = 'IN_PROGRESS' AND old_status = 'QUEUED'
			GROUP BY tenant_id, job_id, device_id HAVING count(*) > 1
	});
}

# Lines of the server's log, from this offset on, that must not be there after an
# orderly run: internal errors, deadlocks, serialization failures, crashes, and
# anything a worker complained about.
sub complaints_in_log
{
	my ($node, $offset) = @_;
	my $log = slurp_file($node->logfile, $offset // 0);

	return join("\n", grep {
			/(?:ERROR|FATAL|PANIC):  (?:XX|40P01|40001|P0)/
			  || /PANIC:|TRAP:|terminated by signal/
			  || /iot_jobs (?:worker|launcher).*(?:ERROR|WARNING):/
	} split(/\n/, $log));
}

1;
