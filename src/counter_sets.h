/*
 * counter_sets.h
 *		The counts of jobs in shared memory; for counters.c only.
 *
 * Unless it says otherwise, what is here may only be called if ij_counter_sets_exist().
 */
#ifndef IJ_COUNTER_SETS_H
#define IJ_COUNTER_SETS_H

#include "iot_jobs.h"

#include "counters.h"

static inline bool
ij_counter_same_key(IjCounterKey left, IjCounterKey right)
{
	return left.a == right.a && left.b == right.b;
}

typedef enum IjCounterState
{
	IJ_COUNTER_FREE,
	IJ_COUNTER_COUNTING,		/* holds what the one who counts does not see */
	IJ_COUNTER_KNOWN
} IjCounterState;

/* the counts of a job at one point of the order of commits */
typedef struct IjCounterEntry
{
	IjCounterKey key;
	IjCounterState state;
	uint64		token;			/* who counts */
	uint64		upto;			/* the newest transaction that may be in the counts */
	uint64		priority;		/* the lowest one gives way */
	int64		counts[IJ_EXEC_STATUSES];
} IjCounterEntry;

/* the changes that one transaction makes to one job */
typedef struct IjCounterRecord
{
	IjCounterKey key;
	uint64		xid;			/* 0: free */
	bool		committed;		/* and may be folded; false: ask */
	bool		unknown;
	int64		moved[IJ_EXEC_STATUSES];
} IjCounterRecord;

/*
 * Records of a set: of all transactions that may be committing at once, and then
 * some, so that a record is not folded before the snapshots that do not see it are
 * mostly gone.
 */
#define IJ_COUNTER_RECORDS	256

/* instead of the place of a record */
#define IJ_COUNTER_NOWHERE	(-1)

/* what was seen of a job, and of its set, at one moment */
typedef struct IjCounterLook
{
	IjCounterKey key;
	IjCounterEntry entry;		/* IJ_COUNTER_FREE: none */
	uint64		gone;			/* the newest transaction whose record was taken away */
	uint64		losses;			/* how many records were */
	uint64		blind;			/* no entry begins before this transaction and older ones ended */
	int			nrecords;
	int			slots[IJ_COUNTER_RECORDS];
	bool		visible[IJ_COUNTER_RECORDS];	/* for the reader to say */
	IjCounterRecord records[IJ_COUNTER_RECORDS];
} IjCounterLook;

/* --- for module.c, through counters.c; always --- */
extern void ij_counter_sets_request(void);
extern void ij_counter_sets_startup(void);
extern bool ij_counter_sets_exist(void);

/* no transaction that began earlier runs unnoticed */
extern uint64 ij_counter_first_xid(void);

extern IjCounterKey ij_counter_key(const IjCountedTable *table, const text *tenant_id, const text *job_id);

/* --- writers --- */

/* nothing is known of this job, of any, before this transaction and all older ones ended */
extern void ij_counter_blind(IjCounterKey key, uint64 xid);
extern void ij_counter_blind_all(uint64 xid);

/* note where a silenced guard has to be noticed from now on; did we write there while it was? */
extern void ij_counter_watch(Oid relation);
extern bool ij_counter_wrote_silently(void);

/*
 * Lay a record before the commit; *token is that of the entry that was begun, if the
 * transaction created the job, or 0.  Settle it at the end, which never throws.
 */
extern int	ij_counter_lay(const IjCounterRecord *record, bool created, uint64 *token);
extern void ij_counter_settle(int slot, IjCounterKey key, uint64 xid, bool unknown, uint64 token, bool committed);

/* --- readers --- */

extern void ij_counter_look(IjCounterLook *look, IjCounterKey key);

/*
 * Begin an entry, if all is as it was at the look; what was visible there will be
 * counted.  *token is 0 if there is no place.
 */
extern bool ij_counter_begin(const IjCounterLook *look, uint64 upto, uint64 *token);
extern void ij_counter_finish(IjCounterKey key, uint64 token, const int64 *counts); /* NULL: gave up */
extern void ij_counter_forget(IjCounterKey key);

/* somebody asked */
extern void ij_counter_asked(bool answered);
extern void ij_counter_state(IjCountersState *state);

#endif							/* IJ_COUNTER_SETS_H */
