/*
 * shmem.c
 *		The memory that backends, the launcher and the workers share.
 *
 * There is one way to it, whether or not the library is in
 * shared_preload_libraries: a small root in the server's main shared memory, and
 * one flat area that the root points to.  The root is small enough for the slop
 * that every server keeps for late comers, so CREATE EXTENSION needs no restart.
 * The area is a pinned DSM segment: made by whoever needs it first, never freed,
 * never grown, and without an allocation inside, so that nothing done to it can
 * fail.  That matters because most of it happens in a commit callback, where an
 * error would be a PANIC.
 *
 * The area holds
 *	- a slot for each database known, with what its worker has to do and did;
 *	- the queue of jobs told to each worker, deduplicated over all databases;
 *	- the transactions prepared with something to tell;
 *	- hints, a set-associative cache of device ids.
 *
 * Locks:
 *	IjRoot.lock		the root; taken for moments, and while the area is made
 *	IjArea.lock		slots, queue and prepared transactions
 *	IjArea.hint_locks	each a part of the hint sets
 * No two of them are ever held together, nothing is called under them but memory
 * moves and SetLatch(), and what is a plain word may be read without them where a
 * stale answer does no harm.
 *
 * Latch pointers are fine here: they point into the array of PGPROCs, which lies
 * in main shared memory and has one address in all processes.  Setting the latch
 * of a process that has gone wakes a stranger once, which latches allow.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/twophase.h"
#include "common/hashfn.h"
#include "common/pg_prng.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "shmem.h"

/*
 * Jobs told and not yet taken.  A worker takes them within milliseconds, so this
 * covers a burst; what does not fit costs a full pass.
 */
#define MAX_TOLD			8192

/* prepared transactions remembered; one too many is found by the next heal */
#define MAX_PREPARED		1024

/* 16384 hints in 2.3 MB; a job beyond them costs its reporters a wake-up each */
#define HINT_SETS			4096
#define HINT_WAYS			4
#define HINT_LOCKS			16

/* after this long without a sign of it, a registered launcher is thought lost */
#define REGISTER_PATIENCE_MS	5000

/* a backend that could not attach tries again after this long */
#define ATTACH_RETRY_MS		10000

/* first and longest pause after failures in a row */
#define BACKOFF_FIRST_MS	500
#define BACKOFF_LAST_MS		60000

/* the same error is logged once in this time */
#define LOG_AGAIN_MS		60000

#define NOTHING				(-1)

typedef struct IjRoot
{
	LWLock		lock;			/* guards all below */
	int			tranche_id;		/* never changes */
	dsm_handle	area;			/* DSM_HANDLE_INVALID until made */
	bool		complained;		/* that there is no area */
	pid_t		launcher_pid;	/* 0: none; read without lock too */
	Latch	   *launcher_latch;
	bool		launcher_preloaded;
	bool		register_failed;	/* and that was logged */
	TimestampTz registered_at;	/* when a launcher was last asked for */
} IjRoot;

typedef struct IjSlot
{
	IjDatabase	database;		/* dboid is read without lock too */
	Latch	   *worker_latch;	/* NULL without a worker */
	int			first_told;		/* queue of entries of told[]; NOTHING if empty */
	int			last_told;
	IjTold		cursor;			/* valid if full_paused */
	TimestampTz logged_at;		/* when last_error was last logged */
	char		last_error[IJ_ERROR_BYTES];
} IjSlot;

typedef struct IjToldEntry
{
	uint64		hash;
	int			slot;
	int			next_in_queue;	/* or in the list of free entries */
	int			next_in_bucket;
	IjTold		told;
} IjToldEntry;

typedef struct IjPrepared
{
	Oid			dboid;			/* InvalidOid: free */
	TransactionId xid;
} IjPrepared;

typedef struct IjHint
{
	uint64		key;
	uint16		len;			/* 0: free; no device id is empty */
	char		device[IJ_HINT_BYTES];
} IjHint;

typedef struct IjArea
{
	uint64		seed;			/* never changes: keys cannot be guessed from outside */

	LWLock		lock;			/* guards from here to the hints */
	bool		scanned;		/* a launcher has looked at all databases */
	bool		purge_wanted;	/* no slot was free */
	uint64		own_xids;		/* transaction ids used by workers */
	int			slots_used;		/* no slot at or after this one is in use */
	IjSlot		slots[IJ_MAX_DATABASES];
	int			free_told;
	int			buckets[MAX_TOLD];
	IjToldEntry told[MAX_TOLD];
	int			prepared_used;	/* likewise */
	IjPrepared	prepared[MAX_PREPARED];

	/* set s is guarded by hint_locks[s % HINT_LOCKS]; the newest hint of a set comes first */
	LWLockPadded hint_locks[HINT_LOCKS];
	IjHint		hints[HINT_SETS][HINT_WAYS];
} IjArea;

