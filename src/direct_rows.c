/*
 * direct_rows.c
 *		Finding, reading, locking and changing one row the direct way.
 *
 * A change is the new version of a row and its index entries, which the table and
 * index access methods write, and what the guard would have told the worker.
 *
 * Locks: a row that still is as we saw it is changed in one go, and not locked before.
 * If it is not, or if somebody holds it who is not to be waited for, it is locked in its
 * latest version, or passed over, and everything that was asked of it is asked again.
 */
#include "postgres.h"

#include "direct_rows.h"

#include "access/heapam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "compat.h"
#include "counters.h"
#include "errors.h"
#include "fault.h"
#include "tell.h"

/* ------------------------------------------------------------------------
 * Read
 * ------------------------------------------------------------------------
 */

bool
ij_direct_has_status(const IjDirect *direct, TupleTableSlot *slot, int statuses, IjExecStatus *status)
{
	const text *word = ij_slot_text(slot, direct->shape->columns[IJ_E_STATUS]);

	return word != NULL && ij_exec_status_parse(VARDATA_ANY(word), VARSIZE_ANY_EXHDR(word), status) &&
		(statuses & IJ_STATUS_BIT(*status)) != 0;
}

static int64
number_of(const IjDirect *direct, TupleTableSlot *slot)
{
	bool		isnull;

	return DatumGetInt64(slot_getattr(slot, direct->shape->columns[IJ_E_EXECUTION_NUMBER], &isnull));
}

/* ------------------------------------------------------------------------
 * Walk
 * ------------------------------------------------------------------------
 */

void
ij_walk_key(ScanKey keys, Relation index, int number, StrategyNumber strategy, RegProcedure procedure, Datum value)
{
	ScanKeyEntryInitialize(&keys[number - 1], 0, number, strategy, InvalidOid,
						   index->rd_indcollation[number - 1], procedure, value);
}

void
ij_walk_text_key(ScanKey keys, Relation index, int number, StrategyNumber strategy, RegProcedure procedure, const text *value)
{
	if (value == NULL)
		value = cstring_to_text_with_len("", 0);
	ij_walk_key(keys, index, number, strategy, procedure, PointerGetDatum(value));
}

/* Go to a place of an index; it has this many keys each time. */
void
ij_walk_start(IjDirect *direct, IjWalk *walk, Relation rel, ScanKey keys, int nkeys)
{
	if (walk->scan == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(direct->context);

		walk->scan = ij_index_beginscan(rel, walk->index, direct->snapshot, nkeys, 0);
		MemoryContextSwitchTo(old);
	}
	index_rescan(walk->scan, keys, nkeys, NULL, 0);
}

Relation
ij_walk_index(IjWalk *walk, Oid index)
{
	if (walk->scan == NULL)
		walk->index = index_open(index, AccessShareLock);
	return walk->index;
}

bool
ij_walk_next(IjWalk *walk, TupleTableSlot *slot)
{
	CHECK_FOR_INTERRUPTS();
	return index_getnext_slot(walk->scan, ForwardScanDirection, slot);
}

void
ij_walk_close(IjWalk *walk)
{
	if (walk->scan == NULL)
		return;
	index_endscan(walk->scan);
	index_close(walk->index, NoLock);
}

static void
walk_by_key(IjDirect *direct, const text *job_id, StrategyNumber strategy, RegProcedure procedure, const text *device_id)
{
	Relation	index = ij_walk_index(&direct->by_key, direct->shape->primary_key);
	ScanKeyData keys[3];

	ij_walk_text_key(keys, index, 1, BTEqualStrategyNumber, F_TEXTEQ, direct->tenant_id);
	ij_walk_text_key(keys, index, 2, BTEqualStrategyNumber, F_TEXTEQ, job_id);
	ij_walk_text_key(keys, index, 3, strategy, procedure, device_id);
	ij_walk_start(direct, &direct->by_key, direct->rel, keys, 3);
}

void
ij_walk_execution(IjDirect *direct, const text *job_id, const text *device_id)
{
	walk_by_key(direct, job_id, BTEqualStrategyNumber, F_TEXTEQ, device_id);
}

void
ij_walk_job(IjDirect *direct, const text *job_id, const text *from)
{
	walk_by_key(direct, job_id, BTGreaterEqualStrategyNumber, F_TEXT_GE, from);
}

