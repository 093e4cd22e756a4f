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
 * (shape.c); everything else goes through SPI, and finds there what it is due.  The
 * change itself is left to the server's own ExecSimpleRelationUpdate() and its like,
 * which fire row triggers, check constraints and maintain indexes.
 *
 * Locks: RowExclusiveLock on the table when writing; a row is locked (waiting, or
 * passing over it) in its latest version before it is changed, and everything that
 * was asked of it is asked again of that version.
 */
#include "postgres.h"

#include "direct.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
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
#include "rows.h"

struct IjDirect
{
	const text *tenant_id;
	Relation	rel;
	const IjShape *shape;
	Relation	jobs;			/* only to claim */
	const IjShape *jobs_shape;
	EState	   *estate;
	ResultRelInfo *result_rel;
	EPQState	epq;
	TupleTableSlot *found;		/* the row looked at */
	TupleTableSlot *changed;	/* its new version */
	TimestampTz now;
};

/* All of it lives in the executor state's context and goes with it. */
static IjDirect *
make_direct(Relation rel, const IjShape *shape, const text *tenant_id, IjDirectUse use)
{
	static const int updated[] = {IJ_E_STATUS, IJ_E_STATUS_DETAILS, IJ_E_EXECUTION_NUMBER, IJ_E_STARTED_AT, IJ_E_LAST_UPDATED_AT};
	EState	   *estate = CreateExecutorState();
	MemoryContext old = MemoryContextSwitchTo(estate->es_query_cxt);
	IjDirect   *direct = palloc0(sizeof(IjDirect));

	direct->tenant_id = tenant_id;
	direct->rel = rel;
	direct->shape = shape;
	direct->now = GetCurrentTransactionStartTimestamp();
	direct->estate = estate;
	direct->found = table_slot_create(rel, &estate->es_tupleTable);
	if (use != IJ_DIRECT_READ)
	{
		Bitmapset  *updated_columns = NULL;

		if (use != IJ_DIRECT_DELETE)
		{
			for (int i = 0; i < lengthof(updated); i++)
				updated_columns = bms_add_member(updated_columns,
												 shape->columns[updated[i]] - FirstLowInvalidHeapAttributeNumber);
		}
		ij_exec_init_range_table(estate, rel, RowExclusiveLock, updated_columns);
		direct->result_rel = makeNode(ResultRelInfo);
		InitResultRelInfo(direct->result_rel, rel, 1, NULL, 0);
		/* where AFTER triggers look for it */
		estate->es_opened_result_relations = lappend(estate->es_opened_result_relations, direct->result_rel);
		ExecOpenIndices(direct->result_rel, false);
		EvalPlanQualInit(&direct->epq, estate, NULL, NIL, -1, NIL);
		direct->changed = ExecInitExtraTupleSlot(estate, RelationGetDescr(rel), &TTSOpsVirtual);
	}
	MemoryContextSwitchTo(old);
	return direct;
}

IjDirect *
ij_direct_open(const text *tenant_id, IjDirectUse use)
{
	static const char *const commands[] = {
		[IJ_DIRECT_READ] = NULL,
		[IJ_DIRECT_CLAIM] = "UPDATE",
		[IJ_DIRECT_UPDATE] = "UPDATE",
		[IJ_DIRECT_DELETE] = "DELETE",
	};
	Relation	rel = table_open(ij_catalog_executions(),
								 use == IJ_DIRECT_READ ? AccessShareLock : RowExclusiveLock);
	const IjShape *shape = ij_shape_of_executions(rel);
	Relation	jobs = NULL;
	const IjShape *jobs_shape = NULL;
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
	if (commands[use] != NULL)
	{
		PreventCommandIfReadOnly(commands[use]);
		PreventCommandIfParallelMode(commands[use]);
	}

	/* one command, that sees what was committed until now, and what we did before */
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	direct = make_direct(rel, shape, tenant_id, use);
	direct->jobs = jobs;
	direct->jobs_shape = jobs_shape;
	if (use != IJ_DIRECT_READ)
	{
		direct->estate->es_snapshot = GetActiveSnapshot();
		direct->estate->es_output_cid = GetCurrentCommandId(true);
		AfterTriggerBeginQuery();
	}
	return direct;
}

