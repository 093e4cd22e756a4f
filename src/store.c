/*
 * store.c
 *		The rows of iot_jobs: one function for each thing that is done to them.
 *
 * Where the way without SQL is open (direct.c) it is taken, otherwise a statement
 * of statements.c is run.  Both do the same; which one it was shows in nothing but
 * speed.
 */
#include "postgres.h"

#include "store.h"

#include "access/htup_details.h"
#include "executor/spi.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "counts.h"
#include "direct.h"
#include "direct_insert.h"
#include "query.h"
#include "rows.h"

static void
read_listed_job(const IjRow *row, void *result)
{
	ij_rows_read_job(row, &((IjListedJob *) result)->job);
}

static void
read_listed_execution(const IjRow *row, void *result)
{
	IjListedExecution *listed = result;

	ij_rows_read_execution(row, &listed->execution);
	(void) ij_rows_timestamp(row, IJ_EXECUTION_COLUMNS + 1, &listed->job_created_at);
}

static void
read_guarded_job(const IjRow *row, void *result)
{
	IjJob	   *job = result;

	job->status = ij_rows_job_status(ij_rows_text(row, 1));
	job->expires = ij_rows_timestamp(row, 2, &job->expires_at);
}

static void
read_key(const IjRow *row, void *result)
{
	IjJobKey   *key = result;

	key->tenant_id = ij_rows_id(row, 1);
	key->job_id = ij_rows_id(row, 2);
}

/* ------------------------------------------------------------------------
 * Jobs
 * ------------------------------------------------------------------------
 */

static IjArgs
job_args(const text *tenant_id, const text *job_id)
{
	IjArgs		args = {0};

	ij_arg_text(&args, tenant_id);
	ij_arg_text(&args, job_id);
	return args;
}

/* Read or lock a job without SQL; false if that is not the same. */
static bool
do_directly(bool (*what)(IjDirect *direct, const text *job_id, IjJob *job), IjDirectUse use,
			const text *tenant_id, const text *job_id, IjJob *job, bool *found)
{
	IjDirect   *direct = ij_direct_open_jobs(tenant_id, use);

	if (direct == NULL)
		return false;
	*found = what(direct, job_id, job);
	ij_direct_close(direct);
	return true;
}

bool
ij_store_get_job(const text *tenant_id, const text *job_id, bool stable, IjJob *job)
{
	IjArgs		args;
	bool		found;

	if (!stable && do_directly(ij_direct_get_job, IJ_DIRECT_READ, tenant_id, job_id, job, &found))
		return found;
	args = job_args(tenant_id, job_id);
	return ij_query_fetch_one(IJ_SQL_GET_JOB, &args, stable ? IJ_SEES_AS_CALLER : IJ_SEES_NOW, ij_rows_read_job, job);
}

bool
ij_store_get_latest_job(const text *tenant_id, const text *job_id, IjJob *job)
{
	IjArgs		args = job_args(tenant_id, job_id);

	return ij_query_fetch_one(IJ_SQL_GET_JOB, &args, IJ_SEES_LATEST, ij_rows_read_job, job);
}

bool
ij_store_lock_job(const text *tenant_id, const text *job_id, IjLock lock, IjJob *job)
{
	IjArgs		args;
	bool		found;

	if (lock == IJ_LOCK_SKIP &&
		do_directly(ij_direct_lock_job, IJ_DIRECT_LOCK, tenant_id, job_id, job, &found))
		return found;
	args = job_args(tenant_id, job_id);
	return ij_query_fetch_one(lock == IJ_LOCK_SKIP ? IJ_SQL_LOCK_JOB_SKIP : IJ_SQL_LOCK_JOB, &args, IJ_SEES_NOW, ij_rows_read_job, job);
}

