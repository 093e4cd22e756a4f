/*
 * guard.c
 *		The triggers that make every writer obey the state machines.
 *
 * An application may write to jobs and job_executions with plain INSERT and
 * UPDATE; what reaches a row passes here first.  An illegal step is refused, a
 * legal one is completed (execution_number, started_at, the time columns), and
 * the transaction remembers what it has to tell the worker.  DELETE is never
 * hindered.
 *
 * Lock: an execution can only be added, or moved, under a job that is IN_PROGRESS,
 * and the job row is held FOR NO KEY UPDATE until the end of the transaction that
 * adds it.  The foreign key alone holds it FOR KEY SHARE, which lets a cancel pass
 * between the check and the commit and leaves a QUEUED execution in a CANCELED
 * job.  So the order is job, then executions; a status change of an execution
 * takes no lock on its job at all.
 *
 * The checks read as the owner of the tables, as foreign key checks do: the
 * invariants do not depend on what the writer's row security lets it see.  Only
 * adding an execution asks first whether the writer sees the job at all.
 */
#include "postgres.h"

#include "guard.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "compat.h"
#include "counters.h"
#include "errors.h"
#include "executions.h"
#include "fault.h"
#include "hints.h"
#include "launcher.h"
#include "rows.h"
#include "shape.h"
#include "store.h"
#include "tell.h"

PG_FUNCTION_INFO_V1(iot_jobs_guard_job);
PG_FUNCTION_INFO_V1(iot_jobs_guard_execution);
PG_FUNCTION_INFO_V1(iot_jobs_cascade_cancel);

/*
 * What this (sub)transaction holds locked, so that the next row of many costs nothing.
 * Valid for one subtransaction only, since a rollback to a savepoint gives the lock
 * back.  The copies live in TopMemoryContext until the next job, or tenant, takes
 * their place.
 */
typedef struct Held
{
	LocalTransactionId transaction;
	SubTransactionId subtransaction;
	text	   *tenant_id;
	text	   *job_id;
} Held;

/* the job under which it added an execution last: known to be IN_PROGRESS */
static Held held_job;

/* the tenant whose jobs and open executions it locked, to delete them */
static Held held_tenant;

/* the job whose status is changed by a use case that is trusted */
static Held trusted_job;

static bool
is_held(const Held *held, const text *tenant_id, const text *job_id)
{
	return held->transaction == ij_my_local_transaction_id() &&
		held->subtransaction == GetCurrentSubTransactionId() &&
		ij_same_text(held->tenant_id, tenant_id) &&
		(job_id == NULL || ij_same_text(held->job_id, job_id));
}

static void
hold(Held *held, const text *tenant_id, const text *job_id)
{
	MemoryContext old;

	held->transaction = InvalidLocalTransactionId;
	if (held->tenant_id != NULL)
		pfree(held->tenant_id);
	if (held->job_id != NULL)
		pfree(held->job_id);
	held->tenant_id = held->job_id = NULL;

	old = MemoryContextSwitchTo(TopMemoryContext);
	held->tenant_id = ij_copy_text(tenant_id);
	held->job_id = ij_copy_text(job_id);
	MemoryContextSwitchTo(old);
	held->transaction = ij_my_local_transaction_id();
	held->subtransaction = GetCurrentSubTransactionId();
}

/*
 * About this job only: a trigger of the operator that runs meanwhile may change
 * others, and then we trust nobody any more.
 */
void
ij_guard_begin_trust(const IjJob *job)
{
	/* it is changed, perhaps without its guard */
	held_job.transaction = trusted_job.transaction = InvalidLocalTransactionId;
	if (check_enable_rls(ij_catalog_executions(), InvalidOid, true) != RLS_ENABLED)
		hold(&trusted_job, job->tenant_id, job->job_id);
}

bool
ij_guard_end_trust(const IjJob *job)
{
	bool		to_the_last = is_held(&trusted_job, job->tenant_id, job->job_id);

	trusted_job.transaction = InvalidLocalTransactionId;
	return to_the_last;
}

void
ij_guard_require_none_open(const IjJob *job)
{
	IjIdentity	identity;
	bool		open;

	ij_catalog_become_owner(&identity);
	open = ij_store_unseen_execution(job->tenant_id, job->job_id, IJ_OPEN_STATUSES) != NULL;
	ij_catalog_become_again(&identity);
	if (open)
		ij_error_job_step(job, ij_job_status_name(IJ_JOB_COMPLETED),
						  "It still has open executions; list_job_executions_for_job() shows them.");
}

