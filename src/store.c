/*
 * store.c
 *		The only caller of SPI for the tables.
 *
 * Every statement of statements.c is prepared at its first use in a session and
 * kept.  Statements run as the current user: table privileges and row security
 * decide what they see, and the server re-plans a kept statement when the role
 * changes.  Where the way without SQL is open (direct.c), it is taken instead.
 */
#include "postgres.h"

#include "store.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "direct.h"
#include "rows.h"
#include "statements.h"

/* devices that one fetch from the registry brings; larger batches were measured no faster */
#define WALK_BATCH	1000

static SPIPlanPtr plans[IJ_STATEMENTS];

/* the text each plan was made from, in TopMemoryContext */
static char *texts[IJ_STATEMENTS];

/* arguments of one call */
typedef struct Args
{
	int			count;
	Datum		values[IJ_MAX_ARGS];
	char		nulls[IJ_MAX_ARGS];
} Args;

/* ------------------------------------------------------------------------
 * Machinery
 * ------------------------------------------------------------------------
 */

static void
arg(Args *args, Datum value, bool isnull)
{
	Assert(args->count < IJ_MAX_ARGS);
	args->values[args->count] = value;
	args->nulls[args->count++] = isnull ? 'n' : ' ';
}

static void
arg_text(Args *args, const text *value)
{
	arg(args, PointerGetDatum(value), value == NULL);
}

static void
arg_jsonb(Args *args, const Jsonb *value)
{
	arg(args, PointerGetDatum(value), value == NULL);
}

static void
arg_word(Args *args, const char *word)
{
	arg(args, CStringGetTextDatum(word), false);
}

static void
arg_limit(Args *args, int64 limit)
{
	arg(args, Int64GetDatum(limit), false);
}

static void
arg_timestamp(Args *args, bool present, TimestampTz value)
{
	arg(args, TimestampTzGetDatum(value), !present);
}

/* where a walk over keys starts; NULL: at the first */
static void
arg_from(Args *args, const text *from)
{
	if (from != NULL)
		arg_text(args, from);
	else
		arg_word(args, "");
}

static void
arg_texts(Args *args, const Datum *texts, int count)
{
	arg(args, PointerGetDatum(construct_array((Datum *) texts, count, TEXTOID, -1, false, TYPALIGN_INT)), false);
}

/* a set of statuses, as the text[] that "status = ANY" wants */
static void
arg_statuses(Args *args, int statuses)
{
	Datum		words[IJ_EXEC_STATUSES];
	int			count = 0;

	for (int i = 0; i < IJ_EXEC_STATUSES; i++)
	{
		if (statuses & IJ_STATUS_BIT(i))
			words[count++] = CStringGetTextDatum(ij_exec_status_name((IjExecStatus) i));
	}
	arg(args, PointerGetDatum(construct_array(words, count, TEXTOID, -1, false, TYPALIGN_INT)), false);
}

static bool
is_name(const char *start, int len, const char *name)
{
	return (int) strlen(name) == len && strncmp(start, name, len) == 0;
}

/* Put the names into a statement's text. */
static char *
expand(const char *text, Oid registry)
{
	StringInfoData buf;
	const char *schema = ij_catalog_schema();

	initStringInfo(&buf);
	while (*text)
	{
		const char *open = strchr(text, '{');
		const char *close = open ? strchr(open, '}') : NULL;
		int			len;

		if (close == NULL)
		{
			appendStringInfoString(&buf, text);
			break;
		}
		appendBinaryStringInfo(&buf, text, open - text);
		open++;
		len = close - open;
		if (is_name(open, len, "jobs"))
			appendStringInfo(&buf, "%s.jobs", schema);
		else if (is_name(open, len, "executions"))
			appendStringInfo(&buf, "%s.job_executions", schema);
		else if (is_name(open, len, "fleet"))
			appendStringInfo(&buf, "%s.iot_jobs_fleet", schema);
		else if (is_name(open, len, "registry"))
			appendStringInfoString(&buf,
								   quote_qualified_identifier(get_namespace_name(get_rel_namespace(registry)),
															  get_rel_name(registry)));
		else
			appendStringInfo(&buf, "OPERATOR(pg_catalog.%.*s)", len, open);
		text = close + 1;
	}
	return buf.data;
}

