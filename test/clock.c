/*
 * clock.c
 *		A clock that a test can move under a running server: LD_PRELOAD this library,
 *		and the seconds in the file IJTEST_CLOCK, an int64, are added to the time of day.
 *
 * libfaketime does more, and not this: the background workers of PostgreSQL 15 are
 * forked by a signal handler of the postmaster, in the middle of a select() that
 * libfaketime has taken over, and from then on it gives them the real time.
 */
#define _GNU_SOURCE

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile const int64_t *offset;

__attribute__((constructor)) static void
map_offset(void)
{
	const char *path = getenv("IJTEST_CLOCK");
	int			file = path ? open(path, O_RDONLY) : -1;

	if (file >= 0)
	{
		void	   *map = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);

		if (map != MAP_FAILED)
			offset = map;
		close(file);
	}
}

static time_t
moved(void)
{
	return offset ? (time_t) *offset : 0;
}

int
clock_gettime(clockid_t clock, struct timespec *now)
{
	int			result = (int) syscall(SYS_clock_gettime, clock, now);

	if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		now->tv_sec += moved();
	return result;
}

int
gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec precise;

	(void) zone;
	(void) clock_gettime(CLOCK_REALTIME, &precise);
	now->tv_sec = precise.tv_sec;
	now->tv_usec = precise.tv_nsec / 1000;
	return 0;
}

time_t
time(time_t *result)
{
	struct timespec now;

	(void) clock_gettime(CLOCK_REALTIME, &now);
	if (result)
		*result = now.tv_sec;
	return now.tv_sec;
}
