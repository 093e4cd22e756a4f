/*
 * shape.c
 *		What the two tables look like, and whether SQL would do nothing else to them
 *		than direct access does.
 *
 * It is the same for an ordinary heap table with the columns and keys of the
 * migration, no rule, no child, when the current user has the privileges on the
 * whole table and either no row security applies to that user or just the
 * policies that policy.c knows, with the tenant of the call.
 *
 * To change rows, the table must be guarded, so that direct access knows what else
 * there is to do, and have no other trigger for the event, no constraint of its
 * owner's on what is changed, no computed column and no index but plain B-trees: then
 * a change is a new version of the row and its index entries, and nothing else.
 *
 * What is known of a table's shape is kept until the relation cache says that it
 * changed; the callback only clears a flag.  What depends on the user, a setting or
 * the snapshot is asked each time.
 */
#include "postgres.h"

#include "shape.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_operator_d.h"
#include "catalog/pg_opfamily_d.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "catalog.h"
#include "compat.h"
#include "iot_jobs.h"
#include "xids.h"

typedef struct Column
{
	const char *name;
	Oid			type;
} Column;

static const Column execution_columns[IJ_E_COLUMNS] = {
	[IJ_E_JOB_ID] = {"job_id", TEXTOID},
	[IJ_E_TENANT_ID] = {"tenant_id", TEXTOID},
	[IJ_E_DEVICE_ID] = {"device_id", TEXTOID},
	[IJ_E_STATUS] = {"status", TEXTOID},
	[IJ_E_STATUS_DETAILS] = {"status_details", JSONBOID},
	[IJ_E_EXECUTION_NUMBER] = {"execution_number", INT8OID},
	[IJ_E_QUEUED_AT] = {"queued_at", TIMESTAMPTZOID},
	[IJ_E_STARTED_AT] = {"started_at", TIMESTAMPTZOID},
	[IJ_E_LAST_UPDATED_AT] = {"last_updated_at", TIMESTAMPTZOID},
};

static const Column job_columns[IJ_J_COLUMNS] = {
	[IJ_J_JOB_ID] = {"job_id", TEXTOID},
	[IJ_J_TENANT_ID] = {"tenant_id", TEXTOID},
	[IJ_J_DOCUMENT_TYPE] = {"document_type", TEXTOID},
	[IJ_J_DOCUMENT_PARAMS] = {"document_params", JSONBOID},
	[IJ_J_TARGET_DEVICE_ID] = {"target_device_id", TEXTOID},
	[IJ_J_TARGET_GROUP_ID] = {"target_group_id", TEXTOID},
	[IJ_J_TARGET_ALL] = {"target_all", BOOLOID},
	[IJ_J_STATUS] = {"status", TEXTOID},
	[IJ_J_EXPIRES_AT] = {"expires_at", TIMESTAMPTZOID},
	[IJ_J_CREATED_BY] = {"created_by", TEXTOID},
	[IJ_J_CREATED_AT] = {"created_at", TIMESTAMPTZOID},
	[IJ_J_UPDATED_AT] = {"updated_at", TIMESTAMPTZOID},
};

/* which of them an update changes; of a job, its completion */
static const int changed_in_executions[] = {
	IJ_E_STATUS, IJ_E_STATUS_DETAILS, IJ_E_EXECUTION_NUMBER, IJ_E_STARTED_AT, IJ_E_LAST_UPDATED_AT};
static const int changed_in_jobs[] = {IJ_J_STATUS, IJ_J_UPDATED_AT};

static IjShape executions_shape;
static IjShape jobs_shape;

/* how often the callback was called: each call may concern what is being looked at */
static uint64 changes = 0;

static void
shape_changed(Datum arg, Oid relation)
{
	changes++;
	if (relation == InvalidOid || relation == executions_shape.relation)
		executions_shape.valid = false;
	if (relation == InvalidOid || relation == jobs_shape.relation)
		jobs_shape.valid = false;
}

static bool
find_columns(Relation rel, const Column *columns, int count, AttrNumber *numbers)
{
	TupleDesc	desc = RelationGetDescr(rel);

	for (int i = 0; i < count; i++)
	{
		int			number = SPI_fnumber(desc, columns[i].name);

		if (number <= 0 || SPI_gettypeid(desc, number) != columns[i].type ||
			TupleDescAttr(desc, number - 1)->attgenerated != '\0')
			return false;
		numbers[i] = number;
	}
	return true;
}

