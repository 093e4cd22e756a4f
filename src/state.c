/*
 * state.c
 *		The two state machines of iot_jobs.
 *
 * Reports, cancellations, deletions, the guard triggers, the error messages and the
 * tests ask here; a claim, a sweep and a purge have their one step written out.  An SQL function, job_state_steps(), lists both tables,
 * so a test freezes them and the documentation is checked against them.
 *
 * A step from a state to itself stands in the table only where it is an event
 * of its own (a device that reports progress).  Leaving the status as it is, is
 * not a step.
 *
 * Plain C with no server call, so that nothing here can fail.
 */
#include "state.h"

#include <string.h>

#define lengthof_array(a)	((int) (sizeof(a) / sizeof((a)[0])))

static const char *const job_status_names[IJ_JOB_STATUSES] = {
	[IJ_JOB_IN_PROGRESS] = "IN_PROGRESS",
	[IJ_JOB_COMPLETED] = "COMPLETED",
	[IJ_JOB_CANCELED] = "CANCELED",
	[IJ_JOB_DELETION_IN_PROGRESS] = "DELETION_IN_PROGRESS",
};

static const char *const exec_status_names[IJ_EXEC_STATUSES] = {
	[IJ_EXEC_QUEUED] = "QUEUED",
	[IJ_EXEC_IN_PROGRESS] = "IN_PROGRESS",
	[IJ_EXEC_SUCCEEDED] = "SUCCEEDED",
	[IJ_EXEC_FAILED] = "FAILED",
	[IJ_EXEC_TIMED_OUT] = "TIMED_OUT",
	[IJ_EXEC_REJECTED] = "REJECTED",
};

static const IjStep job_steps[] = {
	{IJ_JOB_IN_PROGRESS, IJ_JOB_COMPLETED, IJ_BY_SERVICE},
	{IJ_JOB_IN_PROGRESS, IJ_JOB_CANCELED, IJ_BY_OPERATOR | IJ_BY_OPERATOR_FORCE},
	{IJ_JOB_IN_PROGRESS, IJ_JOB_DELETION_IN_PROGRESS, IJ_BY_OPERATOR_FORCE},
	{IJ_JOB_COMPLETED, IJ_JOB_DELETION_IN_PROGRESS, IJ_BY_OPERATOR | IJ_BY_OPERATOR_FORCE},
	{IJ_JOB_CANCELED, IJ_JOB_DELETION_IN_PROGRESS, IJ_BY_OPERATOR | IJ_BY_OPERATOR_FORCE},
};

static const IjStep exec_steps[] = {
	{IJ_EXEC_QUEUED, IJ_EXEC_IN_PROGRESS, IJ_BY_DEVICE},
	{IJ_EXEC_QUEUED, IJ_EXEC_SUCCEEDED, IJ_BY_DEVICE},
	{IJ_EXEC_QUEUED, IJ_EXEC_FAILED, IJ_BY_DEVICE},
	{IJ_EXEC_QUEUED, IJ_EXEC_REJECTED, IJ_BY_DEVICE | IJ_BY_OPERATOR | IJ_BY_OPERATOR_FORCE},
	{IJ_EXEC_QUEUED, IJ_EXEC_TIMED_OUT, IJ_BY_SERVICE},
	{IJ_EXEC_IN_PROGRESS, IJ_EXEC_IN_PROGRESS, IJ_BY_DEVICE},
	{IJ_EXEC_IN_PROGRESS, IJ_EXEC_SUCCEEDED, IJ_BY_DEVICE},
	{IJ_EXEC_IN_PROGRESS, IJ_EXEC_FAILED, IJ_BY_DEVICE},
	{IJ_EXEC_IN_PROGRESS, IJ_EXEC_REJECTED, IJ_BY_DEVICE | IJ_BY_OPERATOR_FORCE},
	{IJ_EXEC_IN_PROGRESS, IJ_EXEC_TIMED_OUT, IJ_BY_SERVICE},
};

static bool
name_matches(const char *known, const char *name, size_t len)
{
	return strlen(known) == len && memcmp(known, name, len) == 0;
}

static bool
step_allowed(const IjStep *steps, int count, int from, int to, int by)
{
	for (int i = 0; i < count; i++)
	{
		if (steps[i].from == from && steps[i].to == to && (steps[i].by & by) != 0)
			return true;
	}
	return false;
}

const char *
ij_job_status_name(IjJobStatus status)
{
	return job_status_names[status];
}

bool
ij_job_status_parse(const char *name, size_t len, IjJobStatus *status)
{
	for (int i = 0; i < IJ_JOB_STATUSES; i++)
	{
		if (name_matches(job_status_names[i], name, len))
		{
			*status = (IjJobStatus) i;
			return true;
		}
	}
	return false;
}

bool
ij_job_step_allowed(IjJobStatus from, IjJobStatus to, int by)
{
	return step_allowed(job_steps, lengthof_array(job_steps), from, to, by);
}

const char *
ij_exec_status_name(IjExecStatus status)
{
	return exec_status_names[status];
}

bool
ij_exec_status_parse(const char *name, size_t len, IjExecStatus *status)
{
	for (int i = 0; i < IJ_EXEC_STATUSES; i++)
	{
		if (name_matches(exec_status_names[i], name, len))
		{
			*status = (IjExecStatus) i;
			return true;
		}
	}
	return false;
}

bool
ij_exec_step_allowed(IjExecStatus from, IjExecStatus to, int by)
{
	return step_allowed(exec_steps, lengthof_array(exec_steps), from, to, by);
}

/* Open means that the job still waits for it; every other state is terminal. */
bool
ij_exec_is_open(IjExecStatus status)
{
	return status == IJ_EXEC_QUEUED || status == IJ_EXEC_IN_PROGRESS;
}

/* A device has begun to work on it, so it has a started_at. */
bool
ij_exec_is_started(IjExecStatus status)
{
	return status == IJ_EXEC_IN_PROGRESS || status == IJ_EXEC_SUCCEEDED || status == IJ_EXEC_FAILED;
}

bool
ij_exec_reportable(IjExecStatus to, int by)
{
	for (int i = 0; i < lengthof_array(exec_steps); i++)
	{
		if (exec_steps[i].to == (int) to && (exec_steps[i].by & by) != 0)
			return true;
	}
	return false;
}

const IjStep *
ij_job_steps(int *count)
{
	*count = lengthof_array(job_steps);
	return job_steps;
}

const IjStep *
ij_exec_steps(int *count)
{
	*count = lengthof_array(exec_steps);
	return exec_steps;
}
