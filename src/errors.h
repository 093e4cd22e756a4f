/*
 * errors.h
 *		The SQLSTATEs of iot_jobs, and the functions that raise them for callers.
 */
#ifndef IJ_ERRORS_H
#define IJ_ERRORS_H

#include "iot_jobs.h"

#include "compat.h"

#define IJ_ERRCODE_NOT_FOUND			MAKE_SQLSTATE('I','J','0','0','1')
#define IJ_ERRCODE_STEP_NOT_ALLOWED		MAKE_SQLSTATE('I','J','0','0','2')
#define IJ_ERRCODE_NUMBER_MISMATCH		MAKE_SQLSTATE('I','J','0','0','3')
#define IJ_ERRCODE_NO_TARGET			MAKE_SQLSTATE('I','J','0','0','4')

pg_noreturn extern void ij_error_job_not_found(const text *tenant_id, const text *job_id);
pg_noreturn extern void ij_error_execution_not_found(const text *tenant_id, const text *job_id,
										 const text *device_id);

/* IJ002 and IJ003 carry the current state as JSON in DETAIL */
pg_noreturn extern void ij_error_job_step(const IjJob *job, const char *wanted, const char *hint);
pg_noreturn extern void ij_error_job_not_in_progress(const IjJob *job);
pg_noreturn extern void ij_error_execution_step(const IjExecution *execution, const char *wanted,
									const char *hint);
pg_noreturn extern void ij_error_execution_number(const IjExecution *execution, int64 expected);
pg_noreturn extern void ij_error_no_target(const IjJob *job);
pg_noreturn extern void ij_error_job_exists(const text *tenant_id, const text *job_id);

/* 22023; all three are whole strings already made, hint may be NULL */
pg_noreturn extern void ij_error_bad_argument(const char *message, const char *detail, const char *hint);
pg_noreturn extern void ij_error_null_argument(const char *argument);

/* 42804, 23502 and 23514: the constraints or types of the migration are gone, and rows show it */
pg_noreturn extern void ij_error_column_type(const char *column, Oid is, Oid should_be);
pg_noreturn extern void ij_error_null_column(const char *column);
pg_noreturn extern void ij_error_unknown_status(const text *word);

/* one more, or 22003: the number only ever grows */
extern int64 ij_next_execution_number(int64 number);

/* the current state as one line of JSON, as DETAIL carries it */
extern char *ij_execution_state_json(const IjExecution *execution);
extern char *ij_job_state_json(const IjJob *job);

#endif							/* IJ_ERRORS_H */
