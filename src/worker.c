/*
 * worker.c
 *		The process that does the work of one database.
 *
 * Each turn gathers the jobs to visit and visits each once.  They come from four
 * sources: jobs told by commits, jobs that were locked or failed a while ago, jobs
 * whose deadline has passed, and, if somebody wants everything looked at, the
 * next page of all unfinished jobs.  Every source gives a bounded number a turn
 * (but all jobs that share a deadline), and a job that is not done after one visit
 * comes again next turn, so none starves another.
 *
 * One unit is one transaction.  It visits jobs until it has changed
 * iot_jobs.sweep_batch_rows rows; what becomes of its visits afterwards, and of those
 * of a unit that failed, is in visits.c.  What fails while gathering puts off the
 * whole turn.
 *
 * The worker connects as the bootstrap superuser, but touches data only as the
 * owner of the tables, under a restricted security context.  While it waits it
 * is in no transaction and holds no lock, and it leaves as soon as somebody wants
 * the database for himself or another database needs its place.
 *
 * Whatever it has not done when it leaves, for whatever reason, it gives back to
 * shared memory in leave().  A crash loses that with all else, and begins with a
 * look at everything.
 *
 * No SQL and no rule is here: see sweep.c.  Nor is a lock: see databases.c.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "compat.h"
#include "databases.h"
#include "fault.h"
#include "guc.h"
#include "iot_jobs.h"
#include "launcher.h"
#include "shmem.h"
#include "store.h"
#include "sweep.h"
#include "told.h"
#include "visits.h"
#include "worker.h"

/* jobs taken from one source in one turn */
#define SOURCE_JOBS			256

/* jobs visited in one transaction: small ones share it, but not its locks for long */
#define UNIT_VISITS			64

/* times that one job is left to those who wait for it */
#define MAX_YIELDS			10

/* a turn that failed as a whole */
#define TROUBLE_FIRST_MS	500
#define TROUBLE_LAST_MS		60000

/* the same job's failure is logged once in this time */
#define LOG_AGAIN_MS		60000

/* a worker that leaves with something put off is not followed by the next one before */
#define PUT_OFF_MS			1000

/* commits in a database that lacks a part of the extension start one worker in this time */
#define INCOMPLETE_MS		1000

/*
 * How often to look whether somebody wants the database for himself; he waits for us
 * for 5 s (CountOtherDBBackends())
 */
#define DEMAND_CHECK_MS		2000
#define DEMAND_CHECK_BUSY_MS 100

/* a clock that is adjusted goes back by less, or not at all */
#define CLOCK_SET_BACK_MS	1000

/* DROP DATABASE waits 5 s for others to leave; stay away for its next try */
#define MAKE_WAY_MS			2000

/* a busy worker whose place is wanted works this long first */
#define QUANTUM_MS			1000

/* the look at all unfinished jobs */
static bool full_running = false;
static IjJobKey full_cursor;	/* the last job listed; its ids are NULL at the start */
static int64 full_spent = 0;	/* microseconds of the turns that look at them, from 1; 0: none does */

/* the deadlines that are being listed */
static bool due_listing = false;
static TimestampTz due_from;

static int	trouble = 0;		/* turns in a row that failed as a whole */
static TimestampTz trouble_until = 0;
static IjPresence presence = IJ_READY;	/* as the last unit found the extension */

static bool making_way = false;
static bool has_database = false;

static MemoryContext turn_context;
static MemoryContext unit_context;	/* for the visits of one transaction */
static int	guc_level;			/* of what a trigger sets in this transaction */

/*
 * Settings that ALTER DATABASE or ALTER ROLE may have left for this connection,
 * and that a worker must not inherit.  One that this server does not have is
 * skipped.
 */
