/*
 * fanout.h
 *		From the target of a job to one execution for each of its devices.
 */
#ifndef IJ_FANOUT_H
#define IJ_FANOUT_H

#include "iot_jobs.h"

/* IJ004 unless the target has a device now */
extern void ij_fanout_require_target(const IjJob *job);

/* add one QUEUED execution for each device; returns how many.  The job row is ours. */
extern int64 ij_fanout_run(const IjJob *job);

/* record which relations list the devices */
extern void ij_fanout_use_fleet(Oid devices, Oid group_members);

#endif							/* IJ_FANOUT_H */