static IjRoot *root = NULL;
static IjArea *area = NULL;

/* the slot of this database as last seen; may be stale in a session, never in its worker */
static int	my_slot = NOTHING;

static TimestampTz attach_again_at = 0;

/*
 * ------------------------------------------------------------
 * Root and area
 * ------------------------------------------------------------
 */

void
ij_shmem_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(IjRoot)));
}

/*
 * The postmaster runs this again after a crash, with all shared memory anew: so
 * forget what was known.
 */
void
ij_shmem_startup(void)
{
	bool		found;

	area = NULL;
	my_slot = NOTHING;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	root = ShmemInitStruct("iot_jobs", sizeof(IjRoot), &found);
	if (!found)
	{
		memset(root, 0, sizeof(IjRoot));
		root->tranche_id = LWLockNewTrancheId();
		LWLockInitialize(&root->lock, root->tranche_id);
		root->area = DSM_HANDLE_INVALID;

		/* when preloading, the launcher is registered right after */
		if (process_shared_preload_libraries_in_progress || !IsUnderPostmaster)
			root->registered_at = GetCurrentTimestamp();
	}
	LWLockRelease(AddinShmemInitLock);
	LWLockRegisterTranche(root->tranche_id, "iot_jobs");
}

static void
init_area(IjArea *fresh)
{
	memset(fresh, 0, sizeof(IjArea));
	fresh->seed = pg_prng_uint64(&pg_global_prng_state);
	LWLockInitialize(&fresh->lock, root->tranche_id);
	for (int i = 0; i < HINT_LOCKS; i++)
		LWLockInitialize(&fresh->hint_locks[i].lock, root->tranche_id);
	for (int i = 0; i < MAX_TOLD; i++)
	{
		fresh->buckets[i] = NOTHING;
		fresh->told[i].next_in_queue = i + 1 < MAX_TOLD ? i + 1 : NOTHING;
	}
	fresh->free_told = 0;
}

static bool
map_area(void)
{
	dsm_segment *segment;

	LWLockAcquire(&root->lock, LW_EXCLUSIVE);
	if (root->area != DSM_HANDLE_INVALID)
		segment = dsm_attach(root->area);
	else
	{
		segment = dsm_create(sizeof(IjArea), DSM_CREATE_NULL_IF_MAXSEGMENTS);
		if (segment != NULL)
		{
			init_area(dsm_segment_address(segment));
			dsm_pin_segment(segment);
			root->area = dsm_segment_handle(segment);
		}
	}
	LWLockRelease(&root->lock);

	if (segment == NULL)
		return false;
	area = dsm_segment_address(segment);
	return true;
}

static void
release_if_held(LWLock *lock)
{
	if (LWLockHeldByMe(lock))
	{
		/* the error forgot what the acquisition held off; compare LWLockReleaseAll() */
		HOLD_INTERRUPTS();
		LWLockRelease(lock);
	}
}

/*
 * Attach, turning an error into its message.
 *
 * A catch without an abort is sound here because nothing within can have changed
 * more than what is put back below: there is no resource owner, so that the
 * mapping lasts as long as the process, and no lock but the two released.
 */
static bool
attach_quietly(char **message)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	uint32		holdoff = InterruptHoldoffCount;
	volatile bool attached = false;

	*message = NULL;
	CurrentResourceOwner = NULL;
	PG_TRY();
	{
		if (root == NULL)
			ij_shmem_startup();
		attached = map_area();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		InterruptHoldoffCount = holdoff;
		if (root != NULL)
			release_if_held(&root->lock);
		release_if_held(AddinShmemInitLock);

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		*message = error->message;
	}
	PG_END_TRY();
	CurrentResourceOwner = owner;
	return attached;
}

bool
ij_shmem_attach(void)
{
	static bool complained = false;
	TimestampTz now;
	char	   *message;

	if (likely(area != NULL))
		return true;

	/* nobody to share with: a single-user server, or the postmaster itself */
	if (!IsUnderPostmaster)
		return false;

	now = GetCurrentTimestamp();
	if (now < attach_again_at)
		return false;
	if (attach_quietly(&message))
		return true;
	attach_again_at = TimestampTzPlusMilliseconds(now, ATTACH_RETRY_MS);

	/* once a server if the root is there to remember, else once a process */
	if (root != NULL)
	{
		LWLockAcquire(&root->lock, LW_EXCLUSIVE);
		complained = root->complained;
		root->complained = true;
		LWLockRelease(&root->lock);
	}
	if (!complained)
		ereport(LOG,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("iot_jobs has no shared memory and works without a worker"),
				 errdetail_internal("%s", message ? message : _("Too many dynamic shared memory segments.")),
				 errhint("Call run_job_sweep() regularly, or free shared memory and restart the server.")));
	complained = true;
	return false;
}

