/*
 * direct_insert.c
 *		The executions of a new job without SQL, where that is provably the same.
 *
 * A fan-out adds very many rows that differ in device_id alone.  What an INSERT
 * computes for each of them is computed once: the defaults, which are the rest of
 * the row.  The heap is written by whole pages.  No trigger fires, see shape.c.
 *
 * Locks: RowExclusiveLock on the table.  The caller holds the row of the job, which
 * its own transaction inserted.
 */
#include "postgres.h"

#include "direct_insert.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "tcop/utility.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog.h"
#include "compat.h"
#include "shape.h"
#include "state.h"

struct IjInsertion
{
	Relation	rel;
	EState	   *estate;
	ResultRelInfo *result_rel;
	BulkInsertState bulk;
	TupleTableSlot *row;		/* what all rows have in common */
	AttrNumber	device_id;		/* and the column in which they differ */
	TupleTableSlot **batch;
	int			batch_size;
};

/* Any other status of a new execution is for the guard to refuse. */
static bool
is_queued(TupleTableSlot *row, AttrNumber status)
{
	const text *word;
	IjExecStatus parsed;

	if (row->tts_isnull[status - 1])
		return false;
	word = DatumGetTextPP(row->tts_values[status - 1]);
	return ij_exec_status_parse(VARDATA_ANY(word), VARSIZE_ANY_EXHDR(word), &parsed) && parsed == IJ_EXEC_QUEUED;
}

/* The defaults of the table into "row"; false if they differ from row to row. */
static bool
evaluate_defaults(IjInsertion *insertion)
{
	Relation	rel = insertion->rel;
	EState	   *estate = insertion->estate;
	TupleTableSlot *row = insertion->row;
	TupleDesc	desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Expr	   *expr;

		row->tts_values[i] = (Datum) 0;
		row->tts_isnull[i] = true;
		if (att->attisdropped)
			continue;
		if (att->attgenerated != '\0' || att->attidentity != '\0')
			return false;
		expr = (Expr *) build_column_default(rel, i + 1);
		if (expr != NULL)
		{
			if (contain_volatile_functions((Node *) expr))
				return false;
			row->tts_values[i] = ExecEvalExpr(ExecPrepareExpr(expr, estate),
											  GetPerTupleExprContext(estate), &row->tts_isnull[i]);
		}
		else if (get_typtype(att->atttypid) == TYPTYPE_DOMAIN)
			return false;		/* a null of a domain has to be checked against it */
	}
	return true;
}

static void
set_text(TupleTableSlot *row, AttrNumber column, const text *value)
{
	row->tts_values[column - 1] = PointerGetDatum(value);
	row->tts_isnull[column - 1] = false;
}

/* All of it lives in the executor state's context and goes with it. */
static IjInsertion *
make_insertion(Relation rel)
{
	EState	   *estate = CreateExecutorState();
	MemoryContext old = MemoryContextSwitchTo(estate->es_query_cxt);
	IjInsertion *insertion = palloc0(sizeof(IjInsertion));

	insertion->rel = rel;
	insertion->estate = estate;
	ij_exec_init_range_table(estate, rel, RowExclusiveLock, NULL);
	insertion->result_rel = makeNode(ResultRelInfo);
	InitResultRelInfo(insertion->result_rel, rel, 1, NULL, 0);
	ExecOpenIndices(insertion->result_rel, false);
	insertion->bulk = GetBulkInsertState();
	insertion->row = ExecInitExtraTupleSlot(estate, RelationGetDescr(rel), &TTSOpsVirtual);
	MemoryContextSwitchTo(old);
	return insertion;
}

IjInsertion *
ij_direct_insert_begin(const text *tenant_id, const text *job_id)
{
	Relation	rel = table_open(ij_catalog_executions(), RowExclusiveLock);
	const IjShape *shape = ij_shape_of_executions(rel);
	IjInsertion *insertion;
	MemoryContext old;
	bool		alike;

	if (!ij_shape_same_as_sql(rel, shape, IJ_DIRECT_INSERT, tenant_id))
	{
		table_close(rel, NoLock);
		return NULL;
	}
	PreventCommandIfReadOnly("INSERT");
	PreventCommandIfParallelMode("INSERT");

	/* one command, that sees what was committed until now, and what we did before */
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	insertion = make_insertion(rel);
	old = MemoryContextSwitchTo(insertion->estate->es_query_cxt);
	alike = evaluate_defaults(insertion) && is_queued(insertion->row, shape->columns[IJ_E_STATUS]);
	MemoryContextSwitchTo(old);
	if (!alike)
	{
		ij_direct_insert_end(insertion);
		return NULL;
	}
	insertion->device_id = shape->columns[IJ_E_DEVICE_ID];
	set_text(insertion->row, shape->columns[IJ_E_TENANT_ID], tenant_id);
	set_text(insertion->row, shape->columns[IJ_E_JOB_ID], job_id);
	return insertion;
}

/* Slots for so many rows, which live as long as the command, whatever context is current now. */
static void
make_room(IjInsertion *insertion, int count)
{
	MemoryContext old;

	if (count <= insertion->batch_size)
		return;
	old = MemoryContextSwitchTo(insertion->estate->es_query_cxt);
	if (insertion->batch == NULL)
		insertion->batch = palloc(count * sizeof(TupleTableSlot *));
	else
		insertion->batch = repalloc(insertion->batch, count * sizeof(TupleTableSlot *));
	while (insertion->batch_size < count)
		insertion->batch[insertion->batch_size++] = table_slot_create(insertion->rel, &insertion->estate->es_tupleTable);
	MemoryContextSwitchTo(old);
}

/* The heap is written by whole pages; then each row gets its index entries. */
void
ij_direct_insert_rows(IjInsertion *insertion, const Datum *device_ids, int count)
{
	EState	   *estate = insertion->estate;
	TupleTableSlot *row = insertion->row;
	TupleDesc	desc = RelationGetDescr(insertion->rel);

	make_room(insertion, count);
	for (int i = 0; i < count; i++)
	{
		TupleTableSlot *slot = insertion->batch[i];

		row->tts_values[insertion->device_id - 1] = device_ids[i];
		row->tts_isnull[insertion->device_id - 1] = false;
		ExecClearTuple(slot);
		memcpy(slot->tts_values, row->tts_values, desc->natts * sizeof(Datum));
		memcpy(slot->tts_isnull, row->tts_isnull, desc->natts * sizeof(bool));
		ExecStoreVirtualTuple(slot);
		if (desc->constr != NULL)
			ExecConstraints(insertion->result_rel, slot, estate);
		ResetPerTupleExprContext(estate);
	}
	/* a command id of now: the registry's cursor was opened after us and must not see these rows */
	table_multi_insert(insertion->rel, insertion->batch, count, GetCurrentCommandId(true), 0, insertion->bulk);
	for (int i = 0; i < count; i++)
	{
		ij_exec_insert_index_tuples(insertion->result_rel, insertion->batch[i], estate);
		ResetPerTupleExprContext(estate);
	}
}

/* End the command, and make its rows visible to the next. */
void
ij_direct_insert_end(IjInsertion *insertion)
{
	Relation	rel = insertion->rel;
	EState	   *estate = insertion->estate;

	FreeBulkInsertState(insertion->bulk);
	table_finish_bulk_insert(rel, 0);
	ExecCloseIndices(insertion->result_rel);
	ExecResetTupleTable(estate->es_tupleTable, false);
	FreeExecutorState(estate);
	PopActiveSnapshot();
	table_close(rel, NoLock);
	CommandCounterIncrement();
}
