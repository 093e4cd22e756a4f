/*
 * verify.c
 *		Does everything hold that must?
 *
 * Reads only, and with one snapshot, the caller's: so it locks and waits for
 * nothing, and what a transaction changes together is seen together.  What must
 * hold at every moment is judged by that one look.
 *
 * What the service does a moment later is another matter: expiry, completion and
 * deletion are broken only if they are overdue, by more than two sweeps.  The rows
 * tell when they changed by the start of the transaction that did it, and that may
 * be long ago when it commits.  So whoever seems to be overdue is looked at again
 * a second later, with a new snapshot; the worker needs milliseconds.
 *
 * It looks as the caller.  Some checks conclude from a row that is not there; they
 * are left out for whom more might be hidden than the rows of other tenants.
 */
#include "postgres.h"

#include "verify.h"

#include "access/table.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "compat.h"
#include "guc.h"
#include "iot_jobs.h"
#include "query.h"
#include "shape.h"

/* with heal_interval short, or off, a job that failed is put off for up to a minute; see worker.c */
#define LEAST_GRACE_SECONDS		60

/* between the two looks at what is overdue */
#define LOOK_AGAIN_MS			1000

/* what else a check needs */
typedef enum Need
{
	NOTHING,
	TIME,						/* to be looked at twice */
	WHOLE_TENANTS,				/* the caller sees all rows of a tenant, or none */
	WHOLE_TENANTS_AND_TIME,
	TENANTS						/* the caller sees all of the table tenants */
} Need;

typedef struct Check
{
	IjStatement statement;
	Need		need;
} Check;

/*
 * The tables come first: without them, nothing else can be asked.  The rest is in
 * the order in which it can be mended: what guards rows, rows, what checks them,
 * and what the service does with them.
 */
static const Check checks[] = {
	{IJ_SQL_VERIFY_TABLES, NOTHING},
	{IJ_SQL_VERIFY_VERSION, NOTHING},
	{IJ_SQL_VERIFY_OWNERS, NOTHING},
	{IJ_SQL_VERIFY_TRIGGERS, NOTHING},
	{IJ_SQL_VERIFY_ROW_SECURITY, NOTHING},
	{IJ_SQL_VERIFY_POLICIES, NOTHING},
	{IJ_SQL_VERIFY_INDEXES, NOTHING},
	{IJ_SQL_VERIFY_FLEET, NOTHING},
	{IJ_SQL_VERIFY_WORKER, TIME},
	{IJ_SQL_VERIFY_JOBS, NOTHING},
	{IJ_SQL_VERIFY_EXECUTIONS, NOTHING},
	{IJ_SQL_VERIFY_TENANTS, TENANTS},
	{IJ_SQL_VERIFY_ORPHANS, WHOLE_TENANTS},
	{IJ_SQL_VERIFY_OPEN_IN_FINISHED, NOTHING},
	{IJ_SQL_VERIFY_CONSTRAINTS, NOTHING},
	{IJ_SQL_VERIFY_FOREIGN_KEYS, NOTHING},
	{IJ_SQL_VERIFY_NOT_EXPIRED, TIME},
	{IJ_SQL_VERIFY_NOT_COMPLETED, WHOLE_TENANTS_AND_TIME},
	{IJ_SQL_VERIFY_NOT_DELETED, TIME},
};

/* What is overdue since before then is broken.  An old transaction sees an old state. */
static TimestampTz
overdue_before(const Interval *grace)
{
	TimestampTz now = GetCurrentTransactionStartTimestamp();

	if (grace != NULL)
		return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval, TimestampTzGetDatum(now),
													   IntervalPGetDatum(grace)));
	return now - Max(2 * ij_guc_heal_interval, LEAST_GRACE_SECONDS) * USECS_PER_SEC;
}

