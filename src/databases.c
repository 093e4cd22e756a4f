/*
 * databases.c
 *		What there is to do in each database known, who does it, and how it went.
 *
 * Each database has a slot: sessions write into it what there is to do, its worker
 * takes that and writes what it did, and the launcher reads all slots to decide
 * who gets a worker.  Beside the slots are the transactions that were prepared with
 * something to tell.
 *
 * Lock: IjDatabases.lock guards all of it, and the queues of told.c with it.  It is
 * held for moments, and with no other lock.  Without it are read only the dboid of a
 * slot, where a stale answer does no harm, and what nobody but the reader writes: the
 * mark of the launcher that it has scanned, and a worker's own findings.  That mark, and
 * the activity of a worker, each a word of its own, are written without it, too.
 */
#include "postgres.h"

#include "access/transam.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/procarray.h"
#include "utils/timestamp.h"

#include "databases.h"
#include "root.h"
#include "told.h"

/* prepared transactions remembered; one too many is found by the next heal */
#define MAX_PREPARED		1024

/* first and longest pause after failures in a row */
#define BACKOFF_FIRST_MS	500
#define BACKOFF_LAST_MS		60000

/*
 * A database rests so many times what a look at all of its unfinished jobs took, but for
 * no longer than an hour: where large jobs wait for devices for weeks, a hundredth of
 * a core goes into that
 */
#define HEAL_REST			100
#define HEAL_REST_LAST		(60 * 60 * USECS_PER_SEC)

/* the same error is logged once in this time */
#define LOG_AGAIN_MS		60000

typedef struct IjSlot
{
	IjDatabase	database;		/* dboid is read without lock too */
	Latch	   *worker_latch;	/* NULL without a worker */
	IjTold		cursor;			/* valid if full_paused */
	TimestampTz logged_at;		/* when last_error was last logged */
	char		last_error[IJ_ERROR_BYTES];
} IjSlot;

typedef struct IjPrepared
{
	Oid			dboid;			/* InvalidOid: free */
	TransactionId xid;
} IjPrepared;

typedef struct IjDatabases
{
	LWLock		lock;			/* guards all below */
	bool		scanned;		/* a launcher has looked at all databases */
	bool		purge_wanted;	/* no slot was free */
	uint64		own_xids;		/* transaction ids used by workers */
	int			slots_used;		/* no slot at or after this one is in use */
	IjSlot		slots[IJ_MAX_DATABASES];
	int			prepared_used;	/* likewise */
	IjPrepared	prepared[MAX_PREPARED];
} IjDatabases;

static IjDatabases *shared = NULL;

/* the slot of this database as last seen; may be stale in a session, never in its worker */
static IjSlot *my_slot = NULL;

Size
ij_databases_size(void)
{
	return sizeof(IjDatabases);
}

void
ij_databases_init(void *place, int tranche_id, uint64 seed)
{
	IjDatabases *fresh = place;

	memset(fresh, 0, sizeof(IjDatabases));
	LWLockInitialize(&fresh->lock, tranche_id);
}

void
ij_databases_attach(void *place)
{
	shared = place;
}

/*
 * ------------------------------------------------------------
 * Slots.  The caller of each static function here holds the lock.
 * ------------------------------------------------------------
 */

static IjSlot *
find_slot(Oid dboid)
{
	for (int i = 0; i < shared->slots_used; i++)
	{
		if (shared->slots[i].database.dboid == dboid)
			return &shared->slots[i];
	}
	return NULL;
}

/* find or make the slot of a database; NULL if all are taken */
static IjSlot *
make_slot(Oid dboid)
{
	IjSlot	   *slot = find_slot(dboid);

	if (slot != NULL)
		return slot;
	slot = find_slot(InvalidOid);
	if (slot == NULL)
	{
		if (shared->slots_used == IJ_MAX_DATABASES)
		{
			shared->purge_wanted = true;
			return NULL;
		}
		slot = &shared->slots[shared->slots_used++];
	}
	memset(slot, 0, sizeof(IjSlot));
	ij_told_open_queue(&slot->database.told);
	slot->database.dboid = dboid;
	slot->database.full_wanted = true;
	slot->database.watermark = DT_NOBEGIN;
	slot->database.next_deadline = DT_NOEND;
	slot->database.overdue = DT_NOEND;
	return slot;
}