/* is this a usable B-tree whose first keys are these text columns, equal when their bytes are? */
static bool
index_starts_with(Relation rel, Relation index, const AttrNumber *columns, int count)
{
	if (index->rd_rel->relam != BTREE_AM_OID || !index->rd_index->indisvalid || !index->rd_index->indisready ||
		!index->rd_index->indislive || index->rd_index->indnkeyatts < count)
		return false;
	for (int i = 0; i < count; i++)
	{
		if (index->rd_index->indkey.values[i] != columns[i] ||
			index->rd_opfamily[i] != TEXT_BTREE_FAM_OID || (index->rd_indoption[i] & INDOPTION_DESC) != 0 ||
			index->rd_indcollation[i] != TupleDescAttr(RelationGetDescr(rel), columns[i] - 1)->attcollation ||
			!get_collation_isdeterministic(index->rd_indcollation[i]))
			return false;
	}
	return true;
}

static AttrNumber
status_column(const IjShape *shape)
{
	return shape->columns[shape == &jobs_shape ? IJ_J_STATUS : IJ_E_STATUS];
}

/* the bit of a status of this table; 0: it has none of this name */
static int
status_bit(const IjShape *shape, Datum word)
{
	IjJobStatus job;
	IjExecStatus execution;

	if (shape == &jobs_shape)
		return ij_job_status_parse(VARDATA_ANY(word), VARSIZE_ANY_EXHDR(word), &job) ? IJ_STATUS_BIT(job) : 0;
	return ij_exec_status_parse(VARDATA_ANY(word), VARSIZE_ANY_EXHDR(word), &execution) ? IJ_STATUS_BIT(execution) : 0;
}

/* status = ANY ('{...}'): the set of those statuses; 0 for anything else */
static int
statuses_of(const IjShape *shape, const Node *condition)
{
	const ScalarArrayOpExpr *any = (const ScalarArrayOpExpr *) condition;
	const Const *array;
	Datum	   *words;
	bool	   *nulls;
	int			count;
	int			result = 0;

	if (!IsA(condition, ScalarArrayOpExpr) || any->opno != TextEqualOperator || !any->useOr ||
		!IsA(linitial(any->args), Var) || ((const Var *) linitial(any->args))->varattno != status_column(shape) ||
		!IsA(lsecond(any->args), Const))
		return 0;
	array = lsecond(any->args);
	if (array->constisnull || array->consttype != TEXTARRAYOID)
		return 0;
	deconstruct_array(DatumGetArrayTypeP(array->constvalue), TEXTOID, -1, false, TYPALIGN_INT, &words, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		if (!nulls[i])
			result |= status_bit(shape, words[i]);
	}
	return result;
}

/* what the migration's device index holds */
static bool
is_open_predicate(List *predicate)
{
	return list_length(predicate) == 1 && statuses_of(&executions_shape, linitial(predicate)) == IJ_OPEN_STATUSES;
}

/* does it hold only jobs IN_PROGRESS, as the migration's index on expires_at? */
static bool
is_in_progress_predicate(List *predicate)
{
	ListCell   *cell;

	foreach(cell, predicate)
	{
		const OpExpr *op = lfirst(cell);
		const Const *word;

		if (!IsA(op, OpExpr) || op->opno != TextEqualOperator || !IsA(linitial(op->args), Var) ||
			((const Var *) linitial(op->args))->varattno != status_column(&jobs_shape) ||
			!IsA(lsecond(op->args), Const))
			continue;
		word = lsecond(op->args);
		if (!word->constisnull && status_bit(&jobs_shape, word->constvalue) == IJ_STATUS_BIT(IJ_JOB_IN_PROGRESS))
			return true;
	}
	return false;
}

/* An index that was built while the table was in use may lack what older snapshots see. */
static void
note_youth(IjShape *shape, Relation index)
{
	TransactionId built = HeapTupleHeaderGetXmin(index->rd_indextuple->t_data);

	if (index->rd_index->indcheckxmin &&
		(!TransactionIdIsValid(shape->young) || TransactionIdFollows(built, shape->young)))
		shape->young = built;
}

