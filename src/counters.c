/*
 * counters.c
 *		How many executions of a job are in which status, without counting.
 *
 * Counting a million rows takes a tenth of a second, and a console that shows fifty
 * jobs asks again every second.  So the counts of jobs are kept in shared memory.
 * They are exact: for a snapshot they say what counting the rows with that snapshot
 * would say, whatever its isolation level and age, or they say nothing and the
 * caller counts.  Losing them costs a count, never a result.
 *
 * What is kept.  A job has an entry: its counts at some point of the order of
 * commits.  Beside the entries lie records: the changes that one transaction makes
 * to one job.  A transaction notes its changes in its own memory, by subtransaction,
 * and lays a record for each job just before it commits, so before anybody can see
 * it; its commit only marks the record, its abort takes it away.  A reader takes a
 * copy of entry and records and adds to the counts those records whose transaction
 * its snapshot sees, by the very test by which it would see the rows.  So it does not
 * matter that a transaction becomes visible a moment before it is told so here, nor
 * how many transactions commit at the same time.
 *
 * When the place of a record is needed, it is added to its entry for good ("folded").
 * Then the entry answers only for snapshots that see all that was folded.  It
 * remembers the newest transaction that may be in it: a snapshot taken after that one
 * was assigned sees everything up to it, but for what its list of running
 * transactions names; and what is named there and has still not committed, or has
 * its record, was not folded.  If one of them is left, the snapshot is too old, and
 * the caller counts.
 *
 * How an entry comes to be.  create_job() begins it at zero.  Any other one is begun
 * by a reader that found none, and counts anyway.  Beginning puts an empty entry in
 * place that from then on gathers what its snapshot does not see; the count is added
 * when it is there.  A record that was folded before found no entry, and is in neither:
 * so each set remembers the newest transaction whose record is gone, and a reader
 * begins only if its snapshot sees all up to that one.
 *
 * What nobody notes.  A statement written by hand fires the guard, which does not
 * know whether the row will really be changed: then the record says "unknown", which
 * is no harm to snapshots that do not see it, and its commit drops the entry.  COMMIT
 * PREPARED calls nobody, so PREPARE drops the entry, and none is begun before a
 * snapshot finds that transaction, and all older ones, ended ("blind").  The same where
 * there is no place for a record, and, for all jobs, where a transaction changed more
 * jobs than it can note, or changed rows under session_replication_role = replica,
 * which silences the guard: that shows in the lock it holds on a table some job of
 * which was ever asked about.  TRUNCATE, or disabling the guard, gives the table
 * another "life" (shape.c), which is part of every key.  Whoever wrote before a life
 * began has no record of it, so a snapshot from before begins no entry.  What was
 * prepared before the server started had no record: no entry is begun before it ended.
 *
 * This needs a place in memory that no writer can be without, and a callback in every
 * backend: it exists only if the library is in shared_preload_libraries, and not
 * during recovery, when changes come as WAL.
 *
 * A SERIALIZABLE transaction must leave marks on what it read, and so always counts.
 *
 * What is shared is in counter_sets.c.  Transactions are 64 bits wide, and never wrap.
 */
#include "postgres.h"

#include "counters.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "counter_sets.h"
#include "xids.h"

/* distinct jobs a transaction can note changes of; more, and all jobs are counted anew */
#define MAX_CHANGES			1024
#define FIRST_CHANGES		8

/* a set under load may change while a reader looks at what it has seen of it */
#define ATTEMPTS			3

/* what this transaction did to one job, in one subtransaction */
typedef struct Change
{
	IjCounterKey key;
	int			nest_level;
	bool		unknown;
	bool		created;
	CommandId	cid;			/* of the last change */
	int			slot;			/* of the record that was laid; IJ_COUNTER_NOWHERE */
	uint64		token;			/* of the entry that was begun; 0 */
	int64		moved[IJ_EXEC_STATUSES];
} Change;

/* deeper subtransactions come later */
static Change *changes = NULL;	/* in TopTransactionContext */
static int	nchanges = 0;
static int	max_changes = 0;
static bool everything = false; /* changed: more jobs than we can note */
static bool laid = false;		/* the records; what comes now is too late for them */

static void end_transaction(XactEvent event, void *arg);
static void end_subtransaction(SubXactEvent event, SubTransactionId mine,
							   SubTransactionId parent, void *arg);

void
ij_counters_request(void)
{
	ij_counter_sets_request();
}

/* The postmaster comes here again after a crash, with all shared memory anew. */
void
ij_counters_startup(void)
{
	static bool registered = false;

	ij_counter_sets_startup();
	if (!registered)
	{
		RegisterXactCallback(end_transaction, NULL);
		RegisterSubXactCallback(end_subtransaction, NULL);
		registered = true;
	}
}