/* End the command: fire what waits for its end, and make its changes visible to the next. */
void
ij_direct_close(IjDirect *direct)
{
	EState	   *estate = direct->estate;
	Relation	rel = direct->rel;
	Relation	jobs = direct->jobs;
	bool		began = (estate->es_snapshot != NULL);
	MemoryContext old = MemoryContextSwitchTo(estate->es_query_cxt);

	if (began)
		AfterTriggerEndQuery(estate);
	if (direct->result_rel != NULL)
	{
		EvalPlanQualEnd(&direct->epq);
		/* our indexes, and what the triggers may have opened */
		ExecCloseResultRelations(estate);
	}
	ExecResetTupleTable(estate->es_tupleTable, false);
	MemoryContextSwitchTo(old);
	FreeExecutorState(estate);
	PopActiveSnapshot();
	if (jobs != NULL)
		table_close(jobs, NoLock);
	table_close(rel, NoLock);
	if (began)
		CommandCounterIncrement();
}

/* ------------------------------------------------------------------------
 * Rows
 * ------------------------------------------------------------------------
 */

static Datum
value_of(TupleTableSlot *slot, AttrNumber column, bool *isnull)
{
	return slot_getattr(slot, column, isnull);
}

static text *
text_of(TupleTableSlot *slot, AttrNumber column)
{
	bool		isnull;
	Datum		value = value_of(slot, column, &isnull);

	return isnull ? NULL : DatumGetTextPP(value);
}