static const char *const own_settings[][2] = {
	/* whose names and whose rights */
	{"search_path", "pg_catalog, pg_temp"},
	{"app.tenant_id", ""},
	{"role", "none"},
	{"session_replication_role", "origin"},
	{"row_security", "on"},

	/* what ends a transaction */
	{"statement_timeout", "0"},
	{"lock_timeout", "0"},
	{"idle_in_transaction_session_timeout", "0"},
	{"transaction_timeout", "0"},
	{"exit_on_error", "off"},

	/* what a transaction is */
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_read_only", "off"},
	{"default_transaction_deferrable", "off"},
	{"synchronous_commit", "local"},	/* a standby that is away stops no sweep, as no vacuum */

	/* what a statement means */
	{"standard_conforming_strings", "on"},
	{"transform_null_equals", "off"},
	{"zero_damaged_pages", "off"},
	{"ignore_checksum_failure", "off"},
	{"xmloption", "content"},

	/* how it runs: along a key, from where it stopped, without a sort of all there is */
	{"enable_indexscan", "on"},
	{"enable_indexonlyscan", "on"},
	{"enable_tidscan", "on"},
	{"enable_nestloop", "on"},
	{"enable_seqscan", "off"},
	{"enable_bitmapscan", "off"},
	{"enable_sort", "off"},
	{"enable_incremental_sort", "off"},
	{"plan_cache_mode", "auto"},
	{"jit", "off"},
	{"max_parallel_workers_per_gather", "0"},
	{"force_parallel_mode", "off"},
	{"debug_parallel_query", "off"},
};

static void
refuse_inherited_settings(void)
{
	for (int i = 0; i < lengthof(own_settings); i++)
	{
		if (GetConfigOption(own_settings[i][0], true, false) != NULL)
			SetConfigOption(own_settings[i][0], own_settings[i][1], PGC_SUSET, PGC_S_OVERRIDE);
	}
}

/* by a clock that nobody sets */
static int64
microseconds_since(instr_time began)
{
	instr_time	spent;

	INSTR_TIME_SET_CURRENT(spent);
	INSTR_TIME_SUBTRACT(spent, began);
	return INSTR_TIME_GET_MICROSEC(spent);
}

/* where the look at all unfinished jobs can go on in another worker; false: nowhere but at the start */
static bool
flat_cursor(IjTold *cursor)
{
	return full_cursor.job_id != NULL && ij_told_make(cursor, full_cursor.tenant_id, full_cursor.job_id, false);
}

/*
 * Leave, with what was not done.  Runs at every kind of exit but a crash, after
 * the transaction was aborted.
 */
static void
leave(int code, Datum arg)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz hold_until = 0;

	if (has_database)
	{
		/*
		 * What was put off must not start the next worker at once; but it may not
		 * hold up for long what is told from now on.
		 */
		if (making_way)
			hold_until = TimestampTzPlusMilliseconds(now, MAKE_WAY_MS);
		else if (ij_visits_put_off_until() != DT_NOEND || trouble_until > now)
			hold_until = TimestampTzPlusMilliseconds(now, PUT_OFF_MS);
		else if (presence == IJ_INCOMPLETE)
			hold_until = TimestampTzPlusMilliseconds(now, INCOMPLETE_MS);

		if (full_running)
		{
			IjTold		cursor;

			ij_worker_pause_full(flat_cursor(&cursor) ? &cursor : NULL);
		}
		/* after an error we may have lost our place in anything */
		if (ij_visits_overflowed(DT_NOEND) || code != 0)
			ij_worker_pause_full(NULL);
		if (due_listing)
			ij_worker_listed_due(due_from, now);
		ij_visits_give_back();
	}
	ij_worker_leave_database(code != 0, hold_until, making_way);
}

/*
 * ------------------------------------------------------------
 * Transactions
 * ------------------------------------------------------------
 */

/*
 * As the owner, in a restricted context, nothing can be deferred: the server refuses
 * it, and a deferred trigger of the operator's would end every visit.  So whatever is
 * deferred by default is done at the end of each statement here.
 */
static void
defer_nothing(void)
{
	ConstraintsSetStmt *all = makeNode(ConstraintsSetStmt);

	all->deferred = false;
	AfterTriggerSetState(all);
}

/*
 * Begin a transaction as the owner of the tables.  False, and no transaction, if the
 * extension is not there, or not all of it.
 */
