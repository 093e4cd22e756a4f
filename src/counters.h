/*
 * counters.h
 *		How many executions of a job are in which status, without counting.
 *
 * The rows are the truth.  What is known here answers for a snapshot exactly what
 * counting the rows with that snapshot would answer, or not at all; then the caller
 * counts.  Without shared_preload_libraries nothing is ever known.
 */
#ifndef IJ_COUNTERS_H
#define IJ_COUNTERS_H

#include "iot_jobs.h"

#include "utils/snapshot.h"

/*
 * A table of executions, in one of its lives: what happens to a table while nobody
 * can note it (TRUNCATE, a disabled guard) begins another one.
 */
typedef struct IjCountedTable
{
	Oid			relation;
	uint64		life;
	uint64		began;			/* with this transaction, or an older one that ended before it */
} IjCountedTable;

/* a job of a table in one of its lives */
typedef struct IjCounterKey
{
	uint64		a;
	uint64		b;
} IjCounterKey;

/* a count that was asked for, and is being taken */
typedef struct IjCounting
{
	IjCounterKey key;
	uint64		token;			/* 0: nobody waits for it */
} IjCounting;

/* as a status: there is no execution, before or after the change */
#define IJ_NO_EXECUTION		(-1)

/*
 * --- who changes rows; a table that is NULL is not counted ---
 *
 * So many executions of the job went from one status to the other.  To be called
 * within the command that does it.
 */
extern void ij_counters_moved(const IjCountedTable *table, const text *tenant_id, const text *job_id,
							  int from, int to, int64 count);

/* this transaction created the job, without executions */
extern void ij_counters_created(const IjCountedTable *table, const text *tenant_id, const text *job_id);

/* executions of the job change, nobody knows how many, or, if a name is NULL, of which job */
extern void ij_counters_unsettle(const IjCountedTable *table, const text *tenant_id, const text *job_id);

/* --- who asks --- */

/*
 * The counts as this snapshot sees them; false: count with the same snapshot.  Then,
 * if counting->token is not 0, the caller hands the result to ij_counters_publish(), or
 * NULL, if he gives up.  That throws nothing.  Whoever does not mean to count gives no
 * counting.
 */
extern bool ij_counters_get(const IjCountedTable *table, const text *tenant_id, const text *job_id,
							Snapshot snapshot, IjCounts *counts, IjCounting *counting);
extern void ij_counters_publish(const IjCounting *counting, const IjCounts *counts);

/* forget the job: the next one who asks counts */
extern void ij_counters_forget(const IjCountedTable *table, const text *tenant_id, const text *job_id);

typedef struct IjCountersState
{
	int64		jobs;			/* known now */
	int64		answered;		/* from what was known */
	int64		counted;		/* nothing was known */
} IjCountersState;

/* false: there are no counters */
extern bool ij_counters_state(IjCountersState *state);

/* --- module.c --- */
extern void ij_counters_request(void);
extern void ij_counters_startup(void);

#endif							/* IJ_COUNTERS_H */
