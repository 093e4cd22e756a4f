/*
 * store.h
 *		The rows of iot_jobs: one function for each thing that is done to them.
 *
 * What is legal is asked of state.h by the use cases; the store does what it is told,
 * as the current user.  Results are allocated in
 * the memory context of the caller.
 *
 * "stable" asks for the caller's own snapshot, as a STABLE function must;
 * otherwise each call sees what was committed before it, and our own changes.
 */
#ifndef IJ_STORE_H
#define IJ_STORE_H

#include "iot_jobs.h"

#include "nodes/pg_list.h"

/* identity of a job */
typedef struct IjJobKey
{
	text	   *tenant_id;
	text	   *job_id;
} IjJobKey;

/* filters of list_jobs; NULL or unset means any */
typedef struct IjJobFilter
{
	const text *tenant_id;
	const text *status;
	const text *document_type;
	const text *target_device_id;
	const text *target_group_id;
	TimestampTz after_created_at;	/* continue after this job */
	text	   *after_job_id;
} IjJobFilter;

typedef struct IjListedJob
{
	IjJob		job;
	IjCounts	counts;
} IjListedJob;

typedef struct IjListedExecution
{
	IjExecution execution;
	TimestampTz job_created_at;
} IjListedExecution;

/* jobs */
extern bool ij_store_get_job(const text *tenant_id, const text *job_id, bool stable, IjJob *job);
extern bool ij_store_get_latest_job(const text *tenant_id, const text *job_id, IjJob *job);	/* whatever the snapshot */
extern bool ij_store_lock_job(const text *tenant_id, const text *job_id, IjLock lock, IjJob *job);
extern bool ij_store_insert_job(const IjJob *wanted, IjJob *job);	/* false: job_id used */
extern void ij_store_set_job_status(const IjJob *job, IjJobStatus status, IjJob *changed);
extern void ij_store_complete_job(const IjJob *job);
extern void ij_store_set_job_expiry(const IjJob *job, bool expires, TimestampTz expires_at, IjJob *changed);
extern List *ij_store_list_jobs(const IjJobFilter *filter, int limit);	/* of IjListedJob * */
extern int64 ij_store_mark_for_deletion(const text *tenant_id, TimestampTz updated_before);	/* how many */
extern bool ij_store_delete_job(const text *tenant_id, const text *job_id);

/*
 * The jobs in progress whose deadline lies in (after, upto], by deadline; a List
 * of IjJobKey *, about limit of them (jobs with the very same deadline are never
 * parted).  *reached is where to continue: the deadline of the last one listed, or
 * upto when none is left.
 */
extern List *ij_store_due_jobs(TimestampTz after, TimestampTz upto, int limit, TimestampTz *reached);

/* the next ones, in key order after this one (its ids NULL: the first), that are in progress or being deleted */
extern List *ij_store_unfinished_jobs(const IjJobKey *after, int limit);
extern TimestampTz ij_store_next_deadline(TimestampTz after);	/* DT_NOEND: there is none */

/* executions */
extern bool ij_store_get_execution(const text *tenant_id, const text *job_id, const text *device_id,
								   IjExecution *execution);
extern bool ij_store_get_execution_document(const text *tenant_id, const text *job_id, const text *device_id,
											IjExecutionDocument *document);

/* the execution the device has IN_PROGRESS, as it is; else its oldest claimable one, claimed */
extern bool ij_store_start_next(const text *tenant_id, const text *device_id, Jsonb *status_details,
								IjExecutionDocument *document);

/*
 * Claim claimable executions of these devices, oldest first for each: one for each
 * device in a round, that many rounds at most; List of IjExecutionDocument *.
 */
extern List *ij_store_claim(const text *tenant_id, const Datum *device_ids, int count, int rounds, int limit);

/*
 * The same for the devices that come after this one (NULL: for the first), one each:
 * looks at so many devices that have something QUEUED, and claims up to a limit.
 * *last is the last device looked at, or NULL if there was none.
 */
extern List *ij_store_claim_from(const text *tenant_id, const text *after, int devices, int limit, text **last);

extern List *ij_store_pending(const text *tenant_id, const text *device_id, int limit); /* of IjExecutionDocument * */
extern bool ij_store_change_execution(const IjExecutionChange *change, IjExecution *execution);

/*
 * Many changes of different executions, as one command, where that is quicker.  False
 * from one of them says nothing but that it is to be tried by itself.  NULL: each by itself.
 */
typedef struct IjDirect IjChanges;

extern IjChanges *ij_store_begin_changes(const text *tenant_id);
extern bool ij_store_change_of_many(IjChanges *changes, const IjExecutionChange *change, IjExecution *execution);
extern void ij_store_end_changes(IjChanges *changes);

extern bool ij_store_delete_execution(const text *tenant_id, const text *job_id, const text *device_id,
									  int statuses, IjExecution *execution);
extern List *ij_store_list_executions_for_job(const text *tenant_id, const text *job_id, const text *status,
											  const text *after_device_id, int limit);
extern List *ij_store_list_executions_for_device(const text *tenant_id, const text *device_id, const text *status,
												 TimestampTz after_created_at, const text *after_job_id, int limit);

/*
 * The first execution of the job, by device from *from on (NULL: the first), that
 * has one of these statuses: its device, or NULL.
 *
 * With gave_way, a long walk ends early, and *gave_way says so, when somebody waits
 * for a lock of this transaction.  A walk by SQL does not.
 */
extern text *ij_store_first_execution(const text *tenant_id, const text *job_id, const text *from, int statuses,
									  bool *gave_way);

/*
 * Change, or delete, up to limit executions of a job that have one of the statuses
 * change->from, in device order from *from on; the change names no device.  Returns how
 * many; *last is where to go on, or NULL if there was room for all.  Lock order: by device.
 */
extern int64 ij_store_close_executions(const IjExecutionChange *change, const text *from, IjLock lock, int64 limit,
									   text **last, bool *gave_way);
extern int64 ij_store_delete_executions(const text *tenant_id, const text *job_id, const text *from,
										int64 limit, text **last);

/*
 * Add QUEUED executions, in device order and without duplicates, to a job that this
 * transaction has created.
 */
typedef struct IjAddition IjAddition;

extern IjAddition *ij_store_begin_addition(const text *tenant_id, const text *job_id);
extern int64 ij_store_add_executions(IjAddition *addition, const Datum *device_ids, int count);
extern void ij_store_end_addition(IjAddition *addition);

/* end the QUEUED executions of CANCELED jobs, which only an unguarded race can leave */
extern void ij_store_end_orphans(Jsonb *status_details);

/* for the guards, which act as the owner of the tables and see the latest state: status and expiry */
extern bool ij_store_guard_lock_job(const text *tenant_id, const text *job_id, IjJob *job);

/* of the table tenants, as whoever reads it */
extern bool ij_store_tenant_exists(const text *tenant_id);

/*
 * Lock what is being deleted: the jobs of a tenant, by job; the executions of a job that
 * are open, or were when the oldest snapshot was taken, by device; those of a tenant, by
 * job and device.
 */
extern void ij_store_lock_tenant_jobs(const text *tenant_id);
extern void ij_store_lock_wanted_executions(const text *tenant_id, const text *job_id);
extern void ij_store_lock_tenant_wanted_executions(const text *tenant_id);

/* a device whose execution has one of these statuses in the latest state, or NULL */
extern text *ij_store_unseen_execution(const text *tenant_id, const text *job_id, int statuses);

#endif							/* IJ_STORE_H */
