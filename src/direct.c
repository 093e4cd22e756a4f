/*
 * direct.c
 *		The rows of job_executions without SQL, where that is provably the same.
 *
 * Claims, reports and sweeps know the row they want by its key.  Going to it through
 * the index and the table access method saves the executor's start and end, which
 * is half of a small statement, and it never depends on a plan: statistics of a
 * table whose rows change state all the time are often wrong, and one badly chosen
 * index reads a whole job for every row.
 *
 * ij_direct_open() takes this way only where SQL would do the very same thing
 * (shape.c); everything else goes through SPI, and finds there what it is due.  So a
 * change is the new version of a row and its index entries, which the table and index
 * access methods write, and what the guard would have told the worker.
 *
 * Locks: RowExclusiveLock on the table when writing.  A row that we may wait for is
 * changed in one go if it still is as we saw it; otherwise it is locked in its latest
 * version first, and everything that was asked of it is asked again of that version.
 * What must not be waited for is looked at before, and passed over if it is held.
 */
#include "postgres.h"

#include "direct.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/proc.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "catalog.h"
#include "compat.h"
#include "counters.h"
#include "errors.h"
#include "fault.h"
#include "marks.h"
#include "rows.h"
#include "tell.h"

/* a place in an index; opened when it is first needed, and then moved about */
typedef struct Walk
{
	Relation	index;
	IndexScanDesc scan;			/* NULL: not open */
} Walk;

/* the jobs that a command read last; a batch of claims comes back to a few */
#define JOBS_READ	8

typedef struct JobRead
{
	text	   *job_id;			/* NULL: free */
	IjJobStatus status;
	IjExecutionDocument document;	/* without the execution */
} JobRead;

struct IjDirect
{
	const text *tenant_id;
	Relation	rel;
	const IjShape *shape;
	Snapshot	snapshot;
	CommandId	command;
	TimestampTz now;
	bool		writes;
	bool		is_mass;		/* it changes the rows of an index from one end to the other */
	MemoryContext context;		/* what lives as long as the command */
	MemoryContext row_context;	/* as long as the row that is changed */
	TupleTableSlot *found;		/* the row looked at */
	TupleTableSlot *changed;	/* its new version */
	IjExecStatus was;			/* its status, before it was changed or deleted */
	Walk		by_key;
	Walk		by_device;
	Relation	indexes[IJ_SHAPE_INDEXES];	/* where its entries go, if they are open */

	/* only to claim */
	Relation	jobs;
	const IjShape *jobs_shape;
	TupleTableSlot *job;
	Walk		jobs_by_key;
	JobRead		jobs_read[JOBS_READ];
	int			next_job_read;
	TupleTableSlot *ahead;
	Walk		devices;
	bool		marked;			/* marks may be used and set */
	IjMarkView	marks;
};

static IjDirect *
make_direct(Relation rel, const IjShape *shape, const text *tenant_id, IjDirectUse use)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "iot_jobs direct", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	IjDirect   *direct = palloc0(sizeof(IjDirect));

	direct->context = context;
	direct->tenant_id = tenant_id;
	direct->rel = rel;
	direct->shape = shape;
	direct->snapshot = GetActiveSnapshot();
	direct->now = GetCurrentTransactionStartTimestamp();
	direct->found = table_slot_create(rel, NULL);
	direct->writes = (use != IJ_DIRECT_READ);
	if (direct->writes)
	{
		direct->command = GetCurrentCommandId(true);
		direct->row_context = AllocSetContextCreate(context, "iot_jobs row", ALLOCSET_DEFAULT_SIZES);
		direct->changed = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
	}
	MemoryContextSwitchTo(old);
	return direct;
}

IjDirect *
ij_direct_open(const text *tenant_id, IjDirectUse use)
{
	static const struct
	{
		const char *name;
		CmdType		type;
	}			commands[] = {
		[IJ_DIRECT_READ] = {NULL, CMD_SELECT},
		[IJ_DIRECT_CLAIM] = {"UPDATE", CMD_UPDATE},
		[IJ_DIRECT_UPDATE] = {"UPDATE", CMD_UPDATE},
		[IJ_DIRECT_DELETE] = {"DELETE", CMD_DELETE},
	};
	Relation	rel = table_open(ij_catalog_executions(),
								 use == IJ_DIRECT_READ ? AccessShareLock : RowExclusiveLock);
	const IjShape *shape = ij_shape_of_executions(rel);
	Relation	jobs = NULL;
	const IjShape *jobs_shape = NULL;
	IjMarkView	marks;
	bool		marked;
	bool		same = ij_shape_same_as_sql(rel, shape, use, tenant_id);
	IjDirect   *direct;

	if (same && use == IJ_DIRECT_CLAIM)
	{
		jobs = table_open(ij_catalog_jobs(), AccessShareLock);
		jobs_shape = ij_shape_of_jobs(jobs);
		same = ij_shape_jobs_readable(jobs, jobs_shape, tenant_id);
	}
	if (!same)
	{
		if (jobs != NULL)
			table_close(jobs, NoLock);
		table_close(rel, NoLock);
		return NULL;
	}
	if (commands[use].name != NULL)
	{
		PreventCommandIfReadOnly(commands[use].name);
		PreventCommandIfParallelMode(commands[use].name);
		CheckCmdReplicaIdentity(rel, commands[use].type);
	}

	/* before the snapshot; not with one of long ago, nor while others do not know what we added */
	marked = use == IJ_DIRECT_CLAIM && shape->device_order && !IsolationUsesXactSnapshot() &&
		!ij_tell_has_added() && ij_marks_open(&marks, tenant_id);

	/* one command, that sees what was committed until now, and what we did before */
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	direct = make_direct(rel, shape, tenant_id, use);
	direct->jobs = jobs;
	direct->jobs_shape = jobs_shape;
	direct->marked = marked;
	if (marked)
		direct->marks = marks;
	if (jobs != NULL)
	{
		direct->job = table_slot_create(jobs, NULL);
		direct->ahead = table_slot_create(rel, NULL);
	}
	return direct;
}

