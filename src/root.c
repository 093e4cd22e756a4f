/*
 * root.c
 *		What we keep in the server's main shared memory: where the area of
 *		shmem.c is, and whether a launcher lives.
 *
 * It is small enough for the slop that every server keeps for late comers, so that
 * CREATE EXTENSION works without shared_preload_libraries and without a restart.
 *
 * IjRoot.lock guards all of it; it is taken for moments, and by shmem.c while the
 * area is made.  launcher_pid alone may be read without it.
 *
 * Latch pointers are fine here: they point into the array of PGPROCs, which lies
 * in main shared memory and has one address in all processes.  Setting the latch
 * of a process that has gone wakes a stranger once, which latches allow.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "root.h"

/* after this long without a sign of it, a registered launcher is thought lost */
#define REGISTER_PATIENCE_MS	5000

IjRoot	   *ij_root = NULL;

/* not of the root, so that a process with another layout can say so, too: set for good */
static pg_atomic_uint32 *unattached = NULL;

void
ij_root_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(uint64)));
	RequestAddinShmemSpace(MAXALIGN(sizeof(pg_atomic_uint32)));
	RequestAddinShmemSpace(MAXALIGN(sizeof(IjRoot)));
}

/*
 * A new build of the library may be on disk while processes with the old one still
 * run.  They must not share memory unless both mean the same by it: the first one
 * leaves its stamp, and whoever has another works without shared memory.
 */
static void
require_same_layout(uint64 layout)
{
	bool		found;
	uint64	   *stamp = ShmemInitStruct("iot_jobs layout", sizeof(uint64), &found);

	if (!found)
		*stamp = layout;
	else if (*stamp != layout)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("The library iot_jobs was replaced by another build since the server was started.")));
}

void
ij_root_startup(uint64 layout)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	unattached = ShmemInitStruct("iot_jobs unattached", sizeof(pg_atomic_uint32), &found);
	if (!found)
		pg_atomic_init_u32(unattached, 0);
	require_same_layout(layout);
	ij_root = ShmemInitStruct("iot_jobs", sizeof(IjRoot), &found);
	if (!found)
	{
		memset(ij_root, 0, sizeof(IjRoot));
		ij_root->tranche_id = LWLockNewTrancheId();
		LWLockInitialize(&ij_root->lock, ij_root->tranche_id);
		ij_root->area = DSM_HANDLE_INVALID;

		/* when preloading, the launcher is registered right after */
		if (process_shared_preload_libraries_in_progress || !IsUnderPostmaster)
			ij_root->registered_at = GetCurrentTimestamp();
	}
	LWLockRelease(AddinShmemInitLock);
	LWLockRegisterTranche(ij_root->tranche_id, "iot_jobs");
}

/* If there was no memory for it, there is no root for anybody. */
void
ij_root_note_unattached(void)
{
	if (unattached != NULL && pg_atomic_read_u32(unattached) == 0)
		pg_atomic_write_u32(unattached, 1);
}

bool
ij_root_some_unattached(void)
{
	return pg_atomic_read_u32(unattached) != 0;
}

void
ij_root_wake_launcher(void)
{
	Latch	   *latch;

	LWLockAcquire(&ij_root->lock, LW_SHARED);
	latch = ij_root->launcher_latch;
	LWLockRelease(&ij_root->lock);
	if (latch != NULL)
		SetLatch(latch);
}

bool
ij_root_launcher_running(bool *preloaded)
{
	bool		running;

	LWLockAcquire(&ij_root->lock, LW_SHARED);
	running = ij_root->launcher_pid != 0;
	*preloaded = ij_root->launcher_preloaded;
	LWLockRelease(&ij_root->lock);
	return running;
}

bool
ij_root_may_register_launcher(TimestampTz now)
{
	bool		may;

	LWLockAcquire(&ij_root->lock, LW_EXCLUSIVE);
	/* a clock that was set back must not make us wait until the old time comes again */
	may = ij_root->launcher_pid == 0 &&
		(now < ij_root->registered_at ||
		 now >= TimestampTzPlusMilliseconds(ij_root->registered_at, REGISTER_PATIENCE_MS));
	if (may)
		ij_root->registered_at = now;
	LWLockRelease(&ij_root->lock);
	return may;
}

bool
ij_root_note_register(bool success)
{
	bool		first;

	LWLockAcquire(&ij_root->lock, LW_EXCLUSIVE);
	first = !success && !ij_root->register_failed;
	ij_root->register_failed = !success;
	LWLockRelease(&ij_root->lock);
	return first;
}

bool
ij_root_launcher_enter(bool preloaded)
{
	bool		entered;

	LWLockAcquire(&ij_root->lock, LW_EXCLUSIVE);
	entered = ij_root->launcher_pid == 0;
	if (entered)
	{
		ij_root->launcher_pid = MyProcPid;
		ij_root->launcher_latch = MyLatch;
		ij_root->launcher_preloaded = preloaded;
	}
	LWLockRelease(&ij_root->lock);
	return entered;
}

void
ij_root_launcher_leave(void)
{
	LWLockAcquire(&ij_root->lock, LW_EXCLUSIVE);
	if (ij_root->launcher_pid == MyProcPid)
	{
		ij_root->launcher_pid = 0;
		ij_root->launcher_latch = NULL;
		/* the postmaster starts the next one; sessions wait for it before they ask again */
		ij_root->registered_at = GetCurrentTimestamp();
	}
	LWLockRelease(&ij_root->lock);
}