/* ------------------------------------------------------------------------
 * What this transaction changes
 * ------------------------------------------------------------------------
 */

/* The change of this job by this subtransaction; NULL: there are too many. */
static Change *
change_of(IjCounterKey key)
{
	int			nest_level = GetCurrentTransactionNestLevel();
	Change	   *change;

	if (everything)
		return NULL;
	for (int i = nchanges - 1; i >= 0 && changes[i].nest_level == nest_level; i--)
	{
		if (ij_counter_same_key(changes[i].key, key))
			return &changes[i];
	}
	if (nchanges == MAX_CHANGES)
	{
		everything = true;
		return NULL;
	}
	if (changes == NULL)
	{
		changes = MemoryContextAlloc(TopTransactionContext, FIRST_CHANGES * sizeof(Change));
		max_changes = FIRST_CHANGES;
	}
	else if (nchanges == max_changes)
	{
		changes = repalloc(changes, 2 * max_changes * sizeof(Change));
		max_changes *= 2;
	}
	change = &changes[nchanges++];
	memset(change, 0, sizeof(Change));
	change->key = key;
	change->nest_level = nest_level;
	change->slot = IJ_COUNTER_NOWHERE;
	return change;
}

/*
 * Somebody else's callback may change rows after ours has laid the records.  That
 * is too late for numbers.
 */
static void
blind_now(IjCounterKey key)
{
	ij_counter_blind(key, U64FromFullTransactionId(GetTopFullTransactionId()));
}

void
ij_counters_moved(const IjCountedTable *table, const text *tenant_id, const text *job_id,
				  int from, int to, int64 count)
{
	IjCounterKey key;
	Change	   *change;

	if (!ij_counter_sets_exist() || table == NULL || from == to || count == 0)
		return;
	key = ij_counter_key(table, tenant_id, job_id);
	if (laid)
		blind_now(key);
	change = change_of(key);
	if (change == NULL)
		return;
	change->cid = GetCurrentCommandId(false);
	if (from != IJ_NO_EXECUTION)
		change->moved[from] -= count;
	if (to != IJ_NO_EXECUTION)
		change->moved[to] += count;
}

/* What was noted of the job is about a former one of its name, which this transaction deleted. */
static void
begin_life(Change *change)
{
	change->created = true;
	memset(change->moved, 0, sizeof(change->moved));
}

void
ij_counters_created(const IjCountedTable *table, const text *tenant_id, const text *job_id)
{
	IjCounterKey key;
	Change	   *change;
	bool		former = false;

	if (!ij_counter_sets_exist() || table == NULL || laid)
		return;
	ij_counter_watch(table->relation);
	key = ij_counter_key(table, tenant_id, job_id);
	for (int i = 0; i < nchanges && !former; i++)
		former = ij_counter_same_key(changes[i].key, key);
	change = change_of(key);
	if (change == NULL)
		return;
	/* a former life that this transaction ended still counts for who does not see it */
	if (former)
		change->unknown = true;
	else
		begin_life(change);
}

void
ij_counters_unsettle(const IjCountedTable *table, const text *tenant_id, const text *job_id)
{
	IjCounterKey key;
	Change	   *change;

	if (!ij_counter_sets_exist() || table == NULL)
		return;
	if (tenant_id == NULL || job_id == NULL)
	{
		everything = true;
		if (laid)
			ij_counter_blind_all(U64FromFullTransactionId(GetTopFullTransactionId()));
		return;
	}
	key = ij_counter_key(table, tenant_id, job_id);
	if (laid)
		blind_now(key);
	change = change_of(key);
	if (change != NULL)
		change->unknown = true;
}

/* The same job of a subtransaction and its parent. */
static bool
merge_into_parent(const Change *change)
{
	for (int i = 0; i < nchanges && changes[i].nest_level < change->nest_level; i++)
	{
		Change	   *parent = &changes[i];

		if (parent->nest_level != change->nest_level - 1 || !ij_counter_same_key(parent->key, change->key))
			continue;
		parent->unknown |= change->unknown;
		if (change->created)
			begin_life(parent);
		parent->cid = Max(parent->cid, change->cid);
		for (int s = 0; s < IJ_EXEC_STATUSES; s++)
			parent->moved[s] += change->moved[s];
		return true;
	}
	return false;
}