void
ij_walk_row_of_job(IjDirect *direct, IjWalk *walk, Relation jobs, const IjShape *shape, const text *job_id)
{
	Relation	index = ij_walk_index(walk, shape->primary_key);
	ScanKeyData keys[2];

	ij_walk_text_key(keys, index, 1, BTEqualStrategyNumber, F_TEXTEQ, direct->tenant_id);
	ij_walk_text_key(keys, index, 2, BTEqualStrategyNumber, F_TEXTEQ, job_id);
	ij_walk_start(direct, walk, jobs, keys, 2);
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
bool
ij_direct_lock(IjDirect *direct, ItemPointerData tid, LockTupleMode mode, IjLock lock)
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
			elog(ERROR, "unexpected result of locking a row");
	}
	return false;
}

/* Is the row in "found" one that the change is meant for? */
static bool
meets(IjDirect *direct, const IjExecutionChange *change)
{
	const AttrNumber *columns = direct->shape->columns;

	return ij_direct_has_status(direct, direct->found, change->from, &direct->was) &&
		(!change->expects || number_of(direct, direct->found) == change->expected_number) &&
		ij_same_text(ij_slot_text(direct->found, columns[IJ_E_JOB_ID]), change->job_id) &&
		ij_same_text(ij_slot_text(direct->found, columns[IJ_E_TENANT_ID]), direct->tenant_id) &&
		(change->device_id == NULL ||
		 ij_same_text(ij_slot_text(direct->found, columns[IJ_E_DEVICE_ID]), change->device_id));
}

void
ij_direct_set(IjDirect *direct, int column, Datum value)
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
	const text *details;

	ij_slot_timestamp(direct->found, columns[IJ_E_QUEUED_AT], &queued);
	if (started >= queued)
		return false;
	if (direct->was != change->to)
		return true;
	details = ij_slot_text(direct->found, columns[IJ_E_STATUS_DETAILS]);
	return change->status_details != NULL &&
		(details == NULL || !ij_same_text(details, (const text *) change->status_details));
}

/* Begin the next version of the row in "found": it is the same. */
void
ij_direct_copy(IjDirect *direct)
{
	TupleTableSlot *found = direct->found;
	TupleTableSlot *changed = direct->changed;

	slot_getallattrs(found);
	ExecClearTuple(changed);
	memcpy(changed->tts_values, found->tts_values, found->tts_nvalid * sizeof(Datum));
	memcpy(changed->tts_isnull, found->tts_isnull, found->tts_nvalid * sizeof(bool));
}

