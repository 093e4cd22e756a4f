/*
 * sql_api.c
 *		The functions that SQL calls: decode and check the arguments, make one call
 *		inward, encode the result.
 *
 * No rule and no SQL text lives here.  Nothing is STRICT: a NULL where a value is
 * needed is an error, not a silent nothing.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "counters.h"
#include "counts.h"
#include "errors.h"
#include "executions.h"
#include "fanout.h"
#include "jobs.h"
#include "launcher.h"
#include "page_token.h"
#include "report_batch.h"
#include "rows.h"
#include "store.h"
#include "sweep.h"
#include "validate.h"
#include "verify.h"

/* operator */
PG_FUNCTION_INFO_V1(iot_jobs_create_job);
PG_FUNCTION_INFO_V1(iot_jobs_describe_job);
PG_FUNCTION_INFO_V1(iot_jobs_list_jobs);
PG_FUNCTION_INFO_V1(iot_jobs_update_job);
PG_FUNCTION_INFO_V1(iot_jobs_cancel_job);
PG_FUNCTION_INFO_V1(iot_jobs_delete_job);
PG_FUNCTION_INFO_V1(iot_jobs_purge_jobs);
PG_FUNCTION_INFO_V1(iot_jobs_purge_all_jobs);
PG_FUNCTION_INFO_V1(iot_jobs_list_job_executions_for_job);
PG_FUNCTION_INFO_V1(iot_jobs_list_job_executions_for_device);
PG_FUNCTION_INFO_V1(iot_jobs_cancel_job_execution);
PG_FUNCTION_INFO_V1(iot_jobs_delete_job_execution);

/* device */
PG_FUNCTION_INFO_V1(iot_jobs_get_pending_job_executions);
PG_FUNCTION_INFO_V1(iot_jobs_start_next_pending_job_execution);
PG_FUNCTION_INFO_V1(iot_jobs_describe_job_execution);
PG_FUNCTION_INFO_V1(iot_jobs_update_job_execution);

/* gateway */
PG_FUNCTION_INFO_V1(iot_jobs_claim_job_executions);
PG_FUNCTION_INFO_V1(iot_jobs_update_job_executions);

/* service */
PG_FUNCTION_INFO_V1(iot_jobs_run_job_sweep);
PG_FUNCTION_INFO_V1(iot_jobs_verify_jobs);
PG_FUNCTION_INFO_V1(iot_jobs_job_state_steps);
PG_FUNCTION_INFO_V1(iot_jobs_counter_state);
PG_FUNCTION_INFO_V1(iot_jobs_use_fleet);
PG_FUNCTION_INFO_V1(iot_jobs_end_orphans);

/* executions one claim may take; what one transaction of a gateway can reasonably hold */
#define MAX_CLAIM	10000

/* ------------------------------------------------------------------------
 * Arguments
 * ------------------------------------------------------------------------
 */

static void
enter(FunctionCallInfo fcinfo)
{
	ij_catalog_use(fcinfo);
	ij_launcher_ensure();
}

/* the same for what writes, even if it then finds nothing to write */
static void
enter_to_write(FunctionCallInfo fcinfo)
{
	enter(fcinfo);
	if (XactReadOnly)
		PreventCommandIfReadOnly(psprintf("%s()", get_func_name(fcinfo->flinfo->fn_oid)));
}

static text *
optional_text(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : PG_GETARG_TEXT_PP(number);
}

static Jsonb *
optional_jsonb(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : PG_GETARG_JSONB_P(number);
}

static void
require(FunctionCallInfo fcinfo, int number, const char *name)
{
	if (PG_ARGISNULL(number))
		ij_error_null_argument(name);
}

static text *
id_argument(FunctionCallInfo fcinfo, int number, const char *name)
{
	text	   *value;

	require(fcinfo, number, name);
	value = PG_GETARG_TEXT_PP(number);
	ij_validate_id(name, value);
	return value;
}

