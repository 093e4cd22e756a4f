# An upgrade while clients call: ALTER EXTENSION UPDATE under load, and a newer library
# in the place of the old one before the server is restarted.  Callers are refused where
# library and SQL objects do not fit, and told nothing else; the service goes on by
# itself; nothing that was acknowledged is lost.
#
# The newer library is this tree, built with another version.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use File::Copy qw(copy);
use Test::More;
use Time::HiRes qw(time usleep);

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

use IotJobsCallers;
use IotJobsData;

my $newer = '99.0';
my $tree = "$FindBin::RealBin/../..";
my ($sharedir) = run_command([ 'pg_config', '--sharedir' ]);
my ($libdir) = run_command([ 'pg_config', '--pkglibdir' ]);
my $scripts = "$sharedir/extension";
my $installed = "$libdir/iot_jobs.so";
plan skip_all => "no right to write to $scripts and $libdir" unless -w $scripts && -w $libdir;
plan skip_all => 'the sources are not here' unless -e "$tree/src/iot_jobs.h";

my ($version) = slurp_file("$scripts/iot_jobs.control") =~ /^default_version\s*=\s*'(.*)'/m;
my ($function) = slurp_file("$scripts/iot_jobs--$version.sql") =~ /^(CREATE FUNCTION job_state_steps\(.*?;\n)COMMENT/ms;
my @ways = map { "$scripts/iot_jobs--$_.sql" } "$version--$newer", "$newer--$version";
my $kept = "$installed.kept";

append_to_file($_, $function =~ s/^CREATE/CREATE OR REPLACE/r) foreach @ways;

END
{
	unlink @ways if @ways;
	rename($kept, $installed) if defined $kept && -e $kept;
}

# As an installation replaces it: who has the old file mapped keeps it.
sub replace_library
{
	my ($from) = @_;

	copy($from, "$installed.new") or die "could not copy $from: $!";
	rename("$installed.new", $installed) or die "could not rename: $!";
	return;
}

sub build_newer_library
{
	my $folder = PostgreSQL::Test::Utils::tempdir;

	system_or_bail('cp', '-r', map({ "$tree/$_" } qw(Makefile iot_jobs.control sql src)), $folder);
	my $header = slurp_file("$folder/src/iot_jobs.h");
	$header =~ s/^(#define IJ_VERSION\s+)"\Q$version\E"/$1"$newer"/m or die 'the header names no version';
	unlink("$folder/src/iot_jobs.h", glob("$folder/src/*.o"));
	append_to_file("$folder/src/iot_jobs.h", $header);
	system_or_bail('make', '-s', '-C', $folder, 'with_llvm=no', 'MAKEFLAGS=', 'iot_jobs.so');
	return "$folder/iot_jobs.so";
}

my $library = build_newer_library();
my $schema = q{
	CREATE EXTENSION iot_jobs;
	INSERT INTO tenants (tenant_id) VALUES ('acme'), ('beta');
	INSERT INTO devices (tenant_id, device_id) SELECT 'acme', 'd' || i FROM generate_series(1, 20) i;
	INSERT INTO devices (tenant_id, device_id) VALUES ('beta', 'd1');
};

# one server that preloads the library, and one that does not
my $node = data_server('preloaded', conf => "shared_preload_libraries = 'iot_jobs'\n");
my $plain = data_server('plain');
foreach my $server ($node, $plain)
{
	$server->start;
	$server->safe_psql('postgres', $schema);
}

my $callers = IotJobsCallers->new($node, q{
SELECT 'new', tenant_id, job_id, NULL, total_executions FROM create_job('acme', 'x', target_all => true);
SELECT 'claim', tenant_id, job_id, device_id, execution_number FROM claim_job_executions('acme', 15);
SELECT status, 'acme', job_id, device_id, execution_number FROM update_job_executions('acme', (
	SELECT COALESCE(jsonb_agg(jsonb_build_object('job_id', job_id, 'device_id', device_id, 'status', 'SUCCEEDED')), '[]')
	FROM (SELECT * FROM job_executions WHERE tenant_id = 'acme' AND status = 'IN_PROGRESS' LIMIT 15) e)) WHERE accepted;
});

sub refusals
{
	my %errors = $callers->errors;

	return $errors{55000} // 0;
}

# Callers are refused from now on.
sub are_refused
{
	my ($name) = @_;
	my $before = refusals();
	my $deadline = time + seconds(60);

	usleep(5_000) while refusals() == $before && time < $deadline;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return cmp_ok(refusals(), '>', $before, $name);
}

# ----------------------------------------------------------------
# The SQL objects change under the callers
# ----------------------------------------------------------------

$callers->start(3);
for my $round (1 .. 5)
{
	ok($callers->go_on(2000), "round $round: callers are told things");
	$node->safe_psql('postgres', "ALTER EXTENSION iot_jobs UPDATE TO '$newer'");
	are_refused("round $round: callers are refused while the SQL objects are newer");
	$node->safe_psql('postgres', "ALTER EXTENSION iot_jobs UPDATE TO '$version'");
}
ok($callers->go_on(2000), 'and go on');

# ----------------------------------------------------------------
# A newer library on disk
# ----------------------------------------------------------------

my $session = $plain->background_psql('postgres', on_error_stop => 0);
is($session->query(q{SELECT status FROM create_job('acme', 'x', target_all => true, job_id => 'old')}), 'IN_PROGRESS', 'not preloaded: a session is at work');

copy($installed, $kept) or die "could not copy $installed: $!";
replace_library($library);

my $before = refusals();
ok($callers->go_on(4000), 'preloaded: a newer library on disk changes nothing');
my $worker = $node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'iot_jobs worker'});
is($worker, 't', 'a worker is told to end');
# of a tenant whose executions no caller claims, and writes down, before they are deleted
$node->safe_psql('postgres', q{SELECT create_job('beta', 'x', target_device_id => 'd1', job_id => 'after')});
$node->safe_psql('postgres', q{SELECT cancel_job('beta', 'after'); SELECT delete_job('beta', 'after', force => true)});
eventually($node, 120, 'postgres', q{SELECT NOT EXISTS (SELECT FROM jobs WHERE job_id = 'after')}, 'and the next one works');
is(refusals(), $before, 'nobody was refused');

