/*
 * direct.c
 *		The rows of job_executions, and of jobs, without SQL, where that is provably the same.
 *
 * Claims, reports and sweeps know the row they want by its key.  Going to it through
 * the index and the table access method saves the executor's start and end, which
 * is half of a small statement, and it never depends on a plan: statistics of a
 * table whose rows change state all the time are often wrong, and one badly chosen
 * index reads a whole job for every row.
 *
 * ij_direct_open() takes this way only where SQL would do the very same thing
 * (shape.c); everything else goes through SPI, and finds there what it is due.  How a
 * row is found and changed is in direct_rows.c, and which of a device's is claimed in
 * direct_claim.c.
 *
 * Locks: RowExclusiveLock on the table when writing, until the transaction ends.
 */
#include "postgres.h"

#include "direct.h"

#include <sched.h>

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog.h"
#include "counters.h"
#include "direct_claim.h"
#include "direct_rows.h"

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

/* Begin one command, that sees what was committed until now, and what we did before. */
static IjDirect *
begin_command(Relation rel, const IjShape *shape, const text *tenant_id, IjDirectUse use)
{
	static const struct
	{
		const char *name;
		CmdType		type;
	}			commands[] = {
		[IJ_DIRECT_READ] = {NULL, CMD_SELECT},
		[IJ_DIRECT_CLAIM] = {"UPDATE", CMD_UPDATE},
		[IJ_DIRECT_LOCK] = {"SELECT FOR NO KEY UPDATE", CMD_SELECT},
		[IJ_DIRECT_UPDATE] = {"UPDATE", CMD_UPDATE},
		[IJ_DIRECT_DELETE] = {"DELETE", CMD_DELETE},
	};

	if (commands[use].name != NULL)
	{
		PreventCommandIfReadOnly(commands[use].name);
		PreventCommandIfParallelMode(commands[use].name);
		CheckCmdReplicaIdentity(rel, commands[use].type);
	}
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	return make_direct(rel, shape, tenant_id, use);
}

static IjDirect *
open_table(Oid table, const IjShape *(*shape_of)(Relation), const text *tenant_id, IjDirectUse use)
{
	Relation	rel = table_open(table, use == IJ_DIRECT_READ ? AccessShareLock : RowExclusiveLock);
	const IjShape *shape = shape_of(rel);
	IjClaiming *claiming = NULL;
	bool		same = ij_shape_same_as_sql(rel, shape, use, tenant_id);
	IjDirect   *direct;

	if (same && use == IJ_DIRECT_CLAIM)
	{
		claiming = ij_claiming_begin(rel, shape, tenant_id);
		same = (claiming != NULL);
	}
	if (!same)
	{
		table_close(rel, NoLock);
		return NULL;
	}
	direct = begin_command(rel, shape, tenant_id, use);
	direct->claiming = claiming;
	if (claiming != NULL)
		ij_claiming_snapshot(direct);
	return direct;
}

IjDirect *
ij_direct_open(const text *tenant_id, IjDirectUse use)
{
	return open_table(ij_catalog_executions(), ij_shape_of_executions, tenant_id, use);
}

IjDirect *
ij_direct_open_jobs(const text *tenant_id, IjDirectUse use)
{
	return open_table(ij_catalog_jobs(), ij_shape_of_jobs, tenant_id, use);
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
	bool		wrote = direct->writes;

	ij_walk_close(&direct->by_key);
	ij_walk_close(&direct->by_device);
	if (direct->claiming != NULL)
		ij_claiming_end(direct->claiming);
	for (int i = 0; i < lengthof(direct->indexes); i++)
	{
		if (direct->indexes[i] != NULL)
			index_close(direct->indexes[i], NoLock);
	}
	drop_slot(direct->found);
	drop_slot(direct->changed);
	MemoryContextDelete(direct->context);
	PopActiveSnapshot();
	table_close(rel, NoLock);
	if (wrote)
		CommandCounterIncrement();
}

bool
ij_direct_get(IjDirect *direct, const text *job_id, const text *device_id, IjExecution *execution)
{
	ij_walk_execution(direct, job_id, device_id);
	if (!ij_walk_next(&direct->by_key, direct->found))
		return false;
	ij_rows_read_execution(IJ_SLOT_ROW(direct->found, direct->shape), execution);
	return true;
}

