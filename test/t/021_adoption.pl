# A database that has lived with migration 077 for a while gets the extension, loses it
# in the middle of its work, and gets it again; no row is lost and what went wrong
# before is put right.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;
use Time::HiRes qw(usleep);

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

use IotJobsData;

# not preloaded: it has to work without a restart
my $node = data_server('host', conf => "autovacuum = off\nlog_autovacuum_min_duration = -1\n");
$node->start;

# ----------------------------------------------------------------
# The host: its registry, the migration, and what its services left
# ----------------------------------------------------------------

$node->safe_psql('postgres', q{
CREATE ROLE app LOGIN;

CREATE TABLE tenants (
    tenant_id TEXT PRIMARY KEY, name TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'ACTIVE',
    plan TEXT NOT NULL DEFAULT 'free', metadata JSONB NOT NULL DEFAULT '{}');
ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenants_self ON tenants FOR SELECT USING (tenant_id = current_setting('app.tenant_id', true));
CREATE TABLE device_state (
    tenant_id TEXT NOT NULL, site_id TEXT NOT NULL, device_id TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'ONLINE' CHECK (status IN ('ONLINE', 'STALE', 'OFFLINE')),
    last_seen_at TIMESTAMPTZ, state JSONB NOT NULL DEFAULT '{}', PRIMARY KEY (tenant_id, device_id));
CREATE TABLE device_groups (
    tenant_id TEXT NOT NULL, group_id TEXT NOT NULL, name TEXT NOT NULL, description TEXT, PRIMARY KEY (tenant_id, group_id));
CREATE TABLE device_group_members (
    tenant_id TEXT NOT NULL, group_id TEXT NOT NULL, device_id TEXT NOT NULL, added_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, group_id, device_id),
    FOREIGN KEY (tenant_id, group_id) REFERENCES device_groups ON DELETE CASCADE);
ALTER TABLE device_groups ENABLE ROW LEVEL SECURITY;
ALTER TABLE device_group_members ENABLE ROW LEVEL SECURITY;
CREATE POLICY groups_own ON device_groups USING (tenant_id = current_setting('app.tenant_id', true));
CREATE POLICY members_own ON device_group_members USING (tenant_id = current_setting('app.tenant_id', true));

}
. slurp_file("$FindBin::RealBin/../migration_077.sql") . q{
-- the host's own besides
CREATE INDEX jobs_newest ON jobs (tenant_id, created_at DESC);
GRANT SELECT ON tenants, device_state, device_groups, device_group_members TO app;
GRANT SELECT, INSERT, UPDATE, DELETE ON jobs, job_executions TO app;

INSERT INTO tenants (tenant_id, name) VALUES ('acme', 'Acme'), ('globex', 'Globex');
INSERT INTO device_state (tenant_id, site_id, device_id)
    SELECT t, 'hq', 'd' || i FROM unnest('{acme,globex}'::text[]) t, generate_series(1, 3000) i;
INSERT INTO device_groups (tenant_id, group_id, name) VALUES ('acme', 'floor', 'Floor');
INSERT INTO device_group_members (tenant_id, group_id, device_id) SELECT 'acme', 'floor', 'd' || i FROM generate_series(1, 5) i;

INSERT INTO jobs (job_id, tenant_id, document_type, target_group_id, status, expires_at, created_at, updated_at) VALUES
    ('completed', 'acme', 'reboot', 'floor', 'COMPLETED', '2026-02-01', '2026-01-01', '2026-01-02'),
    ('canceled', 'acme', 'reboot', 'floor', 'CANCELED', NULL, '2026-01-01', '2026-01-02'),
    ('deleted', 'acme', 'reboot', 'floor', 'DELETION_IN_PROGRESS', NULL, '2026-01-01', '2026-01-02'),
    -- the last two devices reported at the same time
    ('stuck', 'acme', 'reboot', 'floor', 'IN_PROGRESS', NULL, '2026-01-01', '2026-01-02'),
    -- the expiry tick has not come yet; one device is still at it
    ('expired', 'acme', 'reboot', 'floor', 'IN_PROGRESS', '2026-01-03', '2026-01-01', '2026-01-02'),
    ('all-expired', 'globex', 'reboot', 'floor', 'IN_PROGRESS', '2026-01-03', '2026-01-01', '2026-01-02'),
    ('running', 'acme', 'reboot', 'floor', 'IN_PROGRESS', now() + interval '1 day', '2026-01-01', '2026-01-02');
INSERT INTO job_executions (job_id, tenant_id, device_id, status, status_details, execution_number, queued_at, started_at, last_updated_at) VALUES
    ('completed', 'acme', 'd1', 'SUCCEEDED', '{"message": "ok"}', 3, '2026-01-01', '2026-01-02', '2026-01-02'),
    ('completed', 'acme', 'd2', 'FAILED', NULL, 3, '2026-01-01', '2026-01-02', '2026-01-02'),
    ('completed', 'acme', 'd3', 'TIMED_OUT', '{"reason": "job_expired"}', 1, '2026-01-01', NULL, '2026-01-01'),
    ('canceled', 'acme', 'd1', 'REJECTED', '{"reason": "job_canceled"}', 1, '2026-01-01', NULL, '2026-01-01'),
    -- the cancel and the insert of this one passed each other
    ('canceled', 'acme', 'd2', 'QUEUED', NULL, 1, '2026-01-01', NULL, '2026-01-01'),
    ('deleted', 'acme', 'd1', 'QUEUED', NULL, 1, '2026-01-01', NULL, '2026-01-01'),
    ('stuck', 'acme', 'd1', 'SUCCEEDED', NULL, 3, '2026-01-01', '2026-01-02', '2026-01-02'),
    ('stuck', 'acme', 'd2', 'REJECTED', NULL, 3, '2026-01-01', '2026-01-02', '2026-01-02'),
    ('expired', 'acme', 'd1', 'QUEUED', NULL, 1, '2026-01-01', NULL, '2026-01-01'),
    ('expired', 'acme', 'd2', 'IN_PROGRESS', '{"progress": 1}', 2, '2026-01-01', '2026-01-02', '2026-01-02'),
    ('all-expired', 'globex', 'd1', 'QUEUED', NULL, 1, '2026-01-01', NULL, '2026-01-01'),
    ('all-expired', 'globex', 'd2', 'FAILED', NULL, 2, '2026-01-01', '2026-01-02', '2026-01-02'),
    ('running', 'acme', 'd1', 'QUEUED', NULL, 1, '2026-01-01', NULL, '2026-01-01'),
    ('running', 'acme', 'd3', 'IN_PROGRESS', NULL, 2, '2026-01-01', '2026-01-02', '2026-01-02');
});

