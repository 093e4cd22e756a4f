/*
 * marks.c
 *		Where the live part of a device's index entries begins, remembered for all sessions.
 *
 * In the lean profile the device index holds finished executions, too, and they come
 * first.  So a claim that passed over many of them leaves a mark: a time before which
 * nothing of this device is open.  And in either profile a tenant-wide claim that found
 * nothing QUEUED leaves a mark that there is nothing.  Unlike a hint, a mark that is
 * wrong would hide a row from those who look for it.  Losing one costs a longer walk.
 *
 * What has ended never opens again, so only an addition can make a mark wrong: one
 * whose queued_at, the start of its transaction perhaps, lies before the mark by the
 * time it commits.  Nobody waits for that; it is found out afterwards:
 *
 *	The look				The addition
 *	1 announce the latest	1 commit, so that it can be seen
 *	  mark it may set		2 read what was announced; if it was queued
 *	2 read the round, then	  before that, begin a new round
 *	  what is prepared
 *	3 take a snapshot
 *	4 does it find that ended?
 *	5 use marks of the round
 *	  read, set others
 *
 * A mark is in force as long as its round lasts.  If the look announces before the
 * addition reads, the round ends, and with it the mark.  Otherwise the addition could
 * be seen before the snapshot was taken, so the look has seen it.  The session that
 * added is told of its commit only after step 2, so whoever asks later finds the row.
 * The latest mark that a look may set is a minute old: then an ordinary addition, whose
 * transaction is shorter than that, ends no round.  A tenant's mark that there is
 * nothing is ended by any addition.
 *
 * COMMIT PREPARED runs in another session and calls nobody.  So PREPARE notes its
 * transaction in the room, and then begins a new round: who reads that round reads the
 * note, too, and has no marks unless his snapshot finds that transaction, and all that
 * are older, ended.  Nobody noted what was prepared before the area was made.  So the
 * first who comes to a room, to look or to prepare, notes every transaction until then.
 *
 * Who adds executions and cannot attach to the area ends no round either, but says so
 * beside the root (root.c); from then on nobody has marks.
 *
 * Writers whose additions no trigger sees (session_replication_role = replica, disabled
 * triggers) are to call wake_job_worker(), which ends all rounds; if they do not, marks
 * end after a while by themselves.
 *
 * A room is shared by the tenants that hash to it; that ends a round now and then for
 * no reason of one's own.
 *
 * Locks: set s of the marks is guarded by IjMarks.locks[s % LOCKS], held alone and for
 * moments.  The rooms are atomic variables; the order above relies on the full barriers
 * of taking a snapshot, of ending a transaction and of read-modify-write operations.
 */
#include "postgres.h"

#include "access/twophase.h"
#include "access/xlog.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "utils/timestamp.h"

#include "fault.h"
#include "iot_jobs.h"
#include "marks.h"
#include "root.h"
#include "shmem.h"
#include "xids.h"

/* 131072 marks in 3 MB; a device beyond them has its history walked over at each claim */
#define SETS	32768
#define WAYS	4
#define LOCKS	64

/* how old a mark is when it is set, and how finely that is announced */
#define MARK_AGE	(60 * USECS_PER_SEC)
#define MARK_STEP	(10 * USECS_PER_SEC)

/* after this long marks end by themselves */
#define DEVICE_SPAN	(24 * 60 * 60 * USECS_PER_SEC)
#define TENANT_SPAN	(5 * 60 * USECS_PER_SEC)
/* without history a look costs what is IN_PROGRESS: once a second, however many gateways ask */
#define OPEN_TENANT_SPAN	USECS_PER_SEC

/* the low bits of a round count its spans, so that it changes with time, too */
#define SPAN_BITS	16

/* as Room.prepared: nobody came to the room yet */
#define NOT_NOTED	PG_UINT64_MAX

