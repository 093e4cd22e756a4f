/*
 * counts.h
 *		How many executions a job has in which status.
 */
#ifndef IJ_COUNTS_H
#define IJ_COUNTS_H

#include "iot_jobs.h"

/* of these jobs of a tenant, as the active snapshot sees them */
extern void ij_counts_of_jobs(const text *tenant_id, text *const *job_ids, IjCounts **counts, int count);

/* of one; unless stable, what this command has changed counts, too */
extern void ij_counts_of_job(const text *tenant_id, const text *job_id, bool stable, IjCounts *counts);

/* nothing of the job is open, and its row is locked: do the counters say so, too? */
extern void ij_counts_check_none_open(const text *tenant_id, const text *job_id);

#endif							/* IJ_COUNTS_H */