/* is the third key queued_at, ascending? */
static bool
goes_by_age(Relation index, const AttrNumber *columns)
{
	return index->rd_index->indnkeyatts >= 3 && index->rd_index->indkey.values[2] == columns[IJ_E_QUEUED_AT] &&
		index->rd_opfamily[2] == lookup_type_cache(TIMESTAMPTZOID, TYPECACHE_BTREE_OPFAMILY)->btree_opf && (index->rd_indoption[2] & INDOPTION_DESC) == 0;
}

/*
 * An index that leads to all open executions of a device: best one that holds no
 * others, then one that has them in order of age.
 */
static void
find_device_index(Relation rel, IjShape *shape)
{
	AttrNumber	keys[] = {shape->columns[IJ_E_TENANT_ID], shape->columns[IJ_E_DEVICE_ID]};
	List	   *indexes = RelationGetIndexList(rel);
	int			best = 0;
	ListCell   *cell;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);
		List	   *predicate = RelationGetIndexPredicate(index);
		int			merit = 0;

		if (index_starts_with(rel, index, keys, lengthof(keys)))
		{
			if (predicate == NIL)
				merit = goes_by_age(index, shape->columns) ? 2 : 1;
			else if (is_open_predicate(predicate))
				merit = 3;
		}
		if (merit > best)
		{
			best = merit;
			shape->by_device = RelationGetRelid(index);
			shape->device_order = (merit == 2);
		}
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	if (OidIsValid(shape->by_device))
	{
		Relation	index = index_open(shape->by_device, AccessShareLock);

		note_youth(shape, index);
		index_close(index, AccessShareLock);
	}
}

static bool
is_plain_table(Relation rel)
{
	return rel->rd_rel->relkind == RELKIND_RELATION && rel->rd_tableam == GetHeapamTableAmRoutine() &&
		!rel->rd_rel->relispartition && !rel->rd_rel->relhassubclass && rel->rd_rules == NULL;
}

/*
 * What the life of a table hangs on: its storage, and that its guard was never off.
 * The row of a trigger has a new version after each time it was disabled.
 */
static uint64
life_of(Relation rel, TransactionId *guarded)
{
	Relation	triggers = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	uint64		life = 0;

	*guarded = InvalidTransactionId;
	ScanKeyInit(&keys[0], Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(RelationGetRelid(rel)));
	ScanKeyInit(&keys[1], Anum_pg_trigger_tgname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum("iot_jobs_guard"));
	scan = systable_beginscan(triggers, TriggerRelidNameIndexId, true, NULL, 2, keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_trigger guard = (Form_pg_trigger) GETSTRUCT(tuple);

		if (guard->tgenabled == TRIGGER_FIRES_ON_ORIGIN || guard->tgenabled == TRIGGER_FIRES_ALWAYS)
			life = hash_combine64(((uint64) rel->rd_rel->relfilenode << 32) | guard->oid,
								  HeapTupleHeaderGetRawXmin(tuple->t_data));
		if (!HeapTupleHeaderXminFrozen(tuple->t_data))
			*guarded = HeapTupleHeaderGetRawXmin(tuple->t_data);
	}
	systable_endscan(scan);
	table_close(triggers, AccessShareLock);
	return life;
}

/*
 * The transaction that gave the table its storage, or a later one that changed its
 * row in pg_class.
 */
static TransactionId
stored_since(Relation rel)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(RelationGetRelid(rel)));
	TransactionId xid = InvalidTransactionId;

	if (HeapTupleIsValid(tuple))
	{
		if (!HeapTupleHeaderXminFrozen(tuple->t_data))
			xid = HeapTupleHeaderGetRawXmin(tuple->t_data);
		ReleaseSysCache(tuple);
	}
	return xid;
}

/* 64 bits wide; 0: all snapshots see it */
static uint64
seen_after(TransactionId xid)
{
	return TransactionIdIsNormal(xid) ? ij_widen_xid(xid, ij_next_xid()) : 0;
}

static void
look_at_life(Relation rel, IjShape *shape)
{
	IjCountedTable *counted = &shape->counted;

	counted->relation = RelationGetRelid(rel);
	counted->life = life_of(rel, &shape->guarded);
	counted->began = Max(seen_after(shape->guarded), seen_after(stored_since(rel)));
}

/*
 * To look at a trigger we read the catalogs, which may have the relation's own copy freed
 * and made anew.
 */
