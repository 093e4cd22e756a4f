/*
 * executions.c
 *		Claim, report, cancel and delete executions.
 *
 * A claim locks nothing but the execution it takes, passing over what anybody else
 * has locked.  A report or a cancellation of one execution waits for that row and
 * for nothing else.  What locks many executions locks them in device order.
 *
 * Whether a step is legal is asked of state.c beforehand and put into the WHERE
 * clause of the update, so that the check and the change are one; only when the
 * update hits no row does a second look find out why.
 */
#include "postgres.h"

#include "executions.h"

#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "common/pg_prng.h"
#include "lib/qunique.h"
#include "utils/builtins.h"

#include "errors.h"
#include "fault.h"
#include "hints.h"
#include "state.h"
#include "store.h"

/*
 * A row that moved while a statement waited for it is found by the next attempt,
 * which then holds its lock; one more for a row that was changed in between.
 */
#define ATTEMPTS	3

/* executions rejected by one statement; bounds its memory, not the transaction */
#define REJECT_BATCH	1000

/* devices that one statement of a tenant-wide claim looks at */
#define CLAIM_DEVICES	1000

/* the set of statuses from which this actor may go to that status */
static int
statuses_before(IjExecStatus to, int by)
{
	int			result = 0;

	for (int from = 0; from < IJ_EXEC_STATUSES; from++)
	{
		if (ij_exec_step_allowed((IjExecStatus) from, to, by))
			result |= IJ_STATUS_BIT(from);
	}
	return result;
}