/* queue the job unless it is queued already; a full table becomes a full pass */
static void
enqueue_told(IjSlot *s, const IjTold *told)
{
	if (!ij_told_enqueue(&s->database.told, s - shared->slots, told))
		s->database.full_wanted = true;
}

static void
clear_told(IjSlot *slot)
{
	IjDatabase *database = &slot->database;

	while (ij_told_dequeue(&database->told, NULL))
	{
		/* forget it */
	}
	database->full_wanted = false;
	database->full_paused = false;
	database->full_running = false;
	database->heal_owed = false;
	database->heal_after = 0;
	database->watermark = DT_NOBEGIN;
	database->next_deadline = DT_NOEND;
	database->overdue = DT_NOEND;
}

static void
free_slot(IjSlot *slot)
{
	clear_told(slot);
	slot->database.dboid = InvalidOid;
}

/* the slot of the session's database; its worker never gives it away behind its back */
static IjSlot *
session_slot(void)
{
	if (my_slot == NULL || my_slot->database.dboid != MyDatabaseId)
		my_slot = make_slot(MyDatabaseId);
	return my_slot;
}

bool
ij_database_wants_worker(const IjDatabase *database, TimestampTz now)
{
	return database->full_wanted || database->full_paused || database->told.length > 0 ||
		database->next_deadline <= now;
}

int
ij_databases_list(IjDatabase *databases)
{
	int			n = 0;

	LWLockAcquire(&shared->lock, LW_SHARED);
	for (int i = 0; i < shared->slots_used; i++)
	{
		if (OidIsValid(shared->slots[i].database.dboid))
			databases[n++] = shared->slots[i].database;
	}
	LWLockRelease(&shared->lock);
	return n;
}

void
ij_databases_last_error(Oid dboid, char *message)
{
	IjSlot	   *slot;

	LWLockAcquire(&shared->lock, LW_SHARED);
	slot = find_slot(dboid);
	if (slot != NULL)
		memcpy(message, slot->last_error, IJ_ERROR_BYTES);
	else
		message[0] = '\0';
	LWLockRelease(&shared->lock);
}

/*
 * ------------------------------------------------------------
 * Sessions
 * ------------------------------------------------------------
 */

bool
ij_databases_knows_mine(void)
{
	return my_slot != NULL && my_slot->database.dboid == MyDatabaseId;
}

void
ij_databases_know(void)
{
	bool		fresh;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	fresh = find_slot(MyDatabaseId) == NULL;
	my_slot = NULL;
	(void) session_slot();
	LWLockRelease(&shared->lock);
	if (fresh)
		ij_root_wake_launcher();
}

void
ij_databases_tell_job(const text *tenant_id, const text *job_id, bool due)
{
	IjTold		told;
	bool		fits = ij_told_make(&told, tenant_id, job_id, due);
	IjSlot	   *slot;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	slot = session_slot();
	if (slot != NULL)
	{
		if (fits)
			enqueue_told(slot, &told);
		else
			slot->database.full_wanted = true;
	}
	LWLockRelease(&shared->lock);
}

void
ij_databases_tell(bool everything, TimestampTz deadline)
{
	IjSlot	   *slot;
	bool		wake = false;
	Latch	   *latch = NULL;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	slot = session_slot();
	if (slot != NULL)
	{
		IjDatabase *database = &slot->database;

		if (everything)
			database->full_wanted = true;
		wake = database->full_wanted || database->told.length > 0;
		if (deadline < database->next_deadline)
		{
			database->next_deadline = deadline;
			wake = true;
		}
		if (deadline <= database->watermark)
			database->watermark = deadline - 1;
		latch = slot->worker_latch;
	}
	else
		wake = true;			/* the launcher may find a slot to free */
	LWLockRelease(&shared->lock);

	/* a deadline later than one that is known wakes nobody */
	if (!wake)
		return;
	if (latch != NULL)
		SetLatch(latch);
	else
		ij_root_wake_launcher();
}

