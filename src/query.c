/*
 * query.c
 *		Run the statements of statements.c, but for the cursor of fleet.c.
 *
 * A statement is prepared at its first use in a session and kept.  It runs as the
 * current user, so table privileges and row security decide what it sees, and the
 * server re-plans it when the role changes.  It does not when only the security
 * context does: so what runs as the owner with forced row security set aside (see
 * ij_catalog_become_owner()) has plans of its own.
 */
#include "postgres.h"

#include "query.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "compat.h"
#include "iot_jobs.h"
#include "rows.h"

typedef struct KeptPlan
{
	SPIPlanPtr	plan;			/* NULL: none */
	char	   *text;			/* that it was made from, in TopMemoryContext */
} KeptPlan;

static KeptPlan kept[2][IJ_STATEMENTS]; /* [1]: with forced row security set aside */

/* ------------------------------------------------------------------------
 * Machinery
 * ------------------------------------------------------------------------
 */

void
ij_arg(IjArgs *args, Datum value, bool isnull)
{
	Assert(args->count < IJ_MAX_ARGS);
	args->values[args->count] = value;
	args->nulls[args->count++] = isnull ? 'n' : ' ';
}

void
ij_arg_text(IjArgs *args, const text *value)
{
	ij_arg(args, PointerGetDatum(value), value == NULL);
}

void
ij_arg_jsonb(IjArgs *args, const Jsonb *value)
{
	ij_arg(args, PointerGetDatum(value), value == NULL);
}

void
ij_arg_word(IjArgs *args, const char *word)
{
	ij_arg(args, CStringGetTextDatum(word), false);
}

void
ij_arg_limit(IjArgs *args, int64 limit)
{
	ij_arg(args, Int64GetDatum(limit), false);
}

void
ij_arg_timestamp(IjArgs *args, bool present, TimestampTz value)
{
	ij_arg(args, TimestampTzGetDatum(value), !present);
}

/* where a walk over keys starts; NULL: at the first */
void
ij_arg_from(IjArgs *args, const text *from)
{
	if (from != NULL)
		ij_arg_text(args, from);
	else
		ij_arg_word(args, "");
}

void
ij_arg_texts(IjArgs *args, const Datum *texts, int count)
{
	ij_arg(args, PointerGetDatum(construct_array((Datum *) texts, count, TEXTOID, -1, false, TYPALIGN_INT)), false);
}

/* a set of statuses, as the text[] that "status = ANY" wants */
void
ij_arg_statuses(IjArgs *args, int statuses)
{
	Datum		words[IJ_EXEC_STATUSES];
	int			count = 0;

	for (int i = 0; i < IJ_EXEC_STATUSES; i++)
	{
		if (statuses & IJ_STATUS_BIT(i))
			words[count++] = CStringGetTextDatum(ij_exec_status_name((IjExecStatus) i));
	}
	ij_arg(args, PointerGetDatum(construct_array(words, count, TEXTOID, -1, false, TYPALIGN_INT)), false);
}

static bool
is_name(const char *start, int len, const char *name)
{
	return (int) strlen(name) == len && strncmp(start, name, len) == 0;
}

/* The relation may have been dropped since somebody looked. */
static void
append_registry(StringInfo buf, Oid registry)
{
	char	   *name = get_rel_name(registry);
	char	   *schema = get_namespace_name(get_rel_namespace(registry));

	if (name == NULL || schema == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the relation chosen as the registry of devices does not exist any more"),
				 errhint("Choose another one with use_fleet().")));
	appendStringInfoString(buf, quote_qualified_identifier(schema, name));
}

/* Put the names into a statement's text. */
char *
ij_query_expand(const char *text, Oid registry)
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
		else if (is_name(open, len, "tenants"))
			appendStringInfo(&buf, "%s.tenants", schema);
		else if (is_name(open, len, "roles"))
			appendStringInfo(&buf, "%s.iot_jobs_tenant_roles", schema);
		else if (is_name(open, len, "registry"))
			append_registry(&buf, registry);
		else
			appendStringInfo(&buf, "OPERATOR(pg_catalog.%.*s)", len, open);
		text = close + 1;
	}
	return buf.data;
}

/*
 * This very plan may be running: its statement fired a trigger, or read a registry that
 * is a view, which called us after the schema got another name, or another registry was
 * chosen.  So it is freed in a later transaction.
 */
static void
retire(KeptPlan *old)
{
	static List *retired = NIL;
	static LocalTransactionId retired_in = InvalidLocalTransactionId;
	MemoryContext caller;

	if (retired_in != ij_my_local_transaction_id())
	{
		while (retired != NIL)
		{
			SPI_freeplan(linitial(retired));
			retired = list_delete_first(retired);
		}
	}
	caller = MemoryContextSwitchTo(TopMemoryContext);
	retired = lappend(retired, old->plan);
	MemoryContextSwitchTo(caller);
	retired_in = ij_my_local_transaction_id();
	old->plan = NULL;
	pfree(old->text);
	old->text = NULL;
}

/*
 * The kept plan of a statement.  Its text is made anew each time: it changes when
 * the schema is renamed or another registry is chosen, and is short.
 */