static bool
begin_as_owner(IjIdentity *saved, const char *activity)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	MemoryContextSwitchTo(turn_context);
	pgstat_report_activity(STATE_RUNNING, activity);

	PushActiveSnapshot(GetTransactionSnapshot());
	presence = ij_catalog_find();
	PopActiveSnapshot();
	if (presence != IJ_ABSENT)
		ij_worker_found_extension(presence == IJ_READY);
	if (presence != IJ_READY)
	{
		CommitTransactionCommand();
		MemoryContextSwitchTo(turn_context);
		return false;
	}
	ij_catalog_check_version();
	defer_nothing();
	guc_level = NewGUCNestLevel();
	ij_catalog_become_owner(saved);
	return true;
}

static void
commit_as_owner(const IjIdentity *saved, const IjSweepCounts *counts)
{
	int			own_xids;

	ij_catalog_become_again(saved);
	AtEOXact_GUC(false, guc_level);
	own_xids = TransactionIdIsValid(GetTopTransactionIdIfAny()) ? 1 : 0;
	CommitTransactionCommand();
	MemoryContextSwitchTo(turn_context);
	IJ_FAULT(worker_committed);
	ij_worker_count_pass(counts->expired, counts->completed, counts->deleted, own_xids);
	(void) pgstat_report_stat(false);
}

static void
visit_error_context(void *arg)
{
	IjVisit    *visit = *(IjVisit **) arg;

	if (visit != NULL)
		errcontext("iot_jobs worker visiting job \"%.*s\" of tenant \"%.*s\"",
				   (int) VARSIZE_ANY_EXHDR(visit->job_id), VARDATA_ANY(visit->job_id),
				   (int) VARSIZE_ANY_EXHDR(visit->tenant_id), VARDATA_ANY(visit->tenant_id));
	else
		errcontext("iot_jobs worker looking for jobs to visit");
}

/*
 * In a PG_CATCH(): abort, note the error, and log it unless it was logged lately.
 */
static void
recover(bool may_log)
{
	ErrorData  *error;

	HOLD_INTERRUPTS();
	MemoryContextSwitchTo(turn_context);
	error = CopyErrorData();
	if (ij_worker_note_error(error->message, may_log))
		EmitErrorReport();
	FlushErrorState();
	AbortCurrentTransaction();
	MemoryContextSwitchTo(turn_context);
	FreeErrorData(error);
	RESUME_INTERRUPTS();
	(void) pgstat_report_stat(false);
}

/*
 * Visit jobs in one transaction, which makes them the unit.  They have
 * their result when it returns; false if it failed, and nothing was done.
 */
static bool
visit_in_one_transaction(void)
{
	IjSweepCounts counts = {0};
	IjIdentity	saved;
	ErrorContextCallback callback;
	IjVisit    *volatile visiting = NULL;
	volatile bool done = false;

	callback.callback = visit_error_context;
	callback.arg = (void *) &visiting;
	callback.previous = error_context_stack;

	PG_TRY();
	{
		error_context_stack = &callback;
		if (begin_as_owner(&saved, "iot_jobs: visiting jobs"))
		{
			int64		rows = 0;
			int			visits = 0;

			MemoryContextSwitchTo(unit_context);
			do
			{
				instr_time	began;

				INSTR_TIME_SET_CURRENT(began);
				visiting = ij_visits_next();
				PushActiveSnapshot(GetTransactionSnapshot());
				visiting->result = ij_sweep_visit(visiting->tenant_id, visiting->job_id, visiting->due,
												  visiting->gave_way < MAX_YIELDS,
												  ij_guc_sweep_batch_rows - rows, &counts);
				visiting->took_ms = microseconds_since(began) / 1000;
				PopActiveSnapshot();

				rows = counts.expired + counts.completed + counts.deleted;
				visits++;
			} while (rows < ij_guc_sweep_batch_rows && visits < UNIT_VISITS && ij_visits_next_may_share());
			IJ_FAULT(worker_visited);
			commit_as_owner(&saved, &counts);
		}
		done = true;
		error_context_stack = callback.previous;
	}
	PG_CATCH();
	{
		IjVisit    *culprit = visiting;
		TimestampTz now = GetCurrentTimestamp();
		bool		may_log = (culprit == NULL || culprit->logged_at == 0 ||
							   now >= TimestampTzPlusMilliseconds(culprit->logged_at, LOG_AGAIN_MS));

		recover(may_log);
		if (culprit != NULL && may_log)
			culprit->logged_at = now;
	}
	PG_END_TRY();
	/* of the jobs that share a deadline there may be any number in a turn */
	MemoryContextReset(unit_context);
	return done;
}