static IjArgs
verify_args(const IjVerification *wanted)
{
	IjArgs		args = {0};
	const char *schema = ij_catalog_schema();

	ij_arg_text(&args, wanted->tenant_id);
	ij_arg_limit(&args, wanted->max_rows);
	ij_arg_timestamp(&args, true, overdue_before(wanted->grace));
	ij_arg_word(&args, psprintf("%s.jobs", schema));
	ij_arg_word(&args, psprintf("%s.job_executions", schema));
	ij_arg_word(&args, schema);
	ij_arg_word(&args, IJ_VERSION);
	return args;
}

static bool
is_hidden_from_us(Oid table)
{
	return check_enable_rls(table, InvalidOid, true) == RLS_ENABLED;
}

/* Is nothing of a tenant hidden in this table from who sees that tenant? */
static bool
shows_whole_tenants(Oid table, const IjShape *(*shape_of)(Relation))
{
	Relation	rel;
	const IjShape *shape;
	bool		result;

	if (!is_hidden_from_us(table))
		return true;
	rel = table_open(table, AccessShareLock);
	shape = shape_of(rel);
	result = shape->usable && shape->policies.known;
	table_close(rel, NoLock);
	return result;
}

static bool
sees_whole_tenants(void)
{
	return shows_whole_tenants(ij_catalog_jobs(), ij_shape_of_jobs) &&
		shows_whole_tenants(ij_catalog_executions(), ij_shape_of_executions);
}

static bool
sees_all_tenants(void)
{
	Oid			tenants = ij_catalog_tenants();

	return OidIsValid(tenants) && pg_class_aclcheck(tenants, GetUserId(), ACL_SELECT) == ACLCHECK_OK &&
		!is_hidden_from_us(tenants);
}

static bool
can_be_asked(const Check *check)
{
	switch (check->need)
	{
		case NOTHING:
		case TIME:
			break;
		case WHOLE_TENANTS:
		case WHOLE_TENANTS_AND_TIME:
			return sees_whole_tenants();
		case TENANTS:
			return sees_all_tenants();
	}
	return true;
}

static void
pause_for_second_look(void)
{
	uint32		wait_event = ij_wait_event_new("IotJobsVerify");
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LOOK_AGAIN_MS);
	long		left;

	while ((left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until)) > 0)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, left, wait_event);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* Ask this of the database; true if it is as it must be. */
static bool
run_check(const Check *check, IjArgs *args, bool *paused, Tuplestorestate *store)
{
	uint64		count;

	ij_query_begin();
	count = ij_query_run(check->statement, InvalidOid, args, IJ_SEES_AS_CALLER);
	if (count > 0 && (check->need == TIME || check->need == WHOLE_TENANTS_AND_TIME))
	{
		if (!*paused)
			pause_for_second_look();
		*paused = true;
		PushActiveSnapshot(GetLatestSnapshot());
		count = ij_query_run(check->statement, InvalidOid, args, IJ_SEES_AS_CALLER);
		PopActiveSnapshot();
	}
	for (uint64 i = 0; i < count; i++)
		tuplestore_puttuple(store, SPI_tuptable->vals[i]);
	ij_query_end();
	return count == 0;
}

static void
tell_what_is_hidden(void)
{
	if (is_hidden_from_us(ij_catalog_jobs()) || is_hidden_from_us(ij_catalog_executions()))
		ereport(NOTICE,
				(errmsg("only rows that row security shows to \"%s\" were verified",
						GetUserNameFromId(GetUserId(), false)),
				 errhint("The owner of the tables, and a role with BYPASSRLS, verify all rows.")));
}

void
ij_verify_run(const IjVerification *wanted, Tuplestorestate *store)
{
	IjArgs		args = verify_args(wanted);
	bool		paused = false;
	bool		has_tables;
	int			nest_level = NewGUCNestLevel();

	/* what the server says of its own catalog depends on them */
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("quote_all_identifiers", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	has_tables = run_check(&checks[0], &args, &paused, store);
	for (int i = 1; has_tables && i < lengthof(checks); i++)
	{
		if (can_be_asked(&checks[i]))
			(void) run_check(&checks[i], &args, &paused, store);
	}
	AtEOXact_GUC(true, nest_level);
	if (has_tables)
		tell_what_is_hidden();
}