static text *
optional_id_argument(FunctionCallInfo fcinfo, int number, const char *name)
{
	return PG_ARGISNULL(number) ? NULL : id_argument(fcinfo, number, name);
}

/* an array of ids */
static Datum *
ids_argument(FunctionCallInfo fcinfo, int number, const char *name, int *count)
{
	ArrayType  *ids = PG_GETARG_ARRAYTYPE_P(number);
	Datum	   *values;

	if (array_contains_nulls(ids))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not contain nulls", name),
				 errhint("A null array, not an array of nulls, means any device of the tenant.")));
	deconstruct_array(ids, TEXTOID, -1, false, TYPALIGN_INT, &values, NULL, count);
	for (int i = 0; i < *count; i++)
		ij_validate_id(name, DatumGetTextPP(values[i]));
	return values;
}

static bool
bool_argument(FunctionCallInfo fcinfo, int number, const char *name)
{
	require(fcinfo, number, name);
	return PG_GETARG_BOOL(number);
}

static int
int_argument(FunctionCallInfo fcinfo, int number, const char *name, int min, int max)
{
	int			value;

	require(fcinfo, number, name);
	value = PG_GETARG_INT32(number);
	if (value < min || value > max)
		ij_error_bad_argument(psprintf("argument \"%s\" is out of range", name),
							  psprintf("It is %d.", value),
							  psprintf("It can be %d to %d.", min, max));
	return value;
}

/* NULL, or a word that is a status of a job or of an execution */
static text *
status_filter(FunctionCallInfo fcinfo, int number, bool of_job)
{
	text	   *word = optional_text(fcinfo, number);
	IjJobStatus job_status;
	IjExecStatus exec_status;

	if (word == NULL)
		return NULL;
	if (of_job ? !ij_job_status_parse(VARDATA_ANY(word), VARSIZE_ANY_EXHDR(word), &job_status)
		: !ij_exec_status_parse(VARDATA_ANY(word), VARSIZE_ANY_EXHDR(word), &exec_status))
		ij_error_bad_argument(psprintf("\"%s\" is not a status of %s", text_to_cstring(word),
									   of_job ? "a job" : "an execution"),
							  NULL, "job_state_steps() lists them.");
	return word;
}

static text *
reason_argument(FunctionCallInfo fcinfo, int number)
{
	text	   *reason = optional_text(fcinfo, number);

	if (reason != NULL)
		ij_validate_status_details("reason", ij_reason(reason, ""));
	return reason;
}

/* ------------------------------------------------------------------------
 * Results
 * ------------------------------------------------------------------------
 */

/* The row type of the result, looked up once for each place the function is called from. */
static TupleDesc
result_desc(FunctionCallInfo fcinfo)
{
	TupleDesc	desc = fcinfo->flinfo->fn_extra;

	if (desc == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

		if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "function must return a row");
		desc = BlessTupleDesc(CreateTupleDescCopy(desc));
		fcinfo->flinfo->fn_extra = desc;
		MemoryContextSwitchTo(old);
	}
	return desc;
}

static Datum
row_result(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	return HeapTupleGetDatum(heap_form_tuple(result_desc(fcinfo), values, nulls));
}

static Datum
job_result(FunctionCallInfo fcinfo, const IjJob *job, const IjCounts *counts)
{
	Datum		values[IJ_JOB_COLUMNS + IJ_COUNT_COLUMNS];
	bool		nulls[IJ_JOB_COLUMNS + IJ_COUNT_COLUMNS];

	ij_rows_job_values(job, values, nulls);
	ij_rows_counts_values(counts, values + IJ_JOB_COLUMNS, nulls + IJ_JOB_COLUMNS);
	return row_result(fcinfo, values, nulls);
}

