/*
 * counter_sets.c
 *		The counts of jobs in shared memory; see counters.c for what they mean.
 *
 * Entries and records lie in sets.  A job belongs to one set, by its key, which is 128
 * bits made with secret seeds, so that nobody can make two jobs meet.
 *
 * Locks: each set has one, of which nobody holds two; under it are memory moves only.
 * That of the watched tables guards their change; they are read without it.
 */
#include "postgres.h"

#include "counter_sets.h"

#include "commands/trigger.h"
#include "common/hashfn.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "compat.h"
#include "xids.h"

/* 4096 jobs in 3 MB */
#define SETS				128
#define ENTRIES				32

/*
 * Tables in which a silenced guard is noticed: one for each database with jobs.  With
 * more, those asked about in turn make each other forget what is known.
 */
#define TABLES				64

typedef struct Set
{
	LWLock		lock;			/* guards all below */
	int			next;			/* record to be folded next */
	uint64		gone;			/* the newest transaction whose record was taken away */
	uint64		losses;			/* how many records were */
	uint64		blind;			/* no entry begins before this transaction and older ones ended */
	uint64		clock;			/* the priority that gave way last */
	IjCounterEntry entries[ENTRIES];
	IjCounterRecord records[IJ_COUNTER_RECORDS];
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

/* ------------------------------------------------------------------------
 * Shared memory
 * ------------------------------------------------------------------------
 */

void
ij_counter_sets_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(Counters)));
}

/* The postmaster comes here again after a crash, with all shared memory anew. */
void
ij_counter_sets_startup(void)
{
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
}

bool
ij_counter_sets_exist(void)
{
	return counters != NULL;
}

/* Asked for the first time by the first transaction that writes anything. */
uint64
ij_counter_first_xid(void)
{
	uint64		first = pg_atomic_read_u64(&counters->first_xid);
	uint64		next;

	if (first != 0)
		return first;
	next = ij_next_xid();
	return pg_atomic_compare_exchange_u64(&counters->first_xid, &first, next) ? next : first;
}

static uint64
table_id(Oid relation)
{
	return ((uint64) MyDatabaseId << 32) | relation;
}

IjCounterKey
ij_counter_key(const IjCountedTable *table, const text *tenant_id, const text *job_id)
{
	uint64		place = hash_combine64(table_id(table->relation), table->life);
	IjCounterKey key;

	key.a = ij_hash_ids(tenant_id, job_id, hash_combine64(counters->seeds[0], place));
	key.b = ij_hash_ids(tenant_id, job_id, hash_combine64(counters->seeds[1], place));
	return key;
}

static Set *
set_of(IjCounterKey key)
{
	return &counters->sets[key.a % SETS];
}

/* ------------------------------------------------------------------------
 * A set, under its lock
 * ------------------------------------------------------------------------
 */

static IjCounterEntry *
find_entry(Set *set, IjCounterKey key)
{
	for (int i = 0; i < ENTRIES; i++)
	{
		if (set->entries[i].state != IJ_COUNTER_FREE && ij_counter_same_key(set->entries[i].key, key))
			return &set->entries[i];
	}
	return NULL;
}

static void
drop_entry(Set *set, IjCounterKey key)
{
	IjCounterEntry *entry = find_entry(set, key);

	if (entry != NULL)
		entry->state = IJ_COUNTER_FREE;
}

/*
 * Whoever is dear to count stays longest; but each one that gives way raises the
 * bar for all, so that what nobody asks about any more gives way at last.
 */
static void
set_priority(Set *set, IjCounterEntry *entry)
{
	entry->priority = set->clock + 1;
	for (int i = 0; i < IJ_EXEC_STATUSES; i++)
		entry->priority += Max(entry->counts[i], 0);
}

/* An entry for the key, to be overwritten; NULL: all are being counted. */
static IjCounterEntry *
place_for(Set *set, IjCounterKey key)
{
	IjCounterEntry *victim = find_entry(set, key);

	if (victim != NULL)
		return victim;
	for (int i = 0; i < ENTRIES; i++)
	{
		IjCounterEntry *entry = &set->entries[i];

		if (entry->state == IJ_COUNTER_FREE)
			return entry;
		if (entry->state == IJ_COUNTER_KNOWN && (victim == NULL || entry->priority < victim->priority))
			victim = entry;
	}
	if (victim != NULL)
		set->clock = victim->priority;
	return victim;
}

