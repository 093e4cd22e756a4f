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
 * Jobs are known by a key of 128 bits, made with secret seeds, so that nobody can
 * make two of them meet.
 *
 * Locks: each set has one, of which nobody holds two; under it are memory moves only.
 * Transactions are 64 bits wide here, and never wrap.
 */
#include "postgres.h"

#include "counters.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "compat.h"

/*
 * 4096 jobs in 3 MB.  A set needs places for the records of all transactions that
 * may be committing at once, and then some, so that a record is not folded before
 * the snapshots that do not see it are mostly gone.
 */
#define SETS				128
#define ENTRIES				32
#define RECORDS				256

/*
 * Tables in which a silenced guard is noticed: one for each database with jobs.  With
 * more, those asked about in turn make each other forget what is known.
 */
#define TABLES				64

/* distinct jobs a transaction can note changes of; a gateway's batch stays below */
#define MAX_CHANGES			1024
#define FIRST_CHANGES		8

/* a set under load may change while a reader looks at what it has seen of it */
#define ATTEMPTS			3

#define NOWHERE				(-1)

typedef struct Key
{
	uint64		a;
	uint64		b;
} Key;

typedef enum EntryState
{
	ENTRY_FREE,
	ENTRY_COUNTING,				/* holds what the counter does not see */
	ENTRY_KNOWN
} EntryState;

typedef struct Entry
{
	Key			key;
	EntryState	state;
	uint64		token;			/* who counts */
	uint64		upto;			/* the newest transaction that may be in the counts */
	uint64		priority;		/* the lowest one gives way */
	int64		counts[IJ_EXEC_STATUSES];
} Entry;

typedef struct Record
{
	Key			key;
	uint64		xid;			/* 0: free */
	bool		committed;		/* and may be folded; false: ask */
	bool		unknown;
	int64		moved[IJ_EXEC_STATUSES];
} Record;

typedef struct Set
{
	LWLock		lock;			/* guards all below */
	int			next;			/* record to be folded next */
	uint64		gone;			/* the newest transaction whose record was taken away */
	uint64		losses;			/* how many records were */
	uint64		blind;			/* no entry begins before this transaction and older ones ended */
	uint64		clock;			/* the priority that gave way last */
	Entry		entries[ENTRIES];
	Record		records[RECORDS];
} Set;

typedef struct Counters
{
	uint64		seeds[2];		/* never change */
	int			tranche_id;		/* never changes */
	pg_atomic_uint64 first_xid; /* no transaction that began earlier runs unnoticed; 0: not known yet */
	pg_atomic_uint64 tokens;
	pg_atomic_uint64 answered;
	pg_atomic_uint64 counted;
	LWLock		tables_lock;	/* guards changes of these two */
	int			next_table;
	pg_atomic_uint64 tables[TABLES];	/* database and relation; 0: free */
	Set			sets[SETS];
} Counters;

static Counters *counters = NULL;

/* what this transaction did to one job, in one subtransaction */
typedef struct Change
{
	Key			key;
	int			nest_level;
	bool		unknown;
	bool		created;
	CommandId	cid;			/* of the last change */
	int			slot;			/* of the record that was laid; NOWHERE */
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

/* ------------------------------------------------------------------------
 * Shared memory
 * ------------------------------------------------------------------------
 */

void
ij_counters_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(Counters)));
}

/* The postmaster comes here again after a crash, with all shared memory anew. */
void
ij_counters_startup(void)
{
	static bool registered = false;
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	counters = ShmemInitStruct("iot_jobs counters", sizeof(Counters), &found);
	if (!found)
	{
		memset(counters, 0, sizeof(Counters));
		if (!pg_strong_random(counters->seeds, sizeof(counters->seeds)))
			for (int i = 0; i < lengthof(counters->seeds); i++)
				counters->seeds[i] = pg_prng_uint64(&pg_global_prng_state);
		counters->tranche_id = LWLockNewTrancheId();
		pg_atomic_init_u64(&counters->first_xid, 0);
		pg_atomic_init_u64(&counters->tokens, 0);
		pg_atomic_init_u64(&counters->answered, 0);
		pg_atomic_init_u64(&counters->counted, 0);
		for (int i = 0; i < TABLES; i++)
			pg_atomic_init_u64(&counters->tables[i], 0);
		LWLockInitialize(&counters->tables_lock, counters->tranche_id);
		for (int i = 0; i < SETS; i++)
			LWLockInitialize(&counters->sets[i].lock, counters->tranche_id);
	}
	LWLockRelease(AddinShmemInitLock);
	LWLockRegisterTranche(counters->tranche_id, "iot_jobs_counters");

	if (!registered)
	{
		RegisterXactCallback(end_transaction, NULL);
		RegisterSubXactCallback(end_subtransaction, NULL);
		registered = true;
	}
}

