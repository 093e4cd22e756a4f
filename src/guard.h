/*
 * guard.h
 *		What a use case has to say to the guard triggers.
 */
#ifndef IJ_GUARD_H
#define IJ_GUARD_H

#include "iot_jobs.h"

/*
 * In between, the guard of jobs trusts the use case that changes a status: it has
 * locked the job and does itself what the guard would do for a plain UPDATE (look
 * for open executions before COMPLETED, reject the QUEUED ones after CANCELED).
 * No trust is given to a caller from whom row security may hide executions, and an
 * error ends it with the subtransaction that has it.  So does whatever a trigger does to
 * an execution meanwhile: the end says whether there was trust to the last.
 */
extern void ij_guard_begin_trust(const IjJob *job);
extern bool ij_guard_end_trust(const IjJob *job);

/* an error if an execution of a job that is to be COMPLETED is open, whoever may see it */
extern void ij_guard_require_none_open(const IjJob *job);

#endif							/* IJ_GUARD_H */