static void
end_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	int			nest_level = GetCurrentTransactionNestLevel();
	int			first = nchanges;
	int			kept;

	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;
	while (first > 0 && changes[first - 1].nest_level >= nest_level)
		first--;
	kept = first;
	if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (int i = first; i < nchanges; i++)
		{
			if (merge_into_parent(&changes[i]))
				continue;
			changes[kept] = changes[i];
			changes[kept++].nest_level = nest_level - 1;
		}
	}
	nchanges = kept;
}

/* ------------------------------------------------------------------------
 * The end of a transaction
 * ------------------------------------------------------------------------
 */

static bool
changes_nothing(const Change *change)
{
	if (change->unknown || change->created)
		return false;
	for (int i = 0; i < IJ_EXEC_STATUSES; i++)
	{
		if (change->moved[i] != 0)
			return false;
	}
	return true;
}

static void
lay_record(Change *change, uint64 xid)
{
	IjCounterRecord record = {0};

	record.key = change->key;
	record.xid = xid;
	record.unknown = change->unknown;
	memcpy(record.moved, change->moved, sizeof(record.moved));
	change->slot = ij_counter_lay(&record, change->created, &change->token);
}

static void
before_commit(bool prepared)
{
	FullTransactionId top = GetTopFullTransactionIdIfAny();
	uint64		xid;

	if (!FullTransactionIdIsValid(top))
		return;
	xid = U64FromFullTransactionId(top);
	(void) ij_counter_first_xid();
	if (everything || ij_counter_wrote_silently())
	{
		ij_counter_blind_all(xid);
		nchanges = 0;
	}
	for (int i = 0; i < nchanges; i++)
	{
		if (changes_nothing(&changes[i]))
			continue;
		if (prepared)
			blind_now(changes[i].key);
		else
			lay_record(&changes[i], xid);
	}
	laid = true;
}

/* Nothing in here may throw. */
static void
after_end(bool committed)
{
	uint64		xid = U64FromFullTransactionId(GetTopFullTransactionIdIfAny());

	for (int i = 0; i < nchanges; i++)
	{
		if (changes[i].slot != IJ_COUNTER_NOWHERE)
			ij_counter_settle(changes[i].slot, changes[i].key, xid, changes[i].unknown, changes[i].token, committed);
	}
	changes = NULL;
	nchanges = max_changes = 0;
	everything = laid = false;
}

static void
end_transaction(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			before_commit(false);
			break;
		case XACT_EVENT_PRE_PREPARE:
			before_commit(true);
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
			after_end(true);
			break;
		case XACT_EVENT_ABORT:
			after_end(false);
			break;
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_PARALLEL_ABORT:
			break;
	}
}

/* ------------------------------------------------------------------------
 * Readers
 * ------------------------------------------------------------------------
 */

/* a snapshot, widened */
typedef struct View
{
	Snapshot	snapshot;
	uint64		next;
	uint64		xmin;
	uint64		xmax;
} View;

/* A record may be older than XidInMVCCSnapshot() can tell from the future. */
static bool
is_running(const View *view, uint64 xid)
{
	return xid >= view->xmax ||
		(xid >= view->xmin && XidInMVCCSnapshot((TransactionId) xid, view->snapshot));
}

/*
 * Which records does the snapshot see?  Only a living backend that has not come back
 * from its commit yet leaves us to ask, so that the answer is still there.
 */
static void
judge_records(IjCounterLook *look, const View *view)
{
	for (int i = 0; i < look->nrecords; i++)
	{
		IjCounterRecord *record = &look->records[i];

		look->visible[i] = !is_running(view, record->xid) &&
			(record->committed || TransactionIdDidCommit((TransactionId) record->xid));
	}
}

static bool
has_record(const IjCounterLook *look, uint64 xid)
{
	for (int i = 0; i < look->nrecords; i++)
	{
		if (look->records[i].xid == xid)
			return true;
	}
	return false;
}

/*
 * Does the snapshot see every transaction up to that one that had committed, but for
 * those whose record we have, when we took the look?
 */
static bool
sees_all(const View *view, uint64 upto, const IjCounterLook *look)
{
	if (upto < view->xmin)
		return true;
	if (upto >= view->xmax)
		return false;
	for (uint32 i = 0; i < view->snapshot->xcnt; i++)
	{
		TransactionId running = view->snapshot->xip[i];
		uint64		xid = ij_widen_xid(running, view->next);

		if (xid <= upto && !has_record(look, xid) && TransactionIdDidCommit(running))
			return false;
	}
	return true;
}

