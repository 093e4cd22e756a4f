/*
 * schedule.c
 *		Recurring jobs, retention and sweeps on a schedule of pg_cron.
 *
 * Nothing is stored here: a schedule is a row of cron.job, owned by pg_cron and by
 * the role that made it.  What this file adds is the command of that row, made so
 * that it works years later, in a session that has none of today's settings: every
 * name qualified, every value a quoted literal of a stated type, and the tenant
 * set for row security in the same transaction.  And it refuses today what would
 * fail every night.
 *
 * The names of the rows start with "iot_jobs " and the kind, so that they collide
 * neither with each other nor with the operator's own.  pg_cron tells rows apart by
 * name and role, not by database: the rows of a database that is not the home of
 * pg_cron have it in their names.
 *
 * pg_cron runs a command in a new session of the role that scheduled it, with the
 * rights of that role, and so do we: no function here changes the user.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "errors.h"
#include "iot_jobs.h"
#include "launcher.h"
#include "validate.h"

#define JOB_PREFIX				"iot_jobs job "
#define RETENTION_OF_ALL		"iot_jobs retention"
#define RETENTION_PREFIX		"iot_jobs retention "
#define RETENTION_DIGEST_PREFIX "iot_jobs retention/sha256 "
#define SWEEP					"iot_jobs sweep"
#define ELSEWHERE_DIGEST_PREFIX	"iot_jobs/sha256 "

/* bytes of the digest that are in the name, two characters each */
#define DIGEST_BYTES			16

/*
 * Rows one scheduled sweep may change.  It comes once a minute at most, so this is
 * the rate a server without a worker can follow; a second or two of work.
 */
#define SWEEP_ROWS				100000

PG_FUNCTION_INFO_V1(iot_jobs_schedule_job);
PG_FUNCTION_INFO_V1(iot_jobs_unschedule_job);
PG_FUNCTION_INFO_V1(iot_jobs_schedule_job_retention);
PG_FUNCTION_INFO_V1(iot_jobs_unschedule_job_retention);
PG_FUNCTION_INFO_V1(iot_jobs_schedule_job_sweep);
PG_FUNCTION_INFO_V1(iot_jobs_unschedule_job_sweep);

/* ----------------------------------------------------------------
 * Arguments
 * ----------------------------------------------------------------
 */

static text *
text_or_null(FunctionCallInfo fcinfo, int i)
{
	return PG_ARGISNULL(i) ? NULL : PG_GETARG_TEXT_PP(i);
}

/*
 * The grammar of a schedule is pg_cron's and differs between its versions, so
 * pg_cron judges it.
 */
static char *
schedule_argument(FunctionCallInfo fcinfo, int i)
{
	if (PG_ARGISNULL(i))
		ij_error_null_argument("schedule");
	return text_to_cstring(PG_GETARG_TEXT_PP(i));
}

/*
 * The row of cron.job for a schedule_job().  pg_cron cuts a longer name without a
 * word, and two schedules would become one.
 */
static char *
job_row_name(const text *name)
{
	int			max_bytes = NAMEDATALEN - 1 - (int) strlen(JOB_PREFIX);
	int			bytes;

	ij_validate_id("name", name);
	bytes = VARSIZE_ANY_EXHDR(name);
	if (bytes > max_bytes)
		ij_error_bad_argument("argument \"name\" is too long",
							  psprintf("It has %d bytes.", bytes),
							  psprintf("The name of a schedule has at most %d bytes.", max_bytes));
	return psprintf("%s%s", JOB_PREFIX, text_to_cstring(name));
}

/* for what is too long for a name */
static char *
digest_name(const char *prefix, const text *what)
{
	bytea	   *digest = DatumGetByteaPP(DirectFunctionCall1(sha256_bytea, PointerGetDatum(what)));
	char		hex[2 * DIGEST_BYTES + 1];

	hex[hex_encode(VARDATA_ANY(digest), DIGEST_BYTES, hex)] = '\0';
	return psprintf("%s%s", prefix, hex);
}

