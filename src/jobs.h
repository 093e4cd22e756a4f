/*
 * jobs.h
 *		What operators do with jobs.
 */
#ifndef IJ_JOBS_H
#define IJ_JOBS_H

#include "iot_jobs.h"

/* wanted->job_id may be NULL: a UUID is made */
extern void ij_job_create(IjJob *wanted, IjJob *job, IjCounts *counts);
extern void ij_job_update_expiry(const text *tenant_id, const text *job_id,
								 bool expires, TimestampTz expires_at, IjJob *job);
extern void ij_job_cancel(const text *tenant_id, const text *job_id, const text *reason, bool force, IjJob *job,
						  IjCounts *counts);
extern void ij_job_delete(const text *tenant_id, const text *job_id, bool force, IjJob *job);

/* hand all finished jobs not updated since to the worker for deletion, of every tenant if it is NULL; how many */
extern int64 ij_jobs_purge(const text *tenant_id, TimestampTz updated_before);

#endif							/* IJ_JOBS_H */
