/*
 * policy.h
 *		The row security policies that are known, and what they let through.
 */
#ifndef IJ_POLICY_H
#define IJ_POLICY_H

#include "postgres.h"

#include "access/attnum.h"
#include "utils/rel.h"

/* what is known of the policies of a table; to be found again when the table changes */
typedef struct IjPolicies
{
	bool		known;			/* that of migration 077, and no stranger */
	Oid			roles;			/* the map of use_hardened_tenants(), if its policy is there, too */
} IjPolicies;

extern IjPolicies ij_policies_find(Relation rel);

/* do they show the current user all rows of this tenant, and let him write them? */
extern bool ij_policies_allow(const IjPolicies *policies, const text *tenant_id);

#endif							/* IJ_POLICY_H */