/*
 * The kept plan of a statement.  Its text is made anew each time: it changes when
 * the schema is renamed or another registry is chosen, and is short.
 */
static SPIPlanPtr
plan_of(IjStatement id, Oid registry)
{
	char	   *text = expand(ij_statements[id].text, registry);

	if (plans[id] != NULL && strcmp(texts[id], text) == 0)
	{
		pfree(text);
		return plans[id];
	}
	if (plans[id] != NULL)
	{
		SPI_freeplan(plans[id]);
		plans[id] = NULL;
		pfree(texts[id]);
	}
	texts[id] = MemoryContextStrdup(TopMemoryContext, text);
	plans[id] = SPI_prepare(text, ij_statements[id].nargs, (Oid *) ij_statements[id].args);
	if (plans[id] == NULL)
		elog(ERROR, "could not prepare statement: %s", SPI_result_code_string(SPI_result));
	if (SPI_keepplan(plans[id]) != 0)
		elog(ERROR, "could not keep plan");
	return plans[id];
}

/*
 * Let the planner walk an index in key order and not sort, hash or read a whole
 * job for a batch of it: the statistics of a table whose rows change state all the
 * time are often wrong, and a sort of the rest of a job for each batch makes the
 * whole quadratic.  Undone at the end of the nest level, or by an abort.
 */
static int
begin_in_order(void)
{
	static const char *const settings[] = {"enable_seqscan", "enable_bitmapscan", "enable_sort"};
	int			nest_level = NewGUCNestLevel();

	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i], "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	return nest_level;
}

/*
 * Run a statement.  Without snapshot it sees what is committed now, and our own
 * changes; read_only asks for the caller's snapshot instead.
 */
static uint64
run(IjStatement id, Oid registry, Args *args, bool read_only, Snapshot snapshot)
{
	SPIPlanPtr	plan = plan_of(id, registry);
	int			nest_level = 0;
	int			code;

	Assert(args->count == ij_statements[id].nargs);
	if (ij_statements[id].in_order)
		nest_level = begin_in_order();
	code = SPI_execute_snapshot(plan, args->values, args->nulls, snapshot, InvalidSnapshot,
								read_only, true, 0);
	if (nest_level > 0)
		AtEOXact_GUC(true, nest_level);
	if (code < 0)
		elog(ERROR, "could not run statement: %s", SPI_result_code_string(code));
	return SPI_processed;
}

static uint64
execute(IjStatement id, Args *args)
{
	return run(id, InvalidOid, args, false, InvalidSnapshot);
}

static void
begin(void)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
}

static void
end(void)
{
	SPI_finish();
}

/* row i of the last result */
#define ROW(i)	SPI_tuptable->vals[i], SPI_tuptable->tupdesc

static text *
row_text(int row, int number)
{
	bool		isnull;
	Datum		value = SPI_getbinval(ROW(row), number, &isnull);

	return isnull ? NULL : DatumGetTextPCopy(value);
}

/* Read the rows of the last result into a List of structs of this size. */
typedef void (*RowReader) (HeapTuple tuple, TupleDesc desc, void *result);

static List *
read_rows(MemoryContext caller, size_t size, RowReader reader)
{
	List	   *result = NIL;
	MemoryContext old = MemoryContextSwitchTo(caller);

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		void	   *item = palloc0(size);

		reader(ROW(i), item);
		result = lappend(result, item);
	}
	MemoryContextSwitchTo(old);
	return result;
}

static void
read_document(HeapTuple tuple, TupleDesc desc, void *result)
{
	ij_rows_read_document(tuple, desc, 1, result);
}

static void
read_listed_job(HeapTuple tuple, TupleDesc desc, void *result)
{
	IjListedJob *listed = result;

	ij_rows_read_job(tuple, desc, 1, &listed->job);
	ij_rows_read_counts(tuple, desc, IJ_JOB_COLUMNS + 1, &listed->counts);
}

static void
read_listed_execution(HeapTuple tuple, TupleDesc desc, void *result)
{
	IjListedExecution *listed = result;
	bool		isnull;

	ij_rows_read_execution(tuple, desc, 1, &listed->execution);
	listed->job_created_at = DatumGetTimestampTz(heap_getattr(tuple, IJ_EXECUTION_COLUMNS + 1, desc, &isnull));
}

