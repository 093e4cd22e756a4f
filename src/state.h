/*
 * state.h
 *		The two state machines of iot_jobs, as constant tables.
 *
 * Free of the server on purpose: the file can be compiled, fuzzed and read
 * alone.
 */
#ifndef IJ_STATE_H
#define IJ_STATE_H

#include <stdbool.h>
#include <stddef.h>

typedef enum IjJobStatus
{
	IJ_JOB_IN_PROGRESS,
	IJ_JOB_COMPLETED,
	IJ_JOB_CANCELED,
	IJ_JOB_DELETION_IN_PROGRESS
} IjJobStatus;

#define IJ_JOB_STATUSES		(IJ_JOB_DELETION_IN_PROGRESS + 1)

typedef enum IjExecStatus
{
	IJ_EXEC_QUEUED,
	IJ_EXEC_IN_PROGRESS,
	IJ_EXEC_SUCCEEDED,
	IJ_EXEC_FAILED,
	IJ_EXEC_TIMED_OUT,
	IJ_EXEC_REJECTED
} IjExecStatus;

#define IJ_EXEC_STATUSES	(IJ_EXEC_REJECTED + 1)

/* who takes a step; a step may have several takers */
#define IJ_BY_DEVICE		0x01	/* the device, or a gateway for it */
#define IJ_BY_OPERATOR		0x02	/* cancel or delete */
#define IJ_BY_OPERATOR_FORCE 0x04	/* the same with force => true */
#define IJ_BY_SERVICE		0x08	/* the worker, or a sweep by hand */
#define IJ_BY_ANYONE		0x0F

typedef struct IjStep
{
	int			from;
	int			to;
	int			by;
} IjStep;

extern const char *ij_job_status_name(IjJobStatus status);
extern bool ij_job_status_parse(const char *name, size_t len, IjJobStatus *status);
extern bool ij_job_step_allowed(IjJobStatus from, IjJobStatus to, int by);

extern const char *ij_exec_status_name(IjExecStatus status);
extern bool ij_exec_status_parse(const char *name, size_t len, IjExecStatus *status);
extern bool ij_exec_step_allowed(IjExecStatus from, IjExecStatus to, int by);
extern bool ij_exec_is_open(IjExecStatus status);
extern bool ij_exec_is_started(IjExecStatus status);

/* may this actor ever report this status, from whatever state? */
extern bool ij_exec_reportable(IjExecStatus to, int by);

/* the tables themselves, for the SQL function that lists them */
extern const IjStep *ij_job_steps(int *count);
extern const IjStep *ij_exec_steps(int *count);

#endif							/* IJ_STATE_H */
