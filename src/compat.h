/*
 * compat.h
 *		The only place that knows server versions: PostgreSQL 15 to 18.
 *
 * Each wrapper has the newest server's shape, so that an old version is dropped by
 * deleting lines here and nowhere else.
 */
#ifndef IJ_COMPAT_H
#define IJ_COMPAT_H

#include "postgres.h"

#include "access/genam.h"
#include "access/tableam.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "parser/parse_relation.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/rel.h"
#include "utils/wait_event.h"

/* 18: a module may carry its name and version */
#if PG_VERSION_NUM >= 180000
#define IJ_MODULE_MAGIC(module_name, module_version) \
	PG_MODULE_MAGIC_EXT(.name = (module_name), .version = (module_version))
#else
#define IJ_MODULE_MAGIC(module_name, module_version)	PG_MODULE_MAGIC
#endif

/* 18: the attribute stands before the declaration */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* 17: an extension may name its own wait events; before, all share one name */
#if PG_VERSION_NUM >= 170000
#define ij_wait_event_new(event_name)	WaitEventExtensionNew(event_name)
#else
#define ij_wait_event_new(event_name)	((uint32) PG_WAIT_EXTENSION)
#endif

/* 17: the local transaction id moved into a struct of PGPROC */
static inline LocalTransactionId
ij_my_local_transaction_id(void)
{
#if PG_VERSION_NUM >= 170000
	return MyProc->vxid.lxid;
#else
	return MyProc->lxid;
#endif
}

/* 17: asks for one mode, or for that and all stronger ones */
static inline bool
ij_lock_held_by_me(const LOCKTAG *tag, LOCKMODE mode)
{
#if PG_VERSION_NUM >= 170000
	return LockHeldByMe(tag, mode, false);
#else
	return LockHeldByMe(tag, mode);
#endif
}

/*
 * Was the table created, or given new storage, by this transaction, so that TRUNCATE
 * may empty it in its place?  16 renamed the fields.
 */
static inline bool
ij_has_new_storage(Relation rel)
{
#if PG_VERSION_NUM >= 160000
	return rel->rd_createSubid != InvalidSubTransactionId ||
		rel->rd_newRelfilelocatorSubid != InvalidSubTransactionId;
#else
	return rel->rd_createSubid != InvalidSubTransactionId ||
		rel->rd_newRelfilenodeSubid != InvalidSubTransactionId;
#endif
}

/* 15.4: a DROP DATABASE that was interrupted leaves this mark */
#ifndef DATCONNLIMIT_INVALID_DB
#define DATCONNLIMIT_INVALID_DB		(-2)
#endif

/* 18: an index scan can be instrumented */
static inline IndexScanDesc
ij_index_beginscan(Relation heap, Relation index, Snapshot snapshot, int nkeys, int norderbys)
{
#if PG_VERSION_NUM >= 180000
	return index_beginscan(heap, index, snapshot, NULL, nkeys, norderbys);
#else
	return index_beginscan(heap, index, snapshot, nkeys, norderbys);
#endif
}

/* 16: an argument for updates that touch summarizing indexes only */
static inline void
ij_exec_insert_index_tuples(ResultRelInfo *result_rel, TupleTableSlot *slot, EState *estate)
{
#if PG_VERSION_NUM >= 160000
	(void) ExecInsertIndexTuples(result_rel, slot, estate, false, false, NULL, NIL, false);
#else
	(void) ExecInsertIndexTuples(result_rel, slot, estate, false, false, NULL, NIL);
#endif
}

/*
 * Is there a column that is computed, or that an old row may have NULL and a new
 * version of it may not?  18: columns computed when they are read; NOT NULL ... NOT VALID.
 */
static inline bool
ij_only_executor_checks(TupleDesc desc)
{
	if (desc->constr == NULL)
		return false;
#if PG_VERSION_NUM >= 180000
	if (desc->constr->has_generated_virtual)
		return true;
	for (int i = 0; i < desc->natts; i++)
	{
		if (TupleDescCompactAttr(desc, i)->attnullability == ATTNULLABLE_INVALID)
			return true;
	}
#endif
	return desc->constr->has_generated_stored;
}

/* 16: which indexes need an entry, where it was whether any does */
static inline TM_Result
ij_table_tuple_update(Relation rel, ItemPointer tid, TupleTableSlot *slot, CommandId cid, Snapshot snapshot,
					  bool wait, TM_FailureData *failure, bool *needs_entries)
{
	LockTupleMode lockmode;
#if PG_VERSION_NUM >= 160000
	TU_UpdateIndexes update_indexes;
	TM_Result	result = table_tuple_update(rel, tid, slot, cid, snapshot, InvalidSnapshot, wait,
											failure, &lockmode, &update_indexes);

	*needs_entries = (update_indexes != TU_None);
	return result;
#else
	return table_tuple_update(rel, tid, slot, cid, snapshot, InvalidSnapshot, wait,
							  failure, &lockmode, needs_entries);
#endif
}

/* 16: one function for the owner of anything */
static inline bool
ij_owns_relation(Oid role, Oid relation)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(RelationRelationId, relation, role);
#else
	return pg_class_ownercheck(relation, role);
#endif
}

/* 18: whether a deferrable primary key counts; ours is never one */
static inline Oid
ij_relation_get_primary_key_index(Relation rel)
{
#if PG_VERSION_NUM >= 180000
	return RelationGetPrimaryKeyIndex(rel, false);
#else
	return RelationGetPrimaryKeyIndex(rel);
#endif
}

/*
 * A range table of one relation, to insert.  16: with a permission info, which the error
 * of a constraint looks for; 18 wants to know which relations are not pruned.
 */
static inline void
ij_exec_init_range_table(EState *estate, Relation rel, LOCKMODE lockmode)
{
	RangeTblEntry *entry = makeNode(RangeTblEntry);

	entry->rtekind = RTE_RELATION;
	entry->relid = RelationGetRelid(rel);
	entry->relkind = rel->rd_rel->relkind;
	entry->rellockmode = lockmode;
#if PG_VERSION_NUM >= 160000
	{
		List	   *permissions = NIL;

		(void) addRTEPermissionInfo(&permissions, entry);
#if PG_VERSION_NUM >= 180000
		ExecInitRangeTable(estate, list_make1(entry), permissions, bms_make_singleton(1));
#else
		ExecInitRangeTable(estate, list_make1(entry), permissions);
#endif
	}
#else
	ExecInitRangeTable(estate, list_make1(entry));
#endif
}

#endif							/* IJ_COMPAT_H */