/* ------------------------------------------------------------------------
 * Reading and changing the row of a trigger
 * ------------------------------------------------------------------------
 */

/* one row version, and the columns that the guard puts into it */
typedef struct GuardRow
{
	Relation	rel;
	HeapTuple	tuple;
	int			changes;
	int			columns[4];
	Datum		values[4];
} GuardRow;

static int
column_number(Relation rel, const char *name)
{
	int			number = SPI_fnumber(RelationGetDescr(rel), name);

	if (number <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table \"%s\" does not exist", name, RelationGetRelationName(rel)),
				 errhint("The table must have the columns of migration 077.")));
	return number;
}

/* type: what it is to be, or InvalidOid */
static Datum
get_column(const GuardRow *row, const char *name, Oid type, bool *isnull)
{
	int			number = column_number(row->rel, name);

	if (OidIsValid(type))
		ij_rows_check_type(RelationGetDescr(row->rel), number, type);
	return heap_getattr(row->tuple, number, RelationGetDescr(row->rel), isnull);
}

static text *
get_text(const GuardRow *row, const char *name)
{
	bool		isnull;
	Datum		value = get_column(row, name, TEXTOID, &isnull);

	return isnull ? NULL : DatumGetTextPP(value);
}

static int64
get_int8(const GuardRow *row, const char *name)
{
	bool		isnull;
	Datum		value = get_column(row, name, INT8OID, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

/* a missing time is earlier than any other */
static TimestampTz
get_timestamp(const GuardRow *row, const char *name)
{
	bool		isnull;
	Datum		value = get_column(row, name, TIMESTAMPTZOID, &isnull);

	return isnull ? DT_NOBEGIN : DatumGetTimestampTz(value);
}

/* the same, but infinity is no moment that others have to follow */
static TimestampTz
get_moment(const GuardRow *row, const char *name)
{
	TimestampTz value = get_timestamp(row, name);

	return value == DT_NOEND ? DT_NOBEGIN : value;
}

static void
put_column(GuardRow *row, const char *name, Datum value)
{
	Assert(row->changes < lengthof(row->columns));
	row->columns[row->changes] = column_number(row->rel, name);
	row->values[row->changes++] = value;
}

/* the row to store: the one the writer gave, with our columns in it */
static HeapTuple
finished(GuardRow *row)
{
	bool		nulls[lengthof(row->columns)] = {0};

	if (row->changes == 0)
		return row->tuple;
	return heap_modify_tuple_by_cols(row->tuple, RelationGetDescr(row->rel), row->changes,
									 row->columns, row->values, nulls);
}

/* The clock of a writer may be ahead of ours: what was updated last was not updated before it was made. */
static void
keep_order(GuardRow *row, const char *earlier, const char *later)
{
	TimestampTz moment = get_moment(row, earlier);

	if (get_timestamp(row, later) < moment)
		put_column(row, later, TimestampTzGetDatum(moment));
}

static void
refuse_empty_id(const GuardRow *row, const char *column)
{
	text	   *value = get_text(row, column);

	if (value != NULL && VARSIZE_ANY_EXHDR(value) == 0)
		ij_error_bad_argument(psprintf("column \"%s\" must not be empty", column),
							  strcmp(column, "tenant_id") == 0 ? "An empty tenant setting must never match a row." : NULL,
							  NULL);
}

/* has this column another value in the new row?  bytewise, which is all we need */
static bool
column_changed(const GuardRow *old, const GuardRow *new, const char *name)
{
	bool		old_null;
	bool		new_null;
	Datum		old_value = get_column(old, name, InvalidOid, &old_null);
	Datum		new_value = get_column(new, name, InvalidOid, &new_null);
	Form_pg_attribute column = TupleDescAttr(RelationGetDescr(new->rel), column_number(new->rel, name) - 1);

	if (old_null || new_null)
		return old_null != new_null;
	if (column->attlen > 0)
		return !datumIsEqual(old_value, new_value, column->attbyval, column->attlen);
	return !ij_same_text(DatumGetTextPP(old_value), DatumGetTextPP(new_value));
}

/* the same for an UPDATE: what is empty already must be no hindrance to whoever mends it */
static void
refuse_empty_id_put(const GuardRow *old, const GuardRow *new, const char *column)
{
	if (column_changed(old, new, column))
		refuse_empty_id(new, column);
}

static void
check_protocol(FunctionCallInfo fcinfo, bool before)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_FOR_ROW(trigdata->tg_event) ||
		(before ? !TRIGGER_FIRED_BEFORE(trigdata->tg_event) : !TRIGGER_FIRED_AFTER(trigdata->tg_event)))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function must be called as a row trigger %s the change", before ? "before" : "after")));
}

