/*
 * visits.h
 *		The jobs that a worker is to visit.
 */
#ifndef IJ_VISITS_H
#define IJ_VISITS_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "lib/ilist.h"
#include "nodes/pg_list.h"

#include "sweep.h"

typedef struct IjVisit
{
	dlist_node	node;
	dlist_node	bucket;			/* while it is ready or put off */
	uint64		hash;			/* of the ids */
	text	   *tenant_id;
	text	   *job_id;
	bool		due;			/* it may have expired; otherwise executions of it ended */
	bool		alone;			/* in a transaction of its own */
	int			failures;		/* in a row, alone */
	int			locked;			/* times in a row */
	int			gave_way;		/* times */
	TimestampTz not_before;		/* while put off */
	TimestampTz logged_at;		/* when a failure of it last was, or 0 */
	IjVisitResult result;		/* of the visit in this unit */
	int64		took_ms;		/* the same */
} IjVisit;

extern void ij_visits_init(void);

/* what is to be visited this turn */
extern void ij_visits_add(const text *tenant_id, const text *job_id, bool due);
extern void ij_visits_add_due(List *keys);	/* of IjJobKey */
extern void ij_visits_begin_turn(TimestampTz now);
extern bool ij_visits_overflowed(TimestampTz now);
extern bool ij_visits_ready(void);
extern bool ij_visits_ready_or_again(void);
extern TimestampTz ij_visits_put_off_until(void);
extern bool ij_visits_due_put_off(void);

/* a unit: the visits of one transaction */
extern IjVisit *ij_visits_next(void);
extern bool ij_visits_next_may_share(void);
extern void ij_visits_settle(void);
extern bool ij_visits_blame(void);

/* the end */
extern void ij_visits_forget(void);
extern void ij_visits_give_back(void);

#endif							/* IJ_VISITS_H */
