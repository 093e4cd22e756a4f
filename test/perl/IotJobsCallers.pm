# Clients that call without end, whatever happens to their server, and write down what
# they were told: the ledger that nothing_lost() compares with the tables.

package IotJobsCallers;

use strict;
use warnings;

use List::Util qw(sum);
use POSIX ();
use Time::HiRes qw(time usleep);

use PostgreSQL::Test::Utils;

use IotJobsData;

# new(node, turn): each client runs these statements in turn; what they return is lines
# of the ledger.
sub new
{
	my ($class, $node, $turn) = @_;
	my $files = PostgreSQL::Test::Utils::tempdir;

	append_to_file("$files/turn.sql", $turn x 20);
	return bless { node => $node, files => $files, pids => [] }, $class;
}

sub start
{
	my ($self, $clients) = @_;

	unlink("$self->{files}/stop");
	push @{ $self->{pids} }, map { $self->_start_one($_) } 1 .. $clients;
	return;
}

sub _start_one
{
	my ($self, $n) = @_;
	my $files = $self->{files};
	my $pid = fork;

	die "could not fork: $!" unless defined $pid;
	return $pid if $pid;
	$ENV{PGHOST} = $self->{node}->host;
	$ENV{PGPORT} = $self->{node}->port;
	while (!-e "$files/stop")
	{
		system("psql -XAtq -v VERBOSITY=sqlstate -d postgres -f '$files/turn.sql' >>'$files/ledger.$n' 2>>'$files/errors.$n' </dev/null");
		usleep(20_000);
	}
	POSIX::_exit(0);
}

# True if all came to their end.
sub stop
{
	my ($self) = @_;

	append_to_file("$self->{files}/stop", '');
	return finished(60, splice @{ $self->{pids} });
}

sub bytes_told
{
	my ($self) = @_;

	return sum(0, map { -s } glob("$self->{files}/ledger.*"));
}

# Until they were told so many bytes more; true if they were.
sub go_on
{
	my ($self, $bytes) = @_;
	my $enough = $self->bytes_told + $bytes;
	my $deadline = time + seconds(60);

	usleep(5_000) while $self->bytes_told < $enough && time < $deadline;
	return $self->bytes_told >= $enough;
}

# A file with all that was written down; a line that was cut short was not read by
# anybody.
sub ledger
{
	my ($self) = @_;
	my $ledger = "$self->{files}/ledger";

	unlink $ledger;
	append_to_file($ledger, join('', map { slurp_file($_) =~ /^.*\n/mg } glob("$ledger.*")));
	return $ledger;
}

# How often which SQLSTATE was met: {state => number}.
sub errors
{
	my ($self) = @_;
	my %errors;

	$errors{$_}++ foreach map { slurp_file($_) =~ /(?:ERROR|PANIC):  (\w+)/g } glob("$self->{files}/errors.*");
	return %errors;
}

1;
