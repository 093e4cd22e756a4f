# ALTER EXTENSION UPDATE: every way from an older version ends in what a fresh install
# gives, and until it is done, or the library has been replaced as well, calls say
# which half is missing.
#
# A library has one version.  The skews are made on the other side: SQL objects of a
# version that is made up here, older or newer than the library.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

use IotJobsData;

my ($sharedir) = run_command([ 'pg_config', '--sharedir' ]);
my $scripts = "$sharedir/extension";
plan skip_all => "no right to write to $scripts" unless -w $scripts;

my ($version) = slurp_file("$scripts/iot_jobs.control") =~ /^default_version\s*=\s*'(.*)'/m;
my $install = slurp_file("$scripts/iot_jobs--$version.sql");
my @made_up;

sub make_up
{
	my ($path, $text) = @_;

	push @made_up, "$scripts/iot_jobs--$path.sql";
	append_to_file($made_up[-1], $text);
	return;
}

END
{
	unlink @made_up;
}

# All that a script can leave behind, one fact a line.
sub listing
{
	my ($node, $database) = @_;

	return portrait($node, $database) . "\n" . $node->safe_psql($database, q{
		SET search_path = pg_catalog;
		WITH member AS (
			SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension x ON d.refobjid = x.oid
			WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND x.extname = 'iot_jobs'
		), fact(line) AS (
			SELECT regexp_replace(pg_get_functiondef(objid), '\s+', ' ', 'g') FROM member WHERE classid = 'pg_proc'::regclass
			UNION ALL
			SELECT format('view %s: %s', c.oid::regclass, pg_get_viewdef(c.oid))
				FROM member JOIN pg_class c ON classid = 'pg_class'::regclass AND objid = c.oid AND relkind = 'v'
			UNION ALL
			SELECT format('type %s: %s', t.oid::regtype, array(
					SELECT format('%s %s', attname, format_type(atttypid, atttypmod)) FROM pg_attribute WHERE attrelid = typrelid ORDER BY attnum))
				FROM member JOIN pg_type t ON classid = 'pg_type'::regclass AND objid = t.oid
			UNION ALL
			SELECT format('comment on %s: %s', pg_describe_object(classid, objid, 0), obj_description(objid, classid::regclass::name)) FROM member
		)
		SELECT line FROM fact ORDER BY line COLLATE "C"
	});
}

my $fleet = q{
	INSERT INTO tenants (tenant_id) VALUES ('acme');
	INSERT INTO devices (tenant_id, device_id) VALUES ('acme', 'd1');
};

my $node = data_server('upgrade', conf => "shared_preload_libraries = 'iot_jobs'\n");
$node->start;

$node->safe_psql('postgres', 'CREATE DATABASE fresh TEMPLATE template0');
$node->safe_psql('fresh', 'CREATE EXTENSION iot_jobs');
my $fresh = listing($node, 'fresh');

# ----------------------------------------------------------------
# What was released
# ----------------------------------------------------------------

# The versions, other than the newest, that have an install script and a way up.
sub old_versions
{
	return split(/\n/, $node->safe_psql('postgres', qq{
		SELECT source FROM pg_extension_update_paths('iot_jobs') p
		WHERE target = '$version' AND path IS NOT NULL ORDER BY source
	}));
}

my @scripts = map { m{--([^-]+)--([^-]+)\.sql$} ? [ $1, $2 ] : () } glob("$scripts/iot_jobs--*.sql");
my %released = map { $_ => 1 } old_versions();
ok($released{ $_->[0] }, "a script from $_->[0] to $_->[1] is on a way to $version") foreach @scripts;

sub upgrade_from
{
	my ($old) = @_;
	my $database = "from_$old";

	$node->safe_psql('postgres', qq{CREATE DATABASE "$database" TEMPLATE template0});
	$node->safe_psql($database, "CREATE EXTENSION iot_jobs VERSION '$old'; $fleet");
	my $before = rows($node, $database);
	$node->safe_psql($database, 'ALTER EXTENSION iot_jobs UPDATE');
	return ($before, rows($node, $database), listing($node, $database));
}

foreach my $old (sort keys %released)
{
	ok(-e "$scripts/iot_jobs--$old.sql", "the install script of $old was kept");
	my ($before, $after, $listing) = upgrade_from($old);
	same_lines($after, $before, "from $old: the rows stay");
	same_lines($listing, $fresh, "from $old: what it becomes is a fresh $version");
}

# ----------------------------------------------------------------
# What was never released: a good way and a bad one
# ----------------------------------------------------------------