static uint64
next_xid(void)
{
	return U64FromFullTransactionId(ReadNextFullTransactionId());
}

/* a running or recent transaction, widened */
static uint64
widen(TransactionId xid, uint64 next)
{
	uint64		wide = (next & ~(uint64) PG_UINT32_MAX) | xid;

	return wide > next ? wide - ((uint64) PG_UINT32_MAX + 1) : wide;
}

uint64
ij_counters_widen(TransactionId xid)
{
	return TransactionIdIsNormal(xid) ? widen(xid, next_xid()) : 0;
}

/* Asked for the first time by the first transaction that writes anything. */
static uint64
first_xid(uint64 next)
{
	uint64		first = 0;

	if (pg_atomic_compare_exchange_u64(&counters->first_xid, &first, next))
		return next;
	return first;
}

static uint64
table_id(Oid relation)
{
	return ((uint64) MyDatabaseId << 32) | relation;
}

static uint64
hash_ids(const text *tenant_id, const text *job_id, uint64 seed)
{
	return ij_hash_text(job_id, ij_hash_text(tenant_id, seed));
}

static Key
key_of(const IjCountedTable *table, const text *tenant_id, const text *job_id)
{
	uint64		place = hash_combine64(table_id(table->relation), table->life);
	Key			key;

	key.a = hash_ids(tenant_id, job_id, hash_combine64(counters->seeds[0], place));
	key.b = hash_ids(tenant_id, job_id, hash_combine64(counters->seeds[1], place));
	return key;
}

static bool
same_key(Key left, Key right)
{
	return left.a == right.a && left.b == right.b;
}

static Set *
set_of(Key key)
{
	return &counters->sets[key.a % SETS];
}

/* ------------------------------------------------------------------------
 * A set, under its lock
 * ------------------------------------------------------------------------
 */

static Entry *
find_entry(Set *set, Key key)
{
	for (int i = 0; i < ENTRIES; i++)
	{
		if (set->entries[i].state != ENTRY_FREE && same_key(set->entries[i].key, key))
			return &set->entries[i];
	}
	return NULL;
}

static void
drop_entry(Set *set, Key key)
{
	Entry	   *entry = find_entry(set, key);

	if (entry != NULL)
		entry->state = ENTRY_FREE;
}

/*
 * Whoever is dear to count stays longest; but each one that gives way raises the
 * bar for all, so that what nobody asks about any more gives way at last.
 */
static void
set_priority(Set *set, Entry *entry)
{
	entry->priority = set->clock + 1;
	for (int i = 0; i < IJ_EXEC_STATUSES; i++)
		entry->priority += Max(entry->counts[i], 0);
}

/* An entry for the key, to be overwritten; NULL: all are being counted. */
static Entry *
place_for(Set *set, Key key)
{
	Entry	   *victim = find_entry(set, key);

	if (victim != NULL)
		return victim;
	for (int i = 0; i < ENTRIES; i++)
	{
		Entry	   *entry = &set->entries[i];

		if (entry->state == ENTRY_FREE)
			return entry;
		if (entry->state == ENTRY_KNOWN && (victim == NULL || entry->priority < victim->priority))
			victim = entry;
	}
	if (victim != NULL)
		set->clock = victim->priority;
	return victim;
}

static uint64
begin_entry(Set *set, Key key, uint64 upto)
{
	Entry	   *entry = place_for(set, key);

	if (entry == NULL)
		return 0;
	memset(entry, 0, sizeof(Entry));
	entry->key = key;
	entry->state = ENTRY_COUNTING;
	entry->token = pg_atomic_add_fetch_u64(&counters->tokens, 1);
	entry->upto = upto;
	return entry->token;
}

