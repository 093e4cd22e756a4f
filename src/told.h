/*
 * told.h
 *		Jobs that commits told to the workers, and that no worker has taken yet.
 */
#ifndef IJ_TOLD_H
#define IJ_TOLD_H

#include "postgres.h"

/*
 * Bytes that tenant id and job id of a told job may have together: two UUIDs and
 * room to spare.  A job with longer ids is told as "look at everything".
 */
#define IJ_TOLD_BYTES	212

/* a job by its ids, flat */
typedef struct IjTold
{
	uint16		tenant_len;
	uint16		job_len;
	bool		due;			/* see IjVisit */
	char		bytes[IJ_TOLD_BYTES];	/* the tenant's, then the job's */
} IjTold;

/* flat ids and back; false if they are too long */
extern bool ij_told_make(IjTold *told, const text *tenant_id, const text *job_id, bool due);
extern text *ij_told_tenant(const IjTold *told);
extern text *ij_told_job(const IjTold *told);

/* --- databases.c: a queue lies in its slot, and its lock guards this, too --- */
typedef struct IjToldQueue
{
	int			first;
	int			last;
	int			length;
} IjToldQueue;

extern void ij_told_open_queue(IjToldQueue *queue);

/* queue a job, once however often it is told; false: there is no room.  A queue has one owner */
extern bool ij_told_enqueue(IjToldQueue *queue, int owner, const IjTold *told);

/* take the oldest job, into *told unless NULL; false if there is none */
extern bool ij_told_dequeue(IjToldQueue *queue, IjTold *told);

/* --- shmem.c: the part of the shared area --- */
extern Size ij_told_size(void);
extern void ij_told_init(void *place, int tranche_id, uint64 seed);
extern void ij_told_attach(void *place);

#endif							/* IJ_TOLD_H */
