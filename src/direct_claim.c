/*
 * direct_claim.c
 *		Which execution a device is to have next, the direct way.
 *
 * A claim reads the open executions of a device from an index, resumes the one in
 * progress or else takes the oldest QUEUED one that can be had and whose job is alive.
 * Where the index holds finished executions, too, marks (marks.c) tell where the open
 * ones begin; in any case they tell that a tenant has nothing QUEUED.
 *
 * Locks: the execution that is claimed, and no other; what somebody else holds is
 * passed over.  Jobs are only read, as the snapshot shows them.
 */
#include "postgres.h"

#include "direct_claim.h"

#include "access/table.h"
#include "access/xact.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "catalog.h"
#include "direct_rows.h"
#include "marks.h"
#include "tell.h"

/* the jobs that a command read last; a batch of claims comes back to a few */
#define JOBS_READ	8

struct IjClaiming
{
	Relation	jobs;
	const IjShape *jobs_shape;
	TupleTableSlot *job;
	IjWalk		jobs_by_key;
	IjJob		jobs_read[JOBS_READ];	/* without job_id: free */
	int			next_job_read;
	TupleTableSlot *ahead;		/* the row after the device's, in a walk of all devices */
	IjWalk		devices;
	bool		marked;			/* marks may be used and set: of the tenant */
	bool		devices_marked; /* ... and of devices */
	IjMarkView	marks;
};

/* Before the snapshot is taken; NULL: the jobs cannot be read the direct way. */
IjClaiming *
ij_claiming_begin(Relation rel, const IjShape *shape, const text *tenant_id)
{
	Relation	jobs = table_open(ij_catalog_jobs(), AccessShareLock);
	const IjShape *jobs_shape = ij_shape_of_jobs(jobs);
	IjClaiming *claiming;

	if (!ij_shape_same_as_sql(jobs, jobs_shape, IJ_DIRECT_READ, tenant_id))
	{
		table_close(jobs, NoLock);
		return NULL;
	}
	claiming = palloc0(sizeof(IjClaiming));
	claiming->jobs = jobs;
	claiming->jobs_shape = jobs_shape;
	claiming->job = table_slot_create(jobs, NULL);
	claiming->ahead = table_slot_create(rel, NULL);

	/* not with a snapshot of long ago, nor while others do not know what we added, or see what we do not */
	claiming->marked = !IsolationUsesXactSnapshot() && !ij_tell_has_added() && !ij_tell_has_hidden() &&
		ij_marks_open(&claiming->marks, tenant_id, shape->device_order);
	return claiming;
}

/* Once the snapshot of the command is taken. */
void
ij_claiming_snapshot(IjDirect *direct)
{
	IjClaiming *claiming = direct->claiming;

	claiming->marked = claiming->marked && ij_marks_valid_for(&claiming->marks, direct->snapshot);
	claiming->devices_marked = claiming->marked && direct->shape->device_order;
}

void
ij_claiming_end(IjClaiming *claiming)
{
	ij_walk_close(&claiming->jobs_by_key);
	ij_walk_close(&claiming->devices);
	ExecDropSingleTupleTableSlot(claiming->ahead);
	ExecDropSingleTupleTableSlot(claiming->job);
	table_close(claiming->jobs, NoLock);
	pfree(claiming);
}

/* an open execution of a device, as the index shows it */
typedef struct Candidate
{
	ItemPointerData tid;
	IjExecStatus status;
	TimestampTz queued_at;
	text	   *job_id;
} Candidate;

/*
 * The open executions of one device, in the order in which it is to have them; only
 * the next few at a time, so that neither a device with a long queue nor a batch for
 * many devices costs much memory.  The first will nearly always do.
 */
#define CANDIDATES	4

typedef struct Queue
{
	const text *device_id;
	int			statuses;
	Candidate	candidates[CANDIDATES];
	int			count;
	int			next;
	bool		more;			/* than these */
} Queue;

static int
compare_candidates(const IjDirect *direct, const Candidate *left, const Candidate *right)
{
	Form_pg_attribute job_id = TupleDescAttr(RelationGetDescr(direct->rel), direct->shape->columns[IJ_E_JOB_ID] - 1);

	/* IN_PROGRESS before QUEUED, then by age, then as SQL would order job_id */
	if (left->status != right->status)
		return left->status == IJ_EXEC_IN_PROGRESS ? -1 : 1;
	if (left->queued_at != right->queued_at)
		return left->queued_at < right->queued_at ? -1 : 1;
	return ij_compare_text(left->job_id, right->job_id, job_id->attcollation);
}