/* the same for retention; a tenant too long for the name is in it as a digest */
static char *
retention_row_name(const text *tenant_id)
{
	if (tenant_id == NULL)
		return pstrdup(RETENTION_OF_ALL);
	ij_validate_id("tenant_id", tenant_id);
	if (strlen(RETENTION_PREFIX) + VARSIZE_ANY_EXHDR(tenant_id) < NAMEDATALEN)
		return psprintf("%s%s", RETENTION_PREFIX, text_to_cstring(tenant_id));
	return digest_name(RETENTION_DIGEST_PREFIX, tenant_id);
}

/* what a row of this name of ours is called where pg_cron is at home, which is not here */
static char *
row_name_elsewhere(const char *name)
{
	char	   *full = psprintf("%s of %s", name, get_database_name(MyDatabaseId));

	return strlen(full) < NAMEDATALEN ? full : digest_name(ELSEWHERE_DIGEST_PREFIX, cstring_to_text(full));
}

/* ----------------------------------------------------------------
 * Commands: the text of what pg_cron is to run
 * ----------------------------------------------------------------
 */

static void
append_text(StringInfo command, const char *argument, const text *value)
{
	appendStringInfo(command, "%s => %s::pg_catalog.text", argument, quote_literal_cstr(text_to_cstring(value)));
}

/*
 * In the style "1 mon 2 days 03:00:00", whatever style this session prefers: the
 * one that every style of input reads alike.
 */
static void
append_interval(StringInfo command, const char *argument, const Interval *value)
{
	struct pg_itm fields;
	char		buf[MAXDATELEN + 1];

	interval2itm(*value, &fields);
	EncodeInterval(&fields, INTSTYLE_POSTGRES, buf);
	appendStringInfo(command, "%s => %s::pg_catalog.interval", argument, quote_literal_cstr(buf));
}

/* row security looks at this setting; pg_cron sends all of a command as one transaction */
static void
append_tenant_setting(StringInfo command, const text *tenant_id)
{
	appendStringInfo(command, "SELECT pg_catalog.set_config('app.tenant_id', %s, true); ",
					 quote_literal_cstr(text_to_cstring(tenant_id)));
}

/* ----------------------------------------------------------------
 * Calls of pg_cron: the one place outside of statements.c with SQL text, because
 * they are about another extension's tables, which may not be there.
 *
 * The schema of pg_cron is always named cron.
 * ----------------------------------------------------------------
 */

#define SCHEDULE_STATEMENT \
	"SELECT cron.schedule($1::pg_catalog.text, $2::pg_catalog.text, $3::pg_catalog.text)"

#define UNSCHEDULE_STATEMENT \
	"SELECT cron.unschedule($1::pg_catalog.text)"

#define FIND_STATEMENT(same_database) \
	"SELECT 1 FROM cron.job j " \
	"WHERE j.jobname::pg_catalog.text OPERATOR(pg_catalog.=) $1 " \
	"AND j.username OPERATOR(pg_catalog.=) CURRENT_USER::pg_catalog.text " \
	"AND j.database OPERATOR(pg_catalog." same_database ") pg_catalog.current_database()::pg_catalog.text"

/*
 * Is pg_cron at work in this database?  If not, say why, and what to do: todo is
 * the statement that does it in the database where pg_cron is, and role who may.
 */
static void
require_pg_cron(const char *role, const char *todo)
{
	const char *home = GetConfigOption("cron.database_name", true, false);
	char	   *here = get_database_name(MyDatabaseId);

	if (home == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pg_cron does not run on this server"),
				 errdetail("Schedules of iot_jobs are run by the extension pg_cron."),
				 errhint("Install the package postgresql-%s-cron, add pg_cron to shared_preload_libraries, "
						 "set cron.database_name to \"%s\", restart the server and CREATE EXTENSION pg_cron.",
						 PG_MAJORVERSION, here)));
	if (strcmp(home, here) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pg_cron is at home in database \"%s\", not in \"%s\"", home, here),
				 errdetail("Only the database that cron.database_name names has the schedules of a server."),
				 errhint("Connect to database \"%s\" as %s and run: %s", home, role, todo)));
	if (!OidIsValid(get_extension_oid("pg_cron", true)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"pg_cron\" is not installed in this database"),
				 errdetail("Schedules of iot_jobs are run by the extension pg_cron."),
				 errhint("Run CREATE EXTENSION pg_cron as a superuser.")));
}