static TriggerDesc *
copy_of_triggers(Relation rel)
{
	return CopyTriggerDesc(rel->trigdesc);
}

static bool
is_ours(const Trigger *trigger, const char *name, const char *function)
{
	return strcmp(trigger->tgname, name) == 0 &&
		get_func_namespace(trigger->tgfoid) == get_rel_namespace(ij_catalog_jobs()) &&
		strcmp(get_func_name(trigger->tgfoid), function) == 0;
}

/* the guard of executions */
static bool
is_guard(const Trigger *trigger)
{
	return is_ours(trigger, "iot_jobs_guard", "iot_jobs_guard_execution");
}

/* the check of the foreign key (tenant_id, job_id) to jobs */
static bool
is_key_to_job(Relation rel, const Trigger *trigger)
{
	const AttrNumber *columns = executions_shape.columns;
	ListCell   *cell;

	if (RI_FKey_trigger_type(trigger->tgfoid) != RI_TRIGGER_FK || trigger->tgconstrrelid != ij_catalog_jobs())
		return false;
	foreach(cell, RelationGetFKeyList(rel))
	{
		const ForeignKeyCacheInfo *fkey = lfirst(cell);

		if (fkey->conoid == trigger->tgconstraint)
			return fkey->nkeys == 2 &&
				fkey->conkey[0] == columns[IJ_E_TENANT_ID] && fkey->conkey[1] == columns[IJ_E_JOB_ID] &&
				strcmp(get_attname(fkey->confrelid, fkey->confkey[0], false), "tenant_id") == 0;
	}
	return false;
}

/*
 * A BEFORE trigger of the operator may suppress the row, or change it in turn.  They fire
 * in the order of their names.
 */
static void
look_at_before_triggers(Relation rel, IjShape *shape)
{
	int16		any_change = TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE;
	TriggerDesc *desc = copy_of_triggers(rel);

	shape->altered = shape->altered_later = false;
	for (int i = 0; desc != NULL && i < desc->numtriggers; i++)
	{
		const Trigger *trigger = &desc->triggers[i];

		if (!TRIGGER_FOR_BEFORE(trigger->tgtype) || (trigger->tgtype & any_change) == 0 ||
			trigger->tgenabled == TRIGGER_DISABLED || is_guard(trigger))
			continue;
		shape->altered = true;
		if (TRIGGER_FOR_ROW(trigger->tgtype) && TRIGGER_FOR_INSERT(trigger->tgtype) &&
			strcmp(trigger->tgname, "iot_jobs_guard") > 0)
			shape->altered_later = true;
	}
	FreeTriggerDesc(desc);
}

/* ------------------------------------------------------------------------
 * Is a change of a row no more than its new version and the index entries of that?
 * ------------------------------------------------------------------------
 */

static bool
fires_always(const Trigger *trigger)
{
	return trigger->tgqual == NULL && trigger->tgnattr == 0 &&
		(trigger->tgenabled == TRIGGER_FIRES_ON_ORIGIN || trigger->tgenabled == TRIGGER_FIRES_ALWAYS);
}

/*
 * column IN (words), as the planner would see it.  Nothing else is folded: that may run
 * functions, and be refused.
 */
static Node *
folded_list(Node *condition)
{
	return IsA(condition, ScalarArrayOpExpr) ? eval_const_expressions(NULL, condition) : condition;
}

static bool
is_changed_column(const IjShape *shape, AttrNumber column)
{
	bool		jobs = (shape == &jobs_shape);
	const int  *changed = jobs ? changed_in_jobs : changed_in_executions;
	int			count = jobs ? lengthof(changed_in_jobs) : lengthof(changed_in_executions);

	for (int i = 0; i < count; i++)
	{
		if (shape->columns[changed[i]] == column)
			return true;
	}
	return false;
}

/* Does this condition, or key, depend on a column that changes? */
static bool
is_about_changes(const IjShape *shape, Node *condition)
{
	Bitmapset  *used = NULL;
	int			column = -1;

	pull_varattnos(condition, 1, &used);
	while ((column = bms_next_member(used, column)) >= 0)
	{
		AttrNumber	number = column + FirstLowInvalidHeapAttributeNumber;

		/* the whole row has the number 0 */
		if (number <= 0 || is_changed_column(shape, number))
			return true;
	}
	return false;
}