static void
close_walk(Walk *walk)
{
	if (walk->scan == NULL)
		return;
	index_endscan(walk->scan);
	index_close(walk->index, NoLock);
}

static void
drop_slot(TupleTableSlot *slot)
{
	if (slot != NULL)
		ExecDropSingleTupleTableSlot(slot);
}

/* End the command, and make its changes visible to the next. */
void
ij_direct_close(IjDirect *direct)
{
	Relation	rel = direct->rel;
	Relation	jobs = direct->jobs;
	bool		wrote = direct->writes;

	close_walk(&direct->by_key);
	close_walk(&direct->by_device);
	close_walk(&direct->jobs_by_key);
	close_walk(&direct->devices);
	for (int i = 0; i < lengthof(direct->indexes); i++)
	{
		if (direct->indexes[i] != NULL)
			index_close(direct->indexes[i], NoLock);
	}
	drop_slot(direct->found);
	drop_slot(direct->changed);
	drop_slot(direct->ahead);
	drop_slot(direct->job);
	MemoryContextDelete(direct->context);
	PopActiveSnapshot();
	if (jobs != NULL)
		table_close(jobs, NoLock);
	table_close(rel, NoLock);
	if (wrote)
		CommandCounterIncrement();
}

/* ------------------------------------------------------------------------
 * Rows
 * ------------------------------------------------------------------------
 */

static text *
text_of(TupleTableSlot *slot, AttrNumber column)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, column, &isnull);

	return isnull ? NULL : DatumGetTextPP(value);
}

static bool
timestamp_of(TupleTableSlot *slot, AttrNumber column, TimestampTz *result)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, column, &isnull);

	*result = isnull ? 0 : DatumGetTimestampTz(value);
	return !isnull;
}

static text *
copy_text(const text *value)
{
	return value ? DatumGetTextPCopy(PointerGetDatum(value)) : NULL;
}

static Jsonb *
jsonb_copy_of(TupleTableSlot *slot, AttrNumber column)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, column, &isnull);

	return isnull ? NULL : DatumGetJsonbPCopy(value);
}

static IjExecStatus
status_of(const IjDirect *direct, TupleTableSlot *slot)
{
	return ij_rows_exec_status(text_of(slot, direct->shape->columns[IJ_E_STATUS]));
}

static int64
number_of(const IjDirect *direct, TupleTableSlot *slot)
{
	bool		isnull;

	return DatumGetInt64(slot_getattr(slot, direct->shape->columns[IJ_E_EXECUTION_NUMBER], &isnull));
}

static void
read_execution(const IjDirect *direct, TupleTableSlot *slot, IjExecution *execution)
{
	const AttrNumber *columns = direct->shape->columns;

	execution->job_id = copy_text(text_of(slot, columns[IJ_E_JOB_ID]));
	execution->tenant_id = copy_text(text_of(slot, columns[IJ_E_TENANT_ID]));
	execution->device_id = copy_text(text_of(slot, columns[IJ_E_DEVICE_ID]));
	execution->status = status_of(direct, slot);
	execution->status_details = jsonb_copy_of(slot, columns[IJ_E_STATUS_DETAILS]);
	execution->execution_number = number_of(direct, slot);
	timestamp_of(slot, columns[IJ_E_QUEUED_AT], &execution->queued_at);
	execution->started = timestamp_of(slot, columns[IJ_E_STARTED_AT], &execution->started_at);
	timestamp_of(slot, columns[IJ_E_LAST_UPDATED_AT], &execution->last_updated_at);
}

static void
key_of(ScanKey scan_key, Relation index, int number, StrategyNumber strategy, RegProcedure procedure, Datum value)
{
	ScanKeyEntryInitialize(&scan_key[number - 1], 0, number, strategy, InvalidOid,
						   index->rd_indcollation[number - 1], procedure, value);
}

static void
key(ScanKey scan_key, Relation index, int number, StrategyNumber strategy, RegProcedure procedure, const text *value)
{
	key_of(scan_key, index, number, strategy, procedure, PointerGetDatum(value));
}

