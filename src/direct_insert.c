/*
 * direct_insert.c
 *		The executions of a new job without SQL, where that is provably the same.
 *
 * A fan-out adds very many rows that differ in device_id alone.  So what an INSERT
 * does for each of them is done once, unless it depends on the device: the defaults,
 * which are the rest of the row, the constraints, the predicates of indexes.  No
 * trigger fires, see shape.c.
 *
 * Of what is left nine tenths are index entries.  They are added index by index for a
 * batch of rows, not row by row: each entry finds the pages of the one before it
 * still in the processor's cache, which saves a tenth.  To leave out the search for
 * duplicates, whose answer is known, was measured to save nothing.
 *
 * Locks: RowExclusiveLock on the table.  The caller holds the row of the job, which
 * its own transaction inserted.
 */
#include "postgres.h"

#include "direct_insert.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/sysattr.h"
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
#include "counters.h"
#include "fault.h"
#include "shape.h"
#include "state.h"
#include "tell.h"

struct IjInsertion
{
	const text *tenant_id;
	const text *job_id;
	Relation	rel;
	const IjCountedTable *counted;
	EState	   *estate;
	ResultRelInfo *result_rel;
	BulkInsertState bulk;
	TupleTableSlot *row;		/* what all rows have in common */
	AttrNumber	device_id;		/* and the column in which they differ */
	bool		check_next;		/* the next row has to be checked against the constraints */
	bool		check_each;		/* and so has each after it */
	bool		index_each;		/* the indexes have to look at each row */
	bool	   *indexed;		/* if not: which index has entries for the rows */
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

/* What was updated before it was queued is for the guard to mend. */
static bool
is_in_order(TupleTableSlot *row, AttrNumber queued_at, AttrNumber updated_at)
{
	return !row->tts_isnull[queued_at - 1] && !row->tts_isnull[updated_at - 1] &&
		DatumGetTimestampTz(row->tts_values[queued_at - 1]) <= DatumGetTimestampTz(row->tts_values[updated_at - 1]);
}

/* These have a value, so nobody asks for their default. */
static bool
is_given(const IjShape *shape, AttrNumber column)
{
	return column == shape->columns[IJ_E_TENANT_ID] || column == shape->columns[IJ_E_JOB_ID] ||
		column == shape->columns[IJ_E_DEVICE_ID];
}

/* The defaults of the table into "row"; false if they differ from row to row. */
static bool
evaluate_defaults(IjInsertion *insertion, const IjShape *shape)
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
		if (att->attisdropped || is_given(shape, i + 1))
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

/* Is this the same for rows that differ in device_id? */
static bool
is_same_for_all(const IjInsertion *insertion, Node *expr)
{
	Bitmapset  *columns = NULL;

	if (contain_volatile_functions(expr))
		return false;
	pull_varattnos(expr, 1, &columns);
	return !bms_is_member(insertion->device_id - FirstLowInvalidHeapAttributeNumber, columns) &&
		!bms_is_member(InvalidAttrNumber - FirstLowInvalidHeapAttributeNumber, columns);	/* the whole row */
}

static bool
constraints_look_at_each(const IjInsertion *insertion)
{
	const TupleConstr *constr = RelationGetDescr(insertion->rel)->constr;

	for (int i = 0; i < constr->num_check; i++)
	{
		if (!is_same_for_all(insertion, stringToNode(constr->check[i].ccbin)))
			return true;
	}
	return false;
}

static bool
index_looks_at_each(const IjInsertion *insertion, const IndexInfo *info)
{
	return info->ii_Expressions != NIL || info->ii_ExclusionOps != NULL ||
		!is_same_for_all(insertion, (Node *) info->ii_Predicate);
}

/* Find out what has to be done for each row, and what those have in common for which it has not. */
static void
inspect_table(IjInsertion *insertion)
{
	EState	   *estate = insertion->estate;
	ResultRelInfo *result_rel = insertion->result_rel;

	insertion->check_next = RelationGetDescr(insertion->rel)->constr != NULL;
	insertion->check_each = insertion->check_next && constraints_look_at_each(insertion);
	insertion->indexed = palloc0(Max(result_rel->ri_NumIndices, 1) * sizeof(bool));
	GetPerTupleExprContext(estate)->ecxt_scantuple = insertion->row;
	for (int i = 0; i < result_rel->ri_NumIndices && !insertion->index_each; i++)
	{
		IndexInfo  *info = result_rel->ri_IndexRelationInfo[i];

		insertion->index_each = index_looks_at_each(insertion, info);
		insertion->indexed[i] = !insertion->index_each && info->ii_ReadyForInserts &&
			ExecQual(ExecPrepareQual(info->ii_Predicate, estate), GetPerTupleExprContext(estate));
	}
}

static void
set_text(TupleTableSlot *row, AttrNumber column, const text *value)
{
	row->tts_values[column - 1] = PointerGetDatum(value);
	row->tts_isnull[column - 1] = (value == NULL);
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
	ij_exec_init_range_table(estate, rel, RowExclusiveLock);
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
	insertion->device_id = shape->columns[IJ_E_DEVICE_ID];
	alike = evaluate_defaults(insertion, shape) && is_queued(insertion->row, shape->columns[IJ_E_STATUS]) &&
		is_in_order(insertion->row, shape->columns[IJ_E_QUEUED_AT], shape->columns[IJ_E_LAST_UPDATED_AT]);
	if (alike)
	{
		set_text(insertion->row, shape->columns[IJ_E_TENANT_ID], tenant_id);
		set_text(insertion->row, shape->columns[IJ_E_JOB_ID], job_id);
		set_text(insertion->row, insertion->device_id, NULL);
		ExecStoreVirtualTuple(insertion->row);
		inspect_table(insertion);
	}
	MemoryContextSwitchTo(old);
	if (!alike)
	{
		ij_direct_insert_end(insertion);
		return NULL;
	}
	insertion->tenant_id = tenant_id;
	insertion->job_id = job_id;
	insertion->counted = ij_shape_counted(rel, shape);
	ij_counters_created(insertion->counted, tenant_id, job_id);
	ij_tell_added(tenant_id, DatumGetTimestampTz(insertion->row->tts_values[shape->columns[IJ_E_QUEUED_AT] - 1]));
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

/* The row of one device, checked, into a slot of the batch. */
static void
fill_slot(IjInsertion *insertion, TupleTableSlot *slot, Datum device_id)
{
	TupleTableSlot *row = insertion->row;
	int			natts = RelationGetDescr(insertion->rel)->natts;

	ExecClearTuple(slot);
	memcpy(slot->tts_values, row->tts_values, natts * sizeof(Datum));
	memcpy(slot->tts_isnull, row->tts_isnull, natts * sizeof(bool));
	slot->tts_values[insertion->device_id - 1] = device_id;
	slot->tts_isnull[insertion->device_id - 1] = false;
	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = RelationGetRelid(insertion->rel);
	if (insertion->check_next)
	{
		ExecConstraints(insertion->result_rel, slot, insertion->estate);
		insertion->check_next = insertion->check_each;
		ResetPerTupleExprContext(insertion->estate);
	}
}

/* The entries of a batch in one index, which has no need to look at the rows. */
static void
add_entries(IjInsertion *insertion, int number, const Datum *device_ids, int count)
{
	const TupleTableSlot *row = insertion->row;
	Relation	index = insertion->result_rel->ri_IndexRelationDescs[number];
	IndexInfo  *info = insertion->result_rel->ri_IndexRelationInfo[number];
	IndexUniqueCheck check = index->rd_index->indisunique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO;
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];

	for (int i = 0; i < count; i++)
	{
		for (int k = 0; k < info->ii_NumIndexAttrs; k++)
		{
			AttrNumber	column = info->ii_IndexAttrNumbers[k];

			values[k] = column == insertion->device_id ? device_ids[i] : row->tts_values[column - 1];
			isnull[k] = column == insertion->device_id ? false : row->tts_isnull[column - 1];
		}
		(void) index_insert(index, values, isnull, &insertion->batch[i]->tts_tid, insertion->rel,
							check, false, info);
	}
}

static void
index_batch(IjInsertion *insertion, const Datum *device_ids, int count)
{
	EState	   *estate = insertion->estate;
	MemoryContext old = MemoryContextSwitchTo(GetPerTupleMemoryContext(estate));

	for (int i = 0; i < insertion->result_rel->ri_NumIndices; i++)
	{
		if (insertion->indexed[i])
			add_entries(insertion, i, device_ids, count);
		ResetPerTupleExprContext(estate);
	}
	MemoryContextSwitchTo(old);
}

static void
index_each_row(IjInsertion *insertion, int count)
{
	for (int i = 0; i < count; i++)
	{
		ij_exec_insert_index_tuples(insertion->result_rel, insertion->batch[i], insertion->estate);
		ResetPerTupleExprContext(insertion->estate);
	}
}

void
ij_direct_insert_rows(IjInsertion *insertion, const Datum *device_ids, int count)
{
	ij_counters_moved(insertion->counted, insertion->tenant_id, insertion->job_id,
					  IJ_NO_EXECUTION, IJ_EXEC_QUEUED, count);
	make_room(insertion, count);
	for (int i = 0; i < count; i++)
		fill_slot(insertion, insertion->batch[i], device_ids[i]);

	/* a command id of now: the registry's cursor was opened after us and must not see these rows */
	table_multi_insert(insertion->rel, insertion->batch, count, GetCurrentCommandId(true), 0, insertion->bulk);
	IJ_FAULT(rows_inserted);
	if (insertion->index_each)
		index_each_row(insertion, count);
	else
		index_batch(insertion, device_ids, count);
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
