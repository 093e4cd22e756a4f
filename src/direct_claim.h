/*
 * direct_claim.h
 *		What ij_direct_open() and ij_direct_close() do for a claim; the claims are in direct.h.
 */
#ifndef IJ_DIRECT_CLAIM_H
#define IJ_DIRECT_CLAIM_H

#include "direct_rows.h"

extern IjClaiming *ij_claiming_begin(Relation rel, const IjShape *shape, const text *tenant_id);
extern void ij_claiming_snapshot(IjDirect *direct);
extern void ij_claiming_end(IjClaiming *claiming);

#endif							/* IJ_DIRECT_CLAIM_H */