Jsonb *
ij_reason(const text *reason, const char *otherwise)
{
	JsonbParseState *state = NULL;
	JsonbValue	key;
	JsonbValue	value;

	key.type = jbvString;
	key.val.string.val = "reason";
	key.val.string.len = strlen("reason");
	value.type = jbvString;
	value.val.string.val = reason ? text_to_cstring(reason) : pstrdup(otherwise);
	value.val.string.len = strlen(value.val.string.val);

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	pushJsonbValue(&state, WJB_KEY, &key);
	pushJsonbValue(&state, WJB_VALUE, &value);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* ------------------------------------------------------------------------
 * Claim
 * ------------------------------------------------------------------------
 */

bool
ij_execution_start_next(const text *tenant_id, const text *device_id, Jsonb *status_details,
						IjExecutionDocument *document)
{
	bool		found = ij_store_start_next(tenant_id, device_id, status_details, document);

	IJ_FAULT(execution_claimed);
	return found;
}

static int
compare_texts(const void *a, const void *b)
{
	return ij_compare_text(DatumGetTextPP(*(const Datum *) a), DatumGetTextPP(*(const Datum *) b), C_COLLATION_OID);
}

/*
 * As many rounds as it takes.  A batch too small for all devices begins anywhere
 * among them, so that over many calls none is starved.
 */
List *
ij_executions_claim(const text *tenant_id, int max, Datum *device_ids, int count)
{
	Datum	   *devices;
	List	   *claimed;
	int			start = 0;

	/* to drop duplicates: the order is only ours */
	qsort(device_ids, count, sizeof(Datum), compare_texts);
	count = qunique(device_ids, count, sizeof(Datum), compare_texts);
	devices = palloc(Max(count, 1) * sizeof(Datum));
	if (count > max)
		start = (int) pg_prng_uint64_range(&pg_global_prng_state, 0, count - 1);
	for (int i = 0; i < count; i++)
		devices[i] = device_ids[(start + i) % count];
	claimed = ij_store_claim(tenant_id, devices, count, max, max);
	IJ_FAULT(execution_claimed);
	return claimed;
}

/*
 * A claim that was slow does not take the place back to where others were before.  The
 * order is that of the index unless the column has a collation of its own.
 */
static void
advance_claim_place(const text *tenant_id, const text *device_id, bool new_lap)
{
	text	   *place = new_lap ? NULL : ij_hint_get(IJ_HINT_CLAIM_PLACE, tenant_id, NULL);

	if (place == NULL || ij_compare_text(device_id, place, DEFAULT_COLLATION_OID) > 0)
		ij_hint_set(IJ_HINT_CLAIM_PLACE, tenant_id, NULL, device_id);
}

/*
 * Walk the devices that have something QUEUED in the order of the device index,
 * round and round, one execution of each in turn, from where the last tenant-wide
 * claim stopped.  The place is shared and only a hint: losing it, or two claims that
 * start at the same place, costs fairness for one call and nothing else.
 */
List *
ij_executions_claim_any(const text *tenant_id, int max)
{
	List	   *result = NIL;
	text	   *from = ij_hint_get(IJ_HINT_CLAIM_PLACE, tenant_id, NULL);
	bool		from_start = (from == NULL);
	bool		new_lap = false;
	int			lap_start = 0;
	int			batch = Min(max, CLAIM_DEVICES);

	while (list_length(result) < max)
	{
		int			before = list_length(result);

		result = list_concat(result, ij_store_claim_from(tenant_id, from, batch, max - before, &from));
		IJ_FAULT(execution_claimed);
		if (from == NULL)
		{
			/* the end of the index: go on from its beginning, unless a whole lap gave nothing */
			if ((from_start || new_lap) && before == lap_start)
				break;
			new_lap = true;
			lap_start = before;
		}
		else if (list_length(result) == before)
		{
			/* what is there cannot be claimed: an expired job, a deleted one: pass it quickly */
			batch = Min(batch * 8, CLAIM_DEVICES);
		}
	}

	/* whoever got nothing, for want of rights perhaps, leaves the place alone */
	if (result != NIL)
	{
		IjExecutionDocument *last = llast(result);

		advance_claim_place(tenant_id, last->execution.device_id, new_lap);
	}
	return result;
}

/* ------------------------------------------------------------------------
 * Report
 * ------------------------------------------------------------------------
 */

/*
 * Try a step; if it hits no row, say why.  A row that meets every condition of the
 * update at the second look was changed in between by somebody else, so try again;
 * one that meets them and still cannot be updated is kept from us by a policy.
 */
static IjOutcome
change_execution(IjChanges *changes, const IjExecutionChange *change, IjExecution *now)
{
	if (ij_store_change_of_many(changes, change, now))
		return IJ_OUTCOME_ACCEPTED;
	for (int attempt = 0; attempt < ATTEMPTS; attempt++)
	{
		if (ij_store_change_execution(change, now))
			return IJ_OUTCOME_ACCEPTED;
		if (!ij_store_get_execution(change->tenant_id, change->job_id, change->device_id, now))
			return IJ_OUTCOME_NOT_FOUND;
		if ((change->from & IJ_STATUS_BIT(now->status)) == 0)
			return IJ_OUTCOME_STEP_NOT_ALLOWED;
		if (change->expects && change->expected_number != now->execution_number)
			return IJ_OUTCOME_NUMBER_MISMATCH;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("execution of job \"%s\" on device \"%s\" could not be updated",
					text_to_cstring(change->job_id), text_to_cstring(change->device_id)),
			 errdetail("A row security policy or a trigger of table job_executions hides the row from the update.")));
}

/* Devices repeat themselves on bad links: the same end told again is no news and no error. */
static bool
is_repeat(const IjReport *report, const IjExecution *now)
{
	if (ij_exec_is_open(now->status) || now->status != report->status)
		return false;
	if (report->status_details == NULL)
		return true;
	return now->status_details != NULL &&
		compareJsonbContainers(&report->status_details->root, &now->status_details->root) == 0;
}

IjOutcome
ij_execution_report(IjChanges *changes, const IjReport *report, IjExecution *now)
{
	IjExecutionChange change = {0};
	IjOutcome	outcome;

	change.tenant_id = report->tenant_id;
	change.job_id = report->job_id;
	change.device_id = report->device_id;
	change.from = statuses_before(report->status, IJ_BY_DEVICE);
	change.to = report->status;
	change.status_details = report->status_details;
	change.expects = report->expects;
	change.expected_number = report->expected_number;

	outcome = change_execution(changes, &change, now);
	IJ_FAULT(execution_changed);
	if (outcome == IJ_OUTCOME_STEP_NOT_ALLOWED && is_repeat(report, now))
		return IJ_OUTCOME_ACCEPTED;
	return outcome;
}