void
ij_databases_tell_prepared(Oid dboid, TransactionId xid)
{
	int			n;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	for (n = 0; n < shared->prepared_used; n++)
	{
		if (!OidIsValid(shared->prepared[n].dboid))
			break;
	}
	if (n < MAX_PREPARED)
	{
		shared->prepared[n].dboid = dboid;
		shared->prepared[n].xid = xid;
		shared->prepared_used = Max(shared->prepared_used, n + 1);
	}
	LWLockRelease(&shared->lock);
	ij_root_wake_launcher();
}

/*
 * ------------------------------------------------------------
 * The launcher
 * ------------------------------------------------------------
 */

/* only the launcher reads or writes this */
bool
ij_databases_scan_wanted(void)
{
	return !shared->scanned;
}

void
ij_databases_scan_done(void)
{
	shared->scanned = true;
}

void
ij_databases_probe(Oid dboid)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	(void) make_slot(dboid);
	LWLockRelease(&shared->lock);
}

bool
ij_databases_purge_wanted(void)
{
	bool		wanted;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	wanted = shared->purge_wanted;
	shared->purge_wanted = false;
	LWLockRelease(&shared->lock);
	return wanted;
}

void
ij_databases_forget(Oid dboid)
{
	IjSlot	   *slot;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	slot = find_slot(dboid);
	if (slot != NULL && slot->database.worker_pid == 0)
		free_slot(slot);
	LWLockRelease(&shared->lock);
}

void
ij_databases_starting_worker(Oid dboid, TimestampTz now)
{
	IjSlot	   *slot;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	slot = find_slot(dboid);
	if (slot != NULL)
	{
		slot->database.started_at = now;
		slot->database.making_way = false;
	}
	LWLockRelease(&shared->lock);
}

void
ij_databases_hold(Oid dboid, TimestampTz until, bool making_way)
{
	IjSlot	   *slot;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	slot = find_slot(dboid);
	if (slot != NULL)
	{
		slot->database.hold_until = until;
		slot->database.making_way = making_way;
	}
	LWLockRelease(&shared->lock);
}

static void
count_failure(IjDatabase *database, TimestampTz now)
{
	database->failures++;
	database->hold_until =
		TimestampTzPlusMilliseconds(now, ij_growing_pause(database->failures, BACKOFF_FIRST_MS, BACKOFF_LAST_MS));
}

void
ij_databases_worker_lost(Oid dboid, TimestampTz now)
{
	IjSlot	   *slot;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	slot = find_slot(dboid);
	if (slot != NULL)
		count_failure(&slot->database, now);
	LWLockRelease(&shared->lock);
}

void
ij_databases_clock_set_back(TimestampTz now)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared->slots_used; i++)
	{
		IjDatabase *database = &shared->slots[i].database;

		database->hold_until = Min(database->hold_until, now);
		database->started_at = Min(database->started_at, now);
		database->heal_after = Min(database->heal_after, now);
	}
	LWLockRelease(&shared->lock);
}

void
ij_databases_ask_to_yield(Oid dboid)
{
	IjSlot	   *slot;
	Latch	   *latch = NULL;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	slot = find_slot(dboid);
	if (slot != NULL && !slot->database.yield_wanted)
	{
		slot->database.yield_wanted = true;
		latch = slot->worker_latch;
	}
	LWLockRelease(&shared->lock);
	if (latch != NULL)
		SetLatch(latch);
}

void
ij_databases_heal(bool written, TimestampTz now)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared->slots_used; i++)
	{
		IjSlot	   *s = &shared->slots[i];

		if (!OidIsValid(s->database.dboid) || !(written || s->database.heal_owed))
			continue;
		s->database.heal_owed = s->database.full_running || s->database.full_paused || now < s->database.heal_after;
		if (s->database.heal_owed)
			continue;
		s->database.full_wanted = true;
		if (s->worker_latch != NULL)
			SetLatch(s->worker_latch);
	}
	LWLockRelease(&shared->lock);
}

uint64
ij_databases_foreign_xids(void)
{
	uint64		own;

	LWLockAcquire(&shared->lock, LW_SHARED);
	own = shared->own_xids;
	LWLockRelease(&shared->lock);
	return U64FromFullTransactionId(ReadNextFullTransactionId()) - own;
}

