# The life of the worker when nothing is preloaded: the first session to call the
# extension has the launcher started.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use IotJobsWorker;
use IotJobsWorkerLife;

live_a_life(new_server('session'), 0);

done_testing();
