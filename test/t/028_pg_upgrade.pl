# pg_upgrade, from one installation to the next: the same rows, the same tables down to
# an operator's own policy and trigger, the same choice of the registry, the same
# schedules, and guards that stand.
#
# IOT_JOBS_OLD names the roots of older installations, oldest first, with colons
# between: a root holds usr/lib/postgresql/N, iot_jobs included, and in libs what shared
# libraries this machine does not have.  ./check --all-versions makes them.  Without
# any, this version is upgraded to itself.

use strict;
use warnings;

use File::Basename;
use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

use IotJobsData;

my ($bindir) = run_command([ 'pg_config', '--bindir' ]);
my @roots = split(/:/, $ENV{IOT_JOBS_OLD} // '');
my @installations = ((map { glob("$_/usr/lib/postgresql/*") } @roots), dirname($bindir));
unshift @installations, $installations[0] if @installations == 1;
$ENV{LD_LIBRARY_PATH} = join(':', map { "$_/libs" } @roots) if @roots;

my $cron = !grep { !-e (run_command([ "$_/bin/pg_config", '--sharedir' ]))[0] . '/extension/pg_cron.control' } @installations;
my $conf = $cron
  ? "shared_preload_libraries = 'iot_jobs, pg_cron'\ncron.database_name = 'postgres'\n"
  : "shared_preload_libraries = 'iot_jobs'\n";
$conf .= "iot_jobs.worker_enabled = off\n";

sub server
{
	my ($number, $name) = @_;

	# 18 checksums pages unless told otherwise, and both sides must do the same
	return data_server($name // "server$number", conf => $conf, install_path => $installations[$number], init => { extra => ['-k'] });
}

# What versions say in different words: 17 has one more privilege to grant, and takes
# row types and array types for members, too; 18 counts NOT NULL among the constraints.
sub comparable
{
	my ($node) = @_;
	my @lines = split(/\n/, portrait($node, 'postgres'));
	my %relation = map { $_ => 1 } map { /^member of \w+: (?:table|view) (\S+)$/ } @lines;

	s/\barwdDxtm\b/arwdDxt/g foreach @lines;
	return join("\n", grep {
			!/^constraint \S+ of \S+: NOT NULL/
			  && !(/^member of \w+: type (\S+?)(\[\])?$/ && ($2 || $relation{$1}))
	} @lines);
}

sub schedules
{
	my ($node) = @_;

	return $cron ? $node->safe_psql('postgres', 'SELECT jobname, schedule, command, username, active FROM cron.job ORDER BY jobname') : '';
}

my $node = server(0);
$node->start;
$node->safe_psql('postgres', ($cron ? 'CREATE EXTENSION pg_cron;' : '') . q{
	CREATE ROLE keeper;
	CREATE ROLE app LOGIN;
	CREATE TABLE sites (tenant_id text, device_id text);
	CREATE TABLE members (tenant_id text, group_id text, device_id text);
	CREATE EXTENSION iot_jobs;
	SELECT use_fleet(devices => 'sites', group_members => 'members');
	CREATE POLICY not_secret ON jobs AS RESTRICTIVE FOR SELECT TO app USING (document_type <> 'secret');
	CREATE INDEX jobs_by_author ON jobs (created_by) WHERE created_by IS NOT NULL;
	CREATE TABLE notes (tenant_id text, job_id text, FOREIGN KEY (tenant_id, job_id) REFERENCES jobs ON DELETE CASCADE);
	CREATE TABLE seen (what text);
	CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS
		$$BEGIN INSERT INTO seen VALUES (NEW.job_id || NEW.status); RETURN NULL; END$$;
	CREATE TRIGGER seen AFTER UPDATE ON job_executions FOR EACH ROW EXECUTE FUNCTION see();
	ALTER TABLE jobs OWNER TO keeper;
	ALTER TABLE job_executions OWNER TO keeper;
	GRANT SELECT, INSERT, UPDATE, DELETE ON jobs, job_executions TO app;
	GRANT EXECUTE ON FUNCTION create_job TO app;

	INSERT INTO tenants (tenant_id) VALUES ('acme'), ('globex');
	INSERT INTO devices (tenant_id, device_id) VALUES ('acme', 'd1');
	INSERT INTO sites SELECT t, 'd' || i FROM unnest('{acme,globex}'::text[]) t, generate_series(1, 9) i;
	SELECT create_job('acme', 'x', '{"big": 1e40}', target_all => true, job_id => 'open', created_by => 'alice', expires_in => '1 day');
	SELECT start_next_pending_job_execution('acme', 'd1', '{"half": "way"}');
	SELECT create_job('acme', 'secret', target_all => true, job_id => 'canceled');
	SELECT cancel_job('acme', 'canceled');
	SELECT create_job('globex', 'x', target_device_id => 'd4', job_id => 'ended');
	SELECT update_job_execution('globex', 'ended', 'd4', 'SUCCEEDED');
	SELECT create_job('globex', 'x', target_all => true, job_id => 'overdue');
	UPDATE jobs SET expires_at = '2020-01-01' WHERE job_id = 'overdue';
	INSERT INTO notes VALUES ('acme', 'open');
});
$node->safe_psql('postgres', q{
	SELECT schedule_job('leap', '0 0 29 2 *', 'acme', 'x', target_all => true);
	SELECT schedule_job_retention('30 days');
}) if $cron;

my $rows = rows($node, 'postgres');
my $portrait = comparable($node);
my $schedules = schedules($node);
like($portrait, qr/policy not_secret on jobs: RESTRICTIVE/, 'there is something to lose');
$node->stop;

sub upgraded
{
	my ($old, $new) = @_;
	my $folder = PostgreSQL::Test::Utils::tempdir;

	# it leaves a script where it is called
	chdir($folder) or die "could not enter $folder: $!";
	return run_log(
		[
			$new->install_path . '/bin/pg_upgrade', '--no-sync',
			'--old-datadir' => $old->data_dir, '--new-datadir' => $new->data_dir,
			'--old-bindir' => $old->install_path . '/bin', '--new-bindir' => $new->install_path . '/bin',
			'--socketdir' => $new->host, '--old-port' => $old->port, '--new-port' => $new->port
		]);
}

# Can this pair of installations upgrade one plain table?  Not every pair of minor
# releases can: 15.20 and 17.12 mark each column with an option that 18.6 does not know.
sub can_upgrade_anything
{
	my ($number) = @_;
	my ($old, $new) = (server($number - 1, "plain_old$number"), server($number, "plain_new$number"));

	$old->start;
	$old->safe_psql('postgres', 'CREATE TABLE plain (a int)');
	$old->stop;
	return upgraded($old, $new);
}

foreach my $number (1 .. $#installations)
{
	my $new = server($number);
	my $name = sprintf('%s to %s', $node->pg_version, $new->pg_version);
	my $done = upgraded($node, $new);

  SKIP:
	{
		skip("pg_upgrade from $name fails on a database with one plain table", 1) if !$done && !can_upgrade_anything($number);
		ok($done, "$name: pg_upgrade");
	}
	last if !$done;
	$new->start;
	same_lines(rows($new, 'postgres'), $rows, "$name: the rows");
	same_lines(comparable($new), $portrait, "$name: definitions, policies, triggers, grants and extension");
	same_lines(schedules($new), $schedules, "$name: the schedules");
	guards_hold($new, 'postgres', $name);
	$new->stop;
	$node = $new;
}

# the upgraded database lives on
$node->append_conf('postgresql.conf', "iot_jobs.worker_enabled = on\n");
$node->start;
eventually($node, 60, 'postgres', q{SELECT status = 'COMPLETED' FROM jobs WHERE job_id = 'overdue'}, 'the worker does what is due');
is($node->safe_psql('postgres', q{SELECT count(*) FROM seen WHERE what = 'overdueTIMED_OUT'}), '9', q{under the eyes of the operator's trigger});
is($node->safe_psql('postgres', q{SELECT total_executions FROM create_job('acme', 'x', target_all => true)}), '9', 'the registry is the one that was chosen');
is($node->safe_psql('postgres', q{SET app.tenant_id = 'acme'; SELECT string_agg(job_id, ' ' ORDER BY job_id) FROM jobs WHERE job_id IN ('open', 'canceled', 'overdue')},
	extra_params => [ '-U', 'app' ]), 'open', 'the policies hide what they hid');
is($node->safe_psql('postgres', q{SELECT unschedule_job('leap')}), 't', 'a schedule can be taken back') if $cron;
is(broken_invariants($node, 'postgres'), '', 'every invariant holds');
is(complaints_in_log($node), '', 'without a complaint');
$node->stop;

done_testing();