/* pg_cron connects as the role that schedules, so the role must be able to */
static void
require_login(void)
{
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	bool		can_login = HeapTupleIsValid(tuple) && ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	if (!can_login)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("role \"%s\" cannot own a schedule", GetUserNameFromId(GetUserId(), false)),
				 errdetail("pg_cron runs a schedule in a session of the role that made it, and this role is not permitted to log in."),
				 errhint("Schedule as a role with the attribute LOGIN.")));
}

/* an error context callback: add to an error of pg_cron what to do about it */
static void
explain_cron_error(void *arg)
{
	switch (geterrcode())
	{
		case ERRCODE_INVALID_PARAMETER_VALUE:
			errhint("A schedule has five fields (minute, hour, day of month, month, day of week), as in '30 3 * * *'.");
			break;
		case ERRCODE_INSUFFICIENT_PRIVILEGE:
			errhint("Have a superuser run: GRANT USAGE ON SCHEMA cron TO %s.",
					quote_identifier((const char *) arg));
			break;
	}
}

/*
 * Run a statement of one row with text parameters, as the caller.  False if it returned
 * no row; else its one column, a bigint, is in *result, unless that is NULL.
 */
static bool
run_cron_statement(const char *statement, const char *const *values, int nargs, int64 *result)
{
	Oid			types[3] = {TEXTOID, TEXTOID, TEXTOID};
	Datum		params[3];
	ErrorContextCallback explain;
	bool		isnull = true;
	bool		found;
	int			rc;

	Assert(nargs <= lengthof(params));
	for (int i = 0; i < nargs; i++)
		params[i] = CStringGetTextDatum(values[i]);

	explain.callback = explain_cron_error;
	explain.arg = GetUserNameFromId(GetUserId(), false);
	explain.previous = error_context_stack;
	error_context_stack = &explain;

	if ((rc = SPI_connect()) != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed: %s", SPI_result_code_string(rc));
	rc = SPI_execute_with_args(statement, nargs, types, params, NULL, false, 1);
	if (rc != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_with_args failed: %s", SPI_result_code_string(rc));
	found = SPI_processed > 0;
	if (found && result != NULL)
	{
		Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);

		if (isnull || SPI_gettypeid(SPI_tuptable->tupdesc, 1) != INT8OID)
			elog(ERROR, "unexpected result from pg_cron");
		*result = DatumGetInt64(value);
	}
	SPI_finish();

	error_context_stack = explain.previous;
	return found;
}

/* such a schedule is no error: a policy of the operator's may show the role what it needs */
static void
warn_of_hidden_tenants(void)
{
	if (check_enable_rls(ij_catalog_jobs(), InvalidOid, true) == RLS_ENABLED)
		ereport(WARNING,
				(errmsg("row security applies to role \"%s\"", GetUserNameFromId(GetUserId(), false)),
				 errdetail("The schedule is for all tenants, and its session has none in app.tenant_id, so the policies of iot_jobs show it no job."),
				 errhint("Schedule as a role with BYPASSRLS.")));
}

/* make or replace a row of cron.job; returns its id */
static int64
schedule_command(const char *name, const char *schedule, const char *command)
{
	const char *values[3] = {name, schedule, command};
	int64		jobid;

	/* of pg_cron's functions this one is for superusers, and has the role as an argument */
	require_pg_cron("a superuser",
					psprintf("SELECT cron.schedule_in_database(%s, %s, %s, %s, %s)",
							 quote_literal_cstr(row_name_elsewhere(name)), quote_literal_cstr(schedule),
							 quote_literal_cstr(command),
							 quote_literal_cstr(get_database_name(MyDatabaseId)),
							 quote_literal_cstr(GetUserNameFromId(GetUserId(), false))));
	require_login();
	/* pg_cron would replace the rest, and leave the database as it is */
	if (run_cron_statement(FIND_STATEMENT("<>"), &name, 1, NULL))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("schedule \"%s\" exists for another database", name),
				 errdetail("Role \"%s\" has a row of this name in cron.job with that database.", GetUserNameFromId(GetUserId(), false)),
				 errhint("If it is not wanted any more, or the database was renamed, run: SELECT cron.unschedule(%s)",
						 quote_literal_cstr(name))));
	if (!run_cron_statement(SCHEDULE_STATEMENT, values, 3, &jobid))
		elog(ERROR, "no row from pg_cron");
	return jobid;
}