/* Go to a place of an index; it has this many keys each time. */
static void
start_walk(IjDirect *direct, Walk *walk, Relation rel, ScanKey keys, int nkeys)
{
	if (walk->scan == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(direct->context);

		walk->scan = ij_index_beginscan(rel, walk->index, direct->snapshot, nkeys, 0);
		MemoryContextSwitchTo(old);
	}
	index_rescan(walk->scan, keys, nkeys, NULL, 0);
}

static Relation
index_of(Walk *walk, Oid index)
{
	if (walk->scan == NULL)
		walk->index = index_open(index, AccessShareLock);
	return walk->index;
}

static bool
next_of_walk(Walk *walk, TupleTableSlot *slot)
{
	CHECK_FOR_INTERRUPTS();
	return index_getnext_slot(walk->scan, ForwardScanDirection, slot);
}

static text *
empty_text(void)
{
	return cstring_to_text_with_len("", 0);
}

/* one execution, or those of a job in device order from this device on (NULL: the first) */
static void
walk_job(IjDirect *direct, const text *job_id, const text *device_id, bool from)
{
	Relation	index = index_of(&direct->by_key, direct->shape->primary_key);
	ScanKeyData keys[3];

	key(keys, index, 1, BTEqualStrategyNumber, F_TEXTEQ, direct->tenant_id);
	key(keys, index, 2, BTEqualStrategyNumber, F_TEXTEQ, job_id);
	if (from)
		key(keys, index, 3, BTGreaterEqualStrategyNumber, F_TEXT_GE, device_id ? device_id : empty_text());
	else
		key(keys, index, 3, BTEqualStrategyNumber, F_TEXTEQ, device_id);
	start_walk(direct, &direct->by_key, direct->rel, keys, 3);
}

/* ------------------------------------------------------------------------
 * Lock and change
 * ------------------------------------------------------------------------
 */

/*
 * Lock this row in its latest version, which is in "found" afterwards.  False if it
 * is gone, or held by somebody whom we do not wait for.  What the executor's LockRows
 * node would do.
 */
static bool
lock_row(IjDirect *direct, ItemPointerData tid, LockTupleMode mode, IjLock lock)
{
	TM_FailureData failure;
	int			flags = IsolationUsesXactSnapshot() ? 0 : TUPLE_LOCK_FLAG_FIND_LAST_VERSION;

	switch (table_tuple_lock(direct->rel, &tid, direct->snapshot, direct->found, direct->command, mode,
							 lock == IJ_LOCK_SKIP ? LockWaitSkip : LockWaitBlock, flags, &failure))
	{
		case TM_Ok:
			return true;
		case TM_WouldBlock:
		case TM_SelfModified:
			return false;
		case TM_Updated:
		case TM_Deleted:
			if (IsolationUsesXactSnapshot())
				ereport(ERROR,
						(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						 errmsg("could not serialize access due to concurrent update")));
			return false;
		default:
			elog(ERROR, "unexpected result of locking an execution");
	}
	return false;
}

/* Is the row in "found" one that the change is meant for? */
static bool
meets(IjDirect *direct, const IjExecutionChange *change)
{
	const AttrNumber *columns = direct->shape->columns;

	return (change->from & IJ_STATUS_BIT(status_of(direct, direct->found))) != 0 &&
		(!change->expects || number_of(direct, direct->found) == change->expected_number) &&
		ij_same_text(text_of(direct->found, columns[IJ_E_JOB_ID]), change->job_id) &&
		ij_same_text(text_of(direct->found, columns[IJ_E_TENANT_ID]), direct->tenant_id) &&
		(change->device_id == NULL ||
		 ij_same_text(text_of(direct->found, columns[IJ_E_DEVICE_ID]), change->device_id));
}

static void
set_value(IjDirect *direct, int column, Datum value)
{
	AttrNumber	number = direct->shape->columns[column];

	direct->changed->tts_values[number - 1] = value;
	direct->changed->tts_isnull[number - 1] = false;
}

/*
 * The guard's rule: a start that lies before the row was queued is of a former life,
 * when the row moves at all.
 */
static bool
is_stale_start(IjDirect *direct, const IjExecutionChange *change, TimestampTz started)
{
	const AttrNumber *columns = direct->shape->columns;
	TimestampTz queued;
	Jsonb	   *details;

	timestamp_of(direct->found, columns[IJ_E_QUEUED_AT], &queued);
	if (started >= queued)
		return false;
	if (status_of(direct, direct->found) != change->to)
		return true;
	details = jsonb_copy_of(direct->found, columns[IJ_E_STATUS_DETAILS]);
	return change->status_details != NULL &&
		(details == NULL || !ij_same_text((text *) details, (text *) change->status_details));
}

