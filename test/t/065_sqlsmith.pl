# Statements that nobody would write, from SQLsmith, as a role with the rights of an
# application: nothing crashes, no internal error comes out of a function of the
# extension, and no other tenant is touched.
#
# IOT_JOBS_SMITH_QUERIES sets how many (default 400), IOT_JOBS_SEED repeats a run.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use POSIX qw(WNOHANG);
use Test::More;
use Time::HiRes qw(time usleep);

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

use IotJobsData;

my ($sqlsmith) = grep { -x } map { "$_/sqlsmith" } split(/:/, $ENV{PATH}), '/usr/bin';
plan skip_all => '***** SQLsmith is not installed: NOTHING OF THIS WAS TESTED *****' unless $sqlsmith;

my $queries = $ENV{IOT_JOBS_SMITH_QUERIES} // 400;
my $seed = $ENV{IOT_JOBS_SEED} // int(rand(1_000_000));
my $node = data_server('smith', conf => "iot_jobs.worker_enabled = off\nshared_preload_libraries = 'iot_jobs'\n");

$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION iot_jobs;
	CREATE ROLE smith LOGIN;
	ALTER ROLE smith SET statement_timeout = '3s';
	ALTER ROLE smith SET log_statement = 'all';
	ALTER ROLE smith SET app.tenant_id = 'a';
	GRANT SELECT, INSERT, UPDATE, DELETE ON jobs, job_executions TO smith;
	GRANT SELECT ON tenants, devices, device_groups, device_group_members TO smith;
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO smith;
	INSERT INTO tenants (tenant_id) VALUES ('a'), ('b');
	INSERT INTO devices (tenant_id, device_id) SELECT t, 'd' || i FROM unnest('{a,b}'::text[]) t, generate_series(1, 5) i;
	SELECT create_job(t, 't', target_all => true, job_id => 'j' || i) FROM unnest('{a,b}'::text[]) t, generate_series(1, 5) i;
});
my $others = q{SELECT md5((SELECT string_agg(j::text, '' ORDER BY j.job_id) FROM jobs j WHERE tenant_id = 'b') || (SELECT string_agg(e::text, '' ORDER BY e.job_id, e.device_id) FROM job_executions e WHERE tenant_id = 'b'))};
my $before = $node->safe_psql('postgres', $others);
my $err = $node->basedir . '/sqlsmith.err';
my $smith = start_client($node, [ $sqlsmith, '--target=host=' . $node->host . ' port=' . $node->port . ' user=smith dbname=postgres', "--max-queries=$queries", "--seed=$seed" ], err => $err);
my $start = time;

# it would ask a server that is gone for ever
until (waitpid($smith, WNOHANG) == $smith)
{
	kill 'KILL', $smith if time - $start > seconds(1800) || !-e $node->data_dir . '/postmaster.pid';
	usleep(100_000);
}
my $exit = $?;

note("seed $seed");
is($exit, 0, 'SQLsmith came to its end') or diag(substr(slurp_file($err), -2000));
my $log = slurp_file($node->logfile);
is(join("\n", $log =~ /^.*(?:PANIC:|TRAP:|terminated by signal).*$/mg), '', 'nothing crashed');
is($node->safe_psql('postgres', $others), $before, 'the other tenant is as it was');
is($node->safe_psql('postgres', q{SELECT count(*) FROM verify_jobs(grace => '1 day')}), '0', 'and everything else as it must be');

# The server has internal errors of its own; ours come from our files.
my $ours = join '|', map { s{.*/}{}r } glob("$FindBin::RealBin/../../src/*.c");
is(join("\n", $log =~ /^(.*ERROR:  XX.*\n(?:(?!.*LOCATION:).*\n)*.*LOCATION:  \w+, (?:$ours):\d+)$/mg), '', 'no internal error of ours');
# Enough of it was about us.
my $tables = () = $log =~ /\bpublic\.(?:jobs|job_executions|iot_jobs_\w+|devices|tenants)\b/g;
my $functions = () = $log =~ /\bpublic\.\w+\(/g;
cmp_ok($tables, '>', $queries / 20, "tables of the extension were in it $tables times, functions $functions times");

$node->stop;
done_testing();
