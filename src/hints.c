/*
 * hints.c
 *		Device ids remembered for all sessions: a set-associative cache.
 *
 * Whoever forgets a hint, or finds it forgotten, does more work and nothing wrong.
 * So the cache is small and flat, a new hint drives out the oldest of its set, and
 * there is nothing to clean up when a job or a database goes.
 *
 * Locks: set s is guarded by IjHints.locks[s % LOCKS].  One of them is held at a
 * time, for as long as it takes to copy a hint, and with no other lock.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "utils/builtins.h"

#include "hints.h"
#include "iot_jobs.h"
#include "shmem.h"

/* 16384 hints in 2.3 MB; a job beyond them costs its reporters a wake-up each, and the worker a walk */
#define SETS				4096
#define WAYS				4
#define LOCKS				16

typedef struct IjHint
{
	uint64		key;
	uint16		len;			/* 0: free; no device id is empty */
	char		device[IJ_HINT_BYTES];
} IjHint;

typedef struct IjHints
{
	uint64		seed;			/* never changes */
	LWLockPadded locks[LOCKS];
	IjHint		sets[SETS][WAYS];	/* the newest hint of a set comes first */
} IjHints;

static IjHints *hints = NULL;

Size
ij_hints_size(void)
{
	return sizeof(IjHints);
}

void
ij_hints_init(void *place, int tranche_id, uint64 seed)
{
	IjHints    *fresh = place;

	memset(fresh, 0, sizeof(IjHints));
	fresh->seed = seed;
	for (int i = 0; i < LOCKS; i++)
		LWLockInitialize(&fresh->locks[i].lock, tranche_id);
}

void
ij_hints_attach(void *place)
{
	hints = place;
}

uint64
ij_hint_hash(const text *value)
{
	return ij_hash_text(value, hints->seed);
}

/*
 * Different hints could meet in one key.  With a secret seed and 64 bits that
 * takes longer than any server runs.
 */
static uint64
hint_key(IjHintKind kind, const text *tenant_id, const text *job_id)
{
	uint64		key = hints->seed;

	key = hash_combine64(key, ((uint64) MyDatabaseId << 8) | kind);
	key = ij_hash_text(tenant_id, key);
	if (job_id != NULL)
		key = ij_hash_text(job_id, key);
	return key;
}

static IjHint *
hint_set_of(uint64 key, LWLock **lock)
{
	int			set = key % SETS;

	*lock = &hints->locks[set % LOCKS].lock;
	return hints->sets[set];
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
	for (int i = 0; i < WAYS; i++)
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

	if (!ij_shmem_attach())
		return NULL;
	len = read_hint(kind, tenant_id, job_id, device);
	if (len == 0)
		return NULL;
	return cstring_to_text_with_len(device, len);
}

bool
ij_hint_peek(IjHintKind kind, const text *tenant_id, const text *job_id, uint64 *device_hash)
{
	char		device[IJ_HINT_BYTES];
	int			len = read_hint(kind, tenant_id, job_id, device);

	if (len == 0)
		return false;
	*device_hash = hash_bytes_extended((const unsigned char *) device, len, hints->seed);
	return true;
}

/* take the hint out of its set, moving the older ones up */
static void
remove_hint(IjHint *set, uint64 key)
{
	for (int i = 0; i < WAYS; i++)
	{
		if (set[i].key == key && set[i].len > 0)
		{
			memmove(&set[i], &set[i + 1], (WAYS - 1 - i) * sizeof(IjHint));
			set[WAYS - 1].len = 0;
			return;
		}
	}
}

void
ij_hint_set(IjHintKind kind, const text *tenant_id, const text *job_id, const text *device_id)
{
	Size		len = device_id ? VARSIZE_ANY_EXHDR(device_id) : 0;
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
		memmove(&set[1], &set[0], (WAYS - 1) * sizeof(IjHint));
		set[0].key = key;
		set[0].len = len;
		memcpy(set[0].device, VARDATA_ANY(device_id), len);
	}
	LWLockRelease(lock);
}

void
ij_hint_forget(IjHintKind kind, const text *tenant_id, const text *job_id)
{
	ij_hint_set(kind, tenant_id, job_id, NULL);
}
