/*
 * verify.h
 *		Does everything hold that must?
 */
#ifndef IJ_VERIFY_H
#define IJ_VERIFY_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/tuplestore.h"

/* what is wanted of a verification */
typedef struct IjVerification
{
	text	   *tenant_id;		/* NULL: of all tenants */
	int			max_rows;		/* each check gives as many rows at most */
	Interval   *grace;			/* how late the service may be; NULL: two sweeps */
} IjVerification;

/* Put a row for each thing that is broken: name, tenant, job, device, what is the case, remedy. */
extern void ij_verify_run(const IjVerification *wanted, Tuplestorestate *store);

#endif							/* IJ_VERIFY_H */
