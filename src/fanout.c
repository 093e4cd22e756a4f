/*
 * fanout.c
 *		From the target of a job to one execution for each of its devices.
 *
 * The devices are read from the registry on one snapshot and in device order, in
 * batches, so that memory does not grow with the fleet and index entries are
 * written in key order.  The job row was inserted, and so is held, by the same
 * transaction: nobody can cancel a job whose fan-out is not finished.
 *
 * Progress shows in pg_stat_progress_copy, the server's own view for rows written.
 */
#include "postgres.h"

#include "fanout.h"

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/progress.h"
#include "miscadmin.h"
#include "utils/backend_progress.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "catalog.h"
#include "errors.h"
#include "fault.h"
#include "fleet.h"
#include "store.h"
#include "tell.h"

typedef struct FanoutState
{
	IjAddition *addition;
	bool		shows;			/* its progress */
	int64		added;
} FanoutState;

static void
get_fleet(const IjJob *job, IjFleet *fleet)
{
	if (!ij_fleet_get(fleet))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no registry of devices is chosen"),
				 errdetail("Table iot_jobs_fleet is empty."),
				 errhint("Choose the relations that list devices with use_fleet(devices => ..., group_members => ...).")));
	if (get_rel_name(fleet->devices) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the relation chosen as the registry of devices does not exist any more"),
				 errhint("Choose another one with use_fleet().")));
	if (job->target_group_id != NULL && get_rel_name(fleet->group_members) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no relation with the members of device groups is chosen"),
				 errhint("Choose one with use_fleet(devices => ..., group_members => ...).")));
}

/* Look before the job is inserted, so that a target that is not there has its own error. */
void
ij_fanout_require_target(const IjJob *job)
{
	IjFleet		fleet;

	get_fleet(job, &fleet);
	if (!ij_fleet_has_target(&fleet, job->tenant_id, job->target_group_id, job->target_device_id))
		ij_error_no_target(job);
}

static void
add_batch(const Datum *device_ids, int count, void *arg)
{
	FanoutState *state = arg;

	CHECK_FOR_INTERRUPTS();
	state->added += ij_store_add_executions(state->addition, device_ids, count);
	if (state->shows)
		pgstat_progress_update_param(PROGRESS_COPY_TUPLES_PROCESSED, state->added);
	IJ_FAULT(batch_added);
}

int64
ij_fanout_run(const IjJob *job)
{
	FanoutState state = {NULL, false, 0};
	IjJob		current;

	/*
	 * A trigger of the operator may have had its own mind about the new job.  An old
	 * snapshot may show a deleted job of that name beside it.
	 */
	if (!ij_store_get_latest_job(job->tenant_id, job->job_id, &current))
		ij_error_job_not_found(job->tenant_id, job->job_id);
	if (current.status != IJ_JOB_IN_PROGRESS)
		ij_error_job_not_in_progress(&current);
	/* such a trigger may have set it after the guard */
	if (current.expires)
		ij_tell_deadline(current.expires_at);

	state.addition = ij_store_begin_addition(job->tenant_id, job->job_id);
	/* a backend shows one command: not ours if a trigger of a COPY called us */
	state.shows = MyBEEntry != NULL && MyBEEntry->st_progress_command == PROGRESS_COMMAND_INVALID;
	if (state.shows)
	{
		pgstat_progress_start_command(PROGRESS_COMMAND_COPY, ij_catalog_executions());
		pgstat_progress_update_param(PROGRESS_COPY_COMMAND, PROGRESS_COPY_COMMAND_FROM);
	}
	if (job->target_device_id != NULL)
	{
		Datum		device = PointerGetDatum(job->target_device_id);

		add_batch(&device, 1, &state);
	}
	else
	{
		IjFleet		fleet;

		get_fleet(job, &fleet);
		ij_fleet_walk(&fleet, job->tenant_id, job->target_group_id, add_batch, &state);
	}
	ij_store_end_addition(state.addition);
	IJ_FAULT(all_added);
	if (state.shows)
		pgstat_progress_end_command();
	if (state.added == 0)
		ij_error_no_target(job);
	return state.added;
}

/* A relation can answer if it has these columns as text. */
static void
require_columns(Oid relation, const char *const *columns, int count)
{
	char		kind = get_rel_relkind(relation);

	if (kind == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relation)));
	if (strchr("rpvmf", kind) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table or a view", get_rel_name(relation))));
	if (get_rel_persistence(relation) == RELPERSISTENCE_TEMP)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is temporary", get_rel_name(relation)),
				 errdetail("The choice is that of all sessions, and no other one can read it.")));
	for (int i = 0; i < count; i++)
	{
		AttrNumber	number = get_attnum(relation, columns[i]);
		Oid			type = number > 0 ? getBaseType(get_atttype(relation, number)) : InvalidOid;

		if (type != TEXTOID && type != VARCHAROID)
			ereport(ERROR,
					(errcode(number > 0 ? ERRCODE_DATATYPE_MISMATCH : ERRCODE_UNDEFINED_COLUMN),
					 errmsg("relation \"%s\" cannot serve as a registry of devices", get_rel_name(relation)),
					 errdetail(number > 0 ? "Its column \"%s\" is not of type text." : "It has no column \"%s\".",
							   columns[i]),
					 errhint("A view over it can give the columns the names and types that are needed.")));
	}
}

void
ij_fanout_use_fleet(Oid devices, Oid group_members)
{
	static const char *const columns[] = {"tenant_id", "device_id", "group_id"};
	IjFleet		fleet = {devices, group_members};

	require_columns(devices, columns, 2);
	if (OidIsValid(group_members))
		require_columns(group_members, columns, 3);
	ij_fleet_set(&fleet);
	IJ_FAULT(fleet_chosen);
}
