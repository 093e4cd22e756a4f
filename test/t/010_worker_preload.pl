# The life of the worker when the library is in shared_preload_libraries.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use IotJobsWorker;
use IotJobsWorkerLife;

live_a_life(new_server('preload', preload => 1), 1);

done_testing();