typedef struct Room
{
	pg_atomic_uint64 announced; /* the latest mark that a look may have set, 0: none */
	pg_atomic_uint64 late;		/* additions queued before that, as they were committed */
	pg_atomic_uint64 added;		/* additions at all */
	pg_atomic_uint64 prepared;	/* a transaction before this one may be prepared; 0: none, or NOT_NOTED */
} Room;

typedef struct Mark
{
	uint64		key;
	uint64		round;
	TimestampTz before;
} Mark;

typedef struct IjMarks
{
	uint64		seed;			/* never changes */
	Room		rooms[IJ_MARK_ROOMS];
	LWLockPadded locks[LOCKS];
	Mark		sets[SETS][WAYS];	/* the newest mark of a set comes first */
} IjMarks;

static IjMarks *marks = NULL;

Size
ij_marks_size(void)
{
	return sizeof(IjMarks);
}

void
ij_marks_init(void *place, int tranche_id, uint64 seed)
{
	IjMarks    *fresh = place;

	memset(fresh, 0, sizeof(IjMarks));
	fresh->seed = seed;
	for (int i = 0; i < IJ_MARK_ROOMS; i++)
	{
		pg_atomic_init_u64(&fresh->rooms[i].announced, 0);
		pg_atomic_init_u64(&fresh->rooms[i].late, 0);
		pg_atomic_init_u64(&fresh->rooms[i].added, 0);
		pg_atomic_init_u64(&fresh->rooms[i].prepared, NOT_NOTED);
	}
	for (int i = 0; i < LOCKS; i++)
		LWLockInitialize(&fresh->locks[i].lock, tranche_id);
}

void
ij_marks_attach(void *place)
{
	marks = place;
}

/* ------------------------------------------------------------------------
 * Rooms
 * ------------------------------------------------------------------------
 */

static uint64
tenant_key(const text *tenant_id)
{
	return ij_hash_text(tenant_id, hash_combine64(marks->seed, MyDatabaseId));
}

int
ij_marks_room(const text *tenant_id)
{
	return tenant_key(tenant_id) % IJ_MARK_ROOMS;
}

static void
announce(Room *room, TimestampTz upto)
{
	uint64		announced = pg_atomic_read_u64(&room->announced);

	while (announced < (uint64) upto &&
		   !pg_atomic_compare_exchange_u64(&room->announced, &announced, (uint64) upto))
		;
	/* what is read, and seen, from here on comes after it */
	pg_memory_barrier();
}

static uint64
round_of(uint64 count, TimestampTz now, int64 span)
{
	return (count << SPAN_BITS) | ((uint64) (now / span) & ((1 << SPAN_BITS) - 1));
}

/* What is noted in the room; during recovery perhaps nothing. */
static uint64
prepared_in(Room *room)
{
	uint64		prepared = pg_atomic_read_u64(&room->prepared);

	if (prepared == NOT_NOTED && !RecoveryInProgress())
	{
		uint64		next = max_prepared_xacts > 0 ? ij_next_xid() : 0;

		IJ_FAULT(room_entered);
		if (pg_atomic_compare_exchange_u64(&room->prepared, &prepared, next))
			prepared = next;
	}
	return prepared;
}

bool
ij_marks_open(IjMarkView *view, const text *tenant_id, bool has_history)
{
	TimestampTz now = GetCurrentTimestamp();
	Room	   *room;

	if (!ij_shmem_attach() || ij_root_some_unattached())
		return false;
	view->room = ij_marks_room(tenant_id);
	room = &marks->rooms[view->room];
	view->tenant_id = tenant_id;
	view->upto = now - MARK_AGE;
	view->upto -= view->upto % MARK_STEP;
	if (view->upto <= 0)
		return false;			/* a clock of before 2000 */
	announce(room, view->upto);
	view->device_round = round_of(pg_atomic_read_u64(&room->late), now, DEVICE_SPAN);
	view->tenant_round = round_of(pg_atomic_read_u64(&room->added), now, has_history ? TENANT_SPAN : OPEN_TENANT_SPAN);
	/* a round begins after the note that it is for */
	pg_read_barrier();
	view->prepared = prepared_in(room);
	return true;
}