/* Make the next version of the row in "found". */
static void
make_changed(IjDirect *direct, const IjExecutionChange *change)
{
	const AttrNumber *columns = direct->shape->columns;
	TupleTableSlot *found = direct->found;
	TupleTableSlot *changed = direct->changed;
	TimestampTz updated;
	TimestampTz started;

	slot_getallattrs(found);
	ExecClearTuple(changed);
	memcpy(changed->tts_values, found->tts_values, found->tts_nvalid * sizeof(Datum));
	memcpy(changed->tts_isnull, found->tts_isnull, found->tts_nvalid * sizeof(bool));

	/* time never goes back within a row, whatever transaction began first */
	timestamp_of(found, columns[IJ_E_LAST_UPDATED_AT], &updated);
	updated = Max(updated, direct->now);
	set_value(direct, IJ_E_STATUS, CStringGetTextDatum(ij_exec_status_name(change->to)));
	if (change->status_details != NULL)
		set_value(direct, IJ_E_STATUS_DETAILS, PointerGetDatum(change->status_details));
	set_value(direct, IJ_E_EXECUTION_NUMBER, Int64GetDatum(ij_next_execution_number(number_of(direct, found))));
	if (ij_exec_is_started(change->to) &&
		(change->starts || !timestamp_of(found, columns[IJ_E_STARTED_AT], &started) ||
		 is_stale_start(direct, change, started)))
		set_value(direct, IJ_E_STARTED_AT, TimestampTzGetDatum(updated));
	set_value(direct, IJ_E_LAST_UPDATED_AT, TimestampTzGetDatum(updated));
	ExecStoreVirtualTuple(changed);
}

/*
 * Lead to the new version from each index that holds it.  No key of a unique index
 * changed, so there is nothing to look for there: whoever inserts the same key waits
 * for us, as for any update.  Where the entry is the same as before, the index may
 * look for dead versions to remove before it splits a page; but those that a mass of
 * changes leaves are its own, and not dead yet.
 */
static void
insert_index_entries(IjDirect *direct, bool open)
{
	TupleTableSlot *changed = direct->changed;

	for (int i = 0; i < direct->shape->nindexes; i++)
	{
		const IjShapeIndex *wanted = &direct->shape->indexes[i];
		Datum		values[INDEX_MAX_KEYS];
		bool		nulls[INDEX_MAX_KEYS];
		Relation	index = direct->indexes[i];

		if (wanted->only_open && !open)
			continue;
		if (index == NULL)
			index = direct->indexes[i] = index_open(wanted->index, RowExclusiveLock);
		for (int n = 0; n < index->rd_index->indnatts; n++)
		{
			AttrNumber	column = index->rd_index->indkey.values[n];

			values[n] = changed->tts_values[column - 1];
			nulls[n] = changed->tts_isnull[column - 1];
		}
		index_insert(index, values, nulls, &changed->tts_tid, direct->rel, UNIQUE_CHECK_NO,
					 wanted->same_entry && !direct->is_mass, NULL);
	}
}

/*
 * Put the next version of the row in "found" in its place, if that is the latest one;
 * what was stored is in "changed" then.
 *
 * That is all that an UPDATE does to this table, see shape.c, but for what the guard
 * would do: the step is a legal one, the row is complete, and what is left is to tell.
 */
static TM_Result
update_found(IjDirect *direct, const IjExecutionChange *change)
{
	const AttrNumber *columns = direct->shape->columns;
	bool		open = ij_exec_is_open(change->to);
	TM_FailureData failure;
	TM_Result	result;
	bool		needs_entries;
	MemoryContext old;

	/* what this leaves behind goes with the next row */
	MemoryContextReset(direct->row_context);
	old = MemoryContextSwitchTo(direct->row_context);
	make_changed(direct, change);
	IJ_FAULT(row_found);
	result = ij_table_tuple_update(direct->rel, &direct->found->tts_tid, direct->changed, direct->command,
								   direct->snapshot, &failure, &needs_entries);
	if (result == TM_Ok)
	{
		IJ_FAULT(row_changed);
		direct->was = status_of(direct, direct->found);
		if (needs_entries)
			insert_index_entries(direct, open);
		if (!open)
			ij_tell_ended(text_of(direct->changed, columns[IJ_E_TENANT_ID]),
						  text_of(direct->changed, columns[IJ_E_JOB_ID]),
						  text_of(direct->changed, columns[IJ_E_DEVICE_ID]));
	}
	MemoryContextSwitchTo(old);
	return result;
}

static void
change_locked(IjDirect *direct, const IjExecutionChange *change)
{
	if (update_found(direct, change) != TM_Ok)
		elog(ERROR, "a locked execution was changed by somebody else");
}

/* Is the row in "found" the latest version, and does nobody hold it at this moment? */
static bool
is_free(IjDirect *direct)
{
	BufferHeapTupleTableSlot *slot = (BufferHeapTupleTableSlot *) direct->found;
	TM_Result	result;

	LockBuffer(slot->buffer, BUFFER_LOCK_SHARE);
	result = HeapTupleSatisfiesUpdate(slot->base.tuple, direct->command, slot->buffer);
	LockBuffer(slot->buffer, BUFFER_LOCK_UNLOCK);
	return result == TM_Ok;
}

/*
 * Change the row in "found" if it is one that the change is meant for, and still is
 * when we have it.  Only what somebody else got at first, or holds and may not be
 * waited for, is locked before it is changed.
 */