# older, by one function; its update forgets, or not, the comment
my ($function) = $install =~ /^(CREATE FUNCTION job_state_steps\(.*?;\n)COMMENT/ms;
my ($comment) = $install =~ /^(COMMENT ON FUNCTION job_state_steps.*?;\n)/ms;
my $older = $install =~ s/\Q$function$comment\E//r;
isnt($older, $install, 'an older version could be made up');
make_up('0.8', $older);
make_up("0.8--$version", $function);
make_up('0.9', $older);
make_up("0.9--$version", $function . $comment);

my ($before, $after, $listing) = upgrade_from('0.9');
same_lines($after, $before, 'a good script: the rows stay');
same_lines($listing, $fresh, 'a good script: what it becomes is a fresh install');
isnt((upgrade_from('0.8'))[2], $fresh, 'a script that forgets a comment is found out');

# ----------------------------------------------------------------
# One half of an upgrade
# ----------------------------------------------------------------

# Every way in says the same.
sub is_refused
{
	my ($session, $sql, $sql_version, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return like($session->query("$sql;\n\\echo :LAST_ERROR_SQLSTATE :LAST_ERROR_MESSAGE\n"),
		qr/^55000 iot_jobs library is version \Q$version\E, but its SQL objects are version \Q$sql_version\E$/m, $name);
}

# the library is the newer half: a server that was restarted
$node->safe_psql('postgres', 'CREATE DATABASE older TEMPLATE template0');
$node->safe_psql('older', "CREATE EXTENSION iot_jobs VERSION '0.9'; $fleet");
my $session = $node->background_psql('older', on_error_stop => 0);
is_refused($session, q{SELECT create_job('acme', 'x', target_all => true)}, '0.9', 'new library, old SQL: a function that writes');
is_refused($session, q{SELECT list_jobs('acme')}, '0.9', 'a function that reads');
is_refused($session, q{INSERT INTO jobs (job_id, tenant_id, document_type, target_all) VALUES ('j', 'acme', 'x', true)}, '0.9', 'a guard');
is($session->query(q{SELECT count(*) FROM jobs}), '0', 'the tables can be read');
is($session->query(q{SELECT detail FROM verify_jobs() WHERE detail LIKE '%version%'}),
	"the library is version $version, the SQL objects are version 0.9", 'and verify_jobs() tells of it');
eventually($node, 60, 'older',
	q{SELECT last_error LIKE 'iot_jobs library is version %' AND state = 'backing off' FROM iot_jobs_worker WHERE database = 'older'},
	'the worker does nothing, and says why');

$node->safe_psql('older', 'ALTER EXTENSION iot_jobs UPDATE');
is($session->query(q{SELECT status FROM create_job('acme', 'x', target_all => true, job_id => 'j')}), 'IN_PROGRESS',
	'after the update the same session works');
is($session->query(q{SELECT status FROM update_job_execution('acme', 'j', 'd1', 'SUCCEEDED')}), 'SUCCEEDED', 'and goes on');
eventually($node, 120, 'older', q{SELECT status = 'COMPLETED' FROM jobs}, 'and so does the worker, by itself');
$session->quit;

# the library is the older half: sessions that loaded it before it was replaced
make_up("$version--99.0", $function =~ s/^CREATE/CREATE OR REPLACE/r);
$node->safe_psql('postgres', 'CREATE DATABASE newer TEMPLATE template0');
$node->safe_psql('newer', "CREATE EXTENSION iot_jobs; $fleet");
$session = $node->background_psql('newer', on_error_stop => 0);
is($session->query(q{SELECT status FROM create_job('acme', 'x', target_all => true, job_id => 'j')}), 'IN_PROGRESS', 'a session is at work');
$node->safe_psql('newer', q{ALTER EXTENSION iot_jobs UPDATE TO '99.0'});
is_refused($session, q{SELECT update_job_execution('acme', 'j', 'd1', 'SUCCEEDED')}, '99.0', 'old library, new SQL: a function that writes');
is_refused($session, q{UPDATE job_executions SET status = 'FAILED'}, '99.0', 'a guard');
is($session->query(q{SELECT status FROM job_executions}), 'QUEUED', 'and nothing was changed');
$session->quit;

# nothing was broken by it: the SQL objects go, the rows stay, the version that fits comes back
$node->safe_psql('newer', 'DROP EXTENSION iot_jobs; CREATE EXTENSION iot_jobs');
is($node->safe_psql('newer', q{SELECT status FROM update_job_execution('acme', 'j', 'd1', 'SUCCEEDED')}), 'SUCCEEDED',
	'with the version that fits, work goes on');
eventually($node, 120, 'newer', q{SELECT status = 'COMPLETED' FROM jobs}, 'down to the end');
$node->stop;

done_testing();
