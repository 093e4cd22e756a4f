/*
 * sweep.c
 *		What the worker does for jobs: expire, complete, delete.
 *
 * A visit looks at the row of one job and does what it calls for.  The same visit
 * serves the worker, which is told whom to visit, and run_job_sweep(), which visits
 * every unfinished job.
 *
 * A sweep waits for nobody: it takes the job row FOR NO KEY UPDATE SKIP LOCKED, then
 * executions in device order, passing over those that are held (to delete, first these
 * and at last the job, FOR UPDATE SKIP LOCKED), and reports IJ_VISIT_LOCKED when
 * somebody else was in the way.
 *
 * Completion looks for one open execution and never counts.  The one it finds is
 * remembered as the job's witness, and until that one ends no report of the job
 * needs to wake anybody; then the walk goes on from its key.  Each execution is
 * passed over once this way and once more at the end, under the lock of the job
 * row, which keeps new executions out: only that last walk decides.  What holds the
 * job for long gives way to whoever waits for it, as VACUUM does when it truncates a
 * table.
 *
 * Executions that are QUEUED are looked for when the deadline comes, and not again for
 * each device of an expired job that reports late: that would be a walk for each.
 */
#include "postgres.h"

#include "sweep.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/rls.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "counts.h"
#include "executions.h"
#include "fault.h"
#include "guard.h"
#include "hints.h"
#include "store.h"
#include "tell.h"

/*
 * A job without any execution is one whose creator has not come to them yet, or
 * lost them; it is completed only when it was left alone for this long.
 */
#define EMPTY_JOB_GRACE_HOURS	1

/* jobs that run_job_sweep() lists at once */
#define SWEEP_JOBS	1000

/*
 * Jobs that run_job_sweep() visits in one subtransaction: a server keeps 64 of them
 * for a transaction before every snapshot has to look them up (PGPROC_MAX_CACHED_SUBXIDS)
 */
#define GROUP_JOBS	200

static bool
is_expired(const IjJob *job)
{
	return job->expires && job->expires_at <= GetCurrentTransactionStartTimestamp();
}

/*
 * Make this execution, which was open, the witness, or else the next that is.  It is
 * published first and looked at once more afterwards: a report that commits after
 * that second look sees the witness, and tells us.
 */
static bool
make_witness(const IjJob *job, text *open)
{
	while (open != NULL)
	{
		text	   *again;

		/* what an old snapshot shows as open may have ended long ago */
		if (IsolationUsesXactSnapshot())
			return true;
		/* that one which we added ourselves is taken back, nobody would tell */
		if (ij_tell_has_added())
			ij_hint_forget(IJ_HINT_WITNESS, job->tenant_id, job->job_id);
		else
			ij_hint_set(IJ_HINT_WITNESS, job->tenant_id, job->job_id, open);
		again = ij_store_first_execution(job->tenant_id, job->job_id, open, IJ_OPEN_STATUSES, NULL);
		if (again != NULL && ij_same_text(again, open))
			return true;
		open = again;
	}
	return false;
}

static bool
find_witness(const IjJob *job, const text *from)
{
	return make_witness(job, ij_store_first_execution(job->tenant_id, job->job_id, from, IJ_OPEN_STATUSES, NULL));
}

/*
 * Is an execution open that we do not see: one that was added after an old snapshot
 * was taken, or that row security hides from who runs a sweep by hand?
 */
static bool
has_unseen(const IjJob *job)
{
	IjIdentity	identity;
	bool		result;

	if (!IsolationUsesXactSnapshot() &&
		check_enable_rls(ij_catalog_executions(), InvalidOid, true) != RLS_ENABLED)
		return false;
	ij_catalog_become_owner(&identity);
	result = ij_store_unseen_execution(job->tenant_id, job->job_id, IJ_OPEN_STATUSES) != NULL;
	ij_catalog_become_again(&identity);
	return result;
}

static bool
is_abandoned(const IjJob *job)
{
	return is_expired(job) ||
		TimestampDifferenceExceeds(job->updated_at, GetCurrentTransactionStartTimestamp(),
								   EMPTY_JOB_GRACE_HOURS * SECS_PER_HOUR * 1000);
}

/*
 * Complete a job that is locked and IN_PROGRESS, if nothing of it is *open.  Only a
 * walk over all of it on one snapshot tells: what was open, and is not found any more,
 * may have gone to another device, where the walk had been.
 */
