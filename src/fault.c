/*
 * fault.c
 *		Fail where a test wants it.  Nothing of this is in a build for use.
 *
 * A fault is armed by a file in the data directory, iot_jobs.fault, that holds
 *
 *		serial point action skip
 *
 * Whoever comes to that point for the time after "skip" in one process takes the
 * file away and does what it says, so that it happens once, whatever the server
 * goes through after it.  A file works where nothing else does: before a worker is
 * connected, and in a process that was never told anything.
 *
 * The actions are error, fatal, panic, kill (SIGKILL of itself) and wait: until
 * somebody takes away the file iot_jobs.fault.waiting that it leaves.
 */
#include "postgres.h"

#include "fault.h"

#ifdef IOT_JOBS_FAULTS

#include <signal.h>
#include <unistd.h>

#include "miscadmin.h"
#include "utils/guc.h"

#define ARMED		"iot_jobs.fault"
#define WAITING		"iot_jobs.fault.waiting"

/* an SQLSTATE that nobody else has */
#define ERRCODE_FAULT	MAKE_SQLSTATE('I', 'J', '9', '9', '9')

#define IJ_FAULT_NAME(name)	#name " "

static const char *const names[IJ_FAULTS] = {
#define IJ_FAULT_STRING(name) [IJ_FAULT_##name] = #name,
	IJ_FAULT_POINTS(IJ_FAULT_STRING)
#undef IJ_FAULT_STRING
};

static char *points = NULL;

/* so that a test knows what it can ask for, and whether it can at all */
void
ij_fault_define(void)
{
	DefineCustomStringVariable("iot_jobs.fault_points",
							   "Shows the places where this test build can be made to fail.",
							   NULL,
							   &points,
							   IJ_FAULT_POINTS(IJ_FAULT_NAME),
							   PGC_INTERNAL,
							   0,
							   NULL, NULL, NULL);
}

static bool
is_armed(IjFault point, char *action)
{
	static int	last_serial = 0;
	static int	reached = 0;
	FILE	   *file = fopen(ARMED, "r");
	char		name[NAMEDATALEN];
	int			serial;
	int			skip;
	bool		complete;

	if (file == NULL)
		return false;
	complete = fscanf(file, "%d %63s %15s %d", &serial, name, action, &skip) == 4;
	fclose(file);
	if (!complete || strcmp(name, names[point]) != 0)
		return false;
	if (serial != last_serial)
		reached = 0;
	last_serial = serial;
	return reached++ >= skip && unlink(ARMED) == 0;
}

static void
wait_for_release(void)
{
	FILE	   *file = fopen(WAITING, "w");

	if (file != NULL)
		fclose(file);
	while (access(WAITING, F_OK) == 0)
	{
		CHECK_FOR_INTERRUPTS();
		pg_usleep(1000);
	}
}

void
ij_fault_reached(IjFault point)
{
	char		action[16];
	int			elevel = ERROR;

	if (!is_armed(point, action))
		return;
	if (strcmp(action, "kill") == 0)
		kill(MyProcPid, SIGKILL);
	else if (strcmp(action, "wait") == 0)
	{
		wait_for_release();
		return;
	}
	else if (strcmp(action, "fatal") == 0)
		elevel = FATAL;
	else if (strcmp(action, "panic") == 0)
		elevel = PANIC;
	ereport(elevel,
			(errcode(ERRCODE_FAULT),
			 errmsg("fault at %s", names[point])));
}

#endif							/* IOT_JOBS_FAULTS */
