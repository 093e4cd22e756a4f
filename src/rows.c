/*
 * rows.c
 *		Between the rows of a result and the structs of iot_jobs.h.
 *
 * The order of the columns is that of the composite types job_description,
 * job_execution_summary and job_execution, which statements.c selects in that order.
 * It is written down here and nowhere else in C.
 */
#include "postgres.h"

#include "rows.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "errors.h"

/*
 * The owner of a table may give a column another type, which no statement of ours need
 * notice; to take its bytes for what they are not would read memory that is none of his.
 */
void
ij_rows_check_type(TupleDesc desc, int number, Oid type)
{
	Form_pg_attribute att = TupleDescAttr(desc, number - 1);
	Oid			is;

	if (att->atttypid == type)
		return;
	is = getBaseType(att->atttypid);
	if (is != type && !(is == VARCHAROID && type == TEXTOID))
		ij_error_column_type(NameStr(att->attname), att->atttypid, type);
}

static Datum
column(HeapTuple tuple, TupleDesc desc, int number, Oid type, bool *isnull)
{
	ij_rows_check_type(desc, number, type);
	return heap_getattr(tuple, number, desc, isnull);
}

text *
ij_rows_text(HeapTuple tuple, TupleDesc desc, int number)
{
	bool		isnull;
	Datum		value = column(tuple, desc, number, TEXTOID, &isnull);

	return isnull ? NULL : DatumGetTextPCopy(value);
}

/* never null while the constraints of the migration are there */
text *
ij_rows_id(HeapTuple tuple, TupleDesc desc, int number)
{
	text	   *result = ij_rows_text(tuple, desc, number);

	if (result == NULL)
		ij_error_null_column(NameStr(TupleDescAttr(desc, number - 1)->attname));
	return result;
}

static Jsonb *
jsonb_column(HeapTuple tuple, TupleDesc desc, int number)
{
	bool		isnull;
	Datum		value = column(tuple, desc, number, JSONBOID, &isnull);

	return isnull ? NULL : DatumGetJsonbPCopy(value);
}

