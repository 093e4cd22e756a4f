/*
 * executions.h
 *		What devices, gateways and operators do with executions.
 */
#ifndef IJ_EXECUTIONS_H
#define IJ_EXECUTIONS_H

#include "iot_jobs.h"

#include "nodes/pg_list.h"

#include "store.h"

/* what became of a report or a cancellation */
typedef enum IjOutcome
{
	IJ_OUTCOME_ACCEPTED,
	IJ_OUTCOME_NOT_FOUND,		/* IJ001 */
	IJ_OUTCOME_STEP_NOT_ALLOWED,	/* IJ002 */
	IJ_OUTCOME_NUMBER_MISMATCH	/* IJ003 */
} IjOutcome;

/* what a device says about one execution */
typedef struct IjReport
{
	const text *tenant_id;
	const text *job_id;
	const text *device_id;
	IjExecStatus status;
	Jsonb	   *status_details; /* NULL: keep what is there */
	bool		expects;
	int64		expected_number;
} IjReport;

/*
 * The execution a device has IN_PROGRESS, else its oldest QUEUED one, which becomes
 * IN_PROGRESS; false if there is nothing to do.
 */
extern bool ij_execution_start_next(const text *tenant_id, const text *device_id, Jsonb *status_details,
									IjExecutionDocument *document);

/* claim up to max executions for these devices, or for any; List of IjExecutionDocument *; reorders the ids */
extern List *ij_executions_claim(const text *tenant_id, int max, Datum *device_ids, int count);
extern List *ij_executions_claim_any(const text *tenant_id, int max);

/*
 * Never throws for what the report says; *now is the state after it, unless not
 * found.  changes: one of a batch, or NULL.
 */
extern IjOutcome ij_execution_report(IjChanges *changes, const IjReport *report, IjExecution *now);

extern void ij_execution_cancel(const text *tenant_id, const text *job_id, const text *device_id,
								const text *reason, bool force, bool expects, int64 expected_number,
								IjExecution *now);
extern void ij_execution_delete(const text *tenant_id, const text *job_id, const text *device_id,
								bool force, IjExecution *was);

/*
 * Reject the executions of a job that have one of these statuses, and say how many;
 * reason NULL: the default one.  The job is locked, so none is added meanwhile; but one
 * that is given to another device by hand may be where the walk had been, which the
 * caller is to look for if any was rejected.
 */
extern int64 ij_executions_reject(const text *tenant_id, const text *job_id, int statuses, const text *reason);

/* the reason when nobody gave one */
#define IJ_REASON_JOB_CANCELED	"job_canceled"

/* {"reason": "..."} */
extern Jsonb *ij_reason(const text *reason, const char *otherwise);

#endif							/* IJ_EXECUTIONS_H */