bool
ij_databases_poll_prepared(void)
{
	int			used;
	bool		left = false;

	LWLockAcquire(&shared->lock, LW_SHARED);
	used = shared->prepared_used;
	LWLockRelease(&shared->lock);

	for (int i = 0; i < used; i++)
	{
		IjPrepared	prepared;
		IjSlot	   *slot;
		Latch	   *latch = NULL;

		LWLockAcquire(&shared->lock, LW_SHARED);
		prepared = shared->prepared[i];
		LWLockRelease(&shared->lock);

		if (!OidIsValid(prepared.dboid))
			continue;

		/* may have to read the subtransaction log, so not under our lock */
		if (TransactionIdIsInProgress(prepared.xid))
		{
			left = true;
			continue;
		}

		/* only the launcher removes an entry, so it is still this one */
		LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
		shared->prepared[i].dboid = InvalidOid;
		while (shared->prepared_used > 0 &&
			   !OidIsValid(shared->prepared[shared->prepared_used - 1].dboid))
			shared->prepared_used--;
		slot = make_slot(prepared.dboid);
		if (slot != NULL)
		{
			slot->database.full_wanted = true;
			latch = slot->worker_latch;
		}
		LWLockRelease(&shared->lock);
		if (latch != NULL)
			SetLatch(latch);
	}
	return left;
}

/*
 * ------------------------------------------------------------
 * A worker
 * ------------------------------------------------------------
 */

bool
ij_worker_take_database(Oid dboid)
{
	bool		taken = false;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	my_slot = find_slot(dboid);
	if (my_slot != NULL && my_slot->database.worker_pid == 0)
	{
		my_slot->database.worker_pid = MyProcPid;
		my_slot->database.activity = IJ_WORKER_CONNECTING;
		my_slot->database.starts++;
		my_slot->database.yield_wanted = false;
		my_slot->worker_latch = MyLatch;
		taken = true;
	}
	else
		my_slot = NULL;
	LWLockRelease(&shared->lock);

	/* only now can the launcher ask us to make room for others that wait */
	if (taken)
		ij_root_wake_launcher();
	return taken;
}

/*
 * The launcher is woken in any case: there is a free place now.
 */
void
ij_worker_leave_database(bool failed, TimestampTz hold_until, bool making_way)
{
	if (my_slot != NULL)
	{
		TimestampTz now = GetCurrentTimestamp();

		LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
		my_slot->database.worker_pid = 0;
		my_slot->database.activity = IJ_WORKER_NONE;
		my_slot->database.full_running = false;
		my_slot->database.yield_wanted = false;
		my_slot->worker_latch = NULL;
		if (failed)
			count_failure(&my_slot->database, now);
		else
		{
			my_slot->database.hold_until = hold_until;
			my_slot->database.making_way = making_way;
		}
		my_slot = NULL;
		LWLockRelease(&shared->lock);
	}
	ij_root_wake_launcher();
}

void
ij_worker_drop_told(void)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	clear_told(my_slot);
	LWLockRelease(&shared->lock);
}

bool
ij_worker_give_back(void)
{
	bool		given = false;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	if (!my_slot->database.full_wanted && my_slot->database.told.length == 0 &&
		my_slot->database.next_deadline == DT_NOEND)
	{
		my_slot->database.worker_pid = 0;
		my_slot->worker_latch = NULL;
		free_slot(my_slot);
		my_slot = NULL;
		given = true;
	}
	LWLockRelease(&shared->lock);
	return given;
}

void
ij_worker_get(IjDatabase *database)
{
	LWLockAcquire(&shared->lock, LW_SHARED);
	*database = my_slot->database;
	LWLockRelease(&shared->lock);
}

void
ij_worker_set_activity(IjWorkerActivity activity)
{
	/* a word of its own, and only this process writes it */
	my_slot->database.activity = activity;
}

void
ij_worker_found_extension(bool complete)
{
	IjDatabase *database = &my_slot->database;

	/* only this process writes them */
	if (database->probed && database->incomplete == !complete)
		return;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	/* what was told while it was incomplete is gone: look at everything */
	if (database->incomplete && complete)
		database->full_wanted = true;
	database->probed = true;
	database->incomplete = !complete;
	LWLockRelease(&shared->lock);
}