static bool
timestamp_of(TupleTableSlot *slot, AttrNumber column, TimestampTz *result)
{
	bool		isnull;
	Datum		value = value_of(slot, column, &isnull);

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
	Datum		value = value_of(slot, column, &isnull);

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

	return DatumGetInt64(value_of(slot, direct->shape->columns[IJ_E_EXECUTION_NUMBER], &isnull));
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
key(ScanKey scan_key, Relation index, int number, StrategyNumber strategy, RegProcedure procedure, const text *value)
{
	ScanKeyEntryInitialize(&scan_key[number - 1], 0, number, strategy, InvalidOid,
						   index->rd_indcollation[number - 1], procedure, PointerGetDatum(value));
}

/* a walk over an index, in its order */
typedef struct Walk
{
	Relation	index;
	IndexScanDesc scan;
} Walk;

static void
begin_walk(Walk *walk, Relation rel, Relation index, ScanKey keys, int nkeys)
{
	walk->index = index;
	walk->scan = ij_index_beginscan(rel, index, GetActiveSnapshot(), nkeys, 0);
	index_rescan(walk->scan, keys, nkeys, NULL, 0);
}

static bool
next_of_walk(Walk *walk, TupleTableSlot *slot)
{
	CHECK_FOR_INTERRUPTS();
	return index_getnext_slot(walk->scan, ForwardScanDirection, slot);
}

static void
end_walk(Walk *walk)
{
	index_endscan(walk->scan);
	index_close(walk->index, NoLock);
}

/* one execution, or, with a device to start from, those of a job in device order */
static void
walk_job(IjDirect *direct, Walk *walk, const text *job_id, const text *device_id, bool from)
{
	Relation	index = index_open(direct->shape->primary_key, AccessShareLock);
	ScanKeyData keys[3];
	int			nkeys = 2;

	key(keys, index, 1, BTEqualStrategyNumber, F_TEXTEQ, direct->tenant_id);
	key(keys, index, 2, BTEqualStrategyNumber, F_TEXTEQ, job_id);
	if (device_id != NULL)
	{
		nkeys = 3;
		if (from)
			key(keys, index, 3, BTGreaterEqualStrategyNumber, F_TEXT_GE, device_id);
		else
			key(keys, index, 3, BTEqualStrategyNumber, F_TEXTEQ, device_id);
	}
	begin_walk(walk, direct->rel, index, keys, nkeys);
}

/* ------------------------------------------------------------------------
 * Lock and change
 * ------------------------------------------------------------------------
 */

/*
 * Lock the row in "found" in its latest version, which is in "found" afterwards.
 * False if it is gone, or held by somebody whom we do not wait for.  What the
 * executor's LockRows node would do.
 */
static bool
lock_found(IjDirect *direct, LockTupleMode mode, IjLock lock)
{
	TM_FailureData failure;
	ItemPointerData tid = direct->found->tts_tid;
	int			flags = IsolationUsesXactSnapshot() ? 0 : TUPLE_LOCK_FLAG_FIND_LAST_VERSION;

	switch (table_tuple_lock(direct->rel, &tid, direct->estate->es_snapshot, direct->found,
							 direct->estate->es_output_cid, mode,
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

/* Does the locked version still have the key we came by? */
static bool
is_execution(IjDirect *direct, const text *job_id, const text *device_id)
{
	const AttrNumber *columns = direct->shape->columns;

	return ij_same_text(text_of(direct->found, columns[IJ_E_TENANT_ID]), direct->tenant_id) &&
		ij_same_text(text_of(direct->found, columns[IJ_E_JOB_ID]), job_id) &&
		(device_id == NULL || ij_same_text(text_of(direct->found, columns[IJ_E_DEVICE_ID]), device_id));
}

static void
set_value(IjDirect *direct, int column, Datum value)
{
	AttrNumber	number = direct->shape->columns[column];

	direct->changed->tts_values[number - 1] = value;
	direct->changed->tts_isnull[number - 1] = false;
}

/*
 * Put the next version of the locked row in its place; what was stored is in
 * "changed" then.
 */
static void
update_found(IjDirect *direct, IjExecStatus to, Jsonb *status_details)
{
	TupleTableSlot *found = direct->found;
	TupleTableSlot *changed = direct->changed;
	MemoryContext old;
	TimestampTz updated;
	TimestampTz started;

	ResetPerTupleExprContext(direct->estate);
	old = MemoryContextSwitchTo(GetPerTupleMemoryContext(direct->estate));
	slot_getallattrs(found);
	ExecClearTuple(changed);
	memcpy(changed->tts_values, found->tts_values, found->tts_nvalid * sizeof(Datum));
	memcpy(changed->tts_isnull, found->tts_isnull, found->tts_nvalid * sizeof(bool));

	/* time never goes back within a row, whatever transaction began first */
	timestamp_of(found, direct->shape->columns[IJ_E_LAST_UPDATED_AT], &updated);
	updated = Max(updated, direct->now);
	set_value(direct, IJ_E_STATUS, CStringGetTextDatum(ij_exec_status_name(to)));
	if (status_details != NULL)
		set_value(direct, IJ_E_STATUS_DETAILS, PointerGetDatum(status_details));
	set_value(direct, IJ_E_EXECUTION_NUMBER, Int64GetDatum(ij_next_execution_number(number_of(direct, found))));
	if (ij_exec_is_started(to) && !timestamp_of(found, direct->shape->columns[IJ_E_STARTED_AT], &started))
		set_value(direct, IJ_E_STARTED_AT, TimestampTzGetDatum(updated));
	set_value(direct, IJ_E_LAST_UPDATED_AT, TimestampTzGetDatum(updated));
	ExecStoreVirtualTuple(changed);

	/* what that leaves behind goes with the next row */
	ij_counters_expect(true);
	ExecSimpleRelationUpdate(direct->result_rel, direct->estate, &direct->epq, found, changed);
	ij_counters_expect(false);
	MemoryContextSwitchTo(old);

	/* the guard, the only BEFORE trigger there is, suppresses no row */
	Assert(ItemPointerIsValid(&changed->tts_tid));
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
	Walk		walk;
	bool		found;

	walk_job(direct, &walk, job_id, device_id, false);
	found = next_of_walk(&walk, direct->found);
	if (found)
		read_execution(direct, direct->found, execution);
	end_walk(&walk);
	return found;
}

text *
ij_direct_first(IjDirect *direct, const text *job_id, const text *from, int statuses)
{
	Walk		walk;
	text	   *result = NULL;

	walk_job(direct, &walk, job_id, from, true);
	while (result == NULL && next_of_walk(&walk, direct->found))
	{
		if (statuses & IJ_STATUS_BIT(status_of(direct, direct->found)))
			result = copy_text(text_of(direct->found, direct->shape->columns[IJ_E_DEVICE_ID]));
	}
	end_walk(&walk);
	return result;
}

static bool
meets(IjDirect *direct, const IjExecutionChange *change)
{
	return (change->from & IJ_STATUS_BIT(status_of(direct, direct->found))) != 0 &&
		(!change->expects || number_of(direct, direct->found) == change->expected_number);
}

bool
ij_direct_change(IjDirect *direct, const IjExecutionChange *change, IjExecution *execution)
{
	Walk		walk;
	bool		done;

	walk_job(direct, &walk, change->job_id, change->device_id, false);
	done = next_of_walk(&walk, direct->found) && meets(direct, change) &&
		lock_found(direct, LockTupleNoKeyExclusive, IJ_LOCK_WAIT) &&
		is_execution(direct, change->job_id, change->device_id) && meets(direct, change);
	if (done)
	{
		count_moved(direct, change->job_id, status_of(direct, direct->found), change->to, 1);
		update_found(direct, change->to, change->status_details);
		read_execution(direct, direct->changed, execution);
	}
	end_walk(&walk);
	return done;
}

int64
ij_direct_close_executions(IjDirect *direct, const text *job_id, const text *from, int statuses,
						   IjExecStatus to, Jsonb *status_details, IjLock lock, int64 limit, text **last)
{
	Walk		walk;
	int64		count = 0;
	int64		were[IJ_EXEC_STATUSES] = {0};

	*last = NULL;
	walk_job(direct, &walk, job_id, from, true);
	while (count < limit && next_of_walk(&walk, direct->found))
	{
		if ((statuses & IJ_STATUS_BIT(status_of(direct, direct->found))) == 0 ||
			!lock_found(direct, LockTupleNoKeyExclusive, lock) ||
			!is_execution(direct, job_id, NULL) ||
			(statuses & IJ_STATUS_BIT(status_of(direct, direct->found))) == 0)
			continue;
		were[status_of(direct, direct->found)]++;
		update_found(direct, to, status_details);
		if (++count == limit)
			*last = copy_text(text_of(direct->found, direct->shape->columns[IJ_E_DEVICE_ID]));
	}
	end_walk(&walk);
	for (int status = 0; status < IJ_EXEC_STATUSES; status++)
		count_moved(direct, job_id, status, to, were[status]);
	return count;
}

int64
ij_direct_delete_executions(IjDirect *direct, const text *job_id, const text *from,
							int64 limit, text **last)
{
	Walk		walk;
	int64		count = 0;
	int64		were[IJ_EXEC_STATUSES] = {0};
	MemoryContext old;

	*last = NULL;
	walk_job(direct, &walk, job_id, from, true);
	while (count < limit && next_of_walk(&walk, direct->found))
	{
		if (!lock_found(direct, LockTupleExclusive, IJ_LOCK_SKIP) || !is_execution(direct, job_id, NULL))
			continue;
		if (++count == limit)
			*last = copy_text(text_of(direct->found, direct->shape->columns[IJ_E_DEVICE_ID]));
		were[status_of(direct, direct->found)]++;
		ResetPerTupleExprContext(direct->estate);
		old = MemoryContextSwitchTo(GetPerTupleMemoryContext(direct->estate));
		ij_counters_expect(true);
		ExecSimpleRelationDelete(direct->result_rel, direct->estate, &direct->epq, direct->found);
		ij_counters_expect(false);
		MemoryContextSwitchTo(old);
	}
	end_walk(&walk);
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
 * the next few at a time, so that a device with a long queue costs no memory.
 */
#define CANDIDATES	16

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

/* Read the first candidates after this one; NULL: the very first. */
static void
fill_queue(IjDirect *direct, Queue *queue, const Candidate *after)
{
	Relation	index = index_open(direct->shape->by_device, AccessShareLock);
	Candidate	last = {0};
	ScanKeyData keys[2];
	Walk		walk;

	if (after != NULL)
		last = *after;
	queue->count = 0;
	queue->next = 0;
	queue->more = false;
	key(keys, index, 1, BTEqualStrategyNumber, F_TEXTEQ, direct->tenant_id);
	key(keys, index, 2, BTEqualStrategyNumber, F_TEXTEQ, queue->device_id);
	begin_walk(&walk, direct->rel, index, keys, 2);
	while (next_of_walk(&walk, direct->found))
	{
		Candidate	candidate;
		int			place;

		candidate.status = status_of(direct, direct->found);
		if ((queue->statuses & IJ_STATUS_BIT(candidate.status)) == 0)
			continue;
		candidate.tid = direct->found->tts_tid;
		candidate.job_id = text_of(direct->found, direct->shape->columns[IJ_E_JOB_ID]);
		timestamp_of(direct->found, direct->shape->columns[IJ_E_QUEUED_AT], &candidate.queued_at);
		if (last.job_id != NULL && compare_candidates(direct, &candidate, &last) <= 0)
			continue;

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
				continue;
			pfree(queue->candidates[--queue->count].job_id);
		}
		memmove(&queue->candidates[place + 1], &queue->candidates[place],
				(queue->count - place) * sizeof(Candidate));
		candidate.job_id = copy_text(candidate.job_id);
		queue->candidates[place] = candidate;
		queue->count++;
	}
	end_walk(&walk);
}

static Candidate *
next_candidate(IjDirect *direct, Queue *queue)
{
	if (queue->next == queue->count)
	{
		Candidate	after;

		if (!queue->more)
			return NULL;
		after = queue->candidates[queue->count - 1];
		for (int i = 0; i < queue->count - 1; i++)
			pfree(queue->candidates[i].job_id);
		fill_queue(direct, queue, &after);
		pfree(after.job_id);
		if (queue->count == 0)
			return NULL;
	}
	return &queue->candidates[queue->next++];
}

static Queue *
open_queue(IjDirect *direct, const text *device_id, int statuses)
{
	Queue	   *queue = palloc0(sizeof(Queue));

	queue->device_id = device_id;
	queue->statuses = statuses;
	fill_queue(direct, queue, NULL);
	return queue;
}

/* The job's document, if a device may have, or start, an execution of it now. */
static bool
read_job(IjDirect *direct, const text *job_id, bool start, IjExecutionDocument *document)
{
	const AttrNumber *columns = direct->jobs_shape->columns;
	Relation	index = index_open(direct->jobs_shape->primary_key, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(direct->jobs, NULL);
	ScanKeyData keys[2];
	Walk		walk;
	bool		usable = false;

	key(keys, index, 1, BTEqualStrategyNumber, F_TEXTEQ, direct->tenant_id);
	key(keys, index, 2, BTEqualStrategyNumber, F_TEXTEQ, job_id);
	begin_walk(&walk, direct->jobs, index, keys, 2);
	if (next_of_walk(&walk, slot))
	{
		IjJobStatus status = ij_rows_job_status(text_of(slot, columns[IJ_J_STATUS]));

		document->expires = timestamp_of(slot, columns[IJ_J_EXPIRES_AT], &document->expires_at);
		if (start)
			usable = status == IJ_JOB_IN_PROGRESS && (!document->expires || document->expires_at > direct->now);
		else
			usable = status != IJ_JOB_DELETION_IN_PROGRESS;
		if (usable)
		{
			document->document_type = copy_text(text_of(slot, columns[IJ_J_DOCUMENT_TYPE]));
			document->document_params = jsonb_copy_of(slot, columns[IJ_J_DOCUMENT_PARAMS]);
		}
	}
	end_walk(&walk);
	ExecDropSingleTupleTableSlot(slot);
	return usable;
}

static bool
fetch_candidate(IjDirect *direct, Candidate *candidate)
{
	return table_tuple_fetch_row_version(direct->rel, &candidate->tid, direct->estate->es_snapshot, direct->found);
}

/* Take the first of the queue that can be had. */
static bool
claim(IjDirect *direct, Queue *queue, Jsonb *status_details, IjExecutionDocument *document)
{
	Candidate  *candidate;

	while ((candidate = next_candidate(direct, queue)) != NULL)
	{
		if (!read_job(direct, candidate->job_id, candidate->status == IJ_EXEC_QUEUED, document))
			continue;
		if (fetch_candidate(direct, candidate))
		{
			if (candidate->status == IJ_EXEC_IN_PROGRESS)
			{
				/* resumed as it is */
				read_execution(direct, direct->found, &document->execution);
				return true;
			}
			if (lock_found(direct, LockTupleNoKeyExclusive, IJ_LOCK_SKIP) &&
				is_execution(direct, candidate->job_id, queue->device_id) &&
				status_of(direct, direct->found) == IJ_EXEC_QUEUED)
			{
				count_moved(direct, candidate->job_id, IJ_EXEC_QUEUED, IJ_EXEC_IN_PROGRESS, 1);
				update_found(direct, IJ_EXEC_IN_PROGRESS, status_details);
				read_execution(direct, direct->changed, &document->execution);
				return true;
			}
		}
		pfree(document->document_type);
		pfree(document->document_params);
	}
	return false;
}

bool
ij_direct_start_next(IjDirect *direct, const text *device_id, Jsonb *status_details,
					 IjExecutionDocument *document)
{
	return claim(direct, open_queue(direct, device_id, IJ_OPEN_STATUSES), status_details, document);
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
			IjExecutionDocument *document = palloc0(sizeof(IjExecutionDocument));

			if (round == 0)
				queues[i] = open_queue(direct, DatumGetTextPP(device_ids[i]), IJ_STATUS_BIT(IJ_EXEC_QUEUED));
			if (claim(direct, queues[i], NULL, document))
			{
				result = lappend(result, document);
				queues[left++] = queues[i];
			}
			else
			{
				pfree(queues[i]);
				pfree(document);
			}
		}
		count = left;
	}
	pfree(queues);
	return result;
}