bool
ij_store_insert_job(const IjJob *wanted, IjJob *job)
{
	IjArgs		args = job_args(wanted->tenant_id, wanted->job_id);

	ij_arg_text(&args, wanted->document_type);
	ij_arg_jsonb(&args, wanted->document_params);
	ij_arg_text(&args, wanted->target_device_id);
	ij_arg_text(&args, wanted->target_group_id);
	ij_arg(&args, BoolGetDatum(wanted->target_all), false);
	ij_arg_timestamp(&args, wanted->expires, wanted->expires_at);
	ij_arg_text(&args, wanted->created_by);
	return ij_query_fetch_one(IJ_SQL_INSERT_JOB, &args, IJ_SEES_NOW, ij_rows_read_job, job);
}

/* The caller has locked the row, so an update that hits none was stopped by a policy or a trigger. */
static void
change_job(IjStatement id, IjArgs *args, IjJob *changed)
{
	if (!ij_query_fetch_one(id, args, IJ_SEES_NOW, ij_rows_read_job, changed))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("job could not be updated"),
				 errdetail("A row security policy or a trigger of table jobs hides the row from the update.")));
}

void
ij_store_set_job_status(const IjJob *job, IjJobStatus status, IjJob *changed)
{
	IjArgs		args = job_args(job->tenant_id, job->job_id);

	ij_arg_word(&args, ij_job_status_name(status));
	change_job(IJ_SQL_SET_JOB_STATUS, &args, changed);
}

/* The caller has locked it, and nothing of it is open. */
void
ij_store_complete_job(const IjJob *job)
{
	IjDirect   *direct = ij_direct_open_jobs(job->tenant_id, IJ_DIRECT_UPDATE);
	IjJob		changed;
	bool		done = false;

	if (direct != NULL)
	{
		done = ij_direct_complete_job(direct, job->job_id);
		ij_direct_close(direct);
	}
	if (!done)
		ij_store_set_job_status(job, IJ_JOB_COMPLETED, &changed);
}

void
ij_store_set_job_expiry(const IjJob *job, bool expires, TimestampTz expires_at, IjJob *changed)
{
	IjArgs		args = job_args(job->tenant_id, job->job_id);

	ij_arg_timestamp(&args, expires, expires_at);
	change_job(IJ_SQL_SET_JOB_EXPIRY, &args, changed);
}

List *
ij_store_list_jobs(const IjJobFilter *filter, int limit)
{
	IjArgs		args = {0};
	List	   *listed;
	ListCell   *cell;
	text	   *job_ids[IJ_MAX_PAGE_SIZE];
	IjCounts   *counts[IJ_MAX_PAGE_SIZE];
	int			count = 0;

	Assert(limit <= IJ_MAX_PAGE_SIZE);
	ij_arg_text(&args, filter->tenant_id);
	ij_arg_text(&args, filter->status);
	ij_arg_text(&args, filter->document_type);
	ij_arg_text(&args, filter->target_device_id);
	ij_arg_text(&args, filter->target_group_id);
	ij_arg_timestamp(&args, filter->after_job_id != NULL, filter->after_created_at);
	ij_arg_text(&args, filter->after_job_id);
	ij_arg_limit(&args, limit);
	listed = ij_query_fetch_all(IJ_SQL_LIST_JOBS, &args, IJ_SEES_AS_CALLER, sizeof(IjListedJob), read_listed_job);
	foreach(cell, listed)
	{
		IjListedJob *job = lfirst(cell);

		job_ids[count] = job->job.job_id;
		counts[count++] = &job->counts;
	}
	ij_counts_of_jobs(filter->tenant_id, job_ids, counts, count);
	return listed;
}

int64
ij_store_mark_for_deletion(const text *tenant_id, TimestampTz updated_before)
{
	IjArgs		args = {0};

	ij_arg_text(&args, tenant_id);
	ij_arg_timestamp(&args, true, updated_before);
	return (int64) ij_query_alone(IJ_SQL_MARK_FOR_DELETION, &args);
}