/*
 * ------------------------------------------------------------
 * Hints
 * ------------------------------------------------------------
 */

static uint64
hash_bytes_of(const text *value, uint64 seed)
{
	return hash_bytes_extended((const unsigned char *) VARDATA_ANY(value),
							   VARSIZE_ANY_EXHDR(value), seed);
}

uint64
ij_shmem_hash(const text *value)
{
	return hash_bytes_of(value, area->seed);
}

/*
 * Different hints could meet in one key.  With a secret seed and 64 bits that
 * takes longer than any server runs.
 */
static uint64
hint_key(IjHintKind kind, const text *tenant_id, const text *job_id)
{
	uint64		key = area->seed;

	key = hash_combine64(key, ((uint64) MyDatabaseId << 8) | kind);
	key = hash_bytes_of(tenant_id, key);
	if (job_id != NULL)
		key = hash_bytes_of(job_id, key);
	return key;
}

static IjHint *
hint_set_of(uint64 key, LWLock **lock)
{
	int			set = key % HINT_SETS;

	*lock = &area->hint_locks[set % HINT_LOCKS].lock;
	return area->hints[set];
}

/* copy the device remembered; its length, or 0 */
static int
read_hint(IjHintKind kind, const text *tenant_id, const text *job_id, char *device)
{
	uint64		key = hint_key(kind, tenant_id, job_id);
	LWLock	   *lock;
	IjHint	   *set = hint_set_of(key, &lock);
	int			len = 0;

	LWLockAcquire(lock, LW_SHARED);
	for (int i = 0; i < HINT_WAYS; i++)
	{
		if (set[i].key == key && set[i].len > 0)
		{
			len = set[i].len;
			memcpy(device, set[i].device, len);
			break;
		}
	}
	LWLockRelease(lock);
	return len;
}

text *
ij_hint_get(IjHintKind kind, const text *tenant_id, const text *job_id)
{
	char		device[IJ_HINT_BYTES];
	int			len;
	text	   *result;

	if (!ij_shmem_attach())
		return NULL;
	len = read_hint(kind, tenant_id, job_id, device);
	if (len == 0)
		return NULL;
	result = palloc(VARHDRSZ + len);
	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), device, len);
	return result;
}

bool
ij_hint_peek(IjHintKind kind, const text *tenant_id, const text *job_id, uint64 *device_hash)
{
	char		device[IJ_HINT_BYTES];
	int			len = read_hint(kind, tenant_id, job_id, device);

	if (len == 0)
		return false;
	*device_hash = hash_bytes_extended((const unsigned char *) device, len, area->seed);
	return true;
}

/* take the hint out of its set, moving the older ones up */
static void
remove_hint(IjHint *set, uint64 key)
{
	for (int i = 0; i < HINT_WAYS; i++)
	{
		if (set[i].key == key && set[i].len > 0)
		{
			memmove(&set[i], &set[i + 1], (HINT_WAYS - 1 - i) * sizeof(IjHint));
			set[HINT_WAYS - 1].len = 0;
			return;
		}
	}
}

void
ij_hint_set(IjHintKind kind, const text *tenant_id, const text *job_id, const text *device_id)
{
	Size		len = VARSIZE_ANY_EXHDR(device_id);
	uint64		key;
	LWLock	   *lock;
	IjHint	   *set;

	if (!ij_shmem_attach())
		return;
	key = hint_key(kind, tenant_id, job_id);
	set = hint_set_of(key, &lock);

	LWLockAcquire(lock, LW_EXCLUSIVE);
	remove_hint(set, key);
	if (len > 0 && len <= IJ_HINT_BYTES)
	{
		/* the oldest of the set gives way */
		memmove(&set[1], &set[0], (HINT_WAYS - 1) * sizeof(IjHint));
		set[0].key = key;
		set[0].len = len;
		memcpy(set[0].device, VARDATA_ANY(device_id), len);
	}
	LWLockRelease(lock);
}

void
ij_hint_forget(IjHintKind kind, const text *tenant_id, const text *job_id)
{
	uint64		key;
	LWLock	   *lock;
	IjHint	   *set;

	if (!ij_shmem_attach())
		return;
	key = hint_key(kind, tenant_id, job_id);
	set = hint_set_of(key, &lock);

	LWLockAcquire(lock, LW_EXCLUSIVE);
	remove_hint(set, key);
	LWLockRelease(lock);
}

/*
 * ------------------------------------------------------------
 * Told jobs.  The caller of each function here holds area->lock exclusively.
 * ------------------------------------------------------------
 */

