/*
 * guard.h
 *		What a use case has to say to the guard triggers.
 */
#ifndef IJ_GUARD_H
#define IJ_GUARD_H

#include "iot_jobs.h"

/* the one job about which the guard trusts; none if job_id is NULL */
typedef struct IjGuardTrust
{
	const text *tenant_id;
	const text *job_id;
} IjGuardTrust;

/*
 * In between, the guard of jobs trusts the use case that changes a status: it has
 * locked the job and does itself what the guard would do for a plain UPDATE (look
 * for open executions before COMPLETED, reject the QUEUED ones after CANCELED).
 * No trust is given to a caller from whom row security may hide executions.  The
 * end must also come after an error; it takes what the beginning returned.
 */
extern IjGuardTrust ij_guard_begin_trust(const IjJob *job);
extern void ij_guard_end_trust(IjGuardTrust was);

#endif							/* IJ_GUARD_H */
