/*
 * told.c
 *		Jobs that commits told to the workers, and that no worker has taken yet.
 *
 * Each database has a queue, a job is in it once, and all queues share one table of
 * fixed size.  What does not fit is not lost: the caller has the worker look at
 * everything instead.
 *
 * Locks: none here.  The queues belong to the slots of databases.c, whose lock the
 * caller holds exclusively for as long as it is in ij_told_enqueue() or
 * ij_told_dequeue().
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "common/hashfn.h"
#include "utils/builtins.h"

#include "told.h"

/*
 * Jobs told and not yet taken.  A worker takes them within milliseconds, so this
 * covers a burst; what does not fit costs a full pass.
 */
#define MAX_TOLD			16384

#define NOTHING				(-1)

typedef struct IjToldEntry
{
	uint64		hash;
	int			owner;			/* of the queue */
	int			next_in_queue;	/* or in the list of free entries */
	int			next_in_bucket;
	IjTold		told;
} IjToldEntry;

typedef struct IjToldTable
{
	uint64		seed;			/* never changes */
	int			first_free;
	int			buckets[MAX_TOLD];
	IjToldEntry entries[MAX_TOLD];
} IjToldTable;

static IjToldTable *table = NULL;

Size
ij_told_size(void)
{
	return sizeof(IjToldTable);
}

void
ij_told_init(void *place, int tranche_id, uint64 seed)
{
	IjToldTable *fresh = place;

	memset(fresh, 0, sizeof(IjToldTable));
	fresh->seed = seed;
	for (int i = 0; i < MAX_TOLD; i++)
	{
		fresh->buckets[i] = NOTHING;
		fresh->entries[i].next_in_queue = i + 1 < MAX_TOLD ? i + 1 : NOTHING;
	}
	fresh->first_free = 0;
}

void
ij_told_attach(void *place)
{
	table = place;
}

/*
 * ------------------------------------------------------------
 * Flat ids
 * ------------------------------------------------------------
 */

bool
ij_told_make(IjTold *told, const text *tenant_id, const text *job_id, bool due)
{
	Size		tenant_len = VARSIZE_ANY_EXHDR(tenant_id);
	Size		job_len = VARSIZE_ANY_EXHDR(job_id);

	if (tenant_len + job_len > IJ_TOLD_BYTES)
		return false;
	told->tenant_len = tenant_len;
	told->job_len = job_len;
	told->due = due;
	memcpy(told->bytes, VARDATA_ANY(tenant_id), tenant_len);
	memcpy(told->bytes + tenant_len, VARDATA_ANY(job_id), job_len);
	return true;
}

text *
ij_told_tenant(const IjTold *told)
{
	return cstring_to_text_with_len(told->bytes, told->tenant_len);
}

text *
ij_told_job(const IjTold *told)
{
	return cstring_to_text_with_len(told->bytes + told->tenant_len, told->job_len);
}

/*
 * ------------------------------------------------------------
 * Queues
 * ------------------------------------------------------------
 */

static uint64
told_hash(const IjTold *told, int owner)
{
	uint64		hash = hash_combine64(table->seed, ((uint64) owner << 16) | told->tenant_len);

	return hash_bytes_extended((const unsigned char *) told->bytes,
							   told->tenant_len + told->job_len, hash);
}

static bool
told_equal(const IjTold *a, const IjTold *b)
{
	return a->tenant_len == b->tenant_len && a->job_len == b->job_len &&
		memcmp(a->bytes, b->bytes, a->tenant_len + a->job_len) == 0;
}

void
ij_told_open_queue(IjToldQueue *queue)
{
	queue->first = NOTHING;
	queue->last = NOTHING;
	queue->length = 0;
}

bool
ij_told_enqueue(IjToldQueue *queue, int owner, const IjTold *told)
{
	uint64		hash = told_hash(told, owner);
	int		   *bucket = &table->buckets[hash % MAX_TOLD];
	int			n;
	IjToldEntry *entry;

	for (n = *bucket; n != NOTHING; n = table->entries[n].next_in_bucket)
	{
		entry = &table->entries[n];
		if (entry->hash == hash && entry->owner == owner && told_equal(&entry->told, told))
		{
			entry->told.due |= told->due;
			return true;
		}
	}

	n = table->first_free;
	if (n == NOTHING)
		return false;
	entry = &table->entries[n];
	table->first_free = entry->next_in_queue;

	entry->hash = hash;
	entry->owner = owner;
	entry->next_in_bucket = *bucket;
	*bucket = n;
	entry->told = *told;
	entry->next_in_queue = NOTHING;
	if (queue->first == NOTHING)
		queue->first = n;
	else
		table->entries[queue->last].next_in_queue = n;
	queue->last = n;
	queue->length++;
	return true;
}

bool
ij_told_dequeue(IjToldQueue *queue, IjTold *told)
{
	int			n = queue->first;
	IjToldEntry *entry;
	int		   *link;

	if (n == NOTHING)
		return false;
	entry = &table->entries[n];
	if (told != NULL)
		*told = entry->told;

	queue->first = entry->next_in_queue;
	queue->length--;

	link = &table->buckets[entry->hash % MAX_TOLD];
	while (*link != n)
		link = &table->entries[*link].next_in_bucket;
	*link = entry->next_in_bucket;

	entry->next_in_queue = table->first_free;
	table->first_free = n;
	return true;
}
