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

#define NOTHING			(-1)

typedef struct ToldJob
{
	uint64		hash;
	text	   *tenant_id;
	text	   *job_id;
	bool		regardless;		/* tell it whatever the witness is */
	bool		due;			/* see IjVisit */
	int			ndevices;
	int			max_devices;
	uint64	   *devices;		/* hashes of the devices whose execution ended */
	int			next_in_bucket;
} ToldJob;

/* all of it lives in TopTransactionContext */
typedef struct Told
{
	bool		everything;
	bool		forget_marks;
	bool		hidden;			/* see ij_tell_hidden() */
	TimestampTz deadline;
	TimestampTz added_from;		/* the earliest queued_at of what was added */
	Bitmapset  *added_to;		/* the rooms of its tenants */
	int			last;			/* the job told last; a statement tends to stay with one */
	int			njobs;
	int			max_jobs;
	ToldJob    *jobs;
	int		   *buckets;		/* as many as max_jobs, a power of 2 */
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
	told = MemoryContextAllocZero(TopTransactionContext, sizeof(Told));
	told->deadline = DT_NOEND;
	told->added_from = DT_NOEND;
	told->last = NOTHING;
	return told;
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

static text *
keep_text(const text *value)
{
	int			len = VARSIZE_ANY_EXHDR(value);
	text	   *kept = MemoryContextAlloc(TopTransactionContext, VARHDRSZ + len);

	SET_VARSIZE(kept, VARHDRSZ + len);
	memcpy(VARDATA(kept), VARDATA_ANY(value), len);
	return kept;
}

static bool
is_job(const ToldJob *job, const text *tenant_id, const text *job_id)
{
	return ij_same_text(job->job_id, job_id) && ij_same_text(job->tenant_id, tenant_id);
}

static void
put_in_bucket(Told *t, int n)
{
	int		   *bucket = &t->buckets[t->jobs[n].hash % t->max_jobs];

	t->jobs[n].next_in_bucket = *bucket;
	*bucket = n;
}

static void
make_room(Told *t)
{
	int			max_jobs = t->max_jobs == 0 ? FIRST_JOBS : t->max_jobs * 2;
	ToldJob    *jobs = MemoryContextAllocZero(TopTransactionContext, max_jobs * sizeof(ToldJob));
	int		   *buckets = MemoryContextAlloc(TopTransactionContext, max_jobs * sizeof(int));

	for (int i = 0; i < max_jobs; i++)
		buckets[i] = NOTHING;
	if (t->njobs > 0)
	{
		memcpy(jobs, t->jobs, t->njobs * sizeof(ToldJob));
		pfree(t->jobs);
		pfree(t->buckets);
	}
	t->jobs = jobs;
	t->buckets = buckets;
	t->max_jobs = max_jobs;
	for (int i = 0; i < t->njobs; i++)
		put_in_bucket(t, i);
}

/*
 * Find or add a job; NULL if everything is told anyway.
 */
static ToldJob *
told_job(const text *tenant_id, const text *job_id)
{
	Told	   *t = told_by_transaction();
	uint64		hash;
	ToldJob    *job;

	if (t == NULL || t->everything)
		return NULL;
	if (t->last != NOTHING && is_job(&t->jobs[t->last], tenant_id, job_id))
		return &t->jobs[t->last];

	hash = hash_combine64(ij_hint_hash(tenant_id), ij_hint_hash(job_id));
	if (t->max_jobs > 0)
	{
		for (int n = t->buckets[hash % t->max_jobs]; n != NOTHING; n = t->jobs[n].next_in_bucket)
		{
			if (t->jobs[n].hash == hash && is_job(&t->jobs[n], tenant_id, job_id))
			{
				t->last = n;
				return &t->jobs[n];
			}
		}
	}

	if (t->njobs == MAX_JOBS)
	{
		t->everything = true;
		return NULL;
	}
	if (t->njobs == t->max_jobs)
		make_room(t);
	job = &t->jobs[t->njobs];
	job->hash = hash;
	job->tenant_id = keep_text(tenant_id);
	job->job_id = keep_text(job_id);
	put_in_bucket(t, t->njobs);
	t->last = t->njobs++;
	return job;
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

	if (job->regardless || !ij_hint_peek(IJ_HINT_WITNESS, job->tenant_id, job->job_id, &witness))
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
		for (int i = 0; i < t->njobs; i++)
		{
			if (worth_telling(&t->jobs[i]))
			{
				ij_databases_tell_job(t->jobs[i].tenant_id, t->jobs[i].job_id, t->jobs[i].due);
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
