# Every kind of dump, into every kind of restore: the same rows, the same tables down
# to the operator's own policies, indexes, triggers, keys and grants, and guards that
# stand.  The worker is off where rows are compared, because it would do what they
# call for; what it does in the middle of a restore is a chapter of its own.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

use IotJobsData;

my $node = data_server('source', conf => "iot_jobs.worker_enabled = off\n");
$node->start;
my $dumps = PostgreSQL::Test::Utils::tempdir;

# ----------------------------------------------------------------
# The database to dump
# ----------------------------------------------------------------

$node->safe_psql('postgres', q{
	CREATE ROLE keeper;
	CREATE ROLE app LOGIN;
	CREATE ROLE operator LOGIN BYPASSRLS;
	CREATE DATABASE original;
});
$node->safe_psql('original', q{
	CREATE EXTENSION iot_jobs;

	-- the operator's own: columns, keys, indexes, policies, triggers, owner, storage
	CREATE TABLE authors (name text PRIMARY KEY);
	INSERT INTO authors VALUES ('alice'), ('bob');
	ALTER TABLE jobs ADD COLUMN priority int NOT NULL DEFAULT 5, ADD COLUMN "it's a ""note""" text;
	ALTER TABLE job_executions ADD COLUMN attempt_note text DEFAULT E'tab\there';
	ALTER TABLE jobs ADD CONSTRAINT jobs_author_fkey FOREIGN KEY (created_by) REFERENCES authors;
	ALTER TABLE job_executions ADD CONSTRAINT executions_device_fkey FOREIGN KEY (tenant_id, device_id) REFERENCES devices;
	ALTER TABLE job_executions ADD CONSTRAINT no_demo CHECK (device_id <> 'demo');
	CREATE TABLE job_notes (
		tenant_id text, job_id text, note text NOT NULL,
		FOREIGN KEY (tenant_id, job_id) REFERENCES jobs ON DELETE CASCADE);
	CREATE INDEX jobs_by_author ON jobs (created_by) INCLUDE (priority) WHERE priority > 3;
	CREATE INDEX executions_details ON job_executions USING gin (status_details);
	CREATE POLICY no_secrets ON jobs AS RESTRICTIVE FOR SELECT TO app USING (document_type <> 'secret');
	CREATE POLICY own_site ON job_executions AS RESTRICTIVE FOR ALL TO app USING (device_id <> 'd9') WITH CHECK (device_id <> 'd9');
	CREATE TABLE audit (at timestamptz DEFAULT now(), what text);
	CREATE FUNCTION record_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
	BEGIN
		INSERT INTO audit (what) VALUES (NEW.job_id || ' on ' || NEW.device_id || ' is ' || NEW.status);
		RETURN NULL;
	END $$;
	CREATE TRIGGER audited AFTER UPDATE OF status ON job_executions FOR EACH ROW
		WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION record_change();
	CREATE TRIGGER off_duty BEFORE DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
	ALTER TABLE jobs DISABLE TRIGGER off_duty;
	ALTER TABLE jobs OWNER TO keeper;
	ALTER TABLE job_executions OWNER TO keeper;
	ALTER TABLE job_executions FORCE ROW LEVEL SECURITY;
	ALTER TABLE job_executions SET (fillfactor = 60);
	COMMENT ON TABLE jobs IS 'the jobs of ''all'' tenants';

	-- grants, more and fewer than the extension gives
	GRANT SELECT ON tenants, devices, device_groups, device_group_members TO app, operator;
	GRANT SELECT, INSERT, UPDATE, DELETE ON jobs, job_executions TO app;
	GRANT SELECT ON jobs TO operator WITH GRANT OPTION;
	GRANT UPDATE (status_details) ON job_executions TO operator;
	GRANT EXECUTE ON FUNCTION create_job, start_next_pending_job_execution, update_job_execution TO app;
	GRANT EXECUTE ON FUNCTION cancel_job, purge_jobs TO operator WITH GRANT OPTION;
	REVOKE EXECUTE ON FUNCTION list_jobs FROM PUBLIC;
	GRANT EXECUTE ON FUNCTION list_jobs TO operator;
	REVOKE SELECT ON iot_jobs_worker, iot_jobs_fleet FROM PUBLIC;
	GRANT SELECT ON iot_jobs_fleet TO app, operator;

	-- rows in every state
	INSERT INTO tenants (tenant_id, name) VALUES ('acme', 'Acme "Ltd"'), ('globex', E'G\\\\lobex\nInc');
	INSERT INTO devices (tenant_id, device_id) SELECT t, 'd' || i FROM unnest('{acme,globex}'::text[]) t, generate_series(1, 9) i;
	INSERT INTO device_groups (tenant_id, group_id, description) VALUES ('acme', 'floor', 'ünïcode ☂');
	INSERT INTO device_group_members (tenant_id, group_id, device_id) VALUES ('acme', 'floor', 'd1'), ('acme', 'floor', 'd2');

	SELECT create_job('acme', 'firmware', '{"v": 1e40}', target_all => true, job_id => 'completed', created_by => 'alice', expires_in => '1 day');
	SELECT update_job_executions('acme', '[{"job_id": "completed", "device_id": "d1", "status": "SUCCEEDED"},
		{"job_id": "completed", "device_id": "d2", "status": "FAILED", "status_details": {"error": "☂ \"quoted\" \\\\ tab\t"}},
		{"job_id": "completed", "device_id": "d3", "status": "REJECTED", "status_details": {}}]');
	UPDATE jobs SET expires_at = '2020-02-29 12:34:56.789012+00' WHERE job_id = 'completed';
	SELECT run_job_sweep();
	SELECT create_job('acme', 'firmware', target_group_id => 'floor', job_id => 'running', created_by => 'bob', expires_in => '1 day');
	SELECT start_next_pending_job_execution('acme', 'd1', '{"progress": 0.5}');
	SELECT create_job('acme', 'secret', target_group_id => 'floor', job_id => 'canceled');
	SELECT cancel_job('acme', 'canceled');
	SELECT create_job('acme', 'firmware', target_group_id => 'floor', job_id => 'deleted');
	SELECT delete_job('acme', 'deleted', force => true);
	SELECT create_job('acme', 'firmware', target_device_id => 'd4', job_id => 'lost');
	SELECT update_job_execution('acme', 'lost', 'd4', 'SUCCEEDED');
	SELECT create_job('globex', 'firmware', target_all => true, job_id => 'overdue');
	SELECT start_next_pending_job_execution('globex', 'd5');
	UPDATE jobs SET expires_at = '2020-01-01' WHERE job_id = 'overdue';
	INSERT INTO jobs (job_id, tenant_id, document_type, target_all, updated_at) VALUES ('empty', 'globex', 'x', true, now());
	INSERT INTO job_notes VALUES ('acme', 'running', 'watch this one');
	UPDATE jobs SET "it's a ""note""" = E'back\\\\slash', priority = 9 WHERE job_id = 'running';
});