is($session->query(q{SELECT status FROM update_job_execution('acme', 'old', 'd1', 'SUCCEEDED')}), 'SUCCEEDED', 'not preloaded: the session goes on');
my $refused = qr/55000: iot_jobs library is version \Q$newer\E, but its SQL objects are version \Q$version\E/;
my ($status, $out, $err) = $plain->psql('postgres', q{SELECT describe_job('acme', 'old')}, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
like($err, $refused, 'a new session is refused');
$plain->safe_psql('postgres', 'ALTER EXTENSION iot_jobs UPDATE TO ' . "'$newer'");
is($plain->safe_psql('postgres', q{SELECT status FROM update_job_execution('acme', 'old', 'd2', 'SUCCEEDED')}), 'SUCCEEDED', 'until the SQL objects are updated, too');
like($session->query(qq{SELECT describe_job('acme', 'old');\n\\echo :LAST_ERROR_SQLSTATE :LAST_ERROR_MESSAGE\n}),
	qr/^55000 iot_jobs library is version \Q$version\E, but its SQL objects are version \Q$newer\E$/m, 'then it is the old session that is');
$session->quit;
is($plain->safe_psql('postgres', q{SELECT count(*) FROM verify_jobs(grace => '1 day')}), '0', 'nothing is broken');

# ----------------------------------------------------------------
# The restart, and the other half of the upgrade
# ----------------------------------------------------------------

$node->restart;
are_refused('restarted: callers are refused until the update');
$node->safe_psql('postgres', "ALTER EXTENSION iot_jobs UPDATE TO '$newer'");
is($node->safe_psql('postgres', q{SELECT extversion FROM pg_extension WHERE extname = 'iot_jobs'}), $newer, 'updated under load');
ok($callers->go_on(2000), 'and callers go on');
ok($callers->stop, 'the clients come to their end');
$node->safe_psql('postgres', q{SELECT count(cancel_job(tenant_id, job_id, force => true)) FROM jobs WHERE status = 'IN_PROGRESS'});
$node->safe_psql('postgres', q{SELECT create_job('acme', 'x', target_device_id => 'd1', job_id => 'last')});
$node->safe_psql('postgres', q{SELECT update_job_execution('acme', 'last', 'd1', 'SUCCEEDED')});
eventually($node, 120, 'postgres', q{SELECT status = 'COMPLETED' FROM jobs WHERE job_id = 'last'}, 'and so does the worker');

nothing_lost($node, 'postgres', 'after the upgrade', ledger => $callers->ledger);
my %errors = $callers->errors;
note(join(', ', map { "$_: $errors{$_}" } sort keys %errors));
is(join(' ', grep { !/^(?:55000|IJ002)$/ } sort keys %errors), '', 'nobody was told anything but a refusal, or that others were first');
unlike(slurp_file($node->logfile), qr/TRAP:|PANIC:|terminated by signal/, 'and nothing worse is in the log');

$node->stop;
$plain->stop;
done_testing();
