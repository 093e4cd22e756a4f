/*
 * fault.h
 *		Places where a test build can be made to fail.
 *
 * Each stands between two effects of a call, or before or after one.  A build for
 * use has none of them: IJ_FAULT() is nothing unless compiled with IOT_JOBS_FAULTS.
 */
#ifndef IJ_FAULT_H
#define IJ_FAULT_H

#include "postgres.h"

/* all of them; test/faults/faults.pl drives each */
#define IJ_FAULT_POINTS(POINT) \
	POINT(job_inserted)			/* create_job: the job is there, and none of its executions */ \
	POINT(rows_inserted)		/* ... some of them, and not in all indexes */ \
	POINT(batch_added)			/* ... some of them */ \
	POINT(all_added)			/* ... all of them */ \
	POINT(row_found)			/* an execution is about to be changed or deleted */ \
	POINT(row_changed)			/* ... is, and not in all indexes */ \
	POINT(execution_claimed)	/* ... changed by a claim */ \
	POINT(execution_changed)	/* ... by a report or a cancellation */ \
	POINT(execution_deleted)	/* ... removed by delete_job_execution */ \
	POINT(job_locked)			/* update, cancel, delete: the job is locked, and nothing changed */ \
	POINT(expiry_moved)			/* update_job */ \
	POINT(batch_rejected)		/* cancel_job: some executions are rejected, the job is not canceled */ \
	POINT(job_canceled)			/* ... all of it */ \
	POINT(job_marked)			/* delete_job */ \
	POINT(jobs_marked)			/* purge_jobs */ \
	POINT(fleet_chosen)			/* use_fleet */ \
	POINT(guard_holds_job)		/* an execution is being added by hand under a job just locked */ \
	POINT(guard_rejected)		/* a job was canceled by hand, and its executions rejected */ \
	POINT(expiry_begun)			/* sweep: an expired job is locked, none of its executions timed out */ \
	POINT(batch_expired)		/* ... some or all of them */ \
	POINT(job_held)				/* ... a job is locked that seems to be done */ \
	POINT(completion_begun)		/* ... a job is locked and known to be done */ \
	POINT(job_completed)		/* ... and COMPLETED */ \
	POINT(batch_deleted)		/* ... some or all executions of a deleted job are gone */ \
	POINT(job_deleted)			/* ... and the job */ \
	POINT(before_commit)		/* all is done but the commit */ \
	POINT(committed)			/* committed, and nobody told */ \
	POINT(told)					/* ... and the worker told */ \
	POINT(attaching)			/* a session has no part yet in the memory that all share */ \
	POINT(room_entered)			/* a claim is the first to come to a room of marks */ \
	POINT(launcher_entered)		/* the launcher is there, and has started nobody */ \
	POINT(worker_began)			/* the worker has its database, and is not connected */ \
	POINT(worker_connected)		/* ... is connected */ \
	POINT(worker_listed)		/* ... has listed jobs, and not committed that */ \
	POINT(worker_visited)		/* ... has visited jobs, and not committed that */ \
	POINT(worker_committed)		/* ... has committed, and not counted it */

#ifdef IOT_JOBS_FAULTS

typedef enum IjFault
{
#define IJ_FAULT_ENUM(name) IJ_FAULT_##name,
	IJ_FAULT_POINTS(IJ_FAULT_ENUM)
#undef IJ_FAULT_ENUM
	IJ_FAULTS
} IjFault;

extern void ij_fault_define(void);
extern void ij_fault_reached(IjFault point);

#define IJ_FAULT(name)		ij_fault_reached(IJ_FAULT_##name)
#define IJ_FAULT_DEFINE()	ij_fault_define()

#else

#define IJ_FAULT(name)		((void) 0)
#define IJ_FAULT_DEFINE()	((void) 0)

#endif							/* IOT_JOBS_FAULTS */

#endif							/* IJ_FAULT_H */