static void
read_key(HeapTuple tuple, TupleDesc desc, void *result)
{
	IjJobKey   *key = result;
	bool		isnull;

	key->tenant_id = DatumGetTextPCopy(heap_getattr(tuple, 1, desc, &isnull));
	key->job_id = DatumGetTextPCopy(heap_getattr(tuple, 2, desc, &isnull));
}

/* Read the first row, if there is one, in the caller's context. */
static bool
read_one(MemoryContext caller, RowReader reader, void *result)
{
	MemoryContext old;

	if (SPI_processed == 0)
		return false;
	old = MemoryContextSwitchTo(caller);
	reader(ROW(0), result);
	MemoryContextSwitchTo(old);
	return true;
}

static void
read_job(HeapTuple tuple, TupleDesc desc, void *result)
{
	ij_rows_read_job(tuple, desc, 1, result);
}

static void
read_execution(HeapTuple tuple, TupleDesc desc, void *result)
{
	ij_rows_read_execution(tuple, desc, 1, result);
}

static void
read_counts(HeapTuple tuple, TupleDesc desc, void *result)
{
	ij_rows_read_counts(tuple, desc, 1, result);
}

/* Run a statement that yields at most one row of interest. */
static bool
fetch_one(IjStatement id, Args *args, bool stable, RowReader reader, void *result)
{
	MemoryContext caller = CurrentMemoryContext;
	bool		found;

	begin();
	run(id, InvalidOid, args, stable, InvalidSnapshot);
	found = read_one(caller, reader, result);
	end();
	return found;
}

static List *
fetch_all(IjStatement id, Args *args, bool stable, size_t size, RowReader reader)
{
	MemoryContext caller = CurrentMemoryContext;
	List	   *result;

	begin();
	run(id, InvalidOid, args, stable, InvalidSnapshot);
	result = read_rows(caller, size, reader);
	end();
	return result;
}

/* ------------------------------------------------------------------------
 * Jobs
 * ------------------------------------------------------------------------
 */

static Args
job_args(const text *tenant_id, const text *job_id)
{
	Args		args = {0};

	arg_text(&args, tenant_id);
	arg_text(&args, job_id);
	return args;
}

bool
ij_store_get_job(const text *tenant_id, const text *job_id, bool stable, IjJob *job)
{
	Args		args = job_args(tenant_id, job_id);

	return fetch_one(IJ_SQL_GET_JOB, &args, stable, read_job, job);
}

bool
ij_store_lock_job(const text *tenant_id, const text *job_id, IjLock lock, IjJob *job)
{
	Args		args = job_args(tenant_id, job_id);

	return fetch_one(lock == IJ_LOCK_SKIP ? IJ_SQL_LOCK_JOB_SKIP : IJ_SQL_LOCK_JOB, &args, false, read_job, job);
}

bool
ij_store_insert_job(const IjJob *wanted, IjJob *job)
{
	Args		args = job_args(wanted->tenant_id, wanted->job_id);

	arg_text(&args, wanted->document_type);
	arg_jsonb(&args, wanted->document_params);
	arg_text(&args, wanted->target_device_id);
	arg_text(&args, wanted->target_group_id);
	arg(&args, BoolGetDatum(wanted->target_all), false);
	arg_timestamp(&args, wanted->expires, wanted->expires_at);
	arg_text(&args, wanted->created_by);
	return fetch_one(IJ_SQL_INSERT_JOB, &args, false, read_job, job);
}

/* The caller has locked the row, so an update that hits none was stopped by a policy or a trigger. */
static void
change_job(IjStatement id, Args *args, IjJob *changed)
{
	if (!fetch_one(id, args, false, read_job, changed))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("job could not be updated"),
				 errdetail("A row security policy or a trigger of table jobs hides the row from the update.")));
}

void
ij_store_set_job_status(const IjJob *job, IjJobStatus status, IjJob *changed)
{
	Args		args = job_args(job->tenant_id, job->job_id);

	arg_word(&args, ij_job_status_name(status));
	change_job(IJ_SQL_SET_JOB_STATUS, &args, changed);
}

