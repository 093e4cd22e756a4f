# A psql that stays: one session that a test can talk to, and leave waiting.
#
# PostgreSQL::Test::BackgroundPsql can do that, too, but writes a log of every word,
# and takes milliseconds for each: too much for thousands of turns.

package IotJobsSession;

use strict;
use warnings;

use IO::Select;
use IPC::Open2;
use Time::HiRes qw(time);

use IotJobsData qw(seconds);

# far more than any statement of a test may take
use constant PATIENCE => 180;

sub new
{
	my ($class, $node, $database) = @_;
	my $self = bless { turn => 0, buffer => '' }, $class;

	# errors come in their place among the output
	$self->{pid} = open2($self->{from}, $self->{to}, 'sh', '-c', 'exec "$0" "$@" 2>&1', 'psql', '-XAtq',
		'-v', 'VERBOSITY=sqlstate', $node->connstr($database));
	$self->{select} = IO::Select->new($self->{from});
	$self->{to}->autoflush(1);
	$self->{backend} = $self->run('SELECT pg_backend_pid();');
	return $self;
}

# Say something, and do not wait for the answer.
sub say_to
{
	my ($self, $sql) = @_;

	$self->{turn}++;
	print { $self->{to} } "$sql\n\\echo end of $self->{turn}\n" or die "psql is gone: $!";
	return;
}

# Is the answer here?  Wait for it, for so many seconds.
sub answered
{
	my ($self, $limit) = @_;
	my $deadline = time + $limit;

	until ($self->{buffer} =~ /^end of $self->{turn}\n\z/m)
	{
		my $left = $deadline - time;

		return 0 unless $self->{select}->can_read($left > 0 ? $left : 0);
		sysread($self->{from}, $self->{buffer}, 65536, length $self->{buffer}) or die "psql ended: $self->{buffer}";
	}
	return 1;
}

# The answer; of an error, its SQLSTATE.
sub answer
{
	my ($self) = @_;
	my $answer;

	$self->answered(seconds(PATIENCE)) or die "no answer from psql: $self->{buffer}";
	($answer, $self->{buffer}) = ($self->{buffer}, '');
	$answer =~ s/^end of \d+\n\z//m;
	$answer =~ s/^psql:[^\n]*?: (?=[A-Z]+:  )//mg;
	chomp $answer;
	return $answer;
}

sub run
{
	my ($self, $sql) = @_;

	$self->say_to($sql);
	return $self->answer;
}

sub quit
{
	my ($self) = @_;

	close $self->{to};
	waitpid($self->{pid}, 0);
	return;
}

1;