bool
ij_told_make(IjTold *told, const text *tenant_id, const text *job_id)
{
	Size		tenant_len = VARSIZE_ANY_EXHDR(tenant_id);
	Size		job_len = VARSIZE_ANY_EXHDR(job_id);

	if (tenant_len + job_len > IJ_TOLD_BYTES)
		return false;
	told->tenant_len = tenant_len;
	told->job_len = job_len;
	memcpy(told->bytes, VARDATA_ANY(tenant_id), tenant_len);
	memcpy(told->bytes + tenant_len, VARDATA_ANY(job_id), job_len);
	return true;
}

static text *
make_text(const char *bytes, int len)
{
	text	   *result = palloc(VARHDRSZ + len);

	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), bytes, len);
	return result;
}

text *
ij_told_tenant(const IjTold *told)
{
	return make_text(told->bytes, told->tenant_len);
}

text *
ij_told_job(const IjTold *told)
{
	return make_text(told->bytes + told->tenant_len, told->job_len);
}

static uint64
told_hash(const IjTold *told, int slot)
{
	uint64		hash = hash_combine64(area->seed, ((uint64) slot << 16) | told->tenant_len);

	return hash_bytes_extended((const unsigned char *) told->bytes,
							   told->tenant_len + told->job_len, hash);
}

static bool
told_equal(const IjTold *a, const IjTold *b)
{
	return a->tenant_len == b->tenant_len && a->job_len == b->job_len &&
		memcmp(a->bytes, b->bytes, a->tenant_len + a->job_len) == 0;
}

/* queue the job unless it is queued already; a full table becomes a full pass */
static void
enqueue_told(int slot, const IjTold *told)
{
	IjSlot	   *s = &area->slots[slot];
	uint64		hash = told_hash(told, slot);
	int		   *bucket = &area->buckets[hash % MAX_TOLD];
	int			n;
	IjToldEntry *entry;

	for (n = *bucket; n != NOTHING; n = area->told[n].next_in_bucket)
	{
		entry = &area->told[n];
		if (entry->hash == hash && entry->slot == slot && told_equal(&entry->told, told))
			return;
	}

	n = area->free_told;
	if (n == NOTHING)
	{
		s->database.full_wanted = true;
		return;
	}
	entry = &area->told[n];
	area->free_told = entry->next_in_queue;

	entry->hash = hash;
	entry->slot = slot;
	entry->next_in_bucket = *bucket;
	*bucket = n;
	entry->told.tenant_len = told->tenant_len;
	entry->told.job_len = told->job_len;
	memcpy(entry->told.bytes, told->bytes, told->tenant_len + told->job_len);

	entry->next_in_queue = NOTHING;
	if (s->first_told == NOTHING)
		s->first_told = n;
	else
		area->told[s->last_told].next_in_queue = n;
	s->last_told = n;
	s->database.told++;
}

/* take the oldest job of the queue, into *told unless NULL; false if there is none */
static bool
dequeue_told(int slot, IjTold *told)
{
	IjSlot	   *s = &area->slots[slot];
	int			n = s->first_told;
	IjToldEntry *entry;
	int		   *link;

	if (n == NOTHING)
		return false;
	entry = &area->told[n];
	if (told != NULL)
		*told = entry->told;

	s->first_told = entry->next_in_queue;
	s->database.told--;

	link = &area->buckets[entry->hash % MAX_TOLD];
	while (*link != n)
		link = &area->told[*link].next_in_bucket;
	*link = entry->next_in_bucket;

	entry->next_in_queue = area->free_told;
	area->free_told = n;
	return true;
}

/*
 * ------------------------------------------------------------
 * Slots.  The caller of each static function here holds area->lock.
 * ------------------------------------------------------------
 */

static int
find_slot(Oid dboid)
{
	for (int i = 0; i < area->slots_used; i++)
	{
		if (area->slots[i].database.dboid == dboid)
			return i;
	}
	return NOTHING;
}

/* find or make the slot of a database; NOTHING if all are taken */
static int
make_slot(Oid dboid)
{
	int			n = find_slot(dboid);
	IjSlot	   *s;

	if (n != NOTHING)
		return n;
	n = find_slot(InvalidOid);
	if (n == NOTHING)
	{
		if (area->slots_used == IJ_MAX_DATABASES)
		{
			area->purge_wanted = true;
			return NOTHING;
		}
		n = area->slots_used++;
	}
	s = &area->slots[n];
	memset(s, 0, sizeof(IjSlot));
	s->first_told = NOTHING;
	s->database.dboid = dboid;
	s->database.full_wanted = true;
	s->database.watermark = DT_NOBEGIN;
	s->database.next_deadline = DT_NOEND;
	s->database.overdue = DT_NOEND;
	return n;
}

static void
clear_told(int slot)
{
	IjDatabase *database = &area->slots[slot].database;

	while (dequeue_told(slot, NULL))
	{
		/* forget it */
	}
	database->full_wanted = false;
	database->full_paused = false;
	database->watermark = DT_NOBEGIN;
	database->next_deadline = DT_NOEND;
	database->overdue = DT_NOEND;
}

