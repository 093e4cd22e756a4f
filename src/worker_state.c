/*
 * worker_state.c
 *		The SQL functions about the worker: how it does, and a nudge.
 *
 * iot_jobs_worker_state() returns a row for each database known to the launcher.
 * The column "state" is one of
 *
 *	no launcher			nothing will happen before a session calls the extension, or
 *						ever, if max_worker_processes is too low: see the server's log
 *	no shared memory	nor then: see the server's log
 *	standby				nothing is done before promotion
 *	disabled			iot_jobs.worker_enabled is off
 *	waiting				there is work, and no place for a worker (iot_jobs.max_workers)
 *	making way			there is work, but somebody drops, renames, moves or copies the database
 *	backing off			the worker failed, the database takes no connections, or all jobs
 *						left are locked or bad; it will try again
 *	connecting			the worker is starting
 *	probing				... to see whether the database has the extension
 *	incomplete			the extension lacks a table, or a guard that is enabled: the database
 *						is being restored, say; looked at again once it was written to
 *	working
 *	idle				the worker has nothing to do and is still connected
 *	asleep				there is no worker; the next deadline or commit starts one
 *
 * It only looks: unlike the functions about jobs it starts no launcher, so that what
 * it says is what was.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "databases.h"
#include "guc.h"
#include "launcher.h"
#include "root.h"
#include "shmem.h"
#include "tell.h"

PG_FUNCTION_INFO_V1(iot_jobs_worker_state);
PG_FUNCTION_INFO_V1(iot_jobs_wake_job_worker);

/* columns of iot_jobs_worker_state() */
enum
{
	STATE_DATABASE,
	STATE_PID,
	STATE_STATE,
	STATE_STARTED_BY,
	STATE_LAST_PASS,
	STATE_LAST_ERROR,
	STATE_LAST_ERROR_AT,
	STATE_PASSES,
	STATE_EXPIRED,
	STATE_COMPLETED,
	STATE_DELETED,
	STATE_NEXT_DEADLINE,
	STATE_OLDEST_OVERDUE,
	STATE_COLUMNS
};

static const char *
database_state(const IjDatabase *database, TimestampTz now)
{
	if (database->worker_pid == 0)
	{
		if (!ij_guc_worker_enabled)
			return "disabled";
		if (database->incomplete)
			return "incomplete";
		if (!ij_database_wants_worker(database, now))
			return "asleep";
		if (database->hold_until <= now)
			return "waiting";
		return database->making_way ? "making way" : "backing off";
	}
	switch (database->activity)
	{
		case IJ_WORKER_NONE:
		case IJ_WORKER_CONNECTING:
			return database->probed ? "connecting" : "probing";
		case IJ_WORKER_WORKING:
			return "working";
		case IJ_WORKER_IDLE:
			return "idle";
		case IJ_WORKER_BACKING_OFF:
			return "backing off";
	}
	return NULL;				/* keep compiler quiet */
}

static const char *
why_no_launcher(bool attached)
{
	if (RecoveryInProgress())
		return "standby";
	if (!attached)
		return "no shared memory";
	if (!ij_guc_worker_enabled)
		return "disabled";
	return "no launcher";
}

static void
put_row(ReturnSetInfo *rsinfo, const IjDatabase *database, const char *name,
		const char *state, const char *started_by, bool reads_all, TimestampTz now)
{
	Datum		values[STATE_COLUMNS];
	bool		nulls[STATE_COLUMNS];
	NameData	database_name;
	TimestampTz overdue = database->overdue;

	memset(nulls, false, sizeof(nulls));
	memset(values, 0, sizeof(values));

	namestrcpy(&database_name, name);
	values[STATE_DATABASE] = NameGetDatum(&database_name);
	if (database->worker_pid != 0)
		values[STATE_PID] = Int32GetDatum(database->worker_pid);
	else
		nulls[STATE_PID] = true;
	values[STATE_STATE] = CStringGetTextDatum(state);
	if (started_by != NULL)
		values[STATE_STARTED_BY] = CStringGetTextDatum(started_by);
	else
		nulls[STATE_STARTED_BY] = true;

	values[STATE_LAST_PASS] = TimestampTzGetDatum(database->last_pass);
	nulls[STATE_LAST_PASS] = database->last_pass == 0;

	nulls[STATE_LAST_ERROR] = true;
	values[STATE_LAST_ERROR_AT] = TimestampTzGetDatum(database->last_error_at);
	nulls[STATE_LAST_ERROR_AT] = database->last_error_at == 0;
	if (reads_all && database->last_error_at != 0)
	{
		char		message[IJ_ERROR_BYTES];

		ij_databases_last_error(database->dboid, message);
		values[STATE_LAST_ERROR] = CStringGetTextDatum(message);
		nulls[STATE_LAST_ERROR] = false;
	}

	values[STATE_PASSES] = Int64GetDatum(database->passes);
	values[STATE_EXPIRED] = Int64GetDatum(database->expired);
	values[STATE_COMPLETED] = Int64GetDatum(database->completed);
	values[STATE_DELETED] = Int64GetDatum(database->deleted);
	nulls[STATE_EXPIRED] = nulls[STATE_COMPLETED] = nulls[STATE_DELETED] = !reads_all;

	if (database->next_deadline <= now)
		overdue = Min(overdue, database->next_deadline);
	values[STATE_NEXT_DEADLINE] = TimestampTzGetDatum(database->next_deadline);
	nulls[STATE_NEXT_DEADLINE] = !reads_all || database->next_deadline <= now ||
		database->next_deadline == DT_NOEND;
	values[STATE_OLDEST_OVERDUE] = TimestampTzGetDatum(overdue);
	nulls[STATE_OLDEST_OVERDUE] = !reads_all || overdue == DT_NOEND;

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/*
 * Error texts may quote rows of any tenant, and counts and deadlines are those of all
 * of them: they are for those who may read all statistics, as are other databases.
 */
Datum
iot_jobs_worker_state(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	bool		reads_all = has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS);
	TimestampTz now = GetCurrentTimestamp();
	IjDatabase	here = {.next_deadline = DT_NOEND, .overdue = DT_NOEND};
	IjDatabase *databases = NULL;
	int			ndatabases = 0;
	bool		attached = ij_shmem_attach();
	bool		preloaded = false;
	bool		running = false;

	InitMaterializedSRF(fcinfo, 0);

	if (attached)
	{
		running = ij_root_launcher_running(&preloaded);
		databases = palloc(sizeof(IjDatabase) * IJ_MAX_DATABASES);
		ndatabases = ij_databases_list(databases);
	}

	if (!running)
	{
		for (int i = 0; i < ndatabases; i++)
		{
			if (databases[i].dboid == MyDatabaseId)
				here = databases[i];
		}
		put_row(rsinfo, &here, get_database_name(MyDatabaseId),
				why_no_launcher(attached), NULL, reads_all, now);
		return (Datum) 0;
	}

	for (int i = 0; i < ndatabases; i++)
	{
		char	   *name;

		if (!reads_all && databases[i].dboid != MyDatabaseId)
			continue;
		name = get_database_name(databases[i].dboid);
		if (name == NULL)
			continue;			/* dropped, and not yet forgotten */
		put_row(rsinfo, &databases[i], name, database_state(&databases[i], now),
				preloaded ? "preload" : "session", reads_all, now);
	}
	return (Datum) 0;
}

Datum
iot_jobs_wake_job_worker(PG_FUNCTION_ARGS)
{
	ij_launcher_ensure();
	ij_tell_everything();
	PG_RETURN_VOID();
}