static uint64
begin_entry(Set *set, IjCounterKey key, uint64 upto)
{
	IjCounterEntry *entry = place_for(set, key);

	if (entry == NULL)
		return 0;
	memset(entry, 0, sizeof(IjCounterEntry));
	entry->key = key;
	entry->state = IJ_COUNTER_COUNTING;
	entry->token = pg_atomic_add_fetch_u64(&counters->tokens, 1);
	entry->upto = upto;
	return entry->token;
}

/* Whoever counted is done, or, if there are no counts, gave up. */
static void
finish_entry(Set *set, IjCounterKey key, uint64 token, const int64 *counts)
{
	IjCounterEntry *entry = find_entry(set, key);

	if (entry == NULL || entry->state != IJ_COUNTER_COUNTING || entry->token != token)
		return;
	if (counts == NULL)
	{
		entry->state = IJ_COUNTER_FREE;
		return;
	}
	for (int i = 0; i < IJ_EXEC_STATUSES; i++)
		entry->counts[i] += counts[i];
	entry->state = IJ_COUNTER_KNOWN;
	set_priority(set, entry);
}

/* Nothing is known of this job before this transaction and all older ones ended. */
static void
go_blind(Set *set, IjCounterKey key, uint64 xid)
{
	drop_entry(set, key);
	set->blind = Max(set->blind, xid);
}

static void
take_away(Set *set, IjCounterRecord *record)
{
	set->gone = Max(set->gone, record->xid);
	set->losses++;
	record->xid = 0;
}

static void
fold(Set *set, IjCounterRecord *record)
{
	IjCounterEntry *entry = find_entry(set, record->key);

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
	for (int i = 0; i < IJ_COUNTER_RECORDS; i++)
	{
		int			slot = (set->next + i) % IJ_COUNTER_RECORDS;
		IjCounterRecord *record = &set->records[slot];

		if (record->xid != 0 && !record->committed)
			continue;
		if (record->xid != 0)
			fold(set, record);
		set->next = (slot + 1) % IJ_COUNTER_RECORDS;
		return slot;
	}
	return IJ_COUNTER_NOWHERE;
}

/* ------------------------------------------------------------------------
 * Writers
 * ------------------------------------------------------------------------
 */

void
ij_counter_blind(IjCounterKey key, uint64 xid)
{
	Set		   *set = set_of(key);

	LWLockAcquire(&set->lock, LW_EXCLUSIVE);
	go_blind(set, key, xid);
	LWLockRelease(&set->lock);
}

void
ij_counter_blind_all(uint64 xid)
{
	for (int i = 0; i < SETS; i++)
	{
		Set		   *set = &counters->sets[i];

		LWLockAcquire(&set->lock, LW_EXCLUSIVE);
		for (int n = 0; n < ENTRIES; n++)
			set->entries[n].state = IJ_COUNTER_FREE;
		set->blind = Max(set->blind, xid);
		LWLockRelease(&set->lock);
	}
}

/*
 * Whoever sees the job, and not us, sees no execution of it.  What is recorded is the
 * end of a former job of this name, which had ended before this one began; a snapshot
 * that still sees that job is too old for this entry.
 */
static uint64
begin_created(Set *set, IjCounterKey key, uint64 xid, uint64 newest)
{
	for (int i = 0; i < IJ_COUNTER_RECORDS; i++)
	{
		IjCounterRecord *record = &set->records[i];

		if (record->xid != 0 && record->xid != xid && ij_counter_same_key(record->key, key))
			take_away(set, record);
	}
	return begin_entry(set, key, newest);
}

int
ij_counter_lay(const IjCounterRecord *record, bool created, uint64 *token)
{
	Set		   *set = set_of(record->key);
	uint64		newest = created ? ij_next_xid() - 1 : 0;
	int			slot;

	*token = 0;
	LWLockAcquire(&set->lock, LW_EXCLUSIVE);
	slot = free_slot(set);
	if (slot == IJ_COUNTER_NOWHERE)
		go_blind(set, record->key, record->xid);
	else
	{
		set->records[slot] = *record;
		if (created && !record->unknown)
			*token = begin_created(set, record->key, record->xid, newest);
	}
	LWLockRelease(&set->lock);
	return slot;
}