static IjVisitResult
complete_locked(const IjJob *job, bool yields, IjSweepCounts *counts, bool *open)
{
	bool		gave_way = false;
	text	   *device;

	*open = false;
	IJ_FAULT(job_held);
	device = ij_store_first_execution(job->tenant_id, job->job_id, NULL, IJ_OPEN_STATUSES, yields ? &gave_way : NULL);
	if (gave_way)
		return IJ_VISIT_GAVE_WAY;
	if (device != NULL)
	{
		*open = make_witness(job, device);
		return *open ? IJ_VISIT_DONE : IJ_VISIT_AGAIN;
	}
	if (has_unseen(job))
		return IJ_VISIT_DONE;
	if (!is_abandoned(job) &&
		ij_store_first_execution(job->tenant_id, job->job_id, NULL, IJ_ALL_STATUSES, NULL) == NULL)
		return IJ_VISIT_DONE;
	ij_counts_check_none_open(job->tenant_id, job->job_id);
	IJ_FAULT(completion_begun);
	ij_guard_begin_trust(job);
	ij_store_complete_job(job);
	/* a trigger of the operator may have come to its executions after the guard had looked */
	if (!ij_guard_end_trust(job))
		ij_guard_require_none_open(job);
	IJ_FAULT(job_completed);
	counts->completed++;
	ij_hint_forget(IJ_HINT_WITNESS, job->tenant_id, job->job_id);
	return IJ_VISIT_DONE;
}

static IjVisitResult
complete(IjJob *job, bool yields, IjSweepCounts *counts)
{
	bool		open;

	if (find_witness(job, ij_hint_get(IJ_HINT_WITNESS, job->tenant_id, job->job_id)))
		return IJ_VISIT_DONE;
	if (!ij_store_lock_job(job->tenant_id, job->job_id, IJ_LOCK_SKIP, job))
		return IJ_VISIT_LOCKED;
	if (job->status != IJ_JOB_IN_PROGRESS)
		return IJ_VISIT_DONE;
	return complete_locked(job, yields, counts, &open);
}

/*
 * One batch of an expired job's QUEUED executions; after the last of them the job may
 * be complete, too.
 */
static IjVisitResult
expire(IjJob *job, bool yields, int64 max_rows, IjSweepCounts *counts)
{
	text	   *place = ij_hint_get(IJ_HINT_SWEEP_PLACE, job->tenant_id, job->job_id);
	text	   *from = ij_store_first_execution(job->tenant_id, job->job_id, place,
												IJ_STATUS_BIT(IJ_EXEC_QUEUED), NULL);
	text	   *last = NULL;
	IjExecutionChange change = {.from = IJ_STATUS_BIT(IJ_EXEC_QUEUED), .to = IJ_EXEC_TIMED_OUT};
	int64		changed = 0;
	bool		gave_way = false;
	bool		open;
	IjVisitResult result;

	if (from == NULL && place == NULL)
		return complete(job, yields, counts);
	if (!ij_store_lock_job(job->tenant_id, job->job_id, IJ_LOCK_SKIP, job))
		return IJ_VISIT_LOCKED;
	if (job->status != IJ_JOB_IN_PROGRESS)
		return IJ_VISIT_DONE;
	if (!is_expired(job))
		return complete(job, yields, counts);

	IJ_FAULT(expiry_begun);
	change.tenant_id = job->tenant_id;
	change.job_id = job->job_id;
	change.status_details = ij_reason(NULL, "job_expired");
	/* a trigger of the operator may keep a whole batch as it was, and not those behind it */
	for (bool kept = (from != NULL); kept; from = last)
	{
		changed = ij_store_close_executions(&change, from, IJ_LOCK_SKIP, max_rows, &last, yields ? &gave_way : NULL);
		kept = changed == 0 && !gave_way && last != NULL && !ij_same_text(last, from);
	}
	counts->expired += changed;
	IJ_FAULT(batch_expired);
	if (gave_way)
		return IJ_VISIT_GAVE_WAY;
	if (changed > 0 && last != NULL)
	{
		ij_hint_set(IJ_HINT_SWEEP_PLACE, job->tenant_id, job->job_id, last);
		return IJ_VISIT_AGAIN;
	}
	ij_hint_forget(IJ_HINT_SWEEP_PLACE, job->tenant_id, job->job_id);
	result = complete_locked(job, yields, counts, &open);
	if (!open)
		return result;
	/* QUEUED, perhaps: it lies before the place, or is held */
	return changed > 0 || place != NULL ? IJ_VISIT_AGAIN : IJ_VISIT_LOCKED;
}

/* One batch of a deleted job's executions; with the last of them goes the job. */
static IjVisitResult
remove_batch(const IjJob *job, int64 max_rows, IjSweepCounts *counts)
{
	text	   *from = ij_hint_get(IJ_HINT_SWEEP_PLACE, job->tenant_id, job->job_id);
	text	   *last;
	int64		deleted = ij_store_delete_executions(job->tenant_id, job->job_id, from, max_rows, &last);

	counts->deleted += deleted;
	IJ_FAULT(batch_deleted);
	if (deleted > 0 && last != NULL)
	{
		ij_hint_set(IJ_HINT_SWEEP_PLACE, job->tenant_id, job->job_id, last);
		return IJ_VISIT_AGAIN;
	}
	if (from != NULL)
		ij_hint_forget(IJ_HINT_SWEEP_PLACE, job->tenant_id, job->job_id);
	if (!ij_store_delete_job(job->tenant_id, job->job_id))
		return from != NULL ? IJ_VISIT_AGAIN : IJ_VISIT_LOCKED;
	IJ_FAULT(job_deleted);
	counts->deleted++;
	ij_hint_forget(IJ_HINT_WITNESS, job->tenant_id, job->job_id);
	return IJ_VISIT_DONE;
}