bool
ij_store_delete_job(const text *tenant_id, const text *job_id)
{
	IjArgs		args = job_args(tenant_id, job_id);

	return ij_query_alone(IJ_SQL_DELETE_JOB, &args) > 0;
}

List *
ij_store_due_jobs(TimestampTz after, TimestampTz upto, int limit, TimestampTz *reached)
{
	IjArgs		args = {0};
	MemoryContext caller = CurrentMemoryContext;
	List	   *result;

	ij_arg_timestamp(&args, true, after);
	ij_arg_timestamp(&args, true, upto);
	ij_arg_limit(&args, limit);
	ij_query_begin();
	*reached = upto;
	if (ij_query_execute(IJ_SQL_DUE_JOBS, &args) >= (uint64) limit)
		(void) ij_rows_timestamp(IJ_QUERY_ROW(SPI_processed - 1), 3, reached);
	result = ij_query_read_rows(caller, sizeof(IjJobKey), read_key);
	ij_query_end();
	return result;
}

List *
ij_store_unfinished_jobs(const IjJobKey *after, int limit)
{
	IjArgs		args = {0};

	ij_arg_from(&args, after->tenant_id);
	ij_arg_from(&args, after->job_id);
	ij_arg_limit(&args, limit);
	return ij_query_fetch_all(IJ_SQL_UNFINISHED_JOBS, &args, IJ_SEES_NOW, sizeof(IjJobKey), read_key);
}

TimestampTz
ij_store_next_deadline(TimestampTz after)
{
	IjArgs		args = {0};
	TimestampTz result = DT_NOEND;

	ij_arg_timestamp(&args, true, after);
	ij_query_begin();
	if (ij_query_execute(IJ_SQL_NEXT_DEADLINE, &args) > 0)
		(void) ij_rows_timestamp(IJ_QUERY_ROW(0), 1, &result);
	ij_query_end();
	return result;
}

/* ------------------------------------------------------------------------
 * Executions
 * ------------------------------------------------------------------------
 */

static IjArgs
execution_args(const text *tenant_id, const text *job_id, const text *device_id)
{
	IjArgs		args = job_args(tenant_id, job_id);

	ij_arg_text(&args, device_id);
	return args;
}

bool
ij_store_get_execution(const text *tenant_id, const text *job_id, const text *device_id,
					   IjExecution *execution)
{
	IjDirect   *direct = ij_direct_open(tenant_id, IJ_DIRECT_READ);
	IjArgs		args;
	bool		found;

	if (direct != NULL)
	{
		found = ij_direct_get(direct, job_id, device_id, execution);
		ij_direct_close(direct);
		return found;
	}
	args = execution_args(tenant_id, job_id, device_id);
	return ij_query_fetch_one(IJ_SQL_GET_EXECUTION, &args, IJ_SEES_NOW, ij_rows_read_execution, execution);
}

bool
ij_store_get_execution_document(const text *tenant_id, const text *job_id, const text *device_id,
								IjExecutionDocument *document)
{
	IjArgs		args = execution_args(tenant_id, job_id, device_id);

	return ij_query_fetch_one(IJ_SQL_GET_EXECUTION_DOCUMENT, &args, IJ_SEES_AS_CALLER, ij_rows_read_document, document);
}

bool
ij_store_start_next(const text *tenant_id, const text *device_id, Jsonb *status_details,
					IjExecutionDocument *document)
{
	IjDirect   *direct = ij_direct_open(tenant_id, IJ_DIRECT_CLAIM);
	IjArgs		args;
	bool		found;

	if (direct != NULL)
	{
		found = ij_direct_start_next(direct, device_id, status_details, document);
		ij_direct_close(direct);
		return found;
	}
	args = job_args(tenant_id, device_id);
	if (ij_query_fetch_one(IJ_SQL_RESUME, &args, IJ_SEES_NOW, ij_rows_read_document, document))
		return true;
	ij_arg_jsonb(&args, status_details);

	/* a row that moved while it was being locked is ours at the second attempt */
	return ij_query_fetch_one(IJ_SQL_CLAIM_NEXT, &args, IJ_SEES_NOW, ij_rows_read_document, document) ||
		ij_query_fetch_one(IJ_SQL_CLAIM_NEXT, &args, IJ_SEES_NOW, ij_rows_read_document, document);
}