static void
forget_candidates(Queue *queue)
{
	for (int i = 0; i < queue->count; i++)
		pfree(queue->candidates[i].job_id);
	queue->count = 0;
	queue->next = 0;
	queue->more = false;
}

/* The row in this slot, one of the device's, comes into the queue if it is among the first. */
static void
offer(IjDirect *direct, Queue *queue, TupleTableSlot *slot, const Candidate *after)
{
	Candidate	candidate;
	int			place;

	if (!ij_direct_has_status(direct, slot, queue->statuses, &candidate.status))
		return;
	candidate.tid = slot->tts_tid;
	candidate.job_id = ij_slot_text(slot, direct->shape->columns[IJ_E_JOB_ID]);
	ij_slot_timestamp(slot, direct->shape->columns[IJ_E_QUEUED_AT], &candidate.queued_at);
	if (after != NULL && compare_candidates(direct, &candidate, after) <= 0)
		return;

	/* its place among those we have; the last one makes room */
	for (place = queue->count; place > 0; place--)
	{
		if (compare_candidates(direct, &candidate, &queue->candidates[place - 1]) > 0)
			break;
	}
	if (queue->count == CANDIDATES)
	{
		queue->more = true;
		if (place == CANDIDATES)
			return;
		pfree(queue->candidates[--queue->count].job_id);
	}
	memmove(&queue->candidates[place + 1], &queue->candidates[place],
			(queue->count - place) * sizeof(Candidate));
	candidate.job_id = ij_copy_text(candidate.job_id);
	queue->candidates[place] = candidate;
	queue->count++;
}

/* Nothing older than this is wanted of an index in order of age. */
static TimestampTz
oldest_wanted(const IjDirect *direct, const Queue *queue, const Candidate *after)
{
	if (after != NULL && after->status == IJ_EXEC_QUEUED)
		return after->queued_at;
	return direct->claiming->devices_marked ? ij_marks_device(&direct->claiming->marks, queue->device_id) : DT_NOBEGIN;
}

/*
 * Is there nothing better to come for a full queue than this row?  In order of age,
 * when only QUEUED ones are wanted; those of one age are still to be ordered by job.
 */
static bool
is_complete(const IjDirect *direct, const Queue *queue, TupleTableSlot *slot)
{
	TimestampTz queued_at;

	if (!direct->shape->device_order || queue->count < CANDIDATES || queue->statuses != IJ_STATUS_BIT(IJ_EXEC_QUEUED))
		return false;
	ij_slot_timestamp(slot, direct->shape->columns[IJ_E_QUEUED_AT], &queued_at);
	return queued_at > queue->candidates[CANDIDATES - 1].queued_at;
}

/* Has this row ended, and nobody may take that back? */
static bool
is_over(const IjDirect *direct, TupleTableSlot *slot)
{
	IjExecStatus status;
	bool		isnull;

	return ij_direct_has_status(direct, slot, IJ_ALL_STATUSES & ~IJ_OPEN_STATUSES, &status) &&
		(!TransactionIdIsValid(GetTopTransactionIdIfAny()) ||
		 !TransactionIdIsCurrentTransactionId(DatumGetTransactionId(
			slot_getsysattr(slot, MinTransactionIdAttributeNumber, &isnull))));
}

/* so many finished executions before the first open one are worth a mark */
#define WORTH_A_MARK	4

