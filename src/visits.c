/*
 * visits.c
 *		The jobs that a worker is to visit: this turn, next turn, or later.
 *
 * A visit is in one of four lists.  "ready" holds this turn's; ij_visits_next() moves
 * one to "unit", the visits of the open transaction, and what the transaction made of
 * them decides where they go: nowhere, to "again" (next turn), or to "put off", for
 * longer each time, because the job was locked or failed.
 *
 * If a unit fails, all that is known is that one of its jobs is bad, so they are
 * visited again, each in a transaction of its own; one that fails alone is put off.
 *
 * All of it is the worker's own memory: no lock guards it, and what is left at the
 * end is given back to shared memory by ij_visits_give_back().
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "databases.h"
#include "iot_jobs.h"
#include "store.h"
#include "told.h"
#include "visits.h"

/* jobs put off that are remembered; beyond that, everything is looked at again later */
#define MAX_PUT_OFF			1000

/* a job that somebody else has, or is to have, is visited again after this long, doubling up to the second */
#define LOCKED_FIRST_MS		10
#define LOCKED_LAST_MS		1000

/*
 * ... but from the third time on not before so many times what the visit took, or a
 * minute: somebody may hold a row of a large job for hours
 */
#define LOCKED_SHORTLY		2
#define LOCKED_REST			10
#define LOCKED_REST_LAST_MS 60000

/* so is one that failed */
#define FAILED_FIRST_MS		1000
#define FAILED_LAST_MS		60000

/*
 * Jobs are ready in hundreds, but for those that share one deadline, which may be all
 * of a fleet's
 */
#define BUCKETS				4096

static dlist_head ready = DLIST_STATIC_INIT(ready);
static dlist_head buckets[BUCKETS]; /* of what is ready or put off, by hash */
static dlist_head unit = DLIST_STATIC_INIT(unit);
static dlist_head again = DLIST_STATIC_INIT(again);
static dlist_head put_off = DLIST_STATIC_INIT(put_off);
static int	nput_off = 0;
static TimestampTz overflow_due = DT_NOEND; /* too many were put off: when to look at all */

static MemoryContext visit_context = NULL;

void
ij_visits_init(void)
{
	visit_context = AllocSetContextCreate(TopMemoryContext, "iot_jobs visits", ALLOCSET_DEFAULT_SIZES);
}

/* ------------------------------------------------------------------------
 * Lists
 * ------------------------------------------------------------------------
 */

/* the one of this job, if it is ready or put off */
static IjVisit *
find(uint64 hash, const text *tenant_id, const text *job_id)
{
	dlist_iter	iter;

	dlist_foreach(iter, &buckets[hash % BUCKETS])
	{
		IjVisit    *visit = dlist_container(IjVisit, bucket, iter.cur);

		if (visit->hash == hash && ij_same_text(visit->job_id, job_id) &&
			ij_same_text(visit->tenant_id, tenant_id))
			return visit;
	}
	return NULL;
}

/* visit is in no list */
static void
push(dlist_head *list, IjVisit *visit)
{
	dlist_push_tail(list, &visit->node);
	dlist_push_tail(&buckets[visit->hash % BUCKETS], &visit->bucket);
}

static IjVisit *
pop(dlist_head *list)
{
	return dlist_container(IjVisit, node, dlist_pop_head_node(list));
}

static void
free_visit(IjVisit *visit)
{
	pfree(visit->tenant_id);
	pfree(visit->job_id);
	pfree(visit);
}

/* visit is in no list */
static void
put_off_visit(IjVisit *visit, int64 ms)
{
	TimestampTz now = GetCurrentTimestamp();

	if (nput_off == MAX_PUT_OFF)
	{
		overflow_due = Min(overflow_due, TimestampTzPlusMilliseconds(now, FAILED_LAST_MS));
		free_visit(visit);
		return;
	}
	visit->not_before = TimestampTzPlusMilliseconds(now, ms);
	push(&put_off, visit);
	nput_off++;
}

/* ------------------------------------------------------------------------
 * A turn
 * ------------------------------------------------------------------------
 */

/*
 * Have this job visited this turn.  One that is put off because it failed stays put
 * off; one that is put off because it was locked comes back next turn.
 */
void
ij_visits_add(const text *tenant_id, const text *job_id, bool due)
{
	uint64		hash = ij_hash_ids(tenant_id, job_id, 0);
	MemoryContext old_context;
	IjVisit    *visit;

	visit = find(hash, tenant_id, job_id);
	if (visit != NULL)
	{
		visit->due |= due;
		if (visit->failures == 0)
			visit->not_before = 0;
		return;
	}

	old_context = MemoryContextSwitchTo(visit_context);
	visit = palloc0(sizeof(IjVisit));
	visit->hash = hash;
	visit->tenant_id = ij_copy_text(tenant_id);
	visit->job_id = ij_copy_text(job_id);
	visit->due = due;
	MemoryContextSwitchTo(old_context);
	push(&ready, visit);
}

void
ij_visits_add_due(List *keys)
{
	ListCell   *lc;

	foreach(lc, keys)
	{
		IjJobKey   *key = lfirst(lc);

		ij_visits_add(key->tenant_id, key->job_id, true);
	}
}