static List *
claim_by_sql(const text *tenant_id, const Datum *device_ids, int count, int rounds, int limit)
{
	Datum	   *devices = palloc(Max(count, 1) * sizeof(Datum));
	List	   *result = NIL;

	memcpy(devices, device_ids, count * sizeof(Datum));
	for (int round = 0; round < rounds && count > 0 && list_length(result) < limit; round++)
	{
		IjArgs		args = {0};
		List	   *claimed;
		ListCell   *cell;

		ij_arg_text(&args, tenant_id);
		ij_arg_texts(&args, devices, count);
		ij_arg_limit(&args, limit - list_length(result));
		claimed = ij_query_fetch_all(IJ_SQL_CLAIM_ONE_EACH, &args, IJ_SEES_NOW, sizeof(IjExecutionDocument), ij_rows_read_document);
		count = 0;
		foreach(cell, claimed)
			devices[count++] = PointerGetDatum(((IjExecutionDocument *) lfirst(cell))->execution.device_id);
		result = list_concat(result, claimed);
	}
	return result;
}

List *
ij_store_claim(const text *tenant_id, const Datum *device_ids, int count, int rounds, int limit)
{
	IjDirect   *direct = ij_direct_open(tenant_id, IJ_DIRECT_CLAIM);
	List	   *result;

	if (direct == NULL)
		return claim_by_sql(tenant_id, device_ids, count, rounds, limit);
	result = ij_direct_claim(direct, device_ids, count, rounds, limit);
	ij_direct_close(direct);
	return result;
}

/* devices with something QUEUED, in device order after this one; an array of text Datums */
static Datum *
devices_with_queued(const text *tenant_id, const text *after, int limit, int *count)
{
	IjArgs		args = {0};
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext old;
	Datum	   *result;

	ij_arg_text(&args, tenant_id);
	ij_arg_from(&args, after);
	ij_arg_limit(&args, limit);
	ij_query_begin();
	*count = (int) ij_query_execute(IJ_SQL_DEVICES_WITH_QUEUED, &args);
	old = MemoryContextSwitchTo(caller);
	result = palloc(Max(*count, 1) * sizeof(Datum));
	for (int i = 0; i < *count; i++)
		result[i] = PointerGetDatum(ij_rows_text(IJ_QUERY_ROW(i), 1));
	MemoryContextSwitchTo(old);
	ij_query_end();
	return result;
}

List *
ij_store_claim_from(const text *tenant_id, const text *after, int devices, int limit, text **last)
{
	IjDirect   *direct = ij_direct_open(tenant_id, IJ_DIRECT_CLAIM);
	Datum	   *device_ids;
	List	   *result;
	int			count;

	if (direct != NULL)
	{
		result = ij_direct_claim_from(direct, after, devices, limit, last);
		ij_direct_close(direct);
		return result;
	}
	device_ids = devices_with_queued(tenant_id, after, devices, &count);
	*last = count > 0 ? DatumGetTextPP(device_ids[count - 1]) : NULL;
	return count > 0 ? claim_by_sql(tenant_id, device_ids, count, 1, limit) : NIL;
}

List *
ij_store_pending(const text *tenant_id, const text *device_id, int limit)
{
	IjArgs		args = job_args(tenant_id, device_id);

	ij_arg_limit(&args, limit);
	return ij_query_fetch_all(IJ_SQL_PENDING, &args, IJ_SEES_AS_CALLER, sizeof(IjExecutionDocument), ij_rows_read_document);
}