static void
note_trouble(void)
{
	trouble++;
	trouble_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												ij_growing_pause(trouble, TROUBLE_FIRST_MS, TROUBLE_LAST_MS));
	ij_worker_set_activity(IJ_WORKER_BACKING_OFF);
}

/*
 * ------------------------------------------------------------
 * Sources
 * ------------------------------------------------------------
 */

static void
take_told_jobs(void)
{
	IjTold	   *told = palloc(sizeof(IjTold) * SOURCE_JOBS);
	int			n = ij_worker_take_told(told, SOURCE_JOBS);

	for (int i = 0; i < n; i++)
		ij_visits_add(ij_told_tenant(&told[i]), ij_told_job(&told[i]), told[i].due);
}

static void
set_full_cursor(const text *tenant_id, const text *job_id)
{
	MemoryContext old_context = MemoryContextSwitchTo(TopMemoryContext);
	IjJobKey	fresh = {ij_copy_text(tenant_id), ij_copy_text(job_id)};

	MemoryContextSwitchTo(old_context);
	if (full_cursor.job_id != NULL)
	{
		pfree(full_cursor.tenant_id);
		pfree(full_cursor.job_id);
	}
	full_cursor = fresh;
}

/* begin to look at all unfinished jobs if that is wanted */
static void
take_wish_for_everything(void)
{
	bool		has_cursor;
	IjTold		cursor;

	if (full_running || !ij_worker_take_full(&has_cursor, &cursor))
		return;
	full_running = true;
	full_spent = 1;
	if (has_cursor)
		set_full_cursor(ij_told_tenant(&cursor), ij_told_job(&cursor));
	else
		set_full_cursor(NULL, NULL);
}

static void
list_unfinished_jobs(void)
{
	List	   *jobs = ij_store_unfinished_jobs(&full_cursor, SOURCE_JOBS);

	ij_visits_add_due(jobs);
	if (list_length(jobs) == SOURCE_JOBS)
	{
		IjJobKey   *last = llast(jobs);

		set_full_cursor(last->tenant_id, last->job_id);
	}
	else
	{
		full_running = false;
		set_full_cursor(NULL, NULL);
	}
}

/* Jobs that share one deadline are never parted, so the next list begins after it. */
static void
list_due_jobs(TimestampTz upto)
{
	TimestampTz reached;
	List	   *jobs = ij_store_due_jobs(due_from, upto, SOURCE_JOBS, &reached);

	ij_visits_add_due(jobs);
	if (list_length(jobs) < SOURCE_JOBS)
		ij_worker_listed_due(upto, ij_store_next_deadline(upto));
	else
		ij_worker_listed_due(reached, reached + 1);
	due_listing = false;
}

/*
 * Gather what takes a transaction to find.  The first look at everything also
 * finds the next deadline.
 */
static void
list_jobs(bool full, bool due)
{
	IjIdentity	saved;
	IjSweepCounts counts = {0};
	ErrorContextCallback callback;
	IjVisit    *nobody = NULL;
	TimestampTz upto = GetCurrentTimestamp();

	callback.callback = visit_error_context;
	callback.arg = &nobody;
	callback.previous = error_context_stack;

	/* before our snapshot: a deadline told from here on is not ours to see */
	if (due && !due_listing)
	{
		due_from = ij_worker_list_due(upto);
		due_listing = true;
	}

	PG_TRY();
	{
		error_context_stack = &callback;
		if (begin_as_owner(&saved, "iot_jobs: listing jobs"))
		{
			PushActiveSnapshot(GetTransactionSnapshot());
			if (full)
				list_unfinished_jobs();
			if (due)
				list_due_jobs(upto);
			PopActiveSnapshot();
			IJ_FAULT(worker_listed);
			commit_as_owner(&saved, &counts);
		}
		error_context_stack = callback.previous;
		trouble = 0;
	}
	PG_CATCH();
	{
		recover(true);
		note_trouble();
	}
	PG_END_TRY();
}