static void
finish_entry(Set *set, Key key, uint64 token, const int64 *counts)
{
	Entry	   *entry = find_entry(set, key);

	if (entry == NULL || entry->state != ENTRY_COUNTING || entry->token != token)
		return;
	for (int i = 0; i < IJ_EXEC_STATUSES; i++)
		entry->counts[i] += counts[i];
	entry->state = ENTRY_KNOWN;
	set_priority(set, entry);
}

static void
drop_counting(Set *set, Key key, uint64 token)
{
	Entry	   *entry = find_entry(set, key);

	if (entry != NULL && entry->state == ENTRY_COUNTING && entry->token == token)
		entry->state = ENTRY_FREE;
}

/* Nothing is known of this job before this transaction and all older ones ended. */
static void
go_blind(Set *set, Key key, uint64 xid)
{
	drop_entry(set, key);
	set->blind = Max(set->blind, xid);
}

static void
take_away(Set *set, Record *record)
{
	set->gone = Max(set->gone, record->xid);
	set->losses++;
	record->xid = 0;
}

static void
fold(Set *set, Record *record)
{
	Entry	   *entry = find_entry(set, record->key);

	if (entry != NULL)
	{
		for (int i = 0; i < IJ_EXEC_STATUSES; i++)
			entry->counts[i] += record->moved[i];
		entry->upto = Max(entry->upto, record->xid);
	}
	take_away(set, record);
}

static int
free_slot(Set *set)
{
	for (int i = 0; i < RECORDS; i++)
	{
		int			slot = (set->next + i) % RECORDS;
		Record	   *record = &set->records[slot];

		if (record->xid != 0 && !record->committed)
			continue;
		if (record->xid != 0)
			fold(set, record);
		set->next = (slot + 1) % RECORDS;
		return slot;
	}
	return NOWHERE;
}

/* what a transaction did to jobs cannot be told: nothing is known of any */
static void
go_blind_everywhere(uint64 xid)
{
	for (int i = 0; i < SETS; i++)
	{
		Set		   *set = &counters->sets[i];

		LWLockAcquire(&set->lock, LW_EXCLUSIVE);
		for (int n = 0; n < ENTRIES; n++)
			set->entries[n].state = ENTRY_FREE;
		set->blind = Max(set->blind, xid);
		LWLockRelease(&set->lock);
	}
}

/* ------------------------------------------------------------------------
 * Tables, and writers that silence the guard
 * ------------------------------------------------------------------------
 */

static bool
is_watched(Oid relation)
{
	for (int i = 0; i < TABLES; i++)
	{
		if (pg_atomic_read_u64(&counters->tables[i]) == table_id(relation))
			return true;
	}
	return false;
}

/*
 * Note where a silenced guard has to be noticed from now on.  Whoever is committing
 * meanwhile may have looked before: so no entry begins before all of them ended.  The
 * table that makes room is watched no more, so nothing is known of any job then; who
 * asks about one of its jobs has it watched again, and comes here before he looks.
 */
static void
watch_table(Oid relation)
{
	bool		added = false;

	if (is_watched(relation))
		return;
	LWLockAcquire(&counters->tables_lock, LW_EXCLUSIVE);
	if (!is_watched(relation))
	{
		pg_atomic_write_u64(&counters->tables[counters->next_table], table_id(relation));
		counters->next_table = (counters->next_table + 1) % TABLES;
		added = true;
	}
	LWLockRelease(&counters->tables_lock);
	if (added)
		go_blind_everywhere(next_xid() - 1);
}

/* Did we write to such a table while its guard was silenced? */
static bool
wrote_silently(void)
{
	if (SessionReplicationRole != SESSION_REPLICATION_ROLE_REPLICA)
		return false;
	for (int i = 0; i < TABLES; i++)
	{
		uint64		table = pg_atomic_read_u64(&counters->tables[i]);
		LOCKTAG		tag;

		if (table == 0 || (Oid) (table >> 32) != MyDatabaseId)
			continue;
		SET_LOCKTAG_RELATION(tag, MyDatabaseId, (Oid) table);
		if (ij_lock_held_by_me(&tag, RowExclusiveLock))
			return true;
	}
	return false;
}

