/*
 * tell.c
 *		What the current transaction has to tell the worker when it commits.
 *
 * A transaction that ends executions remembers which jobs they belong to, and
 * tells the worker once its commit can be seen.  The order is what makes it
 * sound.  We commit, and then read the witness of the job: the execution that the
 * worker last saw open.  The worker does it the other way round: it publishes a
 * witness, and then looks with a new snapshot whether that is still open.  So if
 * a witness other than ours is known, the worker has published it without seeing
 * us (then whoever closes the witness will tell), or has seen us already.  Either
 * way there is nothing to tell, and a job with a million executions does not
 * wake the worker a million times.
 *
 * The memory is bounded however many rows a transaction touches: beyond
 * MAX_JOBS jobs it says "everything", beyond MAX_DEVICES devices of one job it
 * tells the job without a look at the witness.
 *
 * A savepoint that was rolled back leaves what it told.  That costs a look.
 *
 * A transaction that adds executions also says so to the marks of claims, see marks.c.
 *
 * COMMIT PREPARED runs in another session and calls nobody, so PREPARE leaves the
 * transaction's id with the launcher, which has everything looked at once it ends.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "databases.h"
#include "fault.h"
#include "hints.h"
#include "iot_jobs.h"
#include "marks.h"
#include "root.h"
#include "shmem.h"
#include "tell.h"

/* distinct jobs a transaction remembers; a batch of reports (10,000) stays below */
#define MAX_JOBS		16384
#define FIRST_JOBS		8

/* distinct devices remembered for one job; for more it is told regardless */
#define MAX_DEVICES		256
#define FIRST_DEVICES	4

typedef struct JobKey
{
	const text *tenant_id;
	const text *job_id;
} JobKey;

typedef struct ToldJob
{
	JobKey		key;
	bool		regardless;		/* tell it whatever the witness is */
	bool		due;			/* see IjVisit */
	int			ndevices;
	int			max_devices;
	uint64	   *devices;		/* hashes of the devices whose execution ended */
	uint32		hash;			/* these two for simplehash.h */
	char		status;
} ToldJob;

static inline bool
same_job(JobKey a, JobKey b)
{
	return ij_same_text(a.job_id, b.job_id) && ij_same_text(a.tenant_id, b.tenant_id);
}

#define SH_PREFIX		told
#define SH_ELEMENT_TYPE ToldJob
#define SH_KEY_TYPE		JobKey
#define SH_KEY			key
#define SH_HASH_KEY(table, key) \
	((uint32) hash_combine64(ij_hint_hash((key).tenant_id), ij_hint_hash((key).job_id)))
#define SH_EQUAL(table, a, b)	same_job(a, b)
#define SH_STORE_HASH
#define SH_GET_HASH(table, job) (job)->hash
#define SH_SCOPE		static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* all of it lives in TopTransactionContext */
typedef struct Told
{
	bool		everything;
	bool		forget_marks;
	bool		hidden;			/* see ij_tell_hidden() */
	TimestampTz deadline;
	TimestampTz added_from;		/* the earliest queued_at of what was added */
	Bitmapset  *added_to;		/* the rooms of its tenants */
	ToldJob    *last;			/* the job told last; a statement tends to stay with one */
	told_hash  *jobs;
} Told;

static Told *told = NULL;

static void tell_at_end(XactEvent event, void *arg);

/*
 * Start remembering for this transaction; NULL if there is nobody to tell.
 */
static Told *
told_by_transaction(void)
{
	static bool registered = false;
	Told	   *t;

	if (told != NULL)
		return told;

	/* attach now: at commit it would be too late to fail */
	if (!ij_shmem_attach())
		return NULL;
	if (!registered)
	{
		RegisterXactCallback(tell_at_end, NULL);
		registered = true;
	}
	t = MemoryContextAllocZero(TopTransactionContext, sizeof(Told));
	t->deadline = DT_NOEND;
	t->added_from = DT_NOEND;
	t->jobs = told_create(TopTransactionContext, FIRST_JOBS, NULL);
	return told = t;
}

/*
 * The same, for what marks of claims rely on: if there is nobody to tell, nobody may rely
 * on it any more.
 */
static Told *
told_to_marks(void)
{
	Told	   *t = told_by_transaction();

	if (t == NULL)
		ij_root_note_unattached();
	return t;
}

/*
 * Find or add a job; NULL if everything is told anyway.
 */
static ToldJob *
told_job(const text *tenant_id, const text *job_id)
{
	Told	   *t = told_by_transaction();
	JobKey		key = {tenant_id, job_id};
	MemoryContext old;
	bool		found;

	if (t == NULL || t->everything)
		return NULL;
	if (t->last == NULL || !same_job(t->last->key, key))
		t->last = told_lookup(t->jobs, key);
	if (t->last != NULL)
		return t->last;
	if (t->jobs->members == MAX_JOBS)
	{
		t->everything = true;
		return NULL;
	}
	old = MemoryContextSwitchTo(TopTransactionContext);
	key.tenant_id = ij_copy_text(tenant_id);
	key.job_id = ij_copy_text(job_id);
	MemoryContextSwitchTo(old);
	t->last = told_insert(t->jobs, key, &found);
	t->last->regardless = t->last->due = false;
	t->last->ndevices = t->last->max_devices = 0;
	return t->last;
}