static IjArgs
change_args(const IjExecutionChange *change)
{
	IjArgs		args = execution_args(change->tenant_id, change->job_id, change->device_id);

	ij_arg_word(&args, ij_exec_status_name(change->to));
	ij_arg_jsonb(&args, change->status_details);
	ij_arg(&args, BoolGetDatum(ij_exec_is_started(change->to)), false);
	ij_arg_statuses(&args, change->from);
	ij_arg(&args, Int64GetDatum(change->expected_number), !change->expects);
	return args;
}

bool
ij_store_change_execution(const IjExecutionChange *change, IjExecution *execution)
{
	IjDirect   *direct = ij_direct_open(change->tenant_id, IJ_DIRECT_UPDATE);
	IjArgs		args;
	bool		changed;

	if (direct != NULL)
	{
		changed = ij_direct_change(direct, change, execution);
		ij_direct_close(direct);
		return changed;
	}
	args = change_args(change);
	return ij_query_fetch_one(IJ_SQL_CHANGE_EXECUTION, &args, IJ_SEES_NOW, ij_rows_read_execution, execution);
}

IjChanges *
ij_store_begin_changes(const text *tenant_id)
{
	return ij_direct_open(tenant_id, IJ_DIRECT_UPDATE);
}

bool
ij_store_change_of_many(IjChanges *changes, const IjExecutionChange *change, IjExecution *execution)
{
	return changes != NULL && ij_direct_change(changes, change, execution);
}

void
ij_store_end_changes(IjChanges *changes)
{
	if (changes != NULL)
		ij_direct_close(changes);
}

static IjArgs
delete_args(const text *tenant_id, const text *job_id, const text *device_id, int statuses)
{
	IjArgs		args = execution_args(tenant_id, job_id, device_id);

	ij_arg_statuses(&args, statuses);
	return args;
}

bool
ij_store_delete_execution(const text *tenant_id, const text *job_id, const text *device_id,
						  int statuses, IjExecution *execution)
{
	IjArgs		args = delete_args(tenant_id, job_id, device_id, statuses);

	return ij_query_fetch_one(IJ_SQL_DELETE_EXECUTION, &args, IJ_SEES_NOW, ij_rows_read_execution, execution);
}

List *
ij_store_list_executions_for_job(const text *tenant_id, const text *job_id, const text *status,
								 const text *after_device_id, int limit)
{
	IjArgs		args = job_args(tenant_id, job_id);

	ij_arg_text(&args, status);
	ij_arg_from(&args, after_device_id);
	ij_arg_limit(&args, limit);
	return ij_query_fetch_all(IJ_SQL_LIST_EXECUTIONS_FOR_JOB, &args, IJ_SEES_AS_CALLER, sizeof(IjListedExecution), read_listed_execution);
}

List *
ij_store_list_executions_for_device(const text *tenant_id, const text *device_id, const text *status,
									TimestampTz after_created_at, const text *after_job_id, int limit)
{
	IjArgs		args = job_args(tenant_id, device_id);

	ij_arg_text(&args, status);
	ij_arg_timestamp(&args, after_job_id != NULL, after_created_at);
	ij_arg_text(&args, after_job_id);
	ij_arg_limit(&args, limit);
	return ij_query_fetch_all(IJ_SQL_LIST_EXECUTIONS_FOR_DEVICE, &args, IJ_SEES_AS_CALLER, sizeof(IjListedExecution), read_listed_execution);
}

text *
ij_store_first_execution(const text *tenant_id, const text *job_id, const text *from, int statuses, bool *gave_way)
{
	IjDirect   *direct = ij_direct_open(tenant_id, IJ_DIRECT_READ);
	IjArgs		args;
	text	   *result = NULL;

	if (direct != NULL)
	{
		result = ij_direct_first(direct, job_id, from, statuses, gave_way);
		ij_direct_close(direct);
		return result;
	}
	args = job_args(tenant_id, job_id);
	ij_arg_from(&args, from);
	ij_arg_statuses(&args, statuses);
	(void) ij_query_fetch_one(IJ_SQL_FIRST_EXECUTION, &args, IJ_SEES_NOW, ij_query_read_text, &result);
	return result;
}