/* ------------------------------------------------------------------------
 * Cancel and delete
 * ------------------------------------------------------------------------
 */

void
ij_execution_cancel(const text *tenant_id, const text *job_id, const text *device_id,
					const text *reason, bool force, bool expects, int64 expected_number,
					IjExecution *now)
{
	IjExecutionChange change = {0};

	change.tenant_id = tenant_id;
	change.job_id = job_id;
	change.device_id = device_id;
	change.from = statuses_before(IJ_EXEC_REJECTED, force ? IJ_BY_OPERATOR_FORCE : IJ_BY_OPERATOR);
	change.to = IJ_EXEC_REJECTED;
	change.status_details = ij_reason(reason, "execution_canceled");
	change.expects = expects;
	change.expected_number = expected_number;

	switch (change_execution(NULL, &change, now))
	{
		case IJ_OUTCOME_ACCEPTED:
			IJ_FAULT(execution_changed);
			break;
		case IJ_OUTCOME_NOT_FOUND:
			ij_error_execution_not_found(tenant_id, job_id, device_id);
		case IJ_OUTCOME_STEP_NOT_ALLOWED:
			ij_error_execution_step(now, ij_exec_status_name(IJ_EXEC_REJECTED),
									ij_exec_is_open(now->status) ? "Use force => true to cancel an execution that a device has started." : NULL);
		case IJ_OUTCOME_NUMBER_MISMATCH:
			ij_error_execution_number(now, expected_number);
	}
}

/*
 * Deleting is not a step: whatever is not IN_PROGRESS may go, and with force that
 * too.
 */
void
ij_execution_delete(const text *tenant_id, const text *job_id, const text *device_id,
					bool force, IjExecution *was)
{
	int			statuses = IJ_ALL_STATUSES;

	if (!force)
		statuses &= ~IJ_STATUS_BIT(IJ_EXEC_IN_PROGRESS);
	for (int attempt = 0; attempt < ATTEMPTS; attempt++)
	{
		if (ij_store_delete_execution(tenant_id, job_id, device_id, statuses, was))
		{
			IJ_FAULT(execution_deleted);
			return;
		}
		if (!ij_store_get_execution(tenant_id, job_id, device_id, was))
			ij_error_execution_not_found(tenant_id, job_id, device_id);
		if ((statuses & IJ_STATUS_BIT(was->status)) == 0)
			ereport(ERROR,
					(errcode(IJ_ERRCODE_STEP_NOT_ALLOWED),
					 errmsg("execution of job \"%s\" on device \"%s\" is %s and cannot be deleted",
							text_to_cstring(job_id), text_to_cstring(device_id), ij_exec_status_name(was->status)),
					 errdetail_internal("%s", ij_execution_state_json(was)),
					 errhint("Use force => true to delete an execution that a device has started.")));
	}
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("execution of job \"%s\" on device \"%s\" could not be deleted",
					text_to_cstring(job_id), text_to_cstring(device_id)),
			 errdetail("A row security policy or a trigger of table job_executions keeps the row.")));
}

int64
ij_executions_reject(const text *tenant_id, const text *job_id, int statuses, const text *reason)
{
	IjExecutionChange change = {.tenant_id = tenant_id, .job_id = job_id, .from = statuses, .to = IJ_EXEC_REJECTED};
	text	   *from = NULL;
	int64		changed = 0;

	change.status_details = ij_reason(reason, IJ_REASON_JOB_CANCELED);
	/* each batch begins where the one before ended, also if a trigger kept that as it was */
	do
	{
		changed += ij_store_close_executions(&change, from, IJ_LOCK_WAIT, REJECT_BATCH, &from, NULL);
		IJ_FAULT(batch_rejected);
	} while (from != NULL);

	/*
	 * We hold the job, so nobody adds an execution now; but one that was added and
	 * committed after this transaction took its only snapshot is still there, unseen.
	 */
	if (IsolationUsesXactSnapshot() && ij_store_unseen_execution(tenant_id, job_id, statuses) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to an execution added concurrently"),
				 errhint("The transaction might succeed if retried.")));
	return changed;
}
