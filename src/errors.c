/*
 * errors.c
 *		The errors of the job service that callers cause, so that text and code exist once.
 *
 *		IJ001	job or execution not found (or hidden by row security)
 *		IJ002	step not allowed from the current state
 *		IJ003	execution_number is not the one expected
 *		IJ004	target has no devices or does not exist
 *		23505	job_id already used
 *		22023	bad argument
 *		22004	NULL where a value is needed
 *
 * None is 40001, which drivers retry blindly: that is for the stricter isolation
 * levels, where a row is found to be changed.  IJ002 and IJ003 carry the current
 * state as JSON in DETAIL, so that a device need not read again.
 */
#include "postgres.h"

#include "errors.h"

#include "common/int.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "jsonb_text.h"

/* status_details longer than this, as text, have no place in an error message */
#define MAX_DETAILS_BYTES	8192

void
ij_error_job_not_found(const text *tenant_id, const text *job_id)
{
	ereport(ERROR,
			(errcode(IJ_ERRCODE_NOT_FOUND),
			 errmsg("job \"%s\" not found", text_to_cstring(job_id)),
			 errdetail("Tenant \"%s\" has no such job, or row security hides it.",
					   text_to_cstring(tenant_id))));
}

void
ij_error_execution_not_found(const text *tenant_id, const text *job_id, const text *device_id)
{
	ereport(ERROR,
			(errcode(IJ_ERRCODE_NOT_FOUND),
			 errmsg("execution of job \"%s\" on device \"%s\" not found",
					text_to_cstring(job_id), text_to_cstring(device_id)),
			 errdetail("Tenant \"%s\" has no such execution, or row security hides it.",
					   text_to_cstring(tenant_id))));
}

void
ij_error_job_step(const IjJob *job, const char *wanted, const char *hint)
{
	ereport(ERROR,
			(errcode(IJ_ERRCODE_STEP_NOT_ALLOWED),
			 errmsg("job \"%s\" cannot go from %s to %s", text_to_cstring(job->job_id),
					ij_job_status_name(job->status), wanted),
			 errdetail_internal("%s", ij_job_state_json(job)),
			 hint ? errhint("%s", hint) : 0));
}

void
ij_error_job_not_in_progress(const IjJob *job)
{
	ereport(ERROR,
			(errcode(IJ_ERRCODE_STEP_NOT_ALLOWED),
			 errmsg("job \"%s\" is %s, not IN_PROGRESS", text_to_cstring(job->job_id),
					ij_job_status_name(job->status)),
			 errdetail_internal("%s", ij_job_state_json(job))));
}

void
ij_error_execution_step(const IjExecution *execution, const char *wanted, const char *hint)
{
	ereport(ERROR,
			(errcode(IJ_ERRCODE_STEP_NOT_ALLOWED),
			 errmsg("execution of job \"%s\" on device \"%s\" cannot go from %s to %s",
					text_to_cstring(execution->job_id), text_to_cstring(execution->device_id),
					ij_exec_status_name(execution->status), wanted),
			 errdetail_internal("%s", ij_execution_state_json(execution)),
			 hint ? errhint("%s", hint) : 0));
}

void
ij_error_execution_number(const IjExecution *execution, int64 expected)
{
	ereport(ERROR,
			(errcode(IJ_ERRCODE_NUMBER_MISMATCH),
			 errmsg("execution of job \"%s\" on device \"%s\" has execution_number " INT64_FORMAT ", not " INT64_FORMAT,
					text_to_cstring(execution->job_id), text_to_cstring(execution->device_id),
					execution->execution_number, expected),
			 errdetail_internal("%s", ij_execution_state_json(execution)),
			 errhint("Somebody changed the execution since it was read. Decide again from the state in DETAIL.")));
}

void
ij_error_no_target(const IjJob *job)
{
	char	   *message;

	if (job->target_device_id != NULL)
		message = psprintf("device \"%s\" does not exist", text_to_cstring(job->target_device_id));
	else if (job->target_group_id != NULL)
		message = psprintf("device group \"%s\" has no devices or does not exist",
						   text_to_cstring(job->target_group_id));
	else
		message = psprintf("tenant \"%s\" has no devices or does not exist", text_to_cstring(job->tenant_id));
	ereport(ERROR,
			(errcode(IJ_ERRCODE_NO_TARGET),
			 errmsg("%s", message),
			 errdetail("The registry in use, or what row security shows of it, lists none."),
			 errhint("A job needs a device at the time it is created. Table iot_jobs_fleet says which registry is used.")));
}

void
ij_error_job_exists(const text *tenant_id, const text *job_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNIQUE_VIOLATION),
			 errmsg("job_id \"%s\" is already used", text_to_cstring(job_id)),
			 errdetail("Tenant \"%s\" has a job of that name.", text_to_cstring(tenant_id)),
			 errhint("Leave job_id out to have one generated, or describe_job() the job that is there.")));
}

void
ij_error_bad_argument(const char *message, const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s", message),
			 detail ? errdetail("%s", detail) : 0,
			 hint ? errhint("%s", hint) : 0));
}

void
ij_error_null_argument(const char *argument)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("argument \"%s\" must not be null", argument)));
}

int64
ij_next_execution_number(int64 number)
{
	int64		next;

	if (pg_add_s64_overflow(number, 1, &next))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("bigint out of range")));
	return next;
}

#define MIGRATION_HINT "Give the table the columns and constraints of migration 077 again."

void
ij_error_column_type(const char *column, Oid is, Oid should_be)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("column \"%s\" is of type %s, not %s", column, format_type_be(is), format_type_be(should_be)),
			 errhint(MIGRATION_HINT)));
}

void
ij_error_null_column(const char *column)
{
	ereport(ERROR,
			(errcode(ERRCODE_NOT_NULL_VIOLATION),
			 errmsg("column \"%s\" of a row is null", column),
			 errhint(MIGRATION_HINT)));
}

void
ij_error_unknown_status(const text *word)
{
	ereport(ERROR,
			(errcode(ERRCODE_CHECK_VIOLATION),
			 errmsg("a row has the unknown status \"%s\"", text_to_cstring(word)),
			 errhint(MIGRATION_HINT)));
}

char *
ij_execution_state_json(const IjExecution *execution)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "{\"status\": \"%s\", \"execution_number\": " INT64_FORMAT ", \"status_details\": ",
					 ij_exec_status_name(execution->status), execution->execution_number);
	if (execution->status_details == NULL)
		appendStringInfoString(&buf, "null");
	else if (ij_jsonb_text_exceeds(execution->status_details, MAX_DETAILS_BYTES))
		appendStringInfoString(&buf, "\"(too long to show)\"");
	else
		(void) JsonbToCString(&buf, &execution->status_details->root,
							  VARSIZE(execution->status_details));
	appendStringInfoChar(&buf, '}');
	return buf.data;
}

char *
ij_job_state_json(const IjJob *job)
{
	return psprintf("{\"status\": \"%s\"}", ij_job_status_name(job->status));
}