/* The row that a BEFORE trigger gives back, once one of these has had its say about it. */
static Datum
guard(FunctionCallInfo fcinfo, void (*on_insert)(GuardRow *new),
	  void (*on_update)(const GuardRow *old, GuardRow *new), void (*on_delete)(const GuardRow *old))
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	GuardRow	old = {0};
	GuardRow	new = {0};

	check_protocol(fcinfo, true);
	ij_catalog_use(fcinfo);
	ij_launcher_ensure();

	old.rel = new.rel = trigdata->tg_relation;
	old.tuple = new.tuple = trigdata->tg_trigtuple;
	if (TRIGGER_FIRED_BY_INSERT(trigdata->tg_event))
		on_insert(&new);
	else if (TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
	{
		new.tuple = trigdata->tg_newtuple;
		on_update(&old, &new);
	}
	else
		on_delete(&old);
	return PointerGetDatum(finished(&new));
}

/* ------------------------------------------------------------------------
 * Executions
 * ------------------------------------------------------------------------
 */

/*
 * Hold the job and see that executions may be added to it.  A job that is not
 * there is left to the foreign key, which has the better message.
 */
static void
require_open_job(const text *tenant_id, const text *job_id)
{
	IjIdentity	identity;
	IjJob		job = {0};
	bool		found;

	if (is_held(&held_job, tenant_id, job_id))
		return;

	/*
	 * We run before the policies of job_executions are checked.  Whoever may not see
	 * the job must learn nothing of it, and must not lock it.
	 */
	if (check_enable_rls(ij_catalog_jobs(), InvalidOid, true) == RLS_ENABLED &&
		!ij_store_get_job(tenant_id, job_id, false, &job))
		ij_error_job_not_found(tenant_id, job_id);

	ij_catalog_become_owner(&identity);
	found = ij_store_guard_lock_job(tenant_id, job_id, &job);
	ij_catalog_become_again(&identity);
	IJ_FAULT(guard_holds_job);
	if (!found)
	{
		ij_shape_leave_to_key();
		return;
	}
	if (job.status != IJ_JOB_IN_PROGRESS)
		ereport(ERROR,
				(errcode(IJ_ERRCODE_STEP_NOT_ALLOWED),
				 errmsg("job \"%s\" is %s and takes no more executions",
						text_to_cstring(job_id), ij_job_status_name(job.status)),
				 errdetail_internal("%s", ij_job_state_json(&job)),
				 errhint("Create a new job.")));
	/* of one that has passed, to tell it again would mean all that passed since */
	if (job.expires && job.expires_at <= GetCurrentTransactionStartTimestamp())
		ij_tell_visit(tenant_id, job_id);
	else if (job.expires)
		ij_tell_deadline(job.expires_at);

	hold(&held_job, tenant_id, job_id);
}

/*
 * The counts of the row's job are not known any more: somebody else's trigger, or a
 * conflict, may still keep the row as it was.
 */
static void
unsettle_counts(const GuardRow *row)
{
	ij_counters_unsettle(ij_shape_counted(row->rel, ij_shape_of_executions(row->rel)),
						 get_text(row, "tenant_id"), get_text(row, "job_id"));
}

/* What an error about this row needs of it. */
static IjExecution
execution_of(const GuardRow *row, IjExecStatus status)
{
	IjExecution execution = {0};
	bool		isnull;
	Datum		details = get_column(row, "status_details", JSONBOID, &isnull);

	execution.tenant_id = get_text(row, "tenant_id");
	execution.job_id = get_text(row, "job_id");
	execution.device_id = get_text(row, "device_id");
	execution.status = status;
	execution.status_details = isnull ? NULL : DatumGetJsonbP(details);
	execution.execution_number = get_int8(row, "execution_number");
	return execution;
}

