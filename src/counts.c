/*
 * counts.c
 *		How many executions a job has in which status: from memory, or counted.
 *
 * The counters (counters.c) answer where SQL would see all executions of the job;
 * otherwise one statement counts the rows of all jobs asked about, and leaves in
 * memory what it found.  Either answer is that of the active snapshot.
 */
#include "postgres.h"

#include "counts.h"

#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "catalog.h"
#include "counters.h"
#include "query.h"
#include "rows.h"
#include "shape.h"

/* counts asked for and not known, as one statement takes them */
typedef struct Uncounted
{
	int			count;
	Datum	   *job_ids;
	IjCounts  **counts;
	IjCounting *countings;
} Uncounted;

static void
add_uncounted(Uncounted *uncounted, const text *job_id, IjCounts *counts, const IjCounting *counting)
{
	uncounted->job_ids[uncounted->count] = PointerGetDatum(job_id);
	uncounted->counts[uncounted->count] = counts;
	uncounted->countings[uncounted->count++] = *counting;
}

static void
abandon_counts(int code, Datum arg)
{
	const Uncounted *uncounted = (const Uncounted *) DatumGetPointer(arg);

	for (int i = 0; i < uncounted->count; i++)
		ij_counters_publish(&uncounted->countings[i], NULL);
}

/* Count the rows, with the active snapshot. */
static void
take_counts(const text *tenant_id, const Uncounted *uncounted)
{
	IjArgs		args = {0};

	ij_arg_text(&args, tenant_id);
	ij_arg_texts(&args, uncounted->job_ids, uncounted->count);
	ij_query_begin();
	ij_query_run(IJ_SQL_COUNT_EXECUTIONS, InvalidOid, &args, IJ_SEES_AS_CALLER);
	for (int i = 0; i < uncounted->count; i++)
		ij_rows_read_counts(IJ_QUERY_ROW(i), uncounted->counts[i]);
	ij_query_end();
}

/*
 * Whoever disables the guard is seen by snapshots a moment before his invalidations
 * are sent, but holds, until they are, a lock that keeps writers out.  So where a
 * writer could come in, every life of the table that the snapshot sees the end of has
 * ended for us, too.
 */
static bool
is_settled(Relation rel)
{
	if (RecoveryInProgress() || !ConditionalLockRelation(rel, RowExclusiveLock))
		return false;
	UnlockRelation(rel, RowExclusiveLock);
	return true;
}

/* As what the executions may be asked of the counters; NULL: SQL may see less than all of them. */
static const IjCountedTable *
askable(Relation rel, const text *tenant_id)
{
	const IjShape *shape;

	if (!is_settled(rel))
		return NULL;
	shape = ij_shape_of_executions(rel);
	if (shape->altered || !ij_shape_same_as_sql(rel, shape, IJ_DIRECT_READ, tenant_id))
		return NULL;
	return ij_shape_counted(rel, shape);
}

static void
ask_or_count(const IjCountedTable *table, const text *tenant_id,
			 text *const *job_ids, IjCounts **counts, int count, Uncounted *uncounted)
{
	for (int i = 0; i < count; i++)
	{
		IjCounting	counting;

		if (!ij_counters_get(table, tenant_id, job_ids[i], GetActiveSnapshot(), counts[i], &counting))
			add_uncounted(uncounted, job_ids[i], counts[i], &counting);
	}
	if (uncounted->count > 0)
		take_counts(tenant_id, uncounted);
	for (int i = 0; i < uncounted->count; i++)
		ij_counters_publish(&uncounted->countings[i], uncounted->counts[i]);
}

void
ij_counts_of_jobs(const text *tenant_id, text *const *job_ids, IjCounts **counts, int count)
{
	Relation	rel = table_open(ij_catalog_executions(), AccessShareLock);
	Uncounted	uncounted = {0};

	uncounted.job_ids = palloc(count * sizeof(Datum));
	uncounted.counts = palloc(count * sizeof(IjCounts *));
	uncounted.countings = palloc(count * sizeof(IjCounting));
	PG_ENSURE_ERROR_CLEANUP(abandon_counts, PointerGetDatum(&uncounted));
	{
		ask_or_count(askable(rel, tenant_id), tenant_id, job_ids, counts, count, &uncounted);
	}
	PG_END_ENSURE_ERROR_CLEANUP(abandon_counts, PointerGetDatum(&uncounted));
	table_close(rel, NoLock);
}

void
ij_counts_of_job(const text *tenant_id, const text *job_id, bool stable, IjCounts *counts)
{
	text	   *job_ids[] = {unconstify(text *, job_id)};

	if (!stable)
	{
		CommandCounterIncrement();
		PushActiveSnapshot(GetTransactionSnapshot());
	}
	ij_counts_of_jobs(tenant_id, job_ids, &counts, 1);
	if (!stable)
		PopActiveSnapshot();
}

/* What the counters know wrongly can only come of changes that were hidden from them. */
void
ij_counts_check_none_open(const text *tenant_id, const text *job_id)
{
	Relation	rel = table_open(ij_catalog_executions(), AccessShareLock);
	const IjCountedTable *table = ij_shape_counted(rel, ij_shape_of_executions(rel));
	IjCounts	counts;

	PushActiveSnapshot(GetTransactionSnapshot());
	if (ij_counters_get(table, tenant_id, job_id, GetActiveSnapshot(), &counts, NULL) &&
		(counts.by_status[IJ_EXEC_QUEUED] != 0 || counts.by_status[IJ_EXEC_IN_PROGRESS] != 0))
	{
		ij_counters_forget(table, tenant_id, job_id);
		ereport(LOG,
				(errmsg("counts of the executions of job \"%s\" were wrong and are taken anew",
						text_to_cstring(job_id)),
				 errdetail("Rows of table job_executions were changed while its trigger iot_jobs_guard did not fire.")));
	}
	PopActiveSnapshot();
	table_close(rel, NoLock);
}