/* Is this a foreign key, to this table or of it, whose columns stay? */
static bool
asks_nothing(Relation rel, const IjShape *shape, const Trigger *trigger)
{
	ListCell   *cell;

	switch (RI_FKey_trigger_type(trigger->tgfoid))
	{
		case RI_TRIGGER_PK:
			/* what is referred to is unique, and no unique key changes: note_index() */
			return true;
		case RI_TRIGGER_FK:
			break;
		default:
			return false;
	}
	if (trigger->tgdeferrable)
		return false;
	foreach(cell, RelationGetFKeyList(rel))
	{
		const ForeignKeyCacheInfo *fkey = lfirst(cell);

		if (fkey->conoid != trigger->tgconstraint)
			continue;
		for (int i = 0; i < fkey->nkeys; i++)
		{
			if (is_changed_column(shape, fkey->conkey[i]))
				return false;
		}
		return true;
	}
	return false;
}

/*
 * A foreign key asks nothing while the columns of the key stay; a deferred one would for
 * a row that this transaction inserted.
 */
static bool
has_no_effect(Relation rel, const IjShape *shape, const Trigger *trigger)
{
	if (shape == &executions_shape)
		return is_key_to_job(rel, trigger) && !trigger->tgdeferrable;
	/* the cascade has to do with jobs that are CANCELED */
	return is_ours(trigger, "iot_jobs_cascade_cancel", "iot_jobs_cascade_cancel") ||
		asks_nothing(rel, shape, trigger);
}

/*
 * Does this event fire the guard, whose part direct access does itself, and nothing
 * else that has an effect?
 */
static bool
fires_only_guard(Relation rel, const IjShape *shape, int16 event)
{
	TriggerDesc *desc = copy_of_triggers(rel);
	const char *guard = (shape == &jobs_shape) ? "iot_jobs_guard_job" : "iot_jobs_guard_execution";
	bool		guarded = false;

	for (int i = 0; desc != NULL && i < desc->numtriggers; i++)
	{
		const Trigger *trigger = &desc->triggers[i];

		if ((trigger->tgtype & event) == 0 || trigger->tgenabled == TRIGGER_DISABLED)
			continue;
		if (is_ours(trigger, "iot_jobs_guard", guard) && fires_always(trigger))
			guarded = true;
		else if (!has_no_effect(rel, shape, trigger))
		{
			guarded = false;
			break;
		}
	}
	FreeTriggerDesc(desc);
	return guarded;
}

/*
 * No constraint that a change might break, and no column that is computed?  A list of
 * the statuses that it may come to is none; of jobs, nor is what does not change.
 */
static bool
allows_changes(Relation rel, const IjShape *shape)
{
	const TupleConstr *constr = RelationGetDescr(rel)->constr;
	int			wanted = (shape == &jobs_shape) ? IJ_STATUS_BIT(IJ_JOB_COMPLETED) : IJ_ALL_STATUSES;

	for (int i = 0; constr != NULL && i < constr->num_check; i++)
	{
		Node	   *check = stringToNode(constr->check[i].ccbin);

		/* an old row may break what is NOT VALID, or was true once, and may have no new version then */
		if (!constr->check[i].ccvalid)
			return false;
		if ((statuses_of(shape, folded_list(check)) & wanted) == wanted)
			continue;
		if (shape == &executions_shape || contain_mutable_functions(check) || is_about_changes(shape, check))
			return false;
	}
	return !ij_only_executor_checks(RelationGetDescr(rel));
}

static bool
holds_only_open(const IjShape *shape, List *predicate)
{
	if (shape == &jobs_shape)
		return is_in_progress_predicate(predicate);
	return is_open_predicate(predicate);
}

/*
 * What a new version of a row needs in this index; false if only the executor knows.
 * A key that stays is unique as it was.
 */