/* false: not one of ours, or null, which the constraints of the table refuse */
static bool
exec_status_of(const GuardRow *row, IjExecStatus *status)
{
	text	   *word = get_text(row, "status");

	return word != NULL && ij_exec_status_parse(VARDATA_ANY(word), VARSIZE_ANY_EXHDR(word), status);
}

/* false: an id is null, which the constraints of the table refuse after us */
static bool
has_ids(const GuardRow *row, bool device)
{
	return get_text(row, "tenant_id") != NULL && get_text(row, "job_id") != NULL &&
		(!device || get_text(row, "device_id") != NULL);
}

static void
guard_execution_insert(GuardRow *new)
{
	IjExecStatus status;

	refuse_empty_id(new, "tenant_id");
	refuse_empty_id(new, "job_id");
	refuse_empty_id(new, "device_id");
	unsettle_counts(new);
	/* what a trigger after ours makes of it, nobody knows: job, tenant, age */
	if (ij_shape_of_executions(new->rel)->altered_later)
	{
		ij_shape_leave_to_key();
		ij_tell_added_somewhere();
	}
	if (!exec_status_of(new, &status) || !has_ids(new, true))
		return;
	if (status != IJ_EXEC_QUEUED)
		ereport(ERROR,
				(errcode(IJ_ERRCODE_STEP_NOT_ALLOWED),
				 errmsg("a new execution cannot be %s", ij_exec_status_name(status)),
				 errhint("An execution starts as QUEUED.")));
	keep_order(new, "queued_at", "last_updated_at");
	require_open_job(get_text(new, "tenant_id"), get_text(new, "job_id"));
	ij_tell_added(get_text(new, "tenant_id"), get_timestamp(new, "queued_at"));
}

static void
guard_execution_update(const GuardRow *old, GuardRow *new)
{
	IjExecStatus from;
	IjExecStatus to;
	bool		step;
	bool		moved;
	TimestampTz queued;
	TimestampTz now = GetCurrentTransactionStartTimestamp();
	TimestampTz updated = get_timestamp(new, "last_updated_at");
	TimestampTz least;
	int64		number = get_int8(new, "execution_number");

	if (!exec_status_of(old, &from) || !exec_status_of(new, &to) || !has_ids(old, true) || !has_ids(new, true))
	{
		unsettle_counts(old);
		unsettle_counts(new);
		return;
	}
	refuse_empty_id_put(old, new, "tenant_id");
	refuse_empty_id_put(old, new, "job_id");
	refuse_empty_id_put(old, new, "device_id");
	step = (from != to);
	if (step && !ij_exec_step_allowed(from, to, IJ_BY_ANYONE))
	{
		IjExecution execution = execution_of(old, from);

		ij_error_execution_step(&execution, ij_exec_status_name(to),
								ij_exec_is_open(from) ? NULL : "A finished execution never changes its status again.");
	}

	/* an open execution that is moved to another job is added there, and gone here */
	if (column_changed(old, new, "tenant_id") || column_changed(old, new, "job_id"))
	{
		if (ij_exec_is_open(to))
			require_open_job(get_text(new, "tenant_id"), get_text(new, "job_id"));
		ij_tell_ended(get_text(old, "tenant_id"), get_text(old, "job_id"), get_text(old, "device_id"));
		unsettle_counts(old);
		unsettle_counts(new);
	}
	else
	{
		/* whoever watches it there does so in vain */
		if (column_changed(old, new, "device_id"))
			ij_tell_ended(get_text(old, "tenant_id"), get_text(old, "job_id"), get_text(old, "device_id"));
		if (step || ij_shape_of_executions(new->rel)->altered)
			unsettle_counts(new);
	}

	/* one that goes to another device, or back in time, may be where nobody looks any more */
	moved = column_changed(old, new, "tenant_id") || column_changed(old, new, "device_id");
	queued = get_timestamp(new, "queued_at");
	if (ij_exec_is_open(to) && (moved || queued < get_timestamp(old, "queued_at")))
		ij_tell_added(get_text(new, "tenant_id"), queued);
	if (moved || queued > get_timestamp(old, "queued_at"))
		ij_tell_hidden();

	if (!step && !column_changed(old, new, "status_details"))
	{
		/* the optimistic lock, and time, never go back */
		if (number < get_int8(old, "execution_number"))
			put_column(new, "execution_number", Int64GetDatum(get_int8(old, "execution_number")));
		if (updated < get_moment(old, "last_updated_at"))
			put_column(new, "last_updated_at", TimestampTzGetDatum(get_moment(old, "last_updated_at")));
		return;
	}

	if (number <= get_int8(old, "execution_number"))
		put_column(new, "execution_number", Int64GetDatum(ij_next_execution_number(get_int8(old, "execution_number"))));
	least = Max(Max(now, get_moment(old, "last_updated_at")), get_moment(new, "started_at"));
	if (updated < least)
	{
		updated = least;
		put_column(new, "last_updated_at", TimestampTzGetDatum(updated));
	}
	if (ij_exec_is_started(to) && get_timestamp(new, "started_at") < get_timestamp(new, "queued_at"))
		put_column(new, "started_at", TimestampTzGetDatum(updated));
	if (step && !ij_exec_is_open(to))
		ij_tell_ended(get_text(new, "tenant_id"), get_text(new, "job_id"), get_text(new, "device_id"));
}