static int64
int8_column(HeapTuple tuple, TupleDesc desc, int number)
{
	bool		isnull;
	Datum		value = column(tuple, desc, number, INT8OID, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

bool
ij_rows_timestamp(HeapTuple tuple, TupleDesc desc, int number, TimestampTz *result)
{
	bool		isnull;
	Datum		value = column(tuple, desc, number, TIMESTAMPTZOID, &isnull);

	*result = isnull ? 0 : DatumGetTimestampTz(value);
	return !isnull;
}

IjJobStatus
ij_rows_job_status(const text *word)
{
	IjJobStatus status;

	if (word == NULL)
		ij_error_null_column("status");
	if (!ij_job_status_parse(VARDATA_ANY(word), VARSIZE_ANY_EXHDR(word), &status))
		ij_error_unknown_status(word);
	return status;
}

IjExecStatus
ij_rows_exec_status(const text *word)
{
	IjExecStatus status;

	if (word == NULL)
		ij_error_null_column("status");
	if (!ij_exec_status_parse(VARDATA_ANY(word), VARSIZE_ANY_EXHDR(word), &status))
		ij_error_unknown_status(word);
	return status;
}

void
ij_rows_read_job(HeapTuple tuple, TupleDesc desc, void *result)
{
	IjJob	   *job = result;
	bool		isnull;

	job->job_id = ij_rows_id(tuple, desc, 1);
	job->tenant_id = ij_rows_id(tuple, desc, 2);
	job->document_type = ij_rows_text(tuple, desc, 3);
	job->document_params = jsonb_column(tuple, desc, 4);
	job->target_device_id = ij_rows_text(tuple, desc, 5);
	job->target_group_id = ij_rows_text(tuple, desc, 6);
	job->target_all = DatumGetBool(column(tuple, desc, 7, BOOLOID, &isnull));
	job->status = ij_rows_job_status(ij_rows_text(tuple, desc, 8));
	job->expires = ij_rows_timestamp(tuple, desc, 9, &job->expires_at);
	job->created_by = ij_rows_text(tuple, desc, 10);
	ij_rows_timestamp(tuple, desc, 11, &job->created_at);
	ij_rows_timestamp(tuple, desc, 12, &job->updated_at);
}

void
ij_rows_read_counts(HeapTuple tuple, TupleDesc desc, void *result)
{
	IjCounts   *counts = result;

	counts->total = int8_column(tuple, desc, 1);
	for (int i = 0; i < IJ_EXEC_STATUSES; i++)
		counts->by_status[i] = int8_column(tuple, desc, 2 + i);
}

void
ij_rows_read_execution(HeapTuple tuple, TupleDesc desc, void *result)
{
	IjExecution *execution = result;

	execution->job_id = ij_rows_id(tuple, desc, 1);
	execution->tenant_id = ij_rows_id(tuple, desc, 2);
	execution->device_id = ij_rows_id(tuple, desc, 3);
	execution->status = ij_rows_exec_status(ij_rows_text(tuple, desc, 4));
	execution->status_details = jsonb_column(tuple, desc, 5);
	execution->execution_number = int8_column(tuple, desc, 6);
	ij_rows_timestamp(tuple, desc, 7, &execution->queued_at);
	execution->started = ij_rows_timestamp(tuple, desc, 8, &execution->started_at);
	ij_rows_timestamp(tuple, desc, 9, &execution->last_updated_at);
}

void
ij_rows_read_document(HeapTuple tuple, TupleDesc desc, void *result)
{
	IjExecutionDocument *document = result;

	ij_rows_read_execution(tuple, desc, &document->execution);
	document->document_type = ij_rows_text(tuple, desc, IJ_EXECUTION_COLUMNS + 1);
	document->document_params = jsonb_column(tuple, desc, IJ_EXECUTION_COLUMNS + 2);
	document->expires = ij_rows_timestamp(tuple, desc, IJ_EXECUTION_COLUMNS + 3, &document->expires_at);
}

static void
pointer_value(const void *pointer, Datum *value, bool *isnull)
{
	*isnull = (pointer == NULL);
	*value = PointerGetDatum(pointer);
}

static void
timestamp_value(bool present, TimestampTz timestamp, Datum *value, bool *isnull)
{
	*isnull = !present;
	*value = TimestampTzGetDatum(timestamp);
}

void
ij_rows_job_values(const IjJob *job, Datum *values, bool *nulls)
{
	pointer_value(job->job_id, &values[0], &nulls[0]);
	pointer_value(job->tenant_id, &values[1], &nulls[1]);
	pointer_value(job->document_type, &values[2], &nulls[2]);
	pointer_value(job->document_params, &values[3], &nulls[3]);
	pointer_value(job->target_device_id, &values[4], &nulls[4]);
	pointer_value(job->target_group_id, &values[5], &nulls[5]);
	values[6] = BoolGetDatum(job->target_all);
	nulls[6] = false;
	values[7] = CStringGetTextDatum(ij_job_status_name(job->status));
	nulls[7] = false;
	timestamp_value(job->expires, job->expires_at, &values[8], &nulls[8]);
	pointer_value(job->created_by, &values[9], &nulls[9]);
	timestamp_value(true, job->created_at, &values[10], &nulls[10]);
	timestamp_value(true, job->updated_at, &values[11], &nulls[11]);
}

void
ij_rows_counts_values(const IjCounts *counts, Datum *values, bool *nulls)
{
	values[0] = Int64GetDatum(counts->total);
	nulls[0] = false;
	for (int i = 0; i < IJ_EXEC_STATUSES; i++)
	{
		values[1 + i] = Int64GetDatum(counts->by_status[i]);
		nulls[1 + i] = false;
	}
}

void
ij_rows_execution_values(const IjExecution *execution, Datum *values, bool *nulls)
{
	pointer_value(execution->job_id, &values[0], &nulls[0]);
	pointer_value(execution->tenant_id, &values[1], &nulls[1]);
	pointer_value(execution->device_id, &values[2], &nulls[2]);
	values[3] = CStringGetTextDatum(ij_exec_status_name(execution->status));
	nulls[3] = false;
	pointer_value(execution->status_details, &values[4], &nulls[4]);
	values[5] = Int64GetDatum(execution->execution_number);
	nulls[5] = false;
	timestamp_value(true, execution->queued_at, &values[6], &nulls[6]);
	timestamp_value(execution->started, execution->started_at, &values[7], &nulls[7]);
	timestamp_value(true, execution->last_updated_at, &values[8], &nulls[8]);
}

void
ij_rows_document_values(const IjExecutionDocument *document, Datum *values, bool *nulls)
{
	ij_rows_execution_values(&document->execution, values, nulls);
	values += IJ_EXECUTION_COLUMNS;
	nulls += IJ_EXECUTION_COLUMNS;
	pointer_value(document->document_type, &values[0], &nulls[0]);
	pointer_value(document->document_params, &values[1], &nulls[1]);
	timestamp_value(document->expires, document->expires_at, &values[2], &nulls[2]);
}
