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
 * This file makes the area and hands a part of it to each of
 *	databases.c		what there is to do in each database, and who does it
 *	told.c			the jobs told to the workers
 *	hints.c			a cache of device ids
 * which alone know what is in it.  The root is this file's own: where the area is,
 * and whether a launcher lives.
 *
 * Locks:
 *	IjRoot.lock			the root; taken for moments, and while the area is made
 *	IjDatabases.lock	the parts of databases.c and told.c
 *	IjHints.locks		each a share of the part of hints.c
 * No two of them are ever held together, nothing is called under them but memory
 * moves and SetLatch(), and what is a plain word may be read without them where a
 * stale answer does no harm.
 *
 * Latch pointers are fine here: they point into the array of PGPROCs, which lies
 * in main shared memory and has one address in all processes.  Setting the latch
 * of a process that has gone wakes a stranger once, which latches allow.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "databases.h"
#include "hints.h"
#include "shmem.h"
#include "told.h"

/* after this long without a sign of it, a registered launcher is thought lost */
#define REGISTER_PATIENCE_MS	5000

/* a backend that could not attach tries again after this long */
#define ATTACH_RETRY_MS		10000

/* to be raised with every change of what lies in shared memory that keeps its size */
#define LAYOUT		1

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

typedef Size (*PartSize) (void);
typedef void (*PartInit) (void *place, int tranche_id, uint64 seed);
typedef void (*PartAttach) (void *place);

typedef struct Part
{
	PartSize	size;
	PartInit	init;
	PartAttach	attach;
} Part;

/* the parts of the area, as they follow each other there */
static const Part parts[] = {
	{ij_databases_size, ij_databases_init, ij_databases_attach},
	{ij_told_size, ij_told_init, ij_told_attach},
	{ij_hints_size, ij_hints_init, ij_hints_attach},
};

static IjRoot *root = NULL;
static bool attached = false;	/* to the area */

static TimestampTz attach_again_at = 0;

/*
 * ------------------------------------------------------------
 * Root and area
 * ------------------------------------------------------------
 */

void
ij_shmem_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(uint64)));
	RequestAddinShmemSpace(MAXALIGN(sizeof(IjRoot)));
}

static Size area_size(void);

/*
 * A new build of the library may be on disk while processes with the old one still
 * run.  They must not share memory unless both mean the same by it: the first one
 * leaves its stamp, and whoever has another works without shared memory.
 */
static void
require_same_layout(void)
{
	bool		found;
	uint64	   *stamp = ShmemInitStruct("iot_jobs layout", sizeof(uint64), &found);
	uint64		ours = ((uint64) LAYOUT << 48) ^ ((uint64) sizeof(IjRoot) << 32) ^ area_size();

	if (!found)
		*stamp = ours;
	else if (*stamp != ours)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("The library iot_jobs was replaced by another build since the server was started.")));
}

/*
 * The postmaster runs this again after a crash, with all shared memory anew: so
 * forget what was known.
 */
void
ij_shmem_startup(void)
{
	bool		found;

	attached = false;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	require_same_layout();
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

static Size
area_size(void)
{
	Size		size = 0;

	for (int i = 0; i < lengthof(parts); i++)
		size += CACHELINEALIGN(parts[i].size());
	return size;
}

/* the seed is secret: what it goes into cannot be guessed from outside */
static void
init_area(char *place)
{
	uint64		seed = pg_prng_uint64(&pg_global_prng_state);

	for (int i = 0; i < lengthof(parts); i++)
	{
		parts[i].init(place, root->tranche_id, seed);
		place += CACHELINEALIGN(parts[i].size());
	}
}

static void
attach_parts(char *place)
{
	for (int i = 0; i < lengthof(parts); i++)
	{
		parts[i].attach(place);
		place += CACHELINEALIGN(parts[i].size());
	}
	attached = true;
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
		segment = dsm_create(area_size(), DSM_CREATE_NULL_IF_MAXSEGMENTS);
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
	attach_parts(dsm_segment_address(segment));
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
	volatile bool mapped = false;

	*message = NULL;
	CurrentResourceOwner = NULL;
	PG_TRY();
	{
		if (root == NULL)
			ij_shmem_startup();
		mapped = map_area();
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
	return mapped;
}

bool
ij_shmem_attach(void)
{
	static bool complained = false;
	TimestampTz now;
	char	   *message;

	if (likely(attached))
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
				 errhint("Restart the server, if need be with more room for shared memory; until then call run_job_sweep() regularly.")));
	complained = true;
	return false;
}

/*
 * ------------------------------------------------------------
 * The launcher
 * ------------------------------------------------------------
 */

void
ij_shmem_wake_launcher(void)
{
	Latch	   *latch;

	LWLockAcquire(&root->lock, LW_SHARED);
	latch = root->launcher_latch;
	LWLockRelease(&root->lock);
	if (latch != NULL)
		SetLatch(latch);
}

bool
ij_shmem_all_well(void)
{
	return attached && root->launcher_pid != 0 && ij_databases_knows_mine();
}

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