/*
 * ------------------------------------------------------------
 * The loop
 * ------------------------------------------------------------
 */

static void
reload_if_asked(void)
{
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/*
 * Is there a reason to leave even with work to do?
 */
static bool
stop_for_others(TimestampTz now, bool idle)
{
	static TimestampTz checked_at = 0;
	IjDatabase	database;
	IjTold		cursor;

	reload_if_asked();
	if (!ij_guc_worker_enabled)
		return true;

	/* found before, where there was only a turn to break off */
	if (making_way)
		return true;

	/* all that was put off would wait for the old time: a successor begins anew */
	if (now < TimestampTzPlusMilliseconds(checked_at, -CLOCK_SET_BACK_MS))
		return true;

	if (now >= TimestampTzPlusMilliseconds(checked_at, idle ? DEMAND_CHECK_MS / 2 : DEMAND_CHECK_BUSY_MS) ||
		now < checked_at)
	{
		checked_at = now;
		if (ij_launcher_database_in_demand(MyDatabaseId))
		{
			making_way = true;
			return true;
		}
	}

	ij_worker_get(&database);
	return database.yield_wanted && (full_cursor.job_id == NULL || flat_cursor(&cursor)) &&
		(idle || now >= TimestampTzPlusMilliseconds(database.started_at, QUANTUM_MS));
}

/* fill "ready" for this turn */
static void
gather(TimestampTz now)
{
	IjDatabase	database;
	bool		due;

	if (ij_visits_overflowed(now))
		ij_worker_pause_full(NULL);
	ij_visits_begin_turn(now);
	take_told_jobs();

	take_wish_for_everything();
	ij_worker_get(&database);
	due = due_listing || database.next_deadline <= now || database.watermark == DT_NOBEGIN;
	if (full_running || due)
	{
		/* so that whoever finds nothing goes to rest anew */
		ij_worker_set_activity(IJ_WORKER_WORKING);
		list_jobs(full_running, due);
	}
}

/* visit each job of "ready" once, or until there is a reason to stop */
static void
visit_ready_jobs(void)
{
	while (ij_visits_ready())
	{
		CHECK_FOR_INTERRUPTS();
		if (stop_for_others(GetCurrentTimestamp(), false))
			return;
		if (!visit_in_one_transaction())
		{
			if (!ij_visits_blame())
			{
				/* it failed before the first visit */
				note_trouble();
				return;
			}
		}
		else if (presence != IJ_READY)
			return;
		else
		{
			trouble = 0;
			ij_visits_settle();
		}
	}
}

/*
 * The extension is not there, or not all of it, or was not a moment ago.  Forget all
 * work, unless it appeared meanwhile; true if there is nothing left to do here.
 *
 * A database without the extension is given back, and forgotten.  One that has it in
 * part, as in the middle of a restore, stays known: executions of the jobs that are
 * there may still be to come, so nothing is done to them, but once anything is told
 * or, at the next heal, was written, a worker looks again.  What is told after we
 * dropped what was told is a reason to do so.
 */
static bool
give_up_database(void)
{
	IjIdentity	saved;
	IjSweepCounts counts = {0};

	do
	{
		ij_visits_forget();
		full_running = false;
		set_full_cursor(NULL, NULL);
		due_listing = false;

		ij_worker_drop_told();
		if (begin_as_owner(&saved, "iot_jobs: looking for the extension"))
		{
			commit_as_owner(&saved, &counts);
			ij_worker_pause_full(NULL);
			return false;
		}
		if (presence == IJ_INCOMPLETE)
			return true;
	} while (!ij_worker_give_back());
	has_database = false;
	return true;
}

/* sleep until then, until something is told, or until it is time to look who wants the database */
static void
worker_sleep(TimestampTz now, TimestampTz until)
{
	static uint32 wait_event = 0;
	long		timeout;

	if (wait_event == 0)
		wait_event = ij_wait_event_new("IotJobsWorkerMain");
	until = Min(until, TimestampTzPlusMilliseconds(now, DEMAND_CHECK_MS));
	timeout = TimestampDifferenceMilliseconds(now, until);
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout, wait_event);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* Once all unfinished jobs were looked at, say what it took. */
static void
account_for_full(instr_time turn_began)
{
	if (full_spent == 0)
		return;
	full_spent += microseconds_since(turn_began);
	if (full_running)
		return;
	ij_worker_ended_full(full_spent);
	full_spent = 0;
}

static void
work_until_there_is_a_reason_to_leave(void)
{
	TimestampTz idle_since = GetCurrentTimestamp();

	for (;;)
	{
		TimestampTz now;
		TimestampTz idle_until;
		instr_time	turn_began;
		IjDatabase	database;

		CHECK_FOR_INTERRUPTS();
		reload_if_asked();
		MemoryContextSwitchTo(turn_context);
		MemoryContextReset(turn_context);

		INSTR_TIME_SET_CURRENT(turn_began);
		now = GetCurrentTimestamp();
		if (now >= trouble_until)
		{
			gather(now);
			if (presence == IJ_READY && ij_visits_ready())
			{
				ij_worker_set_activity(IJ_WORKER_WORKING);
				visit_ready_jobs();
				idle_since = GetCurrentTimestamp();
			}
			account_for_full(turn_began);
			if (presence != IJ_READY && give_up_database())
				return;
		}
		now = GetCurrentTimestamp();
		ij_worker_get(&database);
		if (now >= trouble_until &&
			(ij_visits_ready_or_again() || full_running || ij_database_wants_worker(&database, now)))
		{
			if (stop_for_others(now, false))
				return;
			continue;
		}

		/* nothing to do, or nothing to be done for a while */
		if (now >= trouble_until)
		{
			bool		all_done = ij_visits_put_off_until() == DT_NOEND;
			IjWorkerActivity rest = all_done ? IJ_WORKER_IDLE : IJ_WORKER_BACKING_OFF;

			if (database.activity != rest)
			{
				ij_worker_set_activity(rest);
				pgstat_report_activity(STATE_IDLE, NULL);
				(void) pgstat_report_stat(true);
			}
			if (!ij_visits_due_put_off())
				ij_worker_nothing_overdue();
			if (all_done)
				ij_worker_succeeded();
		}
		if (stop_for_others(now, true))
			return;
		idle_until = idle_since + ij_guc_worker_idle_timeout * USECS_PER_SEC;
		if (now >= trouble_until && now >= idle_until && ij_visits_put_off_until() == DT_NOEND)
			return;
		if (now < trouble_until)
			worker_sleep(now, trouble_until);
		else
			worker_sleep(now, Min(ij_visits_put_off_until(), database.next_deadline));
	}
}

void
ij_worker_main(Datum main_arg)
{
	Oid			dboid = DatumGetObjectId(main_arg);

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	/* before connecting: so that a failure to connect counts as ours */
	if (!ij_shmem_attach() || !ij_worker_take_database(dboid))
		proc_exit(0);
	has_database = true;
	before_shmem_exit(leave, (Datum) 0);

	IJ_FAULT(worker_began);
	BackgroundWorkerInitializeConnectionByOid(dboid, InvalidOid, 0);
	IJ_FAULT(worker_connected);
	refuse_inherited_settings();
	pgstat_report_appname("iot_jobs worker");

	turn_context = AllocSetContextCreate(TopMemoryContext, "iot_jobs turn", ALLOCSET_DEFAULT_SIZES);
	unit_context = AllocSetContextCreate(TopMemoryContext, "iot_jobs unit", ALLOCSET_DEFAULT_SIZES);
	ij_visits_init();

	work_until_there_is_a_reason_to_leave();
	proc_exit(0);
}