my @history = qw(tenants jobs job_executions);
my $rows = rows($node, 'postgres', @history);
my $portrait = portrait($node, 'postgres');

# ----------------------------------------------------------------
# The extension arrives
# ----------------------------------------------------------------

# held back, to see that adoption itself changes nothing
$node->append_conf('postgresql.conf', 'iot_jobs.worker_enabled = off');
$node->reload;
$node->safe_psql('postgres', 'CREATE EXTENSION iot_jobs');
# but one, which no device would ever see again and the host could not mean
my $raced = qr/^(job_executions (?=.*"job_id": "canceled")(?=.*"device_id": "d2").*)\n/m;
my $adopted = rows($node, 'postgres', @history) . "\n";
(my $expected = "$rows\n") =~ s/$raced//;
my $ended = $adopted =~ s/$raced// ? $1 : '';
like($ended, qr/"status": "REJECTED".*"status_details": \{"reason": "job_canceled"\}.*"execution_number": 2/,
	'CREATE EXTENSION ends what a cancel left open');
same_lines($adopted, $expected, 'and changes no other row');
same_lines(
	join("\n", grep { !/^(function|member|extension|trigger CREATE TRIGGER iot_jobs_|\S+ iot_jobs_|.*on iot_jobs_fleet|.*of iot_jobs_fleet|index .*iot_jobs_fleet|column iot_jobs_)/ }
		  split(/\n/, portrait($node, 'postgres'))),
	join("\n", grep { !/^extension/ } split(/\n/, $portrait)),
	'and no definition of the host');
