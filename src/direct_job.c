/*
 * direct_job.c
 *		The row of one job, the direct way: what a visit of the worker does to it.
 *
 * A fleet that is sent its jobs one device at a time has a job completed for each
 * report.  By SQL, the three statements about the row of that job took two thirds of
 * the worker's time, most of it for starting and ending them.
 *
 * Locks: the job, as FOR NO KEY UPDATE SKIP LOCKED would; it is changed only once it
 * is locked.
 */
#include "postgres.h"

#include "direct.h"

#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "direct_rows.h"

static bool
find_job(IjDirect *direct, const text *job_id)
{
	ij_walk_row_of_job(direct, &direct->by_key, direct->rel, direct->shape, job_id);
	return ij_walk_next(&direct->by_key, direct->found);
}

bool
ij_direct_get_job(IjDirect *direct, const text *job_id, IjJob *job)
{
	if (!find_job(direct, job_id))
		return false;
	ij_rows_read_job(IJ_SLOT_ROW(direct->found, direct->shape), job);
	return true;
}

bool
ij_direct_lock_job(IjDirect *direct, const text *job_id, IjJob *job)
{
	if (!find_job(direct, job_id) ||
		!ij_direct_lock(direct, direct->found->tts_tid, LockTupleNoKeyExclusive, IJ_LOCK_SKIP))
		return false;
	ij_rows_read_job(IJ_SLOT_ROW(direct->found, direct->shape), job);
	/* its latest version may be called otherwise */
	return ij_same_text(job->job_id, job_id) && ij_same_text(job->tenant_id, direct->tenant_id);
}

/*
 * What the guard would do: time never goes back within a row.  It would also see that
 * nothing of the job is open, as the caller has, with the job locked; but a trigger of
 * the operator may have changed the job since then.
 */
bool
ij_direct_complete_job(IjDirect *direct, const text *job_id)
{
	MemoryContext old;
	TimestampTz updated;

	if (!find_job(direct, job_id) ||
		ij_rows_job_status(ij_slot_text(direct->found, direct->shape->columns[IJ_J_STATUS])) != IJ_JOB_IN_PROGRESS)
		return false;
	MemoryContextReset(direct->row_context);
	old = MemoryContextSwitchTo(direct->row_context);
	ij_slot_timestamp(direct->found, direct->shape->columns[IJ_J_UPDATED_AT], &updated);
	ij_direct_copy(direct);
	ij_direct_set(direct, IJ_J_STATUS, CStringGetTextDatum(ij_job_status_name(IJ_JOB_COMPLETED)));
	ij_direct_set(direct, IJ_J_UPDATED_AT, TimestampTzGetDatum(Max(updated, direct->now)));
	ExecStoreVirtualTuple(direct->changed);
	if (ij_direct_put(direct, false) != TM_Ok)
		elog(ERROR, "a locked job was changed by somebody else");
	MemoryContextSwitchTo(old);
	return true;
}