static void
guard_execution_delete(const GuardRow *old)
{
	ij_tell_hidden();
	if (has_ids(old, true))
		ij_tell_ended(get_text(old, "tenant_id"), get_text(old, "job_id"), get_text(old, "device_id"));
	unsettle_counts(old);
}

Datum
iot_jobs_guard_execution(PG_FUNCTION_ARGS)
{
	/*
	 * Whoever is trusted has seen the executions of his job before a trigger came to this
	 * one, which one after us may still put into that job.
	 */
	trusted_job.transaction = InvalidLocalTransactionId;
	return guard(fcinfo, guard_execution_insert, guard_execution_update, guard_execution_delete);
}

/* ------------------------------------------------------------------------
 * Jobs
 * ------------------------------------------------------------------------
 */

static bool
job_status_of(const GuardRow *row, IjJobStatus *status)
{
	text	   *word = get_text(row, "status");

	return word != NULL && ij_job_status_parse(VARDATA_ANY(word), VARSIZE_ANY_EXHDR(word), status);
}

static void
tell_deadline_of(const GuardRow *row)
{
	bool		isnull;
	Datum		deadline = get_column(row, "expires_at", TIMESTAMPTZOID, &isnull);

	if (!isnull)
		ij_tell_deadline(DatumGetTimestampTz(deadline));
}

static void
guard_job_insert(GuardRow *new)
{
	IjJobStatus status;

	refuse_empty_id(new, "tenant_id");
	refuse_empty_id(new, "job_id");
	if (!job_status_of(new, &status) || !has_ids(new, false))
		return;
	if (status != IJ_JOB_IN_PROGRESS)
		ereport(ERROR,
				(errcode(IJ_ERRCODE_STEP_NOT_ALLOWED),
				 errmsg("a new job cannot be %s", ij_job_status_name(status)),
				 errhint("A job starts as IN_PROGRESS.")));
	keep_order(new, "created_at", "updated_at");
	tell_deadline_of(new);

	/* the witness of a former job of this name says nothing about this one */
	if (ij_hint_get(IJ_HINT_WITNESS, get_text(new, "tenant_id"), get_text(new, "job_id")) != NULL)
	{
		ij_hint_forget(IJ_HINT_WITNESS, get_text(new, "tenant_id"), get_text(new, "job_id"));
		ij_tell_visit(get_text(new, "tenant_id"), get_text(new, "job_id"));
	}
}

static void
guard_job_update(const GuardRow *old, GuardRow *new)
{
	IjJobStatus from;
	IjJobStatus to;
	bool		step;
	bool		expiry_moved = column_changed(old, new, "expires_at");
	TimestampTz updated = get_moment(old, "updated_at");

	/* whatever we knew of a job may just have become wrong */
	held_job.transaction = InvalidLocalTransactionId;

	refuse_empty_id_put(old, new, "tenant_id");
	refuse_empty_id_put(old, new, "job_id");
	if (!job_status_of(old, &from) || !job_status_of(new, &to) || !has_ids(old, false) || !has_ids(new, false))
		return;
	step = (from != to);
	if (step)
	{
		IjJob		job = {0};

		job.tenant_id = get_text(old, "tenant_id");
		job.job_id = get_text(old, "job_id");
		job.status = from;
		if (!ij_job_step_allowed(from, to, IJ_BY_ANYONE))
			ij_error_job_step(&job, ij_job_status_name(to), NULL);
		if (to == IJ_JOB_COMPLETED && !is_held(&trusted_job, job.tenant_id, job.job_id))
			ij_guard_require_none_open(&job);
		if (to == IJ_JOB_DELETION_IN_PROGRESS)
			ij_tell_visit(get_text(new, "tenant_id"), get_text(new, "job_id"));
	}
	if (expiry_moved)
		tell_deadline_of(new);
	if (step || expiry_moved)
		updated = Max(updated, GetCurrentTransactionStartTimestamp());
	if (get_timestamp(new, "updated_at") < updated)
		put_column(new, "updated_at", TimestampTzGetDatum(updated));
}