void
ij_tell_ended(const text *tenant_id, const text *job_id, const text *device_id)
{
	ToldJob    *job = told_job(tenant_id, job_id);

	if (job == NULL || job->regardless)
		return;
	if (job->ndevices == job->max_devices)
	{
		if (job->ndevices == MAX_DEVICES)
		{
			job->regardless = true;
			return;
		}
		if (job->max_devices == 0)
		{
			job->max_devices = FIRST_DEVICES;
			job->devices = MemoryContextAlloc(TopTransactionContext,
											  FIRST_DEVICES * sizeof(uint64));
		}
		else
		{
			job->max_devices *= 2;
			job->devices = repalloc(job->devices, job->max_devices * sizeof(uint64));
		}
	}
	job->devices[job->ndevices++] = ij_hint_hash(device_id);
}

void
ij_tell_visit(const text *tenant_id, const text *job_id)
{
	ToldJob    *job = told_job(tenant_id, job_id);

	if (job != NULL)
		job->regardless = job->due = true;
}

void
ij_tell_deadline(TimestampTz deadline)
{
	Told	   *t = told_by_transaction();

	if (t == NULL)
		return;
	/* "-infinity" lies before every deadline that is ever listed */
	if (deadline == DT_NOBEGIN)
		t->everything = true;
	else if (deadline < t->deadline)
		t->deadline = deadline;
}

void
ij_tell_everything(void)
{
	Told	   *t = told_to_marks();

	if (t != NULL)
		t->everything = t->forget_marks = true;
}

void
ij_tell_added(const text *tenant_id, TimestampTz queued_at)
{
	Told	   *t = told_to_marks();
	MemoryContext old;

	if (t == NULL)
		return;
	old = MemoryContextSwitchTo(TopTransactionContext);
	t->added_to = bms_add_member(t->added_to, ij_marks_room(tenant_id));
	MemoryContextSwitchTo(old);
	t->added_from = Min(t->added_from, queued_at);
}

void
ij_tell_added_somewhere(void)
{
	Told	   *t = told_to_marks();

	if (t != NULL)
		t->forget_marks = true;
}

bool
ij_tell_has_added(void)
{
	return told != NULL && (told->added_to != NULL || told->forget_marks);
}

void
ij_tell_hidden(void)
{
	Told	   *t = told_to_marks();

	if (t != NULL)
		t->hidden = true;
}

bool
ij_tell_has_hidden(void)
{
	return told != NULL && told->hidden;
}

/*
 * Is there anything in it for the worker, now that our commit can be seen?
 *
 * Not if an execution is known to be open that we did not end.
 */
static bool
worth_telling(const ToldJob *job)
{
	uint64		witness;

	if (job->regardless || !ij_hint_peek(IJ_HINT_WITNESS, job->key.tenant_id, job->key.job_id, &witness))
		return true;
	for (int i = 0; i < job->ndevices; i++)
	{
		if (job->devices[i] == witness)
			return true;
	}
	return false;
}

/*
 * Nothing in here may throw: the transaction is committed.
 */
static void
tell_all(const Told *t)
{
	bool		any = t->everything || t->deadline != DT_NOEND;

	if (t->forget_marks)
		ij_marks_forget_all();
	for (int room = -1; (room = bms_next_member(t->added_to, room)) >= 0;)
		ij_marks_added(room, t->added_from);

	/* with a full pass ahead, no single job needs telling */
	if (!t->everything)
	{
		told_iterator i;
		ToldJob    *job;

		told_start_iterate(t->jobs, &i);
		while ((job = told_iterate(t->jobs, &i)) != NULL)
		{
			if (worth_telling(job))
			{
				ij_databases_tell_job(job->key.tenant_id, job->key.job_id, job->due);
				any = true;
			}
		}
	}
	if (any)
		ij_databases_tell(t->everything, t->deadline);
}

static void
tell_at_end(XactEvent event, void *arg)
{
	Told	   *t = told;

	if (t == NULL)
		return;
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			IJ_FAULT(before_commit);
			break;

		case XACT_EVENT_COMMIT:
			told = NULL;
			IJ_FAULT(committed);
			tell_all(t);
			IJ_FAULT(told);
			break;

		case XACT_EVENT_PREPARE:
			told = NULL;
			for (int room = 0; room < IJ_MARK_ROOMS; room++)
			{
				if (t->forget_marks || bms_is_member(room, t->added_to))
					ij_marks_prepared(room, GetTopFullTransactionIdIfAny());
			}
			ij_databases_tell_prepared(MyDatabaseId, GetTopTransactionIdIfAny());
			break;

		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PARALLEL_ABORT:
			told = NULL;
			break;
	}
}