/* Read the first candidates after this one; NULL: the very first. */
static void
fill_queue(IjDirect *direct, Queue *queue, const Candidate *after)
{
	IjClaiming *claiming = direct->claiming;
	Relation	index = ij_walk_index(&direct->by_device, direct->shape->by_device);
	int			nkeys = direct->shape->device_order ? 3 : 2;
	TimestampTz from = oldest_wanted(direct, queue, after);
	TimestampTz before = from;	/* all that are older are over */
	bool		passing = claiming->devices_marked && after == NULL;
	int			passed = 0;
	ScanKeyData keys[3];

	ij_walk_text_key(keys, index, 1, BTEqualStrategyNumber, F_TEXTEQ, direct->tenant_id);
	ij_walk_text_key(keys, index, 2, BTEqualStrategyNumber, F_TEXTEQ, queue->device_id);
	if (nkeys == 3)
		ij_walk_key(keys, index, 3, BTGreaterEqualStrategyNumber, F_TIMESTAMPTZ_GE, TimestampTzGetDatum(from));
	ij_walk_start(direct, &direct->by_device, direct->rel, keys, nkeys);
	while (ij_walk_next(&direct->by_device, direct->found))
	{
		if (passing)
		{
			ij_slot_timestamp(direct->found, direct->shape->columns[IJ_E_QUEUED_AT], &before);
			passing = is_over(direct, direct->found);
			passed += passing;
		}
		if (is_complete(direct, queue, direct->found))
		{
			queue->more = true;
			break;
		}
		offer(direct, queue, direct->found, after);
	}
	if (passed >= WORTH_A_MARK && Min(before, claiming->marks.upto) > from)
		ij_marks_set_device(&claiming->marks, queue->device_id, before);
}

static Candidate *
next_candidate(IjDirect *direct, Queue *queue)
{
	if (queue->next == queue->count)
	{
		Candidate	after;

		if (!queue->more)
			return NULL;
		after = queue->candidates[--queue->count];
		forget_candidates(queue);
		fill_queue(direct, queue, &after);
		pfree(after.job_id);
		if (queue->count == 0)
			return NULL;
	}
	return &queue->candidates[queue->next++];
}

static Queue *
make_queue(const text *device_id, int statuses)
{
	Queue	   *queue = palloc0(sizeof(Queue));

	queue->device_id = device_id;
	queue->statuses = statuses;
	return queue;
}

static Queue *
open_queue(IjDirect *direct, const text *device_id, int statuses)
{
	Queue	   *queue = make_queue(device_id, statuses);

	fill_queue(direct, queue, NULL);
	return queue;
}

static void
close_queue(Queue *queue)
{
	forget_candidates(queue);
	pfree(queue);
}

/* NULL if there is none that the command sees. */
static const IjJob *
find_job(IjDirect *direct, const text *job_id)
{
	IjClaiming *claiming = direct->claiming;
	TupleTableSlot *slot = claiming->job;
	IjJob	   *job;

	for (int i = 0; i < JOBS_READ; i++)
	{
		job = &claiming->jobs_read[i];
		if (job->job_id != NULL && ij_same_text(job->job_id, job_id))
			return job;
	}
	ij_walk_row_of_job(direct, &claiming->jobs_by_key, claiming->jobs, claiming->jobs_shape, job_id);
	if (!ij_walk_next(&claiming->jobs_by_key, slot))
		return NULL;
	job = &claiming->jobs_read[claiming->next_job_read++ % JOBS_READ];
	ij_rows_read_job(IJ_SLOT_ROW(slot, claiming->jobs_shape), job);
	ExecClearTuple(slot);
	return job;
}

/* The job's document, if a device may have, or start, an execution of it now; it is shared by all that have it. */
static bool
get_document(IjDirect *direct, const text *job_id, bool start, IjExecutionDocument *document)
{
	const IjJob *job = find_job(direct, job_id);

	if (job == NULL || job->status == IJ_JOB_DELETION_IN_PROGRESS)
		return false;
	if (start && (job->status != IJ_JOB_IN_PROGRESS || (job->expires && job->expires_at <= direct->now)))
		return false;
	document->document_type = job->document_type;
	document->document_params = job->document_params;
	document->expires = job->expires;
	document->expires_at = job->expires_at;
	return true;
}

/* Take the first of the queue that can be had. */
static bool
claim(IjDirect *direct, Queue *queue, Jsonb *status_details, IjExecutionDocument *document)
{
	IjExecutionChange change = {0};
	Candidate  *candidate;

	change.device_id = queue->device_id;
	change.from = IJ_STATUS_BIT(IJ_EXEC_QUEUED);
	change.to = IJ_EXEC_IN_PROGRESS;
	change.starts = true;
	change.status_details = status_details;
	while ((candidate = next_candidate(direct, queue)) != NULL)
	{
		bool		start = (candidate->status == IJ_EXEC_QUEUED);

		if (!get_document(direct, candidate->job_id, start, document))
			continue;
		change.job_id = candidate->job_id;
		if (!table_tuple_fetch_row_version(direct->rel, &candidate->tid, direct->snapshot, direct->found))
			continue;
		if (!start)
		{
			/* resumed as it is */
			ij_rows_read_execution(IJ_SLOT_ROW(direct->found, direct->shape), &document->execution);
			return true;
		}
		if (ij_direct_do(direct, &change, CMD_UPDATE, IJ_LOCK_SKIP))
		{
			ij_direct_moved(direct, change.job_id, IJ_EXEC_QUEUED, IJ_EXEC_IN_PROGRESS, 1);
			ij_rows_read_execution(IJ_SLOT_ROW(direct->changed, direct->shape), &document->execution);
			return true;
		}
	}
	return false;
}