int
ij_worker_take_told(IjTold *told, int max)
{
	int			n = 0;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	while (n < max && ij_told_dequeue(&my_slot->database.told, &told[n]))
		n++;
	LWLockRelease(&shared->lock);
	return n;
}

void
ij_worker_put_back(const IjTold *told)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	if (told != NULL)
		enqueue_told(my_slot, told);
	else
		my_slot->database.full_wanted = true;
	LWLockRelease(&shared->lock);
}

bool
ij_worker_take_full(bool *has_cursor, IjTold *cursor)
{
	bool		wanted;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	*has_cursor = my_slot->database.full_paused;
	if (*has_cursor)
	{
		/* go on where the last worker stopped; a newer wish stays for afterwards */
		*cursor = my_slot->cursor;
		my_slot->database.full_paused = false;
		wanted = true;
	}
	else
	{
		wanted = my_slot->database.full_wanted;
		my_slot->database.full_wanted = false;
		if (wanted)
			my_slot->database.heal_owed = false;
	}
	my_slot->database.full_running = wanted;
	LWLockRelease(&shared->lock);
	return wanted;
}

void
ij_worker_pause_full(const IjTold *cursor)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	if (cursor != NULL)
	{
		my_slot->cursor = *cursor;
		my_slot->database.full_paused = true;
	}
	else
		my_slot->database.full_wanted = true;
	LWLockRelease(&shared->lock);
}

void
ij_worker_ended_full(int64 microseconds)
{
	IjDatabase *database = &my_slot->database;
	TimestampTz after = GetCurrentTimestamp() + Min(HEAL_REST * microseconds, HEAL_REST_LAST);

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	database->full_running = false;
	database->heal_after = after;
	LWLockRelease(&shared->lock);
}

TimestampTz
ij_worker_list_due(TimestampTz upto)
{
	IjDatabase *database = &my_slot->database;
	TimestampTz from;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	/* a clock that was set back must not hide the deadlines that come again */
	from = Min(database->watermark, upto);
	database->watermark = upto;
	if (database->next_deadline <= upto && database->next_deadline < database->overdue)
		database->overdue = database->next_deadline;
	database->next_deadline = DT_NOEND;
	LWLockRelease(&shared->lock);
	return from;
}

/*
 * Since ij_worker_list_due() any commit may have told a deadline, earlier than
 * those listed or not: so only ever lower what is there.
 */
void
ij_worker_listed_due(TimestampTz reached, TimestampTz next)
{
	IjDatabase *database = &my_slot->database;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	database->watermark = Min(database->watermark, reached);
	database->next_deadline = Min(database->next_deadline, next);
	LWLockRelease(&shared->lock);
}

void
ij_worker_nothing_overdue(void)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	my_slot->database.overdue = DT_NOEND;
	LWLockRelease(&shared->lock);
}

void
ij_worker_count_pass(int64 expired, int64 completed, int64 deleted, int own_xids)
{
	IjDatabase *database = &my_slot->database;
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	database->passes++;
	database->last_pass = now;
	database->expired += expired;
	database->completed += completed;
	database->deleted += deleted;
	shared->own_xids += own_xids;
	LWLockRelease(&shared->lock);
}

void
ij_worker_succeeded(void)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	my_slot->database.failures = 0;
	LWLockRelease(&shared->lock);
}

bool
ij_worker_note_error(const char *message, bool may_log)
{
	TimestampTz now = GetCurrentTimestamp();
	char		cut[IJ_ERROR_BYTES];
	int			len = pg_mbcliplen(message, strlen(message), IJ_ERROR_BYTES - 1);
	bool		log;

	memset(cut, 0, sizeof(cut));
	memcpy(cut, message, len);

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	log = may_log &&
		(strcmp(my_slot->last_error, cut) != 0 ||
		 now >= TimestampTzPlusMilliseconds(my_slot->logged_at, LOG_AGAIN_MS));
	if (log)
		my_slot->logged_at = now;
	memcpy(my_slot->last_error, cut, sizeof(cut));
	my_slot->database.last_error_at = now;
	my_slot->database.failures++;
	LWLockRelease(&shared->lock);
	return log;
}
