/*
 * shmem.c
 *		The memory that backends, the launcher and the workers share.
 *
 * There is one way to it, whether or not the library is in
 * shared_preload_libraries: a small root in the server's main shared memory
 * (root.c), and one flat area that the root points to.  The area is a pinned DSM
 * segment: made by whoever needs it first, never freed, never grown, and without an
 * allocation inside, so that nothing done to it can fail.  That matters because most
 * of it happens in a commit callback, where an error would be a PANIC.
 *
 * This file makes the area and hands a part of it to each of
 *	databases.c		what there is to do in each database, and who does it
 *	told.c			the jobs told to the workers
 *	hints.c			a cache of device ids
 *	marks.c			where claims may start
 * which alone know what is in it.
 *
 * Locks:
 *	IjRoot.lock			root.c's; held while the area is made
 *	IjDatabases.lock	the parts of databases.c and told.c
 *	IjHints.locks		each a share of the part of hints.c
 *	IjMarks.locks		each a share of the part of marks.c
 * No two of them are ever held together, nothing is called under them but memory
 * moves and SetLatch(), and, once for a server, what makes a DSM segment; and what is
 * a plain word may be read without them where a stale answer does no harm.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "storage/dsm.h"
#include "storage/lwlock.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "databases.h"
#include "fault.h"
#include "hints.h"
#include "marks.h"
#include "root.h"
#include "shmem.h"
#include "told.h"

/* a backend that could not attach tries again after this long */
#define ATTACH_RETRY_MS		10000

/* to be raised with every change of what lies in shared memory that keeps its size */
#define LAYOUT		6

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
	{ij_marks_size, ij_marks_init, ij_marks_attach},
};

static bool attached = false;	/* to the area */

static TimestampTz attach_failed_at = 0;

static Size
area_size(void)
{
	Size		size = 0;

	for (int i = 0; i < lengthof(parts); i++)
		size += CACHELINEALIGN(parts[i].size());
	return size;
}

/*
 * The postmaster runs this again after a crash, with all shared memory anew: so
 * forget what was known.
 */
void
ij_shmem_startup(void)
{
	attached = false;
	ij_root_startup(((uint64) LAYOUT << 48) ^ ((uint64) sizeof(IjRoot) << 32) ^ area_size());
}

/* the seed is secret: what it goes into cannot be guessed from outside */
static void
init_area(char *place)
{
	uint64		seed = pg_prng_uint64(&pg_global_prng_state);

	for (int i = 0; i < lengthof(parts); i++)
	{
		parts[i].init(place, ij_root->tranche_id, seed);
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
	dsm_segment *segment = NULL;
	dsm_handle	area;

	LWLockAcquire(&ij_root->lock, LW_EXCLUSIVE);
	area = ij_root->area;
	if (area == DSM_HANDLE_INVALID)
	{
		segment = dsm_create(area_size(), DSM_CREATE_NULL_IF_MAXSEGMENTS);
		if (segment != NULL)
		{
			init_area(dsm_segment_address(segment));
			dsm_pin_segment(segment);
			ij_root->area = dsm_segment_handle(segment);
		}
	}
	LWLockRelease(&ij_root->lock);

	/* it is there for good: to map it needs no lock */
	if (area != DSM_HANDLE_INVALID)
	{
		/* an attempt that failed half way has left its half, with which no other begins */
		if ((segment = dsm_find_mapping(area)) != NULL)
			dsm_detach(segment);
		segment = dsm_attach(area);
	}
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
		if (ij_root == NULL)
			ij_shmem_startup();
		IJ_FAULT(attaching);
		mapped = map_area();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		InterruptHoldoffCount = holdoff;
		if (ij_root != NULL)
			release_if_held(&ij_root->lock);
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
	if (now >= attach_failed_at && now < TimestampTzPlusMilliseconds(attach_failed_at, ATTACH_RETRY_MS))
		return false;
	if (attach_quietly(&message))
		return true;
	attach_failed_at = now;

	/* once a server if the root is there to remember, else once a process */
	if (ij_root != NULL)
	{
		LWLockAcquire(&ij_root->lock, LW_EXCLUSIVE);
		complained = ij_root->complained;
		ij_root->complained = true;
		LWLockRelease(&ij_root->lock);
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

bool
ij_shmem_all_well(void)
{
	return attached && ij_root->launcher_pid != 0 && ij_databases_knows_mine();
}