static bool
change_found(IjDirect *direct, const IjExecutionChange *change, IjLock lock)
{
	if (!meets(direct, change))
		return false;
	if (lock == IJ_LOCK_WAIT || is_free(direct))
	{
		TM_Result	result = update_found(direct, change);

		if (result == TM_Ok || result == TM_SelfModified)
			return result == TM_Ok;
	}
	if (!lock_row(direct, direct->found->tts_tid, LockTupleNoKeyExclusive, lock) || !meets(direct, change))
		return false;
	change_locked(direct, change);
	return true;
}

/* executions of the job went from one status to another, for the counters */
static void
count_moved(IjDirect *direct, const text *job_id, int from, int to, int64 count)
{
	ij_counters_moved(ij_shape_counted(direct->rel, direct->shape), direct->tenant_id, job_id, from, to, count);
}

/* ------------------------------------------------------------------------
 * Uses
 * ------------------------------------------------------------------------
 */

bool
ij_direct_get(IjDirect *direct, const text *job_id, const text *device_id, IjExecution *execution)
{
	walk_job(direct, job_id, device_id, false);
	if (!next_of_walk(&direct->by_key, direct->found))
		return false;
	read_execution(direct, direct->found, execution);
	return true;
}

text *
ij_direct_first(IjDirect *direct, const text *job_id, const text *from, int statuses)
{
	walk_job(direct, job_id, from, true);
	while (next_of_walk(&direct->by_key, direct->found))
	{
		if (statuses & IJ_STATUS_BIT(status_of(direct, direct->found)))
			return copy_text(text_of(direct->found, direct->shape->columns[IJ_E_DEVICE_ID]));
	}
	return NULL;
}

bool
ij_direct_change(IjDirect *direct, const IjExecutionChange *change, IjExecution *execution)
{
	walk_job(direct, change->job_id, change->device_id, false);
	if (!next_of_walk(&direct->by_key, direct->found) || !change_found(direct, change, IJ_LOCK_WAIT))
		return false;
	count_moved(direct, change->job_id, direct->was, change->to, 1);
	read_execution(direct, direct->changed, execution);
	return true;
}

/*
 * Somebody may get hold of a row between the look and the change.  Who is not to wait
 * then waits for so long and fails, which is before any deadlock is looked for
 * (deadlock_timeout, a second).
 */
#define PATIENCE_MS 100