bool
ij_direct_start_next(IjDirect *direct, const text *device_id, Jsonb *status_details,
					 IjExecutionDocument *document)
{
	Queue	   *queue = open_queue(direct, device_id, IJ_OPEN_STATUSES);
	bool		found = claim(direct, queue, status_details, document);

	close_queue(queue);
	return found;
}

/* Claim one more of the queue for the result. */
static bool
claim_into(IjDirect *direct, Queue *queue, List **result)
{
	IjExecutionDocument *document = palloc0(sizeof(IjExecutionDocument));

	if (!claim(direct, queue, NULL, document))
	{
		pfree(document);
		return false;
	}
	*result = lappend(*result, document);
	return true;
}

/*
 * Rounds: one execution for each device, then a second for those that had one, until
 * there is no room or nothing left.
 */
List *
ij_direct_claim(IjDirect *direct, const Datum *device_ids, int count, int rounds, int limit)
{
	Queue	  **queues = palloc(Max(count, 1) * sizeof(Queue *));
	List	   *result = NIL;

	for (int round = 0; round < rounds && count > 0 && list_length(result) < limit; round++)
	{
		int			left = 0;

		for (int i = 0; i < count && list_length(result) < limit; i++)
		{
			if (round == 0)
				queues[i] = open_queue(direct, DatumGetTextPP(device_ids[i]), IJ_STATUS_BIT(IJ_EXEC_QUEUED));
			if (claim_into(direct, queues[i], &result))
				queues[left++] = queues[i];
			else
				close_queue(queues[i]);
		}
		count = left;
	}
	pfree(queues);
	return result;
}

static text *
device_ahead(IjDirect *direct)
{
	return ij_slot_text(direct->claiming->ahead, direct->shape->columns[IJ_E_DEVICE_ID]);
}

/*
 * One execution each of the devices that come after this one (NULL: of the first),
 * looking at so many devices that have something QUEUED and claiming up to a limit,
 * in one pass over the index.  *last is the last device looked at, or NULL if there
 * was none.
 */
List *
ij_direct_claim_from(IjDirect *direct, const text *after, int devices, int limit, text **last)
{
	IjClaiming *claiming = direct->claiming;
	Relation	index;
	List	   *result = NIL;
	ScanKeyData keys[2];
	bool		any_queued = false;
	bool		more;

	*last = NULL;
	if (claiming->marked && ij_marks_tenant_done(&claiming->marks))
		return NIL;
	index = ij_walk_index(&claiming->devices, direct->shape->by_device);
	ij_walk_text_key(keys, index, 1, BTEqualStrategyNumber, F_TEXTEQ, direct->tenant_id);
	ij_walk_text_key(keys, index, 2, BTGreaterStrategyNumber, F_TEXT_GT, after);
	ij_walk_start(direct, &claiming->devices, direct->rel, keys, 2);
	more = ij_walk_next(&claiming->devices, claiming->ahead);
	while (more && devices > 0 && list_length(result) < limit)
	{
		text	   *device_id = ij_copy_text(device_ahead(direct));
		Queue	   *queue = make_queue(device_id, IJ_STATUS_BIT(IJ_EXEC_QUEUED));

		do
		{
			offer(direct, queue, claiming->ahead, NULL);
			more = ij_walk_next(&claiming->devices, claiming->ahead);
		} while (more && ij_same_text(device_ahead(direct), device_id));
		/* one that has only IN_PROGRESS executions costs no turn */
		if (queue->count > 0)
		{
			devices--;
			any_queued = true;
		}
		(void) claim_into(direct, queue, &result);
		close_queue(queue);
		*last = device_id;
	}
	/* unless we took something ourselves before, and may give it back */
	if (claiming->marked && after == NULL && !any_queued && !TransactionIdIsValid(GetTopTransactionIdIfAny()))
		ij_marks_set_tenant_done(&claiming->marks);
	return result;
}