void
ij_counter_settle(int slot, IjCounterKey key, uint64 xid, bool unknown, uint64 token, bool committed)
{
	static const int64 nothing[IJ_EXEC_STATUSES] = {0};
	Set		   *set = set_of(key);
	IjCounterRecord *record = &set->records[slot];

	LWLockAcquire(&set->lock, LW_EXCLUSIVE);
	/* a reader that begins an entry takes away what its snapshot sees already */
	if (record->xid == xid && ij_counter_same_key(record->key, key))
	{
		if (!committed)
			record->xid = 0;
		else if (record->unknown)
			take_away(set, record);
		else
			record->committed = true;
	}
	if (committed && unknown)
		drop_entry(set, key);
	if (token != 0)
		finish_entry(set, key, token, committed ? nothing : NULL);
	LWLockRelease(&set->lock);
}

/* ------------------------------------------------------------------------
 * Readers
 * ------------------------------------------------------------------------
 */

void
ij_counter_look(IjCounterLook *look, IjCounterKey key)
{
	Set		   *set = set_of(key);
	IjCounterEntry *entry;

	look->key = key;
	look->nrecords = 0;
	look->entry.state = IJ_COUNTER_FREE;
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
	for (int i = 0; i < IJ_COUNTER_RECORDS; i++)
	{
		if (set->records[i].xid != 0 && ij_counter_same_key(set->records[i].key, key))
		{
			look->slots[look->nrecords] = i;
			look->records[look->nrecords++] = set->records[i];
		}
	}
	LWLockRelease(&set->lock);
}

bool
ij_counter_begin(const IjCounterLook *look, uint64 upto, uint64 *token)
{
	Set		   *set = set_of(look->key);
	bool		same;

	LWLockAcquire(&set->lock, LW_EXCLUSIVE);
	same = set->losses == look->losses && set->blind == look->blind && find_entry(set, look->key) == NULL;
	if (same)
	{
		for (int i = 0; i < look->nrecords; i++)
		{
			IjCounterRecord *record = &set->records[look->slots[i]];

			if (look->visible[i] && record->xid == look->records[i].xid && ij_counter_same_key(record->key, look->key))
				take_away(set, record);
		}
		*token = begin_entry(set, look->key, upto);
	}
	LWLockRelease(&set->lock);
	return same;
}

void
ij_counter_finish(IjCounterKey key, uint64 token, const int64 *counts)
{
	Set		   *set = set_of(key);

	LWLockAcquire(&set->lock, LW_EXCLUSIVE);
	finish_entry(set, key, token, counts);
	LWLockRelease(&set->lock);
}

void
ij_counter_forget(IjCounterKey key)
{
	Set		   *set = set_of(key);

	LWLockAcquire(&set->lock, LW_EXCLUSIVE);
	drop_entry(set, key);
	LWLockRelease(&set->lock);
}

void
ij_counter_asked(bool answered)
{
	pg_atomic_fetch_add_u64(answered ? &counters->answered : &counters->counted, 1);
}

void
ij_counter_state(IjCountersState *state)
{
	state->jobs = 0;
	state->answered = (int64) pg_atomic_read_u64(&counters->answered);
	state->counted = (int64) pg_atomic_read_u64(&counters->counted);
	for (int i = 0; i < SETS; i++)
	{
		Set		   *set = &counters->sets[i];

		LWLockAcquire(&set->lock, LW_SHARED);
		for (int n = 0; n < ENTRIES; n++)
			state->jobs += set->entries[n].state == IJ_COUNTER_KNOWN;
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
 * Whoever is committing meanwhile may have looked before: so no entry begins before
 * all of them ended.  The table that makes room is watched no more, so nothing is known of any job then; who
 * asks about one of its jobs has it watched again, and comes here before he looks.
 */
void
ij_counter_watch(Oid relation)
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
		ij_counter_blind_all(ij_next_xid() - 1);
}

bool
ij_counter_wrote_silently(void)
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