/* the same, for a job whose executions have to be counted */
static Datum
counted_job_result(FunctionCallInfo fcinfo, const IjJob *job, bool stable)
{
	IjCounts	counts;

	ij_counts_of_job(job->tenant_id, job->job_id, stable, &counts);
	return job_result(fcinfo, job, &counts);
}

static Datum
execution_result(FunctionCallInfo fcinfo, const IjExecution *execution)
{
	Datum		values[IJ_EXECUTION_COLUMNS];
	bool		nulls[IJ_EXECUTION_COLUMNS];

	ij_rows_execution_values(execution, values, nulls);
	return row_result(fcinfo, values, nulls);
}

/* Return a set of executions with their documents. */
static Datum
documents_result(FunctionCallInfo fcinfo, List *documents)
{
	ReturnSetInfo *rsinfo;
	ListCell   *cell;

	InitMaterializedSRF(fcinfo, 0);
	rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	foreach(cell, documents)
	{
		Datum		values[IJ_DOCUMENT_COLUMNS];
		bool		nulls[IJ_DOCUMENT_COLUMNS];

		ij_rows_document_values(lfirst(cell), values, nulls);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* Return a page of executions, each with the token of this list. */
static Datum
listed_executions_result(FunctionCallInfo fcinfo, List *executions, char list)
{
	ReturnSetInfo *rsinfo;
	ListCell   *cell;

	InitMaterializedSRF(fcinfo, 0);
	rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	foreach(cell, executions)
	{
		IjListedExecution *listed = lfirst(cell);
		Datum		values[IJ_EXECUTION_COLUMNS + 1];
		bool		nulls[IJ_EXECUTION_COLUMNS + 1];
		text	   *token;

		if (list == IJ_PAGE_BY_DEVICE)
			token = ij_page_token_make(list, 0, listed->execution.device_id);
		else
			token = ij_page_token_make(list, listed->job_created_at, listed->execution.job_id);
		ij_rows_execution_values(&listed->execution, values, nulls);
		values[IJ_EXECUTION_COLUMNS] = PointerGetDatum(token);
		nulls[IJ_EXECUTION_COLUMNS] = false;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* ------------------------------------------------------------------------
 * Operator
 * ------------------------------------------------------------------------
 */

/* The deadline that expires_at or expires_in asks for. */
static void
expiry_arguments(FunctionCallInfo fcinfo, int at, int in, IjJob *wanted)
{
	if (!PG_ARGISNULL(at) && !PG_ARGISNULL(in))
		ij_error_bad_argument("expires_at and expires_in exclude each other", NULL, "Give one of them, or none.");
	wanted->expires = true;
	if (!PG_ARGISNULL(at))
	{
		wanted->expires_at = PG_GETARG_TIMESTAMPTZ(at);
		ij_validate_expiry(wanted->expires_at);
	}
	else if (!PG_ARGISNULL(in))
		wanted->expires_at = ij_validate_expires_in(PG_GETARG_INTERVAL_P(in));
	else
		wanted->expires = false;
}

Datum
iot_jobs_create_job(PG_FUNCTION_ARGS)
{
	IjJob		wanted = {0};
	IjJob		job;
	IjCounts	counts;

	enter_to_write(fcinfo);
	wanted.tenant_id = id_argument(fcinfo, 0, "tenant_id");
	require(fcinfo, 1, "document_type");
	wanted.document_type = PG_GETARG_TEXT_PP(1);
	ij_validate_document_type(wanted.document_type);
	require(fcinfo, 2, "document_params");
	wanted.document_params = PG_GETARG_JSONB_P(2);
	ij_validate_document("document_params", wanted.document_params);
	wanted.target_device_id = optional_id_argument(fcinfo, 3, "target_device_id");
	wanted.target_group_id = optional_id_argument(fcinfo, 4, "target_group_id");
	wanted.target_all = bool_argument(fcinfo, 5, "target_all");
	if ((wanted.target_device_id != NULL) + (wanted.target_group_id != NULL) + wanted.target_all != 1)
		ij_error_bad_argument("a job needs exactly one target", NULL,
							  "Give one of target_device_id, target_group_id and target_all => true.");
	wanted.job_id = optional_id_argument(fcinfo, 6, "job_id");
	expiry_arguments(fcinfo, 7, 9, &wanted);
	wanted.created_by = optional_id_argument(fcinfo, 8, "created_by");

	ij_job_create(&wanted, &job, &counts);
	return job_result(fcinfo, &job, &counts);
}

Datum
iot_jobs_describe_job(PG_FUNCTION_ARGS)
{
	text	   *tenant_id;
	text	   *job_id;
	IjJob		job;

	enter(fcinfo);
	tenant_id = id_argument(fcinfo, 0, "tenant_id");
	job_id = id_argument(fcinfo, 1, "job_id");
	if (!ij_store_get_job(tenant_id, job_id, true, &job))
		ij_error_job_not_found(tenant_id, job_id);
	return counted_job_result(fcinfo, &job, true);
}

Datum
iot_jobs_list_jobs(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;
	IjJobFilter filter = {0};
	int			page_size;
	ListCell   *cell;

	enter(fcinfo);
	filter.tenant_id = id_argument(fcinfo, 0, "tenant_id");
	filter.status = status_filter(fcinfo, 1, true);
	filter.document_type = optional_text(fcinfo, 2);
	if (filter.document_type != NULL)
		ij_validate_document_type(filter.document_type);
	filter.target_device_id = optional_id_argument(fcinfo, 3, "target_device_id");
	filter.target_group_id = optional_id_argument(fcinfo, 4, "target_group_id");
	page_size = int_argument(fcinfo, 5, "page_size", 1, IJ_MAX_PAGE_SIZE);
	if (!PG_ARGISNULL(6))
		ij_page_token_read(IJ_PAGE_JOBS, PG_GETARG_TEXT_PP(6), &filter.after_created_at, &filter.after_job_id);

	InitMaterializedSRF(fcinfo, 0);
	rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	foreach(cell, ij_store_list_jobs(&filter, page_size))
	{
		IjListedJob *listed = lfirst(cell);
		Datum		values[IJ_JOB_COLUMNS + IJ_COUNT_COLUMNS + 1];
		bool		nulls[IJ_JOB_COLUMNS + IJ_COUNT_COLUMNS + 1];

		ij_rows_job_values(&listed->job, values, nulls);
		ij_rows_counts_values(&listed->counts, values + IJ_JOB_COLUMNS, nulls + IJ_JOB_COLUMNS);
		values[IJ_JOB_COLUMNS + IJ_COUNT_COLUMNS] =
			PointerGetDatum(ij_page_token_make(IJ_PAGE_JOBS, listed->job.created_at, listed->job.job_id));
		nulls[IJ_JOB_COLUMNS + IJ_COUNT_COLUMNS] = false;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

Datum
iot_jobs_update_job(PG_FUNCTION_ARGS)
{
	text	   *tenant_id;
	text	   *job_id;
	TimestampTz expires_at = 0;
	IjJob		job;

	enter_to_write(fcinfo);
	tenant_id = id_argument(fcinfo, 0, "tenant_id");
	job_id = id_argument(fcinfo, 1, "job_id");
	if (!PG_ARGISNULL(2))
	{
		expires_at = PG_GETARG_TIMESTAMPTZ(2);
		ij_validate_expiry(expires_at);
	}
	ij_job_update_expiry(tenant_id, job_id, !PG_ARGISNULL(2), expires_at, &job);
	return counted_job_result(fcinfo, &job, false);
}

Datum
iot_jobs_cancel_job(PG_FUNCTION_ARGS)
{
	text	   *tenant_id;
	text	   *job_id;
	text	   *reason;
	bool		force;
	IjJob		job;
	IjCounts	counts;

	enter_to_write(fcinfo);
	tenant_id = id_argument(fcinfo, 0, "tenant_id");
	job_id = id_argument(fcinfo, 1, "job_id");
	reason = reason_argument(fcinfo, 2);
	force = bool_argument(fcinfo, 3, "force");
	ij_job_cancel(tenant_id, job_id, reason, force, &job, &counts);
	return job_result(fcinfo, &job, &counts);
}

Datum
iot_jobs_delete_job(PG_FUNCTION_ARGS)
{
	text	   *tenant_id;
	text	   *job_id;
	bool		force;
	IjJob		job;

	enter_to_write(fcinfo);
	tenant_id = id_argument(fcinfo, 0, "tenant_id");
	job_id = id_argument(fcinfo, 1, "job_id");
	force = bool_argument(fcinfo, 2, "force");
	ij_job_delete(tenant_id, job_id, force, &job);
	return counted_job_result(fcinfo, &job, false);
}

/* that long before this transaction */
static TimestampTz
age_argument(FunctionCallInfo fcinfo, int number, const char *name)
{
	TimestampTz now = GetCurrentTransactionStartTimestamp();

	require(fcinfo, number, name);
	ij_validate_age(name, PG_GETARG_INTERVAL_P(number));
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval,
												   TimestampTzGetDatum(now), PG_GETARG_DATUM(number)));
}

Datum
iot_jobs_purge_jobs(PG_FUNCTION_ARGS)
{
	text	   *tenant_id;

	enter_to_write(fcinfo);
	tenant_id = id_argument(fcinfo, 0, "tenant_id");
	PG_RETURN_INT64(ij_jobs_purge(tenant_id, age_argument(fcinfo, 1, "older_than")));
}

/* a function of its own: a tenant that is NULL by mistake must not mean all of them */
Datum
iot_jobs_purge_all_jobs(PG_FUNCTION_ARGS)
{
	enter_to_write(fcinfo);
	PG_RETURN_INT64(ij_jobs_purge(NULL, age_argument(fcinfo, 0, "older_than")));
}

Datum
iot_jobs_list_job_executions_for_job(PG_FUNCTION_ARGS)
{
	text	   *tenant_id;
	text	   *job_id;
	text	   *status;
	int			page_size;
	text	   *after = NULL;
	IjJob		job;

	enter(fcinfo);
	tenant_id = id_argument(fcinfo, 0, "tenant_id");
	job_id = id_argument(fcinfo, 1, "job_id");
	status = status_filter(fcinfo, 2, false);
	page_size = int_argument(fcinfo, 3, "page_size", 1, IJ_MAX_PAGE_SIZE);
	if (!PG_ARGISNULL(4))
	{
		int64		unused;

		ij_page_token_read(IJ_PAGE_BY_DEVICE, PG_GETARG_TEXT_PP(4), &unused, &after);
	}
	if (!ij_store_get_job(tenant_id, job_id, true, &job))
		ij_error_job_not_found(tenant_id, job_id);
	return listed_executions_result(fcinfo,
									ij_store_list_executions_for_job(tenant_id, job_id, status, after, page_size),
									IJ_PAGE_BY_DEVICE);
}

Datum
iot_jobs_list_job_executions_for_device(PG_FUNCTION_ARGS)
{
	text	   *tenant_id;
	text	   *device_id;
	text	   *status;
	int			page_size;
	TimestampTz after = 0;
	text	   *after_job_id = NULL;

	enter(fcinfo);
	tenant_id = id_argument(fcinfo, 0, "tenant_id");
	device_id = id_argument(fcinfo, 1, "device_id");
	status = status_filter(fcinfo, 2, false);
	page_size = int_argument(fcinfo, 3, "page_size", 1, IJ_MAX_PAGE_SIZE);
	if (!PG_ARGISNULL(4))
		ij_page_token_read(IJ_PAGE_BY_JOB, PG_GETARG_TEXT_PP(4), &after, &after_job_id);
	return listed_executions_result(fcinfo,
									ij_store_list_executions_for_device(tenant_id, device_id, status, after,
																		after_job_id, page_size),
									IJ_PAGE_BY_JOB);
}

Datum
iot_jobs_cancel_job_execution(PG_FUNCTION_ARGS)
{
	text	   *tenant_id;
	text	   *job_id;
	text	   *device_id;
	text	   *reason;
	bool		force;
	IjExecution now;

	enter_to_write(fcinfo);
	tenant_id = id_argument(fcinfo, 0, "tenant_id");
	job_id = id_argument(fcinfo, 1, "job_id");
	device_id = id_argument(fcinfo, 2, "device_id");
	reason = reason_argument(fcinfo, 3);
	force = bool_argument(fcinfo, 4, "force");
	ij_execution_cancel(tenant_id, job_id, device_id, reason, force,
						!PG_ARGISNULL(5), PG_ARGISNULL(5) ? 0 : PG_GETARG_INT64(5), &now);
	return execution_result(fcinfo, &now);
}

Datum
iot_jobs_delete_job_execution(PG_FUNCTION_ARGS)
{
	text	   *tenant_id;
	text	   *job_id;
	text	   *device_id;
	bool		force;
	IjExecution was;

	enter_to_write(fcinfo);
	tenant_id = id_argument(fcinfo, 0, "tenant_id");
	job_id = id_argument(fcinfo, 1, "job_id");
	device_id = id_argument(fcinfo, 2, "device_id");
	force = bool_argument(fcinfo, 3, "force");
	ij_execution_delete(tenant_id, job_id, device_id, force, &was);
	return execution_result(fcinfo, &was);
}

/* ------------------------------------------------------------------------
 * Device
 * ------------------------------------------------------------------------
 */

Datum
iot_jobs_get_pending_job_executions(PG_FUNCTION_ARGS)
{
	text	   *tenant_id;
	text	   *device_id;
	int			max;

	enter(fcinfo);
	tenant_id = id_argument(fcinfo, 0, "tenant_id");
	device_id = id_argument(fcinfo, 1, "device_id");
	max = int_argument(fcinfo, 2, "max_executions", 1, IJ_MAX_PAGE_SIZE);
	return documents_result(fcinfo, ij_store_pending(tenant_id, device_id, max));
}

Datum
iot_jobs_start_next_pending_job_execution(PG_FUNCTION_ARGS)
{
	text	   *tenant_id;
	text	   *device_id;
	Jsonb	   *status_details;
	IjExecutionDocument document;

	enter_to_write(fcinfo);
	tenant_id = id_argument(fcinfo, 0, "tenant_id");
	device_id = id_argument(fcinfo, 1, "device_id");
	status_details = optional_jsonb(fcinfo, 2);
	ij_validate_status_details("status_details", status_details);
	if (!ij_execution_start_next(tenant_id, device_id, status_details, &document))
		return documents_result(fcinfo, NIL);
	return documents_result(fcinfo, list_make1(&document));
}

Datum
iot_jobs_describe_job_execution(PG_FUNCTION_ARGS)
{
	text	   *tenant_id;
	text	   *job_id;
	text	   *device_id;
	IjExecutionDocument document;
	Datum		values[IJ_DOCUMENT_COLUMNS];
	bool		nulls[IJ_DOCUMENT_COLUMNS];

	enter(fcinfo);
	tenant_id = id_argument(fcinfo, 0, "tenant_id");
	job_id = id_argument(fcinfo, 1, "job_id");
	device_id = id_argument(fcinfo, 2, "device_id");
	if (!ij_store_get_execution_document(tenant_id, job_id, device_id, &document))
		ij_error_execution_not_found(tenant_id, job_id, device_id);
	ij_rows_document_values(&document, values, nulls);
	return row_result(fcinfo, values, nulls);
}

Datum
iot_jobs_update_job_execution(PG_FUNCTION_ARGS)
{
	IjReport	report = {0};
	IjExecution now;
	text	   *status;
	const char *complaint;

	enter_to_write(fcinfo);
	report.tenant_id = id_argument(fcinfo, 0, "tenant_id");
	report.job_id = id_argument(fcinfo, 1, "job_id");
	report.device_id = id_argument(fcinfo, 2, "device_id");
	require(fcinfo, 3, "status");
	status = PG_GETARG_TEXT_PP(3);
	complaint = ij_report_parse_status(status, &report.status);
	if (complaint != NULL)
		ij_error_bad_argument(complaint, NULL, IJ_REPORTABLE_HINT);
	report.status_details = optional_jsonb(fcinfo, 4);
	ij_validate_status_details("status_details", report.status_details);
	report.expects = !PG_ARGISNULL(5);
	report.expected_number = report.expects ? PG_GETARG_INT64(5) : 0;

	switch (ij_execution_report(NULL, &report, &now))
	{
		case IJ_OUTCOME_ACCEPTED:
			break;
		case IJ_OUTCOME_NOT_FOUND:
			ij_error_execution_not_found(report.tenant_id, report.job_id, report.device_id);
		case IJ_OUTCOME_STEP_NOT_ALLOWED:
			ij_error_execution_step(&now, ij_exec_status_name(report.status),
									now.status != report.status ? NULL : "The same end may be told again with the same status_details or without any.");
		case IJ_OUTCOME_NUMBER_MISMATCH:
			ij_error_execution_number(&now, report.expected_number);
	}
	return execution_result(fcinfo, &now);
}

/* ------------------------------------------------------------------------
 * Gateway
 * ------------------------------------------------------------------------
 */

Datum
iot_jobs_claim_job_executions(PG_FUNCTION_ARGS)
{
	text	   *tenant_id;
	int			max;
	Datum	   *device_ids;
	int			count;

	enter_to_write(fcinfo);
	tenant_id = id_argument(fcinfo, 0, "tenant_id");
	max = int_argument(fcinfo, 1, "max_executions", 1, MAX_CLAIM);
	if (PG_ARGISNULL(2))
		return documents_result(fcinfo, ij_executions_claim_any(tenant_id, max));
	device_ids = ids_argument(fcinfo, 2, "device_ids", &count);
	return documents_result(fcinfo, ij_executions_claim(tenant_id, max, device_ids, count));
}

Datum
iot_jobs_update_job_executions(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;
	text	   *tenant_id;
	int			count;
	IjBatchReport *reports;

	enter_to_write(fcinfo);
	tenant_id = id_argument(fcinfo, 0, "tenant_id");
	require(fcinfo, 1, "reports");
	reports = ij_report_batch_read(tenant_id, PG_GETARG_JSONB_P(1), &count);
	ij_report_batch_apply(tenant_id, reports, count);

	InitMaterializedSRF(fcinfo, 0);
	rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	for (int i = 0; i < count; i++)
	{
		Datum		values[IJ_REPORT_OUTCOME_COLUMNS];
		bool		nulls[IJ_REPORT_OUTCOME_COLUMNS];

		ij_report_batch_values(&reports[i], values, nulls);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* ------------------------------------------------------------------------
 * Service
 * ------------------------------------------------------------------------
 */

Datum
iot_jobs_run_job_sweep(PG_FUNCTION_ARGS)
{
	IjSweepCounts counts = {0};
	bool		unfinished;
	int64		max_rows;
	Datum		values[4];
	bool		nulls[4] = {0};

	enter_to_write(fcinfo);
	require(fcinfo, 0, "max_rows");
	max_rows = PG_GETARG_INT64(0);
	if (max_rows < 1)
		ij_error_bad_argument("argument \"max_rows\" must be at least 1", NULL, NULL);
	ij_sweep_run(max_rows, &counts, &unfinished);
	values[0] = Int64GetDatum(counts.expired);
	values[1] = Int64GetDatum(counts.completed);
	values[2] = Int64GetDatum(counts.deleted);
	values[3] = BoolGetDatum(unfinished);
	return row_result(fcinfo, values, nulls);
}

Datum
iot_jobs_verify_jobs(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;
	IjVerification wanted = {0};

	ij_catalog_use_any_version(fcinfo);
	ij_launcher_ensure();
	wanted.tenant_id = optional_id_argument(fcinfo, 0, "tenant_id");
	wanted.max_rows = int_argument(fcinfo, 1, "max_rows", 1, INT_MAX);
	if (!PG_ARGISNULL(2))
	{
		wanted.grace = PG_GETARG_INTERVAL_P(2);
		ij_validate_age("grace", wanted.grace);
	}
	InitMaterializedSRF(fcinfo, 0);
	rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ij_verify_run(&wanted, rsinfo->setResult);
	return (Datum) 0;
}

static void
put_step(ReturnSetInfo *rsinfo, const char *machine, const char *from, const char *to, int by)
{
	static const char *const takers[] = {"device", "operator", "operator with force", "service"};
	Datum		values[4];
	bool		nulls[4] = {0};
	Datum		words[lengthof(takers)];
	int			count = 0;

	for (int i = 0; i < lengthof(takers); i++)
	{
		if (by & (1 << i))
			words[count++] = CStringGetTextDatum(takers[i]);
	}
	values[0] = CStringGetTextDatum(machine);
	values[1] = CStringGetTextDatum(from);
	values[2] = CStringGetTextDatum(to);
	values[3] = PointerGetDatum(construct_array(words, count, TEXTOID, -1, false, TYPALIGN_INT));
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

Datum
iot_jobs_job_state_steps(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;
	const IjStep *steps;
	int			count;

	InitMaterializedSRF(fcinfo, 0);
	rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	steps = ij_job_steps(&count);
	for (int i = 0; i < count; i++)
		put_step(rsinfo, "job", ij_job_status_name((IjJobStatus) steps[i].from),
				 ij_job_status_name((IjJobStatus) steps[i].to), steps[i].by);
	steps = ij_exec_steps(&count);
	for (int i = 0; i < count; i++)
		put_step(rsinfo, "execution", ij_exec_status_name((IjExecStatus) steps[i].from),
				 ij_exec_status_name((IjExecStatus) steps[i].to), steps[i].by);
	return (Datum) 0;
}

Datum
iot_jobs_counter_state(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo;
	IjCountersState state;
	Datum		values[3];
	bool		nulls[3] = {0};

	InitMaterializedSRF(fcinfo, 0);
	rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	/* of all databases and tenants, so for those who may read all statistics */
	if (!has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS) || !ij_counters_state(&state))
		return (Datum) 0;
	values[0] = Int64GetDatum(state.jobs);
	values[1] = Int64GetDatum(state.answered);
	values[2] = Int64GetDatum(state.counted);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	return (Datum) 0;
}

Datum
iot_jobs_use_fleet(PG_FUNCTION_ARGS)
{
	enter_to_write(fcinfo);
	require(fcinfo, 0, "devices");
	ij_fanout_use_fleet(PG_GETARG_OID(0), PG_ARGISNULL(1) ? InvalidOid : PG_GETARG_OID(1));
	PG_RETURN_VOID();
}

/*
 * Only for the install script, which runs as a superuser: what it repairs in tables
 * of somebody else must run that owner's triggers as that owner, and restricted.
 */
Datum
iot_jobs_end_orphans(PG_FUNCTION_ARGS)
{
	IjIdentity	identity;

	enter_to_write(fcinfo);
	ij_catalog_become_owner(&identity);
	ij_store_end_orphans(ij_reason(NULL, IJ_REASON_JOB_CANCELED));
	ij_catalog_become_again(&identity);
	PG_RETURN_VOID();
}
