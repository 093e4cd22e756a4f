/*
 * fleet.c
 *		The devices of a tenant: which relations list them, and the walk over them.
 *
 * The registry is the operator's, a table or a view, and read as SQL would read it: by
 * a cursor, on one snapshot, as the caller.  No lock but those of a SELECT.
 */
#include "postgres.h"

#include "fleet.h"

#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "query.h"
#include "validate.h"

/* devices that one fetch from the registry brings; larger batches were measured no faster */
#define WALK_BATCH	1000

/* of an id that cannot be used, in the error */
#define SHOWN_BYTES	100

bool
ij_fleet_get(IjFleet *fleet)
{
	IjArgs		args = {0};
	bool		isnull;
	bool		found;

	ij_query_begin();
	found = ij_query_execute(IJ_SQL_GET_FLEET, &args) > 0;
	if (found)
	{
		fleet->devices = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
		fleet->group_members = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
		if (isnull)
			fleet->group_members = InvalidOid;
	}
	ij_query_end();
	return found;
}

void
ij_fleet_set(const IjFleet *fleet)
{
	IjArgs		args = {0};

	ij_arg(&args, ObjectIdGetDatum(fleet->devices), false);
	ij_arg(&args, ObjectIdGetDatum(fleet->group_members), !OidIsValid(fleet->group_members));
	if (ij_query_alone(IJ_SQL_UPDATE_FLEET, &args) == 0)
		(void) ij_query_alone(IJ_SQL_INSERT_FLEET, &args);
}

bool
ij_fleet_has_target(const IjFleet *fleet, const text *tenant_id, const text *group_id,
					const text *device_id)
{
	IjArgs		args = {0};
	IjStatement id = IJ_SQL_ANY_DEVICE;
	Oid			registry = fleet->devices;
	bool		found;

	ij_arg_text(&args, tenant_id);
	if (device_id != NULL)
	{
		id = IJ_SQL_THIS_DEVICE;
		ij_arg_text(&args, device_id);
	}
	else if (group_id != NULL)
	{
		id = IJ_SQL_ANY_MEMBER;
		registry = fleet->group_members;
		ij_arg_text(&args, group_id);
	}
	ij_query_begin();
	found = ij_query_run(id, registry, &args, IJ_SEES_NOW) > 0;
	ij_query_end();
	return found;
}

void
ij_fleet_walk(const IjFleet *fleet, const text *tenant_id, const text *group_id,
			  IjDevicesCallback callback, void *callback_arg)
{
	IjArgs		args = {0};
	IjStatement id = group_id ? IJ_SQL_WALK_MEMBERS : IJ_SQL_WALK_DEVICES;
	Oid			registry = group_id ? fleet->group_members : fleet->devices;
	MemoryContext batch_context;
	Portal		portal;
	text	   *last = NULL;
	text	   *kept = NULL;

	ij_arg_text(&args, tenant_id);
	if (group_id != NULL)
		ij_arg_text(&args, group_id);

	ij_query_begin();
	batch_context = AllocSetContextCreate(CurrentMemoryContext, "iot_jobs devices", ALLOCSET_DEFAULT_SIZES);
	portal = SPI_cursor_open(NULL, ij_query_plan(id, registry), args.values, args.nulls, false);
	for (;;)
	{
		MemoryContext old;
		Datum	   *devices;
		int			count = 0;

		SPI_cursor_fetch(portal, true, WALK_BATCH);
		if (SPI_processed == 0)
			break;
		old = MemoryContextSwitchTo(batch_context);
		devices = palloc(SPI_processed * sizeof(Datum));
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			bool		isnull;
			Datum		value = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);
			text	   *device;
			const char *complaint;

			if (isnull || VARSIZE_ANY_EXHDR(DatumGetTextPP(value)) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("relation \"%s\" lists a device without device_id", get_rel_name(registry)),
						 errhint("Choose a relation with use_fleet() whose device_id is never null or empty.")));
			device = DatumGetTextPP(value);
			if ((complaint = ij_validate_id_complaint("device_id", device)) != NULL)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("relation \"%s\" lists device \"%.*s\": %s", get_rel_name(registry),
								pg_mbcliplen(VARDATA_ANY(device), VARSIZE_ANY_EXHDR(device), SHOWN_BYTES),
								VARDATA_ANY(device), complaint),
						 errdetail("No function would take a report of it."),
						 errhint("Give the device another id, or choose a relation with use_fleet() that does not list it.")));

			/* a view may list a device twice; the order brings the two together */
			if (last != NULL && ij_same_text(last, device))
				continue;
			devices[count++] = PointerGetDatum(device);
			last = device;
		}
		if (count > 0)
			callback(devices, count, callback_arg);
		MemoryContextSwitchTo(old);

		/* only the last device outlives its batch */
		if (last != kept)
		{
			text	   *copy = ij_copy_text(last);

			if (kept != NULL)
				pfree(kept);
			last = kept = copy;
		}
		MemoryContextReset(batch_context);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	ij_query_end();
}
