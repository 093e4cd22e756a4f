# The clock is set back two hours, and ahead thirty days, under a running server:
# nothing ends early, nothing waits for the old time to come, and what is due is done.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

use IotJobsWorker;

my $folder = PostgreSQL::Test::Utils::tempdir;
plan skip_all => 'no C compiler: the clock was not moved'
  if system_log($ENV{CC} // 'cc', '-O1', '-fPIC', '-shared', '-o', "$folder/clock.so", "$FindBin::RealBin/../clock.c") != 0;

# seconds away from the real time, for everybody at once
sub set_clock
{
	my ($seconds) = @_;

	open(my $file, -e "$folder/clock" ? '+<' : '>', "$folder/clock") or die;
	syswrite($file, pack('q', $seconds)) == 8 or die;
	close($file);
	return;
}

use constant DAY => 24 * 60 * 60;

set_clock(0);
my $node = new_server('clock', preload => 1, start => 0, conf => "iot_jobs.heal_interval = 0\n");
{
	local $ENV{LD_PRELOAD} = "$folder/clock.so";
	local $ENV{IJTEST_CLOCK} = "$folder/clock";
	$node->start;
}
$node->safe_psql('postgres', 'CREATE EXTENSION iot_jobs');
add_fleet($node, 'postgres', 3);

sub create
{
	my ($job, $expires_in) = @_;

	$node->safe_psql('postgres', "SELECT create_job('acme', 'reboot', target_all => true, job_id => '$job', expires_in => '$expires_in')");
	return;
}

sub works
{
	my ($when) = @_;
	(my $job = $when) =~ s/ /-/g;

	$node->safe_psql('postgres', qq(
SELECT create_job('acme', 'reboot', target_device_id => 'd1', job_id => 'told-$job');
SELECT update_job_execution('acme', 'told-$job', 'd1', 'SUCCEEDED');));
	job_becomes($node, 10, 'postgres', "told-$job", 'COMPLETED', "$when: who reports is heard");
	create("due-$job", '1 second');
	job_becomes($node, 10, 'postgres', "due-$job", 'COMPLETED', "$when: a deadline is kept");
	return;
}

my $real = $node->safe_psql('postgres', 'SELECT now()');
works('at first');
create('in an hour', '1 hour');
create('in a month', '29 days');
create('later', '40 days');
$node->safe_psql('postgres', q(
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN
  IF NEW.job_id = 'refused' THEN RAISE EXCEPTION 'not now'; END IF;
  RETURN NEW;
END$$;
CREATE TRIGGER refuse BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT create_job('acme', 'reboot', target_device_id => 'd1', job_id => 'refused');
SELECT update_job_execution('acme', 'refused', 'd1', 'SUCCEEDED');));
within($node, 10, 'postgres', q(SELECT last_error = 'not now' FROM iot_jobs_worker), 'a job that fails is put off');

set_clock(-2 * 60 * 60);
is($node->safe_psql('postgres', "SELECT now() < '$real'::timestamptz - interval '1 hour'"), 't', 'the clock is back two hours');
$node->safe_psql('postgres', 'DROP TRIGGER refuse ON jobs');
job_becomes($node, 10, 'postgres', 'refused', 'COMPLETED', 'what was put off does not wait two hours');
works('two hours back');
my $worker = worker_pid($node, 'postgres');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
worker_returns($node, 10, 'postgres', $worker, 'and a worker that is stopped then comes back');
works('still two hours back');
is($node->safe_psql('postgres', q(SELECT string_agg(status, ' ') FROM jobs WHERE job_id IN ('in an hour', 'in a month', 'later'))),
	'IN_PROGRESS IN_PROGRESS IN_PROGRESS', 'nothing ended early');
is( $node->safe_psql('postgres', q(
SELECT count(*) FROM job_executions WHERE last_updated_at < queued_at OR started_at < queued_at)), '0', 'no row has its times in disorder');

set_clock(30 * DAY);
is($node->safe_psql('postgres', "SELECT now() > '$real'::timestamptz + interval '29 days'"), 't', 'the clock is thirty days ahead');
works('thirty days ahead');
job_becomes($node, 10, 'postgres', $_, 'COMPLETED', "what was due $_ is done") foreach 'in an hour', 'in a month';
is($node->safe_psql('postgres', q(SELECT status FROM jobs WHERE job_id = 'later')), 'IN_PROGRESS', 'what is due after that is not');

# a worker that failed is not followed by the next one at once; nor after thirty days
$worker = worker_pid($node, 'postgres');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker, 10000)");
set_clock(0);
works('back in the present');
is($node->safe_psql('postgres', q(SELECT status FROM jobs WHERE job_id = 'later')), 'IN_PROGRESS', 'what is due later waits');
is($node->safe_psql('postgres', q(SELECT verify_jobs())), '', 'every invariant holds');
$node->stop;

done_testing();