bool
ij_marks_valid_for(const IjMarkView *view, Snapshot snapshot)
{
	uint64		prepared = view->prepared;

	if (prepared == 0)
		return true;
	if (prepared == NOT_NOTED || ij_widen_xid(snapshot->xmin, ij_next_xid()) < prepared)
		return false;
	/* they have ended for good: the next need not ask */
	pg_atomic_compare_exchange_u64(&marks->rooms[view->room].prepared, &prepared, 0);
	return true;
}

void
ij_marks_added(int number, TimestampTz queued_at)
{
	Room	   *room = &marks->rooms[number];

	pg_memory_barrier();
	pg_atomic_fetch_add_u64(&room->added, 1);
	if (queued_at < (TimestampTz) pg_atomic_read_u64(&room->announced))
		pg_atomic_fetch_add_u64(&room->late, 1);
}

static void
begin_round(Room *room)
{
	pg_atomic_fetch_add_u64(&room->late, 1);
	pg_atomic_fetch_add_u64(&room->added, 1);
}

void
ij_marks_prepared(int number, FullTransactionId xid)
{
	Room	   *room = &marks->rooms[number];
	uint64		after = U64FromFullTransactionId(xid) + 1;
	uint64		prepared = prepared_in(room);

	while (prepared < after && !pg_atomic_compare_exchange_u64(&room->prepared, &prepared, after))
		;
	begin_round(room);
}

void
ij_marks_forget_all(void)
{
	for (int i = 0; i < IJ_MARK_ROOMS; i++)
		begin_round(&marks->rooms[i]);
}

/* ------------------------------------------------------------------------
 * Marks
 * ------------------------------------------------------------------------
 */

/* no device id is empty: the tenant itself has the key of none */
static uint64
mark_key(const IjMarkView *view, const text *device_id)
{
	uint64		key = tenant_key(view->tenant_id);

	return device_id ? ij_hash_text(device_id, key) : key;
}

static Mark *
mark_set_of(uint64 key, LWLock **lock)
{
	int			set = key % SETS;

	*lock = &marks->locks[set % LOCKS].lock;
	return marks->sets[set];
}

static bool
get_mark(uint64 key, uint64 round, TimestampTz *before)
{
	LWLock	   *lock;
	Mark	   *set = mark_set_of(key, &lock);
	bool		found = false;

	LWLockAcquire(lock, LW_SHARED);
	for (int i = 0; i < WAYS && !found; i++)
	{
		found = (set[i].key == key && set[i].round == round && set[i].before != 0);
		if (found)
			*before = set[i].before;
	}
	LWLockRelease(lock);
	return found;
}

static void
set_mark(uint64 key, uint64 round, TimestampTz before)
{
	LWLock	   *lock;
	Mark	   *set = mark_set_of(key, &lock);
	int			place = 0;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	/* its own place if it has one, else that of the oldest */
	while (place < WAYS - 1 && set[place].key != key)
		place++;
	memmove(&set[1], &set[0], place * sizeof(Mark));
	set[0].key = key;
	set[0].round = round;
	set[0].before = before;
	LWLockRelease(lock);
}

TimestampTz
ij_marks_device(const IjMarkView *view, const text *device_id)
{
	TimestampTz before;

	return get_mark(mark_key(view, device_id), view->device_round, &before) ? before : DT_NOBEGIN;
}

void
ij_marks_set_device(const IjMarkView *view, const text *device_id, TimestampTz before)
{
	/* times before 2000 are not worth a mark */
	if (before > 0)
		set_mark(mark_key(view, device_id), view->device_round, Min(before, view->upto));
}

bool
ij_marks_tenant_done(const IjMarkView *view)
{
	TimestampTz before;

	return get_mark(mark_key(view, NULL), view->tenant_round, &before);
}

void
ij_marks_set_tenant_done(const IjMarkView *view)
{
	set_mark(mark_key(view, NULL), view->tenant_round, view->upto);
}
