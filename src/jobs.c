/*
 * jobs.c
 *		Create, change, cancel and delete jobs.
 *
 * Each function that changes a job locks its row FOR NO KEY UPDATE first and its
 * executions, in device order, after it.  That is the same lock that adding an
 * execution takes, so no execution can appear behind a cancellation; and it is not
 * FOR UPDATE, so the foreign key checks of other transactions pass.
 */
#include "postgres.h"

#include "jobs.h"

#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"

#include "counts.h"
#include "errors.h"
#include "executions.h"
#include "fanout.h"
#include "fault.h"
#include "guard.h"
#include "store.h"
#include "tell.h"

/* a job that comes and goes beside us is in the way so often before we give up */
#define ATTEMPTS	3

static text *
generate_job_id(void)
{
	Datum		uuid = OidFunctionCall0Coll(F_GEN_RANDOM_UUID, InvalidOid);

	return cstring_to_text(DatumGetCString(DirectFunctionCall1(uuid_out, uuid)));
}

void
ij_job_create(IjJob *wanted, IjJob *job, IjCounts *counts)
{
	int			attempts = 0;

	ij_fanout_require_target(wanted);
	if (wanted->job_id == NULL)
		wanted->job_id = generate_job_id();
	while (!ij_store_insert_job(wanted, job))
	{
		if (ij_store_get_job(wanted->tenant_id, wanted->job_id, false, job))
			ij_error_job_exists(wanted->tenant_id, wanted->job_id);
		/* the one in the way may have been deleted since */
		if (++attempts < ATTEMPTS)
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("job \"%s\" could not be created", text_to_cstring(wanted->job_id)),
				 errdetail("A trigger or a rule of table jobs kept the row from being inserted.")));
	}
	IJ_FAULT(job_inserted);
	memset(counts, 0, sizeof(IjCounts));
	counts->total = counts->by_status[IJ_EXEC_QUEUED] = ij_fanout_run(job);
}

static void
lock_job(const text *tenant_id, const text *job_id, IjJob *job)
{
	if (!ij_store_lock_job(tenant_id, job_id, IJ_LOCK_WAIT, job))
		ij_error_job_not_found(tenant_id, job_id);
	IJ_FAULT(job_locked);
}

void
ij_job_update_expiry(const text *tenant_id, const text *job_id,
					 bool expires, TimestampTz expires_at, IjJob *job)
{
	IjJob		current;

	lock_job(tenant_id, job_id, &current);
	if (current.status != IJ_JOB_IN_PROGRESS)
		ij_error_job_not_in_progress(&current);
	ij_store_set_job_expiry(&current, expires, expires_at, job);
	/* what a trigger of the operator made of it, the guard may not have seen */
	if (job->expires)
		ij_tell_deadline(job->expires_at);
	IJ_FAULT(expiry_moved);
}

/* The counts are wanted anyway, and tell whether one is left. */
static void
reject_all(const IjJob *job, int statuses, const text *reason, IjCounts *counts)
{
	int64		left;
	int64		rejected;

	do
	{
		rejected = ij_executions_reject(job->tenant_id, job->job_id, statuses, reason);
		ij_counts_of_job(job->tenant_id, job->job_id, false, counts);
		left = 0;
		for (int i = 0; i < IJ_EXEC_STATUSES; i++)
			left += (statuses & IJ_STATUS_BIT(i)) ? counts->by_status[i] : 0;
	} while (rejected > 0 && left > 0);
}

/*
 * A job that was cancelled without force may be cancelled once more with it: then
 * the executions that devices had started go, too.
 */
void
ij_job_cancel(const text *tenant_id, const text *job_id, const text *reason, bool force, IjJob *job,
			  IjCounts *counts)
{
	int			statuses = force ? IJ_OPEN_STATUSES : IJ_STATUS_BIT(IJ_EXEC_QUEUED);
	int			by = force ? IJ_BY_OPERATOR_FORCE : IJ_BY_OPERATOR;
	IjJob		current;

	lock_job(tenant_id, job_id, job);
	if (job->status == IJ_JOB_CANCELED && force)
	{
		reject_all(job, statuses, reason, counts);
		return;
	}
	if (!ij_job_step_allowed(job->status, IJ_JOB_CANCELED, by))
		ij_error_job_step(job, ij_job_status_name(IJ_JOB_CANCELED),
						  job->status == IJ_JOB_CANCELED ? "Use force => true to cancel the executions that are still IN_PROGRESS." : NULL);

	reject_all(job, statuses, reason, counts);
	ij_guard_begin_trust(job);
	current = *job;
	ij_store_set_job_status(&current, IJ_JOB_CANCELED, job);
	(void) ij_guard_end_trust(&current);
	IJ_FAULT(job_canceled);
}

void
ij_job_delete(const text *tenant_id, const text *job_id, bool force, IjJob *job)
{
	IjJob		current;

	lock_job(tenant_id, job_id, &current);
	if (!ij_job_step_allowed(current.status, IJ_JOB_DELETION_IN_PROGRESS,
							 force ? IJ_BY_OPERATOR_FORCE : IJ_BY_OPERATOR))
		ij_error_job_step(&current, ij_job_status_name(IJ_JOB_DELETION_IN_PROGRESS),
						  current.status == IJ_JOB_IN_PROGRESS ? "Cancel the job first, or use force => true." : NULL);
	ij_store_set_job_status(&current, IJ_JOB_DELETION_IN_PROGRESS, job);
	IJ_FAULT(job_marked);
}

int64
ij_jobs_purge(const text *tenant_id, TimestampTz updated_before)
{
	int64		marked = ij_store_mark_for_deletion(tenant_id, updated_before);

	IJ_FAULT(jobs_marked);
	return marked;
}