static void
free_slot(int slot)
{
	clear_told(slot);
	area->slots[slot].database.dboid = InvalidOid;
}

/* the slot of the session's database; its worker never gives it away behind its back */
static int
session_slot(void)
{
	if (my_slot == NOTHING || area->slots[my_slot].database.dboid != MyDatabaseId)
		my_slot = make_slot(MyDatabaseId);
	return my_slot;
}

static void
wake_launcher(void)
{
	Latch	   *latch;

	LWLockAcquire(&root->lock, LW_SHARED);
	latch = root->launcher_latch;
	LWLockRelease(&root->lock);
	if (latch != NULL)
		SetLatch(latch);
}

bool
ij_database_wants_worker(const IjDatabase *database, TimestampTz now)
{
	return database->full_wanted || database->full_paused || database->told > 0 ||
		database->next_deadline <= now;
}

static TimestampTz
backoff_end(int failures, TimestampTz now)
{
	int64		pause = BACKOFF_FIRST_MS;

	for (int i = 1; i < failures && pause < BACKOFF_LAST_MS; i++)
		pause *= 2;
	return TimestampTzPlusMilliseconds(now, Min(pause, BACKOFF_LAST_MS));
}

int
ij_shmem_list_databases(IjDatabase *databases)
{
	int			n = 0;

	LWLockAcquire(&area->lock, LW_SHARED);
	for (int i = 0; i < area->slots_used; i++)
	{
		if (OidIsValid(area->slots[i].database.dboid))
			databases[n++] = area->slots[i].database;
	}
	LWLockRelease(&area->lock);
	return n;
}

void
ij_shmem_last_error(Oid dboid, char *message)
{
	int			slot;

	LWLockAcquire(&area->lock, LW_SHARED);
	slot = find_slot(dboid);
	if (slot != NOTHING)
		memcpy(message, area->slots[slot].last_error, IJ_ERROR_BYTES);
	else
		message[0] = '\0';
	LWLockRelease(&area->lock);
}

/*
 * ------------------------------------------------------------
 * Sessions
 * ------------------------------------------------------------
 */

bool
ij_shmem_all_well(void)
{
	return area != NULL && root->launcher_pid != 0 &&
		my_slot != NOTHING && area->slots[my_slot].database.dboid == MyDatabaseId;
}

void
ij_shmem_know_database(void)
{
	bool		fresh;

	LWLockAcquire(&area->lock, LW_EXCLUSIVE);
	fresh = find_slot(MyDatabaseId) == NOTHING;
	my_slot = NOTHING;
	(void) session_slot();
	LWLockRelease(&area->lock);
	if (fresh)
		wake_launcher();
}

void
ij_shmem_tell_job(const text *tenant_id, const text *job_id)
{
	IjTold		told;
	bool		fits = ij_told_make(&told, tenant_id, job_id);
	int			slot;

	LWLockAcquire(&area->lock, LW_EXCLUSIVE);
	slot = session_slot();
	if (slot != NOTHING)
	{
		if (fits)
			enqueue_told(slot, &told);
		else
			area->slots[slot].database.full_wanted = true;
	}
	LWLockRelease(&area->lock);
}

void
ij_shmem_tell(bool everything, TimestampTz deadline)
{
	int			slot;
	bool		wake = false;
	Latch	   *latch = NULL;

	LWLockAcquire(&area->lock, LW_EXCLUSIVE);
	slot = session_slot();
	if (slot != NOTHING)
	{
		IjDatabase *database = &area->slots[slot].database;

		if (everything)
			database->full_wanted = true;
		wake = database->full_wanted || database->told > 0;
		if (deadline < database->next_deadline)
		{
			database->next_deadline = deadline;
			wake = true;
		}
		if (deadline <= database->watermark)
			database->watermark = deadline - 1;
		latch = area->slots[slot].worker_latch;
	}
	else
		wake = true;			/* the launcher may find a slot to free */
	LWLockRelease(&area->lock);

	/* a deadline later than one that is known wakes nobody */
	if (!wake)
		return;
	if (latch != NULL)
		SetLatch(latch);
	else
		wake_launcher();
}

void
ij_shmem_tell_prepared(Oid dboid, TransactionId xid)
{
	int			n;

	LWLockAcquire(&area->lock, LW_EXCLUSIVE);
	for (n = 0; n < area->prepared_used; n++)
	{
		if (!OidIsValid(area->prepared[n].dboid))
			break;
	}
	if (n < MAX_PREPARED)
	{
		area->prepared[n].dboid = dboid;
		area->prepared[n].xid = xid;
		area->prepared_used = Max(area->prepared_used, n + 1);
	}
	LWLockRelease(&area->lock);
	wake_launcher();
}

/*
 * ------------------------------------------------------------
 * The launcher
 * ------------------------------------------------------------
 */

