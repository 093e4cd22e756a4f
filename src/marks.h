/*
 * marks.h
 *		Where the live part of a device's index entries begins, remembered for all sessions.
 *
 * An index that holds finished executions has the oldest first, and a claim wants the
 * oldest that is open.  A mark lets it start there.  Another says that a tenant has
 * nothing QUEUED.
 */
#ifndef IJ_MARKS_H
#define IJ_MARKS_H

#include "postgres.h"

#include "access/transam.h"
#include "datatype/timestamp.h"
#include "utils/snapshot.h"

/* what a look at the rows of a tenant needs to use and to set marks */
typedef struct IjMarkView
{
	const text *tenant_id;
	int			room;
	TimestampTz upto;			/* no mark of this look may be later */
	uint64		device_round;	/* marks of these rounds are in force */
	uint64		tenant_round;
	uint64		prepared;		/* see ij_marks_valid_for() */
} IjMarkView;

/*
 * To be called before the snapshot of the look is taken; false: there are no marks.
 * has_history: the index holds finished executions, too.
 */
extern bool ij_marks_open(IjMarkView *view, const text *tenant_id, bool has_history);

/* that snapshot may miss what was prepared: then none of the four below may be called */
extern bool ij_marks_valid_for(const IjMarkView *view, Snapshot snapshot);

/* every execution of the device queued before this has ended; DT_NOBEGIN: nothing is known */
extern TimestampTz ij_marks_device(const IjMarkView *view, const text *device_id);
extern void ij_marks_set_device(const IjMarkView *view, const text *device_id, TimestampTz before);

/* no execution of the tenant is QUEUED */
extern bool ij_marks_tenant_done(const IjMarkView *view);
extern void ij_marks_set_tenant_done(const IjMarkView *view);

/*
 * What a transaction that adds executions says of it, by the room of the tenant, once
 * its commit can be seen: the earliest time that one was queued at.  Or, at PREPARE,
 * that nobody will say when that is.  None of them throws, once attached.
 */
#define IJ_MARK_ROOMS	256
extern int	ij_marks_room(const text *tenant_id);
extern void ij_marks_added(int room, TimestampTz queued_at);
extern void ij_marks_prepared(int room, FullTransactionId xid);
extern void ij_marks_forget_all(void);

/* --- shmem.c: the part of the shared area --- */
extern Size ij_marks_size(void);
extern void ij_marks_init(void *place, int tranche_id, uint64 seed);
extern void ij_marks_attach(void *place);

#endif							/* IJ_MARKS_H */