static bool
answer(const IjCounterLook *look, const View *view, int64 *counts)
{
	if (look->entry.state != IJ_COUNTER_KNOWN || !sees_all(view, look->entry.upto, look))
		return false;
	memcpy(counts, look->entry.counts, sizeof(look->entry.counts));
	for (int i = 0; i < look->nrecords; i++)
	{
		if (!look->visible[i])
			continue;
		if (look->records[i].unknown)
			return false;
		for (int s = 0; s < IJ_EXEC_STATUSES; s++)
			counts[s] += look->records[i].moved[s];
	}
	return true;
}

/* Is there, among all that happened to the job, nothing that nobody would tell us? */
static bool
may_begin(const IjCounterLook *look, const View *view, const IjCountedTable *table)
{
	return look->entry.state == IJ_COUNTER_FREE &&
		view->xmin > table->began && view->xmin > look->blind && view->xmin >= ij_counter_first_xid() &&
		sees_all(view, look->gone, look);
}

/*
 * What this transaction did to the job; false: the snapshot may not see all of it,
 * or nobody knows what it is.
 */
static bool
own_change(IjCounterKey key, Snapshot snapshot, Change *own, bool *any)
{
	memset(own, 0, sizeof(Change));
	*any = false;
	for (int i = 0; i < nchanges; i++)
	{
		if (!ij_counter_same_key(changes[i].key, key))
			continue;
		if (changes[i].unknown || changes[i].cid >= snapshot->curcid)
			return false;
		*any = true;
		if (changes[i].created)
			begin_life(own);
		for (int s = 0; s < IJ_EXEC_STATUSES; s++)
			own->moved[s] += changes[i].moved[s];
	}
	return !everything && !ij_counter_wrote_silently();
}

static bool
from_memory(const IjCountedTable *table, IjCounterKey key, Snapshot snapshot, int64 *counts, uint64 *token)
{
	View		view;
	Change		own;
	bool		changed_by_us;
	static IjCounterLook look;			/* too large for the stack */

	if (!own_change(key, snapshot, &own, &changed_by_us))
		return false;
	if (own.created)
	{
		/* nobody else sees the job; but an old snapshot may show a deleted one of its name beside it */
		if (IsolationUsesXactSnapshot())
			return false;
		memcpy(counts, own.moved, sizeof(own.moved));
		return true;
	}
	view.snapshot = snapshot;
	view.next = ij_next_xid();
	view.xmin = ij_widen_xid(snapshot->xmin, view.next);
	view.xmax = ij_widen_xid(snapshot->xmax, view.next);
	for (int attempt = 0; attempt < ATTEMPTS; attempt++)
	{
		ij_counter_look(&look, key);
		judge_records(&look, &view);
		if (answer(&look, &view, counts))
		{
			for (int s = 0; s < IJ_EXEC_STATUSES; s++)
				counts[s] += own.moved[s];
			return true;
		}
		if (changed_by_us || token == NULL || !may_begin(&look, &view, table) || ij_counter_begin(&look, view.xmax - 1, token))
			break;
	}
	return false;
}

static bool
may_ask(const IjCountedTable *table, Snapshot snapshot)
{
	return table != NULL && !RecoveryInProgress() && !IsolationIsSerializable() &&
		snapshot->snapshot_type == SNAPSHOT_MVCC && !snapshot->takenDuringRecovery;
}

bool
ij_counters_get(const IjCountedTable *table, const text *tenant_id, const text *job_id,
				Snapshot snapshot, IjCounts *counts, IjCounting *counting)
{
	bool		known = false;

	if (counting != NULL)
		counting->token = 0;
	if (!ij_counter_sets_exist())
		return false;
	if (may_ask(table, snapshot))
	{
		IjCounterKey key = ij_counter_key(table, tenant_id, job_id);

		ij_counter_watch(table->relation);
		if (counting != NULL)
			counting->key = key;
		known = from_memory(table, key, snapshot, counts->by_status, counting ? &counting->token : NULL);
	}
	if (known)
	{
		counts->total = 0;
		for (int i = 0; i < IJ_EXEC_STATUSES; i++)
			counts->total += counts->by_status[i];
	}
	if (counting != NULL)
		ij_counter_asked(known);
	return known;
}

void
ij_counters_publish(const IjCounting *counting, const IjCounts *counts)
{
	if (counting->token != 0)
		ij_counter_finish(counting->key, counting->token, counts ? counts->by_status : NULL);
}

void
ij_counters_forget(const IjCountedTable *table, const text *tenant_id, const text *job_id)
{
	if (ij_counter_sets_exist() && table != NULL)
		ij_counter_forget(ij_counter_key(table, tenant_id, job_id));
}

bool
ij_counters_state(IjCountersState *state)
{
	if (!ij_counter_sets_exist())
		return false;
	ij_counter_state(state);
	return true;
}