IjVisitResult
ij_sweep_visit(const text *tenant_id, const text *job_id, bool due, bool yields,
			   int64 max_rows, IjSweepCounts *counts)
{
	IjJob		job;

	CHECK_FOR_INTERRUPTS();
	if (!ij_store_get_job(tenant_id, job_id, false, &job))
		return IJ_VISIT_DONE;
	switch (job.status)
	{
		case IJ_JOB_IN_PROGRESS:
			/* not yet: nearly always known, but not if it was listed, and the clock set back since */
			if (due && job.expires && !is_expired(&job))
				ij_tell_deadline(job.expires_at);
			return due && is_expired(&job) ? expire(&job, yields, max_rows, counts) : complete(&job, yields, counts);
		case IJ_JOB_DELETION_IN_PROGRESS:
			return remove_batch(&job, max_rows, counts);
		case IJ_JOB_COMPLETED:
		case IJ_JOB_CANCELED:
			break;
	}
	return IJ_VISIT_DONE;
}

/* Visit these jobs until each is done or max_rows are changed; false in that case. */
static bool
visit_jobs(List *jobs, int from, int count, int64 max_rows, IjSweepCounts *counts)
{
	for (int i = from; i < from + count; i++)
	{
		const IjJobKey *key = list_nth(jobs, i);
		IjVisitResult result = IJ_VISIT_AGAIN;

		while (result == IJ_VISIT_AGAIN)
		{
			int64		left = max_rows - (counts->expired + counts->completed + counts->deleted);

			if (left <= 0)
				return false;
			result = ij_sweep_visit(key->tenant_id, key->job_id, true, false, left, counts);
		}
	}
	return true;
}

/* errors about the transaction or the server, not about a job: nothing to go on after */
static bool
is_fatal_to_sweep(int sqlerrcode)
{
	switch (ERRCODE_TO_CATEGORY(sqlerrcode))
	{
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
			return true;
	}
	return sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE;
}

/*
 * The same in a subtransaction.  If a job of several fails, each is visited in one of
 * its own; one that fails alone is passed over with a warning, so that a bad row of
 * one tenant does not end the sweep of all.
 */
static bool
visit_jobs_safely(List *jobs, int from, int count, int64 max_rows, IjSweepCounts *counts)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	IjSweepCounts before = *counts;
	volatile bool finished = true;
	volatile bool failed = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		finished = visit_jobs(jobs, from, count, max_rows, counts);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		if (is_fatal_to_sweep(error->sqlerrcode))
			ReThrowError(error);
		*counts = before;
		failed = true;
		if (count == 1)
		{
			const IjJobKey *key = list_nth(jobs, from);

			ereport(WARNING,
					(errcode(error->sqlerrcode),
					 errmsg("job \"%s\" of tenant \"%s\" could not be swept: %s",
							text_to_cstring(key->job_id), text_to_cstring(key->tenant_id), error->message)));
		}
		FreeErrorData(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;

	if (failed && count > 1)
	{
		for (int i = from; i < from + count && finished; i++)
			finished = visit_jobs_safely(jobs, i, 1, max_rows, counts);
	}
	return finished;
}

/*
 * Lists a page of jobs at a time, each page in a context of its own, so that memory
 * does not grow with the number of jobs.
 */
void
ij_sweep_run(int64 max_rows, IjSweepCounts *counts, bool *unfinished)
{
	MemoryContext page = AllocSetContextCreate(CurrentMemoryContext, "iot_jobs sweep page", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(page);
	IjJobKey	after = {NULL, NULL};
	List	   *jobs;

	*unfinished = false;
	while (!*unfinished && (jobs = ij_store_unfinished_jobs(&after, SWEEP_JOBS)) != NIL)
	{
		const IjJobKey *last = llast(jobs);

		for (int from = 0; from < list_length(jobs) && !*unfinished; from += GROUP_JOBS)
			*unfinished = !visit_jobs_safely(jobs, from, Min(GROUP_JOBS, list_length(jobs) - from),
											 max_rows, counts);
		MemoryContextSwitchTo(old);
		after.tenant_id = ij_copy_text(last->tenant_id);
		after.job_id = ij_copy_text(last->job_id);
		MemoryContextSwitchTo(page);
		MemoryContextReset(page);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(page);
}
