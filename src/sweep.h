/*
 * sweep.h
 *		What the worker does for jobs: expire, complete, delete.
 *
 * The unit is a visit: look at one job and do for it what its row calls for, a
 * bounded number of executions at a time, inside the caller's transaction.
 */
#ifndef IJ_SWEEP_H
#define IJ_SWEEP_H

#include "postgres.h"

typedef struct IjSweepCounts
{
	int64		expired;		/* executions that became TIMED_OUT */
	int64		completed;		/* jobs that became COMPLETED */
	int64		deleted;		/* executions and jobs that were removed */
} IjSweepCounts;

typedef enum IjVisitResult
{
	IJ_VISIT_DONE,				/* nothing left to do for this job now */
	IJ_VISIT_AGAIN,				/* max_rows reached: visit again in a new transaction */
	IJ_VISIT_LOCKED,			/* somebody holds rows of it: visit again a little later */
	IJ_VISIT_GAVE_WAY			/* somebody waits for us: end the transaction, and visit again a little later */
} IjVisitResult;

/*
 * Visit one job as the current user, changing at most max_rows rows.  Only if it is
 * due does it matter that it has expired.  One that yields may give way.
 */
extern IjVisitResult ij_sweep_visit(const text *tenant_id, const text *job_id, bool due, bool yields,
									int64 max_rows, IjSweepCounts *counts);

/* visit every unfinished job, changing at most max_rows rows (*unfinished if that was not enough) */
extern void ij_sweep_run(int64 max_rows, IjSweepCounts *counts, bool *unfinished);

#endif							/* IJ_SWEEP_H */