/*
 * Lock a batch in device order, then change or delete it row by row, each by its
 * whole key: a join of the batch with the table would be quicker, until statistics
 * that never saw this job make the planner read all of the job for each batch.
 */
static int64
for_each_locked(IjStatement lock, const IjExecutionChange *change, const text *from, int64 limit,
				IjStatement action, IjArgs *action_args, text **last)
{
	IjArgs		args = job_args(change->tenant_id, change->job_id);
	MemoryContext caller = CurrentMemoryContext;
	SPITupleTable *batch;
	uint64		count;
	int64		changed = 0;
	bool		isnull;

	*last = NULL;
	ij_arg_from(&args, from);
	ij_arg_statuses(&args, change->from);
	ij_arg_limit(&args, limit);
	ij_query_begin();
	count = ij_query_execute(lock, &args);
	batch = SPI_tuptable;
	ij_rows_check_type(batch->tupdesc, 1, TEXTOID);
	for (uint64 i = 0; i < count; i++)
	{
		/* argument 3 of every statement about one execution is its device */
		action_args->values[2] = SPI_getbinval(batch->vals[i], batch->tupdesc, 1, &isnull);
		action_args->nulls[2] = ' ';
		/* a trigger of the operator may have kept the row, or its status */
		if (ij_query_execute(action, action_args) > 0 &&
			(action == IJ_SQL_DELETE_EXECUTION || ij_rows_exec_status(ij_rows_text(IJ_QUERY_ROW(0), 4)) == change->to))
			changed++;
		SPI_freetuptable(SPI_tuptable);
	}
	if (count > 0 && (int64) count == limit)
	{
		MemoryContext old = MemoryContextSwitchTo(caller);

		*last = DatumGetTextPCopy(SPI_getbinval(batch->vals[count - 1], batch->tupdesc, 1, &isnull));
		MemoryContextSwitchTo(old);
	}
	ij_query_end();
	return changed;
}

int64
ij_store_close_executions(const IjExecutionChange *change, const text *from, IjLock lock, int64 limit,
						  text **last, bool *gave_way)
{
	IjDirect   *direct = ij_direct_open(change->tenant_id, IJ_DIRECT_UPDATE);
	IjArgs		args;
	int64		count;

	if (direct != NULL)
	{
		count = ij_direct_do_to_job(direct, change, CMD_UPDATE, from, lock, limit, last, gave_way);
		ij_direct_close(direct);
		return count;
	}
	args = change_args(change);
	return for_each_locked(lock == IJ_LOCK_SKIP ? IJ_SQL_LOCK_EXECUTIONS_SKIP : IJ_SQL_LOCK_EXECUTIONS,
						   change, from, limit, IJ_SQL_CHANGE_EXECUTION, &args, last);
}

int64
ij_store_delete_executions(const text *tenant_id, const text *job_id, const text *from,
						   int64 limit, text **last)
{
	IjDirect   *direct = ij_direct_open(tenant_id, IJ_DIRECT_DELETE);
	IjExecutionChange any = {.tenant_id = tenant_id, .job_id = job_id, .from = IJ_ALL_STATUSES};
	IjArgs		args;
	int64		count;

	if (direct != NULL)
	{
		count = ij_direct_do_to_job(direct, &any, CMD_DELETE, from, IJ_LOCK_SKIP, limit, last, NULL);
		ij_direct_close(direct);
		return count;
	}
	args = delete_args(tenant_id, job_id, NULL, IJ_ALL_STATUSES);
	return for_each_locked(IJ_SQL_LOCK_EXECUTIONS_TO_DELETE, &any, from, limit, IJ_SQL_DELETE_EXECUTION, &args, last);
}