is( $node->safe_psql('original', q{SELECT string_agg(DISTINCT status, ' ' ORDER BY status) FROM jobs}),
	'CANCELED COMPLETED DELETION_IN_PROGRESS IN_PROGRESS', 'there is a job in every state');
is( $node->safe_psql('original', q{SELECT string_agg(DISTINCT status, ' ' ORDER BY status) FROM job_executions}),
	'FAILED IN_PROGRESS QUEUED REJECTED SUCCEEDED TIMED_OUT', 'and an execution');

# the seven tables, and the operator's own beside them
my @ten = (@IotJobsData::TABLES, qw(authors job_notes audit));
my $rows = rows($node, 'original', @ten);
my $rows_of_seven = rows($node, 'original');
my $portrait = portrait($node, 'original');

# the portrait sees what it is meant to see
like($portrait, qr/^$_/m, "the portrait has: $_")
  foreach (
	'trigger CREATE TRIGGER iot_jobs_guard .* ON public\.jobs .* of extension iot_jobs',
	'trigger CREATE TRIGGER iot_jobs_guard .* ON public\.job_executions .* of extension iot_jobs',
	'trigger CREATE TRIGGER iot_jobs_cascade_cancel .* of extension iot_jobs',
	'trigger CREATE TRIGGER off_duty .* enabled D',
	'policy no_secrets on jobs: RESTRICTIVE',
	'policy jobs_tenant_isolation on jobs',
	'table job_executions .* owner keeper security t force t options \{fillfactor=60\}',
	'function public\.create_job.*app=X',
	'function public\.list_jobs.*\{operator=X[^,]*,[^=]');