bool
ij_shmem_launcher_running(bool *preloaded)
{
	bool		running;

	LWLockAcquire(&root->lock, LW_SHARED);
	running = root->launcher_pid != 0;
	*preloaded = root->launcher_preloaded;
	LWLockRelease(&root->lock);
	return running;
}

bool
ij_shmem_may_register_launcher(TimestampTz now)
{
	bool		may;

	LWLockAcquire(&root->lock, LW_EXCLUSIVE);
	may = root->launcher_pid == 0 &&
		now >= TimestampTzPlusMilliseconds(root->registered_at, REGISTER_PATIENCE_MS);
	if (may)
		root->registered_at = now;
	LWLockRelease(&root->lock);
	return may;
}

bool
ij_shmem_note_register(bool success)
{
	bool		first;

	LWLockAcquire(&root->lock, LW_EXCLUSIVE);
	first = !success && !root->register_failed;
	root->register_failed = !success;
	LWLockRelease(&root->lock);
	return first;
}

bool
ij_shmem_launcher_enter(bool preloaded)
{
	bool		entered;

	LWLockAcquire(&root->lock, LW_EXCLUSIVE);
	entered = root->launcher_pid == 0;
	if (entered)
	{
		root->launcher_pid = MyProcPid;
		root->launcher_latch = MyLatch;
		root->launcher_preloaded = preloaded;
	}
	LWLockRelease(&root->lock);
	return entered;
}

void
ij_shmem_launcher_leave(void)
{
	LWLockAcquire(&root->lock, LW_EXCLUSIVE);
	if (root->launcher_pid == MyProcPid)
	{
		root->launcher_pid = 0;
		root->launcher_latch = NULL;
		/* the postmaster starts the next one; sessions wait for it before they ask again */
		root->registered_at = GetCurrentTimestamp();
	}
	LWLockRelease(&root->lock);
}

/* only the launcher reads or writes this */
bool
ij_shmem_scan_wanted(void)
{
	return !area->scanned;
}

void
ij_shmem_scan_done(void)
{
	area->scanned = true;
}

void
ij_shmem_probe_database(Oid dboid)
{
	LWLockAcquire(&area->lock, LW_EXCLUSIVE);
	(void) make_slot(dboid);
	LWLockRelease(&area->lock);
}

bool
ij_shmem_purge_wanted(void)
{
	bool		wanted;

	LWLockAcquire(&area->lock, LW_EXCLUSIVE);
	wanted = area->purge_wanted;
	area->purge_wanted = false;
	LWLockRelease(&area->lock);
	return wanted;
}

void
ij_shmem_forget_database(Oid dboid)
{
	int			slot;

	LWLockAcquire(&area->lock, LW_EXCLUSIVE);
	slot = find_slot(dboid);
	if (slot != NOTHING && area->slots[slot].database.worker_pid == 0)
		free_slot(slot);
	LWLockRelease(&area->lock);
}

void
ij_shmem_starting_worker(Oid dboid, TimestampTz now)
{
	int			slot;

	LWLockAcquire(&area->lock, LW_EXCLUSIVE);
	slot = find_slot(dboid);
	if (slot != NOTHING)
	{
		area->slots[slot].database.started_at = now;
		area->slots[slot].database.making_way = false;
	}
	LWLockRelease(&area->lock);
}

void
ij_shmem_hold_database(Oid dboid, TimestampTz until, bool making_way)
{
	int			slot;

	LWLockAcquire(&area->lock, LW_EXCLUSIVE);
	slot = find_slot(dboid);
	if (slot != NOTHING)
	{
		area->slots[slot].database.hold_until = until;
		area->slots[slot].database.making_way = making_way;
	}
	LWLockRelease(&area->lock);
}

static void
count_failure(IjDatabase *database, TimestampTz now)
{
	database->failures++;
	database->hold_until = backoff_end(database->failures, now);
}

void
ij_shmem_worker_lost(Oid dboid, TimestampTz now)
{
	int			slot;

	LWLockAcquire(&area->lock, LW_EXCLUSIVE);
	slot = find_slot(dboid);
	if (slot != NOTHING)
		count_failure(&area->slots[slot].database, now);
	LWLockRelease(&area->lock);
}

void
ij_shmem_ask_to_yield(Oid dboid)
{
	int			slot;
	Latch	   *latch = NULL;

	LWLockAcquire(&area->lock, LW_EXCLUSIVE);
	slot = find_slot(dboid);
	if (slot != NOTHING && !area->slots[slot].database.yield_wanted)
	{
		area->slots[slot].database.yield_wanted = true;
		latch = area->slots[slot].worker_latch;
	}
	LWLockRelease(&area->lock);
	if (latch != NULL)
		SetLatch(latch);
}