struct IjAddition
{
	const text *tenant_id;
	const text *job_id;
	IjInsertion *direct;		/* NULL: through SQL */
};

IjAddition *
ij_store_begin_addition(const text *tenant_id, const text *job_id)
{
	IjAddition *addition = palloc(sizeof(IjAddition));

	addition->tenant_id = tenant_id;
	addition->job_id = job_id;
	addition->direct = ij_direct_insert_begin(tenant_id, job_id);
	return addition;
}

int64
ij_store_add_executions(IjAddition *addition, const Datum *device_ids, int count)
{
	IjArgs		args;

	if (addition->direct != NULL)
	{
		ij_direct_insert_rows(addition->direct, device_ids, count);
		return count;
	}
	args = job_args(addition->tenant_id, addition->job_id);
	ij_arg_texts(&args, device_ids, count);
	return (int64) ij_query_alone(IJ_SQL_ADD_EXECUTIONS, &args);
}

void
ij_store_end_addition(IjAddition *addition)
{
	if (addition->direct != NULL)
		ij_direct_insert_end(addition->direct);
	pfree(addition);
}

/* ------------------------------------------------------------------------
 * Guards
 * ------------------------------------------------------------------------
 */

bool
ij_store_guard_lock_job(const text *tenant_id, const text *job_id, IjJob *job)
{
	IjArgs		args = job_args(tenant_id, job_id);

	return ij_query_fetch_one(IJ_SQL_GUARD_LOCK_JOB, &args, IJ_SEES_LATEST, read_guarded_job, job);
}

/* How many rows does this statement find for a tenant? */
static uint64
run_for_tenant(IjStatement id, const text *tenant_id)
{
	IjArgs		args = {0};

	ij_arg_text(&args, tenant_id);
	return ij_query_alone(id, &args);
}

bool
ij_store_tenant_exists(const text *tenant_id)
{
	return run_for_tenant(IJ_SQL_TENANT, tenant_id) > 0;
}

void
ij_store_lock_tenant_jobs(const text *tenant_id)
{
	(void) run_for_tenant(IJ_SQL_LOCK_TENANT_JOBS, tenant_id);
}

/* what was changed longer ago than this is seen by every snapshot there is */
static void
arg_oldest_age(IjArgs *args)
{
	TransactionId oldest = GetOldestNonRemovableTransactionId(NULL);

	ij_arg(args, DirectFunctionCall1(xid_age, TransactionIdGetDatum(oldest)), false);
}

void
ij_store_lock_tenant_wanted_executions(const text *tenant_id)
{
	IjArgs		args = {0};

	ij_arg_text(&args, tenant_id);
	arg_oldest_age(&args);
	(void) ij_query_alone(IJ_SQL_LOCK_TENANT_WANTED_EXECUTIONS, &args);
}

void
ij_store_lock_wanted_executions(const text *tenant_id, const text *job_id)
{
	IjArgs		args = job_args(tenant_id, job_id);

	arg_oldest_age(&args);
	(void) ij_query_alone(IJ_SQL_LOCK_WANTED_EXECUTIONS, &args);
}

text *
ij_store_unseen_execution(const text *tenant_id, const text *job_id, int statuses)
{
	IjArgs		args = job_args(tenant_id, job_id);
	text	   *result = NULL;

	ij_arg_from(&args, NULL);
	ij_arg_statuses(&args, statuses);
	(void) ij_query_fetch_one(IJ_SQL_FIRST_EXECUTION, &args, IJ_SEES_LATEST, ij_query_read_text, &result);
	return result;
}

void
ij_store_end_orphans(Jsonb *status_details)
{
	IjArgs		args = {0};

	ij_arg_jsonb(&args, status_details);
	(void) ij_query_alone(IJ_SQL_END_ORPHANS, &args);
}