void
ij_store_set_job_expiry(const IjJob *job, bool expires, TimestampTz expires_at, IjJob *changed)
{
	Args		args = job_args(job->tenant_id, job->job_id);

	arg_timestamp(&args, expires, expires_at);
	change_job(IJ_SQL_SET_JOB_EXPIRY, &args, changed);
}

void
ij_store_count_executions(const text *tenant_id, const text *job_id, bool stable, IjCounts *counts)
{
	Args		args = job_args(tenant_id, job_id);

	(void) fetch_one(IJ_SQL_COUNT_EXECUTIONS, &args, stable, read_counts, counts);
}

List *
ij_store_list_jobs(const IjJobFilter *filter, int limit)
{
	Args		args = {0};

	arg_text(&args, filter->tenant_id);
	arg_text(&args, filter->status);
	arg_text(&args, filter->document_type);
	arg_text(&args, filter->target_device_id);
	arg_text(&args, filter->target_group_id);
	arg_timestamp(&args, filter->after, filter->after_created_at);
	arg_text(&args, filter->after_job_id);
	arg_limit(&args, limit);
	return fetch_all(IJ_SQL_LIST_JOBS, &args, true, sizeof(IjListedJob), read_listed_job);
}

List *
ij_store_mark_for_deletion(const text *tenant_id, TimestampTz updated_before)
{
	Args		args = {0};

	arg_text(&args, tenant_id);
	arg_timestamp(&args, true, updated_before);
	return fetch_all(IJ_SQL_MARK_FOR_DELETION, &args, false, sizeof(IjJobKey), read_key);
}

bool
ij_store_delete_job(const text *tenant_id, const text *job_id)
{
	Args		args = job_args(tenant_id, job_id);
	uint64		deleted;

	begin();
	deleted = execute(IJ_SQL_DELETE_JOB, &args);
	end();
	return deleted > 0;
}

List *
ij_store_due_jobs(TimestampTz after, TimestampTz upto, int limit, TimestampTz *last)
{
	Args		args = {0};
	MemoryContext caller = CurrentMemoryContext;
	List	   *result;
	bool		isnull;

	arg_timestamp(&args, true, after);
	arg_timestamp(&args, true, upto);
	arg_limit(&args, limit);
	begin();
	*last = upto;
	if (execute(IJ_SQL_DUE_JOBS, &args) >= (uint64) limit)
		*last = DatumGetTimestampTz(SPI_getbinval(ROW(SPI_processed - 1), 3, &isnull));
	result = read_rows(caller, sizeof(IjJobKey), read_key);
	end();
	return result;
}

List *
ij_store_unfinished_jobs(const IjJobKey *after, int limit)
{
	Args		args = {0};

	if (after != NULL)
		args = job_args(after->tenant_id, after->job_id);
	else
	{
		arg_word(&args, "");
		arg_word(&args, "");
	}
	arg_limit(&args, limit);
	return fetch_all(IJ_SQL_UNFINISHED_JOBS, &args, false, sizeof(IjJobKey), read_key);
}

TimestampTz
ij_store_next_deadline(TimestampTz after)
{
	Args		args = {0};
	TimestampTz result = DT_NOEND;
	bool		isnull;

	arg_timestamp(&args, true, after);
	begin();
	if (execute(IJ_SQL_NEXT_DEADLINE, &args) > 0)
		result = DatumGetTimestampTz(SPI_getbinval(ROW(0), 1, &isnull));
	end();
	return result;
}

/* ------------------------------------------------------------------------
 * Executions
 * ------------------------------------------------------------------------
 */

static Args
execution_args(const text *tenant_id, const text *job_id, const text *device_id)
{
	Args		args = job_args(tenant_id, job_id);

	arg_text(&args, device_id);
	return args;
}

bool
ij_store_get_execution(const text *tenant_id, const text *job_id, const text *device_id,
					   IjExecution *execution)
{
	IjDirect   *direct = ij_direct_open(tenant_id, IJ_DIRECT_READ);
	Args		args;
	bool		found;

	if (direct != NULL)
	{
		found = ij_direct_get(direct, job_id, device_id, execution);
		ij_direct_close(direct);
		return found;
	}
	args = execution_args(tenant_id, job_id, device_id);
	return fetch_one(IJ_SQL_GET_EXECUTION, &args, false, read_execution, execution);
}