/* remove a row of cron.job that the caller made */
static void
unschedule_command(const char *name)
{
	require_pg_cron(psprintf("role %s", quote_identifier(GetUserNameFromId(GetUserId(), false))),
					psprintf("SELECT cron.unschedule(%s)", quote_literal_cstr(row_name_elsewhere(name))));

	/* pg_cron has no SQLSTATE of its own for a name it does not know */
	if (!run_cron_statement(FIND_STATEMENT("="), &name, 1, NULL))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("schedule \"%s\" does not exist", name),
				 errdetail("Role \"%s\" has no such row in cron.job for this database.", GetUserNameFromId(GetUserId(), false)),
				 errhint("A schedule belongs to the role that made it; cron.job lists those of this role, and to a superuser all.")));
	(void) run_cron_statement(UNSCHEDULE_STATEMENT, &name, 1, NULL);
}

/* ----------------------------------------------------------------
 * SQL functions
 * ----------------------------------------------------------------
 */

/*
 * schedule_job(name, schedule, tenant_id, document_type, document_params,
 * target_device_id, target_group_id, target_all, expires_in, created_by)
 *
 * The target may be empty today; whether it has devices is asked at each run.
 */
Datum
iot_jobs_schedule_job(PG_FUNCTION_ARGS)
{
	text	   *name = text_or_null(fcinfo, 0);
	text	   *tenant_id = text_or_null(fcinfo, 2);
	text	   *document_type = text_or_null(fcinfo, 3);
	Jsonb	   *document_params = PG_ARGISNULL(4) ? NULL : PG_GETARG_JSONB_P(4);
	text	   *target_device_id = text_or_null(fcinfo, 5);
	text	   *target_group_id = text_or_null(fcinfo, 6);
	bool		target_all;
	Interval   *expires_in = PG_ARGISNULL(8) ? NULL : PG_GETARG_INTERVAL_P(8);
	text	   *created_by = text_or_null(fcinfo, 9);
	char	   *row_name;
	char	   *schedule;
	StringInfoData command;

	ij_catalog_use(fcinfo);
	ij_launcher_ensure();

	row_name = job_row_name(name);
	schedule = schedule_argument(fcinfo, 1);
	ij_validate_id("tenant_id", tenant_id);
	ij_validate_document_type(document_type);
	ij_validate_document("document_params", document_params);
	if (target_device_id != NULL)
		ij_validate_id("target_device_id", target_device_id);
	if (target_group_id != NULL)
		ij_validate_id("target_group_id", target_group_id);
	if (PG_ARGISNULL(7))
		ij_error_null_argument("target_all");
	target_all = PG_GETARG_BOOL(7);
	if ((target_device_id != NULL) + (target_group_id != NULL) + target_all != 1)
		ij_error_bad_argument("a job needs exactly one target", NULL,
							  "Give one of target_device_id, target_group_id and target_all => true.");
	if (expires_in != NULL)
		(void) ij_validate_expires_in(expires_in);
	if (created_by != NULL)
		ij_validate_id("created_by", created_by);

	initStringInfo(&command);
	append_tenant_setting(&command, tenant_id);
	appendStringInfo(&command, "SELECT %s.create_job(", ij_catalog_schema());
	append_text(&command, "tenant_id", tenant_id);
	append_text(&command, ", document_type", document_type);
	appendStringInfo(&command, ", document_params => %s::pg_catalog.jsonb",
					 quote_literal_cstr(JsonbToCString(NULL, &document_params->root, VARSIZE(document_params))));
	if (target_device_id != NULL)
		append_text(&command, ", target_device_id", target_device_id);
	if (target_group_id != NULL)
		append_text(&command, ", target_group_id", target_group_id);
	if (target_all)
		appendStringInfoString(&command, ", target_all => true");
	if (expires_in != NULL)
		append_interval(&command, ", expires_in", expires_in);
	if (created_by != NULL)
		append_text(&command, ", created_by", created_by);
	appendStringInfoChar(&command, ')');

	PG_RETURN_INT64(schedule_command(row_name, schedule, command.data));
}