is($node->safe_psql('postgres', 'SELECT devices, group_members FROM iot_jobs_fleet'),
	'device_state|device_group_members', q{it finds the host's registry});
guards_hold($node, 'postgres', 'after adoption');

# once more, with the worker, which nobody calls
$node->safe_psql('postgres', 'DROP EXTENSION iot_jobs');
$node->append_conf('postgresql.conf', 'iot_jobs.worker_enabled = on');
$node->reload;
$node->safe_psql('postgres', 'CREATE EXTENSION iot_jobs');
eventually($node, 10, 'postgres', q{SELECT status = 'COMPLETED' FROM jobs WHERE job_id = 'stuck'},
	'the worker completes the job whose completion was lost');
eventually($node, 10, 'postgres', q{SELECT status = 'COMPLETED' FROM jobs WHERE job_id = 'all-expired'},
	'it completes an expired job');
eventually($node, 10, 'postgres', q{SELECT NOT EXISTS (SELECT FROM jobs WHERE job_id = 'deleted')}, 'it finishes a deletion');
eventually($node, 10, 'postgres', q{
		SELECT string_agg(device_id || ' ' || status || ' ' || status_details::text || ' ' || execution_number, ', ' ORDER BY device_id)
			= 'd1 TIMED_OUT {"reason": "job_expired"} 2, d2 IN_PROGRESS {"progress": 1} 2'
		FROM job_executions WHERE job_id = 'expired'},
	'it expires what is queued, and leaves what is in progress');
is( $node->safe_psql('postgres', q{
		SELECT string_agg(job_id || ' ' || status, ', ' ORDER BY job_id) FROM jobs}),
	'all-expired COMPLETED, canceled CANCELED, completed COMPLETED, expired IN_PROGRESS, running IN_PROGRESS, stuck COMPLETED',
	'and leaves the rest as it was');
$node->safe_psql('postgres', q{SELECT update_job_execution('acme', 'expired', 'd2', 'SUCCEEDED')});
eventually($node, 10, 'postgres', q{SELECT status = 'COMPLETED' FROM jobs WHERE job_id = 'expired'},
	'the last report completes an expired job');

# ----------------------------------------------------------------
# The extension goes, and comes again, in the middle of the work
# ----------------------------------------------------------------

# As the host's role, under row security: through the functions, and by hand.  What a
# client is told was done goes to its file.
my $files = PostgreSQL::Test::Utils::tempdir;
my %script = (claim => '', report => '', host => '', create => '');

foreach my $i (1 .. 2000)
{
	$script{claim} .= qq{SELECT 'claim', job_id, device_id, execution_number FROM claim_job_executions('acme', 1, ARRAY['d$i']);\n};
	$script{report} .= qq{SELECT 'end', job_id, device_id, execution_number FROM update_job_execution('acme', 'load', 'd$i', 'SUCCEEDED');\n};
	$script{host} .= qq{
		UPDATE job_executions SET status = 'IN_PROGRESS', execution_number = execution_number + 1, last_updated_at = NOW(), started_at = NOW()
			WHERE tenant_id = 'acme' AND job_id = 'load' AND device_id = 'd@{[3001 - $i]}' AND status = 'QUEUED'
			RETURNING 'claim', job_id, device_id, execution_number;
		UPDATE job_executions SET status = 'FAILED', status_details = '{"by": "hand"}', execution_number = execution_number + 1, last_updated_at = NOW()
			WHERE tenant_id = 'acme' AND job_id = 'load' AND device_id = 'd@{[3001 - $i]}' AND status = 'IN_PROGRESS'
			RETURNING 'end', job_id, device_id, execution_number;
	} if $i <= 1000;
	$script{create} .= qq{
		BEGIN;
		INSERT INTO jobs (job_id, tenant_id, document_type, target_device_id) VALUES ('own-$i', 'acme', 'reboot', 'd$i');
		INSERT INTO job_executions (job_id, tenant_id, device_id) VALUES ('own-$i', 'acme', 'd$i') ON CONFLICT DO NOTHING RETURNING 'new', job_id, device_id, execution_number;
		COMMIT;
	} if $i <= 500;
}

my $grants = 'GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO app;';
$node->safe_psql('postgres', qq{
	$grants
	SELECT create_job('acme', 'reboot', target_all => true, job_id => 'load');
});
my $log = -s $node->logfile;

# What finds nothing left to do may do so again and again; jobs are created once.
my $enough = "$files/enough";
my @clients;
{
	local $ENV{PGOPTIONS} = '-c app.tenant_id=acme';
	foreach my $name (sort keys %script)
	{
		my $once = "psql -XAtq -U app -v VERBOSITY=verbose -d postgres -f '$files/$name.sql'";

		append_to_file("$files/$name.sql", $script{$name});
		push @clients, start_client($node,
			[ 'sh', '-c', $name eq 'create' ? $once : "$once; while [ ! -e '$enough' ]; do $once; done" ],
			out => "$files/$name.out", err => "$files/$name.err");
	}
}

# Whoever drops the extension under load gives way when he cannot have his locks at
# once, so that no caller ever waits long or is the victim of a deadlock.  He goes on
# until he was lucky five times, and stays away until somebody missed it.
my $gone = 0;
my $came = 0;
my %refusal;
my $deadline = time + seconds(180);
my $operator = sub {
	my ($statements) = @_;
	my ($status, $stdout, $stderr) = $node->psql('postgres', qq{
		\\set VERBOSITY sqlstate
		SET lock_timeout = '100ms';
		SET client_min_messages = error;
		$statements
	}, on_error_stop => 0);

	$refusal{$1}++ while $stderr =~ /ERROR:  (\w+)/g;
	return $stdout;
};
my $missed = sub { return scalar(() = join('', map { slurp_file("$files/$_.err") } keys %script) =~ /42883/g) };

while ($gone < 5 && time < $deadline)
{
	my $misses = $missed->();

	next if $operator->(q{
		DROP EXTENSION iot_jobs;
		SELECT 'still' FROM pg_extension WHERE extname = 'iot_jobs'}) =~ /still/;
	$gone++;
	usleep(10_000) while $missed->() == $misses && time < $deadline;
	while ($came < $gone && time < $deadline)
	{
		$came++ if $operator->(qq{
			BEGIN;
			CREATE EXTENSION iot_jobs;
			$grants
			COMMIT;
			SELECT 'there' FROM pg_extension WHERE extname = 'iot_jobs'}) =~ /there/;
	}
}
append_to_file($enough, '');
ok(finished(seconds(60), @clients), 'the clients came to their end');
note("gone $gone times, came $came times");
is("$gone $came", '5 5', 'the extension was dropped and created under load');
is(join(' ', grep { $_ ne '55P03' && $_ ne '25P02' } sort keys %refusal), '', 'with no refusal but that of its own patience');
$node->safe_psql('postgres', "CREATE EXTENSION IF NOT EXISTS iot_jobs; $grants");

my $told = join('', map { slurp_file("$files/$_.out") } keys %script);
my %refused;
my $complaints = join('', map { slurp_file("$files/$_.err") } keys %script);
# The server takes no lock on a function between parsing and calling it, nor on the
# composite type of its result, and says so itself when one is gone in between.
my $vanished = qr/ERROR:  XX000: (?:cache lookup failed for (?:function|type) \d+|could not open relation with OID \d+)/;
$complaints =~ s/$vanished//g;
$refused{$1}++ while $complaints =~ /(?:ERROR|FATAL|PANIC):  (\w+): /g;
note(join(', ', map { "$_: $refused{$_}" } sort keys %refused));
cmp_ok($refused{42883} // 0, '>', 0, 'callers met the gap');
is(join(' ', grep { $_ ne '42883' } sort keys %refused), '', 'and were told nothing but that there is no such function');

# what was acknowledged is there
$node->safe_psql('postgres', 'CREATE TABLE told (what text, job_id text, device_id text, execution_number bigint)');
append_to_file("$files/told", $told);
$node->safe_psql('postgres', "\\copy told FROM '$files/told' WITH (DELIMITER '|')");
cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM told WHERE what = '$_'"), '>', 100, "enough was done: $_")
  foreach qw(claim end new);
is($node->safe_psql('postgres', q{SELECT count(*), count(DISTINCT device_id) FROM job_executions WHERE job_id = 'load'}),
	'3000|3000', 'no execution is lost');
is( $node->safe_psql('postgres', q{
		SELECT count(*) FROM told t LEFT JOIN job_executions e USING (job_id, device_id)
		WHERE e.job_id IS NULL OR e.execution_number < t.execution_number
		   OR t.what = 'claim' AND e.status = 'QUEUED'
		   OR t.what = 'end' AND e.status NOT IN ('SUCCEEDED', 'FAILED')}),
	'0', 'nothing that was acknowledged is lost');
is($node->safe_psql('postgres', q{SELECT count(*) FROM (SELECT FROM told WHERE what = 'claim' GROUP BY job_id, device_id HAVING count(*) > 1) t}),
	'0', 'nothing was claimed twice');
same_lines($node->safe_psql('postgres', q{SELECT j::text FROM jobs j WHERE job_id IN ('completed', 'canceled') ORDER BY job_id}),
	join("\n", map { $node->safe_psql('postgres', "SELECT j::text FROM jobs j WHERE job_id = '$_'") } qw(canceled completed)),
	'the finished jobs are as they were');

# and the work goes on to its end
guards_hold($node, 'postgres', 'after DROP and CREATE under load');
$node->safe_psql('postgres', q{
	SELECT count(*) FROM claim_job_executions('acme', 10000);
	SELECT count(*) FROM update_job_executions('acme',
		(SELECT jsonb_agg(jsonb_build_object('job_id', job_id, 'device_id', device_id, 'status', 'SUCCEEDED'))
		 FROM job_executions WHERE tenant_id = 'acme' AND status = 'IN_PROGRESS'));
});
eventually($node, 20, 'postgres', q{SELECT count(*) = 0 FROM jobs WHERE status = 'IN_PROGRESS'}, 'every job completes by itself');
is( $node->safe_psql('postgres', q{SELECT job_id, device_id FROM job_executions WHERE status IN ('QUEUED', 'IN_PROGRESS')}),
	'', 'and nothing is open any more');
is(join("\n", grep { !/$vanished/ } split(/\n/, complaints_in_log($node, $log))), '', 'nothing worse is in the log');
nothing_lost($node, 'postgres', 'dropped and created under load');

$node->stop;
done_testing();