static bool
note_index(IjShape *shape, Relation index)
{
	IjShapeIndex *noted = &shape->indexes[shape->nindexes];
	List	   *predicate = RelationGetIndexPredicate(index);
	bool		only_open = holds_only_open(shape, predicate);

	if (!index->rd_index->indisready)
		return true;
	/* while a unique index is built, new versions of old rows are what finds the duplicates */
	if (index->rd_rel->relam != BTREE_AM_OID || index->rd_index->indisexclusion ||
		(index->rd_index->indisunique && !index->rd_index->indisvalid) ||
		shape->nindexes == IJ_SHAPE_INDEXES || RelationGetIndexExpressions(index) != NIL ||
		(predicate != NIL && !only_open))
		return false;
	noted->index = RelationGetRelid(index);
	noted->only_open = only_open;
	noted->same_entry = true;
	for (int i = 0; i < index->rd_index->indnatts; i++)
	{
		if (is_changed_column(shape, index->rd_index->indkey.values[i]))
			noted->same_entry = false;
	}
	shape->nindexes++;
	return noted->same_entry || !index->rd_index->indisunique;
}

static bool
note_indexes(Relation rel, IjShape *shape)
{
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *cell;
	bool		result = true;

	shape->nindexes = 0;
	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		result = result && note_index(shape, index);
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return result;
}

static void
look_at_changes(Relation rel, IjShape *shape)
{
	shape->plain_update = fires_only_guard(rel, shape, TRIGGER_TYPE_UPDATE) && allows_changes(rel, shape) &&
		note_indexes(rel, shape);
	/* with a job go its executions */
	shape->plain_delete = (shape == &executions_shape) && fires_only_guard(rel, shape, TRIGGER_TYPE_DELETE);
}

/* What direct access asks of an ordinary table with these columns. */
static void
look_at_table(Relation rel, IjShape *shape, const int *key, int key_count)
{
	AttrNumber	key_columns[3];

	for (int i = 0; i < key_count; i++)
		key_columns[i] = shape->columns[key[i]];
	shape->primary_key = ij_relation_get_primary_key_index(rel);
	if (OidIsValid(shape->primary_key))
	{
		Relation	index = index_open(shape->primary_key, AccessShareLock);

		shape->usable = index_starts_with(rel, index, key_columns, key_count);
		note_youth(shape, index);
		index_close(index, AccessShareLock);
	}
	shape->policies = ij_policies_find(rel);
	if (shape == &executions_shape)
		find_device_index(rel, shape);
	look_at_changes(rel, shape);
}

static const IjShape *
shape_of(Relation rel, IjShape *shape, const Column *columns, int count, const int *key, int key_count)
{
	static bool registered = false;
	uint64		before = changes;

	if (shape->valid && shape->relation == RelationGetRelid(rel))
		return shape;
	if (!registered)
	{
		CacheRegisterRelcacheCallback(shape_changed, (Datum) 0);
		registered = true;
	}

	shape->relation = RelationGetRelid(rel);
	shape->valid = false;
	shape->usable = false;
	if (shape == &executions_shape)
	{
		look_at_life(rel, shape);
		look_at_before_triggers(rel, shape);
	}
	shape->by_device = InvalidOid;
	shape->device_order = false;
	shape->young = InvalidTransactionId;
	if (is_plain_table(rel) && find_columns(rel, columns, count, shape->columns))
		look_at_table(rel, shape, key, key_count);
	/* unless it changed while we looked */
	shape->valid = (changes == before);
	return shape;
}

const IjShape *
ij_shape_of_executions(Relation rel)
{
	static const int key[] = {IJ_E_TENANT_ID, IJ_E_JOB_ID, IJ_E_DEVICE_ID};

	return shape_of(rel, &executions_shape, execution_columns, IJ_E_COLUMNS, key, lengthof(key));
}

const IjShape *
ij_shape_of_jobs(Relation rel)
{
	static const int key[] = {IJ_J_TENANT_ID, IJ_J_JOB_ID};

	return shape_of(rel, &jobs_shape, job_columns, IJ_J_COLUMNS, key, lengthof(key));
}

/*
 * TRUNCATE may empty storage that this transaction made in its place, and what it did
 * to the guard it may do once more: nothing shows that.
 */
const IjCountedTable *
ij_shape_counted(Relation rel, const IjShape *shape)
{
	if (shape->counted.life == 0 || ij_has_new_storage(rel) ||
		TransactionIdIsCurrentTransactionId(shape->guarded))
		return NULL;
	return &shape->counted;
}

/* ------------------------------------------------------------------------
 * Is it the same as SQL?
 * ------------------------------------------------------------------------
 */