void
ij_shmem_want_full_everywhere(void)
{
	LWLockAcquire(&area->lock, LW_EXCLUSIVE);
	for (int i = 0; i < area->slots_used; i++)
	{
		IjSlot	   *s = &area->slots[i];

		if (!OidIsValid(s->database.dboid))
			continue;
		s->database.full_wanted = true;
		if (s->worker_latch != NULL)
			SetLatch(s->worker_latch);
	}
	LWLockRelease(&area->lock);
}

uint64
ij_shmem_foreign_xids(void)
{
	uint64		own;

	LWLockAcquire(&area->lock, LW_SHARED);
	own = area->own_xids;
	LWLockRelease(&area->lock);
	return U64FromFullTransactionId(ReadNextFullTransactionId()) - own;
}

bool
ij_shmem_poll_prepared(void)
{
	int			used;
	bool		left = false;

	LWLockAcquire(&area->lock, LW_SHARED);
	used = area->prepared_used;
	LWLockRelease(&area->lock);

	for (int i = 0; i < used; i++)
	{
		IjPrepared	prepared;
		Latch	   *latch = NULL;

		LWLockAcquire(&area->lock, LW_SHARED);
		prepared = area->prepared[i];
		LWLockRelease(&area->lock);

		if (!OidIsValid(prepared.dboid))
			continue;

		/* may have to read the subtransaction log, so not under our lock */
		if (TransactionIdIsInProgress(prepared.xid))
		{
			left = true;
			continue;
		}

		/* only the launcher removes an entry, so it is still this one */
		LWLockAcquire(&area->lock, LW_EXCLUSIVE);
		area->prepared[i].dboid = InvalidOid;
		while (area->prepared_used > 0 &&
			   !OidIsValid(area->prepared[area->prepared_used - 1].dboid))
			area->prepared_used--;
		{
			int			slot = make_slot(prepared.dboid);

			if (slot != NOTHING)
			{
				area->slots[slot].database.full_wanted = true;
				latch = area->slots[slot].worker_latch;
			}
		}
		LWLockRelease(&area->lock);
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

	LWLockAcquire(&area->lock, LW_EXCLUSIVE);
	my_slot = find_slot(dboid);
	if (my_slot != NOTHING && area->slots[my_slot].database.worker_pid == 0)
	{
		IjSlot	   *s = &area->slots[my_slot];

		s->database.worker_pid = MyProcPid;
		s->database.activity = IJ_WORKER_CONNECTING;
		s->database.starts++;
		s->database.yield_wanted = false;
		s->worker_latch = MyLatch;
		taken = true;
	}
	else
		my_slot = NOTHING;
	LWLockRelease(&area->lock);

	/* only now can the launcher ask us to make room for others that wait */
	if (taken)
		wake_launcher();
	return taken;
}

/*
 * The launcher is woken in any case: there is a free place now.
 */
void
ij_worker_leave_database(bool failed, TimestampTz hold_until, bool making_way)
{
	if (my_slot != NOTHING)
	{
		IjSlot	   *s = &area->slots[my_slot];
		TimestampTz now = GetCurrentTimestamp();

		LWLockAcquire(&area->lock, LW_EXCLUSIVE);
		s->database.worker_pid = 0;
		s->database.activity = IJ_WORKER_NONE;
		s->database.yield_wanted = false;
		s->worker_latch = NULL;
		if (failed)
			count_failure(&s->database, now);
		else
		{
			s->database.hold_until = hold_until;
			s->database.making_way = making_way;
		}
		my_slot = NOTHING;
		LWLockRelease(&area->lock);
	}
	wake_launcher();
}

void
ij_worker_drop_told(void)
{
	LWLockAcquire(&area->lock, LW_EXCLUSIVE);
	clear_told(my_slot);
	LWLockRelease(&area->lock);
}

bool
ij_worker_give_back(void)
{
	IjSlot	   *s = &area->slots[my_slot];
	bool		given = false;

	LWLockAcquire(&area->lock, LW_EXCLUSIVE);
	if (!s->database.full_wanted && s->database.told == 0 &&
		s->database.next_deadline == DT_NOEND)
	{
		s->database.worker_pid = 0;
		s->worker_latch = NULL;
		free_slot(my_slot);
		my_slot = NOTHING;
		given = true;
	}
	LWLockRelease(&area->lock);
	return given;
}

void
ij_worker_get(IjDatabase *database)
{
	LWLockAcquire(&area->lock, LW_SHARED);
	*database = area->slots[my_slot].database;
	LWLockRelease(&area->lock);
}

void
ij_worker_set_activity(IjWorkerActivity activity)
{
	/* a word of its own, and only this process writes it */
	area->slots[my_slot].database.activity = activity;
}

void
ij_worker_found_extension(bool complete)
{
	IjDatabase *database = &area->slots[my_slot].database;

	/* only this process writes them */
	if (database->probed && database->incomplete == !complete)
		return;

	LWLockAcquire(&area->lock, LW_EXCLUSIVE);
	/* what was told while it was incomplete is gone: look at everything */
	if (database->incomplete && complete)
		database->full_wanted = true;
	database->probed = true;
	database->incomplete = !complete;
	LWLockRelease(&area->lock);
}

int
ij_worker_take_told(IjTold *told, int max)
{
	int			n = 0;

	LWLockAcquire(&area->lock, LW_EXCLUSIVE);
	while (n < max && dequeue_told(my_slot, &told[n]))
		n++;
	LWLockRelease(&area->lock);
	return n;
}

void
ij_worker_put_back(const IjTold *told)
{
	LWLockAcquire(&area->lock, LW_EXCLUSIVE);
	if (told != NULL)
		enqueue_told(my_slot, told);
	else
		area->slots[my_slot].database.full_wanted = true;
	LWLockRelease(&area->lock);
}

bool
ij_worker_take_full(bool *has_cursor, IjTold *cursor)
{
	IjSlot	   *s = &area->slots[my_slot];
	bool		wanted;

	LWLockAcquire(&area->lock, LW_EXCLUSIVE);
	*has_cursor = s->database.full_paused;
	if (*has_cursor)
	{
		/* go on where the last worker stopped; a newer wish stays for afterwards */
		*cursor = s->cursor;
		s->database.full_paused = false;
		wanted = true;
	}
	else
	{
		wanted = s->database.full_wanted;
		s->database.full_wanted = false;
	}
	LWLockRelease(&area->lock);
	return wanted;
}

void
ij_worker_pause_full(const IjTold *cursor)
{
	IjSlot	   *s = &area->slots[my_slot];

	LWLockAcquire(&area->lock, LW_EXCLUSIVE);
	if (cursor != NULL)
	{
		s->cursor = *cursor;
		s->database.full_paused = true;
	}
	else
		s->database.full_wanted = true;
	LWLockRelease(&area->lock);
}

TimestampTz
ij_worker_list_due(TimestampTz upto)
{
	IjDatabase *database = &area->slots[my_slot].database;
	TimestampTz from;

	LWLockAcquire(&area->lock, LW_EXCLUSIVE);
	/* a clock that was set back must not hide the deadlines that come again */
	from = Min(database->watermark, upto);
	database->watermark = upto;
	if (database->next_deadline <= upto && database->next_deadline < database->overdue)
		database->overdue = database->next_deadline;
	database->next_deadline = DT_NOEND;
	LWLockRelease(&area->lock);
	return from;
}

/*
 * Since ij_worker_list_due() any commit may have told a deadline, earlier than
 * those listed or not: so only ever lower what is there.
 */
void
ij_worker_listed_due(TimestampTz reached, TimestampTz next)
{
	IjDatabase *database = &area->slots[my_slot].database;

	LWLockAcquire(&area->lock, LW_EXCLUSIVE);
	database->watermark = Min(database->watermark, reached);
	database->next_deadline = Min(database->next_deadline, next);
	LWLockRelease(&area->lock);
}

void
ij_worker_nothing_overdue(void)
{
	LWLockAcquire(&area->lock, LW_EXCLUSIVE);
	area->slots[my_slot].database.overdue = DT_NOEND;
	LWLockRelease(&area->lock);
}

void
ij_worker_count_pass(int64 expired, int64 completed, int64 deleted, int own_xids)
{
	IjDatabase *database = &area->slots[my_slot].database;
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(&area->lock, LW_EXCLUSIVE);
	database->passes++;
	database->last_pass = now;
	database->expired += expired;
	database->completed += completed;
	database->deleted += deleted;
	area->own_xids += own_xids;
	LWLockRelease(&area->lock);
}

void
ij_worker_succeeded(void)
{
	LWLockAcquire(&area->lock, LW_EXCLUSIVE);
	area->slots[my_slot].database.failures = 0;
	LWLockRelease(&area->lock);
}

bool
ij_worker_note_error(const char *message, bool may_log)
{
	IjSlot	   *s = &area->slots[my_slot];
	TimestampTz now = GetCurrentTimestamp();
	char		cut[IJ_ERROR_BYTES];
	int			len = pg_mbcliplen(message, strlen(message), IJ_ERROR_BYTES - 1);
	bool		log;

	memset(cut, 0, sizeof(cut));
	memcpy(cut, message, len);

	LWLockAcquire(&area->lock, LW_EXCLUSIVE);
	log = may_log &&
		(strcmp(s->last_error, cut) != 0 ||
		 now >= TimestampTzPlusMilliseconds(s->logged_at, LOG_AGAIN_MS));
	if (log)
		s->logged_at = now;
	memcpy(s->last_error, cut, sizeof(cut));
	s->database.last_error_at = now;
	s->database.failures++;
	LWLockRelease(&area->lock);
	return log;
}