/* Make the next version of the execution in "found". */
static void
make_changed(IjDirect *direct, const IjExecutionChange *change)
{
	const AttrNumber *columns = direct->shape->columns;
	TupleTableSlot *found = direct->found;
	TimestampTz updated;
	TimestampTz started;
	bool		was_started = ij_slot_timestamp(found, columns[IJ_E_STARTED_AT], &started);

	ij_direct_copy(direct);

	/* time never goes back within a row, whatever transaction began first */
	ij_slot_timestamp(found, columns[IJ_E_LAST_UPDATED_AT], &updated);
	updated = Max(updated, direct->now);
	if (was_started && !change->starts && !TIMESTAMP_NOT_FINITE(started))
		updated = Max(updated, started);
	ij_direct_set(direct, IJ_E_STATUS, CStringGetTextDatum(ij_exec_status_name(change->to)));
	if (change->status_details != NULL)
		ij_direct_set(direct, IJ_E_STATUS_DETAILS, PointerGetDatum(change->status_details));
	ij_direct_set(direct, IJ_E_EXECUTION_NUMBER, Int64GetDatum(ij_next_execution_number(number_of(direct, found))));
	if (ij_exec_is_started(change->to) &&
		(change->starts || !was_started || is_stale_start(direct, change, started)))
		ij_direct_set(direct, IJ_E_STARTED_AT, TimestampTzGetDatum(updated));
	ij_direct_set(direct, IJ_E_LAST_UPDATED_AT, TimestampTzGetDatum(updated));
	ExecStoreVirtualTuple(direct->changed);
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

/* "open": the row goes into indexes that hold nothing else */
TM_Result
ij_direct_put(IjDirect *direct, bool open, IjLock lock)
{
	TM_FailureData failure;
	bool		needs_entries;
	TM_Result	result = ij_table_tuple_update(direct->rel, &direct->found->tts_tid, direct->changed, direct->command,
											   direct->snapshot, lock == IJ_LOCK_WAIT, &failure, &needs_entries);

	if (result != TM_Ok)
		return result;
	IJ_FAULT(row_changed);
	if (needs_entries)
		insert_index_entries(direct, open);
	return result;
}

/*
 * Put the next version of the row in "found" in its place, if that is the latest one;
 * what was stored is in "changed" then.
 *
 * That is all that an UPDATE does to this table, see shape.c, but for what the guard
 * would do: the step is a legal one, the row is complete, and what is left is to tell.
 */
static TM_Result
update_found(IjDirect *direct, const IjExecutionChange *change, IjLock lock)
{
	const AttrNumber *columns = direct->shape->columns;
	bool		open = ij_exec_is_open(change->to);
	TM_Result	result;
	MemoryContext old;

	/* what this leaves behind goes with the next row */
	MemoryContextReset(direct->row_context);
	old = MemoryContextSwitchTo(direct->row_context);
	make_changed(direct, change);
	result = ij_direct_put(direct, open, lock);
	if (result == TM_Ok && !open)
		ij_tell_ended(ij_slot_text(direct->changed, columns[IJ_E_TENANT_ID]),
					  ij_slot_text(direct->changed, columns[IJ_E_JOB_ID]),
					  ij_slot_text(direct->changed, columns[IJ_E_DEVICE_ID]));
	MemoryContextSwitchTo(old);
	return result;
}

static TM_Result
delete_found(IjDirect *direct, const IjExecutionChange *change, IjLock lock)
{
	TM_FailureData failure;
	TM_Result	result = table_tuple_delete(direct->rel, &direct->found->tts_tid, direct->command, direct->snapshot,
											InvalidSnapshot, lock == IJ_LOCK_WAIT, &failure, false);

	if (result == TM_Ok)
	{
		ij_tell_hidden();
		ij_tell_ended(direct->tenant_id, change->job_id,
					  ij_slot_text(direct->found, direct->shape->columns[IJ_E_DEVICE_ID]));
	}
	return result;
}

static TM_Result
do_found(IjDirect *direct, const IjExecutionChange *change, CmdType what, IjLock lock)
{
	IJ_FAULT(row_found);
	return what == CMD_DELETE ? delete_found(direct, change, lock) : update_found(direct, change, lock);
}

/*
 * Is the row in "found" the latest version, and does nobody hold it at this moment?  The
 * change itself would say so, too, but needs a transaction id for that.
 */
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

static bool
do_locked(IjDirect *direct, const IjExecutionChange *change, CmdType what, IjLock lock)
{
	LockTupleMode mode = (what == CMD_DELETE) ? LockTupleExclusive : LockTupleNoKeyExclusive;

	if (!ij_direct_lock(direct, direct->found->tts_tid, mode, lock) || !meets(direct, change))
		return false;
	if (do_found(direct, change, what, IJ_LOCK_WAIT) != TM_Ok)
		elog(ERROR, "a locked execution was changed by somebody else");
	return true;
}

/*
 * tableam.h: what is not to wait says TM_BeingModified.  heap_delete() and heap_update() do,
 * but the latter asserts before that nobody asks it to.
 */
static bool
need_not_wait(CmdType what)
{
	static int	has_assertions = -1;

	if (has_assertions < 0)
		has_assertions = strcmp(GetConfigOption("debug_assertions", false, false), "on") == 0;
	return what == CMD_DELETE || !has_assertions;
}

/*
 * A lock before the change is one more change of the row, and one more record in the
 * write-ahead log; so only what is held, or was changed since we saw it, is locked.
 */
bool
ij_direct_do(IjDirect *direct, const IjExecutionChange *change, CmdType what, IjLock lock)
{
	if (!meets(direct, change))
		return false;
	if (lock == IJ_LOCK_WAIT || (need_not_wait(what) && is_free(direct)))
	{
		TM_Result	result = do_found(direct, change, what, lock);

		if (result == TM_Ok || result == TM_SelfModified)
			return result == TM_Ok;
	}
	return do_locked(direct, change, what, lock);
}

void
ij_direct_moved(IjDirect *direct, const text *job_id, int from, int to, int64 count)
{
	ij_counters_moved(ij_shape_counted(direct->rel, direct->shape), direct->tenant_id, job_id, from, to, count);
}