/* Is a trigger, that of a foreign key, at work on a tenant whose row is deleted already? */
static bool
is_tenant_gone(const text *tenant_id)
{
	Oid			tenants;
	IjIdentity	identity;
	bool		result;

	if (DatumGetInt32(OidFunctionCall0(F_PG_TRIGGER_DEPTH)) <= 1)
		return false;
	tenants = ij_catalog_tenants();
	if (!OidIsValid(tenants))
		return false;
	ij_catalog_become_owner_of(tenants, &identity);
	result = !ij_store_tenant_exists(tenant_id);
	ij_catalog_become_again(&identity);
	return result;
}

/*
 * The foreign key will delete the executions, in whatever order its plan finds them;
 * a batch of reports, or a cancel, takes them by job and device.  So that the two
 * never wait for each other, those that others want are locked in that order first:
 * the open ones, and those that a batch may take for open, since they ended after it
 * took its snapshot.  The job itself is locked for us: a trigger is given a locked row.
 *
 * Where the tenant is deleted, its foreign key finds the jobs in no order, either.  Then
 * all of the tenant is locked at its first job: the jobs, so that nobody has one and
 * waits for its executions, and then these.
 */
static void
guard_job_delete(const GuardRow *old)
{
	text	   *tenant_id = get_text(old, "tenant_id");
	bool		cascade;
	IjIdentity	identity;

	held_job.transaction = InvalidLocalTransactionId;
	if (!has_ids(old, false) || is_held(&held_tenant, tenant_id, NULL))
		return;
	cascade = is_tenant_gone(tenant_id);
	if (cascade)
	{
		ij_catalog_become_owner_of(ij_catalog_jobs(), &identity);
		ij_store_lock_tenant_jobs(tenant_id);
		ij_catalog_become_again(&identity);
	}
	ij_catalog_become_owner_of(ij_catalog_executions(), &identity);
	if (cascade)
		ij_store_lock_tenant_wanted_executions(tenant_id);
	else
		ij_store_lock_wanted_executions(tenant_id, get_text(old, "job_id"));
	ij_catalog_become_again(&identity);
	if (cascade)
		hold(&held_tenant, tenant_id, NULL);
}

Datum
iot_jobs_guard_job(PG_FUNCTION_ARGS)
{
	return guard(fcinfo, guard_job_insert, guard_job_update, guard_job_delete);
}

/*
 * A job became CANCELED by hand (cancel_job() is trusted to do it itself): no QUEUED
 * execution may stay.  The job row is locked by the update that fired us.
 */
Datum
iot_jobs_cascade_cancel(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	GuardRow	row = {0};
	const int	queued = IJ_STATUS_BIT(IJ_EXEC_QUEUED);
	text	   *tenant_id;
	text	   *job_id;
	IjIdentity	identity;

	check_protocol(fcinfo, false);
	ij_catalog_use(fcinfo);
	/* a trigger after the guard may have added to the job once more */
	held_job.transaction = InvalidLocalTransactionId;

	row.rel = trigdata->tg_relation;
	row.tuple = trigdata->tg_newtuple;
	tenant_id = get_text(&row, "tenant_id");
	job_id = get_text(&row, "job_id");
	if (is_held(&trusted_job, tenant_id, job_id))
		return PointerGetDatum(NULL);
	ij_catalog_become_owner(&identity);
	while (ij_executions_reject(tenant_id, job_id, queued, NULL) > 0 &&
		   ij_store_first_execution(tenant_id, job_id, NULL, queued, NULL) != NULL)
		;
	ij_catalog_become_again(&identity);
	IJ_FAULT(guard_rejected);
	return PointerGetDatum(NULL);
}