bool
ij_store_get_execution_document(const text *tenant_id, const text *job_id, const text *device_id,
								IjExecutionDocument *document)
{
	Args		args = execution_args(tenant_id, job_id, device_id);

	return fetch_one(IJ_SQL_GET_EXECUTION_DOCUMENT, &args, true, read_document, document);
}

bool
ij_store_start_next(const text *tenant_id, const text *device_id, Jsonb *status_details,
					IjExecutionDocument *document)
{
	IjDirect   *direct = ij_direct_open(tenant_id, IJ_DIRECT_CLAIM);
	Args		args;
	bool		found;

	if (direct != NULL)
	{
		found = ij_direct_start_next(direct, device_id, status_details, document);
		ij_direct_close(direct);
		return found;
	}
	args = job_args(tenant_id, device_id);
	if (fetch_one(IJ_SQL_RESUME, &args, false, read_document, document))
		return true;
	arg_jsonb(&args, status_details);
	return fetch_one(IJ_SQL_CLAIM_NEXT, &args, false, read_document, document);
}

List *
ij_store_claim_one_each(const text *tenant_id, const Datum *device_ids, int count, int limit)
{
	IjDirect   *direct = ij_direct_open(tenant_id, IJ_DIRECT_CLAIM);
	Args		args = {0};
	List	   *result = NIL;

	if (direct != NULL)
	{
		for (int i = 0; i < count && list_length(result) < limit; i++)
		{
			IjExecutionDocument *document = palloc0(sizeof(IjExecutionDocument));

			if (ij_direct_claim(direct, DatumGetTextPP(device_ids[i]), document))
				result = lappend(result, document);
		}
		ij_direct_close(direct);
		return result;
	}
	arg_text(&args, tenant_id);
	arg_texts(&args, device_ids, count);
	arg_limit(&args, limit);
	return fetch_all(IJ_SQL_CLAIM_ONE_EACH, &args, false, sizeof(IjExecutionDocument), read_document);
}

Datum *
ij_store_devices_with_queued(const text *tenant_id, const text *after, int limit, int *count)
{
	Args		args = {0};
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext old;
	Datum	   *result;

	arg_text(&args, tenant_id);
	arg_from(&args, after);
	arg_limit(&args, limit);
	begin();
	*count = (int) execute(IJ_SQL_DEVICES_WITH_QUEUED, &args);
	old = MemoryContextSwitchTo(caller);
	result = palloc(Max(*count, 1) * sizeof(Datum));
	for (int i = 0; i < *count; i++)
		result[i] = PointerGetDatum(row_text(i, 1));
	MemoryContextSwitchTo(old);
	end();
	return result;
}

List *
ij_store_pending(const text *tenant_id, const text *device_id, int limit)
{
	Args		args = job_args(tenant_id, device_id);

	arg_limit(&args, limit);
	return fetch_all(IJ_SQL_PENDING, &args, true, sizeof(IjExecutionDocument), read_document);
}

static Args
change_args(const IjExecutionChange *change)
{
	Args		args = execution_args(change->tenant_id, change->job_id, change->device_id);

	args.nulls[2] = ' ';
	arg_word(&args, ij_exec_status_name(change->to));
	arg_jsonb(&args, change->status_details);
	arg(&args, BoolGetDatum(ij_exec_is_started(change->to)), false);
	arg_statuses(&args, change->from);
	arg(&args, Int64GetDatum(change->expected_number), !change->expects);
	return args;
}

bool
ij_store_change_execution(const IjExecutionChange *change, IjExecution *execution)
{
	IjDirect   *direct = ij_direct_open(change->tenant_id, IJ_DIRECT_UPDATE);
	Args		args;
	bool		changed;

	if (direct != NULL)
	{
		changed = ij_direct_change(direct, change, execution);
		ij_direct_close(direct);
		return changed;
	}
	args = change_args(change);
	return fetch_one(IJ_SQL_CHANGE_EXECUTION, &args, false, read_execution, execution);
}

static Args
delete_args(const text *tenant_id, const text *job_id, const text *device_id, int statuses)
{
	Args		args = execution_args(tenant_id, job_id, device_id);

	args.nulls[2] = ' ';
	arg_statuses(&args, statuses);
	return args;
}

