/*
 * fleet.h
 *		The devices of a tenant: which relations list them, and the walk over them.
 */
#ifndef IJ_FLEET_H
#define IJ_FLEET_H

#include "iot_jobs.h"

/* where the registry is: relations that answer who the devices are */
typedef struct IjFleet
{
	Oid			devices;
	Oid			group_members;	/* InvalidOid if there is none */
} IjFleet;

/* false: the row of iot_jobs_fleet is not there */
extern bool ij_fleet_get(IjFleet *fleet);
extern void ij_fleet_set(const IjFleet *fleet);
extern bool ij_fleet_has_target(const IjFleet *fleet, const text *tenant_id, const text *group_id,
								const text *device_id);

/*
 * Walk the devices of a target in device order, on one snapshot, handing batches to
 * the callback.  Needs no memory that grows with the fleet.
 */
typedef void (*IjDevicesCallback) (const Datum *device_ids, int count, void *arg);

extern void ij_fleet_walk(const IjFleet *fleet, const text *tenant_id, const text *group_id,
						  IjDevicesCallback callback, void *arg);

#endif							/* IJ_FLEET_H */