/* The level of the setting, to be ended; 0 if the caller's own patience is no longer. */
static int
limit_patience(void)
{
	int			level;

	if (LockTimeout > 0 && LockTimeout <= PATIENCE_MS)
		return 0;
	level = NewGUCNestLevel();
	(void) set_config_option("lock_timeout", CppAsString2(PATIENCE_MS), PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	return level;
}

int64
ij_direct_close_executions(IjDirect *direct, const text *job_id, const text *from, int statuses,
						   IjExecStatus to, Jsonb *status_details, IjLock lock, int64 limit, text **last)
{
	IjExecutionChange change = {0};
	int64		count = 0;
	int64		were[IJ_EXEC_STATUSES] = {0};
	int			level = (lock == IJ_LOCK_SKIP) ? limit_patience() : 0;

	change.tenant_id = direct->tenant_id;
	change.job_id = job_id;
	change.from = statuses;
	change.to = to;
	change.status_details = status_details;
	direct->is_mass = true;
	*last = NULL;
	walk_job(direct, job_id, from, true);
	while (count < limit && next_of_walk(&direct->by_key, direct->found))
	{
		if (!change_found(direct, &change, lock))
			continue;
		were[direct->was]++;
		if (++count == limit)
			*last = copy_text(text_of(direct->found, direct->shape->columns[IJ_E_DEVICE_ID]));
	}
	for (int status = 0; status < IJ_EXEC_STATUSES; status++)
		count_moved(direct, job_id, status, to, were[status]);
	if (level > 0)
		AtEOXact_GUC(true, level);
	return count;
}

/* Delete the row in "found" if we can have it, as update_found() changes it. */
static bool
delete_found(IjDirect *direct, const text *job_id)
{
	const AttrNumber *columns = direct->shape->columns;
	IjExecutionChange any = {0};
	TM_FailureData failure;

	any.job_id = job_id;
	any.from = IJ_ALL_STATUSES;
	if (!lock_row(direct, direct->found->tts_tid, LockTupleExclusive, IJ_LOCK_SKIP) || !meets(direct, &any))
		return false;
	if (table_tuple_delete(direct->rel, &direct->found->tts_tid, direct->command, direct->snapshot,
						   InvalidSnapshot, true, &failure, false) != TM_Ok)
		elog(ERROR, "a locked execution was changed by somebody else");
	direct->was = status_of(direct, direct->found);
	ij_tell_ended(direct->tenant_id, job_id, text_of(direct->found, columns[IJ_E_DEVICE_ID]));
	return true;
}

int64
ij_direct_delete_executions(IjDirect *direct, const text *job_id, const text *from,
							int64 limit, text **last)
{
	int64		count = 0;
	int64		were[IJ_EXEC_STATUSES] = {0};

	*last = NULL;
	walk_job(direct, job_id, from, true);
	while (count < limit && next_of_walk(&direct->by_key, direct->found))
	{
		if (!delete_found(direct, job_id))
			continue;
		were[direct->was]++;
		if (++count == limit)
			*last = copy_text(text_of(direct->found, direct->shape->columns[IJ_E_DEVICE_ID]));
	}
	for (int status = 0; status < IJ_EXEC_STATUSES; status++)
		count_moved(direct, job_id, status, IJ_NO_EXECUTION, were[status]);
	return count;
}

/* an open execution of a device, as the index shows it */
typedef struct Candidate
{
	ItemPointerData tid;
	IjExecStatus status;
	TimestampTz queued_at;
	text	   *job_id;
} Candidate;

/*
 * The open executions of one device, in the order in which it is to have them; only
 * the next few at a time, so that neither a device with a long queue nor a batch for
 * many devices costs much memory.  The first will nearly always do.
 */
#define CANDIDATES	4

typedef struct Queue
{
	const text *device_id;
	int			statuses;
	Candidate	candidates[CANDIDATES];
	int			count;
	int			next;
	bool		more;			/* than these */
} Queue;

static int
compare_candidates(const IjDirect *direct, const Candidate *left, const Candidate *right)
{
	Form_pg_attribute job_id = TupleDescAttr(RelationGetDescr(direct->rel), direct->shape->columns[IJ_E_JOB_ID] - 1);

	/* IN_PROGRESS before QUEUED, then by age, then as SQL would order job_id */
	if (left->status != right->status)
		return left->status == IJ_EXEC_IN_PROGRESS ? -1 : 1;
	if (left->queued_at != right->queued_at)
		return left->queued_at < right->queued_at ? -1 : 1;
	return varstr_cmp(VARDATA_ANY(left->job_id), VARSIZE_ANY_EXHDR(left->job_id),
					  VARDATA_ANY(right->job_id), VARSIZE_ANY_EXHDR(right->job_id),
					  job_id->attcollation);
}

static void
forget_candidates(Queue *queue)
{
	for (int i = 0; i < queue->count; i++)
		pfree(queue->candidates[i].job_id);
	queue->count = 0;
	queue->next = 0;
	queue->more = false;
}

/* The row in this slot, one of the device's, comes into the queue if it is among the first. */
static void
offer(IjDirect *direct, Queue *queue, TupleTableSlot *slot, const Candidate *after)
{
	Candidate	candidate;
	int			place;

	candidate.status = status_of(direct, slot);
	if ((queue->statuses & IJ_STATUS_BIT(candidate.status)) == 0)
		return;
	candidate.tid = slot->tts_tid;
	candidate.job_id = text_of(slot, direct->shape->columns[IJ_E_JOB_ID]);
	timestamp_of(slot, direct->shape->columns[IJ_E_QUEUED_AT], &candidate.queued_at);
	if (after != NULL && compare_candidates(direct, &candidate, after) <= 0)
		return;

	/* its place among those we have; the last one makes room */
	for (place = queue->count; place > 0; place--)
	{
		if (compare_candidates(direct, &candidate, &queue->candidates[place - 1]) > 0)
			break;
	}
	if (queue->count == CANDIDATES)
	{
		queue->more = true;
		if (place == CANDIDATES)
			return;
		pfree(queue->candidates[--queue->count].job_id);
	}
	memmove(&queue->candidates[place + 1], &queue->candidates[place],
			(queue->count - place) * sizeof(Candidate));
	candidate.job_id = copy_text(candidate.job_id);
	queue->candidates[place] = candidate;
	queue->count++;
}

/* Nothing older than this is wanted of an index in order of age. */
static TimestampTz
oldest_wanted(const IjDirect *direct, const Queue *queue, const Candidate *after)
{
	if (after != NULL && after->status == IJ_EXEC_QUEUED)
		return after->queued_at;
	return direct->marked ? ij_marks_device(&direct->marks, queue->device_id) : DT_NOBEGIN;
}

/*
 * Is there nothing better to come for a full queue than this row?  In order of age,
 * when only QUEUED ones are wanted; those of one age are still to be ordered by job.
 */
static bool
is_complete(const IjDirect *direct, const Queue *queue, TupleTableSlot *slot)
{
	TimestampTz queued_at;

	if (!direct->shape->device_order || queue->count < CANDIDATES || queue->statuses != IJ_STATUS_BIT(IJ_EXEC_QUEUED))
		return false;
	timestamp_of(slot, direct->shape->columns[IJ_E_QUEUED_AT], &queued_at);
	return queued_at > queue->candidates[CANDIDATES - 1].queued_at;
}

/* Has this row ended, and nobody may take that back? */
static bool
is_over(const IjDirect *direct, TupleTableSlot *slot)
{
	bool		isnull;

	return !ij_exec_is_open(status_of(direct, slot)) &&
		(!TransactionIdIsValid(GetTopTransactionIdIfAny()) ||
		 !TransactionIdIsCurrentTransactionId(DatumGetTransactionId(
			slot_getsysattr(slot, MinTransactionIdAttributeNumber, &isnull))));
}

/* so many finished executions before the first open one are worth a mark */
#define WORTH_A_MARK	4

/* Read the first candidates after this one; NULL: the very first. */
static void
fill_queue(IjDirect *direct, Queue *queue, const Candidate *after)
{
	Relation	index = index_of(&direct->by_device, direct->shape->by_device);
	int			nkeys = direct->shape->device_order ? 3 : 2;
	TimestampTz from = oldest_wanted(direct, queue, after);
	TimestampTz before = from;	/* all that are older are over */
	bool		passing = direct->marked && after == NULL;
	int			passed = 0;
	ScanKeyData keys[3];

	key(keys, index, 1, BTEqualStrategyNumber, F_TEXTEQ, direct->tenant_id);
	key(keys, index, 2, BTEqualStrategyNumber, F_TEXTEQ, queue->device_id);
	if (nkeys == 3)
		key_of(keys, index, 3, BTGreaterEqualStrategyNumber, F_TIMESTAMPTZ_GE, TimestampTzGetDatum(from));
	start_walk(direct, &direct->by_device, direct->rel, keys, nkeys);
	while (next_of_walk(&direct->by_device, direct->found))
	{
		if (passing)
		{
			timestamp_of(direct->found, direct->shape->columns[IJ_E_QUEUED_AT], &before);
			passing = is_over(direct, direct->found);
			passed += passing;
		}
		if (is_complete(direct, queue, direct->found))
		{
			queue->more = true;
			break;
		}
		offer(direct, queue, direct->found, after);
	}
	if (passed >= WORTH_A_MARK && Min(before, direct->marks.upto) > from)
		ij_marks_set_device(&direct->marks, queue->device_id, before);
}

static Candidate *
next_candidate(IjDirect *direct, Queue *queue)
{
	if (queue->next == queue->count)
	{
		Candidate	after;

		if (!queue->more)
			return NULL;
		after = queue->candidates[--queue->count];
		forget_candidates(queue);
		fill_queue(direct, queue, &after);
		pfree(after.job_id);
		if (queue->count == 0)
			return NULL;
	}
	return &queue->candidates[queue->next++];
}

static Queue *
make_queue(const text *device_id, int statuses)
{
	Queue	   *queue = palloc0(sizeof(Queue));

	queue->device_id = device_id;
	queue->statuses = statuses;
	return queue;
}

static Queue *
open_queue(IjDirect *direct, const text *device_id, int statuses)
{
	Queue	   *queue = make_queue(device_id, statuses);

	fill_queue(direct, queue, NULL);
	return queue;
}

static void
close_queue(Queue *queue)
{
	forget_candidates(queue);
	pfree(queue);
}

/* Read a job into a place for it; no id stays there if it is not seen. */
static void
read_job(IjDirect *direct, const text *job_id, JobRead *read)
{
	const AttrNumber *columns = direct->jobs_shape->columns;
	Relation	index = index_of(&direct->jobs_by_key, direct->jobs_shape->primary_key);
	TupleTableSlot *slot = direct->job;
	ScanKeyData keys[2];

	read->job_id = NULL;
	key(keys, index, 1, BTEqualStrategyNumber, F_TEXTEQ, direct->tenant_id);
	key(keys, index, 2, BTEqualStrategyNumber, F_TEXTEQ, job_id);
	start_walk(direct, &direct->jobs_by_key, direct->jobs, keys, 2);
	if (!next_of_walk(&direct->jobs_by_key, slot))
		return;
	read->job_id = copy_text(job_id);
	read->status = ij_rows_job_status(text_of(slot, columns[IJ_J_STATUS]));
	read->document.document_type = copy_text(text_of(slot, columns[IJ_J_DOCUMENT_TYPE]));
	read->document.document_params = jsonb_copy_of(slot, columns[IJ_J_DOCUMENT_PARAMS]);
	read->document.expires = timestamp_of(slot, columns[IJ_J_EXPIRES_AT], &read->document.expires_at);
	ExecClearTuple(slot);
}

/* NULL if there is none that the command sees. */
static const JobRead *
find_job(IjDirect *direct, const text *job_id)
{
	JobRead    *read;

	for (int i = 0; i < JOBS_READ; i++)
	{
		read = &direct->jobs_read[i];
		if (read->job_id != NULL && ij_same_text(read->job_id, job_id))
			return read;
	}
	read = &direct->jobs_read[direct->next_job_read++ % JOBS_READ];
	read_job(direct, job_id, read);
	return read->job_id ? read : NULL;
}

/* The job's document, if a device may have, or start, an execution of it now; it is shared by all that have it. */
static bool
get_document(IjDirect *direct, const text *job_id, bool start, IjExecutionDocument *document)
{
	const JobRead *job = find_job(direct, job_id);

	if (job == NULL || job->status == IJ_JOB_DELETION_IN_PROGRESS)
		return false;
	if (start && (job->status != IJ_JOB_IN_PROGRESS ||
				  (job->document.expires && job->document.expires_at <= direct->now)))
		return false;
	*document = job->document;
	return true;
}

/* Take the first of the queue that can be had. */
static bool
claim(IjDirect *direct, Queue *queue, Jsonb *status_details, IjExecutionDocument *document)
{
	IjExecutionChange change = {0};
	Candidate  *candidate;

	change.device_id = queue->device_id;
	change.from = IJ_STATUS_BIT(IJ_EXEC_QUEUED);
	change.to = IJ_EXEC_IN_PROGRESS;
	change.starts = true;
	change.status_details = status_details;
	while ((candidate = next_candidate(direct, queue)) != NULL)
	{
		bool		start = (candidate->status == IJ_EXEC_QUEUED);

		if (!get_document(direct, candidate->job_id, start, document))
			continue;
		change.job_id = candidate->job_id;
		if (!start)
		{
			/* resumed as it is */
			if (table_tuple_fetch_row_version(direct->rel, &candidate->tid, direct->snapshot, direct->found))
			{
				read_execution(direct, direct->found, &document->execution);
				return true;
			}
		}
		else if (lock_row(direct, candidate->tid, LockTupleNoKeyExclusive, IJ_LOCK_SKIP) && meets(direct, &change))
		{
			change_locked(direct, &change);
			count_moved(direct, change.job_id, IJ_EXEC_QUEUED, IJ_EXEC_IN_PROGRESS, 1);
			read_execution(direct, direct->changed, &document->execution);
			return true;
		}
	}
	return false;
}

bool
ij_direct_start_next(IjDirect *direct, const text *device_id, Jsonb *status_details,
					 IjExecutionDocument *document)
{
	Queue	   *queue = open_queue(direct, device_id, IJ_OPEN_STATUSES);
	bool		found = claim(direct, queue, status_details, document);

	close_queue(queue);
	return found;
}

/* Claim one more of the queue for the result. */
static bool
claim_into(IjDirect *direct, Queue *queue, List **result)
{
	IjExecutionDocument *document = palloc0(sizeof(IjExecutionDocument));

	if (!claim(direct, queue, NULL, document))
	{
		pfree(document);
		return false;
	}
	*result = lappend(*result, document);
	return true;
}

/*
 * Rounds: one execution for each device, then a second for those that had one, until
 * there is no room or nothing left.
 */
List *
ij_direct_claim(IjDirect *direct, const Datum *device_ids, int count, int rounds, int limit)
{
	Queue	  **queues = palloc(Max(count, 1) * sizeof(Queue *));
	List	   *result = NIL;

	for (int round = 0; round < rounds && count > 0 && list_length(result) < limit; round++)
	{
		int			left = 0;

		for (int i = 0; i < count && list_length(result) < limit; i++)
		{
			if (round == 0)
				queues[i] = open_queue(direct, DatumGetTextPP(device_ids[i]), IJ_STATUS_BIT(IJ_EXEC_QUEUED));
			if (claim_into(direct, queues[i], &result))
				queues[left++] = queues[i];
			else
				close_queue(queues[i]);
		}
		count = left;
	}
	pfree(queues);
	return result;
}

static text *
device_ahead(IjDirect *direct)
{
	return text_of(direct->ahead, direct->shape->columns[IJ_E_DEVICE_ID]);
}

/*
 * One execution each of the devices that come after this one (NULL: of the first),
 * looking at so many devices that have something QUEUED and claiming up to a limit,
 * in one pass over the index.  *last is the last device looked at, or NULL if there
 * was none.
 */
List *
ij_direct_claim_from(IjDirect *direct, const text *after, int devices, int limit, text **last)
{
	Relation	index;
	List	   *result = NIL;
	ScanKeyData keys[2];
	bool		any_queued = false;
	bool		more;

	*last = NULL;
	if (direct->marked && ij_marks_tenant_done(&direct->marks))
		return NIL;
	index = index_of(&direct->devices, direct->shape->by_device);
	key(keys, index, 1, BTEqualStrategyNumber, F_TEXTEQ, direct->tenant_id);
	key(keys, index, 2, BTGreaterStrategyNumber, F_TEXT_GT, after ? after : empty_text());
	start_walk(direct, &direct->devices, direct->rel, keys, 2);
	more = next_of_walk(&direct->devices, direct->ahead);
	while (more && devices > 0 && list_length(result) < limit)
	{
		text	   *device_id = copy_text(device_ahead(direct));
		Queue	   *queue = make_queue(device_id, IJ_STATUS_BIT(IJ_EXEC_QUEUED));

		do
		{
			offer(direct, queue, direct->ahead, NULL);
			more = next_of_walk(&direct->devices, direct->ahead);
		} while (more && ij_same_text(device_ahead(direct), device_id));
		/* one that has only IN_PROGRESS executions costs no turn */
		if (queue->count > 0)
		{
			devices--;
			any_queued = true;
		}
		(void) claim_into(direct, queue, &result);
		close_queue(queue);
		*last = device_id;
	}
	/* unless we took something ourselves before, and may give it back */
	if (direct->marked && after == NULL && !any_queued && !TransactionIdIsValid(GetTopTransactionIdIfAny()))
		ij_marks_set_tenant_done(&direct->marks);
	return result;
}