/* unschedule_job(name) */
Datum
iot_jobs_unschedule_job(PG_FUNCTION_ARGS)
{
	text	   *name = text_or_null(fcinfo, 0);

	ij_catalog_use(fcinfo);
	ij_launcher_ensure();

	unschedule_command(job_row_name(name));
	PG_RETURN_BOOL(true);
}

/* schedule_job_retention(keep, schedule, tenant_id) */
Datum
iot_jobs_schedule_job_retention(PG_FUNCTION_ARGS)
{
	Interval   *keep = PG_ARGISNULL(0) ? NULL : PG_GETARG_INTERVAL_P(0);
	text	   *tenant_id = text_or_null(fcinfo, 2);
	char	   *row_name;
	char	   *schedule;
	StringInfoData command;
	int64		jobid;

	ij_catalog_use(fcinfo);
	ij_launcher_ensure();

	if (keep == NULL)
		ij_error_null_argument("keep");
	ij_validate_age("keep", keep);
	schedule = schedule_argument(fcinfo, 1);
	row_name = retention_row_name(tenant_id);

	initStringInfo(&command);
	if (tenant_id != NULL)
	{
		append_tenant_setting(&command, tenant_id);
		appendStringInfo(&command, "SELECT %s.purge_jobs(", ij_catalog_schema());
		append_text(&command, "tenant_id", tenant_id);
		appendStringInfoString(&command, ", ");
	}
	else
		appendStringInfo(&command, "SELECT %s.purge_all_jobs(", ij_catalog_schema());
	append_interval(&command, "older_than", keep);
	appendStringInfoChar(&command, ')');

	jobid = schedule_command(row_name, schedule, command.data);
	if (tenant_id == NULL)
		warn_of_hidden_tenants();
	PG_RETURN_INT64(jobid);
}

/* unschedule_job_retention(tenant_id) */
Datum
iot_jobs_unschedule_job_retention(PG_FUNCTION_ARGS)
{
	text	   *tenant_id = text_or_null(fcinfo, 0);

	ij_catalog_use(fcinfo);
	ij_launcher_ensure();

	unschedule_command(retention_row_name(tenant_id));
	PG_RETURN_BOOL(true);
}

/* schedule_job_sweep(schedule) */
Datum
iot_jobs_schedule_job_sweep(PG_FUNCTION_ARGS)
{
	char	   *schedule;
	int64		jobid;

	ij_catalog_use(fcinfo);
	ij_launcher_ensure();

	schedule = schedule_argument(fcinfo, 0);
	jobid = schedule_command(SWEEP, schedule,
							 psprintf("SELECT %s.run_job_sweep(max_rows => %d::pg_catalog.int8)",
									  ij_catalog_schema(), SWEEP_ROWS));
	warn_of_hidden_tenants();
	PG_RETURN_INT64(jobid);
}

/* unschedule_job_sweep() */
Datum
iot_jobs_unschedule_job_sweep(PG_FUNCTION_ARGS)
{
	ij_catalog_use(fcinfo);
	ij_launcher_ensure();

	unschedule_command(SWEEP);
	PG_RETURN_BOOL(true);
}