/* What the last turn did not finish comes first, then what was put off until now. */
void
ij_visits_begin_turn(TimestampTz now)
{
	dlist_mutable_iter iter;

	while (!dlist_is_empty(&again))
		push(&ready, pop(&again));
	dlist_foreach_modify(iter, &put_off)
	{
		IjVisit    *visit = dlist_container(IjVisit, node, iter.cur);

		if (visit->not_before > now)
			continue;
		dlist_delete(iter.cur);
		nput_off--;
		visit->alone = visit->failures > 0;
		dlist_push_tail(&ready, &visit->node);
	}
}

/* True, once, when visits were dropped because too many were put off, and all is due again. */
bool
ij_visits_overflowed(TimestampTz now)
{
	if (overflow_due == DT_NOEND || overflow_due > now)
		return false;
	overflow_due = DT_NOEND;
	return true;
}

bool
ij_visits_ready(void)
{
	return !dlist_is_empty(&ready);
}

bool
ij_visits_ready_or_again(void)
{
	return !dlist_is_empty(&ready) || !dlist_is_empty(&again);
}

/* when to visit what was put off; DT_NOEND: nothing was */
TimestampTz
ij_visits_put_off_until(void)
{
	TimestampTz until = overflow_due;
	dlist_iter	iter;

	dlist_foreach(iter, &put_off)
		until = Min(until, dlist_container(IjVisit, node, iter.cur)->not_before);
	return until;
}

/* Is any of what was put off a job that may have expired? */
bool
ij_visits_due_put_off(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &put_off)
	{
		if (dlist_container(IjVisit, node, iter.cur)->due)
			return true;
	}
	return overflow_due != DT_NOEND;
}

/* ------------------------------------------------------------------------
 * A unit
 * ------------------------------------------------------------------------
 */

IjVisit *
ij_visits_next(void)
{
	IjVisit    *visit = pop(&ready);

	dlist_delete(&visit->bucket);
	dlist_push_tail(&unit, &visit->node);
	return visit;
}

/*
 * Is there one more, and may it share the transaction of those before it?  Not if
 * somebody waits for that to end.
 */
bool
ij_visits_next_may_share(void)
{
	const IjVisit *last = dlist_tail_element(IjVisit, node, &unit);

	return !last->alone && last->result != IJ_VISIT_GAVE_WAY &&
		!dlist_is_empty(&ready) && !dlist_head_element(IjVisit, node, &ready)->alone;
}

static int64
pause_of_locked(const IjVisit *visit)
{
	int64		pause = ij_growing_pause(visit->locked, LOCKED_FIRST_MS, LOCKED_LAST_MS);

	if (visit->locked <= LOCKED_SHORTLY)
		return pause;
	return Max(pause, Min(LOCKED_REST * visit->took_ms, LOCKED_REST_LAST_MS));
}

/* The unit was committed. */
void
ij_visits_settle(void)
{
	while (!dlist_is_empty(&unit))
	{
		IjVisit    *visit = pop(&unit);

		visit->failures = 0;
		visit->alone = false;
		switch (visit->result)
		{
			case IJ_VISIT_DONE:
				free_visit(visit);
				break;
			case IJ_VISIT_AGAIN:
				visit->locked = 0;
				dlist_push_tail(&again, &visit->node);
				break;
			case IJ_VISIT_LOCKED:
				visit->locked++;
				put_off_visit(visit, pause_of_locked(visit));
				break;
			case IJ_VISIT_GAVE_WAY:
				visit->gave_way++;
				put_off_visit(visit, ij_growing_pause(visit->gave_way, LOCKED_FIRST_MS, LOCKED_LAST_MS));
				break;
		}
	}
}

/* The unit failed; false if there is nobody to blame. */
bool
ij_visits_blame(void)
{
	bool		any = !dlist_is_empty(&unit);
	bool		one = any && !dlist_has_next(&unit, dlist_head_node(&unit));

	while (!dlist_is_empty(&unit))
	{
		IjVisit    *visit = pop(&unit);

		if (one)
		{
			visit->failures++;
			put_off_visit(visit, ij_growing_pause(visit->failures, FAILED_FIRST_MS, FAILED_LAST_MS));
		}
		else
		{
			visit->alone = true;
			dlist_push_tail(&again, &visit->node);
		}
	}
	return any;
}

/* ------------------------------------------------------------------------
 * The end
 * ------------------------------------------------------------------------
 */

void
ij_visits_forget(void)
{
	dlist_init(&ready);
	for (int i = 0; i < BUCKETS; i++)
		dlist_init(&buckets[i]);
	dlist_init(&unit);
	dlist_init(&again);
	dlist_init(&put_off);
	nput_off = 0;
	overflow_due = DT_NOEND;
	MemoryContextReset(visit_context);
}

static void
give_back(dlist_head *list)
{
	while (!dlist_is_empty(list))
	{
		IjVisit    *visit = pop(list);
		IjTold		told;
		bool		fits = ij_told_make(&told, visit->tenant_id, visit->job_id, visit->due);

		ij_worker_put_back(fits ? &told : NULL);
	}
}

void
ij_visits_give_back(void)
{
	give_back(&unit);
	give_back(&ready);
	give_back(&again);
	give_back(&put_off);
}