bool
ij_store_delete_execution(const text *tenant_id, const text *job_id, const text *device_id,
						  int statuses, IjExecution *execution)
{
	Args		args = delete_args(tenant_id, job_id, device_id, statuses);

	return fetch_one(IJ_SQL_DELETE_EXECUTION, &args, false, read_execution, execution);
}

List *
ij_store_list_executions_for_job(const text *tenant_id, const text *job_id, const text *status,
								 const text *after_device_id, int limit)
{
	Args		args = job_args(tenant_id, job_id);

	arg_text(&args, status);
	arg_from(&args, after_device_id);
	arg_limit(&args, limit);
	return fetch_all(IJ_SQL_LIST_EXECUTIONS_FOR_JOB, &args, true, sizeof(IjListedExecution), read_listed_execution);
}

List *
ij_store_list_executions_for_device(const text *tenant_id, const text *device_id, const text *status,
									bool after, TimestampTz after_created_at,
									const text *after_job_id, int limit)
{
	Args		args = job_args(tenant_id, device_id);

	arg_text(&args, status);
	arg_timestamp(&args, after, after_created_at);
	arg_text(&args, after_job_id);
	arg_limit(&args, limit);
	return fetch_all(IJ_SQL_LIST_EXECUTIONS_FOR_DEVICE, &args, true, sizeof(IjListedExecution), read_listed_execution);
}

text *
ij_store_first_execution(const text *tenant_id, const text *job_id, const text *from, int statuses)
{
	IjDirect   *direct = ij_direct_open(tenant_id, IJ_DIRECT_READ);
	MemoryContext caller = CurrentMemoryContext;
	Args		args;
	text	   *result = NULL;

	if (direct != NULL)
	{
		result = ij_direct_first(direct, job_id, from, statuses);
		ij_direct_close(direct);
		return result;
	}
	args = job_args(tenant_id, job_id);
	arg_from(&args, from);
	arg_statuses(&args, statuses);
	begin();
	if (execute(IJ_SQL_FIRST_EXECUTION, &args) > 0)
	{
		MemoryContext old = MemoryContextSwitchTo(caller);

		result = row_text(0, 1);
		MemoryContextSwitchTo(old);
	}
	end();
	return result;
}

/*
 * Lock a batch in device order, then change or delete it row by row, each by its
 * whole key: a join of the batch with the table would be quicker, until statistics
 * that never saw this job make the planner read all of the job for each batch.
 */
static int64
for_each_locked(IjStatement lock, const text *tenant_id, const text *job_id, const text *from,
				int statuses, int64 limit, IjStatement action, Args *action_args, text **last)
{
	Args		args = job_args(tenant_id, job_id);
	MemoryContext caller = CurrentMemoryContext;
	SPITupleTable *batch;
	uint64		count;
	int64		changed = 0;
	bool		isnull;

	*last = NULL;
	arg_from(&args, from);
	arg_statuses(&args, statuses);
	arg_limit(&args, limit);
	begin();
	count = execute(lock, &args);
	batch = SPI_tuptable;
	for (uint64 i = 0; i < count; i++)
	{
		/* argument 3 of every statement about one execution is its device */
		action_args->values[2] = SPI_getbinval(batch->vals[i], batch->tupdesc, 1, &isnull);
		changed += (int64) execute(action, action_args);
		SPI_freetuptable(SPI_tuptable);
	}
	if (count > 0)
	{
		MemoryContext old = MemoryContextSwitchTo(caller);

		*last = DatumGetTextPCopy(SPI_getbinval(batch->vals[count - 1], batch->tupdesc, 1, &isnull));
		MemoryContextSwitchTo(old);
	}
	end();
	return changed;
}

int64
ij_store_close_executions(const text *tenant_id, const text *job_id, const text *from, int statuses,
						  IjExecStatus to, Jsonb *status_details, IjLock lock, int64 limit, text **last)
{
	IjDirect   *direct = ij_direct_open(tenant_id, IJ_DIRECT_UPDATE);
	IjExecutionChange change = {0};
	Args		args;
	int64		count;

	if (direct != NULL)
	{
		count = ij_direct_close_executions(direct, job_id, from, statuses, to, status_details, lock, limit, last);
		ij_direct_close(direct);
		return count;
	}
	change.tenant_id = tenant_id;
	change.job_id = job_id;
	change.from = statuses;
	change.to = to;
	change.status_details = status_details;
	args = change_args(&change);
	return for_each_locked(lock == IJ_LOCK_SKIP ? IJ_SQL_LOCK_EXECUTIONS_SKIP : IJ_SQL_LOCK_EXECUTIONS,
						   tenant_id, job_id, from, statuses, limit, IJ_SQL_CHANGE_EXECUTION, &args, last);
}

