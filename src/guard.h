/*
 * guard.h
 *		What a use case has to say to the guard triggers.
 */
#ifndef IJ_GUARD_H
#define IJ_GUARD_H

#include "postgres.h"

/*
 * While set, the guard of jobs trusts the use case that changes a status: it has
 * locked the job and does itself what the guard would do for a plain UPDATE (look
 * for open executions before COMPLETED, reject the QUEUED ones after CANCELED).
 * Returns the old setting, to be restored also after an error.
 */
extern bool ij_guard_trust(bool trust);

#endif							/* IJ_GUARD_H */