/* ------------------------------------------------------------------------
 * What this transaction changes
 * ------------------------------------------------------------------------
 */

/* The change of this job by this subtransaction; NULL: there are too many. */
static Change *
change_of(Key key)
{
	int			nest_level = GetCurrentTransactionNestLevel();
	Change	   *change;

	if (everything)
		return NULL;
	for (int i = nchanges - 1; i >= 0 && changes[i].nest_level == nest_level; i--)
	{
		if (same_key(changes[i].key, key))
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
	change->slot = NOWHERE;
	return change;
}

/*
 * Somebody else's callback may change rows after ours has laid the records.  That
 * is too late for numbers.
 */
static void
blind_now(Key key)
{
	Set		   *set = set_of(key);
	uint64		xid = U64FromFullTransactionId(GetTopFullTransactionId());

	LWLockAcquire(&set->lock, LW_EXCLUSIVE);
	go_blind(set, key, xid);
	LWLockRelease(&set->lock);
}

void
ij_counters_moved(const IjCountedTable *table, const text *tenant_id, const text *job_id,
				  int from, int to, int64 count)
{
	Key			key;
	Change	   *change;

	if (counters == NULL || table == NULL || from == to || count == 0)
		return;
	key = key_of(table, tenant_id, job_id);
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
	Change	   *change;

	if (counters == NULL || table == NULL || laid)
		return;
	watch_table(table->relation);
	change = change_of(key_of(table, tenant_id, job_id));
	if (change != NULL)
		begin_life(change);
}

void
ij_counters_unsettle(const IjCountedTable *table, const text *tenant_id, const text *job_id)
{
	Key			key;
	Change	   *change;

	if (counters == NULL || table == NULL)
		return;
	if (tenant_id == NULL || job_id == NULL)
	{
		everything = true;
		if (laid)
			go_blind_everywhere(U64FromFullTransactionId(GetTopFullTransactionId()));
		return;
	}
	key = key_of(table, tenant_id, job_id);
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

		if (parent->nest_level != change->nest_level - 1 || !same_key(parent->key, change->key))
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

/*
 * Whoever sees the job, and not us, sees no execution of it.  What is recorded is the
 * end of a former job of this name, which had ended before this one began; a snapshot
 * that still sees that job is too old for this entry.
 */
static uint64
begin_created(Set *set, Key key, uint64 xid, uint64 newest)
{
	for (int i = 0; i < RECORDS; i++)
	{
		Record	   *record = &set->records[i];

		if (record->xid != 0 && record->xid != xid && same_key(record->key, key))
			take_away(set, record);
	}
	return begin_entry(set, key, newest);
}

static void
lay_record(Change *change, uint64 xid)
{
	Set		   *set = set_of(change->key);
	uint64		newest = change->created ? next_xid() - 1 : 0;
	Record	   *record;

	LWLockAcquire(&set->lock, LW_EXCLUSIVE);
	change->slot = free_slot(set);
	if (change->slot == NOWHERE)
		go_blind(set, change->key, xid);
	else
	{
		record = &set->records[change->slot];
		record->key = change->key;
		record->xid = xid;
		record->committed = false;
		record->unknown = change->unknown;
		memcpy(record->moved, change->moved, sizeof(record->moved));
		if (change->created && !change->unknown)
			change->token = begin_created(set, change->key, xid, newest);
	}
	LWLockRelease(&set->lock);
}

static void
before_commit(bool prepared)
{
	FullTransactionId top = GetTopFullTransactionIdIfAny();
	uint64		xid;

	if (!FullTransactionIdIsValid(top))
		return;
	xid = U64FromFullTransactionId(top);
	if (pg_atomic_read_u64(&counters->first_xid) == 0)
		(void) first_xid(next_xid());
	if (everything || wrote_silently())
	{
		go_blind_everywhere(xid);
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
settle_record(const Change *change, uint64 xid, bool committed)
{
	static const int64 nothing[IJ_EXEC_STATUSES] = {0};
	Set		   *set = set_of(change->key);
	Record	   *record = &set->records[change->slot];

	LWLockAcquire(&set->lock, LW_EXCLUSIVE);
	/* a reader that begins an entry takes away what its snapshot sees already */
	if (record->xid == xid && same_key(record->key, change->key))
	{
		if (!committed)
			record->xid = 0;
		else if (record->unknown)
			take_away(set, record);
		else
			record->committed = true;
	}
	if (committed && change->unknown)
		drop_entry(set, change->key);
	if (change->token != 0 && committed)
		finish_entry(set, change->key, change->token, nothing);
	else if (change->token != 0)
		drop_counting(set, change->key, change->token);
	LWLockRelease(&set->lock);
}

static void
after_end(bool committed)
{
	uint64		xid = U64FromFullTransactionId(GetTopFullTransactionIdIfAny());

	for (int i = 0; i < nchanges; i++)
	{
		if (changes[i].slot != NOWHERE)
			settle_record(&changes[i], xid, committed);
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

/* what was seen of a job, and of its set, at one moment */
typedef struct Look
{
	Key			key;
	Entry		entry;			/* ENTRY_FREE: none */
	uint64		gone;
	uint64		losses;
	uint64		blind;
	int			nrecords;
	int			slots[RECORDS];
	bool		visible[RECORDS];
	Record		records[RECORDS];
} Look;

static void
look_at(Look *look, Key key)
{
	Set		   *set = set_of(key);
	Entry	   *entry;

	look->key = key;
	look->nrecords = 0;
	look->entry.state = ENTRY_FREE;
	LWLockAcquire(&set->lock, LW_EXCLUSIVE);
	look->gone = set->gone;
	look->losses = set->losses;
	look->blind = set->blind;
	entry = find_entry(set, key);
	if (entry != NULL)
	{
		set_priority(set, entry);
		look->entry = *entry;
	}
	for (int i = 0; i < RECORDS; i++)
	{
		if (set->records[i].xid != 0 && same_key(set->records[i].key, key))
		{
			look->slots[look->nrecords] = i;
			look->records[look->nrecords++] = set->records[i];
		}
	}
	LWLockRelease(&set->lock);
}

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
judge_records(Look *look, const View *view)
{
	for (int i = 0; i < look->nrecords; i++)
	{
		Record	   *record = &look->records[i];

		look->visible[i] = !is_running(view, record->xid) &&
			(record->committed || TransactionIdDidCommit((TransactionId) record->xid));
	}
}

static bool
has_record(const Look *look, uint64 xid)
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
sees_all(const View *view, uint64 upto, const Look *look)
{
	if (upto < view->xmin)
		return true;
	if (upto >= view->xmax)
		return false;
	for (uint32 i = 0; i < view->snapshot->xcnt; i++)
	{
		TransactionId running = view->snapshot->xip[i];
		uint64		xid = widen(running, view->next);

		if (xid <= upto && !has_record(look, xid) && TransactionIdDidCommit(running))
			return false;
	}
	return true;
}

static bool
answer(const Look *look, const View *view, int64 *counts)
{
	if (look->entry.state != ENTRY_KNOWN || !sees_all(view, look->entry.upto, look))
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

static bool
try_to_begin(const Look *look, const View *view, uint64 *token)
{
	Set		   *set = set_of(look->key);
	bool		same;

	LWLockAcquire(&set->lock, LW_EXCLUSIVE);
	same = set->losses == look->losses && set->blind == look->blind && find_entry(set, look->key) == NULL;
	if (same)
	{
		/* what the snapshot sees will be counted */
		for (int i = 0; i < look->nrecords; i++)
		{
			Record	   *record = &set->records[look->slots[i]];

			if (look->visible[i] && record->xid == look->records[i].xid && same_key(record->key, look->key))
				take_away(set, record);
		}
		*token = begin_entry(set, look->key, view->xmax - 1);
	}
	LWLockRelease(&set->lock);
	return same;
}

/* Is there, among all that happened to the job, nothing that nobody would tell us? */
static bool
may_begin(const Look *look, const View *view, const IjCountedTable *table)
{
	return look->entry.state == ENTRY_FREE &&
		view->xmin > table->began && view->xmin > look->blind && view->xmin >= first_xid(view->next) &&
		sees_all(view, look->gone, look);
}

/*
 * What this transaction did to the job; false: the snapshot may not see all of it,
 * or nobody knows what it is.
 */
static bool
own_change(Key key, Snapshot snapshot, Change *own, bool *any)
{
	memset(own, 0, sizeof(Change));
	*any = false;
	for (int i = 0; i < nchanges; i++)
	{
		if (!same_key(changes[i].key, key))
			continue;
		if (changes[i].unknown || changes[i].cid >= snapshot->curcid)
			return false;
		*any = true;
		if (changes[i].created)
			begin_life(own);
		for (int s = 0; s < IJ_EXEC_STATUSES; s++)
			own->moved[s] += changes[i].moved[s];
	}
	return !everything && !wrote_silently();
}

static bool
from_memory(const IjCountedTable *table, Key key, Snapshot snapshot, int64 *counts, uint64 *token)
{
	View		view;
	Change		own;
	bool		changed_by_us;
	static Look look;			/* too large for the stack */

	if (!own_change(key, snapshot, &own, &changed_by_us))
		return false;
	if (own.created)
	{
		/* nobody else sees the job */
		memcpy(counts, own.moved, sizeof(own.moved));
		return true;
	}
	view.snapshot = snapshot;
	view.next = next_xid();
	view.xmin = widen(snapshot->xmin, view.next);
	view.xmax = widen(snapshot->xmax, view.next);
	for (int attempt = 0; attempt < ATTEMPTS; attempt++)
	{
		look_at(&look, key);
		judge_records(&look, &view);
		if (answer(&look, &view, counts))
		{
			for (int s = 0; s < IJ_EXEC_STATUSES; s++)
				counts[s] += own.moved[s];
			return true;
		}
		if (changed_by_us || token == NULL || !may_begin(&look, &view, table) || try_to_begin(&look, &view, token))
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
	if (counters == NULL)
		return false;
	if (may_ask(table, snapshot))
	{
		Key			key = key_of(table, tenant_id, job_id);

		watch_table(table->relation);
		if (counting != NULL)
		{
			counting->key[0] = key.a;
			counting->key[1] = key.b;
		}
		known = from_memory(table, key, snapshot, counts->by_status, counting ? &counting->token : NULL);
	}
	if (known)
	{
		counts->total = 0;
		for (int i = 0; i < IJ_EXEC_STATUSES; i++)
			counts->total += counts->by_status[i];
	}
	if (counting != NULL)
		pg_atomic_fetch_add_u64(known ? &counters->answered : &counters->counted, 1);
	return known;
}

static Key
counted_key(const IjCounting *counting)
{
	Key			key = {counting->key[0], counting->key[1]};

	return key;
}

void
ij_counters_publish(const IjCounting *counting, const IjCounts *counts)
{
	Set		   *set;

	if (counting->token == 0)
		return;
	set = set_of(counted_key(counting));
	LWLockAcquire(&set->lock, LW_EXCLUSIVE);
	finish_entry(set, counted_key(counting), counting->token, counts->by_status);
	LWLockRelease(&set->lock);
}

void
ij_counters_abandon(const IjCounting *counting)
{
	Set		   *set;

	if (counting->token == 0)
		return;
	set = set_of(counted_key(counting));
	LWLockAcquire(&set->lock, LW_EXCLUSIVE);
	drop_counting(set, counted_key(counting), counting->token);
	LWLockRelease(&set->lock);
}

void
ij_counters_forget(const IjCountedTable *table, const text *tenant_id, const text *job_id)
{
	Key			key;
	Set		   *set;

	if (counters == NULL || table == NULL)
		return;
	key = key_of(table, tenant_id, job_id);
	set = set_of(key);
	LWLockAcquire(&set->lock, LW_EXCLUSIVE);
	drop_entry(set, key);
	LWLockRelease(&set->lock);
}

bool
ij_counters_state(IjCountersState *state)
{
	if (counters == NULL)
		return false;
	state->jobs = 0;
	state->answered = (int64) pg_atomic_read_u64(&counters->answered);
	state->counted = (int64) pg_atomic_read_u64(&counters->counted);
	for (int i = 0; i < SETS; i++)
	{
		Set		   *set = &counters->sets[i];

		LWLockAcquire(&set->lock, LW_SHARED);
		for (int n = 0; n < ENTRIES; n++)
			state->jobs += set->entries[n].state == ENTRY_KNOWN;
		LWLockRelease(&set->lock);
	}
	return true;
}