int64
ij_store_delete_executions(const text *tenant_id, const text *job_id, const text *from,
						   int64 limit, text **last)
{
	IjDirect   *direct = ij_direct_open(tenant_id, IJ_DIRECT_DELETE);
	Args		args;
	int64		count;

	if (direct != NULL)
	{
		count = ij_direct_delete_executions(direct, job_id, from, limit, last);
		ij_direct_close(direct);
		return count;
	}
	args = delete_args(tenant_id, job_id, NULL, IJ_ALL_STATUSES);
	return for_each_locked(IJ_SQL_LOCK_EXECUTIONS_TO_DELETE, tenant_id, job_id, from, IJ_ALL_STATUSES, limit,
						   IJ_SQL_DELETE_EXECUTION, &args, last);
}

struct IjAddition
{
	const text *tenant_id;
	const text *job_id;
	IjDirect   *direct;			/* NULL: through SQL */
};

IjAddition *
ij_store_begin_addition(const text *tenant_id, const text *job_id)
{
	IjAddition *addition = palloc(sizeof(IjAddition));

	addition->tenant_id = tenant_id;
	addition->job_id = job_id;
	addition->direct = ij_direct_open(tenant_id, IJ_DIRECT_INSERT);
	return addition;
}

void
ij_store_add_executions(IjAddition *addition, const Datum *device_ids, int count)
{
	Args		args;

	if (addition->direct != NULL)
	{
		ij_direct_insert(addition->direct, addition->job_id, device_ids, count);
		return;
	}
	args = job_args(addition->tenant_id, addition->job_id);
	arg_texts(&args, device_ids, count);
	begin();
	execute(IJ_SQL_ADD_EXECUTIONS, &args);
	end();
}

void
ij_store_end_addition(IjAddition *addition)
{
	if (addition->direct != NULL)
		ij_direct_close(addition->direct);
	pfree(addition);
}

/* ------------------------------------------------------------------------
 * Registry
 * ------------------------------------------------------------------------
 */

bool
ij_store_get_fleet(IjFleet *fleet)
{
	Args		args = {0};
	bool		isnull;
	bool		found;

	begin();
	found = execute(IJ_SQL_GET_FLEET, &args) > 0;
	if (found)
	{
		fleet->devices = DatumGetObjectId(SPI_getbinval(ROW(0), 1, &isnull));
		fleet->group_members = DatumGetObjectId(SPI_getbinval(ROW(0), 2, &isnull));
		if (isnull)
			fleet->group_members = InvalidOid;
	}
	end();
	return found;
}

void
ij_store_set_fleet(const IjFleet *fleet)
{
	Args		args = {0};

	arg(&args, ObjectIdGetDatum(fleet->devices), false);
	arg(&args, ObjectIdGetDatum(fleet->group_members), !OidIsValid(fleet->group_members));
	begin();
	if (execute(IJ_SQL_UPDATE_FLEET, &args) == 0)
		execute(IJ_SQL_INSERT_FLEET, &args);
	end();
}

bool
ij_store_target_exists(const IjFleet *fleet, const text *tenant_id, const text *group_id,
					   const text *device_id)
{
	Args		args = {0};
	IjStatement id = IJ_SQL_ANY_DEVICE;
	Oid			registry = fleet->devices;
	bool		found;

	arg_text(&args, tenant_id);
	if (device_id != NULL)
	{
		id = IJ_SQL_THIS_DEVICE;
		arg_text(&args, device_id);
	}
	else if (group_id != NULL)
	{
		id = IJ_SQL_ANY_MEMBER;
		registry = fleet->group_members;
		arg_text(&args, group_id);
	}
	begin();
	found = run(id, registry, &args, false, InvalidSnapshot) > 0;
	end();
	return found;
}