/*
 * Executions that a walk over a job passes between two looks whether somebody waits
 * for us: a few milliseconds.
 */
#define WALK_ROWS	10000

/* Does somebody wait for a row that this transaction has locked? */
static bool
is_waited_for(void)
{
	TransactionId xid = GetTopTransactionIdIfAny();
	LOCKTAG		tag;

	if (!TransactionIdIsValid(xid))
		return false;
	SET_LOCKTAG_TRANSACTION(tag, xid);
	return LockHasWaiters(&tag, ExclusiveLock, false);
}

/* The next execution of a walk over a job; none for a walk that gives way to somebody. */
static bool
next_of_job(IjDirect *direct)
{
	if (direct->gave_way != NULL && ++direct->passed % WALK_ROWS == 0)
		*direct->gave_way = is_waited_for();
	if (direct->gave_way != NULL && *direct->gave_way)
		return false;
	return ij_walk_next(&direct->by_key, direct->found);
}

text *
ij_direct_first(IjDirect *direct, const text *job_id, const text *from, int statuses, bool *gave_way)
{
	IjExecStatus status;

	direct->gave_way = gave_way;
	ij_walk_job(direct, job_id, from);
	while (next_of_job(direct))
	{
		if (ij_direct_has_status(direct, direct->found, statuses, &status))
			return ij_copy_text(ij_slot_text(direct->found, direct->shape->columns[IJ_E_DEVICE_ID]));
	}
	return NULL;
}

bool
ij_direct_change(IjDirect *direct, const IjExecutionChange *change, IjExecution *execution)
{
	ij_walk_execution(direct, change->job_id, change->device_id);
	if (!ij_walk_next(&direct->by_key, direct->found) ||
		!ij_direct_do(direct, change, CMD_UPDATE, IJ_LOCK_WAIT))
		return false;
	ij_direct_moved(direct, change->job_id, direct->was, change->to, 1);
	ij_rows_read_execution(IJ_SLOT_ROW(direct->changed, direct->shape), execution);
	return true;
}

/*
 * A mass of changes keeps a processor busy for seconds.  The kernel lets it have that for
 * milliseconds at a time, and for as long a device's claim, which needs microseconds,
 * waits.  So offer it to others after so many rows, which are about 0.2 ms: that costs
 * nothing where nobody wants it, and halves the slowest claims where somebody does
 * (bench row "mass").
 */
#define YIELD_ROWS 32

/*
 * Update or delete the executions of a job from this device on, up to a limit; *last is
 * the device at which the limit was reached, or NULL.
 */
int64
ij_direct_do_to_job(IjDirect *direct, const IjExecutionChange *change, CmdType what, const text *from, IjLock lock,
					int64 limit, text **last, bool *gave_way)
{
	int			to = (what == CMD_DELETE) ? IJ_NO_EXECUTION : (int) change->to;
	int64		count = 0;
	int64		were[IJ_EXEC_STATUSES] = {0};

	direct->is_mass = true;
	direct->gave_way = gave_way;
	*last = NULL;
	ij_walk_job(direct, change->job_id, from);
	while (count < limit && next_of_job(direct))
	{
		if (!ij_direct_do(direct, change, what, lock))
			continue;
		were[direct->was]++;
		if (++count % YIELD_ROWS == 0)
			(void) sched_yield();
		if (count == limit)
			*last = ij_copy_text(ij_slot_text(direct->found, direct->shape->columns[IJ_E_DEVICE_ID]));
	}
	for (int status = 0; status < IJ_EXEC_STATUSES; status++)
		ij_direct_moved(direct, change->job_id, status, to, were[status]);
	return count;
}

/* ------------------------------------------------------------------------
 * The row of a job: what a visit of the worker does to it
 *
 * A fleet that is sent its jobs one device at a time has a job completed for each
 * report.  By SQL, the three statements about the row of that job took two thirds of
 * the worker's time, most of it for starting and ending them.  It is locked as FOR NO
 * KEY UPDATE SKIP LOCKED would, and changed only once it is.
 * ------------------------------------------------------------------------
 */

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
	if (ij_direct_put(direct, false, IJ_LOCK_WAIT) != TM_Ok)
		elog(ERROR, "a locked job was changed by somebody else");
	MemoryContextSwitchTo(old);
	return true;
}