SPIPlanPtr
ij_query_plan(IjStatement id, Oid registry)
{
	char	   *text = ij_query_expand(ij_statements[id].text, registry);
	KeptPlan   *mine = &kept[InNoForceRLSOperation()][id];
	SPIPlanPtr	plan;

	if (mine->plan != NULL && strcmp(mine->text, text) == 0)
	{
		pfree(text);
		return mine->plan;
	}
	if (mine->plan != NULL)
		retire(mine);
	plan = SPI_prepare_cursor(text, ij_statements[id].nargs, (Oid *) ij_statements[id].args,
							  ij_statements[id].in_order ? CURSOR_OPT_GENERIC_PLAN : 0);
	if (plan == NULL)
		elog(ERROR, "could not prepare statement: %s", SPI_result_code_string(SPI_result));
	mine->text = MemoryContextStrdup(TopMemoryContext, text);
	if (SPI_keepplan(plan) != 0)
		elog(ERROR, "could not keep plan");
	mine->plan = plan;
	return plan;
}

/*
 * Let the planner walk an index in key order and not sort, hash or read a whole
 * job for a batch of it: the statistics of a table whose rows change state all the
 * time are often wrong, and a sort of the rest of a job for each batch makes the
 * whole quadratic.  What has to be sorted all the same looks dear enough for a
 * compiler then, so that is off, too.
 *
 * That holds for the plan alone, which is the same whatever the arguments: it is made
 * here, and run without these settings, which a trigger of the operator would be given,
 * and its own kept plans with it.
 */
static void
plan_in_order(SPIPlanPtr plan)
{
	static const char *const settings[] = {"enable_seqscan", "enable_bitmapscan", "enable_sort",
		"enable_incremental_sort", "jit"};
	int			nest_level = NewGUCNestLevel();

	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i], "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	ReleaseCachedPlan(SPI_plan_get_cached_plan(plan), CurrentResourceOwner);
	AtEOXact_GUC(true, nest_level);
}

/*
 * Run a statement.  The guards must not miss what was committed after the caller's
 * snapshot, so they look with the latest one, as foreign key checks do.
 */
uint64
ij_query_run(IjStatement id, Oid registry, IjArgs *args, IjSight sight)
{
	SPIPlanPtr	plan = ij_query_plan(id, registry);
	Snapshot	snapshot = InvalidSnapshot;
	int			nest_level = 0;
	int			code;

	Assert(args->count == ij_statements[id].nargs);
	if (ij_statements[id].in_order)
	{
		/* who wants custom plans would have another one made, without our settings */
		if (plan_cache_mode == PLAN_CACHE_MODE_FORCE_CUSTOM_PLAN)
		{
			nest_level = NewGUCNestLevel();
			(void) set_config_option("plan_cache_mode", "auto", PGC_USERSET, PGC_S_SESSION,
									 GUC_ACTION_SAVE, true, 0, false);
		}
		plan_in_order(plan);
	}
	if (sight == IJ_SEES_LATEST)
	{
		PushActiveSnapshot(GetLatestSnapshot());
		snapshot = GetActiveSnapshot();
	}
	code = SPI_execute_snapshot(plan, args->values, args->nulls, snapshot, InvalidSnapshot,
								sight == IJ_SEES_AS_CALLER, true, 0);
	if (sight == IJ_SEES_LATEST)
		PopActiveSnapshot();
	if (nest_level > 0)
		AtEOXact_GUC(true, nest_level);
	if (code < 0)
		elog(ERROR, "could not run statement: %s", SPI_result_code_string(code));
	return SPI_processed;
}

uint64
ij_query_execute(IjStatement id, IjArgs *args)
{
	return ij_query_run(id, InvalidOid, args, IJ_SEES_NOW);
}

void
ij_query_begin(void)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
}

void
ij_query_end(void)
{
	SPI_finish();
}

uint64
ij_query_alone(IjStatement id, IjArgs *args)
{
	uint64		result;

	ij_query_begin();
	result = ij_query_execute(id, args);
	ij_query_end();
	return result;
}

void
ij_query_read_text(const IjRow *row, void *result)
{
	*(text **) result = ij_rows_text(row, 1);
}

/* Read the rows of the last result into a List of structs of this size. */
List *
ij_query_read_rows(MemoryContext caller, size_t size, IjRowReader reader)
{
	List	   *result = NIL;
	MemoryContext old = MemoryContextSwitchTo(caller);

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		void	   *item = palloc0(size);

		reader(IJ_QUERY_ROW(i), item);
		result = lappend(result, item);
	}
	MemoryContextSwitchTo(old);
	return result;
}

/* Run a statement that yields at most one row of interest. */
bool
ij_query_fetch_one(IjStatement id, IjArgs *args, IjSight sight, IjRowReader reader, void *result)
{
	MemoryContext caller = CurrentMemoryContext;
	bool		found;

	ij_query_begin();
	found = ij_query_run(id, InvalidOid, args, sight) > 0;
	if (found)
	{
		MemoryContext old = MemoryContextSwitchTo(caller);

		reader(IJ_QUERY_ROW(0), result);
		MemoryContextSwitchTo(old);
	}
	ij_query_end();
	return found;
}

List *
ij_query_fetch_all(IjStatement id, IjArgs *args, IjSight sight, size_t size, IjRowReader reader)
{
	MemoryContext caller = CurrentMemoryContext;
	List	   *result;

	ij_query_begin();
	ij_query_run(id, InvalidOid, args, sight);
	result = ij_query_read_rows(caller, size, reader);
	ij_query_end();
	return result;
}
