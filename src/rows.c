/*
 * rows.c
 *		Between the rows of a result, or of a table, and the structs of iot_jobs.h.
 *
 * The order of the columns is that of the composite types job_description,
 * job_execution_summary and job_execution, which statements.c selects in that order,
 * and shape.h names.  A table may have them in another one.
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

/* where the row has this column of the struct */
static AttrNumber
place(const IjRow *row, int number)
{
	return row->columns ? row->columns[number - 1] : number;
}

static Datum
column(const IjRow *row, int number, Oid type, bool *isnull)
{
	number = place(row, number);
	ij_rows_check_type(row->desc, number, type);
	return row->slot ? slot_getattr(row->slot, number, isnull) : heap_getattr(row->tuple, number, row->desc, isnull);
}

/* as it lies in the row */
static text *
text_column(const IjRow *row, int number)
{
	bool		isnull;
	Datum		value = column(row, number, TEXTOID, &isnull);

	return isnull ? NULL : DatumGetTextPP(value);
}

text *
ij_rows_text(const IjRow *row, int number)
{
	return ij_copy_text(text_column(row, number));
}

/* never null while the constraints of the migration are there */
text *
ij_rows_id(const IjRow *row, int number)
{
	text	   *result = ij_rows_text(row, number);

	if (result == NULL)
		ij_error_null_column(NameStr(TupleDescAttr(row->desc, place(row, number) - 1)->attname));
	return result;
}

static Jsonb *
jsonb_column(const IjRow *row, int number)
{
	bool		isnull;
	Datum		value = column(row, number, JSONBOID, &isnull);

	return isnull ? NULL : DatumGetJsonbPCopy(value);
}

static int64
int8_column(const IjRow *row, int number)
{
	bool		isnull;
	Datum		value = column(row, number, INT8OID, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

bool
ij_rows_timestamp(const IjRow *row, int number, TimestampTz *result)
{
	bool		isnull;
	Datum		value = column(row, number, TIMESTAMPTZOID, &isnull);

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
ij_rows_read_job(const IjRow *row, void *result)
{
	IjJob	   *job = result;
	bool		isnull;

	job->job_id = ij_rows_id(row, 1);
	job->tenant_id = ij_rows_id(row, 2);
	job->document_type = ij_rows_text(row, 3);
	job->document_params = jsonb_column(row, 4);
	job->target_device_id = ij_rows_text(row, 5);
	job->target_group_id = ij_rows_text(row, 6);
	job->target_all = DatumGetBool(column(row, 7, BOOLOID, &isnull));
	job->status = ij_rows_job_status(text_column(row, 8));
	job->expires = ij_rows_timestamp(row, 9, &job->expires_at);
	job->created_by = ij_rows_text(row, 10);
	ij_rows_timestamp(row, 11, &job->created_at);
	ij_rows_timestamp(row, 12, &job->updated_at);
}

void
ij_rows_read_counts(const IjRow *row, void *result)
{
	IjCounts   *counts = result;

	counts->total = int8_column(row, 1);
	for (int i = 0; i < IJ_EXEC_STATUSES; i++)
		counts->by_status[i] = int8_column(row, 2 + i);
}

void
ij_rows_read_execution(const IjRow *row, void *result)
{
	IjExecution *execution = result;

	execution->job_id = ij_rows_id(row, 1);
	execution->tenant_id = ij_rows_id(row, 2);
	execution->device_id = ij_rows_id(row, 3);
	execution->status = ij_rows_exec_status(text_column(row, 4));
	execution->status_details = jsonb_column(row, 5);
	execution->execution_number = int8_column(row, 6);
	ij_rows_timestamp(row, 7, &execution->queued_at);
	execution->started = ij_rows_timestamp(row, 8, &execution->started_at);
	ij_rows_timestamp(row, 9, &execution->last_updated_at);
}

void
ij_rows_read_document(const IjRow *row, void *result)
{
	IjExecutionDocument *document = result;

	ij_rows_read_execution(row, &document->execution);
	document->document_type = ij_rows_text(row, IJ_EXECUTION_COLUMNS + 1);
	document->document_params = jsonb_column(row, IJ_EXECUTION_COLUMNS + 2);
	document->expires = ij_rows_timestamp(row, IJ_EXECUTION_COLUMNS + 3, &document->expires_at);
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
