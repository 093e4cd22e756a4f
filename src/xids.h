/*
 * xids.h
 *		Transaction ids that are kept in shared memory: 64 bits wide, so that they never wrap.
 */
#ifndef IJ_XIDS_H
#define IJ_XIDS_H

#include "postgres.h"

#include "access/transam.h"

static inline uint64
ij_next_xid(void)
{
	return U64FromFullTransactionId(ReadNextFullTransactionId());
}

/* a running or recent transaction; next: what ij_next_xid() said after it began */
static inline uint64
ij_widen_xid(TransactionId xid, uint64 next)
{
	uint64		wide = (next & ~(uint64) PG_UINT32_MAX) | xid;

	return wide > next ? wide - ((uint64) PG_UINT32_MAX + 1) : wide;
}

#endif							/* IJ_XIDS_H */
