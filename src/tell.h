/*
 * tell.h
 *		What the current transaction has to tell the worker when it commits.
 *
 * Each call only remembers; nothing leaves the backend before the commit, and
 * nothing at all after a rollback.  What is told is a hint: the rows are the
 * truth, and a hint too many costs the worker one look.
 */
#ifndef IJ_TELL_H
#define IJ_TELL_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* an execution of this job ended or went away: the job may be complete */
extern void ij_tell_ended(const text *tenant_id, const text *job_id, const text *device_id);

/* this job wants a visit by the worker whatever its executions do (it is to be deleted) */
extern void ij_tell_visit(const text *tenant_id, const text *job_id);

/* some job has this deadline: the worker may have to wake earlier than it planned */
extern void ij_tell_deadline(TimestampTz deadline);

/* an execution of this tenant was added that was queued at this time */
extern void ij_tell_added(const text *tenant_id, TimestampTz queued_at);

/* ... perhaps, and in whatever tenant */
extern void ij_tell_added_somewhere(void);

/* has this transaction added any? */
extern bool ij_tell_has_added(void);

/* this transaction does not find an execution where others do, and would itself after a rollback */
extern void ij_tell_hidden(void);
extern bool ij_tell_has_hidden(void);

/* the worker should look at every job that is not finished; no mark is in force any more */
extern void ij_tell_everything(void);

#endif							/* IJ_TELL_H */