void
ij_store_walk_devices(const IjFleet *fleet, const text *tenant_id, const text *group_id,
					  IjDevicesCallback callback, void *callback_arg)
{
	Args		args = {0};
	IjStatement id = group_id ? IJ_SQL_WALK_MEMBERS : IJ_SQL_WALK_DEVICES;
	Oid			registry = group_id ? fleet->group_members : fleet->devices;
	MemoryContext batch_context;
	Portal		portal;
	text	   *last = NULL;
	text	   *kept = NULL;

	arg_text(&args, tenant_id);
	if (group_id != NULL)
		arg_text(&args, group_id);

	begin();
	batch_context = AllocSetContextCreate(CurrentMemoryContext, "iot_jobs devices", ALLOCSET_DEFAULT_SIZES);
	portal = SPI_cursor_open(NULL, plan_of(id, registry), args.values, args.nulls, false);
	for (;;)
	{
		MemoryContext old;
		Datum	   *devices;
		int			count = 0;

		SPI_cursor_fetch(portal, true, WALK_BATCH);
		if (SPI_processed == 0)
			break;
		old = MemoryContextSwitchTo(batch_context);
		devices = palloc(SPI_processed * sizeof(Datum));
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			bool		isnull;
			Datum		value = SPI_getbinval(ROW(i), 1, &isnull);
			text	   *device;

			if (isnull || VARSIZE_ANY_EXHDR(DatumGetTextPP(value)) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("relation \"%s\" lists a device without device_id", get_rel_name(registry)),
						 errhint("Choose a relation with use_fleet() whose device_id is never null or empty.")));
			device = DatumGetTextPP(value);

			/* a view may list a device twice; the order brings the two together */
			if (last != NULL && VARSIZE_ANY_EXHDR(last) == VARSIZE_ANY_EXHDR(device) &&
				memcmp(VARDATA_ANY(last), VARDATA_ANY(device), VARSIZE_ANY_EXHDR(device)) == 0)
				continue;
			devices[count++] = PointerGetDatum(device);
			last = device;
		}
		if (count > 0)
			callback(devices, count, callback_arg);
		MemoryContextSwitchTo(old);

		/* only the last device outlives its batch */
		if (last != kept)
		{
			text	   *copy = DatumGetTextPCopy(PointerGetDatum(last));

			if (kept != NULL)
				pfree(kept);
			last = kept = copy;
		}
		MemoryContextReset(batch_context);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	end();
}

/* ------------------------------------------------------------------------
 * Guards
 * ------------------------------------------------------------------------
 */

/*
 * The guards must not miss what was committed after the caller's snapshot, so they
 * look with the latest one, as foreign key checks do.
 */
static uint64
execute_latest(IjStatement id, Args *args)
{
	uint64		result;

	PushActiveSnapshot(GetLatestSnapshot());
	result = run(id, InvalidOid, args, false, GetActiveSnapshot());
	PopActiveSnapshot();
	return result;
}

bool
ij_store_guard_lock_job(const text *tenant_id, const text *job_id, IjJobStatus *status,
						bool *expires, TimestampTz *expires_at)
{
	Args		args = job_args(tenant_id, job_id);
	bool		found;
	bool		isnull;

	begin();
	found = execute_latest(IJ_SQL_GUARD_LOCK_JOB, &args) > 0;
	if (found)
	{
		Datum		value;

		*status = ij_rows_job_status(row_text(0, 1));
		value = SPI_getbinval(ROW(0), 2, &isnull);
		*expires = !isnull;
		*expires_at = isnull ? 0 : DatumGetTimestampTz(value);
	}
	end();
	return found;
}

text *
ij_store_unseen_execution(const text *tenant_id, const text *job_id, int statuses)
{
	Args		args = job_args(tenant_id, job_id);
	MemoryContext caller = CurrentMemoryContext;
	text	   *result = NULL;

	arg_from(&args, NULL);
	arg_statuses(&args, statuses);
	begin();
	if (execute_latest(IJ_SQL_FIRST_EXECUTION, &args) > 0)
	{
		MemoryContext old = MemoryContextSwitchTo(caller);

		result = row_text(0, 1);
		MemoryContextSwitchTo(old);
	}
	end();
	return result;
}
