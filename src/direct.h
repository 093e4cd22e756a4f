/*
 * direct.h
 *		The rows of job_executions, and of jobs, without SQL, where that is provably the same.
 *
 * ij_direct_open() says whether it is; when it returns NULL the caller sends the
 * statement through SPI instead.  Everything between open and close is one command
 * of the transaction: it sees what was committed before it.  ij_direct_open_jobs() is
 * the same for jobs.
 */
#ifndef IJ_DIRECT_H
#define IJ_DIRECT_H

#include "iot_jobs.h"

#include "nodes/nodes.h"
#include "nodes/pg_list.h"

#include "shape.h"

typedef struct IjDirect IjDirect;

extern IjDirect *ij_direct_open(const text *tenant_id, IjDirectUse use);
extern IjDirect *ij_direct_open_jobs(const text *tenant_id, IjDirectUse use);	/* to read, lock or complete */
extern void ij_direct_close(IjDirect *direct);

extern bool ij_direct_get(IjDirect *direct, const text *job_id, const text *device_id, IjExecution *execution);
extern text *ij_direct_first(IjDirect *direct, const text *job_id, const text *from, int statuses,
							 bool *gave_way);
extern bool ij_direct_change(IjDirect *direct, const IjExecutionChange *change, IjExecution *execution);
extern bool ij_direct_start_next(IjDirect *direct, const text *device_id, Jsonb *status_details,
								 IjExecutionDocument *document);
extern List *ij_direct_claim(IjDirect *direct, const Datum *device_ids, int count, int rounds, int limit);
extern List *ij_direct_claim_from(IjDirect *direct, const text *after, int devices, int limit, text **last);
extern int64 ij_direct_do_to_job(IjDirect *direct, const IjExecutionChange *change, CmdType what, const text *from,
								 IjLock lock, int64 limit, text **last, bool *gave_way);

/* jobs */
extern bool ij_direct_get_job(IjDirect *direct, const text *job_id, IjJob *job);
extern bool ij_direct_lock_job(IjDirect *direct, const text *job_id, IjJob *job);	/* false: gone, or held */
extern bool ij_direct_complete_job(IjDirect *direct, const text *job_id);	/* false: it is not IN_PROGRESS any more */

#endif							/* IJ_DIRECT_H */