/* Would row security let this user see, and write, just the rows of this tenant? */
static bool
policy_allows(Relation rel, const IjShape *shape, const text *tenant_id)
{
	if (check_enable_rls(RelationGetRelid(rel), InvalidOid, true) != RLS_ENABLED)
		return true;
	return row_security && ij_policies_allow(&shape->policies, tenant_id);
}

/* Do the indexes lead to every row that this transaction may see?  The planner asks the same. */
static bool
is_of_age(const IjShape *shape)
{
	return !TransactionIdIsValid(shape->young) || TransactionIdPrecedes(shape->young, TransactionXmin);
}

/*
 * The tables of a distributed engine are elsewhere; and what checks or audits
 * permissions must see the statements.
 */
static bool
is_watched(void)
{
	return ExecutorCheckPerms_hook != NULL ||
		OidIsValid(get_relname_relid("pg_dist_partition", PG_CATALOG_NAMESPACE));
}

/*
 * The foreign key asks for a row that this transaction inserted at the end of the
 * statement, and relies on every change until then to have asked for itself.  Where the
 * guard has seen the job, and holds it, that is of no interest.  Kept is the
 * subtransaction that inserted such a row last: if it is taken back, so is the row.
 */
static TransactionId left_to_key = InvalidTransactionId;

void
ij_shape_leave_to_key(void)
{
	left_to_key = GetCurrentTransactionId();
}

static bool
is_left_to_key(void)
{
	return TransactionIdIsValid(left_to_key) && TransactionIdIsCurrentTransactionId(left_to_key);
}

static bool
may(Relation rel, AclMode wanted)
{
	return pg_class_aclmask(RelationGetRelid(rel), GetUserId(), wanted, ACLMASK_ALL) == wanted;
}

/* Triggers that direct access does not fire. */
static bool
has_other_triggers(Relation rel, const IjShape *shape, IjDirectUse use)
{
	TriggerDesc *desc;
	bool		result;

	switch (use)
	{
		case IJ_DIRECT_READ:
		case IJ_DIRECT_LOCK:
			return false;
		case IJ_DIRECT_CLAIM:
		case IJ_DIRECT_UPDATE:
			return !shape->plain_update;
		case IJ_DIRECT_DELETE:
			return !shape->plain_delete;
		case IJ_DIRECT_INSERT:
			break;
	}

	/*
	 * A fan-out fires no trigger at all: it knows what the guard would say, since the
	 * job is its own and IN_PROGRESS, and what the foreign key to that job would say.
	 */
	if (rel->trigdesc == NULL)
		return false;
	desc = copy_of_triggers(rel);
	result = desc->trig_insert_after_statement || desc->trig_insert_new_table;
	for (int i = 0; i < desc->numtriggers && !result; i++)
	{
		const Trigger *trigger = &desc->triggers[i];

		result = TRIGGER_FOR_INSERT(trigger->tgtype) && trigger->tgenabled != TRIGGER_DISABLED &&
			!is_guard(trigger) && !is_key_to_job(rel, trigger);
	}
	FreeTriggerDesc(desc);
	return result;
}

bool
ij_shape_same_as_sql(Relation rel, const IjShape *shape, IjDirectUse use, const text *tenant_id)
{
	static const AclMode needed[] = {
		[IJ_DIRECT_READ] = ACL_SELECT,
		[IJ_DIRECT_CLAIM] = ACL_SELECT | ACL_UPDATE,
		[IJ_DIRECT_LOCK] = ACL_SELECT | ACL_UPDATE,
		[IJ_DIRECT_UPDATE] = ACL_SELECT | ACL_UPDATE,
		/* by SQL the rows are locked FOR UPDATE first */
		[IJ_DIRECT_DELETE] = ACL_SELECT | ACL_UPDATE | ACL_DELETE,
		[IJ_DIRECT_INSERT] = ACL_INSERT,
	};

	return shape->usable && is_of_age(shape) &&
		(use != IJ_DIRECT_CLAIM || OidIsValid(shape->by_device)) &&
		(use == IJ_DIRECT_READ || (SessionReplicationRole != SESSION_REPLICATION_ROLE_REPLICA &&
								   !is_left_to_key())) &&
		!is_watched() && may(rel, needed[use]) && !has_other_triggers(rel, shape, use) &&
		policy_allows(rel, shape, tenant_id);
}