unlike($portrait, qr/^member of iot_jobs: table/m, 'the extension owns no table');

# ----------------------------------------------------------------
# Restoring
# ----------------------------------------------------------------

sub dump_to
{
	my ($name, @options) = @_;

	$node->command_ok([ 'pg_dump', '-f', "$dumps/$name", @options, 'original' ], "pg_dump to $name");
	return "$dumps/$name";
}

sub new_database
{
	my ($name) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $name TEMPLATE template0");
	return $name;
}

# a restore has to succeed in silence
sub restores
{
	my ($name, @command) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$node->command_checks_all([@command], 0, [], [qr/\A\z/], "$name: restores without a word");
	return;
}

sub psql_restore
{
	my ($database, $file, @options) = @_;

	return ('psql', '-X', '-q', '-o', "$dumps/output", '-v', 'ON_ERROR_STOP=1', @options, '-f', $file, '-d', $database);
}

# Equal to the original in every respect, and alive.
sub is_equal
{
	my ($server, $database, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;

	same_lines(rows($server, $database, @ten), $rows, "$name: the rows");
	same_lines(portrait($server, $database), $portrait, "$name: definitions, grants, triggers and extension");
	guards_hold($server, $database, $name);
	return;
}

my $plain = dump_to('plain.sql');
my $custom = dump_to('custom', '-Fc');
my $directory = dump_to('directory', '-Fd', '-j2');
my $extension = dump_to('extension.sql', '-e', 'iot_jobs');
my $secured = dump_to('secured.sql', '--enable-row-security');

restores('plain', psql_restore(new_database('plain'), $plain));
is_equal($node, 'plain', 'plain');
restores('plain, one transaction', psql_restore(new_database('plain_one'), $plain, '--single-transaction'));
is_equal($node, 'plain_one', 'plain, one transaction');
restores('-e iot_jobs', psql_restore(new_database('extension'), $extension));
is_equal($node, 'extension', '-e iot_jobs');
restores('--enable-row-security', psql_restore(new_database('secured'), $secured));
is_equal($node, 'secured', '--enable-row-security');
restores('custom', 'pg_restore', '--exit-on-error', '-d', new_database('custom'), $custom);
is_equal($node, 'custom', 'custom');
restores('custom, one transaction', 'pg_restore', '--single-transaction', '-d', new_database('custom_one'), $custom);
is_equal($node, 'custom_one', 'custom, one transaction');
restores('custom -j2', 'pg_restore', '--exit-on-error', '-j2', '-d', new_database('custom_j'), $custom);
is_equal($node, 'custom_j', 'custom -j2');
restores('directory -j2', 'pg_restore', '--exit-on-error', '-j2', '-d', new_database('directory_j'), $directory);
is_equal($node, 'directory_j', 'directory -j2');

# in sections, as those do who build indexes later
restores("sections: $_", 'pg_restore', '--exit-on-error', "--section=$_", '-d', $_ eq 'pre-data' ? new_database('sections') : 'sections', $custom)
  foreach ('pre-data', 'data', 'post-data');
is_equal($node, 'sections', 'in sections');

# over a database that has changed since
$node->safe_psql('custom_j', q{
	SELECT run_job_sweep();
	DROP POLICY no_secrets ON jobs;
	DROP INDEX executions_details;
	ALTER TABLE jobs DISABLE ROW LEVEL SECURITY;
	REVOKE ALL ON FUNCTION create_job FROM app;
});
isnt(rows($node, 'custom_j'), $rows_of_seven, 'a restored database has moved on');
restores('--clean --if-exists', 'pg_restore', '--exit-on-error', '--clean', '--if-exists', '-d', 'custom_j', $custom);
is_equal($node, 'custom_j', '--clean --if-exists');
restores('--clean --if-exists, one transaction', 'pg_restore', '--clean', '--if-exists', '--single-transaction', '-d', 'custom_j', $custom);
is_equal($node, 'custom_j', '--clean --if-exists, one transaction');
restores('--clean --if-exists over nothing', 'pg_restore', '--exit-on-error', '--clean', '--if-exists', '-d', new_database('clean'), $custom);
is_equal($node, 'clean', '--clean --if-exists over nothing');

# ----------------------------------------------------------------
# The parts apart
# ----------------------------------------------------------------

my $schema = dump_to('schema', '-Fc', '--schema-only');
my $data = dump_to('data', '-Fc', '--data-only');
my @load_data = ('pg_restore', '--exit-on-error', '--disable-triggers');

restores('schema, then data', 'pg_restore', '--exit-on-error', '-d', new_database('halves'), $schema);
is(rows($node, 'halves'), '', 'a schema-only restore brings no row, not even the choice of the registry');
restores('schema, then data', @load_data, '--single-transaction', '-d', 'halves', $data);
# pg_dump leaves every trigger enabled that it disabled, whatever it was before
$node->safe_psql('halves', 'ALTER TABLE jobs DISABLE TRIGGER off_duty');
is_equal($node, 'halves', 'schema, then data');

# the guards take rows for new ones unless told to stand aside
new_database('guarded');
restores('schema for the guards', 'pg_restore', '--exit-on-error', '-d', 'guarded', $schema);
$node->command_checks_all([ 'pg_restore', '--single-transaction', '-d', 'guarded', $data ], 1, [],
	[qr/a new job cannot be/], 'data without --disable-triggers are refused by the guards');
is(rows($node, 'guarded'), '', 'and none of them is there');

# into a database with a fresh extension, which made its own choice of the registry
$node->safe_psql(new_database('fresh'), q{
	CREATE EXTENSION iot_jobs;
	DELETE FROM iot_jobs_fleet;
});
my $seven = dump_to('seven', '-Fc', '--data-only', map { ('-t', $_) } @IotJobsData::TABLES);
$node->safe_psql('fresh', q{
	ALTER TABLE jobs ADD COLUMN priority int, ADD COLUMN "it's a ""note""" text;
	ALTER TABLE job_executions ADD COLUMN attempt_note text;
});
restores('data into a fresh extension', @load_data, '--single-transaction', '-d', 'fresh', $seven);
same_lines(rows($node, 'fresh'), $rows_of_seven, 'data into a fresh extension: the rows of the seven tables');
guards_hold($node, 'fresh', 'data into a fresh extension');

# ----------------------------------------------------------------
# A restored database lives on
# ----------------------------------------------------------------

my @as_acme = ('-U', 'app');
my $acme = q{SET app.tenant_id = 'acme'; };
is( $node->safe_psql('directory_j', $acme . q{
		SELECT total_executions FROM create_job('acme', 'x', target_group_id => 'floor', job_id => 'after');
		SELECT job_id FROM start_next_pending_job_execution('acme', 'd1');
		SELECT status FROM update_job_execution('acme', 'running', 'd1', 'SUCCEEDED');
		SELECT count(*) FROM jobs WHERE tenant_id <> 'acme' OR document_type = 'secret'}, extra_params => \@as_acme),
	"2\nrunning\nSUCCEEDED\n0", 'the app role goes on under its policies');
is(sqlstate_of($node, 'directory_j', $acme . q{SELECT cancel_job('acme', 'after')}, @as_acme),
	'42501', 'with no more rights than before');
is(sqlstate_of($node, 'directory_j', q{INSERT INTO jobs (job_id, tenant_id, document_type, target_all, created_by) VALUES ('z', 'acme', 'x', true, 'nobody')}),
	'23503', q{the operator's foreign key stands});
is($node->safe_psql('directory_j', q{SELECT expired, completed, deleted, unfinished FROM run_job_sweep()}),
	'8|1|3|f', 'a sweep does what was due when the dump was taken');
is($node->safe_psql('directory_j', q{SELECT count(*) > 0 FROM audit WHERE what LIKE 'overdue on % is TIMED_OUT'}),
	't', q{and the operator's trigger sees it});

# a plain DROP EXTENSION takes the guards and leaves the rows, as in the original
my $before = rows($node, 'plain');
$node->safe_psql('plain', 'DROP EXTENSION iot_jobs');
same_lines(rows($node, 'plain'), $before, 'DROP EXTENSION after a restore leaves the rows');
is( $node->safe_psql('plain', q{
		SELECT string_agg(tgname, ' ' ORDER BY tgname) FROM pg_trigger
		WHERE tgrelid IN ('jobs'::regclass, 'job_executions'::regclass) AND NOT tgisinternal}),
	'audited off_duty', 'and takes its triggers, and only its own');
$node->safe_psql('plain', 'CREATE EXTENSION iot_jobs');
same_lines(rows($node, 'plain'), $before, 'CREATE EXTENSION adopts the restored tables');
guards_hold($node, 'plain', 'DROP and CREATE EXTENSION after a restore');

# ----------------------------------------------------------------
# By a role under row security
# ----------------------------------------------------------------

my @tenant_dump = ('pg_dump', '-U', 'app', '--data-only', '--inserts', '-t', 'jobs', '-t', 'job_executions', 'original');
$node->command_fails_like([@tenant_dump], qr/row-level security policy/,
	'a dump that row security would thin out is refused');
{
	local $ENV{PGOPTIONS} = '-c app.tenant_id=globex';
	$node->command_ok([ @tenant_dump, '--enable-row-security', '-f', "$dumps/globex.sql" ], 'unless it is asked for');
}
like(slurp_file("$dumps/globex.sql"), qr/'overdue', 'globex'/, q{it has the tenant's rows});
unlike(slurp_file("$dumps/globex.sql"), qr/'acme'/, 'and no row of another tenant');

# ----------------------------------------------------------------
# The guess of CREATE EXTENSION, and how to overrule it
# ----------------------------------------------------------------

new_database('guess');
my $as_restore = q{SET xmloption = content; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; };
my $made = q{
	SELECT count(*) FROM pg_class WHERE relname IN ('jobs', 'job_executions', 'iot_jobs_fleet', 'tenants');
};
foreach my $case (
	[ '', 4, 'by itself it creates the tables' ],
	[ $as_restore, 0, 'in a session that looks like a restore it does not' ],
	[ 'SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; ', 4, 'two signs of a restore are no proof' ],
	[ "$as_restore SET iot_jobs.create_tables = on; ", 4, 'create_tables = on overrules the guess' ],
	[ 'SET iot_jobs.create_tables = off; ', 0, 'so does off' ],
	[ "$as_restore SET iot_jobs.create_tables = auto; ", 0, 'auto is the guess' ])
{
	my ($settings, $tables, $name) = @$case;

	is($node->safe_psql('guess', "BEGIN; $settings CREATE EXTENSION iot_jobs; $made ROLLBACK"), $tables, "CREATE EXTENSION: $name");
}

# the code without the tables says what is missing, and can be completed
$node->safe_psql('guess', "$as_restore CREATE EXTENSION iot_jobs");
is(sqlstate_of($node, 'guess', q{SELECT describe_job('acme', 'x')}), '42P01', 'without tables a call names the missing table');
is(sqlstate_of($node, 'guess', q{SELECT run_job_sweep()}), '42P01', 'so does the sweep');
$node->safe_psql('guess', 'DROP EXTENSION iot_jobs; CREATE EXTENSION iot_jobs');
is($node->safe_psql('guess', $made), 4, 'DROP and CREATE EXTENSION bring what is missing');

# ----------------------------------------------------------------
# The worker in the middle of a restore
# ----------------------------------------------------------------

# What a look at every job would do to tables that are half there: remove a job
# marked for deletion before its executions come, complete an expired one before its
# executions come.  So the worker must see that this is no database at work yet.
my $busy = data_server('busy', conf => "shared_preload_libraries = 'iot_jobs'\nlog_min_messages = debug1\n");
$busy->start;
$busy->safe_psql('postgres', 'CREATE ROLE keeper; CREATE ROLE app LOGIN; CREATE ROLE operator LOGIN BYPASSRLS; CREATE DATABASE halfway TEMPLATE template0');

# Have the worker look at everything, and wait until it has.
sub worker_looks
{
	my ($database, $name) = @_;
	my $logged = -s $busy->logfile;
	my $since = $busy->safe_psql($database, 'SELECT clock_timestamp()');
	my $deadline = time + seconds(10);
	my $seen;

	$busy->safe_psql($database, 'SELECT wake_job_worker()');
	do
	{
		$seen = slurp_file($busy->logfile, $logged) =~ /starting background worker process "iot_jobs worker for/
		  || $busy->safe_psql($database, qq{
				SELECT EXISTS (SELECT FROM pg_stat_activity
					WHERE backend_type = 'iot_jobs worker' AND datname = '$database' AND state_change > '$since')}) eq 't';
	} until ($seen || time > $deadline);
	ok($seen, "$database: the worker comes to look at $name");
	eventually($busy, 10, $database, qq{
			SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'iot_jobs worker' AND datname = '$database')
			OR EXISTS (SELECT FROM iot_jobs_worker WHERE database = '$database' AND state = 'idle')},
		"$database: it has looked");
	return;
}

sub step
{
	my ($name, @options) = @_;

	$busy->command_ok([ 'pg_restore', '--exit-on-error', @options, '-d', 'halfway', $custom ], "halfway: $name");
	return;
}

step('definitions', '--section=pre-data');
worker_looks('halfway', 'definitions without rows');
step('jobs', '--section=data', map { ('-t', $_) } qw(authors tenants jobs));
worker_looks('halfway', 'jobs without executions');
step('executions', '--section=data', map { ('-t', $_) } grep { !/^(authors|tenants|jobs)$/ } @ten);
worker_looks('halfway', 'executions without triggers');
same_lines(rows($busy, 'halfway', @ten), $rows, 'halfway: the worker leaves half a restore alone');
step('indexes, keys, triggers', '--section=post-data');

my $settled = q{
	SELECT string_agg(job_id || ' ' || status, ', ' ORDER BY job_id) = 'canceled CANCELED, completed COMPLETED, empty IN_PROGRESS, lost COMPLETED, overdue IN_PROGRESS, running IN_PROGRESS'
	FROM jobs};
$busy->safe_psql('halfway', 'SELECT wake_job_worker()');
eventually($busy, 10, 'halfway', $settled, 'halfway: once restored, it does what is due');

# the first it hears of this database is that there is nothing in it; the rest comes
# with nobody to tell, and the next look at everything has to find it
$busy->append_conf('postgresql.conf', "iot_jobs.heal_interval = 1\n");
$busy->reload;
$busy->safe_psql('postgres', 'CREATE DATABASE whole TEMPLATE template0');
my ($contents) = run_command([ 'pg_restore', '-l', $custom ]);
my @contents = split(/\n/, $contents);
append_to_file("$dumps/code.list", join("\n", grep { /EXTENSION/ } @contents));
append_to_file("$dumps/rest.list", join("\n", grep { !/EXTENSION/ } @contents));
$busy->command_ok([ 'pg_restore', '--exit-on-error', '-L', "$dumps/code.list", '-d', 'whole', $custom ], 'whole: the code');
worker_looks('whole', 'the code alone');
$busy->command_ok([ 'pg_restore', '--exit-on-error', '-j2', '-L', "$dumps/rest.list", '-d', 'whole', $custom ], 'whole: all the rest');
eventually($busy, 20, 'whole', $settled, 'whole: after the restore the worker comes by itself');
nothing_lost($busy, 'whole', 'a restore under load');
same_lines(portrait($busy, 'whole'), $portrait, 'and every definition is there');
is(complaints_in_log($busy), '', 'the worker had nothing to complain about');
$busy->stop;

# ----------------------------------------------------------------
# A whole cluster
# ----------------------------------------------------------------

$node->safe_psql('postgres', "DROP DATABASE $_")
  foreach qw(plain plain_one extension secured custom custom_one custom_j directory_j sections clean halves guarded fresh guess);
$node->command_ok([ 'pg_dumpall', '-f', "$dumps/all.sql" ], 'pg_dumpall');
$node->stop;

my $heir = data_server('heir', conf => "shared_preload_libraries = 'iot_jobs'\niot_jobs.worker_enabled = off\n");
$heir->start;
$heir->command_checks_all([ psql_restore('postgres', "$dumps/all.sql", '-v', 'ON_ERROR_STOP=0') ], 0, [],
	[qr/\A(?:psql:\S+ ERROR:  role "[^"]+" already exists\n)?\z/], 'pg_dumpall: restores');
is_equal($heir, 'original', 'pg_dumpall');
$heir->append_conf('postgresql.conf', "iot_jobs.worker_enabled = on\niot_jobs.heal_interval = 1\n");
$heir->reload;
eventually($heir, 20, 'original', $settled, 'pg_dumpall: the worker of the new cluster does what is due');
$heir->stop;

done_testing();
