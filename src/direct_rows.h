/*
 * direct_rows.h
 *		Finding, reading, locking and changing one row the direct way.
 *
 * What direct.c and direct_claim.c are made of; nobody else needs it.
 */
#ifndef IJ_DIRECT_ROWS_H
#define IJ_DIRECT_ROWS_H

#include "iot_jobs.h"

#include "access/genam.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/tableam.h"
#include "executor/tuptable.h"
#include "nodes/nodes.h"
#include "utils/snapshot.h"
#include "utils/timestamp.h"

#include "direct.h"
#include "rows.h"

/* a place in an index; opened when it is first needed, and then moved about */
typedef struct IjWalk
{
	Relation	index;
	IndexScanDesc scan;			/* NULL: not open */
} IjWalk;

/* what only a claim needs, in direct_claim.c */
typedef struct IjClaiming IjClaiming;

/* one command */
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
	int64		passed;			/* rows of a walk over a job */
	bool	   *gave_way;		/* see ij_store_first_execution(), or NULL */
	MemoryContext context;		/* what lives as long as the command */
	MemoryContext row_context;	/* as long as the row that is changed */
	TupleTableSlot *found;		/* the row looked at */
	TupleTableSlot *changed;	/* its new version */
	IjExecStatus was;			/* the status of "found", if that is one to be changed or deleted */
	IjWalk		by_key;
	IjWalk		by_device;
	Relation	indexes[IJ_SHAPE_INDEXES];	/* where its entries go, if they are open */
	IjClaiming *claiming;		/* NULL: it claims nothing */
};

/* --- a column of a row --- */

/* of any type of variable length */
static inline text *
ij_slot_text(TupleTableSlot *slot, AttrNumber column)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, column, &isnull);

	return isnull ? NULL : DatumGetTextPP(value);
}

/* false: it is null */
static inline bool
ij_slot_timestamp(TupleTableSlot *slot, AttrNumber column, TimestampTz *result)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, column, &isnull);

	*result = isnull ? 0 : DatumGetTimestampTz(value);
	return !isnull;
}

/* has the row one of these?  as SQL would say: one that is none of ours is no error */
extern bool ij_direct_has_status(const IjDirect *direct, TupleTableSlot *slot, int statuses, IjExecStatus *status);

/* the row in a slot, for the readers of rows.h: their columns are those of shape.h, in that order */
#define IJ_SLOT_ROW(row_slot, shape) \
	(&(const IjRow){.desc = (row_slot)->tts_tupleDescriptor, .slot = (row_slot), .columns = (shape)->columns})

/*
 * --- walks: the keys are the same in number each time; no text is the empty one,
 * which comes before all others ---
 */

extern void ij_walk_key(ScanKey keys, Relation index, int number, StrategyNumber strategy, RegProcedure procedure, Datum value);
extern void ij_walk_text_key(ScanKey keys, Relation index, int number, StrategyNumber strategy, RegProcedure procedure,
							 const text *value);
extern Relation ij_walk_index(IjWalk *walk, Oid index);
extern void ij_walk_start(IjDirect *direct, IjWalk *walk, Relation rel, ScanKey keys, int nkeys);
extern bool ij_walk_next(IjWalk *walk, TupleTableSlot *slot);
extern void ij_walk_close(IjWalk *walk);

/* one execution, or those of a job in device order from this device on (NULL: the first) */
extern void ij_walk_execution(IjDirect *direct, const text *job_id, const text *device_id);
extern void ij_walk_job(IjDirect *direct, const text *job_id, const text *from);

/* the row of a job, by the primary key of jobs */
extern void ij_walk_row_of_job(IjDirect *direct, IjWalk *walk, Relation jobs, const IjShape *shape, const text *job_id);

/* --- the row in "found" --- */

/*
 * Update or delete it (CMD_UPDATE, CMD_DELETE).  False: it is not one that the change
 * is meant for, or cannot be had.
 */
extern bool ij_direct_do(IjDirect *direct, const IjExecutionChange *change, CmdType what, IjLock lock);

/*
 * --- the steps of that, for a row of either table: lock it in its latest version, copy
 * it into "changed", set columns there, and put that in its place ---
 */

extern bool ij_direct_lock(IjDirect *direct, ItemPointerData tid, LockTupleMode mode, IjLock lock);
extern void ij_direct_copy(IjDirect *direct);
extern void ij_direct_set(IjDirect *direct, int column, Datum value);
extern TM_Result ij_direct_put(IjDirect *direct, bool open, IjLock lock);

/* so many executions of the job went from one status to another, for the counters */
extern void ij_direct_moved(IjDirect *direct, const text *job_id, int from, int to, int64 count);

#endif							/* IJ_DIRECT_ROWS_H */
